"""Loops, resets, classical quality and drift: each sees its own fault."""

import numpy as np
import pytest
import torch
from films import pan, result, walk
from torch import Tensor

from cf.metrics.motion.disorder import Disorder
from cf.metrics.motion.motion_smoothness import MotionSmoothness
from cf.metrics.motion.temporal_flicker import TemporalFlicker
from cf.metrics.quality.blur_effect import BlurEffect
from cf.metrics.quality.classical import ClassicalMeasure
from cf.metrics.quality.classical_quality import ClassicalQuality
from cf.metrics.quality.drift import vde
from cf.metrics.quality.frame_pack_drift import FramePackDrift
from cf.metrics.quality.quality_drift import QualityDrift
from cf.metrics.repetition import loop_rate
from cf.metrics.repetition.hashes import distances, words_of
from cf.metrics.repetition.loop_rate import LoopRate, looped
from cf.metrics.repetition.sink_reset import SinkReset


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


def test_loops_are_found_as_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    scenes = random.random((5, 63)) > 0.5
    bits = scenes[random.integers(0, 5, 60)]
    bits ^= random.random(bits.shape) > 0.98
    words = bits.astype(np.uint64) @ (np.uint64(1) << np.arange(63, dtype=np.uint64))
    expected = looped_by_hand(bits, 8)
    assert looped(words, 8).tolist() == expected
    monkeypatch.setattr(loop_rate, "_PAIRS", 240)  # four frames at a time
    assert looped(words, 8).tolist() == expected
    assert 0 < sum(expected) < 60
    by_hand = [[int((a != b).sum()) for b in bits] for a in bits]
    assert distances(words, words).tolist() == by_hand


def test_all_bits_of_a_hash_are_kept() -> None:
    hashes = torch.tensor([[2.0**32 - 1, 2.0**31 - 1], [1.0, 2.0**30]], dtype=torch.float64)
    assert words_of(hashes).tolist() == [2**63 - 1, 1 + 2**62]


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
    early = torch.cat((walk(10, seed=9)[:4], lone))
    assert result(SinkReset(), early).value == 0  # a cut within the anchor is no return to it
    assert result(SinkReset(), early).extras["largest_step"] >= 24


def test_flat_frames_of_any_light_have_one_hash() -> None:
    flat = torch.linspace(0, 1, 40).view(-1, 1, 1, 1).expand(40, 3, 33, 47)
    assert result(SinkReset(), flat).extras["largest_step"] == 0


def test_short_videos_get_a_reason() -> None:
    assert "more than 2 s are needed" in result(LoopRate(), walk(1)).reasons[0]
    assert "more than 1 s is needed" in result(SinkReset(), walk(1)).reasons[0]
    assert "fewer than three frames" in result(TemporalFlicker(), walk(1)[:2]).reasons[0]


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


def test_disorder_is_one_step_over_two_steps() -> None:
    levels = np.array([0.1, 0.2, 0.4, 0.5, 0.3, 0.6, 0.2, 0.9])
    frames = torch.tensor(levels, dtype=torch.float32).view(-1, 1, 1, 1).expand(-1, 3, 32, 48)
    one, two = np.abs(np.diff(levels)), np.abs(levels[2:] - levels[:-2])
    found = result(Disorder(), frames)
    assert found.value == pytest.approx((one[:-1] + one[1:]).sum() / 2 / two.sum(), abs=1e-5)
    still = result(Disorder(), frames[:1].expand(8, -1, -1, -1))
    assert "nothing in it changes" in still.reasons[0]


def test_the_blur_effect_is_that_of_the_paper() -> None:
    picture = walk(1)[0].float().mean(0).numpy() / 255
    frames = torch.from_numpy(picture).expand(8, 3, -1, -1).contiguous()
    effects = []
    for axis in (0, 1):
        rows = np.moveaxis(picture.astype(np.float64), axis, -1)
        padded = np.pad(rows, ((0, 0), (5, 5)), mode="reflect")
        blurred = np.stack([padded[:, i : i + 11].mean(1) for i in range(rows.shape[1])], 1)
        steps, left = np.abs(np.diff(rows)), np.abs(np.diff(blurred))
        effects.append((steps.sum() - np.maximum(0, steps - left).sum()) / steps.sum())
    assert result(BlurEffect(), frames).value == pytest.approx(max(effects), abs=1e-3)
    assert "flat" in result(BlurEffect(), torch.zeros(8, 3, 32, 32)).reasons[0]
