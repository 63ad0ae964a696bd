"""Whether a thing still has its colour after it was hidden, read by the world's palette."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from typing_extensions import override

from cf.metrics.base import VideoMetric
from cf.metrics.measurement import Measurement, Seen
from cf.metrics.recall.occlusion import LAGS, areas, hidden_again, over_absences, seconds
from cf.metrics.result import Result
from cf.metrics.scored import Scored
from cf.system.opencv import cv2


@dataclass(frozen=True)
class Colours(Measurement):
    """Of each thing in each frame: whether it was given, its colour, its area, and the votes.

    Every pixel of a mask votes for the palette's colour that is nearest in CIE Lab. Known of each
    frame (`truth`): `given`, `instance` (h, w) and `colour` (things), numbers in the palette.

    Attributes:
        palette: colours, each three numbers in [0, 1].
        things: that are looked at: instances 1 to this.
    """

    palette: tuple[tuple[float, float, float], ...]
    things: int
    rate: float | None = 4.0
    kept = torch.float64
    needs = ("given", "instance", "colour")

    @property
    @override
    def width(self) -> int:
        return self.things * (3 + len(self.palette))

    @override
    def see(self, seen: Seen) -> Float[Tensor, "t width"]:
        rows = torch.zeros(
            len(seen.frames), self.things, 3 + len(self.palette), dtype=torch.float64
        )
        bank = _lab(np.array(self.palette, np.float32)[None])[0]
        for i, frame in enumerate(seen.frames.cpu()):
            mask = seen.truth["instance"][i]
            pixels = _lab(np.ascontiguousarray(frame.float().permute(1, 2, 0).numpy()))
            nearest = np.square(pixels[:, :, None] - bank).sum(-1).argmin(-1)
            inside = (mask > 0) & (mask <= self.things)
            votes = (mask[inside] - 1) * len(bank) + torch.from_numpy(nearest)[inside]
            counts = torch.bincount(votes, minlength=self.things * len(bank))
            rows[i, :, 0] = float(seen.truth["given"][i])
            rows[i, :, 1] = seen.truth["colour"][i, : self.things].double()
            rows[i, :, 2] = areas(mask, self.things)
            rows[i, :, 3:] = counts.view(self.things, -1).double()
        return rows.flatten(1)

    @override
    def provenance(self) -> dict[str, Any]:
        palette = [list(colour) for colour in self.palette]
        return {"by": "palette-lab", "palette": palette, "things": self.things, "rate": self.rate}


class ColourRecall(VideoMetric):
    r"""Whether things have their colour after they were hidden, corrected for chance; up, <= 1.

    .. math:: (\text{acc} - 1/k) / (1 - 1/k)

    The colour of a thing is that of k palette colours which most pixels of its mask are nearest
    to in Lab, over the first second after it was hidden for a second or more; right if it is the
    true one. `extras`: `accuracy`, and `legible`, the accuracy of the same reading on the second
    before, which bounds what can be read. Blind to shape, and to colours within one palette entry.

    >>> import torch
    >>> mask = torch.zeros(30, 8, 8, dtype=torch.long)
    >>> mask[:, :3, :3], mask[:, 5:, 5:] = 1, 2
    >>> mask[10:20] = 0  # hidden
    >>> frames = torch.zeros(30, 3, 8, 8)
    >>> frames[:, 0, :3, :3], frames[:, 2, 5:, 5:] = 1, 1
    >>> truth = {"instance": mask, "given": torch.arange(30) < 5}
    >>> truth["colour"] = torch.tensor([[0, 1]] * 30)
    >>> metric = ColourRecall([(1, 0, 0), (0, 0, 1)], 2)
    >>> metric.update(frames, 0, fps=8, truth=truth)
    >>> round(float(metric.compute()), 4)
    1.0

    Attributes:
        palette: the world's colours, in the order in which `truth["colour"]` counts them.
        things: that are looked at: instances 1 to this.
        edges: of the bins of lag, in seconds.
    """

    higher_is_better = True

    def __init__(
        self,
        palette: Sequence[Sequence[float]],
        things: int,
        rate: float | None = 4.0,
        edges: Sequence[float] = LAGS,
        **kwargs: Any,
    ) -> None:
        colours = tuple((float(r), float(g), float(b)) for r, g, b in palette)
        if len(colours) < 2:
            raise ValueError(f"palette={colours} must have two colours or more")
        super().__init__(Colours(colours, things, rate), window=None, **kwargs)
        self.things, self.chance = things, 1 / len(colours)
        self.edges = tuple(float(edge) for edge in edges)

    @override
    def score(self, videos: list[Scored]) -> Result:
        read = {video.video_id: self._read(video) for video in videos}
        trials = {
            number: [(lag, (after - self.chance) / (1 - self.chance)) for lag, _, after in rows]
            for number, rows in read.items()
        }
        pairs = [row for rows in read.values() for row in rows]
        legible, accuracy = (
            sum(pair[i] for pair in pairs) / len(pairs) if pairs else float("nan") for i in (1, 2)
        )
        return over_absences(self, trials, self.edges, accuracy=accuracy, legible=legible)

    def _read(self, video: Scored) -> list[tuple[float, float, float]]:
        """(lag, right before, right after) of each absence."""
        rows = video.sums.view(len(video.sums), self.things, -1)
        trials = []
        for thing in range(self.things):
            given, colour, area = rows[:, thing, :3].T
            for absence in hidden_again(video, given, area):
                right = [
                    float(rows[when, thing, 3:].sum(0).argmax() == colour[when[0]])
                    for when in (absence.before, absence.after)
                ]
                trials.append((seconds(video, absence), right[0], right[1]))
        return trials


def _lab(pixels: np.ndarray) -> np.ndarray:
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2LAB))
