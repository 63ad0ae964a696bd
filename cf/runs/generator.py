"""A trained network with all that it takes to make videos of it."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from cf.data.script import refuse_unseen
from cf.runs.outline import device_of, parts_of
from cf.runs.outline import file_of as file_of
from cf.settings.build import Settings, build

if TYPE_CHECKING:
    from cf.data.world.base import Drawn, Film
    from cf.models.base import Backbone
    from cf.models.codec import Codec
    from cf.models.picture import ImageEncoder
    from cf.models.text import TextEncoder
    from cf.rollout.blockwise import Rollout
    from cf.rollout.influence import Influence
    from cf.rollout.switch import Switch
    from cf.runs.block_stream import BlockStream
    from cf.types import Conditioning, Latents, Video

log = logging.getLogger("cf")
_BASE = (
    "%s is Wan2.1 itself, which was trained to denoise whole clips in some 50 steps: few steps, "
    "block by block, show nothing of use. Take a student, preset=NAME, or rollout=whole and "
    "sampling.guidance=5"
)


@dataclass(frozen=True)
class Generator:
    """A network with all that it takes to make videos of it.

    Attributes:
        switch: what becomes of the past when the prompt changes.
        fps, size: pixel frames per second, height and width.
        image_encoder: of models that attend a picture; None for others.
        seen: what `shown` tells an image-to-video model of its picture; None before that.
        negative: what a guided network is told that a video should not show; None: it is told of
            the prompts alone.
    """

    network: Backbone
    codec: Codec
    text: TextEncoder
    rollout: Rollout
    switch: Switch
    fps: float
    size: tuple[int, int]
    image_encoder: ImageEncoder | None = None
    seen: Conditioning | None = None
    negative: str | None = None

    def conditioning(self, prompts: list[str]) -> Conditioning:
        """Conditioning of a batch of prompts; of a guided network, their negatives after them."""
        from cf.types import Conditioning

        if self.negative is not None:
            prompts = [*prompts, *[self.negative] * len(prompts)]
        states = self.text.encode(prompts)
        text = None if states is None else states.to(self.network.device)
        if self.seen is None:
            return Conditioning(text)
        of = next(len(x) for x in vars(self.seen).values() if x is not None)
        cond = self.seen.samples([i % of for i in range(len(prompts))])  # one for all, or each
        return replace(cond, text=text)

    def shown(self, picture: Video | None) -> Generator | None:
        """An image-to-video model's generator that goes on from a picture; None of other models.

        Args:
            picture: one for all videos, or one for each; a frame of each.

        Raises:
            ValueError: if there is no picture, more than one, or no encoder for it.
        """
        from cf.models.picture import picture_seen

        if not self.pictured:
            return None
        if picture is None:
            raise ValueError("this network is an image-to-video model: give image=...")
        picture = picture.to(self.network.device)
        cond = picture_seen(self.network, self.codec, self.image_encoder, picture)
        return replace(self, seen=cond)

    @property
    def pictured(self) -> bool:
        """Whether it is an image-to-video model."""
        from cf.models.picture import takes_picture

        return takes_picture(self.network)

    def first_block(self, at: int, given: int = 0) -> int:
        """The block with which a text of new pixel frame `at` begins, after `given` latents."""
        latents = self.codec.covering(self.codec.video_frames(given) + at)
        return -(-(latents - given) // self.rollout.block_frames)

    def check_length(self, blocks: int, given: int = 0) -> None:
        """Raise a ValueError if so many blocks cannot be made after `given` latents."""
        seconds = self.codec.video_frames(self.rollout.block_frames) / self.fps
        self.rollout.check_length(blocks, given, seconds)

    def check_script(
        self, script: Sequence[tuple[float, str]], frames: int, given: int, where: str
    ) -> None:
        """Raise a ValueError at texts that are never seen, or a change that cannot be made.

        Args:
            script: seconds and texts.
            frames: new pixel frames of the video.
            given: latents that are known before the first block.
            where: the setting that messages name.
        """
        block = self.rollout.block_frames * self.codec.time_stride
        times = [seconds for seconds, _ in script]
        begins = [self.first_block(round(seconds * self.fps), given) for seconds in times]
        ends = f"the video ends after seconds={frames / self.fps:g}"
        unit, stop = f"block, of {block / self.fps:.3g} s", self.first_block(frames, given)
        refuse_unseen(times, begins, stop, where, unit, ends)
        latents = [given + n * self.rollout.block_frames for n in begins[1:]]
        self.switch.check(self.rollout, latents)

    def stream(
        self,
        prefix: Video | None,
        frames: int,
        script: Sequence[tuple[int, Conditioning]],
        seed: int,
        samples: int,
    ) -> Iterator[Video]:
        """The prefix, if any, and then at least `frames` new pixel frames, block by block.

        `script` says from which new pixel frame on which conditioning holds; the first is 0.
        """
        blocks = self.begin(prefix, script, seed, range(samples))
        if blocks.given is not None:
            yield blocks.decode(blocks.given)
        while blocks.shown < frames:
            yield blocks.decode(blocks.denoise())

    def begin(
        self,
        prefix: Video | None,
        script: Sequence[tuple[int, Conditioning]],
        seed: int,
        samples: Sequence[int],
    ) -> BlockStream:
        """Videos after a prefix, if any, of which no new block is made yet.

        `script` is as in `stream`; `samples` are the numbers of which their noise is drawn.
        """
        from cf.rollout.state import START
        from cf.runs.block_stream import BlockStream

        noise = self.rollout.noise(self.network, seed, samples)
        latents, state = None, START
        if prefix is not None:
            latents = self.codec.encode(prefix.to(self.network.device))
            latents = latents.expand(len(samples), -1, -1, -1, -1)
            state = self.rollout.remember(self.network, latents, noise, script[0][1], state)
        blocks = BlockStream(self, noise, latents, state)
        for at, cond in script:
            blocks.say(at, cond)
        return blocks

    def follow(self, drawn: Drawn, given: int, seed: int, numbers: Sequence[int]) -> Video:
        """Drawn videos continued after their first `given` frames, under their own control."""
        cond = self.told(drawn)
        latents = self.codec.encode(drawn.video[:, :given].to(self.network.device))
        noise = self.rollout.noise(self.network, seed, numbers)
        frames = self.codec.covering(drawn.video.shape[1])
        video_latents = self.rollout.extend(self.network, latents, noise, cond, frames)
        video: Video = self.codec.decode(video_latents).float().cpu()
        return video

    def following(
        self, film: Film, given: int, seed: int, numbers: Sequence[int], text: str = ""
    ) -> Iterator[Video]:
        """As `follow`, in memory that does not grow: the given frames, then block after block.

        Args:
            film: the videos and their control.
            given: frames of them; 0: they begin with nothing.
            seed: of the noise.
            numbers: of which the noise is drawn.
            text: what a network is told that takes text; empty: what the videos say of themselves.

        Raises:
            ValueError: when more blocks are asked for than the film's control covers, or an
                image-to-video model is given nothing.
        """
        from cf.rollout.state import START

        if not given and self.seen is None and self.pictured:
            raise ValueError("this network is an image-to-video model: give a frame or more")
        decode, state = self.codec.decoder(), START
        noise, cond = self.rollout.noise(self.network, seed, numbers), self.told(film, text)
        if given:
            prefix = self._given(film, given)
            yield decode(prefix)
            state = self.rollout.remember(self.network, prefix, noise, cond)
        for latents, _ in self.rollout.stream(self.network, noise, cond, state):
            yield decode(latents)

    def influence(
        self, film: Film, given: int, seed: int, numbers: Sequence[int], lags: Sequence[int]
    ) -> Influence:
        """How far back the first block after the given frames is influenced.

        Args:
            film: the frames and what they are made under.
            given: latent frames that are taken from it.
            seed: of the noise.
            numbers: of the videos in it.
            lags: latent frames of history to leave.

        Raises:
            ValueError: if the memory does not hold whole frames, so that none can be cut.
        """
        from cf.rollout.influence import InfluenceHorizon

        noise, cond = self.rollout.noise(self.network, seed, numbers), self.told(film)
        prefix = self._given(film, given)
        state = self.rollout.remember(self.network, prefix, noise, cond)
        horizon = InfluenceHorizon(self.rollout, self.network, self.codec.time_stride / self.fps)
        return horizon(state, noise, cond, lags)

    def _given(self, film: Film, frames: int) -> Latents:
        """Latents of a film's first frames."""
        return self.codec.encode(film.part(0, frames).video.to(self.network.device))

    def told(self, drawn: Drawn | Film, text: str = "") -> Conditioning:
        """What a network is told of drawn videos: where the camera is, and a text or their own.

        An image-to-video model is shown the first frame of each, which is one of those given.
        """
        if self.seen is None and self.pictured:
            first = drawn if hasattr(drawn, "video") else drawn.part(0, 1)
            if shown := self.shown(first.video[:, :1]):
                return shown.told(drawn, text)
        device = self.network.device
        has_text = self.text.dim is not None
        cond = self.conditioning([(text or prompt) if has_text else "" for prompt in drawn.prompt])
        control, origin = drawn.control.to(device), drawn.origin.to(device)
        if self.negative is not None:
            control, origin = control.repeat(2, 1, 1), origin.repeat(2, 1, 1)
        return replace(cond, control=control, origin=origin)


def load(settings: Settings) -> Generator:
    """The network in `settings["checkpoint"]`, with what the settings exchange of it.

    What it takes of a card is counted and told first, the texts in `settings["texts"]` are encoded
    next, and only then is anything else loaded.

    Raises:
        ValueError: the settings contradict the checkpoint, or the card is too small for them.
    """
    import torch

    from cf.models.attention_kernel import attention_kernel
    from cf.models.compiled import check_compile
    from cf.models.releases import is_base
    from cf.runs.guide import guide_model
    from cf.runs.on_card import check_memory, codec_on, guide_on, network_on, text_on
    from cf.runs.outline import codec_outline, sized, way_of

    parts, source = parts_of(settings), str(file_of(settings["checkpoint"]))
    way = way_of(settings, parts)
    device = torch.device(device_of(settings["device"]))
    how: Any = settings.get("compile") or "none"
    check_compile(how, device)
    outline = codec_outline(parts["codec"], settings)
    model, weaker = sized(parts["model"], parts["size"], outline), guide_model(way, parts, outline)
    if model != parts["model"]:
        log.warning("size=%s is another than that of this network", list(parts["size"]))
    if is_base(source) and way.rollout.sampler == "renoise":
        log.warning(_BASE, source)
    check_memory(settings, parts, device)
    text = text_on(device, settings, parts, way)
    network = network_on(device, settings, model, source, settings.get("weights") or {})
    guide = guide_on(device, settings, way, weaker)
    codec = codec_on(device, settings, parts)
    log.info("attention: %s%s", attention_kernel(network), f"; compile={how}" * (how != "none"))
    eyes = settings.get("image_encoder")
    eyes = None if eyes is None else build(eyes, "image_encoder").to(device)
    modules = (way.guided(network, guide), codec, text, way.rollout, way.switch)
    size = (float(parts["fps"]), tuple(parts["size"]))
    return Generator(*modules, *size, eyes, negative=way.negative)
