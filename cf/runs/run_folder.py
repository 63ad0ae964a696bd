"""A training run's folder: what is in it, and how a run is taken up again."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser

from cf.files.atomic import locked, remove_temporaries, write_text
from cf.files.text import read_json_file, yaml_of
from cf.runs.exchanged import MISSING, as_begun, check_begun_with, exchange, value_at
from cf.runs.relocation import absolute, located, recorded, same
from cf.settings.build import Settings, is_default
from cf.settings.renamed import with_current_names
from cf.system.launch import launched
from cf.system.shell import setting

EXPORT = "network.safetensors"
# They are of a command or an experiment, not of the run: what a scale says stands where it is used.
_NOT_KEPT = ("resume", "trust", "plan", "cards", "card_gb", "scales", "scale")
_TOLD = 6  # settings that a message lists


@dataclass(frozen=True)
class RunFolder:
    """`config.yaml`, `checkpoints/`, the exported network, `metrics.csv`, `summary.json`.

    Nothing in it tells where it lies: it can be copied, moved and renamed.
    """

    path: Path

    @classmethod
    def of(cls, checkpoint: str) -> RunFolder:
        """The folder of a run, of which the folder or a file is given."""
        path = Path(checkpoint)
        return cls(path if path.is_dir() else path.parent)

    @property
    def config(self) -> Path:
        """The resolved configuration."""
        return self.path / "config.yaml"

    @property
    def export(self) -> Path:
        """The network for others to use."""
        return self.path / EXPORT

    @property
    def begun(self) -> Path | None:
        """Where a run of old was begun, which tells its paths as they were there."""
        folder = Path(self._recorded()["folder"])
        return folder if folder.is_absolute() else None

    def begin(self, settings: Settings) -> Settings:
        """The settings of a run here as they are used: paths in them are whole."""
        run_settings = {name: value for name, value in settings.items() if name not in _NOT_KEPT}
        return {**cast(Settings, absolute(run_settings)), "folder": str(self.path)}

    def start(self, settings: Settings) -> None:
        """Write down what is about to be run."""
        record = recorded(settings, self.path)
        write_text(self.config, yaml.safe_dump(record, sort_keys=False, allow_unicode=True))

    def settings(self, overrides: Sequence[str]) -> Settings:
        """The run's own settings, with single values exchanged.

        Raises:
            ValueError: if this is no run folder, or an override is not a value of its settings.
        """
        settings = _as_now(located(self._recorded(), self.path))
        for override in OverridesParser.create().parse_overrides(list(overrides)):
            key = override.key_or_group
            if key in _NOT_KEPT:
                continue
            exchange(settings, key, override.value())
        return settings

    def refuse_others(self, settings: Settings) -> Settings:
        """Only the run that stands here is gone on with, also by a later version of the program.

        Returns:
            The settings it goes on with: these, with the values that were exchanged meanwhile.

        Raises:
            ValueError: if it was begun with settings other than these.
        """
        saved = {name: value for name, value in self._recorded().items() if name not in _NOT_KEPT}
        exchanged = as_begun(saved)
        current = _without_added(recorded(settings, self.path), saved)
        if self.begun is not None:
            saved = recorded(_as_now(located(saved, self.begun)), self.begun)
        ways, others = (record.pop("outside", {}) for record in (current, saved))
        ours, theirs = leaves(current), leaves(saved)
        differ = [
            f"{name}: {theirs.get(name)!r} there, {ours.get(name)!r} here"
            for name in {**theirs, **ours}
            if not same(ours.get(name, MISSING), theirs.get(name, MISSING), ways, others)
        ]
        if differ:
            more = [f"and {len(differ) - _TOLD} more"] if len(differ) > _TOLD else []
            raise ValueError(
                f"{self.path} holds a run with other settings; give another folder, go on with "
                f"it as it was begun by {setting('resume', self.path)}, or delete it:"
                + "".join(f"\n  {line}" for line in (*differ[:_TOLD], *more))
            )
        now = self.settings(()) if exchanged else {}
        for key in exchanged:
            exchange(settings, key, value_at(now, key))
        return settings

    def _recorded(self) -> Settings:
        """What `config.yaml` says.

        Raises:
            ValueError: if it is missing, or no yaml of settings.
        """
        if not self.config.is_file():
            raise ValueError(
                f"{self.path} is not the folder of a run (it has no config.yaml); "
                f"give the folder that the run printed when it started"
            )
        read = yaml_of(self.config, "file of settings")
        if not isinstance(read, dict) or not isinstance(read.get("folder"), str):
            raise ValueError(
                f"{self.config} does not hold the settings of a run; give the folder that the run "
                "printed when it started"
            )
        settings = cast(Settings, with_current_names(read))
        check_begun_with(settings, self.config)
        return settings

    def starts(self) -> list[tuple[Path, str, Any, float | None]]:
        """The weights that the run began from, their hash, updates, and those updates' alpha."""
        return list(_starts(located(self._recorded(), self.path)))

    def finish(self, summary: dict[str, Any]) -> None:
        """Write down what came out; the run is finished once this stands."""
        write_text(self._summary, json.dumps(summary, indent=2) + "\n")

    def reopen(self) -> None:
        """The run goes on, so it is not finished."""
        self._summary.unlink(missing_ok=True)

    def summary(self) -> dict[str, Any] | None:
        """What a finished run ended with; None if it is not finished.

        Raises:
            ValueError: if the file is not what a run writes.
        """
        if not self._summary.is_file():
            return None
        remedy = "delete it to finish the run again"
        try:
            summary = read_json_file(self._summary)
        except ValueError as error:
            raise ValueError(f"{error}; {remedy}") from None
        if not isinstance(summary, dict) or not {"sha256", "steps"} <= set(summary):
            raise ValueError(f"{self._summary} does not say how a run ended; {remedy}")
        return summary

    def finished(self) -> bool:
        """Whether the run came to its end.

        Raises:
            ValueError: if its network is not the one it ended with.
        """
        from cf.models.start import is_same

        summary = self.summary()
        if summary is None:
            return False
        if not self.export.is_file() or not is_same(self.export, summary["sha256"]):
            raise ValueError(
                f"{self.export} is missing or not the network that this finished run ended with; "
                f"put it back, or delete {self.path} to train it again"
            )
        return True

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from training in the same folder; a kill unlocks it.

        What killed processes left half written is removed.

        Raises:
            ValueError: if another process does so now.
        """
        if not launched().first:  # the first holds it for all
            yield
            return
        busy = f"another process is training in {self.path}; wait for it, or stop it first"
        with locked(self.path, busy):
            for folder in (self.path, self.path / "checkpoints"):
                remove_temporaries(folder)
            yield

    @property
    def _summary(self) -> Path:
        return self.path / "summary.json"


def _as_now(settings: Settings) -> Settings:
    """The settings of a run of old as they are written now."""
    saver = value_at(settings, "callbacks.checkpoint")
    lightnings = "lightning.pytorch.callbacks.ModelCheckpoint"
    if isinstance(saver, dict) and saver.get("_target_") == lightnings and not saver.get("monitor"):
        settings["callbacks"]["checkpoint"] = {
            "_target_": "cf.callbacks.checkpoint.Checkpoints",
            "dirpath": saver["dirpath"],
            "every_n_train_steps": saver["every_n_train_steps"],
            "keep": None if saver.get("save_top_k") == -1 else 2,
        }
    return settings


def leaves(settings: Any, at: str = "") -> dict[str, Any]:
    """Every value by its dotted name."""
    inner = settings if isinstance(settings, dict) else None
    if isinstance(settings, list):
        inner = dict(enumerate(settings))
    if not inner:
        return {at: settings}
    values: dict[str, Any] = {}
    for name, value in inner.items():
        values |= leaves(value, f"{at}.{name}" if at else str(name))
    return values


def _without_added(current: Any, saved: Any) -> Any:
    """Settings without those that a run of an older version lacks and that leave it as it was.

    Such are null, or what their class takes where nothing is said.
    """
    if isinstance(current, list) and isinstance(saved, list) and len(current) == len(saved):
        return [_without_added(item, its) for item, its in zip(current, saved, strict=True)]
    if not (isinstance(current, dict) and isinstance(saved, dict)):
        return current
    target = current.get("_target_")
    return {
        name: _without_added(value, saved[name]) if name in saved else value
        for name, value in current.items()
        if name in saved or not (value is None or (target and is_default(target, name, value)))
    }


def _starts(settings: Any) -> Iterator[tuple[Path, str, Any, float | None]]:
    if not isinstance(settings, dict):
        return
    if str(settings.get("_target_", "")).endswith(".with_weights") and settings["path"]:
        updates = settings["lora"], settings.get("lora_alpha")
        yield Path(settings["path"]), settings["sha256"], *updates
    for value in settings.values():
        yield from _starts(value)
