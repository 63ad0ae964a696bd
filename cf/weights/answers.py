"""What the parts beside a network answer: a codec's round trip, texts that are alike, a clip."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from cf.models.codec import Codec
from cf.models.text import TextEncoder
from cf.runs.outline import codec_for, device_of
from cf.settings.build import Settings, build
from cf.types import Video

if TYPE_CHECKING:
    from cf.runs.generator import Generator

LEAST_PSNR = 25.0
"""Decibels at which a trained codec gives the test picture back at the least; no score."""
SENTENCES = ("a red cat runs", "a cat runs", "the price of oil fell by three percent")
"""Two that say nearly the same, and one of something else."""
CLIP = "A red fox trots through fresh snow in a quiet forest, its breath visible in the cold air."
_FRAMES, _SIDE, _SECONDS = 9, 16, 5.0


def codec_answer(settings: Settings, least: float = LEAST_PSNR) -> dict[str, Any]:
    """How well the codec gives back a picture that moves.

    Raises:
        ValueError: worse than by `least` decibels, or not at all.
    """
    device = torch.device(device_of(settings["device"]))
    codec: Codec = build(codec_for(settings["codec"], settings), "codec").to(device)
    video = moving_picture(_SIDE * codec.space_stride).to(device)
    with torch.inference_mode():
        back = codec.decode(codec.encode(video)).float()
    error = float((back - video).square().mean())
    psnr = -10 * math.log10(error) if error > 0 else math.inf
    if not psnr >= least:
        raise ValueError(
            f"the codec gives a moving test picture back at {psnr:.1f} dB, and {least:g} is the "
            "least that a trained one does: its weights are damaged, or another model's"
        )
    return {"psnr_db": round(psnr, 2), "least_db": least, "pixels": video.shape[-1]}


def moving_picture(side: int) -> Video:
    """A soft disc that crosses a gradient, (1, 9, 3, side, side)."""
    axis = torch.linspace(0, 1, side)
    rows, columns = torch.meshgrid(axis, axis, indexing="ij")
    frames = []
    for i in range(_FRAMES):
        at = 0.3 + 0.4 * i / (_FRAMES - 1)
        disc = torch.sigmoid(40 * (0.18 - ((rows - 0.5) ** 2 + (columns - at) ** 2).sqrt()))
        ground = torch.stack((0.2 + 0.4 * rows, 0.3 + 0.3 * columns, 0.5 - 0.2 * rows))
        colour = torch.tensor([0.85, 0.35, 0.15]).view(3, 1, 1)
        frames.append(ground * (1 - disc) + colour * disc)
    return torch.stack(frames)[None]


def text_answer(settings: Settings) -> dict[str, Any]:
    """Whether the text encoder makes states as the network takes them, and of what is said.

    Raises:
        ValueError: states of another width, that are not finite, that differ from one call to the
            next, or by which a sentence is no more like its shorter form than like another.
    """
    device = torch.device(device_of(settings["device"]))
    text: TextEncoder = build(settings["text"], "text").to(device)
    wanted = settings["model"].get("text_dim")
    if text.dim != wanted:
        raise ValueError(
            f"the text encoder makes states of {text.dim} numbers and the network takes {wanted}: "
            "it is another model's"
        )
    if text.dim is None:
        return {"against": "nothing: the network is told no text"}
    found = [_mean(text, sentence) for sentence in SENTENCES]
    if not all(bool(x.isfinite().all()) for x in found):
        raise ValueError("the text encoder's states are not finite: its weights are damaged")
    if not torch.equal(found[0], _mean(text, SENTENCES[0])):
        raise ValueError("the text encoder says something else of one text each time")
    alike, other = (float(torch.cosine_similarity(found[0], x, 0)) for x in found[1:])
    if not alike > other:
        raise ValueError(
            f"to the text encoder {SENTENCES[0]!r} is less like {SENTENCES[1]!r} ({alike:.3f}) "
            f"than like {SENTENCES[2]!r} ({other:.3f}): its weights or its tokenizer are wrong"
        )
    return {"alike": round(alike, 4), "other": round(other, 4), "numbers": text.dim}


def _mean(text: TextEncoder, sentence: str) -> Tensor:
    """The mean of the states of a sentence's tokens."""
    states = text.encode([sentence])
    assert states is not None
    used = states[0].float().abs().amax(1) > 0
    return states[0].float()[used].mean(0).cpu()


def clip_answer(
    settings: Settings, report: Path, seconds: float = _SECONDS, asked: bool = False
) -> dict[str, Any]:
    """A clip of a base, written beside the report, and how long it took.

    Args:
        settings: with what it is sampled.
        report: `clip.mp4` and `clip.png` lie beside it.
        seconds: of the clip.
        asked: make it on a CPU too, where it takes hours.
    """
    from cf.generation.batch import VideoBatch
    from cf.generation.prefix import frames_in_seconds
    from cf.generation.requests import VideoRequest
    from cf.generation.unfinished import Unfinished
    from cf.runs.generator import load
    from cf.system.progress import progress
    from cf.system.signals import Stop, heard

    if settings["model"].get("reference_channels"):
        return {"not_made": "an image-to-video model begins with a picture: cf.generate image=..."}
    if not asked and device_of(settings["device"]) == "cpu":
        return {"not_made": "on a CPU it takes hours; --clip makes it"}
    chosen = {**settings, "seconds": seconds, "texts": [CLIP]}
    generator = load(chosen)
    frames = frames_in_seconds(chosen, "seconds", generator.fps)
    with torch.inference_mode(), heard(Stop()) as stop, progress(frames, "clip", "frames") as bar:
        _tell_time(generator)
        wanted: Sequence[VideoRequest] = [VideoRequest("clip", ((0.0, CLIP),), 0)]
        batch = VideoBatch(generator, wanted, report.parent, None, frames, settings["seed"])
        made = batch.make(Unfinished(report.parent, None), stop, bar)
    return {"file": "clip.mp4", "sheet": "clip.png", "prompt": CLIP, **made["clip"]["timing"]}


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
