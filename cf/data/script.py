"""Texts of a video and the seconds from which they hold, as people write them."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from cf.files.naming import composed

Script = tuple[tuple[float, str], ...]

MOST_LETTERS = 2**15
"""Of a text: no encoder reads so many, and a million accents on one letter take minutes."""


_AROUND = re.compile(r"\A[\s\u200b\u2060\ufeff]+|[\s\u200b\u2060\ufeff]+\Z")
"""Spaces at the ends of a text, and marks without width, which pages bring along when copied."""

_UNSEEN = ("Cc", "Cf", "Zs", "Zl", "Zp")


def script_of(acts: Any, where: str, may_be_empty: bool = False) -> Script:
    """A script from `[[seconds, text], ...]`: from 0 on, at rising seconds.

    Args:
        acts: the list as it was read.
        where: what is read, as the beginning of a message.
        may_be_empty: a text may have no letter, which is no condition.

    Raises:
        ValueError: it is no such list, or seconds do not rise.
    """
    if not isinstance(acts, Sequence) or isinstance(acts, str) or not acts:
        raise ValueError(f"{where} must be [[seconds, text], ...], got {repr(acts)[:80]}")
    script = []
    for act in acts:
        if not isinstance(act, Sequence) or isinstance(act, str) or len(act) != 2:
            excerpt = repr(act)[:80]
            raise ValueError(f"{where} must be [[seconds, text], ...], got {excerpt} in it")
        script.append((_seconds(act[0], where), text_from(act[1], where, may_be_empty)))
    times = [seconds for seconds, _ in script]
    if times[0] != 0 or any(a >= b for a, b in pairwise(times)):
        raise ValueError(f"{where} must begin at 0 and go on at rising seconds, got {times}")
    return tuple(script)


def refuse_unseen(
    times: Sequence[float], steps: Sequence[int], stop: int, where: str, each: str, ends: str
) -> None:
    """Refuse texts that are never seen: two begin in one step of a video, or one when it is over.

    Args:
        times: seconds at which texts begin, rising.
        steps: of the video, at which they begin.
        stop: the step at which it is over.
        where: whose texts they are, as the beginning of a message.
        each: what a step is: a frame, a block of frames.
        ends: when the video is over, in words.

    Raises:
        ValueError: naming the texts.
    """
    for (t1, first), (t2, second) in pairwise(zip(times, steps, strict=True)):
        if first >= second:
            raise ValueError(
                f"{where}: the texts of {t1:g} s and {t2:g} s begin in one {each}, so that the "
                f"first would never be seen; let more time pass between them, or leave one out"
            )
    if steps[-1] >= stop:
        raise ValueError(
            f"{where}: the text of {times[-1]:g} s would never be seen: {ends}, and a text begins "
            f"with a {each}; give a longer one, or leave the text out"
        )


def text_from(value: Any, where: str, may_be_empty: bool = False) -> str:
    """A text that a person gave: a number or a truth value stands for its spelling.

    It has no spaces or unseen marks at its ends, and accents are composed with their letters.

    Raises:
        ValueError: it is null, a list or a mapping, or empty where it may not be.
    """
    if isinstance(value, bool):
        value = "true" if value else "false"
    if not isinstance(value, str | int | float):
        shown = "null" if value is None else repr(value)
        raise ValueError(f"{where}: the text is {shown}; give a text, in quotes if it is a word")
    text = str(value)
    if len(text) > MOST_LETTERS:
        raise ValueError(
            f"{where}: the text has {len(text):,} characters, {text[:40]!r} and so on; give one "
            f"of at most {MOST_LETTERS:,}"
        )
    text = _AROUND.sub("", composed(text))
    if "\0" in text:
        raise ValueError(f"{where}: {text[:40]!r} holds a NUL character, which no text does")
    if any("\ud800" <= char <= "\udfff" for char in text):
        raise ValueError(f"{where}: {text!r} holds half a character (a surrogate alone)")
    if all(unicodedata.category(char) in _UNSEEN for char in text):
        text = ""
    if not text and not may_be_empty:
        raise ValueError(f"{where}: the text is empty; give one, or take the entry out")
    return text


def _seconds(value: Any, where: str) -> float:
    try:
        seconds = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        seconds = math.nan
    if not (math.isfinite(seconds) and seconds >= 0):
        raise ValueError(f"{where}: a text begins at a number of seconds from 0 on, not {value!r}")
    return seconds
