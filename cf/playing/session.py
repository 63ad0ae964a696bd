"""A video that is made while somebody steers it, with one or two memories from one noise."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import UInt8
from torch import Tensor

from cf.data.script import text_from
from cf.data.world.base import Drawn
from cf.data.world.steered import KEYS, Standpoint, SteeredWorld
from cf.memory.base import Memory
from cf.playing.recollection import Recalled, Recollection, recollection_of
from cf.rollout.switch import Switch
from cf.runs.block_stream import BlockStream
from cf.runs.generator import Generator
from cf.runs.steered_world import steered
from cf.types import Context, Video
from cf.video.writer import pictures_of

TRUTH = "truth"
"""The name beside those of memories under which the world's own pictures stand."""
Pictures = UInt8[Tensor, "t 3 h w"]


@dataclass(frozen=True)
class Begin:
    """What a session begins with.

    Attributes:
        memories: one or two, by name; None: the one that the network was trained with.
        seed: of the noise, the same for every memory.
        world_seed, number: which video of the world is walked through.
        given: frames of that video that are shown before anybody steers.
        text: what the video shows at first, where the network takes text; empty: what the world
            says of itself, if there is one.
        picture: what the video goes on from, where it walks through no world.
    """

    memories: dict[str, Memory | None]
    seed: int = 0
    world_seed: int = 0
    number: int = 0
    given: int = 24
    text: str = ""
    picture: Pictures | None = None


@dataclass(frozen=True)
class Moment:
    """Frames that came at once.

    Attributes:
        first: number of the first of them, counted from the beginning of the video.
        pictures: by memory, and the world's own as `TRUTH`.
        recall: by memory, of each frame.
        held: by memory, the frames that its context is made of.
        given: whether the frames were not generated.
    """

    first: int
    pictures: dict[str, Pictures]
    recall: dict[str, list[Recalled | None]]
    held: dict[str, list[int]]
    given: bool

    @property
    def frames(self) -> int:
        """How many there are."""
        return len(next(iter(self.pictures.values())))


@dataclass
class _Lane:
    """A video under one memory."""

    generator: Generator
    stream: BlockStream
    recollection: Recollection | None


class Session:
    """Makes a video block by block; the same calls make the same frames.

    Attributes:
        begin: what it began with.
        frames: how many there are, the given ones included.
        given: how many of them were not generated.
        steers: whether keys move a camera.
        takes_text: whether the network is told what to show.
        played: keys of each generated frame.
        texts: later texts, each with the number of the frame before which it was given and the
            name of its switch.
    """

    def __init__(self, generator: Generator, world: SteeredWorld | None, begin: Begin) -> None:
        """Prepare; `start` makes the first frames.

        Raises:
            ValueError: the network, the world and what is asked for do not belong together.
        """
        self.begin, self.frames, self.given = begin, 0, 0
        self.played: list[tuple[str, ...]] = []
        self.texts: list[tuple[int, str, str]] = []
        self._generator = generator
        self.takes_text = generator.text.dim is not None
        self._world = steered(generator, world)
        self.steers = self._world is not None
        self._block = generator.rollout.block_frames
        self._way: list[Standpoint] = []
        self._lanes: dict[str, _Lane] = {}
        self._check()

    @property
    def fps(self) -> float:
        """Frames per second."""
        return self._generator.fps

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of every picture."""
        return self._generator.size

    @property
    def names(self) -> list[str]:
        """Of the pictures of each moment."""
        return [*self.begin.memories, *([TRUTH] if self.steers else [])]

    @torch.inference_mode()
    def start(self) -> Moment | None:
        """The frames that are given; None where there are none."""
        prefix: Video | None = None
        drawn: Drawn | None = None
        if self._world is not None:
            self._stage = self._world.stage(self.begin.world_seed, self.begin.number)
            self._way = self._stage.planned(self.begin.given or 1)
            if self.begin.given:
                drawn = self._stage.film(self._way).part(0, self.begin.given)
                prefix = drawn.video
        elif self.begin.picture is not None:
            prefix = self.begin.picture[None].float() / 255
        for name, memory in self.begin.memories.items():
            self._lanes[name] = self._lane(memory, prefix)
        if prefix is None:
            return None
        videos = {}
        for name, lane in self._lanes.items():
            assert lane.stream.given is not None
            videos[name] = lane.stream.decode(lane.stream.given)[0]
        self.given = len(next(iter(videos.values())))
        return self._moment(videos, drawn)

    @torch.inference_mode()
    def step(self, keys: Sequence[Collection[str]] = ((),)) -> Moment:
        """The next block.

        Args:
            keys: those of `cf.data.world.steered.KEYS` that are held in each of its frames; the
                last ones hold on.
        """
        count = self._coming()
        drawn = None
        if self.steers:
            drawn = self._walked([keys[min(i, len(keys) - 1)] for i in range(count)])
        videos: dict[str, Tensor] = {}
        for name, lane in self._lanes.items():
            videos[name] = lane.stream.decode(lane.stream.denoise())[0]
        return self._moment(videos, drawn)

    @torch.inference_mode()
    def say(self, text: str, switch_name: str, switch: Switch) -> None:
        """Let another text hold from the next block on.

        Args:
            text: what to show.
            switch_name: of the switch, for the record.
            switch: what becomes of the past.

        Raises:
            ValueError: the network takes no text, this is none, nothing is generated yet, or the
                switch does not fit a memory; nothing is changed then.
        """
        if not self.takes_text:
            raise ValueError("this network takes no text")
        text = text_from(text, "prompt")
        if self.frames == self.given or (self.texts and self.texts[-1][0] == self.frames):
            raise ValueError("a text holds for one block at least: say the next one after it")
        cond = self._generator.conditioning([text])
        for lane in self._lanes.values():
            lane.stream.try_switch(cond, switch)
        for lane in self._lanes.values():
            lane.stream.say(lane.stream.shown, cond, switch)
        self.texts.append((self.frames, text, switch_name))

    def _check(self) -> None:
        """Refuse what cannot begin."""
        begin, codec = self.begin, self._generator.codec
        if not 1 <= len(begin.memories) <= 2:
            raise ValueError(f"a session has one or two memories, got {len(begin.memories)}")
        for memory in begin.memories.values():
            if memory is not None:
                memory.check_block(self._block)
        if not self.steers:
            return
        if codec.time_stride != 1:
            raise ValueError(
                f"this network has {codec.time_stride} frames in a latent, and where a camera goes "
                "is told for each latent; play one of a codec that keeps every frame"
            )
        if not begin.given and self._generator.pictured:
            raise ValueError("this network is an image-to-video model: give given_seconds above 0")
        if begin.given % self._block:
            raise ValueError(
                f"given={begin.given} must be a multiple of the {self._block} frames of a block"
            )
        if begin.picture is not None:
            raise ValueError("this network walks through a drawn world, which begins as it is")

    def _lane(self, memory: Memory | None, prefix: Video | None) -> _Lane:
        generator = self._generator
        if memory is not None:
            generator = replace(generator, rollout=replace(generator.rollout, memory=memory))
        if not self.steers and (conditioned := generator.shown(prefix)):
            generator, prefix = conditioned, None
        if self.steers:  # an image-to-video network is shown where the world begins
            cond = generator.told(self._stage.film(self._way), self.begin.text)
        else:
            cond = generator.conditioning([self.begin.text if self.takes_text else ""])
        stream = generator.begin(prefix, [(0, cond)], self.begin.seed, [0])
        watcher = None if self._world is None else recollection_of(self._world, generator.fps)
        return _Lane(generator, stream, watcher)

    def _coming(self) -> int:
        """Frames that the next block will have."""
        lane = next(iter(self._lanes.values()))
        codec, latents = self._generator.codec, lane.stream.state.context.start
        return codec.video_frames(latents + self._block) - codec.video_frames(latents)

    def _walked(self, keys: Sequence[Collection[str]]) -> Drawn:
        """Move the camera, tell every memory's network of it, and draw what the world shows."""
        for i, pressed in enumerate(keys):
            at, edge = self._way[-1], (self.frames + i - self.given) % self._block == 0
            frame_keys = tuple(key for key in KEYS if key in pressed)
            if self.frames + i:  # the first frame of all stands where the plan begins
                self._way.append(self._stage.moved(at, frame_keys, edge))
            self.played.append(frame_keys)
        film = self._stage.film(self._way)
        for lane in self._lanes.values():
            lane.stream.steer(film.control, film.origin)
        return film.part(self.frames, self.frames + len(keys))

    def _moment(self, videos: dict[str, Tensor], drawn: Drawn | None) -> Moment:
        pictures = {name: pictures_of(video).cpu() for name, video in videos.items()}
        recall: dict[str, list[Recalled | None]] = {}
        for name, lane in self._lanes.items():
            frames = videos[name].float().cpu()
            recall[name] = [None] * len(frames)
            if drawn is not None and lane.recollection is not None:
                recall[name] = lane.recollection.watch(frames, drawn, self.given)
        if drawn is not None:
            pictures[TRUTH] = pictures_of(drawn.video[0])
        first, is_given = self.frames, not self.frames and self.given > 0
        self.frames += len(next(iter(pictures.values())))
        context_frames = {
            name: self._held(lane.stream.state.context) for name, lane in self._lanes.items()
        }
        return Moment(first, pictures, recall, context_frames, is_given)

    def _held(self, context: Context) -> list[int]:
        """Numbers of the frames, one of each latent, that a context is made of."""
        frames = set(context.frames)
        for layer in context.layers[:1]:
            times = layer.ids[0, :, 0]
            if layer.valid is not None:
                times = times[layer.valid[0]]
            frames |= {round(t) for t in times.unique().tolist()}
        last = context.start - 1
        codec = self._generator.codec
        return [codec.video_frames(frame + 1) - 1 for frame in sorted(frames) if 0 <= frame <= last]
