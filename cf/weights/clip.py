"""A clip of a base, whose frames are looked at before they are written."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from cf.runs.outline import device_of
from cf.settings.build import Settings
from cf.types import Video
from cf.weights.answers import moving_picture

if TYPE_CHECKING:
    from cf.runs.generator import Generator

CLIP = "A red fox trots through fresh snow in a quiet forest, its breath visible in the cold air."
LEAST_SPREAD, LEAST_MOTION = 2 / 255, 0.5 / 255
"""Of pixels in [0, 1]; below them a picture is one colour to the eye, and a video one picture."""
_SECONDS, _SIDE = 5.0, 256


@dataclass
class FrameNumbers:
    """What is counted of frames as they are made; they are not kept.

    Attributes:
        frames: how many.
        finite: whether all numbers are.
    """

    frames: int = 0
    finite: bool = True
    _mean: float = 0.0
    _spread: float = 0.0
    _motion: float = 0.0
    _last: Tensor | None = None

    def add(self, video: Video) -> None:
        """The next frames."""
        for frame in video[0].float().cpu():
            self.finite = self.finite and bool(frame.isfinite().all())
            self._mean += float(frame.mean())
            self._spread += float(frame.std())
            if self._last is not None:
                self._motion += float((frame - self._last).abs().mean())
            self._last = frame
            self.frames += 1

    def told(self) -> dict[str, float]:
        """Means over frames: their mean, their spread, and how much one differs from the next."""
        count = max(self.frames, 1)
        numbers = {"mean": self._mean / count, "spread": self._spread / count}
        numbers["motion"] = self._motion / max(self.frames - 1, 1)
        return {name: round(value, 5) for name, value in numbers.items()}

    def check(self) -> None:
        """Raise a ValueError at frames that no trained model makes."""
        said = self.told()
        if not self.finite:
            raise ValueError(
                f"the clip has NaN or infinite numbers in {self.frames} frames: weights are "
                "damaged, or dtype=float16 is too narrow; try dtype=float32"
            )
        if said["spread"] < LEAST_SPREAD:
            raise ValueError(
                f"the clip is of one colour: its pixels spread by {said['spread']:.2g} of their "
                f"range, and {LEAST_SPREAD:.2g} is the least that one sees; see clip.png"
            )
        if said["motion"] < LEAST_MOTION:
            raise ValueError(
                f"the clip stands still: a pixel changes by {said['motion']:.2g} from frame to "
                f"frame, and {LEAST_MOTION:.2g} is the least that one sees; see clip.png"
            )


def clip_answer(settings: Settings, report: Path, asked: bool | None = None) -> dict[str, Any]:
    """A guided clip of a base, written beside the report: its numbers, and how long it took.

    An image-to-video base begins with a drawn picture.

    Args:
        settings: with what it is sampled.
        report: `clip.mp4` and `clip.png` lie beside it.
        asked: make it; None: on a GPU, since on a CPU it takes hours.

    Raises:
        ValueError: its frames are not finite, of one colour, or all alike.
    """
    from cf.generation.batch import VideoBatch
    from cf.generation.prefix import frames_in_seconds
    from cf.generation.requests import VideoRequest
    from cf.generation.unfinished import Unfinished
    from cf.runs.generator import load
    from cf.system.progress import progress
    from cf.system.signals import Stop, heard

    if asked is None and device_of(settings["device"]) == "cpu":
        return {"not_made": "on a CPU it takes hours; --clip makes it"}
    if asked is False:
        return {"not_made": "it was left out (--no-clip)"}
    clip_settings = {**settings, "seconds": _SECONDS, "texts": [CLIP]}
    generator, numbers = _begun(load(clip_settings)), FrameNumbers()
    frames = frames_in_seconds(clip_settings, "seconds", generator.fps)
    with torch.inference_mode(), heard(Stop()) as stop, progress(frames, "clip", "frames") as bar:
        _tell_time(generator)
        wanted: Sequence[VideoRequest] = [VideoRequest("clip", ((0.0, CLIP),), 0)]
        more: Any = {"frames": frames, "seed": settings["seed"], "watch": numbers.add}
        batch = VideoBatch(generator, wanted, report.parent, None, **more)
        record = batch.make(Unfinished(report.parent, None), stop, bar)["clip"]
    numbers.check()
    files = {"file": "clip.mp4", "sheet": "clip.png", "prompt": CLIP, "seed": settings["seed"]}
    return {**files, "numbers": numbers.told(), **record["timing"]}


def _begun(generator: Generator) -> Generator:
    """The generator; that of an image-to-video network is shown a drawn picture."""
    picture = moving_picture(_SIDE)[:, 0]
    picture = torch.nn.functional.interpolate(picture, generator.size, mode="bilinear")
    return generator.shown(picture[:, None]) or generator


def _tell_time(generator: Generator) -> None:
    """Say how long a clip takes, by its first network call."""
    network, rollout = generator.network, generator.rollout
    cond = generator.conditioning([CLIP])
    shape = (1, rollout.block_frames, *network.latent_shape)
    x = torch.zeros(shape, device=network.device)
    began = time.perf_counter()
    network(x, x.new_ones(shape[:2]), cond)
    if x.is_cuda:
        torch.cuda.synchronize()
    steps = len(rollout.times)
    minutes = (time.perf_counter() - began) * steps / 60
    sys.stdout.write(f"a clip of {steps} steps takes about {minutes:.2g} min\n")
    sys.stdout.flush()
