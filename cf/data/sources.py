"""The videos of a folder that clips are cut from, and why others are left out."""

import logging
import math
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal, NamedTuple

from tqdm import tqdm

from cf.data.captions import caption_of
from cf.data.order import held_out
from cf.video.cuts import shots_of
from cf.video.footage import conversions_told
from cf.video.lengths import Lengths, VideoLength
from cf.video.listing import listed_in, name_in
from cf.video.naming import SUFFIXES, shown
from cf.video.reader import UnreadableVideo

log = logging.getLogger(__name__)

Cuts = Literal["keep", "split"]
_ROUNDING = 1e-6  # of a picture


class Source(NamedTuple):
    """A usable video.

    Attributes:
        name: its path inside the folder, with forward slashes.
        pictures: how many pictures it gives at the clips' frame rate.
        prompt: its caption; empty without one.
        shots: first picture and number of pictures of each part that clips may lie in; empty where
            they may lie anywhere.
        kinds: what of its footage is converted when it is read; empty if nothing is.
    """

    name: str
    path: Path
    pictures: int
    prompt: str
    shots: tuple[tuple[int, int], ...] = ()
    kinds: tuple[str, ...] = ()

    def first(self, place: int, clip_frames: int) -> int:
        """Where a clip begins, the places where one can begin counted over all shots."""
        for start, pictures in self.shots:
            count = pictures - clip_frames + 1
            if place < count:
                return start + place
            place -= count
        assert not self.shots, "no such place"
        return place

    def places(self, clip_frames: int) -> int:
        """How many there are."""
        parts = self.shots or ((0, self.pictures),)
        return sum(pictures - clip_frames + 1 for _, pictures in parts)


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
        infos = [*tqdm(looks, "checking videos", len(videos), leave=False, delay=2, disable=hidden)]
    lengths.keep()
    failures = {n: look for n, look in zip(names, infos, strict=True) if isinstance(look, str)}
    sources = [
        Source(name, path, look.pictures(fps), caption_of(path, folder), kinds=look.kinds)
        for name, path, look in zip(names, videos, infos, strict=True)
        if not isinstance(look, str)
    ]
    converted = conversions_told([source.kinds for source in sources])
    if progress and converted:
        log.info("%s", converted)
    if cuts == "split":
        parts = tqdm(sources, "finding cuts", leave=False, delay=2, disable=hidden)
        within = [_within_shots(source, clip_frames, fps) for source in parts]
        failures |= {
            source.name: outcome
            for source, outcome in zip(sources, within, strict=True)
            if isinstance(outcome, str)
        }
        sources = [outcome for outcome in within if isinstance(outcome, Source)]
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
    train, out = held_out([source.name for source in sources], fraction)
    if train == out or not out:
        return list(sources), [source for source in sources if source.name in out]
    return sorted(s for s in sources if s.name in train), sorted(
        s for s in sources if s.name in out
    )


def listing(failures: dict[str, str], most: int = 20) -> str:
    """Names and reasons, one to a line, at most `most` of them."""
    lines = [f"  {name}: {reason}" for name, reason in sorted(failures.items())]
    if len(lines) > most:
        lines[most:] = [f"  and {len(lines) - most} more"]
    return "\n".join(lines)


def _look(lengths: Lengths, path: Path, clip_frames: int, fps: float) -> VideoLength | str:
    """How long a file is, or why it gives no clip."""
    try:
        length = lengths.of(path)
    except UnreadableVideo as error:
        return error.reason
    if length.pictures(fps) < clip_frames:
        return f"it lasts {length.end:.2f} s and a clip {clip_frames / fps:.2f} s"
    return length


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
