"""The mirror test: a camera goes out and comes back the same way, and sees the same."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from typing_extensions import override

from cf.metrics.base import VideoMetric
from cf.metrics.extractors.base import Extractor
from cf.metrics.measurement import Measurement, Seen
from cf.metrics.result import Result, mean
from cf.metrics.scored import Scored

_NEVER_LEFT = 40.0


@dataclass(frozen=True)
class Thumbnails(Measurement):
    """A small picture of each frame, and its unit features if an extractor is given."""

    extractor: Extractor | None = None
    size: tuple[int, int] = (36, 64)
    rate: float | None = None
    dtype = torch.float32

    @property
    def pixels(self) -> int:
        """Numbers of a picture."""
        return 3 * self.size[0] * self.size[1]

    @property
    @override
    def width(self) -> int:
        return self.pixels + (self.extractor.width if self.extractor else 0)

    @override
    def see(self, seen: Seen) -> Float[Tensor, "t width"]:
        small = torch.nn.functional.adaptive_avg_pool2d(seen.frames, self.size).flatten(1)
        if self.extractor is None or not len(small):
            return torch.nn.functional.pad(small, (0, self.width - self.pixels))
        features = self.extractor(seen.frames).to(torch.float32)
        return torch.cat((small, torch.nn.functional.normalize(features, dim=-1, eps=1e-12)), 1)

    @override
    def provenance(self) -> dict[str, Any]:
        settings = {"thumbnail": list(self.size), "rate": self.rate}
        if self.extractor is None:
            return settings
        return {"by": self.extractor.name, **settings, **self.extractor.provenance()}


class MirrorConsistency(VideoMetric):
    r"""Likeness of a way back to the way out; up, in dB of PSNR between thumbnails, at most 100.

    .. math:: \text{mean}_k \, \text{PSNR}(x_k, x_{N-1-k}), \quad N - 1 - 2k > \text{lag}

    The camera must be told to go out and return exactly the way it came, so that frames k and
    N-1-k of a video of N frames show one pose (the mirror test of MIND; no truth is needed).
    `extras`: `turned`, the same between each frame of the way out and the turning point: what
    staying at the turn would get, so that a video is good only as far as it exceeds this; and
    `cosine` of features if an extractor is given. A video whose way out looks like its turning
    point (above 40 dB) never left: NaN. Blind to a world that is wrong in the same way both times.
    Memory is a thumbnail per frame: 28 kB.

    >>> import torch
    >>> out = torch.rand(12, 3, 36, 64)
    >>> metric = MirrorConsistency()
    >>> metric.update(torch.cat((out, out.flip(0)[1:])), 0, fps=8)
    >>> float(metric.compute())
    100.0

    Attributes:
        lag: seconds between the two frames of a pair at the least.
        extractor: for `cosine`; None for none.
        size: of the thumbnails, height and width.
        rate: frames per second that are looked at; None for all. Only pairs of sampled frames
            count, which there are only if the sampling stride divides N - 1.
    """

    higher_is_better = True
    depends_on = ("lag",)

    def __init__(
        self,
        extractor: Extractor | None = None,
        lag: float = 1.0,
        size: Sequence[int] = (36, 64),
        rate: float | None = None,
        **kwargs: Any,
    ) -> None:
        height, width = size
        self.thumbnails = Thumbnails(extractor, (height, width), rate)
        super().__init__(self.thumbnails, window=None, **kwargs)
        self.lag = lag

    @override
    def score(self, videos: list[Scored]) -> Result:
        values: dict[int, float] = {}
        reasons: dict[int | None, str] = {}
        turned, cosines = [], []
        for video in videos:
            pictures, features = video.sums.split(
                [self.thumbnails.pixels, video.sums.shape[1] - self.thumbnails.pixels], 1
            )
            out, back = self._pairs(video)
            values[video.video_id] = float("nan")
            if not len(out):
                reasons[video.video_id] = "no two sampled frames mirror each other beyond the lag"
                continue
            stayed = _decibels(pictures[out], pictures[self._turn(video)][None]).mean()
            turned.append(float(stayed))
            if stayed > _NEVER_LEFT:
                reasons[video.video_id] = (
                    f"the way out looks like its turn ({float(stayed):.0f} dB)"
                )
                continue
            values[video.video_id] = float(_decibels(pictures[out], pictures[back]).mean())
            cosines.append(float((features[out].double() * features[back]).sum(1).mean()))
        value = mean(values.values())
        if values and value != value:
            reasons[None] = "no video left and returned"
        extras = {"turned": mean(turned)}
        if self.thumbnails.extractor is not None:
            extras["cosine"] = mean(cosines)
        return self.answer(value, values, reasons=reasons, extras=extras)

    def _pairs(self, video: Scored) -> tuple[Tensor, Tensor]:
        """Rows of the way out, and of the way back in the same order."""
        stride, last = video.clock.stride, video.frames - 1
        if last % stride:
            return torch.zeros(0, dtype=torch.long), torch.zeros(0, dtype=torch.long)
        rows = torch.arange(last // stride + 1)
        apart = (last - 2 * rows * stride).double() / float(video.clock.fps)
        out = rows[(apart > 0) & (apart >= self.lag)]
        return out, last // stride - out

    def _turn(self, video: Scored) -> int:
        return (video.frames - 1) // video.clock.stride // 2


def _decibels(
    pictures: Float[Tensor, "n p"], reference: Float[Tensor, "#n p"]
) -> Float[Tensor, " n"]:
    error = (pictures.double() - reference.double()).square().mean(1)
    return -10 * error.clamp(min=1e-10).log10()
