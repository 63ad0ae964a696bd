"""Videos in the making, block after block, that can be saved between two blocks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from cf.rollout.state import Noise, RolloutState, plain, rebuilt
from cf.rollout.switch import PromptChange, Switch, stream
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
        self._texts: list[tuple[int, Conditioning, Switch]] = []
        self._steered: dict[str, Tensor] = {}
        self._decoder = generator.codec.decoder()
        self._begun = 0 if given is None else given.shape[1]

    @property
    def shown(self) -> int:
        """New pixel frames of all blocks that are denoised."""
        codec, latents = self._generator.codec, self.state.context.start
        return codec.video_frames(latents) - codec.video_frames(self._begun)

    def say(self, at: int, cond: Conditioning, switch: Switch | None = None) -> None:
        """Let a conditioning hold from the first block on that begins at new pixel frame `at`.

        Args:
            at: the frame.
            cond: what holds from there on.
            switch: what becomes of the past there; None: the generator's own.
        """
        self._texts.append((at, cond, switch or self._generator.switch))

    def steer(self, control: Tensor, origin: Tensor) -> None:
        """Let every text be told where the camera goes, up to the end of the coming block.

        Args:
            control: (b, f, k), of each latent frame from the video's first on.
            origin: (b, f, 2), likewise.
        """
        copies = 1 if self._generator.negative is None else 2  # a guided network sees each twice
        device = self._generator.network.device
        signals = {"control": control, "origin": origin}
        self._steered = {k: x.to(device).repeat(copies, 1, 1) for k, x in signals.items()}

    def try_switch(self, cond: Conditioning, switch: Switch) -> None:
        """Do what a new text would do to the past, and keep nothing of it.

        Raises:
            ValueError: this rollout or its memory does not allow it.
        """
        rollout = self._generator.rollout
        switch.check(rollout, [self.state.context.start])
        cond = replace(cond, **self._steered)
        where = rollout, self._generator.network, self._noise, cond
        with torch.no_grad():
            switch(PromptChange(*where, self.state))

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
        generator = self._generator
        shown = generator.codec.video_frames(self._begun)
        start = self.state.context.start
        begins = [generator.codec.covering(shown + at) for at, *_ in self._texts]
        now = max((i for i, at in enumerate(begins) if at <= start), default=0)
        texts = [
            (at, replace(cond, **self._steered))
            for at, (_, cond, _) in zip(begins, self._texts, strict=True)
        ]
        switch = self._texts[now][2]
        running = stream(
            generator.rollout, generator.network, self._noise, texts, switch, self.state
        )
        latents, self.state = next(running)
        self._texts = self._texts[now:]  # those before have ended, and a session has many
        return latents

    def decode(self, latents: Tensor) -> Video:
        """Pixels of the next latents: first of those that were given, then of each block."""
        return self._decoder(latents)

    def saved(self) -> dict[str, Any]:
        """All from which `restore` goes on, as lists, mappings and tensors."""
        states = {"state": plain(self.state), "decoder": plain(self._decoder.held)}
        device = self._generator.network.device.type
        return {"given": self._begun, "device": device, **states}

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
