"""A training run's folder: what is in it, and how a run is taken up again."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from cf.entry import Settings, escaped, plain
from cf.files import locked, write_text

if TYPE_CHECKING:
    from torch import Tensor

EXPORT = "network.safetensors"
# What objects are built from; the settings beside it were resolved into it when the run began.
_BUILT = ("data", "module", "callbacks", "trainer", "tensorboard", "hydra")
_MISSING = object()
_TOLD = 6  # settings that a message lists


@dataclass(frozen=True)
class RunFolder:
    """`config.yaml`, `checkpoints/`, the exported network, `metrics.csv`, `summary.json`."""

    path: Path

    @property
    def config(self) -> Path:
        """The resolved configuration."""
        return self.path / "config.yaml"

    @property
    def export(self) -> Path:
        """The network for others to use."""
        return self.path / EXPORT

    def start(self, settings: Settings) -> None:
        """Write down what is about to be run."""
        self.path.mkdir(parents=True, exist_ok=True)
        write_text(self.config, OmegaConf.to_yaml(OmegaConf.create(escaped(settings))))

    def settings(self, overrides: Sequence[str]) -> Settings:
        """The run's own settings, with single values exchanged.

        Raises:
            ValueError: if this is no run folder, or an override is not a value of its settings.
        """
        if not self.config.is_file():
            raise ValueError(
                f"{self.path} is not the folder of a run (it has no config.yaml); "
                f"give the folder that the run printed when it started"
            )
        cfg = OmegaConf.load(self.config)
        OmegaConf.update(cfg, "folder", str(self.path))
        for override in OverridesParser.create().parse_overrides(list(overrides)):
            key = override.key_or_group
            if key == "resume":
                continue
            if not _known(cfg, key) or OmegaConf.is_config(OmegaConf.select(cfg, key)):
                raise ValueError(
                    f"a resumed run keeps its settings; only single values can be exchanged "
                    f"(trainer.max_steps=2000), and {key} is not one of its values"
                )
            read_at = key if key.split(".")[0] in _BUILT else f"module.{key}"
            if not _known(cfg, read_at):
                raise ValueError(
                    f"{key} is not read by a run that goes on; begin a new run with it"
                )
            for place in (key, read_at, f"callbacks.export.config.{key}"):
                if _known(cfg, place):
                    OmegaConf.update(cfg, place, override.value())
        assert isinstance(cfg, DictConfig)
        return plain(cfg)

    def refuse_others(self, settings: Settings) -> None:
        """Only the run that stands here is gone on with.

        Raises:
            ValueError: if it was begun with settings other than these.
        """
        theirs = leaves(OmegaConf.to_container(OmegaConf.load(self.config)))
        mine = leaves(
            OmegaConf.to_container(OmegaConf.create(OmegaConf.to_yaml(escaped(settings))))
        )
        differ = [
            f"{name}: {theirs.get(name)!r} there, {mine.get(name)!r} here"
            for name in {**theirs, **mine}
            if theirs.get(name, _MISSING) != mine.get(name, _MISSING)
        ]
        if differ:
            more = [f"and {len(differ) - _TOLD} more"] if len(differ) > _TOLD else []
            raise ValueError(
                f"{self.path} holds a run with other settings; give another folder, or delete it:"
                + "".join(f"\n  {line}" for line in (*differ[:_TOLD], *more))
            )

    def newest_checkpoint(self, state: Mapping[str, Tensor]) -> Path | None:
        """The checkpoint to resume from; None if the run was stopped before the first.

        Attributes:
            state: of the module that is to take it up.

        Raises:
            ValueError: if the newest one is damaged, holds code, or belongs to another module.
        """
        import torch

        found = sorted((self.path / "checkpoints").glob("*.ckpt"))
        if not found:
            return None
        earlier = found[-2].name if len(found) > 1 else "the beginning"
        remedy = f"delete it to resume from {earlier}"
        try:
            saved = torch.load(found[-1], map_location="cpu", mmap=True, weights_only=True)
        except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
            why = "it may have been cut short, or holds code, which is never run"
            raise ValueError(f"{found[-1]} cannot be read ({why}); {remedy}") from error
        theirs = saved.get("state_dict", {}) if isinstance(saved, dict) else {}
        if {k: v.shape for k, v in theirs.items()} != {k: v.shape for k, v in state.items()}:
            why = "other weights, or weights of other sizes"
            raise ValueError(
                f"{found[-1]} does not belong to the model of {self.config.name} ({why}); {remedy}"
            )
        return found[-1]

    def starts(self) -> list[tuple[Path, str, Any, float | None]]:
        """The weights that the run began from, their hash, updates, and those updates' alpha."""
        return list(_starts(OmegaConf.to_container(OmegaConf.load(self.config))))

    def finish(self, summary: dict[str, Any]) -> None:
        """Write down what came out; the run is finished once this stands."""
        write_text(self._summary, json.dumps(summary, indent=2) + "\n")

    def reopen(self) -> None:
        """The run goes on, so it is not finished."""
        self._summary.unlink(missing_ok=True)

    def finished(self) -> bool:
        """Whether the run came to its end.

        Raises:
            ValueError: if its network is not the one it ended with.
        """
        from cf.models.start import is_same

        if not self._summary.is_file():
            return False
        ended_with = json.loads(self._summary.read_text())["sha256"]
        if not self.export.is_file() or not is_same(self.export, ended_with):
            raise ValueError(
                f"{self.export} is missing or not the network that this finished run ended with; "
                f"put it back, or delete {self.path} to train it again"
            )
        return True

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from training in the same folder; a kill unlocks it.

        Raises:
            ValueError: if another process does so now.
        """
        ranks = ("RANK", "LOCAL_RANK", "NODE_RANK", "GROUP_RANK", "SLURM_PROCID")
        if any(os.environ.get(name, "0") != "0" for name in ranks):  # the first holds it for all
            yield
            return
        busy = f"another process is training in {self.path}; wait for it, or stop it first"
        with locked(self.path, busy):
            yield

    @property
    def _summary(self) -> Path:
        return self.path / "summary.json"


def _known(cfg: Any, key: str) -> bool:
    return OmegaConf.select(cfg, key, default=_MISSING) is not _MISSING


def leaves(settings: Any, at: str = "") -> dict[str, Any]:
    """Every value by its dotted name."""
    inner = settings if isinstance(settings, dict) else None
    if isinstance(settings, list):
        inner = dict(enumerate(settings))
    if not inner:
        return {at: settings}
    found: dict[str, Any] = {}
    for name, one in inner.items():
        found |= leaves(one, f"{at}.{name}" if at else str(name))
    return found


def _starts(settings: Any) -> Iterator[tuple[Path, str, Any, float | None]]:
    if not isinstance(settings, dict):
        return
    if str(settings.get("_target_", "")).endswith(".with_weights") and settings["path"]:
        updates = settings["lora"], settings.get("lora_alpha")
        yield Path(settings["path"]), settings["sha256"], *updates
    for value in settings.values():
        yield from _starts(value)
