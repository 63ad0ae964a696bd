"""Numbered clips of a folder of videos: the number alone says which file and where it starts."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypedDict

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from cf.data.sources import Source, listing
from cf.types import Video
from cf.video.reader import UnreadableVideo, read_frames

_ATTEMPTS = 20


class ClipBatch(TypedDict):
    """What a step of training or validation receives.

    Attributes:
        video: pixels in [0, 1]; in bytes until the batch is on its device.
        name: the file of each clip, relative to the folder.
        start: seconds at which each clip begins in its file.
        prompt: what the clip shows; empty where no text is beside the file.
        number: each clip's place in the sequence, counted over all processes.
        failures: files that turned out to be damaged while the batch was made, with the reason.
    """

    video: Video | UInt8[Tensor, "b t 3 h w"]
    name: list[str]
    start: Float[Tensor, " b"]
    prompt: list[str]
    number: Int[Tensor, " b"]
    failures: dict[str, str]


class Clip(NamedTuple):
    """One clip of a batch, in bytes."""

    frames: UInt8[Tensor, "t 3 h w"]
    source: Source
    start: float
    number: int
    failures: dict[str, str]


def collate(clips: Sequence[Clip]) -> ClipBatch:
    """Clips of one size as a batch, in bytes: a quarter to hand over between processes."""
    return ClipBatch(
        video=torch.stack([clip.frames for clip in clips]),
        name=[clip.source.name for clip in clips],
        start=torch.tensor([clip.start for clip in clips]),
        prompt=[clip.source.prompt for clip in clips],
        number=torch.tensor([clip.number for clip in clips]),
        failures={name: reason for clip in clips for name, reason in clip.failures.items()},
    )


@dataclass
class Clips:
    """An endless sequence of clips; clip `i` follows from the seed and `i`, whoever asks.

    Every file comes once before any comes again, in an order drawn anew each time. A clip starts
    on a whole picture of its file sampled at `fps`, so that decoded pictures can be kept and used
    again by other clips; cached or not, the clips are the same.

    Attributes:
        size: height and width in pixels.
        cache_bytes: files are kept in memory, as far as they were decoded, while they fit.
    """

    sources: Sequence[Source]
    clip_frames: int
    fps: float
    size: tuple[int, int]
    seed: int = 0
    cache_bytes: int = 0
    _kept: dict[str, tuple[UInt8[Tensor, "t 3 h w"], Bool[Tensor, " t"]]] = field(
        default_factory=dict, init=False, repr=False
    )
    _order: tuple[int, Sequence[int]] = field(default=(-1, ()), init=False, repr=False)

    def __getitem__(self, number: int) -> Clip:
        """Clip `number`; another one, chosen by the same number, where its file is damaged.

        Raises:
            ValueError: file after file could not be decoded.
        """
        failures: dict[str, str] = {}
        for attempt in range(_ATTEMPTS):
            source, first = self._choose(number, attempt)
            try:
                frames = self._read(source, first)
            except UnreadableVideo as error:
                failures[source.name] = f"from {first / self.fps:.2f} s: {error.reason}"
                continue
            return Clip(frames, source, first / self.fps, number, failures)
        raise ValueError(
            f"{_ATTEMPTS} clips in a row could not be decoded, though their files could be when "
            f"the run began:\n{listing(failures)}\nCheck that the folder is still there"
        )

    def _choose(self, number: int, attempt: int) -> tuple[Source, int]:
        """File and first picture."""
        rng = np.random.default_rng([self.seed, number, attempt])
        turn, place = divmod(number, len(self.sources))
        if self._order[0] != turn:
            shuffled = np.random.default_rng([self.seed, turn]).permutation(len(self.sources))
            self._order = turn, shuffled.tolist()
        index = rng.integers(len(self.sources)) if attempt else self._order[1][place]
        source = self.sources[int(index)]
        place = int(rng.integers(source.places(self.clip_frames)))
        return source, source.first(place, self.clip_frames)

    def _read(self, source: Source, first: int) -> UInt8[Tensor, "t 3 h w"]:
        cache = self._room_for(source)
        if cache is None:
            return read_frames(source.path, first / self.fps, self.clip_frames, self.fps, self.size)
        frames, filled = cache
        window = slice(first, first + self.clip_frames)
        missing = (~filled[window]).nonzero().flatten()
        if len(missing):
            start, stop = first + int(missing[0]), first + int(missing[-1]) + 1
            frames[start:stop] = read_frames(
                source.path, start / self.fps, stop - start, self.fps, self.size
            )
            filled[start:stop] = True
        return frames[window].clone()

    def _room_for(
        self, source: Source
    ) -> tuple[UInt8[Tensor, "t 3 h w"], Bool[Tensor, " t"]] | None:
        """What is kept of a file, empty at first; None if it does not fit any more."""
        if source.name not in self._kept:
            shape = (source.pictures, 3, *self.size)
            used_bytes = sum(frames.numel() for frames, _ in self._kept.values())
            if used_bytes + math.prod(shape) > self.cache_bytes:
                return None
            # numpy leaves pages that are never written to the operating system, torch does not
            frames = torch.from_numpy(np.zeros(shape, np.uint8))
            self._kept[source.name] = frames, torch.zeros(source.pictures, dtype=torch.bool)
        return self._kept[source.name]
