"""What measures against an engine's picture make of videos that are wrong in known ways."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from importlib.util import find_spec

import numpy as np
import torch
from distortions import blurred
from jaxtyping import Float
from torch import Tensor

from cf.data.world.doom.engine import views
from cf.data.world.doom.painter import DoomPainter
from cf.data.world.doom.path import Return
from cf.data.world.doom.place import Place
from cf.data.world.doom.walking import Pose
from cf.data.world.doom.world import Doom
from cf.data.world.known import known
from cf.metrics.base import VideoMetric, together
from cf.metrics.truth.choice import ForcedChoice
from cf.metrics.truth.pose import PoseObedience
from cf.metrics.truth.revisit import PoseRevisitLPIPS, PoseRevisitPSNR, PoseRevisitSSIM

_SEED, _OTHER = 77, 78
Video = Float[Tensor, "t 3 h w"]


@dataclass(frozen=True)
class Witnessed:
    """A video of a place with all that is known of it.

    Attributes:
        given: real frames at its beginning, which are left as they are.
    """

    place: Place
    number: int
    video: Video
    truth: Mapping[str, Tensor]
    given: int
    fps: float

    def painted(self, place: Place, turned: float = 0.0) -> Video:
        """The same walk through another place, the camera turned by so many degrees."""
        poses = DoomPainter().turned(self.truth["pose"], turned).tolist()
        size = (self.video.shape[2], self.video.shape[3])
        seen = views(place, [Pose(*one) for one in poses], size)
        return torch.from_numpy(seen.pixels).permute(0, 3, 1, 2).float() / 255


def swap_texture(one: Witnessed) -> Video:
    """Every wall has another texture; floors, ceilings and things are right."""
    other = one.place.furnished(np.random.default_rng(one.number))
    pairs = zip(one.place.rooms, other.rooms, strict=True)
    rooms = tuple(replace(mine, walls=theirs.walls) for mine, theirs in pairs)
    return one.painted(replace(one.place, rooms=rooms))


def remove_things(one: Witnessed) -> Video:
    """No thing is there."""
    rooms = tuple(replace(room, items=()) for room in one.place.rooms)
    return one.painted(replace(one.place, rooms=rooms))


def mirror(one: Witnessed) -> Video:
    """Left is right."""
    return one.video.flip(-1)


def freeze(one: Witnessed) -> Video:
    """The last given frame stands still."""
    return one.video[one.given - 1 :][:1].expand_as(one.video)


def blur(one: Witnessed) -> Video:
    """By a deviation of 1/8 of the picture's height."""
    sigma = one.video.shape[2] / 8
    return torch.stack([blurred(frame, sigma) for frame in one.video])


def turn(one: Witnessed) -> Video:
    """The camera looks 15 degrees to the left of where it was told to."""
    return one.painted(one.place, 15.0)


def another_place(one: Witnessed) -> Video:
    """A video of another place, whose camera goes its own way."""
    return _world().draw(_OTHER, [one.number], len(one.video)).video[0]


def truth(one: Witnessed) -> Video:
    """As it is."""
    return one.video


WRONG: dict[str, Callable[[Witnessed], Video]] = {
    one.__name__: one
    for one in (truth, swap_texture, remove_things, mirror, freeze, blur, turn, another_place)
}
"""By name, in the order of the matrix."""


@dataclass(frozen=True)
class TruthDuty:
    """What a measure answers for.

    Attributes:
        right: its value of the true video.
        charge: wrongs at which it must lie on the bad side of the bound given for each.
        still: wrongs that it must not feel: its value stays within .1 of `right`.
        lost: its value where nothing of the truth is left.
    """

    metric: Callable[[], VideoMetric]
    right: float
    charge: Mapping[str, float]
    still: frozenset[str] = frozenset()
    lost: float = 0.0

    def falls(self, wrong: str, value: float) -> bool:
        """Whether it is as bad as it must be under a wrong."""
        way = 1 if self.right > self.lost else -1
        return way * value <= way * self.charge[wrong]


_NOTHING = {"mirror": 0.35, "freeze": 0.5, "blur": 0.35, "turn": 0.35, "another_place": 0.35}
_LOW = {**dict.fromkeys((*_NOTHING, "swap_texture"), 60.0), "remove_things": 90.0}
TRUTH_DUTIES: dict[str, TruthDuty] = {
    "ForcedChoice, surfaces": TruthDuty(
        lambda: ForcedChoice(DoomPainter(), rate=2.0),
        1.0,
        {**_NOTHING, "swap_texture": 0.85},
        frozenset({"remove_things"}),
    ),
    "ForcedChoice, objects": TruthDuty(
        lambda: ForcedChoice(DoomPainter(), "objects", rate=2.0),
        1.0,
        {**_NOTHING, "remove_things": 0.6},
    ),
    "PoseObedience": TruthDuty(
        lambda: PoseObedience(DoomPainter()),
        1.0,
        {name: _NOTHING[name] for name in ("mirror", "freeze", "turn", "another_place")},
        frozenset({"remove_things"}),
    ),
    "PoseRevisitPSNR": TruthDuty(lambda: PoseRevisitPSNR(DoomPainter()), 100.0, _LOW),
    "PoseRevisitSSIM": TruthDuty(
        lambda: PoseRevisitSSIM(DoomPainter()), 1.0, dict.fromkeys(_LOW, 0.995)
    ),
}
"""By row; LPIPS is in none, for its backbone's weights are not part of a package."""
if find_spec("stlpips_pytorch") is not None:  # its weights are, but not for commercial use
    TRUTH_DUTIES["PoseRevisitLPIPS, st-alex"] = TruthDuty(
        lambda: PoseRevisitLPIPS(DoomPainter(), "st-alex"),
        0.0,
        {**dict.fromkeys((*_NOTHING, "swap_texture"), 0.05), "remove_things": 0.01},
        lost=0.5,
    )


@dataclass
class TruthMatrix:
    """Values of measures of videos that are wrong in known ways.

    Attributes:
        videos: how many places are walked through, each seen by all measures.
        seconds: of each.
    """

    videos: int = 2
    seconds: float = 16.0
    values: dict[tuple[str, str], float] = field(default_factory=dict)

    def measure(self) -> None:
        """All of them, video by video."""
        names = {row: duty.metric().name for row, duty in TRUTH_DUTIES.items()}
        seen = {
            wrong: together([duty.metric() for duty in TRUTH_DUTIES.values()]) for wrong in WRONG
        }
        for number in range(self.videos):
            one = witnessed(number, round(self.seconds * 8))
            for wrong, spoil in WRONG.items():
                video = torch.cat((one.video[: one.given], spoil(one)[one.given :]))
                seen[wrong].update(video, number, fps=one.fps, prompt_id=number, truth=one.truth)
        for wrong, metrics in seen.items():
            values = metrics.compute()
            self.values |= {(row, wrong): float(values[name]) for row, name in names.items()}


def witnessed(number: int, frames: int) -> Witnessed:
    """A camera that looks around a room, walks off and comes back after 2, 4 or 8 seconds."""
    world = _world()
    drawn = world.draw(_SEED, [number], frames)
    given = round(3 * world.fps)
    rows = known(drawn, 0, given)
    place = world.place(_SEED, number)
    return Witnessed(place, number, drawn.video[0], rows, given, world.fps)


def _world() -> Doom:
    return Doom(path=Return(lags=(2, 4, 8)))
