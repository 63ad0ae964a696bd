"""WALK: a smooth camera, sprites that go about seen or unseen, and a cut now and then."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from cf.bounds import check_least, check_share
from cf.data.world.base import Drawn, Film, World, WorldTruth, generators, one_hot
from cf.data.world.landscape import Land
from cf.data.world.motion import Camera
from cf.data.world.sprites import IDENTITIES, Troupe
from cf.data.world.staging import StagedVideo, joined_scenes, motion, paint, stage
from cf.data.world.themes import HOURS, THEMES
from cf.types import Video

_REFERENCE = 32
"""Height of the picture, in pixels, for which speeds are given."""
_EASE, _ACCELERATE = 8.0, 0.2
"""Pixels within which the camera turns, and its acceleration, at that height."""


@dataclass(frozen=True)
class Walk(World):
    """A video of a few places, each a landscape wider than the picture, with sprites living in it.

    The camera strolls to and fro, eases and turns, and cuts to another place at the edge of a
    block only. A sprite's kind and colour tell it from every other one of its video; it goes on
    moving by its law while it is out of view, behind something, or in a place that is not shown.
    In the truth of a drawn video, `instance` numbers the sprites from 1 in the order of `motion`,
    then what stands before them; there is no grid of cells, hence no identity.

    Attributes:
        size: height and width in pixels.
        place_views: width of a place in pictures.
        num_places: places of a video; the control signal is their one-hot number.
        place_sprites: sprites that live in each of them.
        speed: least and greatest cruising speed of the camera, in pixels per frame at a height of
            32; it slows down below the least only to turn.
        turn: chance of another speed and direction at the edge of a block; at the ends of a place
            the camera turns in any case.
        block_frames: frames between which cuts may lie.
        cut: chance of a cut at the edge of a block; 0 for a single shot.
        stay_blocks: instead of chance: stay this many blocks in each place, places in turn.
        token: height and width in pixels of a model's token, in which origins are given.
        themes, hours: that places may have, by their names in `cf.data.world.themes`; None for all.
        parallax: 1: what is far shifts less than the ground; 0: everything as the ground does.

    >>> drawn = Walk(num_places=1, place_sprites=2).draw(seed=0, numbers=[4], frames=2)
    >>> drawn.video.shape, drawn.truth.motion.centre.shape
    (torch.Size([1, 2, 3, 32, 32]), torch.Size([1, 2, 2, 2]))
    """

    size: Sequence[int] = (32, 32)
    place_views: float = 3.0
    num_places: int = 3
    place_sprites: int = 4
    speed: Sequence[float] = (1.0, 2.0)
    turn: float = 0.1
    block_frames: int = 3
    cut: float = 0.05
    stay_blocks: int | None = None
    token: Sequence[int] = (16, 8)
    themes: Sequence[str] | None = None
    hours: Sequence[str] | None = None
    parallax: float = 1.0

    def __post_init__(self) -> None:
        if len(self.size) != 2 or min(self.size) < 16:
            raise ValueError(f"size={list(self.size)} must be two sides of at least 16 pixels")
        if not 1.5 <= self.place_views < math.inf or self.num_places < 1:
            raise ValueError(
                f"place_views={self.place_views} must be at least 1.5, so that the camera has "
                f"somewhere to go, and num_places={self.num_places} at least 1"
            )
        if self.place_sprites < 0 or self.num_places * self.place_sprites > IDENTITIES:
            raise ValueError(
                f"num_places={self.num_places} x place_sprites={self.place_sprites} must lie in "
                f"0..{IDENTITIES}: no two sprites of a video look alike"
            )
        if len(self.speed) != 2 or not 0 <= self.speed[0] <= self.speed[1] <= 8:
            raise ValueError(f"speed={list(self.speed)} must be 0 <= least <= greatest <= 8")
        check_share(cut=self.cut, turn=self.turn, parallax=self.parallax)
        check_least(1, block_frames=self.block_frames, stay_blocks=self.stay_blocks)
        if len(self.token) != 2 or min(self.token) < 1:
            raise ValueError(f"token={list(self.token)} must be two sides of at least 1 pixel")
        for name, values, choices in (
            ("themes", self.themes, THEMES),
            ("hours", self.hours, HOURS),
        ):
            if values is not None and (not values or not set(values) <= set(choices)):
                raise ValueError(f"{name}={list(values)} must be some of {', '.join(choices)}")

    def draw(
        self, seed: int, numbers: Sequence[int], frames: int, *, without: Sequence[int] = ()
    ) -> Drawn:
        """See `World.draw` and `film`."""
        return self.film(seed, numbers, frames, without=without).part(0, frames)

    def film(
        self, seed: int, numbers: Sequence[int], frames: int, *, without: Sequence[int] = ()
    ) -> Film:
        """See `World.film`; the same videos `without` some sprites, told by their instance.

        Sprites left out keep their motion in the truth, but nothing of them is visible.

        Raises:
            ValueError: if there is no sprite of such a number.
        """
        sprites = self.num_places * self.place_sprites
        if any(not 1 <= sprite <= sprites for sprite in without):
            raise ValueError(f"without={list(without)} must be sprites in 1..{sprites}")
        plans = [self._plan(seed, number, frames) for number in numbers]
        place = torch.from_numpy(np.stack([plan.route.place for plan in plans]))
        camera = torch.from_numpy(np.stack([plan.route.column for plan in plans])).float()
        theme, hour = (
            torch.from_numpy(np.stack([getattr(plan.land, name) for plan in plans]))
            for name in ("theme", "hour")
        )
        return Film(
            one_hot(place, self.num_places),
            torch.stack((torch.zeros_like(camera), camera / self.token[1]), -1),
            [self._caption(plan) for plan in plans],
            {"theme": theme, "hour": hour},
            partial(self._part, plans, tuple(without)),
        )

    def _part(
        self, plans: list[StagedVideo], without: tuple[int, ...], start: int, stop: int
    ) -> tuple[Video, WorldTruth]:
        height, width = self.size
        shots = [plan.shot(start, stop) for plan in plans]
        painted = paint(
            joined_scenes([stage(shot, height, without) for shot in shots]), height, width
        )
        place, camera, fresh = (
            torch.from_numpy(np.stack([getattr(shot.route, name) for shot in shots]))
            for name in ("place", "column", "fresh")
        )
        shape = (len(plans), stop - start)
        truth = WorldTruth(
            place,
            camera.float(),
            fresh,
            torch.zeros(*shape, 0, 0, dtype=torch.long),
            painted.instance.unflatten(0, shape),
            motion(shots, painted, height),
        )
        return painted.video.unflatten(0, shape), truth

    def _plan(self, seed: int, number: int, frames: int) -> StagedVideo:
        scenery, actors, path = generators(seed, number, 3)
        height, width = self.size
        view = width / height
        wide = self.place_views * view
        return StagedVideo(
            Land.draw(
                scenery,
                self.num_places,
                wide,
                view,
                self.themes or tuple(THEMES),
                self.hours or tuple(HOURS),
                self.parallax,
            ),
            Troupe.draw(actors, self.num_places, self.place_sprites, wide),
            self._camera().route(path, frames),
        )

    def _camera(self) -> Camera:
        height, width = self.size
        scale = height / _REFERENCE
        last = (self.place_views - 1) * width
        return Camera(
            places=self.num_places,
            last=last,
            ease=min(_EASE * scale, last / 2),
            speed=(self.speed[0] * scale, self.speed[1] * scale),
            accelerate=_ACCELERATE * scale,
            turn=self.turn,
            cut=self.cut,
            block_frames=self.block_frames,
            stay_blocks=self.stay_blocks,
        )

    def _caption(self, plan: StagedVideo) -> str:
        places = []
        for place in range(self.num_places):
            sprites = np.flatnonzero(plan.troupe.home == place)
            names = [f"a {plan.troupe.name(int(sprite))}" for sprite in sprites]
            listed = " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))
            places.append(plan.land.name(place) + (f" with {listed}" if listed else ""))
        return "A walk through a " + "; a ".join(places)
