"""How a network is told where the camera is: features of its poses, frame by frame.

The seam for other kinds of camera control: a class that turns poses into a signal of its own width.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from typing_extensions import override


class CameraControl(ABC):
    """From a camera's way to the control signal of a video."""

    @property
    @abstractmethod
    def width(self) -> int:
        """Channels of the signal: a model's `control_dim`."""

    @abstractmethod
    def __call__(
        self, pose: Float[np.ndarray, "t 3"], fresh: Int[np.ndarray, " t"]
    ) -> Float[np.ndarray, "t k"]:
        """The signal of each frame, which no later frame changes.

        Args:
            pose: x and y in map units, heading in radians, counter-clockwise from east.
            fresh: frames since the last cut; 0 at a cut and in the first frame.
        """


@dataclass(frozen=True)
class PoseFeatures(CameraControl):
    """Sines and cosines of the pose relative to the first frame.

    A product of two such vectors falls off with the distance of their poses, so that attention can
    look up who stood near and looked the same way.

    Attributes:
        wavelengths: of both coordinates, in map units.
        harmonics: of the heading, in turns per full turn.

    >>> signal = PoseFeatures((512,), (1,))(np.zeros((2, 3)), np.arange(2))
    >>> signal.shape, signal[0].tolist()
    ((2, 6), [0.0, 1.0, 0.0, 1.0, 0.0, 1.0])
    """

    wavelengths: Sequence[float] = (4096, 2048, 1024, 512, 256)
    harmonics: Sequence[int] = (1, 2, 4, 8)

    def __post_init__(self) -> None:
        if min((*self.wavelengths, *self.harmonics), default=1) <= 0:
            raise ValueError(
                f"wavelengths={list(self.wavelengths)} and harmonics={list(self.harmonics)} must "
                "be above 0"
            )

    @property
    def width(self) -> int:
        """A sine and a cosine of each."""
        return 4 * len(self.wavelengths) + 2 * len(self.harmonics)

    @override
    def __call__(
        self, pose: Float[np.ndarray, "t 3"], fresh: Int[np.ndarray, " t"]
    ) -> Float[np.ndarray, "t k"]:
        at = turned(pose[:, :2] - pose[0, :2], -pose[0, 2])
        heading = pose[:, 2] - pose[0, 2]
        angles = [2 * np.pi * at[:, i] / length for length in self.wavelengths for i in (0, 1)]
        angles += [heading * n for n in self.harmonics]
        return _waves(angles, len(pose))


@dataclass(frozen=True)
class Rays(CameraControl):
    """For each cell of the picture, waves of where the camera stands and where the cell looks.

    A camera that turns sees the same wall in another column. With a signal for each cell, attention
    can look up which cell of an earlier frame looked the same way from a near place, as with
    Pluecker rays (https://arxiv.org/abs/2404.02101); with one signal for the frame it cannot tell
    its columns apart. Everything is relative to the first frame. Cells follow one another row by
    row, with all numbers of a cell together: a model's `control_cells` says so.

    Attributes:
        cells: rows and columns; best those of the model's tokens.
        wavelengths: of both coordinates, in map units.
        harmonics: of a cell's heading, in turns per full turn.
        field: degrees that the whole width of the picture shows, from 1 to 170.
        aspect: height of the picture over its width.

    >>> signal = Rays((1, 2), (), (1,))(np.zeros((1, 3)), np.arange(1))
    >>> signal.reshape(2, 4)[:, :2].round(2).tolist()  # left and right of the middle
    [[0.45, 0.89], [-0.45, 0.89]]
    """

    cells: Sequence[int] = (4, 4)
    wavelengths: Sequence[float] = (1280, 640)
    harmonics: Sequence[int] = (1, 2, 3)
    field: float = 90.0
    aspect: float = 0.75

    def __post_init__(self) -> None:
        PoseFeatures(self.wavelengths, self.harmonics)  # says what is wrong with them
        if len(self.cells) != 2 or not 1 <= min(self.cells) <= max(self.cells) <= 256:
            raise ValueError(f"cells={list(self.cells)} must be rows and columns of 1 to 256")
        if not 1 <= self.field <= 170 or not 0 < self.aspect <= 10:
            raise ValueError(
                f"field={self.field} must lie in 1..170 degrees and aspect={self.aspect} in (0, 10]"
            )

    @property
    def width(self) -> int:
        """A sine and a cosine of each wave, and of the elevation, in every cell."""
        of_cell = 4 * len(self.wavelengths) + 2 * len(self.harmonics) + 2
        return self.cells[0] * self.cells[1] * of_cell

    @override
    def __call__(
        self, pose: Float[np.ndarray, "t 3"], fresh: Int[np.ndarray, " t"]
    ) -> Float[np.ndarray, "t k"]:
        rows, columns = self.cells
        reach = np.tan(np.radians(self.field) / 2)
        right = reach * ((np.arange(columns) + 0.5) / columns * 2 - 1)
        down = reach * self.aspect * ((np.arange(rows) + 0.5) / rows * 2 - 1)
        at = PoseFeatures(self.wavelengths, ())(pose, fresh)
        heading = (pose[:, 2] - pose[0, 2])[:, None] - np.arctan(right)
        looks = _waves([heading * n for n in self.harmonics], *heading.shape)
        rises = _waves([-2 * np.arctan(down)], rows)  # twice: half a turn is all there is
        shape = (len(pose), rows, columns)
        parts = (at[:, None, None], looks[:, None], rises[:, None])
        of_cells = [np.broadcast_to(part, (*shape, part.shape[-1])) for part in parts]
        return np.concatenate(of_cells, -1).reshape(len(pose), -1)


def _waves(angles: Sequence[np.ndarray], *shape: int) -> np.ndarray:
    """Sine and cosine of each angle, as the last axis."""
    waves = [wave(angle) for angle in angles for wave in (np.sin, np.cos)]
    return np.stack(waves, -1) if waves else np.zeros((*shape, 0))


@dataclass(frozen=True)
class Action(CameraControl):
    """What the camera did since the frame before: step ahead, step to the left, turn, cut.

    Where a cut leads is not told.

    Attributes:
        step: map units that count as 1.
        turn: radians that count as 1.

    >>> pose = np.array([[0.0, 0, np.pi / 2], [0, 32, np.pi / 2]])
    >>> Action()(pose, np.arange(2)).round(6).tolist()
    [[0.0, 0.0, 0.0, 1.0], [1.0, 0.0, 0.0, 0.0]]
    """

    step: float = 32.0
    turn: float = 0.4

    def __post_init__(self) -> None:
        if self.step <= 0 or self.turn <= 0:
            raise ValueError(f"step={self.step} and turn={self.turn} must be above 0")

    @property
    def width(self) -> int:
        """Ahead, left, turn, cut."""
        return 4

    @override
    def __call__(
        self, pose: Float[np.ndarray, "t 3"], fresh: Int[np.ndarray, " t"]
    ) -> Float[np.ndarray, "t k"]:
        before = np.concatenate((pose[:1], pose[:-1]))
        moved = turned(pose[:, :2] - before[:, :2], -before[:, 2]) / self.step
        turn = (pose[:, 2] - before[:, 2] + np.pi) % (2 * np.pi) - np.pi
        cut = fresh == 0
        signal = np.concatenate((moved, turn[:, None] / self.turn), 1)
        return np.concatenate((np.where(cut[:, None], 0.0, signal), cut[:, None]), 1)


def turned(
    points: Float[np.ndarray, "t 2"], by: Float[np.ndarray, " t"] | float
) -> Float[np.ndarray, "t 2"]:
    """Points turned about the origin, counter-clockwise, by an angle in radians."""
    cos, sin = np.cos(by), np.sin(by)
    x, y = points.T
    return np.stack((x * cos - y * sin, x * sin + y * cos), -1)
