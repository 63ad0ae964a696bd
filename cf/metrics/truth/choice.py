"""Forced choice: is a generated picture nearest to the true place, or to one it might have been?"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from typing_extensions import override

from cf.metrics.base import VideoMetric
from cf.metrics.lags import rising, span
from cf.metrics.measurement import Measurement, Seen
from cf.metrics.readings import over_prompts
from cf.metrics.result import Result, without_value
from cf.metrics.scored import Scored
from cf.metrics.truth.nearest import nearest_choice
from cf.metrics.truth.painter import (
    AWAY,
    LAGS,
    Painter,
    common_size,
    place_of,
    revisit_bins,
    shrunk,
)
from cf.system.opencv import cv2

Scope = Literal["surfaces", "objects"]
_REGIONS = 3
_LEAST = {"surfaces": 0.02, "objects": 0.004}
"""Share of the picture that is looked at at the least."""
_TURN = 15.0
_SOFT, _BLURRED = 1 / 24, 1 / 8
"""Deviations of blur, as shares of the picture's height."""
_CREDITS = (1.0, 0.5, 0.0, 0.0, 0.0, 0.0)
"""Of a plain picture, one slightly and one strongly blurred, mirrored, turned to either side."""
_PARTS = 7  # numbers of a region
_Painted = tuple[np.ndarray, np.ndarray]
"""Pictures, (n, versions, h, w, 3) or (n, k, versions, h, w, 3), and their pixels of things."""


@dataclass(frozen=True)
class Choices(Measurement):
    """Of each revisit, which of `places` it is nearest to: by walls, floors, ceilings and things.

    A row is the frames for which the view was away and, of each of the four, the hit, chance and
    room of `Choice`, hit and chance of the plain version alone, and of any version.
    """

    world: Painter
    places: int = 4
    rate: float | None = 1.0
    side: int = 48
    kept = torch.float64
    needs = AWAY
    width = 1 + (_REGIONS + 1) * _PARTS

    @override
    def see(self, seen: Seen) -> Float[Tensor, "t width"]:
        away = seen.truth["away"].double()
        rows = torch.zeros(len(away), self.width, dtype=torch.float64)
        rows[:, 0] = away
        again = away > 0
        if again.any():
            size = common_size(seen.frames, self.side)
            pictures = shrunk(seen.frames[again], size).permute(0, 2, 3, 1).numpy()
            numbers = self._regions(pictures, place_of(seen), seen.truth["pose"][again], size)
            rows[again, 1:] = torch.from_numpy(numbers)
        return rows

    def _regions(
        self,
        pictures: Float[np.ndarray, "n h w 3"],
        place: tuple[int, int],
        pose: Tensor,
        size: tuple[int, int],
    ) -> Float[np.ndarray, "n numbers"]:
        """Of every asked frame."""
        true = self._versions(place, pose, size)
        surfaces, things = self._family(place, pose, size, "things", true)
        behind = self.world.regions(*place, pose, size).numpy()
        bare = ~things[:, -1]  # the same things stand in all of them
        objects, things = self._family(place, pose, size, "surfaces", true)
        rows = np.zeros((len(pictures), self.width - 1))
        for i, picture in enumerate(pictures):
            numbers = [
                self._numbers(picture, surfaces[i], (behind[i] == region) & bare[i], "surfaces")
                for region in range(_REGIONS)
            ]
            numbers.append(self._numbers(picture, objects[i], things[i].any(0), "objects"))
            rows[i] = np.concatenate(numbers)
        return rows

    def _family(
        self, place: tuple[int, int], pose: Tensor, size: tuple[int, int], same: str, true: _Painted
    ) -> _Painted:
        """Every place, the true one last, in every version; and where things are in each place."""
        others = [self._versions(place, pose, size, n, same) for n in range(1, self.places)]
        pictures, things = zip(*others, true, strict=True)
        return np.stack(pictures, 1), np.stack(things, 1)

    def _versions(
        self,
        place: tuple[int, int],
        pose: Tensor,
        size: tuple[int, int],
        furnishing: int = 0,
        same: str = "",
    ) -> _Painted:
        """A place plain, blurred, mirrored and turned, and where things are in it."""
        pictures, thing = self.world.painted(*place, pose, size, furnishing, same)
        beside = torch.cat([self.world.turned(pose, degrees) for degrees in (_TURN, -_TURN)])
        sides = self.world.pictures(*place, beside, size, furnishing, same)
        plain = pictures.permute(0, 2, 3, 1).numpy()
        turned = sides.permute(0, 2, 3, 1).numpy().reshape(2, len(pose), *size, 3)
        softened = [_blurred(plain, share * size[0]) for share in (_SOFT, _BLURRED)]
        versions = np.stack([plain, *softened, plain[:, :, ::-1], *turned], 1)
        return versions, thing.numpy()

    def _numbers(
        self, picture: np.ndarray, family: np.ndarray, mask: np.ndarray, scope: Scope
    ) -> Float[np.ndarray, " numbers"]:
        """Of a frame in a region; zeros where too little of it is in view."""
        if mask.mean() < _LEAST[scope]:
            return np.zeros(_PARTS)
        best = nearest_choice(picture, family, mask)
        every = np.array([best.right, best.chance])
        plain = every * (best.version == 0)
        return np.array([*every * _CREDITS[best.version], best.room, *plain, *every])

    @override
    def provenance(self) -> dict[str, Any]:
        settings = {"choice_of": self.places, "rate": self.rate, "side": self.side}
        return {**settings, **self.world.provenance()}


def _blurred(pictures: Float[np.ndarray, "n h w 3"], sigma: float) -> Float[np.ndarray, "n h w 3"]:
    return np.stack([cv2.GaussianBlur(picture, (0, 0), sigma) for picture in pictures])


class ForcedChoice(VideoMetric):
    r"""Recall of a place that comes again, by forced choice among k; up, 1 is perfect, 0 is chance.

    .. math:: \frac{\sum_i c_i \, (r_i - n_i / k)}{\sum_i (1 - n_i^* / k)}

    At the pose of each revisit the engine paints the true place and k - 1 of the same geometry and
    distribution, with other surfaces or other things. Each is painted plain, slightly and strongly
    blurred, mirrored, and turned by 15 degrees to either side. The generated picture chooses the
    nearest (mean squared error): r is 1 if that is of the true place, n the number of places that
    look as the chosen one does in what is in view, and c what the version is worth: plain 1,
    slightly blurred one half, all others nothing. Places that look as the true one does count as it
    and leave less room (n*). Whoever knows nothing of the place has 0 whatever else he does, and a
    blurred, mirrored or turned truth has little or nothing.

    By scope, the choice is made by walls, by floors and by ceilings, each for itself, among places
    with the true things; or by things, among places with the true surfaces, where a thing stands in
    any of the places.

    The generated picture is scaled by area to the engine's, whose shorter side is `side`, unless it
    is smaller; then the engine's is scaled to it.

    Over a video, then over prompts; by lag, pooled, in `curves`. `extras`: `plain`, the same if
    blur is worth nothing, `any_version`, if all versions are worth 1 (a room's coarse colours), and
    `choices`, how many were made.

    Attributes:
        world: paints the places (`cf.data.world.doom.painter.DoomPainter`).
        scope: "surfaces" or "objects".
        places: k.
        edges: of the bins of lag, in seconds; other lags are not counted.
        rate: frames per second that are looked at.
        side: longest shorter side in pixels at which pictures are compared.
    """

    higher_is_better = True
    depends_on = ("scope", "edges")

    def __init__(
        self,
        world: Painter,
        scope: Scope = "surfaces",
        places: int = 4,
        edges: Sequence[float] = LAGS,
        rate: float | None = 1.0,
        side: int = 48,
        **kwargs: Any,
    ) -> None:
        self.edges = rising(edges)
        if not 2 <= places <= 64 or not 16 <= side <= 480:
            raise ValueError(f"places={places} must lie in 2..64 and side={side} in 16..480")
        super().__init__(Choices(world, places, rate, side), window=None, **kwargs)
        self.scope = scope

    @property
    def name(self) -> str:
        """With its scope, and the lags if they are not the usual ones."""
        lags = span(self.edges, LAGS)
        return f"ForcedChoice[{self.scope}, {lags}]" if lags else f"ForcedChoice[{self.scope}]"

    @override
    def score(self, videos: list[Scored]) -> Result:
        count = len(self.edges) - 1
        by_lag = torch.zeros(count, 2, dtype=torch.float64)
        values: dict[str, dict[int, float]] = {"": {}, "plain": {}, "any_version": {}}
        choices = 0.0
        for video in videos:
            at = revisit_bins(video.sums[:, 0], float(video.clock.fps), self.edges)
            parts = video.sums[at >= 0, 1:].view(-1, _REGIONS + 1, _PARTS)
            parts = parts[:, :_REGIONS] if self.scope == "surfaces" else parts[:, _REGIONS:]
            sums = parts.sum((0, 1)).tolist()
            for scores, first in zip(values.values(), (0, 3, 5), strict=True):
                scores[video.video_id] = _above_chance(sums[first], sums[first + 1], sums[2])
            above = torch.stack((parts[..., 0] - parts[..., 1], parts[..., 2]), -1).sum(1)
            by_lag = by_lag.index_add(0, at[at >= 0], above)
            choices += float((parts[..., 2] > 0).sum())
        per_video = values.pop("")
        nothing = "no view that was given is shown again, or every place looks the same there"
        value = over_prompts(per_video, videos)
        reasons = without_value(per_video, nothing, value)
        above, room = by_lag.T
        curves = {
            "by_lag": torch.where(room > 0, above / room.clamp(min=1e-9), torch.nan),
            "lags": torch.tensor(self.edges[:-1], dtype=torch.float64),
        }
        extras = {name: over_prompts(scores, videos) for name, scores in values.items()}
        extras["choices"] = choices
        return self.answer(value, per_video, reasons=reasons, curves=curves, extras=extras)


def _above_chance(hits: float, chance: float, room: float) -> float:
    return (hits - chance) / room if room > 1e-9 else float("nan")
