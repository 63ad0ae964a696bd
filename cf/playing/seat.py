"""One page's place at the server: its session, the frames that were shown, and how it is paced."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cf.playing.maker import Maker, Wish
from cf.playing.messages import packed
from cf.playing.pictures import decoded, encoded
from cf.playing.session import TRUTH, Moment, Session

log = logging.getLogger("cf.play")
_MOST_BYTES = 2**29
"""Of the pictures of a session, which are kept to be shown again and saved."""
_MOST_HELD = 64
"""Frames of a context that are told; more are thinned out."""
_SAVE_EVERY = 10.0
_UNSEEN = 2
"""Blocks that may be on their way to a page: one that is shown and one that comes after it."""


@dataclass
class Seat:
    """A session that a page plays, and what outlives the page's connection.

    Attributes:
        folder: where its files go.
        most_frames: after which it ends.
        held: keys that are down.
        tapped: keys that went down and up since the last block.
        heard: number of the page's last message of keys.
        running: whether time goes on.
        early: the next block is wanted at once.
        ended: why no more frames come; empty while they do.
    """

    maker: Maker
    folder: Path
    most_frames: int
    name: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    held: tuple[str, ...] = ()
    tapped: tuple[str, ...] = ()
    heard: int = 0
    running: bool = False
    early: bool = False
    ended: str = ""
    session: Session | None = None
    files: dict[str, Path] = field(default_factory=dict)
    left: float = field(default_factory=time.monotonic)
    connection: Any = None
    _shown: dict[str, list[bytes]] = field(default_factory=dict)
    _heads: list[dict[str, Any]] = field(default_factory=list)
    _bytes: int = 0
    _seen: int = 0
    _takes: int = 0
    _written: float = 0.0

    @property
    def frames(self) -> int:
        """That there are."""
        return len(next(iter(self._shown.values()), ()))

    def begin(self, wish: Wish) -> list[bytes]:
        """Begin anew; what is sent at once.

        Raises:
            ValueError: what is wished for cannot be.
        """
        session = self.maker.session(wish)
        begun = session.start()
        self.write()  # of the session before
        self.session, self._takes = session, self._takes + 1
        self._shown = {name: [] for name in session.names}
        self._heads, self._bytes, self._seen, self.ended = [], 0, 0, ""
        self.held, self.tapped, self.early = (), (), False
        return [] if begun is None else [self._kept(begun)]

    @property
    def waits(self) -> bool:
        """Whether the page still has to show what it was sent."""
        behind = [head for head in self._heads[-_UNSEEN - 1 :] if head["first"] > self._seen]
        return len(behind) >= _UNSEEN

    def seen(self, frame: int) -> None:
        """The page shows this frame."""
        self._seen = max(self._seen, min(frame, self.frames))

    def keys(self, held: Sequence[str], tapped: Sequence[str], at: int) -> None:
        """Keys are pressed or let go; a new press is heard at once."""
        pressed = set(held) | set(tapped)
        self.early = self.early or bool(pressed - set(self.held)) or set(held) != set(self.held)
        self.held = tuple(held)
        self.tapped = tuple({*self.tapped, *tapped})
        self.heard = at

    def step(self) -> bytes:
        """The next block as it is sent; run in the one thread that makes frames.

        Raises:
            ValueError: the network, its memory and its switch do not go together after all.
        """
        assert self.session is not None
        keys = [{*self.held, *self.tapped}, self.held]
        self.tapped, self.early, heard = (), False, self.heard
        began = time.perf_counter()
        moment = self.session.step(keys)
        seconds = time.perf_counter() - began
        data = self._kept(moment, heard=heard, milliseconds=round(1000 * seconds, 1))
        if self.frames >= self.most_frames:
            self.ended = f"The session is {self.frames / self.session.fps:g} seconds long: its end."
        elif self._bytes > _MOST_BYTES:
            self.ended = "The session's pictures fill half a gigabyte: its end. Save it."
        if time.monotonic() - self._written > _SAVE_EVERY:
            self.write()
        return data

    def again(self, wanted: Sequence[int]) -> bytes:
        """Frames that were shown before."""
        frames = [frame for frame in dict.fromkeys(wanted) if frame < self.frames]
        pictures = [self._shown[name][frame] for frame in frames for name in self._shown]
        return packed({"again": frames, "names": list(self._shown)}, pictures)

    def history(self) -> dict[str, Any]:
        """What a page that comes back must know: recall of every frame, without pictures."""
        recall: dict[str, list[Any]] = {}
        for head in self._heads:
            for name, values in head["recall"].items():
                recall.setdefault(name, []).extend(values)
        context_frames = self._heads[-1]["held"] if self._heads else {}
        return {"frames": self.frames, "recall": recall, "held": context_frames}

    def write(self) -> Path | None:
        """Save session.json as it is now; None where nothing was played."""
        if self.session is None or self.frames <= self.session.given:
            return None
        self._written = time.monotonic()
        path = self.folder / f"{self.name[:6]}-{self._takes}" / "session.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        self.maker.played(self.session).write(path)
        return path

    def save(self) -> dict[str, Path]:
        """Save the session and a video of each memory; the files by name.

        Raises:
            ValueError: nothing was played yet.
        """
        import torch

        from cf.video.writer import VideoWriter

        path = self.write()
        if path is None or self.session is None:
            raise ValueError("nothing was played yet: there is nothing to save")
        paths, letters = {"session.json": path}, iter("ab")
        scale = max(256 // max(self.session.size), 1)
        for name, pictures in self._shown.items():
            file = "truth.mp4" if name == TRUTH else f"memory_{next(letters)}.mp4"
            size = self.session.size
            with VideoWriter(path.with_name(file), self.session.fps, size, scale) as writer:
                for first in range(0, len(pictures), 64):
                    some = [decoded(picture, size)[0] for picture in pictures[first : first + 64]]
                    writer.write(torch.stack(some))
            paths[file] = path.with_name(file)
        self.files |= {f"{path.parent.name}/{name}": target for name, target in paths.items()}
        return paths

    def _kept(self, moment: Moment, **more: Any) -> bytes:
        """Keep what is shown, and say it."""
        pictures = {
            name: [encoded(picture) for picture in x] for name, x in moment.pictures.items()
        }
        for name, data in pictures.items():
            self._shown[name] += data
            self._bytes += sum(map(len, data))
        recall = {
            name: [value and [round(value.share, 4), round(value.seconds, 3)] for value in values]
            for name, values in moment.recall.items()
        }
        context_frames = {name: thinned(frames) for name, frames in moment.held.items()}
        head = {
            "first": moment.first,
            "recall": recall,
            "held": context_frames,
            "given": moment.given,
        }
        self._heads.append(head)
        order = [data[i] for i in range(moment.frames) for data in pictures.values()]
        return packed({**head, "count": moment.frames, "names": list(pictures), **more}, order)


def thinned(frames: Sequence[int], most: int = _MOST_HELD) -> dict[str, Any]:
    """How many there are, and evenly chosen ones if they are too many.

    >>> thinned([1, 2, 3]), thinned(range(100), 3)
    ({'count': 3, 'frames': [1, 2, 3]}, {'count': 100, 'frames': [0, 50, 99]})
    """
    if len(frames) <= most:
        return {"count": len(frames), "frames": list(frames)}
    at = [round(i * (len(frames) - 1) / (most - 1)) for i in range(most)]
    return {"count": len(frames), "frames": [frames[i] for i in at]}
