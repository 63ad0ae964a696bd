"""Runs in a row, the later from the weights of the earlier; each is a `cf.fit` of its own."""

import json
import logging
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from cf.files import write_text
from cf.literal import quoted
from cf.run_folder import RunFolder

log = logging.getLogger("cf.fit")

_OWN = ("experiment", "phases", "resume", "hydra.run.dir")  # not of the phases


@dataclass(frozen=True)
class Phases:
    """The phases of a training, each a list of settings, and the settings that all share.

    A phase is a process of its own, so that it can be given by hand as well, on several GPUs too,
    and leaves nothing behind but its folder.

    Attributes:
        folder: holds a folder per phase, and `phases.yaml`.
        shared: settings given by the user; they win over a phase's own.
        config_dir: a folder of further settings.
    """

    folder: Path
    phases: Mapping[str, Sequence[str]]
    shared: Sequence[str]
    config_dir: str | None = None

    @staticmethod
    def started(folder: Path) -> bool:
        """Whether this is the folder of a training in phases."""
        return (folder / "phases.yaml").is_file()

    @classmethod
    def load(cls, folder: Path) -> "Phases":
        """The training that was begun in a folder."""
        saved = yaml.safe_load((folder / "phases.yaml").read_text())
        return cls(folder, **saved)

    @classmethod
    def start(
        cls,
        folder: Path,
        phases: Mapping[str, Sequence[str]],
        overrides: Sequence[str],
        config_dir: str | None = None,
    ) -> "Phases":
        """A new training, written down so that it can be resumed.

        Raises:
            ValueError: if another training stands in the folder.
        """
        names = ((one, one.lstrip("+~").split("=")[0]) for one in overrides)
        shared = [one for one, name in names if name.split(".")[0] not in _OWN and name not in _OWN]
        made = cls(folder, {k: list(v) for k, v in phases.items()}, shared, config_dir)
        if cls.started(folder) and cls.load(folder) != made:
            raise ValueError(
                f"{folder} holds a training in phases with other settings; go on with it by "
                f"python -m cf.fit resume={folder}, or give another hydra.run.dir"
            )
        folder.mkdir(parents=True, exist_ok=True)
        saved = {"phases": made.phases, "shared": shared, "config_dir": config_dir}
        write_text(folder / "phases.yaml", yaml.safe_dump(saved, sort_keys=False))
        return made

    def resumed(self, overrides: Sequence[str]) -> "Phases":
        """The same, to be run on.

        Raises:
            ValueError: if settings are to be exchanged, for it is not said of which phase.
        """
        others = [one for one in overrides if one.lstrip("+~").split("=")[0] not in _OWN]
        if others:
            raise ValueError(
                f"{' '.join(others)}: a training in phases keeps its settings; exchange those of "
                f"one phase by python -m cf.fit resume={self.folder}/"
                f"{{{','.join(self.phases)}}} {' '.join(others)}, then resume={self.folder}"
            )
        return self

    def run(self) -> None:
        """Every phase in its turn; what is finished is kept, what was interrupted goes on.

        Raises:
            ValueError: if a phase fails; its own message stands above.
        """
        given = [] if self.config_dir is None else ["--config-dir", self.config_dir]
        for name, settings in self.phases.items():
            run = RunFolder(self.folder / name)
            if run.finished():
                self._refuse_stale(run)
                log.info("phase %s is finished: %s", name, run.export)
                continue
            arguments = [*given, *settings, *self.shared, f"hydra.run.dir={quoted(str(run.path))}"]
            if run.config.is_file():
                arguments = [*given, f"resume={quoted(str(run.path))}"]
            log.info("phase %s: python -m cf.fit %s", name, " ".join(arguments))
            done = subprocess.run([sys.executable, "-m", "cf.fit", *arguments], check=False)
            if done.returncode or not run.finished():
                raise ValueError(
                    f"phase {name} did not finish; its message stands above. Go on with: "
                    f"python -m cf.fit resume={self.folder}"
                )
        last = list(self.phases)[-1]
        summary = json.loads((self.folder / last / "summary.json").read_text())
        log.info("all phases are finished; network: %s", summary["export"])

    def _refuse_stale(self, run: RunFolder) -> None:
        """A finished phase must have begun from what the phases before it now end with."""
        from cf.models.start import is_same

        for path, sha256, *updates in run.starts():
            if self.folder in path.parents and not is_same(path, sha256, *updates):
                raise ValueError(
                    f"{run.path} was trained from another {path.name} than there is now; delete "
                    f"{run.path} to train it again"
                )
