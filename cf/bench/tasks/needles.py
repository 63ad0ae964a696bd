"""A place shown for a moment somewhere in a given past, and asked for at its end."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property

import torch

from cf.bench.tasks.base import Known, Sample
from cf.bench.tasks.worlds import Worlds
from cf.data.world.base import Film
from cf.data.world.needle import Needle
from cf.data.world.rooms import Rooms
from cf.metrics.recall.needle import ASKED, SHOWN


@dataclass(frozen=True)
class Needles(Worlds):
    """The fields of a needle test: every length of the past by every depth of the needle.

    A contestant is given the whole past and goes on with the question (`Needle`). What it makes
    after `asked_seconds` is not asked for: shorter pasts leave more time until a duration ends.

    Attributes:
        data: rooms of known cells (`data=rooms`).
        past_seconds: lengths of the past, in place of `given_seconds`.
        depths: where the needle lies in the past: 0 at its beginning, 1 as late as may be.
        shown_seconds: for how long the needle is shown.
        away_seconds: for how long at least it is out of view before it is asked for.
        asked_seconds: for how long it is asked for.
    """

    past_seconds: tuple[float, ...] | list[float] = (3.0, 6.0, 12.0)
    depths: tuple[float, ...] | list[float] = (0.0, 0.25, 0.5, 0.75, 1.0)
    shown_seconds: float = 1.0
    away_seconds: float = 1.0
    asked_seconds: float = 1.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.data.world, Rooms):
            raise ValueError("needles lie in rooms whose cells are known: data@asked.data=rooms")
        for name in ("past_seconds", "depths"):
            values = list(getattr(self, name))
            if not values or len(set(values)) < len(values):
                raise ValueError(f"{name}={values} must name one or more, each once")
        if self._frames(self.asked_seconds) < 1:
            raise ValueError(f"asked_seconds={self.asked_seconds} holds no block")
        self._needles  # noqa: B018  # refuses what no needle fits into

    @cached_property
    def _needles(self) -> dict[tuple[float, float], Needle]:
        """The world of each field: seconds of the past, depth."""
        rooms = {field.name: getattr(self.data.world, field.name) for field in fields(Rooms)}
        return {
            (seconds, depth): Needle(
                **rooms,
                past_frames=self._frames(seconds),
                shown_frames=self._frames(self.shown_seconds),
                away_frames=self._frames(self.away_seconds),
                depth=depth,
            )
            for seconds in self.past_seconds
            for depth in self.depths
        }

    def _frames(self, seconds: float) -> int:
        """Frames of whole blocks, between which cuts lie."""
        rooms = self.data.world
        assert isinstance(rooms, Rooms)
        return round(seconds * self.data.fps / rooms.block_frames) * rooms.block_frames

    @cached_property
    def _fields(self) -> dict[str, tuple[float, float]]:
        """Of each sample, by its key."""
        return {
            f"needle{seconds:g}s-{depth:g}-{item.key}": (seconds, depth)
            for seconds, depth in self._needles
            for item in super(Needles, self).items()
        }

    def items(self) -> list[Sample]:
        """Lengths in order, depths within, then worlds and seeds."""
        plain = super().items()
        return [
            Sample(key, item.prompt, item.seed, item.script, item.world)
            for key, item in zip(self._fields, plain * len(self._needles), strict=True)
        ]

    def _needle(self, item: Sample) -> Needle:
        return self._needles[self._fields[item.key.partition("+")[0]]]

    def given_frames(self, item: Sample, fps: float) -> int:
        """The past."""
        return self._needle(item).past_frames

    def film(self, item: Sample, frames: int) -> Film:
        """One video."""
        assert item.world is not None
        return self._needle(item).film(self.seed, [item.world], frames)

    def known(self, film: Film | None, given: int, start: int, stop: int) -> Known:
        """As of any rooms, and in `needle` what each frame is to the needle: room 0 is it."""
        plain = super().known(film, given, start, stop)
        time = torch.arange(start, stop)
        role = torch.where(time < given, SHOWN, ASKED)
        role[time >= given + self._frames(self.asked_seconds)] = 0
        role[plain.truth["place"] != 0] = 0
        return Known(plain.reference, {**plain.truth, "needle": role})
