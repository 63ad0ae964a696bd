"""Optical flow between two pictures, by backends that are chosen by name."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from jaxtyping import Float32, UInt8
from typing_extensions import override

from cf.system.opencv import cv2

Picture = UInt8[np.ndarray, "h w 3"]
Field = Float32[np.ndarray, "h w 2"]


class Flow(ABC):
    """Estimates where each pixel of one picture went in another; a frozen, picklable value.

    Attributes:
        name: by which it is chosen and printed; numbers of two backends are not comparable.
        smallest: pixels that the short side must have.
    """

    name: str
    smallest: int = 16

    @abstractmethod
    def __call__(self, one: Picture, other: Picture) -> Field:
        """Displacement (x, y) in pixels of each pixel of `one`; a function of its inputs alone."""

    @abstractmethod
    def provenance(self) -> dict[str, Any]:
        """All that the flow depends on besides the pictures."""


@dataclass(frozen=True)
class Dis(Flow):
    """Dense inverse search (Kroeger et al. 2016, arXiv 1603.03590), OpenCV's medium preset.

    The fast preset takes two thirds of its time, but the residual along its flow is twice as large,
    and J of a mirrored video differs by 4 % (here by .5 %).
    """

    name = "dis"

    @override
    def __call__(self, one: Picture, other: Picture) -> Field:
        with _one_thread():  # its patches depend on how the picture is shared among threads
            flow = _dis(one.shape).calc(luma(one), luma(other), None)  # type: ignore[call-overload]
        return np.asarray(flow, np.float32)

    @override
    def provenance(self) -> dict[str, Any]:
        return {"flow": "DIS, medium preset", "opencv": cv2.__version__}


@dataclass(frozen=True)
class Farneback(Flow):
    """Polynomial expansion (Farnebäck 2003), with OpenCV's usual five levels of pyramid."""

    name = "farneback"

    @override
    def __call__(self, one: Picture, other: Picture) -> Field:
        with _one_thread():
            flow = cv2.calcOpticalFlowFarneback(  # type: ignore[call-overload]
                luma(one), luma(other), None, 0.5, 5, 15, 3, 5, 1.2, 0
            )
        return np.asarray(flow, np.float32)

    @override
    def provenance(self) -> dict[str, Any]:
        return {"flow": "Farneback, 5 levels of 1/2, window 15", "opencv": cv2.__version__}


def luma(picture: Picture) -> UInt8[np.ndarray, "h w"]:
    """The grey picture."""
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), np.uint8)


@lru_cache(maxsize=16)
def _dis(shape: tuple[int, ...]) -> cv2.DISOpticalFlow:
    """One for each size of picture: its pyramid stays as low as its smallest picture wanted it."""
    return cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)


@contextmanager
def _one_thread() -> Iterator[None]:
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(threads)
