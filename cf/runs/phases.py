"""Runs in a row, the later from the weights of the earlier; each is a `cf.fit` of its own."""

import logging
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from cf.files.atomic import write_text
from cf.files.text import yaml_of
from cf.runs.run_folder import RunFolder
from cf.runs.trusted_run import vet_phases
from cf.settings.command_line import prepared
from cf.settings.composition import anew
from cf.settings.literal import quoted
from cf.system.shell import resuming, shell_command, word
from cf.system.signals import Stopped, run

log = logging.getLogger("cf.fit")

_FOLDER = "${folder}"
_OWN = ("experiment", "phases", "resume", "trust", "hydra.run.dir")  # not of the phases


@dataclass(frozen=True)
class Phases:
    """The phases of a training, each a list of settings, and the settings that all share.

    A phase is a process of its own, so that it can be given by hand as well, on several GPUs too,
    and leaves nothing behind but its folder.

    Attributes:
        folder: holds a folder per phase, and `phases.yaml`.
        shared: settings given by the user; they win over a phase's own.
        config_dir: a folder of further settings.
        trust: whether they may name code from outside cf.
        place: the setting that holds the phases.
    """

    folder: Path
    phases: Mapping[str, Sequence[str]]
    shared: Sequence[str]
    config_dir: str | None = None
    trust: bool = field(default=False, compare=False)
    place: str = field(default="phases", compare=False)

    @staticmethod
    def started(folder: Path) -> bool:
        """Whether this is the folder of a training in phases."""
        return (folder / "phases.yaml").is_file()

    @classmethod
    def load(cls, folder: Path, trust: bool = False) -> "Phases":
        """The training that was begun in a folder, wherever that is now.

        Raises:
            ValueError: if the file that tells its phases is damaged.
        """
        file = folder / "phases.yaml"
        saved = yaml_of(file, "list of phases")
        try:
            phases, shared, config = (saved[name] for name in ("phases", "shared", "config_dir"))
            lists = [shared, *phases.values()]
            if not phases or any(not isinstance(text, str) for part in lists for text in part):
                raise TypeError("phases and shared are to be lists of settings")
        except (LookupError, TypeError, AttributeError) as error:
            raise ValueError(
                f"{file} does not tell the phases of a training ({error}); mend it, or go on with "
                f"a single phase: {resuming(folder / 'PHASE')}"
            ) from None
        begun = _begun(folder, list(phases))
        resolved = {name: _seen_from(part, folder, begun) for name, part in phases.items()}
        return cls(folder, resolved, _seen_from(shared, folder, begun), config, trust)

    @classmethod
    def start(
        cls,
        folder: Path,
        phases: Mapping[str, Sequence[str]],
        overrides: Sequence[str],
        config_dir: str | None = None,
        trust: bool = False,
    ) -> "Phases":
        """A new training, written down so that it can be resumed.

        Raises:
            ValueError: if another training stands in the folder.
        """
        names = ((override, override.lstrip("+~").split("=")[0]) for override in overrides)
        shared = [
            override
            for override, name in names
            if name.split(".")[0] not in _OWN and name not in _OWN
        ]
        training = cls(folder, {k: list(v) for k, v in phases.items()}, shared, config_dir, trust)
        if cls.started(folder) and cls.load(folder) != training:
            raise ValueError(
                f"{folder} holds a training in phases with other settings; go on with it by "
                f"{cls.load(folder).again}, or give another hydra.run.dir"
            )
        portable = {name: _told_from(part, folder) for name, part in training.phases.items()}
        saved = {
            "phases": portable,
            "shared": _told_from(shared, folder),
            "config_dir": config_dir,
        }
        text = yaml.safe_dump(saved, sort_keys=False, allow_unicode=True)
        write_text(folder / "phases.yaml", text)
        return training

    @property
    def again(self) -> str:
        """The command that goes on with it."""
        option = "" if self.config_dir is None else f" --config-dir {word(self.config_dir)}"
        return resuming(self.folder) + option + (" trust=true" if self.trust else "")

    def resumed(self, overrides: Sequence[str], config_dir: str | None = None) -> "Phases":
        """The same, to be run on.

        Args:
            overrides: settings as typed; only those that every resumed run takes may be among them.
            config_dir: a folder of further settings that the user named again, and so trusts.

        Raises:
            ValueError: if settings are to be exchanged, for it is not said of which phase; or if
                its file, which is not trusted, asks for what a stranger's may not ask for.
        """
        if not self.trust:
            named = config_dir is not None and config_dir == self.config_dir
            folder = None if named else self.config_dir
            vet_phases(self.phases, self.shared, folder, self.folder / "phases.yaml")
        others = [
            override for override in overrides if override.lstrip("+~").split("=")[0] not in _OWN
        ]
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
            Stopped: if this process was asked to end.
        """
        if not any((self.folder / name).exists() for name in self.phases):
            self._refuse_unfit()
        for name in self.phases:
            phase = RunFolder(self.folder / name)
            if phase.finished():
                self._refuse_stale(phase)
                log.info("phase %s is finished: %s", name, phase.export)
                continue
            arguments = self._arguments(name, self.shared)
            if phase.config.is_file():
                trusted = ["trust=true"] if self.trust else []
                arguments = [*self._options, f"resume={quoted(str(phase.path))}", *trusted]
            log.info("phase %s: %s", name, shell_command("cf.fit", arguments))
            try:
                status = run([sys.executable, "-m", "cf.fit", *arguments])
            except Stopped as stopped:
                log.info("%s; go on with: %s", stopped, self.again)
                stopped.told = True
                raise
            if status and not any((self.folder / name).exists() for name in self.phases):
                raise ValueError(
                    f"phase {name} did not begin, and nothing was made; its message stands above"
                )
            if status or not phase.finished():
                raise ValueError(
                    f"phase {name} did not finish; its message stands above. Go on with: "
                    f"{self.again}"
                )
        last = list(self.phases)[-1]
        network = RunFolder(self.folder / last).export
        log.info("all phases are finished; network: %s", network)

    def _arguments(self, name: str, shared: Sequence[str]) -> list[str]:
        """Of `cf.fit`, with which a phase begins."""
        place = f"hydra.run.dir={quoted(str(self.folder / name))}"
        return [*self._options, *self.phases[name], *shared, place]

    @property
    def _options(self) -> list[str]:
        """Of every phase's command, before its settings."""
        return [] if self.config_dir is None else ["--config-dir", self.config_dir]

    def _refuse_unfit(self) -> None:
        """Raise a ValueError if a later phase could not begin with what all are given."""
        for name in self.phases:
            fault = self._fault(name, self.shared)
            if not fault:
                continue
            without = {text: [it for it in self.shared if it != text] for text in self.shared}
            wrong = [text for text in self.shared if not self._fault(name, without[text])]
            takes = [phase for phase in self.phases if not self._fault(phase, self.shared)]
            if len(wrong) != 1:
                raise ValueError(f"phase {name}: {fault}")
            alone = [f"to {phase} alone by {self._with(phase, wrong[0])}" for phase in takes]
            raise ValueError(
                f"phase {name}: {fault}. All phases are given {wrong[0]}; leave it out"
                + (f", or give it {' or '.join(alone)}" if alone else "")
            )

    def _fault(self, name: str, shared: Sequence[str]) -> str:
        """Why a phase cannot begin with these settings; empty: its settings are in order."""
        try:
            with anew():
                prepared(self._arguments(name, shared), "fit")
        except ValueError as error:
            return str(error)
        return ""

    def _with(self, name: str, setting: str) -> str:
        """The list of a phase and a setting more, as a shell takes it."""
        bare = [re.sub(r"='([^'\\]*)'$", r"=\1", text) for text in (*self.phases[name], setting)]
        listed = ",".join(f'"{text}"' for text in _told_from(bare, self.folder))
        return word(f"{self.place}.{name}=[{listed}]")

    def _refuse_stale(self, run: RunFolder) -> None:
        """A finished phase must have begun from what the phases before it now end with."""
        from cf.models.start import is_same

        for path, sha256, *updates in run.starts():
            if self.folder in path.parents and not is_same(path, sha256, *updates):
                raise ValueError(
                    f"{run.path} was trained from another {path.name} than there is now; delete "
                    f"{run.path} to train it again"
                )


def _told_from(settings: Sequence[str], folder: Path) -> list[str]:
    """Settings with the folder as `${folder}`."""
    return [re.sub(rf"{re.escape(str(folder))}(?=[/'\"]|$)", _FOLDER, text) for text in settings]


def _begun(folder: Path, phases: Sequence[str]) -> Path | None:
    """Where a training of old was begun: its phases tell; those of now tell `${folder}`."""
    for run_folder in (RunFolder(folder / name) for name in phases):
        if run_folder.config.is_file() and run_folder.begun is not None:
            return run_folder.begun.parent
    return None


def _seen_from(settings: Sequence[str], folder: Path, begun: Path | None) -> list[str]:
    portable = settings if begun is None else _told_from(settings, begun)
    return [text.replace(_FOLDER, str(folder)) for text in portable]
