"""Warnings from the headers of videos, before the work: values that will lack or mislead."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from cf.evaluation.decoding import header, unreadable
from cf.evaluation.videos import Listed
from cf.files.counts import so_many
from cf.files.tables import number
from cf.metrics.base import VideoMetric
from cf.video.footage import conversions_told
from cf.video.probe import VideoInfo

_UNLIKE = 1.05  # lengths beyond this ratio are worth a warning
_ALIKE = 0.002  # seconds; lengths that differ by less are equal
_SHOWN = 3
_NUMBERED = re.compile(
    r"(?P<prompt>.*[^-_/ .])(?P<mark>[-_/ .]{1,9}(?:seed)?[-_= ]{0,9})(?P<seed>[0-9]{1,19})"
    r"(?P<end>(?:[-_ .][a-zA-Z]{1,9})?)",
    re.DOTALL,
)
_OF_SEED = re.compile(r"(?i:.*seed.{0,3}?)[0-9]+")


def common_seconds(videos: Sequence[Listed], least: float = 0.0) -> float | None:
    """Seconds that every readable video has; None where all are equally long.

    Rounded down to milliseconds, for a metric refuses what is shorter than it is told.

    Args:
        videos: the files.
        least: seconds; shorter videos are too short to be measured, and do not count.
    """
    durations = [info.duration for video in videos if (info := header(video.path)) is not None]
    lengths = [duration for duration in durations if duration >= least]
    if not lengths or max(lengths) - min(lengths) < _ALIKE:
        return None
    return int(min(lengths) * 1000 + 0.01) / 1000


def foreseen(
    videos: Sequence[Listed], metrics: Sequence[VideoMetric], seconds: float | None = None
) -> list[str]:
    """The warnings, a sentence each.

    Args:
        videos: the files.
        metrics: that will measure them.
        seconds: of each video at which measures of likeness look; None: at all of it.

    Raises:
        ValueError: no video can be read.
    """
    infos = {video: info for video in videos if (info := header(video.path)) is not None}
    warnings = []
    broken = [video for video in videos if video not in infos]
    if broken:
        first = f"{broken[0].contestant}/{broken[0].name}: {unreadable(broken[0].path)}"
        if not infos:
            raise ValueError(f"none of {len(videos)} videos can be decoded; the first: {first}")
        warnings.append(
            f"{len(broken)} of {len(videos)} videos cannot be decoded and are listed without "
            f"numbers, such as {first}"
        )
    converted = conversions_told([info.kinds for info in infos.values()])
    if converted:
        warnings.append(converted)
    if infos:
        warnings += _unequal(infos, seconds)
        warnings += _kinds("frames per second", {v: f"{i.fps:.4g}" for v, i in infos.items()}, "")
        sizes = {v: f"{i.height} x {i.width}" for v, i in infos.items()}
        warnings += _kinds("pixels", sizes, "; size=[height,width] scales all to one")
    named = _numbered(videos) or _repeated(videos)
    return [*warnings, *_too_few(videos, metrics), *_unmatched(videos), *_doubled(videos), *named]


def _unequal(infos: Mapping[Listed, VideoInfo], seconds: float | None) -> list[str]:
    """That lengths differ, and what becomes of measures that depend on them."""
    common = common_seconds([*infos])
    if common is None or (seconds is not None and seconds < common):
        return []
    shortest = min(infos, key=lambda video: infos[video].duration)
    longest = max(infos, key=lambda video: infos[video].duration)
    least, most = infos[shortest].duration, infos[longest].duration
    if most <= _UNLIKE * least:
        return []
    lead = (
        f"videos last from {number(least, '.3g')} s ({shortest.contestant}/{shortest.name}) to "
        f"{number(most, '.3g')} s ({longest.contestant}/{longest.name}), and likeness falls "
        "with time; "
    )
    if seconds is not None and seconds > common:
        short = [video for video in infos if infos[video].duration < seconds - _ALIKE]
        return [
            f"{lead}it is measured over the first {seconds:g} s, and {len(short)} shorter videos "
            f"have no value of it"
        ]
    if seconds == common:
        return [f"{lead}it is measured over their common beginning, {common:g} s"]
    return [f"{lead}seconds={common:g} looks at their common beginning"]


def _kinds(what: str, kinds: Mapping[Listed, str], remedy: str) -> list[str]:
    """A warning that rates or sizes differ among videos, the commonest first."""
    by_kind: dict[str, list[Listed]] = {}
    for video, kind in kinds.items():
        by_kind.setdefault(kind, []).append(video)
    if len(by_kind) < 2:
        return []
    ordered = sorted(by_kind.items(), key=lambda item: -len(item[1]))
    shown = [
        f"{kind} ({len(some)}, such as {some[0].contestant}/{some[0].name})"
        for kind, some in ordered[:_SHOWN]
    ]
    return [f"videos differ in {what}: {', '.join(shown)}{remedy}"]


def _too_few(videos: Sequence[Listed], metrics: Sequence[VideoMetric]) -> list[str]:
    """Metrics of a set that will have no value for want of prompts."""
    prompts: dict[str, set[str]] = {}
    for video in videos:
        prompts.setdefault(video.contestant, set()).add(video.prompt)
    few = min(prompts, key=lambda name: len(prompts[name]))
    wanting = {
        metric.name: needed
        for metric in metrics
        if (needed := int(getattr(metric, "least_prompts", 1))) > len(prompts[few])
    }
    if not wanting:
        return []
    listed = ", ".join(f"{name} ({needed})" for name, needed in wanting.items())
    return [
        f"{few} has {so_many(len(prompts[few]), 'prompt')}, too few for {listed}, "
        f"which will have no value; more videos give them one"
    ]


def _numbered(videos: Sequence[Listed]) -> list[str]:
    """That numbers at the ends of names look like seeds, while each name counts as a prompt."""
    read = [_NUMBERED.fullmatch(video.prompt) for video in videos if video.seed is None]
    matches = [match for match in read if match is not None]
    numbers: dict[tuple[str, str], set[int]] = {}
    for match in matches:
        numbers.setdefault((match["prompt"], match["mark"]), set()).add(int(match["seed"]))
    first = next(iter(numbers.values()), set())
    marks = {mark for _, mark in numbers}
    ends = {match["end"] for match in matches}
    alike = all(seeds == first for seeds in numbers.values())
    if (
        len(matches) < len(videos)
        or len(numbers) < 2
        or len(first) < 2
        or len(marks) > 1
        or len(ends) > 1
        or not alike
    ):
        return []
    mark, end = (re.sub(r"\\([-_/ ])", r"\1", re.escape(texts.pop())) for texts in (marks, ends))
    shown = ", ".join(map(str, sorted(first)[:_SHOWN])) + ", ..." * (len(first) > _SHOWN)
    shown += end and f" (and {end})"
    return [
        f"names end in the numbers {shown} for each of {len(numbers)} texts, and every name counts "
        f"as a prompt; if they are seeds, which are averaged within a prompt, give "
        f"pattern='(?P<prompt>.*){mark}(?P<seed>[0-9]+){end}'"
    ]


def _repeated(videos: Sequence[Listed]) -> list[str]:
    """That folders in a folder hold the same names: they are of seeds, or of contestants."""
    names: dict[Path, dict[str, set[str]]] = {}
    for video in videos:
        first, _, rest = video.prompt.partition("/")
        if rest and video.folder is not None:
            names.setdefault(video.folder, {}).setdefault(first, set()).add(rest)
    for folder, inside in names.items():
        groups = list(inside.values())
        if len(groups) < 2 or len(groups[0]) < 2 or any(group != groups[0] for group in groups):
            continue
        some = [*inside][:_SHOWN]
        more = ",..." * (len(inside) > _SHOWN)
        lead = f"{folder} has the same names in {','.join(some)}{more}, a prompt each; "
        if all(_OF_SEED.fullmatch(name) for name in inside):
            return [f"{lead}give pattern='[^/]*?(?P<seed>[0-9]+)/(?P<prompt>.*)' to average seeds"]
        folders = ",".join(str(folder / name) for name in some)
        return [f"{lead}if they are contestants, give videos='[{folders}{more}]'"]
    return []


def _doubled(videos: Sequence[Listed]) -> list[str]:
    """Two files of one prompt whose seeds are not told: a copy in another format, as a rule."""
    by_prompt: dict[tuple[str, str], list[str]] = {}
    for video in videos:
        if video.seed is None:
            by_prompt.setdefault((video.contestant, video.prompt), []).append(video.name)
    twice = {key: names for key, names in by_prompt.items() if len(names) > 1}
    if not twice:
        return []
    (contestant, _), names = next(iter(twice.items()))
    return [
        f"{so_many(len(twice), 'prompt')} of a contestant in several videos without a seed, which "
        f"are averaged as if they were seeds, such as {contestant}: {', '.join(names[:_SHOWN])}"
    ]


def _unmatched(videos: Sequence[Listed]) -> list[str]:
    """Prompts that some contestants lack, of which no pair can be made."""
    prompts: dict[str, dict[str, None]] = {}
    for video in videos:
        prompts.setdefault(video.contestant, {})[video.prompt] = None
    if len(prompts) < 2:
        return []
    shared = set.intersection(*map(set, prompts.values()))
    if not shared:
        first = {name: next(iter(some)) for name, some in prompts.items()}
        named = ", ".join(f"{name}: {prompt!r}" for name, prompt in first.items())
        return [
            f"no prompt is shared by all contestants, so that nothing can be compared; the first "
            f"of each is {named}. pattern= reads prompts from file names, a csv tells them"
        ]
    lone = {
        name: [prompt for prompt in some if prompt not in shared] for name, some in prompts.items()
    }
    return [
        f"{name}: {so_many(len(some), 'prompt')} not shared by all contestants, left out of "
        f"comparisons: {', '.join(map(repr, some[:_SHOWN]))}" + ", ..." * (len(some) > _SHOWN)
        for name, some in lone.items()
        if some
    ]
