"""Synthetic films with a known motion, and ways to spoil them."""

import math
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from cf.metrics.base import VideoMetric
from cf.metrics.result import Result

HIGH, WIDE, FPS = 64, 96, 8


def texture(seed: int, high: int, wide: int) -> np.ndarray:
    """Smooth coloured noise of several sizes, in [0, 1]."""
    random = np.random.default_rng(seed)
    made = np.zeros((high, wide, 3), np.float32)
    for size in (6, 12, 24):
        coarse = random.random((high // size + 2, wide // size + 2, 3)).astype(np.float32)
        made += size**0.5 * cv2.resize(coarse, (wide, high), interpolation=cv2.INTER_CUBIC)
    return (made - made.min()) / (made.max() - made.min())


def seen_from(ground: np.ndarray, left: float, top: float) -> np.ndarray:
    """A view of it, between pixels."""
    at = np.float32([[1, 0, left], [0, 1, top]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(ground, at, (WIDE, HIGH), flags=flags)


def film(pictures: list[np.ndarray]) -> Tensor:
    """As bytes, so that nothing is smoother than a file."""
    levels = np.stack(pictures).clip(0, 1) * 255
    return torch.from_numpy(levels.round().astype(np.uint8)).permute(0, 3, 1, 2)


def places(seconds: float, speed: float = 1.5, shake: float = 0.0) -> list[tuple[float, float]]:
    """Where the camera is, on a slow curve."""
    random = np.random.default_rng(1)
    times = range(round(seconds * FPS))
    turn = [(speed * t, 12 + 8 * math.sin(speed * t / 40)) for t in times]
    return [tuple(np.add(at, shake * random.uniform(-1, 1, 2))) for at in turn]


def walk(seconds: float = 6, seed: int = 0, speed: float = 1.5, shake: float = 0.0) -> Tensor:
    """A camera that moves over a ground while a square crosses the picture."""
    ground = texture(seed, HIGH + 40, WIDE + round(seconds * FPS * speed) + 20)
    square = texture(seed + 1, 20, 20)
    pictures = []
    for t, (left, top) in enumerate(places(seconds, speed, shake)):
        picture = seen_from(ground, left + 8, top)
        y, x = 20, 10 + round(t * 0.5) % (WIDE - 40)
        picture[y : y + 20, x : x + 20] = square
        pictures.append(picture)
    return film(pictures)


def pan(seconds: float = 6) -> Tensor:
    ground = texture(3, HIGH + 40, WIDE + round(seconds * FPS * 1.5) + 20)
    return film([seen_from(ground, 8 + 1.5 * t, 10) for t in range(round(seconds * FPS))])


def result(metric: VideoMetric, frames: Tensor, **more: Any) -> Result:
    metric.update(frames, 0, fps=FPS, **more)
    return metric.result()


def shuffled(frames: Tensor) -> Tensor:
    """Within every second."""
    random = torch.Generator().manual_seed(0)
    return torch.cat([one[torch.randperm(len(one), generator=random)] for one in frames.split(FPS)])


def with_flicker(frames: Tensor, strength: float) -> Tensor:
    gains = 1 + strength * torch.tensor([1, -1]).repeat(len(frames) // 2).view(-1, 1, 1, 1)
    return (frames * gains).clamp(0, 255).round().byte()


def with_noise(frames: Tensor, sigma: float) -> Tensor:
    noise = torch.randn(frames.shape, generator=torch.Generator().manual_seed(0))
    return (frames + 255 * sigma * noise).clamp(0, 255).round().byte()
