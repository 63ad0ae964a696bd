"""What the parts beside a network answer: a codec's round trip, likeness of texts and pictures."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from cf.models.codec import Codec
from cf.models.picture import ImageEncoder
from cf.models.text import TextEncoder
from cf.runs.outline import codec_for, device_of
from cf.settings.build import Settings, build
from cf.types import Video

LEAST_PSNR = 25.0
"""Decibels at which a trained codec gives the test picture back at the least; no score."""
SENTENCES = ("a red cat runs", "a cat runs", "the price of oil fell by three percent")
"""Two that say nearly the same, and one of something else."""
_FRAMES, _SIDE, _PICTURE = 9, 16, 256


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
    states = [_mean(text, sentence) for sentence in SENTENCES]
    if not all(bool(x.isfinite().all()) for x in states):
        raise ValueError("the text encoder's states are not finite: its weights are damaged")
    if not torch.equal(states[0], _mean(text, SENTENCES[0])):
        raise ValueError("the text encoder says something else of one text each time")
    alike, other = (float(torch.cosine_similarity(states[0], x, 0)) for x in states[1:])
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


def picture_answer(settings: Settings) -> dict[str, Any]:
    """Whether the image encoder makes states as the network takes them, and of what is seen.

    Raises:
        ValueError: states of another width, that are not finite, that differ from one call to the
            next, or by which a picture is no more like the next of its video than like a pattern.
    """
    device = torch.device(device_of(settings["device"]))
    eyes: ImageEncoder = build(settings["image_encoder"], "image_encoder").to(device)
    wanted = settings["model"].get("image_dim")
    if eyes.dim != wanted:
        raise ValueError(
            f"the image encoder makes states of {eyes.dim} numbers and the network takes {wanted}: "
            "it is another model's"
        )
    video = moving_picture(_PICTURE)[0]
    pattern = torch.arange(_PICTURE).div(_SIDE, rounding_mode="floor") % 2
    board = (pattern[:, None] ^ pattern).float().expand(3, -1, -1)
    pictures = torch.stack((video[0], video[1], board)).to(device)
    first, later, other = eyes.encode(pictures).float().mean(1).cpu()
    if not all(bool(x.isfinite().all()) for x in (first, later, other)):
        raise ValueError("the image encoder's states are not finite: its weights are damaged")
    if not torch.equal(eyes.encode(pictures).float().mean(1).cpu()[0], first):
        raise ValueError("the image encoder says something else of one picture each time")
    near, far = (float(torch.cosine_similarity(first, x, 0)) for x in (later, other))
    if not near > far:
        raise ValueError(
            f"to the image encoder a picture is less like the next of its video ({near:.3f}) than "
            f"like a chessboard ({far:.3f}): its weights are wrong"
        )
    return {"alike": round(near, 4), "other": round(far, 4), "numbers": eyes.dim}
