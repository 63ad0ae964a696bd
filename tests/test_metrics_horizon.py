"""The estimator of the recall horizon: unbiased, of stated coverage, and never from guessing."""

import math

import numpy as np
import pytest

from cf.metrics.recall.l50 import crossing, falling, recall_horizon

LAGS = 2.0 ** np.arange(-1, 7)
CHANCE, WORLDS = 1 / 8, 16


def curve(half: float, best: float = 0.9, steepness: float = 1.5) -> np.ndarray:
    """Accuracy that falls smoothly in the logarithm of the lag and is half way to chance there."""
    kept = 1 / (1 + (LAGS / half) ** steepness)
    first = 1 / (1 + (LAGS[0] / half) ** steepness)
    return CHANCE + (best - CHANCE) * kept / first


def true_horizon(half: float) -> float:
    return crossing(LAGS, curve(half), CHANCE)


def worlds(accuracy: np.ndarray, probes: int, rng: np.random.Generator) -> tuple:  # type: ignore[type-arg]
    asked = np.full((WORLDS, len(LAGS)), probes // WORLDS)
    return rng.binomial(asked, accuracy), asked


@pytest.mark.parametrize("half", [5.0, 20.0])
def test_it_is_unbiased_and_its_interval_covers(half: float) -> None:
    rng, runs = np.random.default_rng(0), 100
    truth, found, covered, width = true_horizon(half), [], 0, []
    for seed in range(runs):
        one = recall_horizon(LAGS, *worlds(curve(half), 64, rng), CHANCE, resamples=100, seed=seed)
        found.append(math.log2(one.seconds))
        covered += one.low <= truth <= one.high
        width.append(math.log2(one.high / one.low))
        assert one.censored == 0
        assert one.thin == ()
    assert abs(np.mean(found) - math.log2(truth)) < 0.12
    assert 0.85 <= covered / runs <= 1
    assert 0.3 < np.median(width) < 1.5


def test_the_gate_stops_guessing() -> None:
    rng, runs = np.random.default_rng(1), 300
    passed = bogus = 0
    for _ in range(runs):
        right, asked = worlds(np.full(len(LAGS), CHANCE), 64, rng)
        gated = recall_horizon(LAGS, right, asked, CHANCE, resamples=1)
        open_ = recall_horizon(LAGS, right, asked, CHANCE, resamples=1, significance=2)
        passed += not math.isnan(gated.seconds)
        bogus += open_.seconds > LAGS[0]
        assert (str(gated) == "none") == math.isnan(gated.seconds)
    assert passed / runs <= 0.02
    assert bogus / runs > 0.3, "without the gate, guessing has a horizon"


def test_it_is_censored_at_either_end() -> None:
    asked = np.full((WORLDS, len(LAGS)), 8)
    beyond = recall_horizon(LAGS, asked, asked, CHANCE, resamples=20)
    assert (beyond.censored, str(beyond)) == (1, ">64 s")
    assert beyond.high == math.inf
    right = asked * (LAGS < 1)
    early = recall_horizon(LAGS, right, asked, CHANCE, resamples=20)
    assert early.censored == 0
    assert 0.5 < early.seconds < 1


def test_few_probes_are_told() -> None:
    asked = np.full((4, len(LAGS)), 20)
    asked[:, -1] = 2
    found = recall_horizon(LAGS, asked, asked, CHANCE, resamples=5)
    assert found.thin == (64.0,)


def test_the_fit_falls_and_is_weighted() -> None:
    fitted = falling(np.array([9, 1, 8]), np.array([10, 1, 10]))
    np.testing.assert_allclose(fitted, [10 / 11, 10 / 11, 0.8])
    gaps = falling(np.array([9, 0, 5]), np.array([10, 0, 10]))
    np.testing.assert_allclose(gaps, [0.9, np.nan, 0.5])


def test_it_is_read_off_in_the_logarithm_of_the_lag() -> None:
    fitted = np.array([0.9, 0.7, 0.3, 0.1])
    where = crossing(np.array([1.0, 2.0, 8.0, 16.0]), fitted, 0.1)
    assert where == pytest.approx(4.0)


def test_bad_lags_are_told() -> None:
    asked = np.ones((2, 2), np.int64)
    with pytest.raises(ValueError, match="rising"):
        recall_horizon(np.array([2.0, 1.0]), asked, asked, CHANCE)
    with pytest.raises(ValueError, match="chance=1"):
        recall_horizon(np.array([1.0, 2.0]), asked, asked, 1.0)
