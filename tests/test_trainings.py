"""Methods that were trained several times: the unit is the training."""

import math

import numpy as np
import pytest

from cf.bench.ranking import headline
from cf.bench.results import ContestantResults
from cf.bench.store import Job
from cf.bench.tasks.base import Sample, VideoSpec
from cf.metrics.result import Result
from cf.stats.paired import compare, interval, sign_flip
from cf.stats.trainings import WHOLE, Values, aligned, mean_over_trainings, versus


def values(table: np.ndarray) -> Values:
    return {(i, f"w{j}"): float(v) for i, row in enumerate(table) for j, v in enumerate(row)}


def drawn(seed: int, n: int, m: int, training: float, world: float, rest: float) -> np.ndarray:
    random = np.random.default_rng(seed)
    effects = random.normal(0, training, (n, 1)) + random.normal(0, world, (1, m))
    return effects + random.normal(0, rest, (n, m))


@pytest.mark.parametrize(
    ("n", "m", "training", "world", "rest"),
    [
        (6, 64, 0.05, 0.0, 0.2),
        (6, 64, 0.05, 0.2, 0.2),
        (6, 64, 0.0, 0.2, 0.2),
        (6, 16, 0.05, 0.2, 0.2),
        (3, 64, 0.05, 0.2, 0.2),
    ],
)
def test_intervals_hold_the_truth_as_often_as_they_say(
    n: int, m: int, training: float, world: float, rest: float
) -> None:
    held = 0
    for seed in range(400):
        one = mean_over_trainings(values(drawn(seed, n, m, training, world, rest)))
        held += one.low <= 0 <= one.high
    assert 0.92 <= held / 400 <= 0.99


@pytest.mark.whole
def test_worlds_as_the_unit_would_find_differences_that_are_none() -> None:
    """Two methods that are one: trainings differ, worlds are the same."""
    wrong = right = 0
    for seed in range(200):
        a, b = (drawn(2 * seed + i, 6, 16, 0.1, 0.0, 0.1) for i in (0, 1))
        right += versus(values(a), values(b), True).p <= 0.05
        wrong += sign_flip((a - b).ravel()[:12]) <= 0.05
    assert right / 200 <= 0.08
    assert wrong / 200 >= 0.2


def test_what_was_trained_once_has_its_unit_in_the_prompt() -> None:
    once = {(None, f"w{j}"): float(v) for j, v in enumerate(np.linspace(0, 1, 8))}
    assert mean_over_trainings(once) == interval(list(once.values()))
    other = {unit: value + 0.1 for unit, value in once.items()}
    assert versus(once, other, True) == compare(once, other, True)


def test_pairs_are_trainings_with_the_same_worlds() -> None:
    a = drawn(0, 6, 8, 0.1, 0.5, 0.1)
    b = a + np.array([0.1, 0.2, 0.1, 0.2, 0.1, 0.2])[:, None]
    found = versus(values(a), values(b), False)
    assert found.difference.value == pytest.approx(-0.15)
    assert found.difference.units == 6
    assert found.p == found.least_p == 2 / 64
    assert found.win_rate == 1
    assert found.note == ""
    few = versus(values(a[:3]), values(b[:3]), False)
    assert "3 pairs: p cannot fall below 0.25" in few.note


def test_a_truth_that_was_never_trained_is_paired_with_every_training() -> None:
    mine = values(drawn(0, 6, 8, 0.1, 0.5, 0.1))
    truth = {(None, f"w{j}"): 1.0 for j in range(8)}
    assert set(aligned({"mine": mine, "truth": truth})["truth"]) == set(mine)
    found = versus(mine, truth, True)
    assert found.difference.units == 6
    assert found.difference.value == pytest.approx(mean_over_trainings(mine).value - 1)


def test_what_has_no_value_is_left_out_and_counted() -> None:
    table = drawn(0, 4, 8, 0.1, 0.5, 0.1)
    table[1, 3] = math.nan
    one = mean_over_trainings(values(table))
    assert one.units == 4
    assert one.missing == 1
    assert one.value == pytest.approx(np.nanmean(table, 1).mean())
    table[2] = math.nan
    assert mean_over_trainings(values(table)).units == 3
    assert mean_over_trainings(values(np.full((3, 4), 0.5))).low == 0.5


def test_what_only_a_set_has_a_value_of_has_one_for_each_training() -> None:
    items = [Sample(f"w{i}", f"w{i}", 0, ((0.0, ""),)).by(t) for t in (0, 1) for i in range(3)]
    jobs = [Job("mine", {}, "", {}, item, VideoSpec(8.0, (32, 32)), (5.0,), {}) for item in items]
    nothing = {item.video_id: math.nan for item in items}

    def horizon(value: float) -> dict[float, dict[str, Result]]:
        return {5.0: {"horizon": Result("horizon", value, True, nothing)}}

    made = ContestantResults("mine", [{}], horizon(3.0), jobs, {0: horizon(2.0), 1: horizon(5.0)})
    assert made.per_unit(5.0, "horizon") == {(0, WHOLE): 2.0, (1, WHOLE): 5.0}
    once = ContestantResults("once", [{}], horizon(1.0), jobs[:3], {})
    assert once.per_unit(5.0, "horizon") == {(0, WHOLE): 1.0}
    cells = headline({"mine": made, "once": once}, 5.0, ["horizon"], []).cells
    assert cells["mine"]["horizon"].mean.value == 3.5
    assert cells["mine"]["horizon"].place == 1
    lost = ContestantResults(
        "lost", [{}], horizon(math.nan), jobs, {0: horizon(2.0), 1: horizon(math.nan)}
    )
    assert set(lost.per_unit(5.0, "horizon")) == {(0, WHOLE), (1, WHOLE)}
    never = ContestantResults("never", [{}], horizon(math.nan), jobs, {})
    assert set(never.per_unit(5.0, "horizon")) == set(made.units())


def test_what_cannot_be_compared_costs_no_correction() -> None:
    items = [Sample(f"w{i}", f"w{i}", 0, ((0.0, ""),)).by(t) for t in range(6) for i in range(2)]
    nothing = {item.video_id: math.nan for item in items}

    def made(name: str, better: float) -> ContestantResults:
        jobs = [Job(name, {}, "", {}, item, VideoSpec(8.0, (32, 32)), (5.0,), {}) for item in items]
        good = {item.video_id: better + 0.01 * i for i, item in enumerate(items)}
        results = {
            "good": Result("good", better, True, good),
            "void": Result("void", math.nan, True, nothing),
        }
        return ContestantResults(name, [{}], {5.0: results}, jobs, {})

    both = {"mine": made("mine", 1.0), "other": made("other", 0.5)}
    (good, void) = headline(both, 5.0, ["good", "void"], []).versus
    assert (good["pairs"], void["pairs"]) == (6, 0)
    assert good["p_holm"] == 2 / 64
    assert good["note"] == ""  # one comparison with six pairs can reach .05, two could not
