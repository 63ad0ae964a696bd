"""Motion, flicker, seams, loops and quality: the published formulas, and what must move them."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.models.optical_flow import raft_large

from cf.metrics.base import VideoMetric, together
from cf.metrics.camera_vs_object import CameraVsObject
from cf.metrics.chunk_seam import ChunkSeam
from cf.metrics.classical import ClassicalMeasure
from cf.metrics.classical_quality import ClassicalQuality
from cf.metrics.drift import vde
from cf.metrics.dynamic_degree import DynamicDegree
from cf.metrics.flickering import TemporalFlickeringVBench
from cf.metrics.flow import Dis, Farneback, Field, Flow, Picture, flow_named
from cf.metrics.flow_raft import torchvision_names
from cf.metrics.frame_pack_drift import FramePackDrift
from cf.metrics.hashes import bits_of, distances
from cf.metrics.interpolation import Supplied
from cf.metrics.loop_rate import LoopRate, looped
from cf.metrics.motion_field import MotionField
from cf.metrics.motion_retention import MotionRetention
from cf.metrics.motion_smoothness import MotionSmoothness
from cf.metrics.motion_smoothness_vbench import MotionSmoothnessVBench
from cf.metrics.quality_drift import QualityDrift
from cf.metrics.result import Result
from cf.metrics.sink_reset import SinkReset
from cf.metrics.static_fraction import StaticFraction
from cf.metrics.temporal_flicker import TemporalFlicker
from cf.metrics.warping_error import WarpingError

HIGH, WIDE, FPS = 64, 96, 8


def texture(seed: int, high: int, wide: int) -> np.ndarray:
    """Smooth coloured noise of several sizes, in [0, 1]."""
    random = np.random.default_rng(seed)
    made = np.zeros((high, wide, 3), np.float32)
    for size in (6, 12, 24):
        coarse = random.random((high // size + 2, wide // size + 2, 3)).astype(np.float32)
        made += size**0.5 * cv2.resize(coarse, (wide, high), interpolation=cv2.INTER_CUBIC)
    return (made - made.min()) / (made.max() - made.min())


def seen_from(ground: np.ndarray, left: float, top: float) -> np.ndarray:
    """A view of it, between pixels."""
    at = np.float32([[1, 0, left], [0, 1, top]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(ground, at, (WIDE, HIGH), flags=flags)


def film(pictures: list[np.ndarray]) -> Tensor:
    """As bytes, so that nothing is smoother than a file."""
    levels = np.stack(pictures).clip(0, 1) * 255
    return torch.from_numpy(levels.round().astype(np.uint8)).permute(0, 3, 1, 2)


def places(seconds: float, speed: float = 1.5, shake: float = 0.0) -> list[tuple[float, float]]:
    """Where the camera is, on a slow curve."""
    random = np.random.default_rng(1)
    times = range(round(seconds * FPS))
    turn = [(speed * t, 12 + 8 * math.sin(speed * t / 40)) for t in times]
    return [tuple(np.add(at, shake * random.uniform(-1, 1, 2))) for at in turn]


def walk(seconds: float = 6, seed: int = 0, speed: float = 1.5, shake: float = 0.0) -> Tensor:
    """A camera that moves over a ground while a square crosses the picture."""
    ground = texture(seed, HIGH + 40, WIDE + round(seconds * FPS * speed) + 20)
    square = texture(seed + 1, 20, 20)
    pictures = []
    for t, (left, top) in enumerate(places(seconds, speed, shake)):
        picture = seen_from(ground, left + 8, top)
        y, x = 20, 10 + round(t * 0.5) % (WIDE - 40)
        picture[y : y + 20, x : x + 20] = square
        pictures.append(picture)
    return film(pictures)


def pan(seconds: float = 6) -> Tensor:
    ground = texture(3, HIGH + 40, WIDE + round(seconds * FPS * 1.5) + 20)
    return film([seen_from(ground, 8 + 1.5 * t, 10) for t in range(round(seconds * FPS))])


def result(metric: VideoMetric, frames: Tensor, **more: Any) -> Result:
    metric.update(frames, 0, fps=FPS, **more)
    return metric.result()


def shuffled(frames: Tensor) -> Tensor:
    """Within every second."""
    random = torch.Generator().manual_seed(0)
    return torch.cat([one[torch.randperm(len(one), generator=random)] for one in frames.split(FPS)])


def with_flicker(frames: Tensor, strength: float) -> Tensor:
    gains = 1 + strength * torch.tensor([1, -1]).repeat(len(frames) // 2).view(-1, 1, 1, 1)
    return (frames * gains).clamp(0, 255).round().byte()


def with_noise(frames: Tensor, sigma: float) -> Tensor:
    noise = torch.randn(frames.shape, generator=torch.Generator().manual_seed(0))
    return (frames + 255 * sigma * noise).clamp(0, 255).round().byte()


# ------------------------------------------------------------------ the formulas of VBench
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


# ------------------------------------------------------------------ smoothness
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


# ------------------------------------------------------------------ flicker and seams
def test_flicker_rises_with_flicker_and_noise_and_not_with_motion() -> None:
    frames = walk()
    for change, strengths in (
        (with_flicker, (0, 0.02, 0.04, 0.08)),
        (with_noise, (0, 0.01, 0.02, 0.04)),
    ):
        values = [result(TemporalFlicker(), change(frames, s)).value for s in strengths]
        assert values == sorted(values)
        assert values[-1] > 3 * values[0]
        squares = [result(WarpingError(), change(frames, s)).value for s in strengths]
        assert squares == sorted(squares)
    slow, fast = (result(TemporalFlicker(), walk(speed=speed)).value for speed in (0.75, 3))
    naive = [result(TemporalFlickeringVBench(), walk(speed=speed)).value for speed in (0.75, 3)]
    assert fast < 2 * slow
    assert 1 - naive[1] > 2 * (1 - naive[0])


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


def test_seams_need_boundaries_that_leave_something_between() -> None:
    assert "no boundaries were given" in result(ChunkSeam(), walk(2)).reasons[0]
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


# ------------------------------------------------------------------ guards
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


# ------------------------------------------------------------------ loops
def looped_by_hand(bits: np.ndarray, gap: int) -> list[bool]:
    def apart(i: int, j: int) -> int:
        return int((bits[i] != bits[j]).sum())

    return [
        any(
            apart(i, j) <= 3 and any(apart(i, k) >= 10 for k in range(i + 1, j))
            for i in range(j - gap + 1)
        )
        for j in range(len(bits))
    ]


def test_loops_are_found_as_by_hand() -> None:
    random = np.random.default_rng(0)
    scenes = random.random((5, 63)) > 0.5
    bits = scenes[random.integers(0, 5, 60)]
    bits ^= random.random(bits.shape) > 0.98
    signs = torch.from_numpy(bits).float() * 2 - 1
    expected = looped_by_hand(bits, 8)
    assert looped(signs, 8).tolist() == expected
    assert 0 < sum(expected) < 60
    by_hand = [[int((a != b).sum()) for b in bits] for a in bits]
    assert distances(signs, signs).tolist() == by_hand


def test_all_bits_of_a_hash_are_kept() -> None:
    hashes = torch.tensor([[2.0**32 - 1, 2.0**31 - 1], [1.0, 2.0**30]], dtype=torch.float64)
    bits = bits_of(hashes) > 0
    assert bits[0].all()
    assert bits[1].nonzero()[:, 0].tolist() == [0, 62]


def test_loops_resets_and_neither() -> None:
    once = torch.cat((walk(3, speed=6), walk(3, speed=6).flip(0)[1:-1]))
    loop = torch.cat([once] * 5)
    assert result(LoopRate(), loop).value > 0.9
    lone = walk(20, speed=2)
    for calm in (pan(20), lone[:1].repeat(160, 1, 1, 1)):
        assert result(LoopRate(), calm).value == 0
    frozen = torch.cat((lone[:40], lone[40:41].repeat(80, 1, 1, 1)))
    assert result(LoopRate(), frozen).value == 0
    reset = lone.clone()
    for at in (60, 100, 140):
        reset[at : at + 6] = lone[:6]
        reset[at + 6 :] = lone[6 : 160 - at]
    assert result(SinkReset(), reset).value == pytest.approx(3 * 60 / 20)
    assert result(SinkReset(), lone).value == 0
    cut = torch.cat((lone[:80], walk(10, seed=9)))
    assert result(SinkReset(), cut).value == 0
    assert result(SinkReset(), cut).extras["largest_step"] >= 24


def test_flat_frames_of_any_light_have_one_hash() -> None:
    flat = torch.linspace(0, 1, 40).view(-1, 1, 1, 1).expand(40, 3, 33, 47)
    assert result(SinkReset(), flat).extras["largest_step"] == 0


def test_short_videos_get_a_reason() -> None:
    assert "are needed" in result(LoopRate(), walk(1)).reasons[0]
    assert "is needed" in result(SinkReset(), walk(1)).reasons[0]
    assert "fewer than three frames" in result(TemporalFlicker(), walk(1)[:2]).reasons[0]


# ------------------------------------------------------------------ quality and drift
def measured(name: str, frames: Tensor) -> float:
    return result(ClassicalMeasure(name), frames).value


def test_classical_measures_are_what_they_say() -> None:
    flat = torch.full((4, 3, 64, 64), 0.5)
    noisy = (
        flat + 0.02 * torch.randn(flat.shape, generator=torch.Generator().manual_seed(0))
    ).mean(1)
    grey = noisy[:, None].expand_as(flat)
    assert measured("noise", grey) == pytest.approx(255 * 0.02 / 3**0.5, rel=0.05)
    sharp = walk(0.5).float() / 255
    blurred = torch.nn.functional.avg_pool2d(sharp, 5, 1, 2, count_include_pad=False)
    assert measured("sharpness", blurred) < 0.5 * measured("sharpness", sharp)
    blocks = torch.nn.functional.interpolate(
        torch.nn.functional.avg_pool2d(sharp, 8), scale_factor=8
    )
    assert measured("blockiness", blocks) > 5 > 1.3 > measured("blockiness", sharp)
    assert measured("saturation", sharp.mean(1, keepdim=True).expand_as(sharp)) < 1e-6
    half = torch.cat((torch.zeros(4, 3, 8, 16), torch.ones(4, 3, 8, 16)), 2)
    assert measured("clipped", half) == 1
    assert measured("overexposed", half) == 0.5
    assert measured("contrast", half) == 0.5
    assert measured("brightness", half) == 0.5


@pytest.mark.parametrize("measure", ["overexposed", "sharpness", "noise", "saturation"])
def test_each_decay_moves_its_own_measure(measure: str) -> None:
    frames = walk(1).repeat(8, 1, 1, 1).float() / 255  # a scene that stays
    values = []
    for strength in (0, 0.25, 0.5, 1):
        share = strength * torch.linspace(0, 1, len(frames)).view(-1, 1, 1, 1)
        blur = torch.nn.functional.avg_pool2d(frames, 9, 1, 4, count_include_pad=False)
        noise = 0.1 * torch.randn(frames.shape, generator=torch.Generator().manual_seed(0))
        changed = {
            "overexposed": frames + share,
            "sharpness": frames.lerp(blur, share),
            "noise": frames + share * noise,
            "saturation": frames.lerp(frames.mean(1, keepdim=True).expand_as(frames), share),
        }[measure].clamp(0, 1)
        values.append(result(ClassicalQuality(), changed))
        drift = result(QualityDrift(measure), changed).value
        rises = measure in {"overexposed", "noise"}
        assert (drift <= 0 if rises else drift >= 0) or strength == 0
    assert [one.value for one in values] == sorted(one.value for one in values)
    assert drift
    ratios = [one.extras[measure] for one in values]
    assert ratios == sorted(ratios, reverse=measure in {"sharpness", "saturation"})
    glaring = [one.extras["glaring"] for one in values]
    assert glaring == ([0, 0, 1, 1] if measure == "overexposed" else [0, 0, 0, 0])


def test_drifts_are_taken_between_the_ends() -> None:
    """Brightness that falls from 1 to .4 over 20 seconds, .03 a second."""
    levels = 1 - 0.03 * (torch.arange(160) // 8).float()
    frames = levels.view(-1, 1, 1, 1).expand(160, 3, 16, 16)
    assert result(QualityDrift("brightness"), frames).value == pytest.approx(0.03 * 15, abs=1e-3)
    assert result(FramePackDrift("brightness"), frames).value == pytest.approx(0.03 * 17, abs=1e-3)
    assert result(FramePackDrift("brightness"), frames.flip(0)).value > 0.5
    assert result(QualityDrift("brightness"), frames.flip(0)).value < -0.4


def test_the_drift_error_of_lv_bench_is_as_published() -> None:
    """A decay of .3 in all counts more the longer it takes, and an early dip more than a late."""
    for number, raw in ((6, 2.1), (12, 7.8), (30, 46.5), (60, 183)):
        decay = (1 - 0.3 * np.arange(number) / (number - 1)).tolist()
        assert vde(decay)["vde_raw"] == pytest.approx(raw)
        expected = 0.1 * (number + 1) / (number - 1)
        assert vde(decay)["vde_normalised"] == pytest.approx(expected)
    dip, end = np.ones(30), np.ones(30)
    dip[1:6] -= 0.2
    end[-5:] -= 0.2
    assert vde(dip.tolist())["vde_raw"] == pytest.approx(27)
    assert vde(end.tolist())["vde_raw"] == pytest.approx(3)


def test_drift_of_a_metric_without_a_number_says_so() -> None:
    answer = result(QualityDrift(MotionSmoothness()), walk()[:1].repeat(16, 1, 1, 1))
    assert answer.name == "QualityDrift[MotionSmoothness[dis]]"
    assert "has no number" in answer.reasons[0]


# ------------------------------------------------------------------ backends
def test_backends_that_cannot_be_had_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="choose dis, farneback or raft-things"):
        MotionSmoothness("pwc")
    with pytest.raises(ValueError, match=r"given no weights.*take flow='dis'"):
        MotionSmoothness("raft-things")
    with pytest.raises(ValueError, match=r"found no weights at .*absent\.pth"):
        MotionSmoothness("raft-things", weights=tmp_path / "absent.pth")
    with pytest.raises(ValueError, match="takes no weights"):
        MotionSmoothness("dis", weights="some.pth")
    with pytest.raises(ValueError, match=r"amt-s.*non-commercial.*Supplied"):
        MotionSmoothnessVBench("amt-s")
    with pytest.raises(ValueError, match="choose linear, dis"):
        MotionSmoothnessVBench("rife")
    with pytest.raises(ValueError, match="8 x 30 pixels are too small for dis flow"):
        StaticFraction().update(torch.rand(3, 3, 8, 30), 0, fps=8)


def test_a_supplied_interpolator_is_used_and_named() -> None:
    metric = MotionSmoothnessVBench(Supplied("amt-s", lambda one, _: one, "copies the first"))
    frames = walk(1)
    answer = result(metric, frames)
    steps = [np.mean(cv2.absdiff(frames[i].numpy(), frames[i + 1].numpy())) for i in (0, 2, 4)]
    assert answer.name == "vbench_motion_smoothness[amt-s]"
    assert answer.provenance["described"] == "copies the first"
    assert answer.value == pytest.approx(1 - np.mean(steps) / 255, abs=2e-3)  # and 254.99 is cut
    wrong = MotionSmoothnessVBench(Supplied("half", lambda one, _: one[:, ::2], ""))
    with pytest.raises(ValueError, match="must keep the shape"):
        wrong.update(frames, 0, fps=8)


def test_interpolation_along_flow_beats_a_fade_on_a_pan() -> None:
    fade, flow = (result(MotionSmoothnessVBench(by), pan(2)).value for by in ("linear", "dis"))
    assert 1 - flow < 0.6 * (1 - fade)


@pytest.mark.parametrize("flow", [Dis(), Farneback()])
def test_flow_leads_where_things_went(flow: Flow) -> None:
    one, other = (frame.permute(1, 2, 0).contiguous().numpy() for frame in pan(0.5)[:2])
    found = flow(one, other)[8:-8, 8:-8]
    assert np.abs(found - [-1.5, 0]).mean() < 0.1
    threads = cv2.getNumThreads()
    assert (flow(one, other)[8:-8, 8:-8] == found).all()
    assert cv2.getNumThreads() == threads


def authors_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Names of the authors' RAFT for torchvision's, written out from its modules."""
    named = {}
    blocks = {"convnormrelu1.0": "conv1", "convnormrelu2.0": "conv2"}
    norms = {"convnormrelu1.1": "norm1", "convnormrelu2.1": "norm2"}
    motion = {"convcorr1.0": "convc1", "convcorr2.0": "convc2", "convflow1.0": "convf1"}
    motion |= {"convflow2.0": "convf2", "conv.0": "conv"}
    for name, value in state.items():
        new = name
        for prefix, short in (("feature_encoder", "fnet"), ("context_encoder", "cnet")):
            if name.startswith(prefix):
                new = new.replace(prefix, short)
                for long, brief in (blocks | norms).items():
                    new = new.replace(long, brief)
                new = new.replace("convnormrelu.0", "conv1").replace("convnormrelu.1", "norm1")
                new = new.replace(f"{short}.conv.", f"{short}.conv2.")
        for long, brief in motion.items():
            new = new.replace(f"motion_encoder.{long}.", f"encoder.{brief}.")
        for turn in "12":
            for gate in "zrq":
                new = new.replace(
                    f"recurrent_block.convgru{turn}.conv{gate}.", f"gru.conv{gate}{turn}."
                )
        new = new.replace("mask_predictor.convrelu.0.", "update_block.mask.0.")
        new = new.replace("mask_predictor.conv.", "update_block.mask.2.")
        named["module." + new] = value
        if "cnet" in new and "downsample.1" in new:
            named["module." + new.replace("downsample.1", "norm3")] = value
    return named


def test_raft_reads_both_published_formats(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = raft_large(weights=None).eval()
    state = network.state_dict()
    theirs = authors_names(state)
    assert "module.fnet.layer2.0.downsample.0.weight" in theirs
    assert "module.cnet.layer3.0.norm3.running_mean" in theirs
    assert "module.update_block.gru.convq2.bias" in theirs
    assert "module.update_block.flow_head.conv2.weight" in theirs
    back = torchvision_names(theirs)
    assert back.keys() == state.keys()
    assert all(torch.equal(back[name], state[name]) for name in state)
    torch.save(theirs, tmp_path / "raft-things.pth")
    flow = flow_named("raft-things", tmp_path / "raft-things.pth")
    random = np.random.default_rng(0)
    one, other = (random.integers(0, 256, (128, 132, 3), np.uint8) for _ in range(2))
    pair = [
        torch.nn.functional.pad(
            torch.from_numpy(x).permute(2, 0, 1)[None] / 127.5 - 1, (2, 2, 0, 0), mode="replicate"
        )
        for x in (one, other)
    ]
    with torch.no_grad():
        expected = network(*pair, num_flow_updates=20)[-1][0, :, :, 2:-2].permute(1, 2, 0)
    assert np.allclose(flow(one, other), expected.numpy(), atol=1e-4)
    assert flow(one[:40, :64], other[:40, :64]).shape == (40, 64, 2)
    assert len(flow.provenance()["weights_sha256"]) == 64
    torch.save({"wrong": torch.zeros(1)}, tmp_path / "wrong.pth")
    with pytest.raises(ValueError, match="holds no weights of RAFT large"):
        flow_named("raft-things", tmp_path / "wrong.pth")


def test_frames_are_shrunk_and_never_enlarged() -> None:
    field = MotionField()
    for given, kept in (((600, 300), (512, 256)), ((64, 96), (64, 96))):
        metric = StaticFraction()
        metric.update(torch.rand(3, 3, *given), 0, fps=8)
        run = next(metric._table().unpacked())
        assert tuple(run.head.shape[2:]) == kept
    assert field.side == 256


def test_a_curve_has_a_number_per_window() -> None:
    answer = result(TemporalFlicker(), walk(6))
    assert answer.windows[0].tolist() == [0, 1, 2, 3, 4, 5]
    assert len(answer.per_window[0]) == 6
    assert answer.value == pytest.approx(float(answer.per_window[0].mean()), rel=0.02)
    with pytest.raises(ValueError, match="window=0 must be"):
        TemporalFlicker(window=0)
