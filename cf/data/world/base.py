"""What a world is: numbered videos drawn on the fly, with their ground truth."""

import typing
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from cf.types import Video

_ROUNDING = 1e-3  # by which a drawn pixel may exceed 1


@dataclass(frozen=True)
class ObjectMotion:
    """What moves in a batch of videos, whether it is in view or not.

    Lengths are in pixels, and change is since the frame before, per frame. A row counts down from
    the top of the picture and a column from the left end of a place, as `WorldTruth.camera` does.
    Thing i is number i + 1 in `WorldTruth.instance`.

    Attributes:
        kind, colour: of each thing, as its world lists them.
        home: the place in which it lives.
        centre: (row, column) of each thing in its home.
        step: change of `centre`.
        visible: share of each thing that is in the picture and hidden by nothing.
        camera_step: change of the camera's column; 0 where a stay begins.
        depth: columns by which what a pixel shows shifts to the left for every column that the
            camera moves to the right; less than 1 for what is far away.
    """

    kind: Int[Tensor, "b things"]
    colour: Int[Tensor, "b things"]
    home: Int[Tensor, "b things"]
    centre: Float[Tensor, "b t things 2"]
    step: Float[Tensor, "b t things 2"]
    visible: Float[Tensor, "b t things"]
    camera_step: Float[Tensor, "b t"]
    depth: Float[Tensor, "b t h w"]

    def flow(self, instance: Int[Tensor, "b t h w"]) -> Float[Tensor, "b t h w 2"]:
        """By how many (rows, columns) what each pixel shows has moved over the picture.

        Since the frame before; it holds for a thing as a whole, not for its limbs. Where a stay
        begins there is nothing to compare with, and the camera counts as at rest.
        """
        things = self.kind.shape[1]
        still = torch.zeros_like(self.step[:, :, :1])
        steps = torch.cat((still, self.step), 2)
        label = torch.where(instance <= things, instance, 0)
        batch, frames = (torch.arange(n) for n in instance.shape[:2])
        pixel_steps = steps[batch[:, None, None, None], frames[:, None, None], label]
        columns = pixel_steps[..., 1] - self.depth * self.camera_step[..., None, None]
        return torch.stack((pixel_steps[..., 0], columns), -1)


@dataclass(frozen=True)
class WorldTruth:
    """What a batch of drawn videos shows.

    Attributes:
        place: which of the video's places each frame shows.
        camera: column, in pixels of that place, at the left edge of each frame.
        fresh: frames since the last cut; 0 where a stay begins, the first one included.
        identity: what stands in each (row, column) of the picture's grid of cells; a number per
            kind and colour, counted per row. A world without a grid has no columns.
        instance: which thing each pixel belongs to; 0 is the background.
        motion: what moves on its own, and how; None in a world where nothing does.
        pose: x and y of the camera in map units and its heading in steps, `TURN` to a full turn
            (`cf.data.world.doom.walking`); None in a world that is flat.
        depth: 0 (near) to 255 (far), the engine's own measure; None in a world that is flat.
    """

    place: Int[Tensor, "b t"]
    camera: Float[Tensor, "b t"]
    fresh: Int[Tensor, "b t"]
    identity: Int[Tensor, "b t rows columns"]
    instance: Int[Tensor, "b t h w"]
    motion: ObjectMotion | None = None
    pose: Int[Tensor, "b t 3"] | None = None
    depth: UInt8[Tensor, "b t h w"] | None = None


@dataclass(frozen=True)
class Drawn:
    """A batch of videos with what a model may be told of them and what it may not.

    Attributes:
        control: the signal of each frame: its one-hot place, or features of the camera.
        origin: (row, column) in tokens at each frame's top-left corner in its place.
        prompt: a caption of each video.
        scene: the numbers from which a world draws or reads these videos; its own affair.
        path: `WorldTruth.pose` of every frame from the video's first to the last of these; None in
            a flat world.
    """

    video: Video
    control: Float[Tensor, "b t k"]
    origin: Float[Tensor, "b t 2"]
    prompt: list[str]
    truth: WorldTruth
    scene: dict[str, Tensor]
    path: Int[Tensor, "b stop 3"] | None = None

    def batch(self) -> dict[str, Any]:
        """As data modules hand it to a training step."""
        return {
            "video": self.video,
            "control": self.control,
            "origin": self.origin,
            "prompt": self.prompt,
        }


@dataclass(frozen=True)
class Film:
    """A batch of videos that are planned whole and painted in parts, so that no one holds them.

    Attributes:
        control, origin, prompt, scene: as those of `Drawn`, of every frame.
        paint: pictures and truth from one frame up to another, both counted in the videos.
        path: as that of `Drawn`, of every frame.

    >>> from cf.data.world.rooms import Rooms
    >>> Rooms().film(seed=0, numbers=[7], frames=30_000).part(20_000, 20_024).video.shape
    torch.Size([1, 24, 3, 32, 32])
    """

    control: Float[Tensor, "b t k"]
    origin: Float[Tensor, "b t 2"]
    prompt: list[str]
    scene: dict[str, Tensor]
    paint: Callable[[int, int], tuple[Video, WorldTruth]]
    path: Int[Tensor, "b t 3"] | None = None

    @property
    def frames(self) -> int:
        """Of each video."""
        return self.control.shape[1]

    def part(self, start: int, stop: int) -> Drawn:
        """Some frames, bit for bit as they are in the whole.

        Raises:
            ValueError: there are no such frames, or what is painted is no video.
        """
        if not 0 <= start < stop <= self.frames:
            raise ValueError(f"frames {start} to {stop} must be one or more in 0..{self.frames}")
        painted: Any = self.paint(start, stop)
        if not isinstance(painted, tuple) or len(painted) != 2:
            raise ValueError(
                f"paint must return a video and its WorldTruth, got {type(painted).__name__}"
            )
        video, truth = painted
        _check_video(video, (len(self.control), stop - start))
        wanted = (*self.control.shape[:2], 2)
        if tuple(self.origin.shape) != wanted:
            raise ValueError(
                f"origin must be (row, column) in tokens of each frame, {wanted}, "
                f"got {tuple(self.origin.shape)}"
            )
        if isinstance(self.prompt, str) or len(self.prompt) != len(self.control):
            raise ValueError(
                f"prompt must be a list of {len(self.control)} captions, got {self.prompt!r}"
            )
        now = slice(start, stop)
        path = None if self.path is None else self.path[:, :stop]
        control, origin = self.control[:, now], self.origin[:, now]
        return Drawn(video, control, origin, self.prompt, truth, self.scene, path)


def _check_video(video: Tensor, painted: tuple[int, int]) -> None:
    if video.ndim != 5 or tuple(video.shape[:3]) != (*painted, 3):
        wanted = f"({painted[0]}, {painted[1]}, 3, height, width)"
        raise ValueError(f"paint must make a video of {wanted}, got {tuple(video.shape)}")
    if not video.is_floating_point():
        raise ValueError(f"paint must make floats in [0, 1], got {video.dtype}; divide by 255")
    least, most = (float(value) for value in torch.aminmax(video))
    if least < -_ROUNDING or most > 1 + _ROUNDING:
        raise ValueError(f"paint must make floats in [0, 1], got {least:g} to {most:g}; scale them")


def check_truth(truth: WorldTruth, video: Video) -> None:
    """Make sure that a truth is of its video: a network learns nothing of it and is measured by it.

    Raises:
        ValueError: a tensor of it has another shape or kind, or counts from below 0.
    """
    if not isinstance(truth, WorldTruth):
        kind = type(truth).__name__
        raise ValueError(f"paint must return a video and its WorldTruth, got a {kind} beside it")
    batch, frames, _, height, width = video.shape
    sizes = {"b": batch, "t": frames, "h": height, "w": width}
    _check_shapes(truth, sizes)
    if truth.motion is not None:
        _check_shapes(truth.motion, sizes)
    for name in ("place", "fresh"):
        if (least := int(getattr(truth, name).min())) < 0:
            raise ValueError(f"the truth's {name} must be numbers from 0 on, got {least}")


def _check_shapes(of: WorldTruth | ObjectMotion, sizes: dict[str, int]) -> None:
    """Compare tensors with what their annotations say; `sizes` are those of the video."""
    whose: Any = type(of)
    for name, (kind, needed) in _tensors(whose).items():
        value = getattr(of, name)
        if value is None and not needed:
            continue
        letters = kind.dim_str.split()
        if isinstance(value, kind) and all(
            sizes.get(letter, size) == size
            for letter, size in zip(letters, value.shape, strict=True)
        ):
            continue
        shape = ", ".join(str(sizes.get(letter, letter)) for letter in letters)
        got = f"{tuple(value.shape)} of {value.dtype}" if isinstance(value, Tensor) else f"{value}"
        numbers = "numbers" if "float32" in kind.dtypes else "whole numbers"
        raise ValueError(f"the truth's {name} must be ({shape}) {numbers}, got {got}")


@cache
def _tensors(of: type) -> dict[str, tuple[Any, bool]]:
    """The tensors of a class by name: their annotation, and whether each must be there."""
    hints = typing.get_type_hints(of)
    unions = {name: [hint, *typing.get_args(hint)] for name, hint in hints.items()}
    kinds = {
        name: [hint for hint in some if hasattr(hint, "dim_str")] for name, some in unions.items()
    }
    return {name: (some[0], type(None) not in unions[name]) for name, some in kinds.items() if some}


class World(ABC):
    """Numbered videos without end; a shorter draw of a number is the beginning of a longer one."""

    size: Sequence[int]

    @property
    @abstractmethod
    def num_places(self) -> int:
        """Places of a video."""

    @property
    def control_width(self) -> int:
        """Channels of its control signal, a model's `control_dim`: by default its one-hot place."""
        return self.num_places

    @abstractmethod
    def film(self, seed: int, numbers: Sequence[int], frames: int) -> Film:
        """The first `frames` frames of the videos with these numbers, yet to be painted."""

    def draw(self, seed: int, numbers: Sequence[int], frames: int) -> Drawn:
        """The same, painted.

        Raises:
            ValueError: what is painted is no video of the world's size, or its truth is not of it.
        """
        drawn = self.film(seed, numbers, frames).part(0, frames)
        if drawn.video.shape[-2:] != tuple(self.size):
            size = tuple(drawn.video.shape[-2:])
            raise ValueError(
                f"{type(self).__name__} must paint frames of size={tuple(self.size)}, got {size}"
            )
        check_truth(drawn.truth, drawn.video)
        if (most := int(drawn.truth.place.max())) >= self.num_places:
            raise ValueError(
                f"{type(self).__name__} has num_places={self.num_places}, numbered from 0, and the "
                f"truth's place goes up to {most}"
            )
        return drawn


def generators(seed: int, number: int, count: int) -> list[np.random.Generator]:
    """Independent generators of one video, so that drawing more of one thing moves no other."""
    return [generator(seed, number, which) for which in range(count)]


def generator(seed: int, number: int, which: int) -> np.random.Generator:
    """One of them."""
    return np.random.default_rng(np.random.SeedSequence([seed, number], spawn_key=(which,)))


def one_hot(place: Int[Tensor, "b t"], places: int) -> Float[Tensor, "b t places"]:
    """The control signal: which place a frame shows."""
    return torch.nn.functional.one_hot(place, places).float()
