"""Whether pictures follow one another: neighbours are more alike than pictures two apart."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor
from typing_extensions import override

from cf.metrics.measurement import Measurement, Seen
from cf.metrics.readings import ReadingMetric, VideoReading
from cf.metrics.scored import Scored
from cf.system.opencv import cv2

MOST = 2.0
"""Of the ratio in a window: pictures that take turns would have no bound."""


@dataclass(frozen=True)
class Steps(Measurement):
    """How much pictures change in one step and in two, of three neighbouring frames.

    Numbers are mean absolute differences over colours in [0, 1], the mean of both single steps and
    the double step. Frames are shrunk so far that grain and compression average out.

    Attributes:
        rate: frames per second that are looked at.
        side: pixels of the short side at most.
    """

    rate: float | None = 8.0
    side: int = 16
    span = 3
    width = 2

    @override
    def see(self, seen: Seen) -> Float32[Tensor, "t 3 h w"]:
        height, width = seen.frames.shape[-2:]
        shrink = min(1.0, self.side / min(height, width))
        size = max(1, round(width * shrink)), max(1, round(height * shrink))
        rows = []
        for frame in seen.frames:
            picture = frame.permute(1, 2, 0).float().cpu().contiguous().numpy()
            small = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA))
            rows.append(torch.from_numpy(small).permute(2, 0, 1))
        return torch.stack(rows) if rows else torch.zeros(0, 3, size[1], size[0])

    @override
    def measure(self, kept: Float32[Tensor, "t 3 h w"]) -> Float[Tensor, "n 2"]:
        pictures = kept.double()
        single, double = ((pictures[n:] - pictures[:-n]).abs().mean((1, 2, 3)) for n in (1, 2))
        return torch.stack(((single[:-1] + single[1:]) / 2, double), 1)

    @override
    def provenance(self) -> dict[str, Any]:
        return {"measured": "change in one and two steps", "rate": self.rate, "side": self.side}


class Disorder(ReadingMetric):
    r"""Change in one step of time over change in two; down, in [0, 2], without unit.

    .. math:: \frac{\text{mean}_t |I_{t+1} - I_t|}{\text{mean}_t |I_{t+2} - I_t|}

    at 8 frames per second of pictures with a short side of 16 pixels, per window of a second
    (2 at most), then the mean over windows in which something changes, then over prompts. Uniform
    change has 1/2, a random walk .7; 1 is any order of pictures, a light that flickers or a camera
    that jitters; above 1 pictures take turns. NaN where nothing changes by `floor`.

    Ours, a guard: it tells a shuffled or flickering scene that hardly moves, of which flow tells
    nothing. Clips of real footage have .5 to .7 (`benchmarks/gates.py`). Blind spots: a frozen or
    blurred video; things that swing more than twice a second; grain above `floor`.

    Attributes:
        floor: mean change, of colours in [0, 1], below which nothing changes: a fifth of a level.

    >>> import torch
    >>> dark, light = torch.zeros(1, 3, 16, 16), torch.ones(1, 3, 16, 16)
    >>> metric = Disorder()
    >>> metric.update(torch.cat([dark, light] * 8), video_id=0, fps=8)
    >>> metric.compute()
    tensor(2., dtype=torch.float64)
    """

    higher_is_better = False
    depends_on = ("floor",)

    def __init__(
        self,
        rate: float | None = 8.0,
        window: float = 1.0,
        side: int = 16,
        floor: float = 0.2 / 255,
        **kwargs: Any,
    ) -> None:
        if side < 1 or not floor > 0:
            raise ValueError(f"side={side} must be at least 1 and floor={floor} above 0")
        super().__init__(Steps(rate, side), window, **kwargs)
        self.floor = floor

    @override
    def reading(self, one: Scored) -> VideoReading:
        if not len(one.sums):
            return VideoReading(
                reason="it has fewer than three frames at the rate that is looked at"
            )
        single, double = (one.sums / one.count[:, None]).unbind(1)
        ratio = (single / double.clamp(min=self.floor)).clamp(max=MOST)
        changing = torch.maximum(single, double) >= self.floor
        curve = ratio.where(changing, float("nan"))
        if not changing.any():
            reason = f"nothing in it changes by {255 * self.floor:.2g} of 255 levels"
            return VideoReading(reason=reason, curve=curve, seconds=one.seconds)
        return VideoReading(float(curve.nanmean()), "", curve, one.seconds)
