"""Texts and paths that a person types: which settings they are, and how Hydra is to read them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any

from hydra.core.override_parser.types import Quote, QuotedString

from cf.files.shipped import SHIPPED, shipped

PROMPTS = ("prompt", "negative_prompt", "*.negative_prompt")
"""Texts that may say anything, `null` included."""
TEXTS = (
    *PROMPTS,
    *(
        "pattern",
        "title",
        "contestants.*.pattern",
        "contestants.*.source",
        "contestants.*.how",
        "contestants.*.note",
        "contestants.*.lacks",
        "source",
        "note",
    ),
    *("weights.container", "*.weights.container", "start.*.container", "start.*.sha256"),
    *("adapters.sha256", "adapters.*.sha256"),
    *("against", "host", "token"),
)
"""Texts that may be null, which means that there is none."""
PATHS = (
    *("checkpoint", "video", "videos", "image", "resume", "folder", "docs", "export_vbench"),
    *("networks", "students", "oracle", "runs", "groups", "phases_folder"),
    *("networks.*", "students.*", "groups.*", "videos.*"),
    *("contestants.*.checkpoint", "contestants.*.needs", "contestants.*.listed"),
    *("data.folder", "*.folder", "*.file", "prompts_file", "script", "start.*.path"),
    *("adapters.path", "adapters.*.path"),
    *("weights.lora", "*.weights.lora", "start.*.lora"),
    *("sampling.guide", "*.sampling.guide"),
    *(
        "*extractor.weights",
        "*extractor.vocabulary",
        "*extractor.path",
        "text.weights",
        "*text.tokenizer",
    ),
    *("metrics.*.weights", "metrics.*.vocabulary"),
    *(
        "sweep.teacher",
        "sweep.base",
        "sweep.prompts",
        "*.dirpath",
        "trainer.default_root_dir",
        "tensorboard.save_dir",
    ),
)
"""Paths, lists of them and mappings from names to them; `~` opens in them."""
_AT_SECONDS = {
    "prompts": ("prompt", "[[0,'a fox'],[10,'it jumps']]"),
    "pinned": ("image", "[[0,'a.png'],[10,'b.png']]"),
}
"""Lists of [seconds, what], the setting that is such a text or path, and an example."""
PLACES = ("hydra.run.dir", "hydra.sweep.dir", "hydra.sweep.subdir")
"""Folders of results, in which Hydra's `${now:...}` stays what it is."""
ALIASES = {
    "bf16": "bfloat16",
    **dict.fromkeys(("fp16", "half"), "float16"),
    **dict.fromkeys(("fp32", "float"), "float32"),
    **dict.fromkeys(("fp64", "double"), "float64"),
}
"""Other names of number formats."""

_QUOTED = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\"""", re.DOTALL)
_ACT = r"\[\s*(?P<at>[^\[\],'\"]+?)\s*,\s*(?P<text>.*?)\s*\]"
_GLUED = re.compile(r"\]\s*,\s*\[|\]\[")
_NAME = re.compile(r"[\w\-.+/$%*@?| ]+", re.ASCII)
_WORDS = ("null", "own")
"""What settings take in place of a path."""
_CLOSED_BY = {"[": "]", "{": "}"}


def literal(argument: str, multirun: bool = False) -> str:
    r"""`name=value` as Hydra reads it, so that a text or a path arrives as it was typed.

    Args:
        argument: as typed.
        multirun: whether several values may be given: texts in quotes, 'a','b'; paths without
            them too, where each is there and the whole is not one.

    Raises:
        ValueError: a list or a mapping that cannot be read.

    >>> literal("prompt=it's 100% #1, {really}")
    "prompt='it\\'s 100% #1, {really}'"
    >>> literal("videos=[a (1).mp4,'b,c.mp4']")
    "videos=['a (1).mp4','b,c.mp4']"
    >>> literal("memory=slow_fast"), literal("data.fps=8")
    ('memory=slow_fast', 'data.fps=8')
    """
    key, equals, value = argument.partition("=")
    name = key.lstrip("+~")
    if not equals or value.strip() == "???":
        return argument
    if name.rpartition(".")[2] == "dtype":
        plain = value.lower().removeprefix("torch.")
        return f"{key}={ALIASES.get(plain, plain)}"
    if name in _AT_SECONDS:
        return f"{key}={_acts(value, name)}"
    if not (text := _matches(name, TEXTS)) and not _matches(name, (*PATHS, *PLACES)):
        return argument
    if value.strip().lower() == "null" and not _matches(name, PROMPTS):
        return argument
    if multirun and (several := _several(value)) is not None:
        before, parts, after = several
        return f"{key}={before}{','.join(_in_quotes(name, part) for part in parts)}{after}"
    if multirun and not text and (paths := _several_paths(name, value)):
        return f"{key}={','.join(paths)}"
    if text or _matches(name, PLACES) or os.path.lexists(os.path.expanduser(value)):
        return f"{key}={_in_quotes(name, value)}"
    return f"{key}={_nested(name, value.strip() if value.strip()[:1] in '[{' else value)}"


def quoted(text: str) -> str:
    r"""A text in Hydra's quotes.

    >>> quoted("it's"), quoted("a${b}")
    ("'it\\'s'", "'a\\${b}'")
    """
    quotation: str = QuotedString(literally(text), Quote.single).with_quotes()
    return quotation


def literally(text: str) -> str:
    """The text as OmegaConf must be told it so as not to look for references in it."""
    return re.sub(r"(\\*)\$\{", lambda match: match[1] * 2 + r"\${", text)


def with_home(settings: Any, at: str = "") -> Any:
    """The settings with `~` and `shipped:` opened in every path, at any depth.

    A codec's file stays as it is named, since exports name it on, for other machines.
    """
    if isinstance(settings, dict):
        return {
            name: with_home(value, f"{at}.{name}".lstrip(".")) for name, value in settings.items()
        }
    if isinstance(settings, list):
        return [with_home(value, at) for value in settings]
    if isinstance(settings, str) and settings.startswith(("~", SHIPPED)) and _matches(at, PATHS):
        named_on = settings.startswith(SHIPPED) and at.endswith(".file")
        return settings if named_on else shipped(os.path.expanduser(settings))
    return settings


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _in_quotes(name: str, value: str) -> str:
    """A single text or path, bare or in quotes, in Hydra's quotes."""
    closed = _QUOTED.fullmatch(value.strip()) is not None
    text = _unquoted(value) if closed else value
    if closed and _matches(name, PLACES) and not text.startswith("~"):
        return value
    if not _matches(name, TEXTS):
        text = os.path.expanduser(text)
    if _matches(name, PLACES):
        quotation: str = QuotedString(text, Quote.single).with_quotes()
        return quotation
    return quoted(text)


def _unquoted(value: str) -> str:
    """What stands between quotes; only what comes before a quote or a reference is escaped."""
    value = value.strip()
    mark, inner = value[0], value[1:-1]
    ends = re.search(r"\\+\Z", inner)
    if ends:
        inner = inner[: ends.start()] + ends[0][: len(ends[0]) // 2]
    inner = re.sub(
        rf"(\\+){mark}", lambda match: match[1][: (len(match[1]) - 1) // 2] + mark, inner
    )
    return re.sub(r"(\\*)\\\$\{", lambda match: match[1][: len(match[1]) // 2] + "${", inner)


def _several(value: str) -> tuple[str, list[str], str] | None:
    """The values of a sweep: 'a','b' or choice(a,b); None for what is one text."""
    called = re.fullmatch(r"\s*choice\((.*)\)\s*", value, re.DOTALL)
    parts = list(_split(called[1] if called else value))
    if called:
        return "choice(", parts, ")"
    if len(parts) > 1 and all(_QUOTED.fullmatch(part) for part in parts):
        return "", parts, ""
    return None


def _several_paths(name: str, value: str) -> list[str]:
    """The values of a sweep over paths that lack quotes, as Hydra reads them; none: it is one.

    A comma is a path's own where the whole is there, or where one of its parts is not.
    """
    parts = list(_split(value))
    if len(parts) < 2 or _matches(name, PLACES) or _is_there(value):
        return []
    if all(part[:1] in _CLOSED_BY and part.endswith(_CLOSED_BY[part[0]]) for part in parts if part):
        return [_nested(name, part) for part in parts] if all(parts) else []
    if not all(part in _WORDS or _is_there(part) for part in parts):
        return []
    return [part if part in _WORDS else _in_quotes(name, part) for part in parts]


def _is_there(path: str) -> bool:
    path = _unquoted(path) if _QUOTED.fullmatch(path.strip()) else path
    return path.startswith(SHIPPED) or os.path.lexists(os.path.expanduser(path))


def _nested(name: str, value: str) -> str:
    """A path, a list or a mapping of paths."""
    opens = value[:1]
    if opens not in _CLOSED_BY or not value.endswith(_CLOSED_BY[opens]):
        if value.lower() == "null" or (name.endswith("lora") and _number(value)):
            return value
        return _in_quotes(name, value)
    if len(list(_split(value))) > 1:
        raise ValueError(
            f"{name}={value} are several lists; write one, {name}=[A,B], with a path that holds "
            f"brackets in quotes: {name}=\"['[1].mp4','b']\""
        )
    parts = list(_split(value[1:-1])) if value[1:-1].strip() else []
    if not all(parts):
        raise ValueError(
            f"{name}={value}: something is missing between commas; a comma within a "
            f"path is written in quotes: {name}=\"['a,b','c']\""
        )
    if opens == "[":
        return f"[{','.join(_nested(name, part) for part in parts)}]"
    return f"{{{','.join(_pair(name, part) for part in parts)}}}"


def _pair(name: str, part: str) -> str:
    key, colon, path = part.partition(":")
    key = _unquoted(key) if _QUOTED.fullmatch(key.strip()) else key.strip()
    if not colon or not path.strip():
        raise ValueError(f"{name}: {part!r} is not 'name: path'; write {name}='{{mine: PATH}}'")
    if not _NAME.fullmatch(key):
        raise ValueError(
            f"{name}: the name {key!r} may hold English letters, digits, spaces and _-.+/ only"
        )
    return f"{key}:{_nested(name, path.strip())}"


def _split(text: str) -> Iterator[str]:
    """The parts between commas that stand in no quotes and no brackets."""
    begin, depth, at = 0, 0, 0
    while at < len(text):
        fresh = not text[begin:at].strip() or text[:at].rstrip()[-1:] in ("[", "{", ",", ":")
        if fresh and (mark := _QUOTED.match(text, at)):
            at = mark.end()
            continue
        depth += (text[at] in "[{") - (text[at] in "]}")
        if text[at] == "," and depth <= 0:
            yield text[begin:at].strip()
            begin = at + 1
        at += 1
    yield text[begin:].strip()


def _acts(value: str, name: str) -> str:
    """`[[0,a fox],[10,it jumps]]` with its texts in quotes; other values are Hydra's."""
    inner = re.fullmatch(r"\s*\[(.*)\]\s*", value, re.DOTALL)
    if inner is None or not inner[1].lstrip().startswith("["):
        return value
    acts = re.compile(_ACT + r"\s*(?:,(?=\s*\[\s*(?:[\d.+\-]+|inf|nan)\s*,)|$)", re.DOTALL)
    parts, at, body = list[str](), 0, inner[1].strip()
    while at < len(body):
        act = acts.match(body, at)
        if act is None:
            raise ValueError(
                f'{name}={value} cannot be read; write {name}="{_AT_SECONDS[name][1]}"'
            )
        text = act["text"]
        if _GLUED.search(text) and not _QUOTED.fullmatch(text):
            raise ValueError(
                f"{name}={value}: {text!r} is one text or several; write each text that has "
                f'brackets in quotes, as in {name}="{_AT_SECONDS[name][1]}"'
            )
        parts.append(f"[{act['at']},{_in_quotes(_AT_SECONDS[name][0], text)}]")
        at = act.end()
        at += len(body[at:]) - len(body[at:].lstrip())
    return f"[{','.join(parts)}]"


def _number(value: str) -> bool:
    return re.fullmatch(r"[+-]?\d*\.?\d+(?:[eE][+-]?\d+)?", value) is not None
