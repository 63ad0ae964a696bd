"""Pose obedience: does the camera look where it was told, by the nearest of painted headings?"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from typing_extensions import override

from cf.metrics.base import VideoMetric
from cf.metrics.measurement import Measurement, Seen
from cf.metrics.readings import VideoReading, collected
from cf.metrics.result import Result
from cf.metrics.scored import Scored
from cf.metrics.truth.nearest import nearest_choice
from cf.metrics.truth.painter import AWAY, Painter, common_size, place_of, shrunk

_ASKED, _PLAIN, _RIGHT, _CHANCE, _ROOM, _DEGREES = range(6)


@dataclass(frozen=True)
class Headings(Measurement):
    """Of each frame whose view was given: the nearest of `headings` all around, plain or mirrored.

    A row is whether it was asked, whether the plain version was nearest, right, chance and room as
    in `Choice`, and the degrees by which the nearest is turned away.
    """

    world: Painter
    headings: int = 24
    rate: float | None = 1.0
    side: int = 48
    kept = torch.float64
    needs = (*AWAY, "given")
    width = 6

    @override
    def see(self, seen: Seen) -> Float[Tensor, "t 6"]:
        shown = (seen.truth["away"] >= 0) & ~seen.truth["given"].bool()
        rows = torch.zeros(len(shown), self.width, dtype=torch.float64)
        if shown.any():
            size = common_size(seen.frames, self.side)
            pictures = shrunk(seen.frames[shown], size).permute(0, 2, 3, 1).numpy()
            rows[shown] = self._rows(pictures, place_of(seen), seen.truth["pose"][shown], size)
        return rows

    def _rows(
        self, pictures: np.ndarray, place: tuple[int, int], pose: Tensor, size: tuple[int, int]
    ) -> Float[Tensor, "n 6"]:
        step = 360 / self.headings
        order = [*range(1, self.headings), 0]  # the true one last, as `chosen` has it
        poses = torch.cat([self.world.turned(pose, i * step) for i in order])
        views = self.world.pictures(*place, poses, size)
        plain = views.permute(0, 2, 3, 1).numpy().reshape(len(order), len(pose), *size, 3)
        everywhere = np.ones(size, bool)
        rows = []
        for i, picture in enumerate(pictures):
            family = np.stack([plain[:, i], plain[:, i, :, ::-1]], 1)
            best = nearest_choice(picture, family, everywhere)
            off = abs((order[best.answer] * step + 180) % 360 - 180)
            rows.append([1, best.version == 0, best.right, best.chance, best.room, off])
        return torch.tensor(rows, dtype=torch.float64)

    @override
    def provenance(self) -> dict[str, Any]:
        settings = {"headings": self.headings, "rate": self.rate, "side": self.side}
        return {**settings, **self.world.provenance()}


class PoseObedience(VideoMetric):
    r"""Whether the camera looks where it was told to; up, 1 is always, 0 is chance.

    .. math:: \frac{\sum_i c_i \, (r_i - n_i / k)}{\sum_i (1 - n_i^* / k)}

    The engine paints what stands around the camera under k headings, evenly over a full turn, each
    plain and mirrored. The generated picture chooses the nearest (mean squared error): r is 1 if
    that is the heading that it was told, n the number of headings that look as the chosen one does,
    n* as the told one does, and c is 1 if the plain version was chosen. Asked only where a given
    frame had shown the view (`cf.data.world.again`): what the model invents has no true picture to
    tell its heading by. Slight blur leaves it, for a blurred camera may stand right.

    `extras`: `degrees`, by which the nearest heading is turned away, and `near`, the share of
    frames within one heading of the told one. Pictures come to one size as in `ForcedChoice`.

    Attributes:
        world: paints the places (`cf.data.world.doom.painter.DoomPainter`).
        headings: k.
        rate: frames per second that are looked at.
        side: longest shorter side in pixels at which pictures are compared.
    """

    higher_is_better = True

    def __init__(
        self,
        world: Painter,
        headings: int = 24,
        rate: float | None = 1.0,
        side: int = 48,
        **kwargs: Any,
    ) -> None:
        if not 4 <= headings <= 360 or not 16 <= side <= 480:
            raise ValueError(f"headings={headings} must lie in 4..360 and side={side} in 16..480")
        super().__init__(Headings(world, headings, rate, side), window=None, **kwargs)
        self.headings = headings

    @override
    def score(self, videos: list[Scored]) -> Result:
        return collected(self, videos, self._reading)

    def _reading(self, video: Scored) -> VideoReading:
        rows = video.sums[video.sums[:, _ASKED] > 0]
        room = float(rows[:, _ROOM].sum())
        if not room > 1e-9:
            return VideoReading(
                reason="no view that was given is shown, or all headings look the same"
            )
        above = rows[:, _PLAIN] * (rows[:, _RIGHT] - rows[:, _CHANCE])
        off, step = rows[:, _DEGREES], 360 / self.headings
        near = (off < 1.5 * step) & (rows[:, _PLAIN] > 0)
        extras = {"degrees": float(off.mean()), "near": float(near.double().mean())}
        return VideoReading(float(above.sum()) / room, extras=extras)
