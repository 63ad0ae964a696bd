"""`python -m cf.fit`: train a model."""

from __future__ import annotations

import logging
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from cf.command_line import command
from cf.entry import Settings, build, plain, told
from cf.phases import Phases
from cf.run_folder import RunFolder

if TYPE_CHECKING:
    import lightning

log = logging.getLogger("cf.fit")


@command("fit")
def main(cfg: DictConfig) -> None:
    """Train as `cfg` says, or go on with the run in `resume`."""
    with told("cf.fit"):
        folder = RunFolder(Path(HydraConfig.get().runtime.output_dir))
        resumes = not OmegaConf.is_missing(cfg, "resume")
        overrides = HydraConfig.get().overrides.task
        if resumes and Phases.started(folder.path):
            Phases.load(folder.path).resumed(overrides).run()
        elif not resumes and cfg.phases:
            phases = plain(cfg)["phases"]
            Phases.start(folder.path, phases, overrides, _given_config_dir()).run()
        else:
            settings = folder.settings(overrides) if resumes else _with_hashes(plain(cfg))
            with folder.locked():
                if not resumes and folder.config.is_file():
                    folder.refuse_others(settings)
                    if folder.finished():
                        log.info("finished already: %s", folder.path)
                        return
                    resumes = True
                train(settings, folder, resumes)


def train(settings: Settings, folder: RunFolder, resumes: bool) -> None:
    """One run, from its settings to the exported network."""
    import lightning

    from cf.callbacks.table import MetricsTable

    _hush_lightning()
    began = time.perf_counter()
    lightning.seed_everything(settings["seed"], workers=True, verbose=False)
    data = build(settings["data"], "data")
    module = build(settings["module"], "module")
    checkpoint = folder.newest_checkpoint(module.state_dict()) if resumes else None
    callbacks: list[lightning.Callback] = [
        build(one, f"callbacks.{name}") for name, one in settings["callbacks"].items()
    ]
    board = build(settings["tensorboard"], "tensorboard", save_dir=folder.path)
    table = MetricsTable(str(folder.path))
    trainer: lightning.Trainer = build(
        settings["trainer"],
        "trainer",
        callbacks=callbacks,
        logger=[board, table],
        default_root_dir=folder.path,
    )
    module.check(trainer)
    if trainer.is_global_zero:
        if not resumes:
            folder.start(settings)
        folder.reopen()
        log.info("run folder: %s", folder.path)
        log.info("watch it: tensorboard --logdir %s", folder.path)
        if resumes:
            log.info("resuming from %s", checkpoint or "the beginning: there is no checkpoint yet")
            table.forget_after(_steps_in(checkpoint))
    trainer.fit(module, data, ckpt_path=checkpoint, weights_only=True)
    if trainer.interrupted:
        log.info("interrupted; go on with: python -m cf.fit resume=%s", folder.path)
        return
    _finish(settings, folder, trainer, module, time.perf_counter() - began)


def _given_config_dir() -> str | None:
    """A folder of further settings, given with --config-dir."""
    sources = HydraConfig.get().runtime.config_sources
    return next((one.path for one in sources if one.provider == "command-line"), None)


def _with_hashes(settings: Any) -> Any:
    """The settings with the hash of every file of weights that they begin from."""
    from cf.models.start import fingerprint

    if isinstance(settings, list):
        return [_with_hashes(one) for one in settings]
    if not isinstance(settings, dict):
        return settings
    settings = {name: _with_hashes(value) for name, value in settings.items()}
    starts = str(settings.get("_target_", "")).endswith(".with_weights")
    if starts and settings["path"] is not None:
        updates = settings["lora"], settings.get("lora_alpha")
        settings["sha256"] = settings["sha256"] or fingerprint(settings["path"], *updates)
    return settings


def _hush_lightning() -> None:
    """What it says about itself, which a reader of this run's lines does not need."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    logging.getLogger("lightning.pytorch.utilities.rank_zero").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", ".*LeafSpec.*")
    warnings.filterwarnings("ignore", ".*does not have many workers.*")
    warnings.filterwarnings("ignore", ".*but have no `validation_step`.*")
    # A checkpoint holds the state after its student step, which is what a resumed run goes on from.
    warnings.filterwarnings("ignore", ".*ModelCheckpoint with manual optimization.*")
    warnings.filterwarnings("ignore", ".*exists and is not empty.*")


def _steps_in(checkpoint: Path | None) -> int:
    """Steps taken by the time of a checkpoint: step=00000100.ckpt -> 100."""
    return 0 if checkpoint is None else int(checkpoint.stem.split("=")[-1])


def _finish(
    settings: Settings, folder: RunFolder, trainer: lightning.Trainer, module: Any, seconds: float
) -> None:
    import platform

    import torch

    from cf import __version__
    from cf.models.start import fingerprint

    if not trainer.is_global_zero:
        return
    losses = {name: float(value) for name, value in trainer.callback_metrics.items()}
    summary = {
        "steps": trainer.global_step,
        "seconds": round(seconds, 1),
        "parameters": sum(p.numel() for p in module.student.parameters()),
        **{name: value for name, value in losses.items() if "loss" in name},
        "export": str(folder.export),
        "sha256": fingerprint(folder.export),
        "device": str(module.device),
        "versions": {
            "context-forcing": __version__,
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
    }
    folder.finish(summary)
    log.info("network: %s", folder.export)
    if getattr(module.student, "control_dim", None) is None:
        log.info("stream a video: python -m cf.generate checkpoint=%s seconds=20", folder.path)
    else:  # a drawn world's camera steers it
        log.info("see what it recalls: python -m cf.recall students='{mine: %s}'", folder.path)


if __name__ == "__main__":
    main()
