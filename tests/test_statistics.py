"""Statistics: scipy's where it has them, and simulations of what they promise."""

import math
import tracemalloc
from typing import Any

import numpy as np
import pytest
from scipy import stats

from cf.evaluation.summary import told_in_words
from cf.stats import resampling
from cf.stats.paired import (
    Comparison,
    compare,
    compare_pairs,
    detectable,
    holm,
    interval,
    seed_means,
    sign_flip,
    standings,
)


@pytest.fixture
def skewed() -> np.ndarray:
    return np.random.default_rng(3).exponential(size=23)


@pytest.mark.parametrize("method", ["bca", "percentile"])
@pytest.mark.parametrize("statistic", [np.mean, np.median])
def test_intervals_are_those_of_scipy(skewed: np.ndarray, method: Any, statistic: Any) -> None:
    def rowwise(rows: np.ndarray) -> np.ndarray:
        return statistic(rows, axis=-1)

    mine = interval(skewed, method, 0.9, rowwise, resamples=2000, seed=5)
    theirs = stats.bootstrap(
        (skewed,),
        statistic,
        n_resamples=2000,
        confidence_level=0.9,
        method={"bca": "BCa"}.get(method, method),
        rng=np.random.default_rng(5),
    ).confidence_interval
    assert (mine.low, mine.high) == pytest.approx((theirs.low, theirs.high), rel=1e-12)
    assert mine.value == pytest.approx(statistic(skewed))


def test_few_and_equal_values_get_no_invented_interval() -> None:
    assert math.isnan(interval([]).value)
    alone = interval([2.0, math.nan])
    assert (alone.value, alone.units, alone.missing) == (2, 1, 1)
    assert math.isnan(alone.low)
    assert (interval([3.0] * 5).low, interval([3.0] * 5).high) == (3, 3)


@pytest.mark.parametrize("count", [2, 3, 9, 12])
def test_exact_permutation_is_that_of_scipy(count: int) -> None:
    differences = np.random.default_rng(count).normal(0.5, 1, count)
    theirs = stats.permutation_test(
        (differences,), np.mean, permutation_type="samples", n_resamples=np.inf
    )
    assert sign_flip(differences) == pytest.approx(theirs.pvalue, abs=1e-12)


def test_drawn_permutations_come_close_to_the_exact_p() -> None:
    differences = np.random.default_rng(0).normal(0.5, 1, 14)
    assert sign_flip(differences, 2**13) == pytest.approx(sign_flip(differences), abs=0.01)
    assert sign_flip(np.ones(40)) == 1 / (2**14 + 1), "never zero"


def test_three_seeds_can_never_be_significant() -> None:
    told = compare({"a": 1.0, "b": 2.0, "c": 3.0}, {"a": 0.0, "b": 0.0, "c": 0.0}, True)
    assert told.p == told.least_p == 0.25
    assert "3 pairs: p cannot fall below 0.25" in told.note
    assert "6 are needed" in told.note
    six = compare(dict.fromkeys("abcdef", 1.0), dict.fromkeys("abcdef", 0.0), True)
    assert six.p == 2 / 2**6
    assert not six.note


def test_holm_is_the_textbook_s() -> None:
    raw = np.array([0.001, 0.2, 0.012, math.nan, 0.04])
    assert holm(raw)[:3] == pytest.approx([0.004, 0.2, 0.036])
    assert math.isnan(holm(raw)[3])
    assert holm(raw)[4] == pytest.approx(0.08)
    assert holm([0.6, 0.7]) == [1, 1]


def test_a_comparison_drops_pairs_for_the_mean_and_counts_them_as_lost() -> None:
    nan = math.nan
    first = {"a": 1.0, "b": 2.0, "c": nan, "d": 4.0}
    second = {"a": 0.5, "b": 3.0, "c": 1.0, "e": 1.0}
    told = compare(first, second, higher_is_better=True)
    assert told.dropped == ("c", "d", "e")
    assert told.difference.value == pytest.approx((0.5 - 1.0) / 2)
    assert told.win_rate == (1 + 0 + 0 + 1 + 0) / 5
    assert compare(first, second, higher_is_better=False).win_rate == (0 + 1 + 0 + 1 + 0) / 5
    assert math.isnan(compare(first, second).win_rate)
    nothing = compare({"a": 1.0}, {"b": 1.0}, True)
    assert math.isnan(nothing.p)
    assert nothing.note == "no unit has a value for both"


def test_failing_never_helps_in_a_ranking() -> None:
    table = {
        "steady": {"a": 0.5, "b": 0.5},
        "fails on the hard one": {"a": 0.6, "b": math.nan},
        "worst": {"a": 0.1, "b": 0.2},
        "absent": {},
    }
    told = {one.name: one for one in standings(table, higher_is_better=True)}
    assert list(told) == ["steady", "fails on the hard one", "worst", "absent"]
    assert told["fails on the hard one"].mean.value == 0.6
    assert told["fails on the hard one"].ranked == pytest.approx(0.35)
    assert told["absent"].place == 4
    lower = standings({"x": {"a": 1.0}, "y": {"a": 2.0}, "z": {"a": 1.0}}, higher_is_better=False)
    assert [(one.name, one.place) for one in lower] == [("x", 1), ("z", 1), ("y", 3)]


def test_seeds_count_once_per_prompt() -> None:
    units = seed_means(["a", "a", "b", "c"], [1.0, math.nan, 2.0, math.nan])
    assert (units["a"], units["b"]) == (1, 2)
    assert math.isnan(units["c"])


PROMPTS, SEEDS, FRAMES = 32, 3, 40


def _drawn(random: np.random.Generator, effect: float, shared: bool = True) -> np.ndarray:
    """Scores (contestant, prompt, seed, frame): frames of a video and videos of a prompt agree."""
    prompt = random.normal(0, 0.03, (1 if shared else 2, PROMPTS, 1, 1))
    video = random.normal(0, 0.018, (2, PROMPTS, SEEDS, 1))
    frame = random.normal(0, 0.03, (2, PROMPTS, SEEDS, FRAMES))
    return prompt + video + frame + np.array([effect, 0])[:, None, None, None]


def _compared(scores: np.ndarray) -> Comparison:
    prompts = range(PROMPTS)
    one, other = (dict(zip(prompts, x.mean((-1, -2)).tolist(), strict=True)) for x in scores)
    return compare(one, other, True, "percentile")


@pytest.mark.whole
def test_prompts_are_samples_and_frames_are_not() -> None:
    """Without a difference: frames as samples cry wolf, paired prompts hold what 5 % promises."""
    random = np.random.default_rng(0)
    frames, prompts, covered = [], [], []
    for _ in range(300):
        scores = _drawn(random, 0.0)
        flat = scores.reshape(2, -1)
        frames.append(stats.ttest_ind(flat[0], flat[1]).pvalue < 0.05)
        told = _compared(scores)
        prompts.append(told.p < 0.05)
        covered.append(told.difference.low <= 0 <= told.difference.high)
    assert np.mean(frames) > 0.35
    assert np.mean(prompts) == pytest.approx(0.05, abs=0.035)
    assert np.mean(covered) == pytest.approx(0.95, abs=0.035)


def test_pairing_finds_what_unpaired_videos_miss() -> None:
    random = np.random.default_rng(1)
    unpaired, paired = [], []
    for _ in range(100):
        means = _drawn(random, 0.01, shared=False).mean((-1, -2))
        unpaired.append(stats.ttest_ind(means[0], means[1]).pvalue < 0.05)
        paired.append(_compared(_drawn(random, 0.01)).p < 0.05)
    assert np.mean(unpaired) < 0.4
    assert np.mean(paired) > 0.9


def test_the_detectable_difference_is_found_in_four_of_five_repetitions() -> None:
    random = np.random.default_rng(2)
    pairs = random.normal(size=24)
    effect = detectable(pairs / pairs.std(ddof=1))
    found = [sign_flip(random.normal(effect, 1, 24), 2000) < 0.05 for _ in range(400)]
    assert np.mean(found) == pytest.approx(0.8, abs=0.07)


@pytest.mark.parametrize("method", ["bca", "percentile"])
def test_intervals_of_skewed_values_cover_what_they_should(method: Any) -> None:
    random = np.random.default_rng(4)
    drawn = [interval(random.exponential(size=32), method, resamples=800) for _ in range(300)]
    assert 0.88 <= np.mean([one.low <= 1 <= one.high for one in drawn]) <= 0.98


@pytest.mark.parametrize("count", [1023, 1024, 5000])
def test_however_many_pairs_there_are_they_are_compared(count: int) -> None:
    random = np.random.default_rng(count)
    one, other = (dict(enumerate(random.normal(size=count).tolist())) for _ in range(2))
    told = compare(one, other, True)
    assert told.difference.low < told.difference.value < told.difference.high
    assert 0 < told.p <= 1
    assert told.least_p == 2.0 ** (1 - count)
    assert not told.note


def test_pieces_of_bounded_memory_change_no_digit(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).normal(0.2, 1, 20)
    whole = interval(values), sign_flip(values, 5000), sign_flip(values[:12])
    monkeypatch.setattr(resampling, "_AT_ONCE", 1001)
    resampling._few_signs.cache_clear()
    assert (interval(values), sign_flip(values, 5000), sign_flip(values[:12])) == whole


def test_memory_does_not_grow_with_units_times_resamples() -> None:
    """10,000 resamples of 4,000 units and as many sign patterns were 1.3 GB of numbers."""
    values = np.random.default_rng(0).normal(size=4000)
    tracemalloc.start()
    interval(values)
    sign_flip(values)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 300e6


def test_equal_videos_whose_psnr_is_infinite_are_ranked_and_compared() -> None:
    inf = math.inf
    told = interval([inf, 30.0, 31.0, 32.0])
    assert (told.value, told.low, told.high) == (inf, pytest.approx(30.5, abs=0.5), inf)
    assert math.isnan(interval([inf, -inf, 1.0]).value)
    first = {"a": inf, "b": inf, "c": 3.0, "d": 4.0, "e": 5.0, "f": 6.0}
    pairs = compare(first, {"a": inf, "b": 2.0, "c": 2.0, "d": 3.0, "e": 6.0, "f": 5.0}, True)
    assert (pairs.difference.value, pairs.win_rate) == (inf, 4.5 / 6)
    assert pairs.p == sign_flip([0.0, 100.0, 1.0, 1.0, -1.0, 1.0])
    places = standings({"exact": {"a": inf, "b": 30.0}, "close": {"a": 31.0, "b": 30.0}}, True)
    assert [(one.name, one.place) for one in places] == [("exact", 1), ("close", 2)]
    unclear = standings({"both": {"a": inf, "b": -inf}, "close": {"a": 1.0, "b": 2.0}}, True)
    assert [one.name for one in unclear] == ["close", "both"]


def test_comparisons_are_told_in_a_sentence() -> None:
    """Two contestants by name; of many pairs how many differ; nothing where nothing is paired."""
    none = ("text", "a", "b", math.nan, "no unit has a value for both")
    rows = [("motion", "a", "b", 0.01, ""), ("drift", "a", "b", 0.2, ""), none]
    told = told_in_words(rows)
    assert told == "At p < 0.05, corrected: a and b differ in motion (1 of 2 metrics)."
    assert "cannot be told apart" in told_in_words(rows[1:])
    many = [("motion", f"a{i}", "b", 0.001 * 40**i, "") for i in range(7)]
    assert told_in_words(many).startswith("Of 7 pairs of contestants, 2 differ")
    assert told_in_words([]) == ""


def test_contestants_that_no_test_could_tell_apart_are_not_called_alike() -> None:
    """Six pairs that all differ have p = 1/32, and twelve comparisons leave .375 of it."""
    values = {f"metric {i}": {"a": {}, "b": {}, "c": {}} for i in range(4)}
    for metric in values.values():
        for level, of in enumerate(metric.values()):
            of.update({prompt: 10.0 * level + prompt for prompt in range(6)})
    pairs = compare_pairs(values, dict.fromkeys(values, True))
    assert {one.corrected_p for one in pairs} == {0.375}
    assert all("9 pairs are needed" in one.comparison.note for one in pairs)
    rows = [(o.metric, o.first, o.second, o.corrected_p, o.comparison.note) for o in pairs]
    told = told_in_words(rows)
    assert told.count("too few pairs for that") == 3
    assert "cannot be told apart" not in told
