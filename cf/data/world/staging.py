"""What stands where in every frame of a video of WALK, as its camera sees it."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from cf.data.world.base import ObjectMotion
from cf.data.world.brush import Canvas, Cast
from cf.data.world.landscape import Land, Things
from cf.data.world.motion import Route
from cf.data.world.outlook import Outlook, paint_ridges, paint_sky
from cf.data.world.scenery import SCENERY
from cf.data.world.sprites import KINDS, RADIUS, Poses, Troupe
from cf.data.world.tiles import COLOURS

_FIGURES = [figure for _, figure in KINDS.values()] + list(SCENERY.values())
_PIXELS = 1 << 18
"""Painted at a time: what is worked on stays small, however large the pictures."""


class StagedFrames(NamedTuple):
    """Some frames of a video before they are painted; the poses begin a frame before they do."""

    land: Land
    troupe: Troupe
    poses: Poses
    route: Route


class StagedVideo(NamedTuple):
    """One video: what follows from the number of a frame alone is made when it is painted."""

    land: Land
    troupe: Troupe
    route: Route

    def shot(self, start: int, stop: int) -> StagedFrames:
        """From one frame up to another."""
        poses = self.troupe.poses(np.arange(start - 1, stop))
        route = Route(*(rows[start:stop] for rows in self.route))
        return StagedFrames(self.land, self.troupe, poses, route)


class Scene(NamedTuple):
    """Frames before they are painted, whichever videos they are from."""

    outlook: Outlook
    sky: Cast
    ground: Cast


class Painted(NamedTuple):
    """Frames as they look, and whose each pixel is; `area` as `Canvas.stamp` tells it."""

    video: Float[Tensor, "f 3 h w"]
    instance: Int[Tensor, "f h w"]
    depth: Float[Tensor, "f h w"]
    area: Int[Tensor, "f slots"]


def stage(shot: StagedFrames, height: int, without: Sequence[int]) -> Scene:
    """The frames of one video; sprites left out, told by their instance, leave an empty slot."""
    land, place, camera = shot.land, shot.route.place, shot.route.column
    sprites = len(shot.troupe.kind)
    count = land.front.kind.shape[1]
    label = sprites + 1 + np.arange(land.front.kind.size).reshape(-1, count)
    parts = [
        _still(land.behind, np.zeros_like(land.behind.kind), place, camera, height),
        _moving(shot, height, without),
        _still(land.front, label, place, camera, height),
    ]
    ground = Cast(*(torch.cat(fields, 1) for fields in zip(*parts, strict=True)))
    theme, hour = (torch.from_numpy(x[place]) for x in (land.theme, land.hour))
    parallax = np.full(len(place), land.parallax)
    outlook = Outlook(
        theme, hour, *_floats(land.knots[place], land.strokes[place], camera, parallax)
    )
    sky = _still(land.sky, np.zeros_like(land.sky.kind), place, camera, height)
    return Scene(outlook, sky, ground)


def joined_scenes(scenes: Sequence[Scene]) -> Scene:
    """The frames of several videos, one after the other."""
    outlooks, skies, grounds = zip(*scenes, strict=True)
    return Scene(
        Outlook(*map(torch.cat, zip(*outlooks, strict=True))),
        Cast(*map(torch.cat, zip(*skies, strict=True))),
        Cast(*map(torch.cat, zip(*grounds, strict=True))),
    )


def paint(scene: Scene, height: int, width: int) -> Painted:
    """All frames, some at a time."""
    frames, step = len(scene.outlook.camera), max(1, _PIXELS // (height * width))
    parts = [
        _painted(_part(scene, start, start + step), height, width)
        for start in range(0, frames, step)
    ]
    return parts[0] if len(parts) == 1 else Painted(*map(torch.cat, zip(*parts, strict=True)))


def motion(shots: Sequence[StagedFrames], painted: Painted, height: int) -> ObjectMotion:
    """What moves in these videos, and how much of it is seen."""
    shape = (len(shots), len(shots[0].route.place))
    kind, colour, home = (
        torch.from_numpy(np.stack([getattr(shot.troupe, name) for shot in shots]))
        for name in ("kind", "colour", "home")
    )
    centre = torch.from_numpy(np.stack([shot.poses.centre for shot in shots])) * height
    step = torch.from_numpy(np.stack([shot.route.step for shot in shots]))
    return ObjectMotion(
        kind=kind,
        colour=colour,
        home=home,
        centre=centre[:, 1:].float(),
        step=centre.diff(dim=1).float(),
        visible=_visible(shots, painted).unflatten(0, shape),
        camera_step=step.float(),
        depth=painted.depth.unflatten(0, shape),
    )


def _still(
    things: Things, label: np.ndarray, place: np.ndarray, camera: np.ndarray, height: int
) -> Cast:
    """What stands in the place of each frame."""
    now = Things(*(field[place] for field in things))
    unit = now.unit * height
    kind = np.where(now.kind >= 0, now.kind + len(KINDS), -1)
    return Cast(
        *(torch.from_numpy(x) for x in (kind, label[place])),
        *_floats(
            now.row * height,
            now.column * height - camera[:, None] * now.depth,
            np.stack((unit, unit), -1),
            np.zeros(kind.shape),
            now.face,
            now.colour,
            now.light,
            now.depth,
        ),
    )


def _moving(shot: StagedFrames, height: int, without: Sequence[int]) -> Cast:
    """The sprites that live in the place of each frame."""
    troupe, place = shot.troupe, shot.route.place
    frames, sprites = len(place), len(troupe.kind)
    per_place = sprites // len(shot.land.theme)
    index = place[:, None] * per_place + np.arange(per_place)
    poses = [getattr(shot.poses, name)[1:] for name in ("centre", "stretch", "swing", "face")]
    centre, stretch, swing, face = (x[np.arange(frames)[:, None], index] for x in poses)
    colour = np.array(list(COLOURS.values()))[troupe.colour][index]
    hidden = np.isin(index + 1, list(without))
    return Cast(
        *(torch.from_numpy(x) for x in (np.where(hidden, -1, troupe.kind[index]), index + 1)),
        *_floats(
            centre[..., 0] * height,
            centre[..., 1] * height - shot.route.column[:, None],
            stretch * (RADIUS * height),
            swing,
            face,
            colour,
            np.ones(colour.shape),
            np.ones(index.shape),
        ),
    )


def _floats(*arrays: np.ndarray) -> list[Tensor]:
    return [torch.from_numpy(np.ascontiguousarray(array)).float() for array in arrays]


def _part(scene: Scene, start: int, stop: int) -> Scene:
    return Scene(
        Outlook(*(x[start:stop] for x in scene.outlook)),
        Cast(*(x[start:stop] for x in scene.sky)),
        Cast(*(x[start:stop] for x in scene.ground)),
    )


def _painted(scene: Scene, height: int, width: int) -> Painted:
    canvas = Canvas(len(scene.outlook.camera), height, width)
    paint_sky(canvas, scene.outlook)
    canvas.stamp(_FIGURES, scene.sky)
    paint_ridges(canvas, scene.outlook)
    area = canvas.stamp(_FIGURES, scene.ground)
    video = canvas.colour.transpose(0, 1).clamp(0, 1).contiguous()
    return Painted(video, canvas.label, canvas.depth, area)


def _visible(shots: Sequence[StagedFrames], painted: Painted) -> Float[Tensor, "f things"]:
    """Share of each sprite's own pixels that are its in the picture too."""
    place = torch.from_numpy(np.concatenate([shot.route.place for shot in shots]))
    sprites, frames = len(shots[0].troupe.kind), len(place)
    per_place = sprites // len(shots[0].land.theme)
    label = torch.where(painted.instance <= sprites, painted.instance, 0)
    cell = torch.arange(frames)[:, None, None] * (sprites + 1) + label
    visible = torch.bincount(cell.flatten(), minlength=frames * (sprites + 1))
    visible = visible.view(frames, sprites + 1)[:, 1:].float()
    first = shots[0].land.behind.kind.shape[1]
    area = torch.zeros(frames, sprites)
    index = place[:, None] * per_place + torch.arange(per_place)
    area.scatter_(1, index, painted.area[:, first : first + per_place].float())
    return torch.where(area > 0, visible / area.clamp(min=1), 0.0)
