"""`python -m cf.compare`: lay runs or results side by side, with paired statistics."""

from __future__ import annotations

import logging
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from cf.entry import plain, told
from cf.paths import CONFIG_DIR

log = logging.getLogger("cf.compare")


@hydra.main(version_base="1.3", config_path=CONFIG_DIR, config_name="compare")
def main(cfg: DictConfig) -> None:
    """Compare as `cfg` says."""
    with told("cf.compare"):
        from cf.bench.compared import markdown, pairs, read
        from cf.bench.store import write

        runs = plain(cfg)["runs"]
        if not isinstance(runs, list) or not runs:
            raise ValueError("runs must be given: runs=[outputs/a,outputs/b]")
        table = pairs([one for run in runs for one in read(Path(run))])
        folder = Path(HydraConfig.get().runtime.output_dir)
        write(folder / "compare.csv", table.to_csv(index=False))
        write(folder / "compare.md", markdown(table))
        log.info("\n%s\n%s", markdown(table), folder / "compare.md")


if __name__ == "__main__":
    main()
