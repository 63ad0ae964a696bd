"""The summary of an evaluation as one markdown page."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from cf.evaluation.comparisons import Comparisons, digests, per_prompt
from cf.evaluation.measure import Measured
from cf.files.counts import so_many
from cf.files.tables import ARROWS, inline, latex_of, markdown_of, number
from cf.metrics.result import Result, reason_kinds
from cf.stats.paired import Interval, Pair, Standing, interval

_FORM = ".4g"
_MOST = 20  # failures that are listed
_FAIL = "prompts that fail a gate"
_NONE = "none"  # a cell without a value begins so
_MOST_PAIRS = 6  # of which each has a sentence


def summary(measured: Measured, compared: Comparisons, told: Mapping[str, Any]) -> str:
    """Headlines, comparisons, what is missing and why, and what the numbers depend on."""
    rows = [["metric", *measured.contestants, "prompts without a value"]]
    if compared.gates:
        rows.append([_FAIL, *map(str, compared.failing.values()), ""])
    rows += [
        [f"{metric} {arrow}".strip(), *cells, missing]
        for metric, arrow, cells, missing in _headlines(measured)
    ]
    parts = ["# Evaluation", _counted(measured), "\n".join(markdown_of(rows, padded=True))]
    parts += compared.gates_in_words()
    if len(measured.contestants) > 1:
        parts += _compared(compared)
    parts += _missing(measured)
    names = list(measured.results[measured.contestants[0]])
    codes = ", ".join(f"{n} {'/'.join(sorted({*digests(measured, n).values()}))}" for n in names)
    parts += ["## Provenance", f"Digests: {codes}.", ", ".join(f"{k} {v}" for k, v in told.items())]
    return "\n\n".join(parts) + "\n"


def _counted(measured: Measured) -> str:
    seconds = [facts.frames / facts.fps for facts in measured.facts.values()]
    prompts = len({video.prompt for video in measured.videos})
    ends = dict.fromkeys(number(end(seconds), ".3g") for end in (min, max) if seconds)
    lengths = f"of {' to '.join(ends)} s" if ends else "none decoded"
    text = (
        f"{so_many(len(measured.videos), 'video')} {lengths}, {so_many(prompts, 'prompt')}. "
        f"Headline of each metric, with the 95 % bootstrap interval of its mean over prompts "
        f"(seeds averaged within them)."
    )
    if seconds and max(seconds) > 1.05 * min(seconds):
        text += " **Videos differ in length**: likeness falls with time, so compare equal lengths."
    return text


def summary_as_latex(measured: Measured, compared: Comparisons) -> str:
    """The headlines for a paper, the best contestant of each metric in bold.

    A metric of which nobody has a value has no line; why, a comment above the table says, and how
    many prompts fail a gate. Where all are equally good, nobody is the best.
    """
    names = measured.contestants
    rows, bold, left_out = [["metric", *names]], set(), []
    for name, failing in compared.failing.items():
        if failing.failing:
            left_out.append(f"% {' '.join(f'{name}, {_FAIL}: {failing}'.split())}\n")
    for metric, arrow, cells, _ in _headlines(measured):
        valued = [not cell.startswith(_NONE) for cell in cells]
        if not any(valued):
            left_out.append(f"% {' '.join(f'{metric}: {cells[0]}'.split())}\n")
            continue
        shown = [cell if has else "-" for cell, has in zip(cells, valued, strict=True)]
        rows.append([f"{metric} {arrow}".strip(), *shown])
        best = {
            standing.name for standing in compared.places.get(metric, ()) if standing.place == 1
        }
        if best != {*names}:
            columns = enumerate(zip(names, valued, strict=True), 1)
            bold |= {(len(rows) - 2, at) for at, (name, has) in columns if has and name in best}
    return "".join(left_out) + latex_of(rows, bold)


def told_in_words(pairs: Iterable[tuple[str, str, str, float, str]], alpha: float = 0.05) -> str:
    """What comparisons show, in a sentence for each two contestants, or for all if they are many.

    Args:
        pairs: metric, first and second contestant, corrected p (NaN where nothing was tested), and
            why p cannot fall below `alpha`; empty if it can.
        alpha: below which a corrected p counts as a difference.
    """
    of_two: dict[tuple[str, str], list[tuple[str, float, str]]] = {}
    for metric, first, second, p, few in pairs:
        of_two.setdefault((first, second), []).append((metric, p, few))
    if len(of_two) > _MOST_PAIRS:
        sure = sum(any(p < alpha for _, p, _ in rows) for rows in of_two.values())
        return (
            f"Of {len(of_two)} pairs of contestants, {sure} differ in one metric or more at p < "
            f"{alpha:g}, corrected."
        )
    sentences = []
    for (first, second), rows in of_two.items():
        tested = [row for row in rows if math.isfinite(row[1])]
        metrics = [metric for metric, p, _ in tested if p < alpha]
        if metrics:
            what = f"differ in {', '.join(metrics)}"
        elif tested and all(few for *_, few in tested):
            what = "have too few pairs for that, however much they differ: read the intervals"
        else:
            what = "cannot be told apart"
        sentences.append(
            f"{first} and {second} {what} ({len(metrics)} of {so_many(len(tested), 'metric')})"
        )
    return f"At p < {alpha:g}, corrected: {'; '.join(sentences)}." if sentences else ""


def _headlines(measured: Measured) -> Iterator[tuple[str, str, list[str], str]]:
    """Metrics, which way each is better, a cell for each contestant, prompts without a value."""
    names = measured.contestants
    for metric, first in measured.results[names[0]].items():
        over = [interval([*per_prompt(measured, name, metric).values()]) for name in names]
        cells = [
            _headline(measured.results[name][metric], mean)
            for name, mean in zip(names, over, strict=True)
        ]
        missing = " / ".join(f"{mean.missing} of {mean.missing + mean.units}" for mean in over)
        yield metric, ARROWS[first.higher_is_better], cells, missing


def _headline(result: Result, over: Interval) -> str:
    """The value with its interval; where it is no mean over prompts, that mean too."""
    if math.isnan(result.value):
        why = result.why()
        return f"{_NONE} ({why})" if why else _NONE
    value, prompts, bounds = number(result.value, _FORM), number(over.value, _FORM), _bounds(over)
    if math.isnan(over.value):
        return value
    return f"{value}{bounds}" if value == prompts else f"{value}; prompts {prompts}{bounds}"


def _compared(compared: Comparisons) -> list[str]:
    head = ["metric", "difference", "mean [95 %]", "p", "p (Holm)", "effect d_z", "wins"]
    rows = [[*head, "detectable", "pairs", "dropped"]]
    rows += [_pair(pair) for pair in compared.pairs]
    text = (
        "Paired by prompt; two-sided sign-flip permutation test; Holm over all lines; wins count "
        "a prompt without a value as lost; detectable: what so many pairs would show in four of "
        "five repetitions."
    )
    parts = ["## Compared"]
    if compared.pairs:
        parts += [text, "\n".join(markdown_of(rows, padded=True))]
    notes = {pair.comparison.note for pair in compared.pairs} - {""}
    parts += [f"**Note:** {note}." for note in sorted(notes)]
    parts += [f"**Not compared:** {name}: {why}." for name, why in compared.refused.items()]
    if compared.shared:
        parts.append(
            f"**On the prompts of all contestants only**, because a value depends on the whole set "
            f"and a contestant lacks some: {', '.join(compared.shared)}. Here a missing prompt "
            f"costs no place."
        )
    ranked = {
        name: places
        for name, places in compared.places.items()
        if any(math.isfinite(standing.ranked) for standing in places)
    }
    if ranked:
        rows = [["metric", "place"]]
        rows += [[name, _places(places)] for name, places in ranked.items()]
        text = "Prompts without a value count as the worst value that anyone had."
        parts += ["## Places", text, "\n".join(markdown_of(rows, padded=True))]
    return parts


def _pair(pair: Pair) -> list[str]:
    test = pair.comparison
    d = test.difference
    numbers = (test.p, pair.corrected_p, test.effect, test.win_rate, test.detectable)
    return [
        pair.metric,
        f"{pair.first} - {pair.second}",
        f"{number(d.value, _FORM)}{_bounds(d)}",
        *(number(x, _FORM) for x in numbers),
        str(d.units),
        str(len(test.dropped)),
    ]


def _bounds(mean: Interval) -> str:
    low, high = (number(end, _FORM) for end in (mean.low, mean.high))
    return "" if math.isnan(mean.low) else f" [{low}, {high}]"


def _places(places: Sequence[Standing]) -> str:
    return ", ".join(
        f"{standing.place}. {standing.name} ({number(standing.ranked, _FORM)})"
        for standing in places
    )


def _missing(measured: Measured) -> list[str]:
    lines = [
        f"- {inline(f'{name}: unavailable: {why}')}" for name, why in measured.unavailable.items()
    ]
    failures = [
        f"- {inline(f'{video.contestant}/{video.name}: {measured.failures[video.video_id]}')}"
        for video in measured.videos
        if video.video_id in measured.failures
    ]
    notes = [
        f"- {inline(f'{video.contestant}/{video.name}: {facts.note}')}"
        for video in measured.videos
        if (facts := measured.facts.get(video.video_id)) and facts.note
    ]
    for some in (failures, notes, _reasons(measured)):
        lines += some[:_MOST]
        if len(some) > _MOST:
            lines.append(f"- and {len(some) - _MOST} more, see per_video.csv")
    return ["## Missing and noteworthy", "\n".join(lines)] if lines else []


def _reasons(measured: Measured) -> list[str]:
    """What must be known of numbers of sets, and why videos that can be decoded have none."""
    noted, missing = [], []
    for contestant, results in measured.results.items():
        for metric, result in results.items():
            whose = inline(f"{contestant}, {metric}")
            if None in result.reasons and not math.isnan(result.value):
                noted.append(f"- {whose}: {inline(result.reasons[None])}")
            apart = {None, *measured.failures}
            theirs = [why for video, why in result.reasons.items() if video not in apart]
            missing += [(count, whose, why) for why, count in reason_kinds(theirs)]
    missing.sort(key=lambda row: -row[0])
    lines = [f"- {whose}, {so_many(n, 'video')}: {inline(why)}" for n, whose, why in missing]
    return noted + lines
