"""`python -m cf.fit`: train a model."""

from __future__ import annotations

import logging
import shlex
import time
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from cf.files.atomic import DiskFullError, disk_is_full
from cf.files.output_folder import sweeps
from cf.files.steps import steps_in
from cf.runs.exchanged import BEGUN_WITH
from cf.runs.next_command import following
from cf.runs.phases import Phases
from cf.runs.pictures import fit_to_pictures
from cf.runs.resumption import newest
from cf.runs.roles import built_module
from cf.runs.run_folder import RunFolder
from cf.runs.trusted_run import vet_run
from cf.settings.build import Settings, build, to_settings
from cf.settings.command_line import command
from cf.settings.given import exchanged, given_config_dir, own_options
from cf.system.shell import resuming
from cf.system.signals import Stop, Stopped, heard, job_status

if TYPE_CHECKING:
    import lightning

log = logging.getLogger("cf.fit")


@command("fit")
def main(cfg: DictConfig) -> Any:
    """Train as the command line says, once or several times."""
    return job_status(_fit, cfg)


def _fit(cfg: DictConfig) -> None:
    folder = RunFolder(Path(HydraConfig.get().runtime.output_dir))
    resumes = not OmegaConf.is_missing(cfg, "resume")
    if not (resumes or cfg.phases):
        fit_to_pictures(cfg)
    if cfg.get("plan"):
        log.info("%s", _plan(to_settings(cfg)))
        return
    overrides = HydraConfig.get().overrides.task
    if resumes and Phases.started(folder.path):
        Phases.load(folder.path, cfg.trust).resumed(overrides, given_config_dir()).run()
    elif not resumes and cfg.phases:
        _in_phases(to_settings(cfg), folder, overrides, cfg.trust).run()
    else:
        if resumes:
            settings = folder.settings(overrides)
            _vet(settings, folder, cfg.trust)
        else:
            settings = _with_hashes(_with_encoder(folder.begin(to_settings(cfg))))
        with folder.locked():
            if not resumes and folder.config.is_file():
                settings = folder.refuse_others(settings)
                resumes = True
                if BEGUN_WITH in settings:  # values that were not typed now
                    _vet(settings, folder, cfg.trust)
            if resumes and _finished(folder, settings):
                return
            _stoppable(settings, folder, resumes)


def _in_phases(
    settings: Settings, folder: RunFolder, overrides: Sequence[str], trust: bool
) -> Phases:
    """A training in phases; a scale that has chosen them is not theirs."""
    scale, place = settings.get("scale") or {}, "phases"
    if scale.get("phases"):
        overrides = [word for word in overrides if not word.startswith(("scale=", "scale."))]
        place = f"scale.phases.{scale['name']}"
    phases, own = settings["phases"], given_config_dir()
    return replace(Phases.start(folder.path, phases, overrides, own, trust), place=place)


def _vet(settings: Settings, folder: RunFolder, trust: bool) -> None:
    if not trust:
        vet_run(settings, folder.path, str(folder.config))


def train(settings: Settings, folder: RunFolder, resumes: bool, stop: Stop) -> None:
    """One run, from its settings to the exported network.

    Raises:
        Stopped: if it was asked to end.
    """
    import lightning

    from cf.callbacks.checkpoint import Checkpoints
    from cf.callbacks.peers import WatchOverPeers
    from cf.callbacks.table import MetricsTable
    from cf.models.compiled import check_compile, compile_blocks
    from cf.runs.trainer import built_trainer

    _hush_lightning()
    began = time.perf_counter()
    lightning.seed_everything(settings["seed"], workers=True, verbose=False)
    data = build(settings["data"], "data")
    module = built_module(settings)
    checkpoint = newest(folder.path / "checkpoints", module.state_dict()) if resumes else None
    callbacks: list[lightning.Callback] = [
        WatchOverPeers(resuming(folder.path, exchanged())),  # the first to learn of an error
        *(build(one, f"callbacks.{name}") for name, one in settings["callbacks"].items() if one),
    ]
    for callback in callbacks:
        if isinstance(callback, Checkpoints):
            callback.stop = stop
    board = build(settings["tensorboard"], "tensorboard", save_dir=folder.path)
    table = MetricsTable(str(folder.path))
    trainer = built_trainer(
        settings["trainer"],
        callbacks=callbacks,
        logger=[board, table],
        default_root_dir=folder.path,
    )
    module.check(trainer)
    how: Any = settings.get("compile") or "none"  # runs of old say nothing
    check_compile(how, trainer.strategy.root_device)
    compile_blocks(module, how)
    if trainer.is_global_zero:
        _tell_memory(settings, trainer)
        if not resumes or BEGUN_WITH in settings:
            folder.start(settings)
        folder.reopen()
        log.info("run folder: %s", folder.path)
        log.info("watch it: python -m tensorboard.main --logdir %s", shlex.quote(str(folder.path)))
        if resumes:
            log.info(
                "resuming from %s",
                checkpoint or "the beginning: there is no checkpoint yet",
            )
            table.go_on(steps_in(checkpoint))
    trainer.fit(module, data, ckpt_path=checkpoint, weights_only=True)
    losses = {name: value for name, value in table.latest().items() if "loss" in name}
    _finish(settings, folder, trainer, module, losses, time.perf_counter() - began)
    stop.now()


def _stoppable(settings: Settings, folder: RunFolder, resumes: bool) -> None:
    """Train; if it is asked to end, say how it goes on.

    Raises:
        Stopped: if it was.
        DiskFullError: if no space is left, wherever that was noticed.
    """
    with heard(Stop()) as stop:
        try:
            train(settings, folder, resumes, stop)
        except Stopped as stopped:
            again = "the same command begins again"
            if folder.config.is_file():
                again = f"go on with: {resuming(folder.path, exchanged())}"
            if folder.summary() is not None:
                again = f"the run is finished: {folder.path}"
            if sweeps():  # which says how all of it goes on
                again = f"kept: {folder.path}"
            stopped.told = not sweeps()
            log.info("%s; %s", stopped, again)
            raise
        except Exception as error:
            if disk_is_full(error) and not isinstance(error, DiskFullError):
                raise DiskFullError(folder.path) from error
            raise


def _finished(folder: RunFolder, settings: Settings) -> bool:
    """Whether nothing is left to do, which is said."""
    summary = folder.summary()
    if (
        summary is None
        or not folder.finished()
        or settings["trainer"]["max_steps"] > summary["steps"]
    ):
        return False
    log.info("finished already: %s", folder.path)
    rest = [word for word in exchanged() if not word.startswith("trainer.max_steps=")]
    longer = resuming(folder.path, [*rest, f"trainer.max_steps={2 * summary['steps']}"])
    log.info("to train it for longer: %s", longer)
    return True


def _plan(settings: Settings) -> str:
    """What a card needs; nothing is loaded."""
    from cf.runs.training_plan import told_training

    if settings.get("phases"):
        raise ValueError("plan=true is of one run; give a phase's own settings (phases=null)")
    return told_training(settings, settings["cards"], settings["card_gb"])


def _tell_memory(settings: Settings, trainer: lightning.Trainer) -> None:
    """What the run takes of each GPU, before its first step."""
    from cf.runs.training_plan import told_training

    if trainer.strategy.root_device.type != "cuda":
        return
    try:
        log.info("%s", told_training(settings, trainer.world_size, None))
    except (ValueError, RuntimeError, NotImplementedError) as error:  # it only foretells
        log.warning("memory is not foretold: %s", " ".join(str(error).split())[:200])


def _with_encoder(settings: Settings) -> Settings:
    """The settings, with an export that names the encoder itself where texts are prepared."""
    text: Any = settings.get("text") or {}
    export: Any = settings["callbacks"].get("export")
    if export is None or not str(text.get("_target_", "")).endswith(".PreparedText.from_folder"):
        return settings
    encoder = build(text, "text").encoder_settings
    config = {**export["config"], "text": encoder}
    callbacks = {**settings["callbacks"], "export": {**export, "config": config}}
    return {**settings, "callbacks": callbacks}


def _with_hashes(settings: Any) -> Any:
    """The settings with the hash of every file of weights that they begin from."""
    from cf.models.start import fingerprint

    if isinstance(settings, list):
        return [_with_hashes(item) for item in settings]
    if not isinstance(settings, dict):
        return settings
    settings = {name: _with_hashes(value) for name, value in settings.items()}
    starts = str(settings.get("_target_", "")).endswith(".with_weights")
    if starts and settings["path"] is not None:
        updates = settings["lora"], settings.get("lora_alpha")
        settings["sha256"] = settings["sha256"] or fingerprint(settings["path"], *updates)
    if str(settings.get("_target_", "")).endswith(".Adapter") and settings["path"] is not None:
        settings["sha256"] = settings["sha256"] or fingerprint(settings["path"])
    return settings


def _hush_lightning() -> None:
    """What it says about itself, which a reader of this run's lines does not need."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    logging.getLogger("lightning.pytorch.utilities.rank_zero").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", ".*LeafSpec.*")
    # Queries, keys and values of a block are views, which nobody changes in place.
    warnings.filterwarnings("ignore", ".*returned a view tensor.*")
    warnings.filterwarnings("ignore", ".*does not have many workers.*")
    # How many workers paint batches is a setting, on one core too.
    warnings.filterwarnings("ignore", ".*This DataLoader will create.*")
    warnings.filterwarnings("ignore", ".*but have no `validation_step`.*")
    # Callbacks of runs of old had a state, of which nothing is needed.
    warnings.filterwarnings("ignore", ".*callbacks used to create the checkpoint.*")


def _finish(
    settings: Settings,
    folder: RunFolder,
    trainer: lightning.Trainer,
    module: Any,
    losses: dict[str, float],
    seconds: float,
) -> None:
    import platform

    import torch

    from cf import __version__
    from cf.models.adapters import exported_size
    from cf.models.start import fingerprint

    if not trainer.is_global_zero:
        return
    summary = {
        "steps": trainer.global_step,
        "seconds": round(seconds, 1),
        "parameters": exported_size(module.student),
        **losses,
        "export": folder.export.name,
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
    log.info("%s", following(settings, folder.path, module.student, own_options(settings)))


if __name__ == "__main__":
    main()
