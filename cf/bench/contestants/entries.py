"""Contestants from settings: named ones, and networks under every memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cf.bench.contestants.base import Contestant
from cf.bench.contestants.imported import Imported
from cf.bench.contestants.network import Network
from cf.bench.store import folder_of
from cf.bench.tasks.base import Task, VideoSpec
from cf.settings.build import Settings, build

_NETWORK = "cf.bench.contestants.network.Network"
_MOST_NAME = 120


@dataclass(frozen=True)
class Entry:
    """A contestant that is at hand, or why it is not.

    Attributes:
        settings: how it is built anew, in another process.
        missing: what is not at hand; empty if it takes part.
        training: which of a method's trainings it is; None: it was trained once.
    """

    name: str
    settings: Settings
    contestant: Contestant
    terms: VideoSpec | None
    fingerprint: str
    missing: str = ""
    training: int | None = None

    @property
    def label(self) -> str:
        """The name with the number of the training, for messages."""
        return self.name if self.training is None else f"{self.name}, training {self.training}"

    @property
    def files(self) -> str:
        """The name as that of a folder; the trainings of a method share it."""
        name = folder_of(self.name)
        if not name or name.startswith((".", "-", "~")) or len(name.encode()) > _MOST_NAME:
            raise ValueError(
                f"contestants: the name {self.name[:60]!r} cannot be that of a folder; give 1 to "
                f"{_MOST_NAME} bytes, the first no dot, hyphen or tilde"
            )
        return name


def entries(settings: Settings, asked: Task) -> list[Entry]:
    """Build every contestant that the settings name, in order.

    Raises:
        ValueError: if nobody is, two have one name, or two differ in size or frame rate.
    """
    named = {name: options for name, options in (settings["contestants"] or {}).items() if options}
    memories = {name: choice for name, choice in (settings.get("memories") or {}).items() if choice}
    for name, paths in (settings["networks"] or {}).items():
        checkpoint = [str(path) for path in paths] if isinstance(paths, list) else str(paths)
        source = str(Path(checkpoint[0]).parent) if isinstance(checkpoint, list) else checkpoint
        for memory, choice in (memories or {"": None}).items():
            label = f"{name}, {memory}" if memory else name
            network = {"_target_": _NETWORK, "checkpoint": checkpoint, "memory": choice}
            named[label] = {**network, "source": source, "how": "give the folder of a run"}
    entered: list[Entry] = []
    for name, options in named.items():
        for training, alone in _trainings(name, options):
            contestant: Contestant = build({**alone, "_recursive_": False}, f"contestants.{name}")
            how = settings.get("compile", "none")
            if how != "none" and isinstance(contestant, Network) and "compile" not in alone:
                alone, contestant = {**alone, "compile": how}, replace(contestant, compile=how)
            entry = _entry(name, alone, contestant, asked, training)
            entered.append(entry)
            if not settings["commit_reads"] or entry.missing or not isinstance(contestant, Network):
                continue
            if (more := _with_commit_reads(contestant)) is not None:
                restricted = {**alone, "commit_reads": {}}
                label = f"{name} + commit reads"
                entered.append(_entry(label, restricted, more, asked, training))
    if not entered:
        raise ValueError("nobody takes part: give networks='{name: RUN}' or contestants=smoke")
    folders = [(entry.files, entry.training) for entry in entered]
    for i, (folder, training) in enumerate(folders):
        if (folder, training) in folders[:i]:
            raise ValueError(f"two contestants would share the folder {folder}; rename one")
    drawn = asked.control_width is not None  # a world is painted at one size and rate
    if drawn or settings["unequal"] == "refuse":
        _refuse_unequal(entered, asked.terms(), drawn)
    return entered


def _trainings(name: str, settings: Settings) -> Iterator[tuple[int | None, Settings]]:
    """A method whose checkpoint is a list was trained several times, from the same starts."""
    checkpoints = settings.get("checkpoint")
    if not isinstance(checkpoints, list):
        yield None, settings
        return
    if not checkpoints:
        raise ValueError(f"{name}: checkpoint=[] names no training")
    if len(checkpoints) == 1:  # trained once: it stands beside every training of the others
        yield None, {**settings, "checkpoint": checkpoints[0]}
        return
    for training, checkpoint in enumerate(checkpoints):
        yield training, {**settings, "checkpoint": checkpoint}


def _with_commit_reads(network: Network) -> Network | None:
    """A copy with restricted commit reads; None where it has them, or its memory allows none."""
    if network.commit_reads is not None:
        return None
    restricted = replace(network, commit_reads={})
    try:
        build(restricted.memory_settings(), "memory")
    except ValueError:
        return None
    return restricted


def _entry(
    name: str, settings: Settings, contestant: Contestant, task: Task, training: int | None
) -> Entry:
    settings = {**settings, "_recursive_": False}
    lacking = contestant.missing()
    if lacking:
        return Entry(name, settings, contestant, None, "", lacking, training)
    try:
        terms = contestant.terms(task.terms())
        contestant.check_task(task)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
    return Entry(name, settings, contestant, terms, contestant.fingerprint(), training=training)


def _refuse_unequal(entered: Sequence[Entry], task_spec: VideoSpec | None, drawn: bool) -> None:
    """Raise a ValueError that names who differs from the others in size or frame rate."""
    kinds: dict[tuple[float, tuple[int, int]], list[str]] = {}
    specs = [("what is asked for", task_spec), *((entry.label, entry.terms) for entry in entered)]
    for name, terms in specs:
        if terms is not None:
            kinds.setdefault((round(terms.fps, 3), terms.size), []).append(name)
    if len(kinds) > 1:
        lines = [
            f"{fps:g} frames/s, {size[0]} x {size[1]}: {', '.join(names)}"
            for (fps, size), names in kinds.items()
        ]
        hint = " or ".join(
            f"{entry.label} is read as contestants.{entry.name}.fps and .size say"
            for entry in entered
            if isinstance(entry.contestant, Imported)
        )
        show = "or compare unequals with unequal=show, which the report says"
        world = "since a world is painted as it is asked for (asked.data.size, asked.data.fps)"
        raise ValueError(
            "contestants differ in frame rate or size:\n  "
            + "\n  ".join(lines)
            + f"\nmake them equal{hint and f' ({hint})'}, {world if drawn else show}"
        )
