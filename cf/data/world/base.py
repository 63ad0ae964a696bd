"""What a world is: numbered videos drawn on the fly, with their ground truth."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from cf.types import Video


@dataclass(frozen=True)
class Truth:
    """What a batch of drawn videos shows.

    Attributes:
        place: which of the video's places each frame shows.
        camera: column, in pixels of that place, at the left edge of each frame.
        fresh: frames since the last cut; 0 where a stay begins, the first one included.
        identity: what stands in each (row, column) of the picture's grid of cells; a number per
            kind and colour, counted per row. A world without a grid has no columns.
        instance: which thing each pixel belongs to; 0 is the background.
    """

    place: Int[Tensor, "b t"]
    camera: Float[Tensor, "b t"]
    fresh: Int[Tensor, "b t"]
    identity: Int[Tensor, "b t rows columns"]
    instance: Int[Tensor, "b t h w"]


@dataclass(frozen=True)
class Drawn:
    """A batch of videos with what a model may be told of them and what it may not.

    Attributes:
        control: one-hot place of each frame.
        origin: (row, column) in tokens at each frame's top-left corner in its place.
        prompt: a caption of each video.
        scene: the numbers from which a world draws or reads these videos; its own affair.
    """

    video: Video
    control: Float[Tensor, "b t places"]
    origin: Float[Tensor, "b t 2"]
    prompt: list[str]
    truth: Truth
    scene: dict[str, Tensor]

    def batch(self) -> dict[str, Any]:
        """As data modules hand it to a training step."""
        return {
            "video": self.video,
            "control": self.control,
            "origin": self.origin,
            "prompt": self.prompt,
        }


class World(ABC):
    """Numbered videos without end; a shorter draw of a number is the beginning of a longer one."""

    size: Sequence[int]

    @property
    @abstractmethod
    def num_places(self) -> int:
        """Places of a video: the width of its control signal."""

    @abstractmethod
    def draw(self, seed: int, numbers: Sequence[int], frames: int) -> Drawn:
        """The first `frames` frames of the videos with these numbers."""


def generators(seed: int, number: int, count: int) -> list[np.random.Generator]:
    """Independent generators of one video, so that drawing more of one thing moves no other."""
    children = np.random.SeedSequence([seed, number]).spawn(count)
    return [np.random.default_rng(child) for child in children]


def one_hot(place: Int[Tensor, "b t"], places: int) -> Float[Tensor, "b t places"]:
    """The control signal: which place a frame shows."""
    return torch.nn.functional.one_hot(place, places).float()
