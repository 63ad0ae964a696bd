"""Appearance statistics of frames, from which no weights are needed: colours and edges."""

import json
from functools import lru_cache
from importlib.resources import files
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from typing_extensions import override

from cf.metrics.extractors.base import Extractor
from cf.metrics.inputs import pixels_of
from cf.system.opencv import cv2

SIDE = 128
"""Short side in pixels that every frame is brought to first."""

_LIGHT = (0.0, 100 / 3, 200 / 3, 100.0)
_CHROMA = (-32.0, -8.0, 8.0, 32.0)
_COLOURS = len(_LIGHT) * len(_CHROMA) ** 2
_SCALES = 5
_ORIENTATIONS = 8
WIDTH = _COLOURS + _SCALES * _ORIENTATIONS
MIRRORED = [
    *range(_COLOURS),
    *(_COLOURS + i - i % _ORIENTATIONS + -i % _ORIENTATIONS for i in range(WIDTH - _COLOURS)),
]
"""Where each number goes when a picture is mirrored."""

_FLOOR = 1e-5
"""Mean strength of edges below which their orientations are noise."""

_ANGLE = np.float32(_ORIENTATIONS / np.pi)
_EDGE_WEIGHT = 3.0
"""With which both halves vary about equally over varied pictures."""

Values = Float[np.ndarray, "..."]


class Handcrafted(Extractor):
    """Histograms of Lab colours and of edges by scale and orientation, centred: 104 numbers.

    Frames are resized to a short side of 128 pixels (area if they shrink, bilinear if they grow).
    Colours vote linearly for the nearest of 4 x 4 x 4 nodes of Lab; edges vote with their strength
    for the nearest of 8 orientations at 5 scales, each half the one before. Both histograms sum to
    one and are square-rooted (Hellinger) and joined, edges thrice as heavy, and the mean over
    varied pictures is subtracted (`benchmarks/handcrafted.py` makes it).

    It tells colour, exposure, blur and scene apart, hardly minds where things are, and gives a
    mirrored video the same likenesses. Blind to identity and to meaning: whoever swaps an object
    for another of like colours is not noticed.

    >>> seen = Handcrafted()
    >>> seen(torch.rand(2, 3, 36, 64)).shape, seen.semantic
    (torch.Size([2, 104]), False)
    """

    name = "handcrafted-v2"
    semantic = False
    takes_bytes = True
    width = WIDTH

    def __init__(self) -> None:
        self._known = _constants()
        self.kappa = self._known["kappa"]
        self._centre = torch.tensor(self._known["mean"])

    @override
    def __call__(self, frames: Float[Tensor, "t 3 h w"]) -> Float[Tensor, "t d"]:
        return raw(frames) - self._centre

    @override
    def provenance(self) -> dict[str, Any]:
        return {
            "extractor": self.name,
            "weights": None,
            "centre": self._known["sha256"],
            "preprocessing": {"short side": SIDE, "interpolation": "area or bilinear"},
            "kappa": self.kappa,
            "device": "cpu",
            "dtype": "float32",
            "versions": {"opencv": cv2.__version__},
        }


@lru_cache(maxsize=1)
def _constants() -> dict[str, Any]:
    text = files(__package__).joinpath("handcrafted_v2.json").read_text()
    constants: dict[str, Any] = json.loads(text)
    assert len(constants["mean"]) == WIDTH
    return constants


def raw(frames: Float[Tensor, "t 3 h w"]) -> Float[Tensor, "t d"]:
    """Both histograms of each frame, not centred."""
    # One frame at a time, so that the floats stay in the cache.
    described = [_described(pixels_of(frame).numpy()) for frame in frames.detach().cpu()]
    return torch.from_numpy(np.stack(described) if described else np.zeros((0, WIDTH), np.float32))


def _described(planes: Values) -> Values:
    height, width = planes.shape[1:]
    scale = SIDE / min(height, width)
    size = (max(round(width * scale), SIDE), max(round(height * scale), SIDE))
    kind = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    sized = [cv2.resize(plane, size, interpolation=kind) for plane in planes]
    lab = cv2.cvtColor(cv2.merge(sized).clip(0, 1), cv2.COLOR_RGB2LAB)
    light, *chroma = cv2.split(lab)
    halves = np.sqrt(_colours(light, *chroma)), _EDGE_WEIGHT * np.sqrt(_edges(light / 100))
    return np.concatenate(halves, dtype=np.float32)


def _colours(light: Values, green_red: Values, blue_yellow: Values) -> Values:
    """Shares of colours near each node of a lattice in Lab."""
    near = [_near(light, _LIGHT), _near(green_red, _CHROMA), _near(blue_yellow, _CHROMA)]
    tinted = (near[1][:, None] * near[2]).reshape(-1, light.size)
    # Sums rather than a matrix product, whose rounding depends on threads.
    shares = [(lightness * tinted).sum(1) for lightness in near[0]]
    return np.concatenate(shares) / np.float32(light.size)


def _near(values: Values, nodes: tuple[float, ...]) -> Values:
    """How near values are to each node: 1 at the node, linearly down to 0 at its neighbours."""
    place = np.interp(values.ravel(), nodes, np.arange(len(nodes))).astype(np.float32)
    return np.stack([(1 - np.abs(place - node)).clip(0) for node in range(len(nodes))])


def _edges(light: Values) -> Values:
    """Shares of edge strength at each scale and orientation; equal shares where there is none."""
    counts = []
    for scale in range(_SCALES):
        across = cv2.Sobel(light, cv2.CV_32F, 1, 0, scale=0.125, borderType=cv2.BORDER_REPLICATE)
        down = cv2.Sobel(light, cv2.CV_32F, 0, 1, scale=0.125, borderType=cv2.BORDER_REPLICATE)
        strength, angle = (plane.ravel() for plane in cv2.cartToPolar(across, down))
        place = angle * _ANGLE
        low = place.astype(np.int32)
        part = strength * (place - low)
        bins = 2 * _ORIENTATIONS + 1  # a full turn, of which opposite directions are one
        votes = (
            np.bincount(low, strength - part, bins) + np.bincount(low + 1, part, bins + 1)[:bins]
        )
        folded = votes[:_ORIENTATIONS] + votes[_ORIENTATIONS:-1]
        folded[0] += votes[-1]
        counts.append(folded / strength.size / 2**scale)  # a sharp edge counts alike at all scales
        half = (light.shape[1] // 2, light.shape[0] // 2)
        light = cv2.resize(light, half, interpolation=cv2.INTER_AREA)  # has no left or right
    joined = np.concatenate(counts) + _FLOOR
    return np.asarray(joined / joined.sum(), np.float32)
