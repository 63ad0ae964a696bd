"""`python -m cf.prepare`: encode videos and prompts once, for many trainings."""

from __future__ import annotations

import logging
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from cf.files.output_folder import working
from cf.settings.build import to_settings
from cf.settings.command_line import command

log = logging.getLogger("cf.prepare")


@command("prepare")
def main(cfg: DictConfig) -> None:
    """Prepare as `cfg` says."""
    folder = Path(HydraConfig.get().runtime.output_dir)
    with working("cf.prepare", folder, lambda: _kept(folder)):
        from cf.preparation.next_training import training
        from cf.preparation.prepare import prepare

        settings, typed = to_settings(cfg), HydraConfig.get()
        index = prepare(settings, folder)
        log.info("prepared: %s", folder)
        chosen = typed.runtime.choices, typed.overrides.task
        log.info("%s", training(index, folder, settings, *chosen))


def _kept(folder: Path) -> str:
    from cf.preparation.prepare import finished_files

    return finished_files(folder)


if __name__ == "__main__":
    main()
