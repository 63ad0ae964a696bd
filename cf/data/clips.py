"""Numbered clips of a folder of videos: the number alone says which file and where it starts."""

import math
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple, TypedDict

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor
from tqdm import tqdm

from cf.data.captions import caption_of
from cf.data.order import held_out
from cf.types import Video
from cf.video.cuts import shots_of
from cf.video.lengths import Lengths
from cf.video.listing import listed_in, name_in
from cf.video.naming import SUFFIXES, shown
from cf.video.reader import UnreadableVideo, read_frames

Cuts = Literal["keep", "split"]
_ATTEMPTS = 20
_ROUNDING = 1e-6  # of a picture


class Source(NamedTuple):
    """A usable video.

    Attributes:
        name: its path inside the folder, with forward slashes.
        pictures: how many pictures it gives at the clips' frame rate.
        prompt: the text of the .txt file beside it; empty without one.
        shots: first picture and number of pictures of each part that clips may lie in; empty where
            they may lie anywhere.
    """

    name: str
    path: Path
    pictures: int
    prompt: str
    shots: tuple[tuple[int, int], ...] = ()

    def first(self, place: int, clip_frames: int) -> int:
        """Where a clip begins, the places where one can begin counted over all shots."""
        for start, pictures in self.shots:
            here = pictures - clip_frames + 1
            if place < here:
                return start + place
            place -= here
        assert not self.shots, "no such place"
        return place

    def places(self, clip_frames: int) -> int:
        """How many there are."""
        parts = self.shots or ((0, self.pictures),)
        return sum(pictures - clip_frames + 1 for _, pictures in parts)


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


def survey(
    folder: Path,
    clip_frames: int,
    fps: float,
    progress: bool = True,
    cuts: Cuts = "keep",
    pictures_fps: float | None = None,
    setting: str = "data.pictures_fps",
) -> tuple[list[Source], dict[str, str]]:
    """Look at every video under a folder: the usable ones by name, and why the others are not.

    Lengths are kept in the user's cache; a progress bar appears after two seconds. With
    `cuts="split"` clips lie within a shot, and a video without one that is long enough is no use.

    Raises:
        ValueError: there is no such folder, or nothing in it can be used; says what to do.
    """
    if not folder.is_dir():
        raise ValueError(
            f"{folder} is not a folder; give the folder that holds your videos, or draw some "
            "with cf.data.shapes.draw_clips"
        )
    files, lengths = listed_in(folder, pictures_fps, setting), Lengths(folder)
    videos = files.videos
    if not videos:
        raise ValueError(
            f"{files.told()}; put videos ({' '.join(sorted(SUFFIXES))}) into it or into folders "
            "inside it, or draw some with cf.data.shapes.draw_clips"
        )
    names = [shown(name_in(p, folder).as_posix()) for p in videos]
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        looks = pool.map(lambda path: _look(lengths, path, clip_frames, fps), videos)
        hidden = None if progress else True
        found = [*tqdm(looks, "checking videos", len(videos), leave=False, delay=2, disable=hidden)]
    lengths.keep()
    failures = {n: look for n, look in zip(names, found, strict=True) if isinstance(look, str)}
    sources = [
        Source(name, path, look, caption_of(path))
        for name, path, look in zip(names, videos, found, strict=True)
        if isinstance(look, int)
    ]
    if cuts == "split":
        parts = tqdm(sources, "finding cuts", leave=False, delay=2, disable=hidden)
        within = [_within_shots(source, clip_frames, fps) for source in parts]
        failures |= {
            source.name: one
            for source, one in zip(sources, within, strict=True)
            if isinstance(one, str)
        }
        sources = [one for one in within if isinstance(one, Source)]
    if not sources:
        raise ValueError(
            f"no video of {len(videos)} in {folder} can be used:\n{listing(failures)}\n"
            f"A clip is {clip_frames} frames at {fps:g} fps, {clip_frames / fps:.2f} s; ask for "
            "fewer frames or a higher fps if the videos are short, and replace damaged files"
        )
    return sources, failures


def split(sources: Sequence[Source], fraction: float) -> tuple[list[Source], list[Source]]:
    """Training and validation files, by a hash of their names: new files leave old ones in place.

    At least one of several files is for validation; a single file serves both; a fraction of 0
    keeps all for training.
    """
    kept, out = held_out([source.name for source in sources], fraction)
    if kept == out or not out:
        return list(sources), [one for one in sources if one.name in out]
    return sorted(s for s in sources if s.name in kept), sorted(s for s in sources if s.name in out)


def listing(failures: dict[str, str], most: int = 20) -> str:
    """Names and reasons, one to a line, at most `most` of them."""
    lines = [f"  {name}: {reason}" for name, reason in sorted(failures.items())]
    if len(lines) > most:
        lines[most:] = [f"  and {len(lines) - most} more"]
    return "\n".join(lines)


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
        kept = self._room_for(source)
        if kept is None:
            return read_frames(source.path, first / self.fps, self.clip_frames, self.fps, self.size)
        frames, known = kept
        window = slice(first, first + self.clip_frames)
        missing = (~known[window]).nonzero().flatten()
        if len(missing):
            start, stop = first + int(missing[0]), first + int(missing[-1]) + 1
            frames[start:stop] = read_frames(
                source.path, start / self.fps, stop - start, self.fps, self.size
            )
            known[start:stop] = True
        return frames[window].clone()

    def _room_for(
        self, source: Source
    ) -> tuple[UInt8[Tensor, "t 3 h w"], Bool[Tensor, " t"]] | None:
        """What is kept of a file, empty at first; None if it does not fit any more."""
        if source.name not in self._kept:
            shape = (source.pictures, 3, *self.size)
            held = sum(frames.numel() for frames, _ in self._kept.values())
            if held + math.prod(shape) > self.cache_bytes:
                return None
            # numpy leaves pages that are never written to the operating system, torch does not
            frames = torch.from_numpy(np.zeros(shape, np.uint8))
            self._kept[source.name] = frames, torch.zeros(source.pictures, dtype=torch.bool)
        return self._kept[source.name]


def _look(lengths: Lengths, path: Path, clip_frames: int, fps: float) -> int | str:
    """How many pictures a file gives, or why it gives no clip."""
    try:
        length = lengths.of(path)
    except UnreadableVideo as error:
        return error.reason
    pictures = length.pictures(fps)
    if pictures < clip_frames:
        return f"it lasts {length.end:.2f} s and a clip {clip_frames / fps:.2f} s"
    return pictures


def _within_shots(source: Source, clip_frames: int, fps: float) -> Source | str:
    """The source with the shots that a clip fits into, or why there is none."""
    try:
        shots = shots_of(source.path)
    except UnreadableVideo as error:
        return error.reason
    parts = [
        (first, min(int(shot.stop * fps + _ROUNDING), source.pictures) - first)
        for shot in shots
        for first in (math.ceil(shot.start * fps - _ROUNDING),)
    ]
    fit = tuple(part for part in parts if part[1] >= clip_frames)
    if not fit:
        longest = max(shot.stop - shot.start for shot in shots)
        return f"its longest shot lasts {longest:.2f} s and a clip {clip_frames / fps:.2f} s"
    return source._replace(shots=fit)
