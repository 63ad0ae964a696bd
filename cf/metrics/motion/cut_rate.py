"""How often a video is cut."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from typing_extensions import override

from cf.metrics.measurement import Measurement, Seen
from cf.metrics.readings import ReadingMetric, VideoReading
from cf.metrics.scored import Scored
from cf.video.cuts import STEP, THRESHOLD, WINDOW, cut_weights_hash, small, window_likelihood


@dataclass(frozen=True)
class Cuts(Measurement):
    """Cuts that begin in the middle 50 of every 100 frames, as TransNetV2 sees them."""

    span = WINDOW
    stride = STEP
    kept = torch.uint8
    width = 1

    @override
    def see(self, seen: Seen) -> UInt8[Tensor, "t 27 48 3"]:
        return small((seen.frames * 255).round().to("cpu", torch.uint8))

    @override
    def measure(self, kept: Tensor) -> Float[Tensor, "n 1"]:
        rows = [_begun(kept[i : i + WINDOW]) for i in range(0, len(kept) - WINDOW + 1, STEP)]
        return torch.tensor(rows, dtype=self.dtype).view(-1, 1)

    @override
    def provenance(self) -> dict[str, Any]:
        return {
            "by": "transnetv2",
            "weights": {"sha256": cut_weights_hash()},
            "threshold": THRESHOLD,
            "rows": f"the middle {STEP} of {WINDOW} frames",
        }


def _begun(frames: UInt8[Tensor, "100 27 48 3"]) -> int:
    edge = (WINDOW - STEP) // 2
    cut = window_likelihood(frames)[edge - 1 : edge + STEP] > THRESHOLD
    return int((cut[1:] & ~cut[:-1]).sum())


class CutRate(ReadingMetric):
    r"""Hard cuts and transitions per second; no direction, from 0 up.

    .. math:: \frac{\#\{\text{cuts that begin in a judged frame}\}}{\text{judged frames} / f}

    A frame is judged in the middle 50 of 100 neighbouring frames by TransNetV2 (arXiv 2008.04838,
    extra `cuts`, on the CPU), so that the first 25 and up to 74 of the last frames are not; then a
    mean over prompts. The curve is the rate per window in which the middles begin.

    A companion: a generator that jumps to another scene is not one that drifts, and metrics of
    likeness cannot tell them apart. Blind spots: a flash or a fast pan passes for a cut; a jump to
    a like picture does not. NaN for videos of less than 100 frames.

    >>> metric = CutRate()
    >>> metric.update(torch.rand(8, 3, 32, 32), video_id=0, fps=8)
    >>> metric.result().reasons[0]
    'it has less than 100 frames, which TransNetV2 looks at together'
    """

    higher_is_better = None

    def __init__(self, window: float | None = 1.0, **kwargs: Any) -> None:
        super().__init__(Cuts(), window, **kwargs)

    @override
    def reading(self, one: Scored) -> VideoReading:
        if one.reason:
            return VideoReading(reason=one.reason)
        if not len(one.count):
            reason = f"it has less than {WINDOW} frames, which TransNetV2 looks at together"
            return VideoReading(reason=reason)
        seconds = one.count.double() * STEP / float(one.clock.fps)
        cuts = one.sums[:, 0].double()
        value = float(cuts.sum() / seconds.sum())
        return VideoReading(value, "", cuts / seconds, one.seconds.double())
