"""The index of a prepared folder: which files there are, what they hold, what they were made of."""

import json
import re
from dataclasses import asdict, dataclass, field
from typing import Any

INDEX = "index.json"
FORMAT = 1
LATENTS, TEXTS = "latents", "texts"
_FILE = re.compile(r"(latents|texts)-\d{6}\.safetensors")
_MOST_NUMBERS = 2**33  # of a latent clip or a text; who made the folder may be a stranger


@dataclass(frozen=True)
class Shard:
    """A file of a prepared folder.

    Attributes:
        file: its name in the folder; empty where nothing of what was planned could be read.
        count: samples in it.
        size: bytes.
        sha256: of the file.
        sources: of latents, the names of the videos in order, and how many clips each gave.
    """

    file: str
    count: int
    size: int
    sha256: str
    sources: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True)
class ShardIndex:
    """What a prepared folder holds, and what it was made of.

    Attributes:
        latents, texts: the files; samples are numbered through them, from 0.
        shape: frames, channels, height and width of a clip of latents; empty: there is none.
        text_shape: tokens and width of the states of a text; empty: there is none.
        made: provenance: settings of codec and text encoder, hashes of their weights, how clips
            were cut, versions.
        left_out: what could not be prepared, by name, with the reason.
    """

    latents: tuple[Shard, ...]
    texts: tuple[Shard, ...]
    shape: tuple[int, ...]
    text_shape: tuple[int, ...]
    made: dict[str, Any]
    left_out: dict[str, str] = field(default_factory=dict)

    def written(self) -> str:
        """As it stands in the folder."""
        return json.dumps({"format": FORMAT, **asdict(self)}, indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def read(cls, text: str, where: str) -> "ShardIndex":
        """The index that a text holds.

        Args:
            text: JSON.
            where: it stands, for messages.

        Raises:
            ValueError: it is no index, or one of another format.
        """
        try:
            said = json.loads(text)
            if said["format"] != FORMAT:
                raise ValueError(f"format {said['format']!r}, and {FORMAT} is read here")
            shards = [tuple(_shard(shard) for shard in said[kind]) for kind in (LATENTS, TEXTS)]
            clip, states = _shape(said["shape"], 4), _shape(said["text_shape"], 2)
            left_out = {str(name): str(why) for name, why in said["left_out"].items()}
            return cls(shards[0], shards[1], clip, states, dict(said["made"]), left_out)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise ValueError(
                f"{where} is no index of a prepared folder ({type(error).__name__}: "
                f"{str(error)[:100]}); make the folder anew with python -m cf.prepare"
            ) from None


def _shard(said: Any) -> Shard:
    file, count = str(said["file"]), int(said["count"])
    if count < 0 or (file and not _FILE.fullmatch(file)) or bool(file) != bool(count):
        raise ValueError(f"a file {file[:60]!r} of {count} samples")
    sources = tuple((str(name), int(n)) for name, n in said["sources"])
    if sources and (sum(n for _, n in sources) != count or min(n for _, n in sources) < 0):
        raise ValueError(f"{file} does not hold the clips of its videos")
    return Shard(file, count, int(said["size"]), str(said["sha256"]), sources)


def _shape(said: Any, sides: int) -> tuple[int, ...]:
    shape, numbers = tuple(int(side) for side in said), 1
    for side in shape:
        numbers *= side
    if (shape and len(shape) != sides) or any(side < 1 for side in shape):
        raise ValueError(f"a shape {said!r}")
    if numbers > _MOST_NUMBERS:
        raise ValueError(f"a shape {said!r}, of more than {_MOST_NUMBERS} numbers")
    return shape
