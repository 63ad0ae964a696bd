"""What a page and the server say to each other: bounded, checked, and never run."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cf.data.script import MOST_LETTERS
from cf.data.world.steered import KEYS

MOST_TEXT = 2**18
"""Bytes of a message of text: a prompt is the longest thing that a page says."""
MOST_PICTURE = 2**23
MOST_WANTED = 64
"""Frames that a page may ask for at once."""
_LARGEST = 2**53 - 1  # that JavaScript counts exactly


class MalformedMessageError(ValueError):
    """A message that no page of ours sends."""


@dataclass(frozen=True)
class PageMessage:
    """A message of a page.

    Attributes:
        what: `begin`, `keys`, `run`, `say`, `frames`, `save`, `seen` or `take`.
        values: what belongs to it, checked.
    """

    what: str
    values: Mapping[str, Any]


def read_message(text: str) -> PageMessage:
    """A message of a page, once sure that it is one.

    Raises:
        MalformedMessageError: it is too long, no JSON, or has another shape.
    """
    if len(text) > MOST_TEXT:
        raise MalformedMessageError("too long")
    try:
        message = json.loads(text, parse_constant=_refused)
    except (ValueError, RecursionError):
        raise MalformedMessageError("no JSON") from None
    if not isinstance(message, dict) or message.get("do") not in _SHAPES:
        raise MalformedMessageError("says nothing that is known")
    what = message.pop("do")
    shape = _SHAPES[what]
    if set(message) != set(shape) or not all(fits(message[name]) for name, fits in shape.items()):
        raise MalformedMessageError(f"{what} has another shape")
    return PageMessage(what, message)


def _refused(name: str) -> Any:
    raise ValueError(name)


def _number(value: Any) -> bool:
    return type(value) is int and 0 <= value <= _LARGEST


def _flag(value: Any) -> bool:
    return isinstance(value, bool)


def _text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= MOST_LETTERS


def _name(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= 100


def _held(value: Any) -> bool:
    return isinstance(value, list) and len(value) <= len(KEYS) and all(key in KEYS for key in value)


def _memories(value: Any) -> bool:
    listed = isinstance(value, list) and 1 <= len(value) <= 2 and all(map(_name, value))
    return listed and len(set(value)) == len(value)


def _wanted(value: Any) -> bool:
    return isinstance(value, list) and len(value) <= MOST_WANTED and all(map(_number, value))


_SHAPES: dict[str, dict[str, Any]] = {
    "begin": {
        "memories": _memories,
        "seed": _number,
        "number": lambda value: _number(value) and value < 2**31,
        "text": _text,
        "picture": _flag,
    },
    "keys": {"held": _held, "tapped": _held, "at": _number},
    "run": {"on": _flag},
    "say": {"text": _text, "switch": _name},
    "frames": {"wanted": _wanted},
    "save": {},
    "seen": {"frame": _number},
    "take": {},
}


def packed(head: Mapping[str, Any], pictures: Sequence[bytes]) -> bytes:
    """Pictures behind a line that says what they are: its length, the line, the pictures.

    Args:
        head: becomes JSON, with the pictures' lengths as `sizes`.
        pictures: encoded, in the order that `head` implies.
    """
    line = json.dumps({**head, "sizes": [len(picture) for picture in pictures]}).encode()
    return b"".join((struct.pack("<I", len(line)), line, *pictures))
