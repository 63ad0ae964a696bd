"""Motion smoothness: what must move it, and what must not."""

import math
from collections.abc import Callable

import pytest
import torch
from films import (
    FPS,
    HIGH,
    pan,
    result,
    shuffled,
    walk,
    with_noise,
)
from torch import Tensor

from cf.metrics.base import together
from cf.metrics.motion.camera_vs_object import CameraVsObject
from cf.metrics.motion.chunk_seam import ChunkSeam
from cf.metrics.motion.dynamic_degree import DynamicDegree
from cf.metrics.motion.motion_field import MotionField
from cf.metrics.motion.motion_retention import MotionRetention
from cf.metrics.motion.motion_smoothness import MotionSmoothness
from cf.metrics.motion.static_fraction import StaticFraction
from cf.metrics.motion.temporal_flicker import TemporalFlicker
from cf.metrics.motion.warping_error import WarpingError
from cf.metrics.quality.quality_drift import QualityDrift


def test_a_uniform_pan_is_smooth() -> None:
    answer = result(MotionSmoothness(), pan())
    assert 0 <= answer.value < 0.02
    assert answer.extras["motion_fps"] == 8
    assert answer.extras["moving"] == 1
    assert answer.extras["magnitude"] == pytest.approx(1.5 * 256 / HIGH, rel=0.05)


@pytest.fixture(scope="module")
def smooth() -> float:
    return result(MotionSmoothness(), walk()).value


SHAKEN: dict[str, Callable[[], Tensor]] = {
    "jitter": lambda: walk(shake=4),
    "stutter": lambda: walk()[::2].repeat_interleave(2, 0),
    "shuffle": lambda: shuffled(walk()),
}


@pytest.mark.parametrize("how", SHAKEN)
def test_what_shakes_is_ten_times_as_rough(how: str, smooth: float) -> None:
    assert 10 * smooth < result(MotionSmoothness(), SHAKEN[how]()).value <= 1


def test_roughness_rises_with_jitter() -> None:
    values = [result(MotionSmoothness(), walk(shake=shake)).value for shake in (0, 0.5, 1, 2, 4)]
    assert values == sorted(values)


def test_neither_time_nor_sides_have_a_direction(smooth: float) -> None:
    for turned, within in ((walk().flip(0), 0.05), (walk().flip(-1), 0.01)):
        assert result(MotionSmoothness(), turned).value == pytest.approx(smooth, rel=within)


def test_pictures_of_other_sizes_leave_no_trace(smooth: float) -> None:
    for side in (24, 200):
        result(MotionSmoothness(), (torch.rand(4, 3, side, side) * 255).byte())
    assert result(MotionSmoothness(), walk()).value == smooth


def test_flicker_noise_and_colour_are_not_roughness(smooth: float) -> None:
    frames = walk()
    fade = frames * torch.linspace(1, 0.6, len(frames)).view(-1, 1, 1, 1)
    assert result(MotionSmoothness(), fade.round().byte()).value == pytest.approx(smooth, abs=0.02)
    assert result(MotionSmoothness(), with_noise(frames, 0.02)).value < 5 * smooth


@pytest.mark.parametrize("backend", ["dis", "farneback"])
def test_what_stands_still_has_no_smoothness(backend: str) -> None:
    answer = result(MotionSmoothness(backend), walk()[:1].repeat(24, 1, 1, 1))
    assert math.isnan(answer.value)
    assert "stands still" in answer.reasons[0]
    assert answer.name == f"MotionSmoothness[{backend}]"
    frozen = torch.cat((walk(2), walk(2)[-1:].repeat(80, 1, 1, 1)))
    answer = result(MotionSmoothness(backend), frozen)
    assert math.isnan(answer.value)
    assert "16 % of its motion" in answer.reasons[0]


def test_a_cut_is_counted_and_left_out(smooth: float) -> None:
    cut = torch.cat((walk(3), walk(3, seed=7)))
    answer = result(MotionSmoothness(), cut)
    assert answer.extras["cut_rate"] == pytest.approx(10)
    assert answer.value < 3 * smooth
    assert result(MotionSmoothness(), walk()).extras["cut_rate"] == 0


def test_twice_the_size_is_as_rough() -> None:
    small = walk(3, shake=1)
    large = torch.nn.functional.interpolate(small.float(), scale_factor=2, mode="bicubic")
    values = [
        result(MotionSmoothness(), x).value for x in (small, large.clamp(0, 255).round().byte())
    ]
    assert values[1] == pytest.approx(values[0], rel=0.1)


def test_chunks_of_farneback_leave_no_trace() -> None:
    whole, pieces = MotionSmoothness("farneback"), MotionSmoothness("farneback")
    frames = walk(3)
    expected = result(whole, frames).value
    for first in (9, 0, 18, 3, 1, 14):
        stop = min([x for x in (1, 3, 9, 14, 18, 24) if x > first])
        pieces.update(frames[first:stop], 0, first, fps=FPS)
    assert pieces.result().value == pytest.approx(expected, abs=1e-12)


def test_flow_is_seen_once_for_all() -> None:
    metrics = [
        MotionSmoothness(),
        TemporalFlicker(),
        WarpingError(),
        ChunkSeam(),
        DynamicDegree(),
        MotionRetention(),
        StaticFraction(),
        CameraVsObject(),
        QualityDrift(TemporalFlicker()),
    ]
    calls = 0

    class Counting(MotionField):
        def measure(self, kept: Tensor) -> Tensor:
            nonlocal calls
            calls += 1
            return super().measure(kept)

    collection = together(metrics)
    for metric in metrics:
        metric.measurement = Counting()
        metric._stream = type(metric._stream)(metric.measurement, None)
    collection.update(walk(1), 0, fps=FPS)
    first = calls
    collection.update(walk(2)[8:], 0, 8, fps=FPS)
    assert calls - first == 1, (first, calls)
