"""Laws of all metrics on odd videos: a number or a reason, and no number that was not measured."""

import math
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from metrics import METRICS, Piece, moving
from torch import Tensor

from cf.bench.measures import Panel
from cf.bench.tasks.base import Known, Sample
from cf.metrics.base import VideoMetric
from cf.metrics.bootstrap import TIMES, resampled
from cf.metrics.result import Result

every_metric = pytest.mark.parametrize("name", METRICS)
VIDEOS = moving(2, frames=16)


def holed(frames: Tensor) -> Tensor:
    frames = frames.clone()
    frames[5, 0, 0, 0] = math.nan
    return frames


ODD: dict[str, tuple[Callable[[Tensor], Tensor], float]] = {
    "one frame": (lambda frames: frames[:1], 8),
    "two frames": (lambda frames: frames[:2], 8),
    "one frame of a second": (lambda frames: frames[:1], 1),
    "slow": (lambda frames: frames, 1),
    "fast": (lambda frames: frames, 999),
    "grey": (lambda frames: torch.full_like(frames, 0.5), 8),
    "one pixel": (lambda frames: frames[..., :1, :1], 8),
    "few pixels": (lambda frames: frames[..., :7, :5], 8),
    "not a number": (holed, 8),
}


def odd(case: str) -> list[Piece]:
    change, fps = ODD[case]
    made = []
    for one in VIDEOS:
        frames = change(one.frames)
        count, *_, height, width = frames.shape
        more: dict[str, Any] = {**one.more, "fps": fps}
        more["reference"] = more["reference"][:count, :, :height, :width]
        truth = {name: rows[:count] for name, rows in more["truth"].items()}
        truth["instance"] = truth["instance"][:, :height, :width]
        made.append(Piece(frames, one.video_id, 0, {**more, "truth": truth}))
    return made


@every_metric
@pytest.mark.parametrize("case", ODD)
def test_an_odd_video_has_a_number_or_a_reason(name: str, case: str) -> None:
    metric = METRICS[name]()
    for piece in odd(case):
        height, width = piece.frames.shape[-2:]
        refusal = refusal_of(metric, piece)
        if refusal:
            assert re.search(rf"{height}(, | x ){width}\W.*pixels", refusal)
            return
    result = metric.result()
    assert result.per_video.keys() == {0, 1} or not result.per_video
    for video, value in result.per_video.items():
        assert math.isfinite(value) or result.reasons[video]
        assert case != "not a number" or math.isnan(value)
    assert not math.isinf(result.value)
    assert not math.isnan(result.value) or result.reasons


@pytest.mark.parametrize("case", ["one frame", "two frames", "one frame of a second"])
@pytest.mark.parametrize(
    "name", ["quality_drift", "quality_drift_of_another", "frame_pack_drift", "classical_quality"]
)
def test_a_change_over_time_needs_two_windows(name: str, case: str) -> None:
    result = scored(METRICS[name](), odd(case))
    assert all(map(math.isnan, (result.value, *result.per_video.values())))


@pytest.mark.parametrize("name", ["classical_measure", "classical_quality", "quality_drift"])
def test_a_picture_smaller_than_a_measure_is_not_measured(name: str) -> None:
    result = scored(METRICS[name](), odd("one pixel"))
    if name == "quality_drift":  # of contrast, which a pixel has
        assert result.value == 0
    else:
        assert "1 x 1 pixels are too small" in result.reasons[0]


def refusal_of(metric: VideoMetric, piece: Piece) -> str:
    try:
        piece.give(metric)
    except ValueError as error:
        return str(error)
    return ""


def scored(metric: VideoMetric, pieces: list[Piece]) -> Result:
    for piece in pieces:
        piece.give(metric)
    return metric.result()


def test_what_one_metric_refuses_others_measure_in_a_benchmark() -> None:
    metrics = {one.name: one for one in (METRICS[k]() for k in ("ssim", "psnr"))}
    piece = odd("few pixels")[0]

    def known(start: int, stop: int) -> Known:
        return Known(piece.more["reference"][start:stop], {})

    panel = Panel(metrics, Sample("a-0", "a", 0, ((0.0, "a"),)), 8.0, known)
    panel.update(piece.frames[:8], 0, None)
    panel.update(piece.frames[8:], 8, None)
    refused, kept = (metrics[name].result() for name in ("SSIM", "PSNR"))
    assert "(7, 5) pixels" in panel.refused["SSIM"]
    assert refused.reasons
    assert math.isnan(refused.value)
    assert math.isfinite(kept.value)
    assert "PSNR" not in panel.refused


def test_resamples_are_the_same_however_many_are_held(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = torch.cat(list(resampled(9)))
    monkeypatch.setattr("cf.metrics.bootstrap._AT_ONCE", 9 * 777)
    parts = list(resampled(9))
    assert max(map(len, parts)) == 777
    assert len(whole) == TIMES
    assert torch.equal(torch.cat(parts), whole)
