"""Videos in the making, block after block, that can be saved between two blocks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from cf.rollout.state import Noise, RolloutState, plain, rebuilt
from cf.rollout.switch import stream
from cf.runs.key_frames import KeyFrame, pinned_in
from cf.types import Conditioning, Latents, Video

if TYPE_CHECKING:
    from cf.runs.generator import Generator


class BlockStream:
    """A batch of videos that a generator makes block by block, under texts that take turns.

    Attributes:
        given: latents of the frames to go on from, not decoded yet; None if there are none.
        state: what the rollout carries.
    """

    def __init__(
        self, generator: Generator, noise: Noise, given: Latents | None, state: RolloutState
    ) -> None:
        self.given, self.state = given, state
        self._generator, self._noise = generator, noise
        self._texts: list[tuple[int, Conditioning]] = []
        self._decoder = generator.codec.decoder()
        self._begun = 0 if given is None else given.shape[1]

    @property
    def shown(self) -> int:
        """New pixel frames of all blocks that are denoised."""
        codec, made = self._generator.codec, self.state.context.start
        return codec.video_frames(made) - codec.video_frames(self._begun)

    def say(self, at: int, cond: Conditioning) -> None:
        """Let a conditioning hold from the first block on that begins at new pixel frame `at`."""
        self._texts.append((at, cond))

    @torch.no_grad()
    def pin(self, images: Sequence[KeyFrame]) -> None:
        """Keep key-frames in the context, as the first text has them read.

        Raises:
            ValueError: the memory keeps none.
        """
        where = self._generator, self._noise, self._texts[0][1], self._begun
        self.state = pinned_in(self.state, images, *where)

    @torch.no_grad()
    def denoise(self) -> Latents:
        """The next block."""
        made = self._generator
        shown = made.codec.video_frames(self._begun)
        texts = [(made.codec.covering(shown + at), cond) for at, cond in self._texts]
        running = stream(made.rollout, made.network, self._noise, texts, made.switch, self.state)
        latents, self.state = next(running)
        return latents

    def decode(self, latents: Tensor) -> Video:
        """Pixels of the next latents: first of those that were given, then of each block."""
        return self._decoder(latents)

    def saved(self) -> dict[str, Any]:
        """All from which `restore` goes on, as lists, mappings and tensors."""
        held = {"state": plain(self.state), "decoder": plain(self._decoder.held)}
        device = self._generator.network.device.type
        return {"given": self._begun, "device": device, **held}

    def restore(self, saved: dict[str, Any]) -> None:
        """Stand where another stream of the same videos was saved.

        Raises:
            KeyError, TypeError: it is nothing that was saved.
            ValueError: it was saved on another kind of device, whose numbers are others.
        """
        device = self._generator.network.device
        if saved["device"] != device.type:
            raise ValueError(
                f"the state was saved on {saved['device']}, and this is {device.type}: give "
                f"device={saved['device']}, or another folder"
            )
        self._begun = int(saved["given"])
        self.state = rebuilt(saved["state"], device)
        self._decoder.held[:] = rebuilt(saved["decoder"], device)
