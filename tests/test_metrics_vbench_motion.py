"""The published formulas of motion and flicker, against few lines that follow them."""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from films import (
    result,
)
from torch import Tensor

from cf.metrics.motion.dynamic_degree import DynamicDegree
from cf.metrics.motion.flickering import TemporalFlickeringVBench
from cf.metrics.motion.flow import Field, Flow, Picture
from cf.metrics.motion.motion_smoothness_vbench import MotionSmoothnessVBench


@pytest.mark.parametrize("frames", [2, 3, 8, 9])
def test_flickering_is_that_of_vbench(frames: int) -> None:
    video = torch.randint(0, 256, (frames, 3, 10, 14), dtype=torch.uint8)
    pairs = [np.mean(cv2.absdiff(a, b)) for a, b in pairwise(video.numpy())]
    expected = (255 - np.mean(pairs)) / 255
    assert result(TemporalFlickeringVBench(), video).value == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("frames", [3, 4, 8, 9])
def test_smoothness_is_that_of_vbench_with_a_linear_interpolator(frames: int) -> None:
    video = torch.randint(0, 256, (frames, 3, 10, 14), dtype=torch.uint8)
    even, odd = video[::2].float() / 255, video[1::2].numpy()
    made = [((a + b) / 2 * 255).numpy().clip(0, 255).astype(np.uint8) for a, b in pairwise(even)]
    errors = [np.mean(cv2.absdiff(a, b)) for a, b in zip(made, odd, strict=False)]
    expected = (255 - np.mean(errors)) / 255
    answer = result(MotionSmoothnessVBench("linear"), video)
    assert answer.value == pytest.approx(expected, abs=1e-9)
    assert answer.extras["normalised"] == pytest.approx((expected - 0.706) / (0.9975 - 0.706))
    assert answer.extras["interpolation_error"] == pytest.approx(1 - expected)


def test_smoothness_of_vbench_needs_three_frames() -> None:
    answer = result(MotionSmoothnessVBench("linear"), torch.rand(2, 3, 8, 8))
    assert math.isnan(answer.value)
    assert answer.reasons == {0: "a video of 2 frames has none between two others"}


@dataclass(frozen=True)
class Given(Flow):
    """Flow that is written in the pictures: a share of pixels moves by the first one's level."""

    name = "given"

    def __call__(self, one: Picture, other: Picture) -> Field:
        flow = np.zeros((*one.shape[:2], 2), np.float32)
        flow[..., 0] = one[..., 0].astype(np.float32) / 16
        return flow

    def provenance(self) -> dict[str, Any]:
        return {"flow": "given"}


def dynamic_by_hand(video: Tensor, fps: float) -> bool:
    """VBench's procedure on those flows."""
    kept = video[:: max(1, round(fps / 8))].numpy()
    high, wide = kept.shape[2:]
    count = 0
    needed = round(4 * (len(kept) / 16.0))
    for frame in kept[:-1]:
        length = np.sort(frame[0].astype(np.float64).ravel() / 16)[::-1]
        if length[: int(high * wide * 0.05)].mean() > 6.0 * (min(high, wide) / 256.0):
            count += 1
        if count >= needed:
            return True
    return False


@pytest.mark.parametrize(
    ("frames", "fps"), [(2, 8), (3, 8), (10, 8), (24, 8), (40, 20), (30, 29.97), (9, 4)]
)
def test_dynamic_degree_counts_as_vbench_does(frames: int, fps: float) -> None:
    random = np.random.default_rng(frames)
    metric, expected = DynamicDegree(Given()), []
    for video in range(8):
        level = random.choice([10, 40], p=[1 - video / 20, video / 20], size=frames)
        pictures = np.zeros((frames, 3, 32, 48), np.uint8)
        pictures[:, :, :10] = level[:, None, None, None]
        metric.update(torch.from_numpy(pictures), video, fps=fps)
        expected.append(dynamic_by_hand(torch.from_numpy(pictures), fps))
    answer = metric.result()
    assert answer.extras["vbench_dynamic_degree"] == pytest.approx(np.mean(expected))
    assert frames < 9 or 0 < np.mean(expected) < 1
