"""A small drawn world as real video files, for those who have no videos at hand."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from tqdm import tqdm

from cf.system.opencv import cv2
from cf.video.writer import VideoWriter

_COLOURS = {
    "red": (0.86, 0.24, 0.22),
    "orange": (0.95, 0.58, 0.17),
    "yellow": (0.97, 0.83, 0.30),
    "teal": (0.13, 0.58, 0.58),
    "blue": (0.20, 0.38, 0.78),
    "violet": (0.52, 0.30, 0.66),
}
_SKIES = {  # top, horizon, near hill
    "noon": ((0.36, 0.62, 0.90), (0.86, 0.93, 0.97), (0.35, 0.58, 0.34)),
    "dawn": ((0.42, 0.42, 0.68), (0.98, 0.78, 0.66), (0.33, 0.40, 0.38)),
    "dusk": ((0.14, 0.16, 0.34), (0.87, 0.49, 0.40), (0.16, 0.21, 0.27)),
}
_CORNERS = {"square": 4, "triangle": 3, "hexagon": 6, "ball": 40}
_SUPERSAMPLE = 4
_GROUND = 0.86  # of the height


def draw_clips(
    folder: str | Path,
    count: int = 8,
    seconds: float = 6.0,
    fps: float = 24.0,
    size: tuple[int, int] = (96, 128),
    seed: int = 0,
) -> list[Path]:
    """Write `count` mp4 files of bouncing shapes seen by a panning camera; returns their paths.

    Beside each file a .txt of the same name says what it shows. The same arguments give the same
    pictures.
    """
    paths = []
    for index in tqdm(range(count), "drawing", unit="clip", leave=False, delay=2):
        scene = _scene(np.random.default_rng([seed, index]), size)
        path = Path(folder) / f"shapes_{index:03d}.mp4"
        with VideoWriter(path, fps, size) as writer:
            for frame in range(max(1, round(seconds * fps))):
                picture = torch.from_numpy(scene.draw(frame / fps).astype(np.float32) / 255)
                writer.write(picture.permute(2, 0, 1)[None])
        path.with_suffix(".txt").write_text(scene.caption + "\n", "utf-8")
        paths.append(path)
    return paths


@dataclass(frozen=True)
class _Shape:
    """One bouncing thing; lengths are in heights of the picture, angles in radians.

    Attributes:
        across: where it starts, and how far it goes in a second, between the world's two walls.
        leap: height and period (seconds) of its bounces, and where in one it starts.
        turn: radians per second.
    """

    kind: str
    colour: str
    radius: float
    across: tuple[float, float]
    leap: tuple[float, float, float]
    turn: float

    def outline(self, time: float, world: float) -> Float[np.ndarray, "corners 2"]:
        """Corners (x, y), y downwards."""
        room = world - 2 * self.radius
        way = (self.across[0] + self.across[1] * time) % (2 * room)
        x = self.radius + (way if way < room else 2 * room - way)
        height, period, phase = self.leap
        part = (time / period + phase) % 1
        y = _GROUND - self.radius - height * 4 * part * (1 - part)  # free fall, elastic floor
        corners = _CORNERS[self.kind]
        angle = self.turn * time + 2 * math.pi * np.arange(corners) / corners
        return np.stack([x + self.radius * np.cos(angle), y + self.radius * np.sin(angle)], 1)


@dataclass(frozen=True)
class _Scene:
    """A world of `width` heights, of which the camera sees a part.

    Attributes:
        pan: period in seconds, and where in it the camera starts.
        hills: height, wave number and phase of each ridge, far to near.
    """

    size: tuple[int, int]
    width: float
    sky: str
    pan: tuple[float, float]
    hills: tuple[tuple[float, float, float], ...]
    shapes: tuple[_Shape, ...]

    @property
    def caption(self) -> str:
        """What there is to see, in words."""
        things = [
            f"{'an' if s.colour[0] in 'aeiou' else 'a'} {s.colour} {s.kind}" for s in self.shapes
        ]
        listed = ", ".join(things[:-1]) + " and " + things[-1]
        return f"{listed} bounce over hills at {self.sky}, the camera pans".capitalize()

    def draw(self, time: float) -> UInt8[np.ndarray, "h w 3"]:
        """The picture at `time` (seconds)."""
        height, width = (side * _SUPERSAMPLE for side in self.size)
        view = width / height
        swing = 0.5 - 0.5 * math.cos(2 * math.pi * (time / self.pan[0] + self.pan[1]))
        camera = swing * (self.width - view)
        top, horizon, near = (np.array(colour) for colour in _SKIES[self.sky])
        down = np.linspace(0, 1, height)[:, None]
        canvas = np.repeat((top * (1 - down) + horizon * down)[:, None] * 255, width, 1)
        canvas = np.ascontiguousarray(canvas.astype(np.uint8))
        sun = (int((0.75 * view - 0.05 * camera) * height), int(0.22 * height))
        cv2.circle(canvas, sun, int(0.08 * height), _bytes(0.25 * horizon + 0.75), -1, cv2.LINE_AA)
        columns = np.arange(width) / height
        for depth, (rise, wave, phase) in enumerate(self.hills, 1):
            nearness = depth / len(self.hills)
            ridge = _GROUND - rise + 0.05 * np.sin(wave * (columns + camera * nearness) + phase)
            floor = np.array([[width, height], [0, height]])
            edge = np.stack([np.arange(width), ridge * height], 1).astype(np.int32)
            colour = near * nearness + horizon * (1 - nearness)
            cv2.fillPoly(canvas, [np.concatenate([edge, floor]).astype(np.int32)], _bytes(colour))
        for shape in self.shapes:
            corners = shape.outline(time, self.width) - [camera, 0]
            paint = np.array(_COLOURS[shape.colour])
            outline = (corners * height).round().astype(np.int32)
            cv2.fillPoly(canvas, [outline], _bytes(paint))
            rim = max(1, round(0.012 * height))
            cv2.polylines(canvas, [outline], True, _bytes(paint * 0.6), rim, cv2.LINE_AA)
        small = cv2.resize(canvas, self.size[::-1], interpolation=cv2.INTER_AREA)
        return np.asarray(small, np.uint8)


def _scene(rng: np.random.Generator, size: tuple[int, int]) -> _Scene:
    width = 1.3 * size[1] / size[0]
    names = rng.permutation(list(_COLOURS))[: rng.integers(2, 5)]
    shapes = tuple(
        _Shape(
            kind=str(rng.choice(list(_CORNERS))),
            colour=str(name),
            radius=float(rng.uniform(0.09, 0.17)),
            across=(float(rng.uniform(0, 2 * width)), float(rng.uniform(0.12, 0.35))),
            leap=(float(rng.uniform(0.2, 0.5)), float(rng.uniform(0.9, 1.6)), float(rng.uniform())),
            turn=float(rng.uniform(-1.5, 1.5)),
        )
        for name in names
    )
    hills = tuple(
        (rise, float(rng.uniform(3, 6)), float(rng.uniform(0, 6))) for rise in (0.22, 0.12, -0.02)
    )
    pan = (float(rng.uniform(8, 14)), float(rng.uniform()))
    return _Scene(size, width, str(rng.choice(list(_SKIES))), pan, hills, shapes)


def _bytes(colour: Float[np.ndarray, " 3"]) -> tuple[int, int, int]:
    red, green, blue = (np.clip(colour, 0, 1) * 255).round().astype(int).tolist()
    return red, green, blue
