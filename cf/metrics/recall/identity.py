"""Whether a thing is still itself after it was hidden, by its features."""

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
from cf.metrics.recall.occlusion import LAGS, areas, hidden_again, over_absences, seconds
from cf.metrics.result import Result
from cf.metrics.scored import Scored


@dataclass(frozen=True)
class Crops(Measurement):
    """Of each thing in each frame: whether it was given, its area, and features of its crop.

    Known of each frame (`truth`): `instance` (h, w), the number from 1 of the thing that each
    pixel belongs to, and `given`. The rest of a crop is grey.

    Attributes:
        things: that are looked at: instances 1 to this.
        border: pixels around the mask.
    """

    extractor: Extractor
    things: int
    border: int = 32
    rate: float | None = 4.0
    dtype = torch.float32
    needs = ("given", "instance")

    @property
    @override
    def width(self) -> int:
        return self.things * (2 + self.extractor.width)

    @override
    def see(self, seen: Seen) -> Float[Tensor, "t width"]:
        rows = torch.zeros(len(seen.frames), self.things, 2 + self.extractor.width)
        for row, frame, mask, given in zip(
            rows, seen.frames, seen.truth["instance"], seen.truth["given"], strict=True
        ):
            row[:, 0] = float(given)
            row[:, 1] = areas(mask, self.things)
            for thing in row[:, 1].nonzero().flatten().tolist():
                crop = self._crop(frame, mask.to(frame.device) == thing + 1)
                features = self.extractor(crop[None])[0].float().cpu()
                row[thing, 2:] = torch.nn.functional.normalize(features, dim=-1, eps=1e-12)
        return rows.flatten(1)

    def _crop(self, frame: Tensor, mask: Tensor) -> Float[Tensor, "3 rows columns"]:
        where = mask.nonzero()
        low = (where.amin(0) - self.border).clamp(min=0).tolist()
        high = (where.amax(0) + 1 + self.border).tolist()
        box = slice(low[0], high[0]), slice(low[1], high[1])
        return torch.where(mask[box], frame[:, box[0], box[1]], 0.5)

    @override
    def provenance(self) -> dict[str, Any]:
        settings = {"things": self.things, "border": self.border, "rate": self.rate}
        return {"by": self.extractor.name, **settings, **self.extractor.provenance()}


class IdentityPersistence(VideoMetric):
    r"""How alike a thing is before and after it was hidden, corrected for likeness to others; up.

    .. math:: \frac{\overline{\cos} - \kappa}{1 - \kappa}

    Cosine of mean unit features of crops, a second before a thing is hidden and a second after it
    is seen again in generated frames; kappa is that between it before and the video's other things
    before they were hidden. Hidden: less than 1 % of its largest area for a second or more.
    Mean over all such absences; 1 is the same, 0 no more alike than another thing; by lag in
    `curves`. The mask is the truth's: a thing painted elsewhere is background. A weak signal with
    handcrafted features: two things of one colour cast are nearly alike; reading attributes
    (`ColourRecall`, `AttributeRecall`) says more. Needs two things that are hidden, for kappa.

    >>> import torch
    >>> class Mean(Extractor):
    ...     name, semantic, width = "mean", False, 3
    ...
    ...     def __call__(self, frames):
    ...         return frames.mean((2, 3))
    ...
    ...     def provenance(self):
    ...         return {"extractor": self.name}
    >>> mask = torch.zeros(30, 8, 8, dtype=torch.long)
    >>> mask[:, :3, :3], mask[:, 5:, 5:] = 1, 2
    >>> mask[10:20] = 0  # hidden
    >>> frames = torch.zeros(30, 3, 8, 8)
    >>> frames[:, 0, :3, :3], frames[:, 2, 5:, 5:] = 1, 1
    >>> truth = {"instance": mask, "given": torch.arange(30) < 5}
    >>> metric = IdentityPersistence(Mean(), 2, border=1)
    >>> metric.update(frames, 0, fps=8, truth=truth)
    >>> round(float(metric.compute()), 4)
    1.0

    Attributes:
        extractor: of features.
        things, border, rate: see `Crops`.
        edges: of the bins of lag, in seconds.
    """

    higher_is_better = True

    def __init__(
        self,
        extractor: Extractor,
        things: int,
        border: int = 32,
        rate: float | None = 4.0,
        edges: Sequence[float] = LAGS,
        **kwargs: Any,
    ) -> None:
        super().__init__(Crops(extractor, things, border, rate), window=None, **kwargs)
        self.things, self.edges = things, tuple(float(edge) for edge in edges)

    @override
    def score(self, videos: list[Scored]) -> Result:
        trials = {video.video_id: self._trials(video) for video in videos}
        return over_absences(self, trials, self.edges)

    def _trials(self, video: Scored) -> list[tuple[float, float]]:
        """(lag in seconds, corrected cosine) of each absence."""
        rows = video.sums.double().view(len(video.sums), self.things, -1)
        absences = [
            (thing, absence)
            for thing in range(self.things)
            for absence in hidden_again(video, rows[:, thing, 0], rows[:, thing, 1])
        ]
        unit = [
            torch.nn.functional.normalize(rows[absence.before, thing, 2:].mean(0), dim=0)
            for thing, absence in absences
        ]
        trials = []
        for (thing, absence), before in zip(absences, unit, strict=True):
            others = [x for (other, _), x in zip(absences, unit, strict=True) if other != thing]
            if not others:
                continue
            chance = float(torch.stack(others).mv(before).mean())
            after = torch.nn.functional.normalize(rows[absence.after, thing, 2:].mean(0), dim=0)
            if chance < 1:
                cosine = (float(before @ after) - chance) / (1 - chance)
                trials.append((seconds(video, absence), cosine))
        return trials
