"""Likeness to the truth when a place is shown again, by the time since it was last in view."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from typing_extensions import override

from cf.metrics.base import VideoMetric
from cf.metrics.fidelity.full_reference import Decibels, FrameSimilarity, Structure
from cf.metrics.fidelity.perceptual import Net, Perceptual
from cf.metrics.lags import lag_bins, means_by_lag, rising
from cf.metrics.measurement import Measurement, Seen
from cf.metrics.recall.recall import LAGS
from cf.metrics.result import Result, mean, without_value
from cf.metrics.scored import Scored

_POSE = ("given", "place", "camera", "fresh")


@dataclass(frozen=True)
class Posed(Measurement):
    """A comparison of each frame with its reference, and where its camera should be.

    Known of each frame (`truth`): `given`, `place`, `camera` and `fresh`, as in `Cells`.
    """

    comparison: FrameSimilarity
    kept = torch.float64
    needs = ("reference", *_POSE)
    width = len(_POSE) + 1

    @override
    def see(self, seen: Seen) -> Float[Tensor, "t 5"]:
        assert seen.reference is not None
        if not len(seen.frames):
            return torch.zeros(0, self.width, dtype=torch.float64)
        likeness = self.comparison(seen.frames, seen.reference.nan_to_num(0, 0, 0))
        return torch.stack([*(seen.truth[name].double() for name in _POSE), likeness], 1)

    @override
    def provenance(self) -> dict[str, Any]:
        return {"posed": True, **self.comparison.provenance()}


class Revisit(VideoMetric):
    """A comparison with the truth over generated frames whose view a given frame had shown.

    A view was shown before if, before the cut that began the stay, a frame of the same place had
    its camera within `tolerance` of the picture's width, one such frame was given, and the last
    one lies the lag before that cut. Mean over a video's frames, then over videos; by lag, pooled
    over all frames, in `curves`. Read beside `TriggerGate`, `SelfRevisit`, and the values of the
    truth through the model's own codec and of a copied last frame: alone it praises blur, and a
    world that hardly changes.

    Attributes:
        comparison: what makes a number of a frame and the true one.
        edges: of the bins of lag, in seconds; other lags are not counted.
        tolerance: of the pose, as a share of the picture's width.
    """

    comparison: FrameSimilarity
    depends_on = ("edges", "tolerance")

    def __init__(
        self, edges: Sequence[float] = LAGS, tolerance: float = 0.05, **kwargs: Any
    ) -> None:
        self.edges, self.tolerance = rising(edges), tolerance
        super().__init__(Posed(self.comparison), window=None, **kwargs)

    @override
    def score(self, videos: list[Scored]) -> Result:
        by_lag = []
        per_video: dict[int, float] = {}
        for video in videos:
            lag = lags(video.sums, self.tolerance * video.size[1])
            at = lag_bins(lag.double() / float(video.clock.fps), self.edges)
            again = (lag >= 0) & (at >= 0)
            values = video.sums[again, -1]
            by_lag.append((at[again], values))
            per_video[video.video_id] = float(values.mean()) if len(values) else float("nan")
        nothing = "no view that was given is shown again"
        value = mean(per_video.values())
        reasons = without_value(per_video, nothing, value)
        curves = means_by_lag(by_lag, self.edges)
        return self.answer(value, per_video, reasons=reasons, curves=curves)


class RevisitPSNR(Revisit):
    """PSNR of revisited views against the truth; up, in dB (see `Revisit` and `PSNR`).

    >>> from cf.data.world.known import known
    >>> from cf.data.world.rooms import Rooms
    >>> drawn = Rooms(stay_blocks=4).draw(0, [0], 60)
    >>> metric = RevisitPSNR()
    >>> frames, truth = drawn.video[0], known(drawn, 0, given=36)
    >>> metric.update(frames, 0, fps=8, truth=truth, reference=frames)
    >>> round(float(metric.compute()), 6)
    100.0
    """

    higher_is_better = True
    comparison = Decibels()


class RevisitSSIM(Revisit):
    """SSIM of revisited views against the truth; up, at most 1 (see `Revisit` and `SSIM`).

    >>> from cf.data.world.known import known
    >>> from cf.data.world.rooms import Rooms
    >>> drawn = Rooms(stay_blocks=4).draw(0, [0], 60)
    >>> metric = RevisitSSIM()
    >>> frames, truth = drawn.video[0], known(drawn, 0, given=36)
    >>> metric.update(frames, 0, fps=8, truth=truth, reference=frames)
    >>> round(float(metric.compute()), 6)
    1.0
    """

    higher_is_better = True
    comparison = Structure()


class RevisitLPIPS(Revisit):
    """LPIPS of revisited views from the truth; down, from 0 (see `Revisit` and `LPIPS`).

    >>> from cf.data.world.known import known
    >>> from cf.data.world.rooms import Rooms
    >>> drawn = Rooms(stay_blocks=4).draw(0, [0], 60)
    >>> metric = RevisitLPIPS("squeeze", random=0)
    >>> frames, truth = drawn.video[0], known(drawn, 0, given=36)
    >>> metric.update(frames, 0, fps=8, truth=truth, reference=frames)
    >>> round(float(metric.compute()), 6)
    0.0
    """

    higher_is_better = False

    def __init__(
        self,
        net: Net = "alex",
        weights: str | Path | None = None,
        random: int | None = None,
        device: str = "cpu",
        edges: Sequence[float] = LAGS,
        tolerance: float = 0.05,
        **kwargs: Any,
    ) -> None:
        self.comparison = Perceptual(net, weights, random, device)
        super().__init__(edges, tolerance, **kwargs)


def lags(rows: Float[Tensor, "n 5"], tolerance: float) -> Int[Tensor, " n"]:
    """Frames from when a generated frame's view was last shown to the cut before it; -1 if never.

    Views that no given frame had shown do not count.
    """
    given, place, camera, fresh = rows[:, :4].T
    starts = (fresh == 0).nonzero().flatten().tolist()
    lag = torch.full((len(rows),), -1)
    for start, stop in zip(starts, [*starts[1:], len(rows)], strict=True):
        same = place[:start] == place[start]
        apart = (camera[start:stop, None] - camera[None, :start]).abs()
        shown = (apart <= tolerance) & same
        counted = (shown & (given[:start] > 0)).any(1) & (given[start:stop] == 0)
        latest = torch.where(shown, torch.arange(start), -1).amax(1) if start else lag[start:stop]
        lag[start:stop] = torch.where(counted & (latest >= 0), start - latest, -1)
    return lag
