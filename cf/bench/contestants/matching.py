"""Video files matched to prompts and seeds by the names that tools give to files."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath

from cf.bench.tasks.base import Sample
from cf.files.naming import composed, near, slug

# Of at most 19 digits: no seed has more, and time would grow with the square of their number.
_NUMBER = re.compile(r"[0-9]{1,19}")
_SEED = re.compile(
    r"(?P<name>.*?)[-_ .]{0,9}(?:seed)?[-_ =]{0,9}(?P<seed>-?[0-9]{1,19})", re.IGNORECASE
)
_LEAST = 12  # letters from which on the beginning of a text may stand for it
_SHOWN = 5
_COMPARED = 2000  # names among which the nearest is looked for


@dataclass(frozen=True)
class Match:
    """The files that were found for the videos, and the videos without one.

    Attributes:
        files: by the items' keys.
        missing: items without a file.
        unused: names of files that belong to no item.
        twice: why some files cannot be told apart, a sentence each.
    """

    files: Mapping[str, str]
    missing: Sequence[Sample]
    unused: Sequence[str]
    twice: Sequence[str] = field(default_factory=list)


def stems(name: str, suffix: bool = True) -> tuple[str, ...]:
    """The names by which a file is found: its path in the folder, and its name, without suffix."""
    path = PurePath(name).with_suffix("") if suffix else PurePath(name)
    return tuple(dict.fromkeys((composed(path.as_posix()), composed(path.name))))


def match(
    items: Sequence[Sample], files: Mapping[str, Sequence[str]], numbered_from: int | None = None
) -> Match:
    """Match files to videos by name.

    A name is, without its ending: the prompt's name, its text, or its text as tools write it
    (other signs for spaces, none or others for punctuation, small letters, cut after
    12 letters or later), followed by the seed; the seed may be left out if only one is asked.

    Args:
        items: the videos that are asked for.
        files: each file's name in messages -> the names by which it may be found, see `stems`.
        numbered_from: names are numbers, this one for the first prompt; None: they are not.
    """
    by_name: dict[str, list[str]] = defaultdict(list)
    by_letters: dict[tuple[str, int | None], list[str]] = defaultdict(list)
    for file, names in files.items():
        for name in names:
            by_name[name].append(file)
            for read in _read(name):
                by_letters[read].append(file)
    alone = len({item.seed for item in items}) == 1
    begun = _beginnings(items, files, alone)
    places = {prompt: i for i, prompt in enumerate(dict.fromkeys(item.prompt for item in items))}
    numbers = {} if numbered_from is None else _numbers(files)
    matches: dict[str, str] = {}
    twice = []
    for item in items:
        if numbered_from is None:
            fit = _fitting(item, by_name, by_letters, begun, alone)
        else:
            place = places[item.prompt] + numbered_from
            fit = numbers.get((place, item.seed)) or (numbers.get((place,), []) if alone else [])
        if len(fit) > 1:
            twice.append(f"{described(item)} may be {' or '.join(sorted(fit)[:_SHOWN])}")
        elif fit:
            matches[item.key] = fit[0]
    twice += _shared(items, matches)
    missing = [item for item in items if item.key not in matches]
    used = set(matches.values())
    return Match(matches, missing, [file for file in files if file not in used], twice)


def _fitting(
    item: Sample,
    by_name: Mapping[str, Sequence[str]],
    by_letters: Mapping[tuple[str, int | None], Sequence[str]],
    begun: Mapping[str, Sequence[str]],
    alone: bool,
) -> list[str]:
    """Files that fit best: by the whole name, by its letters, by its beginning."""
    called = [item.prompt, *([item.identity] if item.identity else []), *_texts(item)]
    files: Sequence[str] = []
    for end in (f"-{item.seed}", f"_{item.seed}", *([""] * alone)):
        for name in called:
            files = files or by_name.get(name + end, ())
    for seed in (item.seed, *([None] * alone)):
        for name in called:
            files = files or (by_letters.get((_letters(name), seed), ()) if _letters(name) else ())
    return list(dict.fromkeys(files or begun.get(item.key, ())))


def _beginnings(
    items: Sequence[Sample], files: Mapping[str, Sequence[str]], alone: bool
) -> dict[str, list[str]]:
    """Files whose names are the beginning of one prompt's text and of no other's."""
    texts = sorted({(_letters(text), item.prompt) for item in items for text in _texts(item)})
    keys = {(item.prompt, item.seed): item.key for item in items}
    matches: dict[str, list[str]] = defaultdict(list)
    for file, names in files.items():
        for words, seed in _read(names[-1]):
            if seed is None and not alone:
                continue
            at = bisect_left(texts, (words, ""))
            fit = {prompt for text, prompt in texts[at : at + 2] if text.startswith(words)}
            meant = (*fit, items[0].seed if seed is None else seed)
            if len(words) >= _LEAST and len(fit) == 1 and meant in keys:
                matches[keys[meant]].append(file)
                break
    return matches


def _read(name: str) -> list[tuple[str, int | None]]:
    """The letters and the seed that a name may stand for; the whole name without a seed last."""
    split = _SEED.fullmatch(name)
    parts: list[tuple[str, int | None]] = []
    if split:
        parts.append((_letters(split["name"]), int(split["seed"])))
    return [*parts, (_letters(name), None)]


def _letters(text: str) -> str:
    """What tools leave of a text: its letters and digits."""
    return slug(text).replace("-", "")


def _numbers(files: Mapping[str, Sequence[str]]) -> dict[tuple[int, ...], list[str]]:
    """Files by the numbers in their names."""
    by_number: dict[tuple[int, ...], list[str]] = defaultdict(list)
    for file, names in files.items():
        by_number[tuple(int(digits) for digits in _NUMBER.findall(names[-1]))].append(file)
    return by_number


def _shared(items: Sequence[Sample], matches: Mapping[str, str]) -> Iterator[str]:
    """Files that were found for two prompts of different texts."""
    users: dict[str, list[Sample]] = defaultdict(list)
    for item in items:
        if item.key in matches:
            users[matches[item.key]].append(item)
    for name, some in users.items():
        if len({(item.script, item.seed) for item in some}) > 1:
            yield f"{name} may be {' or '.join(described(item) for item in some[:_SHOWN])}"


def remedy_of(found: Match, folder: str, who: str) -> str:
    """What was looked for, what lies there, and the setting that would help."""
    total = len(found.files) + len(found.missing)
    lines = [
        f"{who}: {len(found.missing)} of {total} videos that are asked for are not in {folder}"
    ]
    for item in found.missing[:_SHOWN]:
        close = near(f"{item.script[0][1] or item.prompt}-{item.seed}", found.unused[:_COMPARED], 1)
        nearest = f"; the nearest is {close[0]}" if close else ""
        lines.append(f"  no file for {described(item)}{nearest}")
    if len(found.missing) > _SHOWN:
        lines.append(f"  and {len(found.missing) - _SHOWN} more")
    lines += [f"  {line}" for line in found.twice[:_SHOWN]]
    if found.unused:
        some = ", ".join(found.unused[:_SHOWN])
        more = f" and {len(found.unused) - _SHOWN} more" * (len(found.unused) > _SHOWN)
        lines.append(f"  not used: {some}{more}")
    first = found.missing[0] if found.missing else None
    if first is not None:
        lines.append(f"  a file is named {first.key}.mp4, or {{text}}-{first.seed}.mp4")
    return "\n".join([*lines, f"  {_remedy(found, who)}"])


def _remedy(found: Match, who: str) -> str:
    """The setting that fits the names that lie there."""
    numbers = _numbers({name: stems(name) for name in found.unused})
    if not found.files and () not in numbers and len(numbers) == len(found.unused) > 0:
        least = min(number[0] for number in numbers)
        return (
            f"if their numbers are places in the prompt list, give "
            f"{who}.numbered_from={min(least, 1)}"
        )
    seeds = sorted({int(s["seed"]) for n in found.unused if (s := _SEED.fullmatch(stems(n)[-1]))})
    wanted = {item.seed for item in found.missing}
    if found.unused and seeds and not wanted & set(seeds):
        return (
            f"the files have the seeds {', '.join(map(str, seeds[:10]))}: asked.seeds={seeds[:10]}"
        )
    return (
        f"give {who}.listed=a csv of path, prompt and seed, {who}.pattern='(?P<prompt>.*)_(?P<seed>"
        f"[0-9]+)' as the files are named, or {who}.partial=true to go on without them"
    )


def _texts(item: Sample) -> list[str]:
    return [item.script[0][1]] if item.script[0][1] and len(item.script) == 1 else []


def described(item: Sample) -> str:
    """A prompt and its seed as people know them."""
    text = item.script[0][1]
    shown = f"{text[:57]}..." if len(text) > 60 else text
    return f"{shown!r}, seed {item.seed}" if shown else f"{item.prompt}, seed {item.seed}"
