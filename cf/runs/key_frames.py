"""Images that a video keeps in its context, each at a second of the new video."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from cf.memory.base import join, share_ids
from cf.memory.pinned import Pinned
from cf.models.base import WRITTEN
from cf.rollout.state import Noise, RolloutState
from cf.types import Block, Conditioning, Latents

if TYPE_CHECKING:
    from cf.runs.generator import Generator


@dataclass(frozen=True)
class KeyFrame:
    """An image of the new video.

    Attributes:
        frame: the new pixel frame that it belongs to.
        latents: of the image alone, as the first frame of a video.
    """

    frame: int
    latents: Latents


def key_frames_of(
    pinned: Sequence[Sequence[object]], generator: Generator, begun: int
) -> list[KeyFrame]:
    """The images of `[[seconds, file], ...]`, encoded, of a video after `begun` latent frames.

    Raises:
        ValueError: an image cannot be read, or two belong to one latent frame.
    """
    from cf.video.reader import read_image

    device, key_frames = generator.network.device, list[KeyFrame]()
    for seconds, file in pinned:
        image = read_image(str(file), generator.size)[None].to(device)
        at = round(float(str(seconds)) * generator.fps)
        key_frames.append(KeyFrame(at, generator.codec.encode(image)))
        latents = [_latent(generator, key_frame.frame, begun) for key_frame in key_frames]
        if latents[-2:-1] == latents[-1:]:
            raise ValueError(
                f"pinned: {file} and the image before it belong to one latent frame, of "
                f"{generator.codec.time_stride / generator.fps:.3g} s; let more time pass between"
            )
    return key_frames


def pinned_in(
    state: RolloutState,
    images: Sequence[KeyFrame],
    generator: Generator,
    noise: Noise,
    cond: Conditioning,
    begun: int,
) -> RolloutState:
    """The state whose context holds these key-frames, each read alone under `cond`.

    Args:
        state: before the new video.
        images: the key-frames.
        generator: reads them.
        noise: of the video, which it does not use up.
        cond: what they are read under.
        begun: latent frames before the new video.
    """
    memory, network, rollout = generator.rollout.memory, generator.network, generator.rollout
    if not images:
        return state
    if not isinstance(memory, Pinned):
        raise ValueError(f"{type(memory).__name__} keeps no key-frames; give memory=pinned")
    at = [_latent(generator, image.frame, begun) for image in images]
    batch = noise(0, 0).shape[0]
    alone, blocks = replace(cond, **dict.fromkeys(cond.per_frame(), None)), []
    for frame, image in zip(at, images, strict=True):
        x0 = image.latents.to(torch.promote_types(network.dtype, torch.float32))
        x, t = rollout.as_read(x0.expand(batch, -1, -1, -1, -1), noise, frame)
        blocks.append(network.writer(x, t, alone, WRITTEN).block)
    layers = tuple(
        share_ids(join(parts) for parts in zip(*(block.layers for block in blocks), strict=True))
    )
    block = Block(layers, len(at), blocks[0].grid)
    return replace(state, context=memory.pin(state.context, block, at))


def _latent(generator: Generator, frame: int, begun: int) -> int:
    """The latent frame that holds a new pixel frame, after so many latents."""
    codec = generator.codec
    return codec.covering(codec.video_frames(begun) + frame + 1) - 1
