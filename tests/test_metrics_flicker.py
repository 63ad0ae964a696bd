"""Flicker, seams and the guards of motion: each sees its own fault."""

from dataclasses import replace
from fractions import Fraction

import cv2
import pytest
import torch
from films import FPS, HIGH, WIDE, film, pan, result, texture, walk, with_flicker, with_noise

from cf.metrics.measurement import Seen, clock
from cf.metrics.motion.camera_vs_object import CameraVsObject
from cf.metrics.motion.chunk_seam import ChunkSeam
from cf.metrics.motion.dynamic_degree import DynamicDegree
from cf.metrics.motion.flickering import TemporalFlickeringVBench
from cf.metrics.motion.motion_field import PAIR
from cf.metrics.motion.motion_retention import MotionRetention
from cf.metrics.motion.static_fraction import StaticFraction
from cf.metrics.motion.temporal_flicker import TemporalFlicker
from cf.metrics.motion.warping_error import WarpingError
from cf.metrics.scored import Scored

BLANK = Scored(
    video_id=0,
    prompt=0,
    seed=None,
    clock=clock(Fraction(FPS), 8.0, None),
    window=torch.arange(60),
    count=torch.ones(60, dtype=torch.long),
    sums=torch.zeros(60, 1, dtype=torch.float64),
    seconds=torch.arange(60).double() / FPS,
    segments=(),
    marks=torch.zeros(0, dtype=torch.long),
    frames=62,
    size=(HIGH, WIDE),
    reason="",
)


@pytest.mark.whole
def test_flicker_rises_with_flicker_and_noise_and_not_with_motion() -> None:
    frames = walk(3)
    for change, strengths in (
        (with_flicker, (0, 0.02, 0.04, 0.08)),
        (with_noise, (0, 0.01, 0.02, 0.04)),
    ):
        values = [result(TemporalFlicker(), change(frames, s)).value for s in strengths]
        assert values == sorted(values)
        assert values[-1] > 3 * values[0]
        squares = [result(WarpingError(), change(frames, s)).value for s in strengths]
        assert squares == sorted(squares)
    slow, fast = (result(TemporalFlicker(), walk(3, speed=speed)).value for speed in (0.75, 3))
    naive = [result(TemporalFlickeringVBench(), walk(3, speed=speed)).value for speed in (0.75, 3)]
    assert fast < 2 * slow
    assert 1 - naive[1] > 2 * (1 - naive[0])


def test_bytes_are_compared_as_they_are_and_none_of_the_callers_is_kept() -> None:
    """Neither as floats nor as a view: whoever decodes may use the buffer again."""
    frames = walk(8)[:24]
    expected = result(TemporalFlickeringVBench(), frames.float() / 255).value
    metric, buffer = TemporalFlickeringVBench(), torch.empty_like(frames[:8])
    for start in range(0, 24, 8):
        metric.update(buffer.copy_(frames[start : start + 8]), 0, start, fps=FPS)
        assert metric.measurement.see(Seen(buffer)) is buffer
    assert float(metric.compute()) == expected


def test_a_seam_is_seen_where_it_is() -> None:
    frames = walk(8)
    seams = list(range(12, 64, 12))
    broken = frames.float()
    for number, seam in enumerate(seams):
        broken[seam:] += 8 if number % 2 else -8
    broken = broken.clamp(0, 255).round().byte()
    clean = result(ChunkSeam(), frames, boundaries=[0, *seams])
    seen = result(ChunkSeam(), broken, boundaries=[0, *seams])
    missed = result(ChunkSeam(), broken, boundaries=[seam + 5 for seam in seams[:-1]])
    assert clean.value == pytest.approx(1, abs=0.3)
    assert clean.extras["p"] > 0.05
    assert seen.value > 2
    assert seen.extras["p"] < 0.01
    assert seen.extras["jump"] > 3
    assert missed.value < 1
    assert missed.extras["p"] > 0.05


def test_chance_of_seams_is_even_where_there_are_none() -> None:
    """Over sets of three videos without seams, p is below a fifth in a fifth of them."""
    random = torch.Generator().manual_seed(0)
    metric = ChunkSeam()
    small = 0
    for number in range(100):
        videos = []
        for video in range(3 * number, 3 * number + 3):
            sums = torch.zeros(60, metric.measurement.width, dtype=torch.float64)
            residual = torch.rand(61, generator=random, dtype=torch.float64) ** 2
            sums[:, PAIR.index("residual")] = residual[:-1]
            sums[-1, len(PAIR) + PAIR.index("residual")] = residual[-1]
            made = {
                "video_id": video,
                "prompt": video,
                "sums": sums,
                "marks": torch.arange(0, 62, 8),
            }
            videos.append(replace(BLANK, **made))
        small += metric.score(videos).extras["p"] < 0.2
    assert 10 <= small <= 30


def test_seams_need_boundaries_that_leave_something_between() -> None:
    assert "its generator's blocks begin" in result(ChunkSeam(), walk(2)).reasons[0]
    everywhere = result(ChunkSeam(), walk(2), boundaries=range(16))
    assert "lie all across" in everywhere.reasons[0]
    still = walk(1)[:1].repeat(16, 1, 1, 1)
    assert "nothing changes" in result(ChunkSeam(), still, boundaries=[8]).reasons[0]


def test_a_boundary_between_sampled_frames_is_that_pair() -> None:
    """At 16 frames per second every other is looked at: 7 | 8 lies between 6 and 8."""
    frames = walk(2)[:1].repeat(32, 1, 1, 1)
    frames[8:] = (frames[8:] * 0.9).byte()
    frames[20:] = (frames[20:] * 0.99).byte()
    metric = ChunkSeam()
    metric.update(frames, 0, fps=16, boundaries=[8])
    assert metric.result().value > 20


@pytest.mark.whole
def test_a_video_that_freezes_is_caught() -> None:
    frames = torch.cat((walk(6), walk(6)[-1:].repeat(6 * FPS, 1, 1, 1)))
    assert result(StaticFraction(), frames).value == pytest.approx(0.5, abs=0.02)
    assert result(MotionRetention(), frames).value < 0.01
    degree = result(DynamicDegree(), torch.cat((walk(6, speed=3), walk(1)[:1].repeat(48, 1, 1, 1))))
    assert degree.value == pytest.approx(0.5, abs=0.03)
    assert degree.extras["vbench_dynamic_degree"] == 1  # though it sleeps for half of the time
    lively = walk(12)
    assert result(StaticFraction(), lively).value == 0
    assert result(MotionRetention(), lively).value == pytest.approx(1, abs=0.15)
    still = lively[:1].repeat(24, 1, 1, 1)
    assert result(StaticFraction(), still).value == 1
    assert "beginning stands still" in result(MotionRetention(), still).reasons[0]


def test_the_camera_is_told_from_objects() -> None:
    ground, square = texture(0, HIGH, WIDE), texture(5, 24, 24)
    pictures = []
    for t in range(24):
        picture = ground.copy()
        picture[20:44, 4 + 2 * t : 28 + 2 * t] = square
        pictures.append(picture)
    zoom = [
        cv2.warpAffine(
            texture(0, HIGH, WIDE),
            cv2.getRotationMatrix2D((48, 32), 0.3 * t, 1 + 0.02 * t),
            (WIDE, HIGH),
        )[8:-8, 8:-8]
        for t in range(24)
    ]
    assert result(CameraVsObject(), pan(3)).value < 0.1
    assert result(CameraVsObject(), film(zoom)).value < 0.25
    moved = result(CameraVsObject(), film(pictures))
    assert moved.value > 0.7
    still = film([ground] * 8)
    assert "stands still" in result(CameraVsObject(), still).reasons[0]
