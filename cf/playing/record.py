"""session.json: what a session was made of and what was played, so that it can be made again."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

from cf.data.script import text_from
from cf.data.world.steered import KEYS
from cf.files.atomic import write_text
from cf.files.text import read_json_file
from cf.settings.build import Settings
from cf.settings.trusted import FACTORIES, Vetting, bound, vet_export

KIND, VERSION = "cf.play session", 1
MOST_FRAMES = 200_000
_MOST_TEXTS, _MOST_PICTURE = 10_000, 2**25
_LETTERS = {"ahead": "W", "left": "A", "back": "S", "right": "D"}
_PARTS = ("model", "codec", "text", "rollout", "fps", "size")


@dataclass(frozen=True)
class Played:
    """A session as it is written down.

    Attributes:
        network: the settings with which `cf.runs.generator.load` made it.
        weights_sha256: of its weights.
        world: settings of the world that was walked through; None for none.
        memories: by name; None: the network's own.
        seed, world_seed, number, given, text: as those of `cf.playing.session.Begin`.
        picture: what it went on from, as PNG; None for none.
        frames: that were generated.
        keys: [frames, letters of the keys that were held for so long], in order.
        texts: [frame, text, name of the switch].
        switches: settings of each that was used, by name.
        device, threads: that made it, on which the last bit depends.
    """

    network: Settings
    weights_sha256: str
    world: Settings | None
    memories: dict[str, Settings | None]
    seed: int
    world_seed: int
    number: int
    given: int
    text: str
    picture: bytes | None
    frames: int
    keys: list[tuple[int, str]] = field(default_factory=list)
    texts: list[tuple[int, str, str]] = field(default_factory=list)
    switches: dict[str, Settings] = field(default_factory=dict)
    device: str = "cpu"
    threads: int = 1

    def write(self, path: Path) -> None:
        """As JSON that a person can read."""
        values = asdict(self)
        if self.picture is not None:
            values["picture"] = base64.b64encode(self.picture).decode()
        write_text(path, json.dumps({"kind": KIND, "version": VERSION, **values}, indent=1) + "\n")

    def held(self) -> list[tuple[str, ...]]:
        """Keys of each generated frame."""
        words = {letter: key for key, letter in _LETTERS.items()}
        return [
            tuple(key for key in KEYS if key in {words[letter] for letter in letters})
            for count, letters in self.keys
            for _ in range(count)
        ]


def runs_of(keys: Sequence[Collection[str]]) -> list[tuple[int, str]]:
    """Keys of each frame as lengths and letters.

    >>> runs_of([("ahead",), ("ahead",), (), ("ahead", "left")])
    [(2, 'W'), (1, ''), (1, 'WA')]
    """
    spelt = ("".join(_LETTERS[key] for key in KEYS if key in pressed) for pressed in keys)
    return [(len(list(same)), letters) for letters, same in groupby(spelt)]


def read_played(path: str | Path) -> Played:
    """A session that was written down, by anybody: what it asks for is vetted, and nothing is run.

    Raises:
        ValueError: it cannot be read, is no session, or asks for what it may not.
    """
    values = read_json_file(path, "recorded session")
    if not isinstance(values, dict) or values.pop("kind", None) != KIND:
        raise ValueError(f"{path} is no session of cf.play; give the session.json that it saved")
    version = values.pop("version", None)
    if version != VERSION:
        raise ValueError(f"{path} is of version {version!r}, and this one reads {VERSION}")
    faults = list(_faults(values))
    if faults:
        raise ValueError(f"{path}: {faults[0]}; record the session again")
    picture = values["picture"]
    read = {
        **values,
        "picture": None if picture is None else base64.b64decode(picture, validate=True),
        "keys": [(count, letters) for count, letters in values["keys"]],
        "texts": [(at, text_from(text, str(path)), name) for at, text, name in values["texts"]],
    }
    played = Played(**read)
    vet_played(played, f"the session {Path(path).name}")
    return played


def vet_played(played: Played, source: str) -> None:
    """Refuse what a session's file may not ask for.

    Raises:
        ValueError: naming what it asks for, and the remedy.
    """
    from cf.data.world.steered import SteeredWorld
    from cf.memory.base import Memory
    from cf.models.picture import ImageEncoder
    from cf.rollout.switch import Switch

    network = played.network
    parts = {name: network[name] for name in _PARTS if network.get(name) is not None}
    vet_export(parts, source)
    bound({"network": network, "switches": played.switches}, source)
    vetting = Vetting(source, FACTORIES)
    slots: list[tuple[Any, type, str]] = [
        (network.get("memory"), Memory, "memory"),
        (network.get("switch"), Switch, "switch"),
    ]
    slots += [(network.get("image_encoder"), ImageEncoder, "image_encoder")]
    slots += [(played.world, SteeredWorld, "world")]
    slots += [(memory, Memory, f"memories.{name}") for name, memory in played.memories.items()]
    slots += [(switch, Switch, f"switches.{name}") for name, switch in played.switches.items()]
    for settings, kind, where in slots:
        if settings is not None:
            bound(settings, source, 10**6)
            vetting.vet(settings, kind, where)
    others = {k: v for k, v in network.items() if k not in {*_PARTS, *(w for *_, w in slots)}}
    vetting.vet(others, None, "network")


def _faults(values: dict[str, Any]) -> Iterator[str]:
    """What is wrong with a file's values, in words."""
    names = Played.__dataclass_fields__
    if lacking := [name for name in names if name not in values]:
        yield f"it has no {lacking[0]}"
        return
    if more := [name for name in values if name not in names]:
        yield f"it has a {more[0]}, which no session has"
    for name in ("seed", "world_seed", "number", "given", "frames", "threads"):
        if not _whole(values[name], 2**63 - 1):
            yield f"{name} is {values[name]!r}, and no whole number from 0 on"
    for name in ("weights_sha256", "text", "device"):
        if not isinstance(values[name], str):
            yield f"{name} is no text"
    for name in ("network", "memories", "switches"):
        if not isinstance(values[name], dict):
            yield f"{name} is no mapping"
    yield from _faults_of_lists(values)


def _faults_of_lists(values: dict[str, Any]) -> Iterator[str]:
    picture, keys, texts = values["picture"], values["keys"], values["texts"]
    if picture is not None and not (isinstance(picture, str) and len(picture) <= _MOST_PICTURE):
        yield "picture is no PNG in base64"
    if not (_whole(values["frames"], MOST_FRAMES) and _whole(values["given"], MOST_FRAMES)):
        yield f"it has more than {MOST_FRAMES:,} frames"
        return
    letters = set(_LETTERS.values())
    fits = isinstance(keys, list) and all(
        isinstance(run, list)
        and len(run) == 2
        and _whole(run[0], MOST_FRAMES)
        and isinstance(run[1], str)
        and len(run[1]) <= len(letters)
        and set(run[1]) <= letters
        for run in keys
    )
    if not fits or sum(count for count, _ in keys) not in (0, values["frames"]):
        yield "keys must be [[frames, letters of WASD], ...] of all frames"
    fits = isinstance(texts, list) and len(texts) <= _MOST_TEXTS
    if not fits or not all(
        isinstance(entry, list) and len(entry) == 3 and _whole(entry[0], 2 * MOST_FRAMES)
        for entry in texts
    ):
        yield "texts must be [[frame, text, switch], ...]"
    elif any(entry[2] not in values["switches"] for entry in texts):
        yield "a text names a switch that is not there"


def _whole(value: Any, most: float = math.inf) -> bool:
    return type(value) is int and 0 <= value <= most
