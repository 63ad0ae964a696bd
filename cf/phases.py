"""Runs in a row, the later from the weights of the earlier; each is a `cf.fit` of its own."""

import json
import logging
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from cf.run_folder import RunFolder

log = logging.getLogger("cf.fit")

_OWN = ("experiment", "phases", "resume", "hydra.run.dir")


@dataclass(frozen=True)
class Phases:
    """The phases of a training, each a list of settings, and the settings that all share.

    A phase is a process of its own, so that it can be given by hand as well, on several GPUs too,
    and leaves nothing behind but its folder.

    Attributes:
        folder: holds a folder per phase, and `phases.yaml`.
        shared: settings given by the user; they win over a phase's own.
    """

    folder: Path
    phases: Mapping[str, Sequence[str]]
    shared: Sequence[str]

    @staticmethod
    def started(folder: Path) -> bool:
        """Whether this is the folder of a training in phases."""
        return (folder / "phases.yaml").is_file()

    @classmethod
    def load(cls, folder: Path) -> "Phases":
        """The training that was begun in a folder."""
        saved = yaml.safe_load((folder / "phases.yaml").read_text())
        return cls(folder, saved["phases"], saved["shared"])

    @classmethod
    def start(
        cls, folder: Path, phases: Mapping[str, Sequence[str]], overrides: Sequence[str]
    ) -> "Phases":
        """A new training, written down so that it can be resumed."""
        shared = [one for one in overrides if one.lstrip("+~").split("=")[0] not in _OWN]
        folder.mkdir(parents=True, exist_ok=True)
        saved = {"phases": {k: list(v) for k, v in phases.items()}, "shared": shared}
        (folder / "phases.yaml").write_text(yaml.safe_dump(saved, sort_keys=False))
        return cls(folder, phases, shared)

    def run(self) -> None:
        """Every phase in its turn; what is finished is kept, what was interrupted goes on.

        Raises:
            ValueError: if a phase fails; its own message stands above.
        """
        for name, settings in self.phases.items():
            run = RunFolder(self.folder / name)
            if run.finished():
                log.info("phase %s is finished: %s", name, run.export)
                continue
            arguments = [*settings, *self.shared, f"hydra.run.dir='{run.path}'"]
            if run.config.is_file():
                arguments = [f"resume='{run.path}'"]
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
