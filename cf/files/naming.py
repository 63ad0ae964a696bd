"""Names made of texts: for files and tables, and to find a text again by a file's name."""

from __future__ import annotations

import difflib
import hashlib
import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path

_COMPARED = 300  # letters of a name: the time grows with their square
MOST_BYTES = 60
"""Of a slug; file systems allow 255 of a whole name."""


def composed(text: str) -> str:
    """The text with every accent in one code point with its letter (NFC): macOS splits them."""
    return unicodedata.normalize("NFC", text)


def folded(name: str) -> str:
    """Equal for names that some file system takes for one: case and composition do not count."""
    return composed(composed(name).casefold())


def slug(text: str) -> str:
    """Words in small letters with hyphens between; nothing is cut.

    >>> slug("A red fox, at 24 fps!")
    'a-red-fox-at-24-fps'
    """
    plain = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return "-".join(
        "".join(c if unicodedata.category(c)[0] in "LMN" else " " for c in plain).split()
    )


def spelt(name: str, known: Iterable[str]) -> str:
    """The known name that this one is in other letters, as tables have them; else itself.

    >>> spelt("Prompt ID", ["prompt", "prompt_id"]), spelt("FPS", ["prompt"])
    ('prompt_id', 'FPS')
    """
    name_folded = re.sub(r"[\s-]+", "_", folded(name.strip()))
    return name_folded if name_folded in known else name


def number_of(text: str) -> int:
    """A whole number below 2**62 that follows from a text."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 2


def cut_to_bytes(text: str, most_bytes: int = MOST_BYTES) -> str:
    """The beginning of a text, as far as it fits in so many bytes of UTF-8."""
    return text.encode("utf-8", "surrogateescape")[:most_bytes].decode("utf-8", "ignore")


def near(name: str, known: Iterable[str], most: int = 3) -> list[str]:
    """Those known names that are much the same, the nearest first; long ones by their beginning."""
    fold = {folded(one[:_COMPARED]): one for one in known}
    close = difflib.get_close_matches(folded(name[:_COMPARED]), list(fold), most)
    return [fold[one] for one in close]


def meant(name: str, known: Iterable[str]) -> str:
    """The nearest known name as the end of a message; empty if none is near."""
    nearest = near(name, known, 1)
    return f" (is {nearest[0]!r} meant?)" if nearest else ""


def name_pattern(pattern: str) -> re.Pattern[str]:
    """A regular expression that reads a prompt and maybe a seed from a file's name.

    Raises:
        ValueError: it is none, or has no group `prompt`.
    """
    try:
        form = re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"pattern={pattern!r} is no regular expression: {error}") from None
    if "prompt" not in form.groupindex:
        raise ValueError(f"pattern={pattern!r} needs a group: '(?P<prompt>.*)-(?P<seed>[0-9]+)'")
    return form


def name_by(form: re.Pattern[str], stem: str, file: str | Path) -> tuple[str, int | None]:
    """The prompt and the seed in the name of a file; no seed if the pattern has none.

    Raises:
        ValueError: the pattern does not match the name, or its seed is no whole number.
    """
    match = form.fullmatch(stem)
    if match is None:
        raise ValueError(f"pattern={form.pattern!r} does not match {stem!r}, from {file}")
    seed = match.groupdict().get("seed")
    try:
        return match["prompt"] or "", None if seed is None else int(seed)
    except ValueError:
        raise ValueError(
            f"pattern={form.pattern!r} takes {seed!r} for a seed, from {file}; a seed is a whole "
            f"number"
        ) from None
