"""Controls of a benchmark: the truth, a still, and videos spoilt in known ways."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import ClassVar, Literal

import torch

from cf.bench.contestants.base import Contestant, Piece, asked_terms
from cf.bench.tasks.base import Request, Sample, Task, VideoSpec
from cf.seeding import seeded
from cf.settings.build import Settings, build
from cf.system.opencv import cv2

_PIECE = 8  # frames that come at once


@dataclass(frozen=True)
class Truth(Contestant):
    """The world as it is: what an oracle would make."""

    control: ClassVar[bool] = True
    in_blocks: ClassVar[bool] = False

    def terms(self, asked: VideoSpec | None) -> VideoSpec:
        """As asked."""
        return asked_terms(asked, "the truth")

    def available(self, take: Request) -> str:
        """Only worlds have a truth."""
        return "" if take.film is not None else "a prompt has no true video"

    def play(self, take: Request, device: str) -> Iterator[Piece]:
        """The drawn frames."""
        film = take.film
        assert film is not None
        yield film.part(0, take.given).video[0]
        for start in range(take.given, film.frames, _PIECE):
            yield film.part(start, min(start + _PIECE, film.frames)).video[0]


@dataclass(frozen=True)
class CopyLast(Contestant):
    """The last given frame, repeated: it costs nothing and remembers nothing."""

    control: ClassVar[bool] = True
    in_blocks: ClassVar[bool] = False

    def terms(self, asked: VideoSpec | None) -> VideoSpec:
        """As asked."""
        return asked_terms(asked, "a copied frame")

    def available(self, take: Request) -> str:
        """Only where a frame is given."""
        return "" if take.given else "a prompt has no given frame to copy"

    def play(self, take: Request, device: str) -> Iterator[Piece]:
        """A still."""
        assert take.film is not None
        frames = take.film.part(0, take.given).video[0]
        yield frames
        while True:
            yield frames[-1:].expand(_PIECE, -1, -1, -1)


@dataclass(frozen=True)
class Spoilt(Contestant):
    """Another contestant's video spoilt in a known way after its given frames.

    These must not win: a metric that they win is not measuring what it says.

    Attributes:
        of: settings of the other contestant.
        how: "freeze" after `seconds`; "loop" over the first `seconds`; "reset" to the first second
            every `seconds`; "blur" and "noise" from the beginning.
        strength: of blur, its standard deviation as a share of the shorter side; of noise, that of
            pixels in [0, 1].
    """

    of: Settings | None = None
    how: Literal["freeze", "loop", "reset", "blur", "noise"] = "freeze"
    seconds: float = 1.0
    strength: float = 0.1

    in_blocks: ClassVar[bool] = False

    def _other(self) -> Contestant:
        contestant: Contestant = build(self.of or {"_target_": f"{__name__}.Truth"}, "of")
        return contestant

    def missing(self) -> str:
        """As the other."""
        return self._other().missing()

    def terms(self, asked: VideoSpec | None) -> VideoSpec:
        """As the other."""
        return self._other().terms(asked)

    def fingerprint(self) -> str:
        """As the other."""
        return self._other().fingerprint()

    def check_task(self, asked: Task) -> None:
        """As the other."""
        self._other().check_task(asked)

    def check(self, items: Sequence[Sample], name: str) -> None:
        """As the other."""
        self._other().check(items, f"{name}.of")

    def available(self, take: Request) -> str:
        """As the other."""
        return self._other().available(take)

    def play(self, take: Request, device: str) -> Iterator[Piece]:
        """Frame by frame."""
        frames = _frames(self._other().play(take, device))
        prefix = list(islice(frames, take.given))
        if prefix:
            yield torch.stack(prefix)
        span = max(round(self.seconds * take.terms.fps), 1)
        first = max(round(take.terms.fps), 1)
        buffer = prefix[:first] if self.how == "reset" else []
        for frame, picture in enumerate(frames):
            if self.how == "blur":
                yield _blurred(picture, self.strength)[None]
            elif self.how == "noise":
                random = seeded(7, take.item.video_id, frame)
                noise = torch.randn(picture.shape, generator=random)
                yield (picture + self.strength * noise).clamp(0, 1)[None]
            elif self.how == "reset":
                buffer += [picture] if len(buffer) < first else []
                since = (len(prefix) + frame) % max(span, first + 1)
                yield (buffer[since] if since < len(buffer) else picture)[None]
            else:
                buffer.append(picture)
                yield picture[None]
                if len(buffer) == span:
                    break
        while self.how in ("freeze", "loop") and buffer:
            yield torch.stack(buffer[-1:] if self.how == "freeze" else buffer)


def _frames(pieces: Iterator[Piece]) -> Iterator[torch.Tensor]:
    for piece in pieces:
        yield from piece


def _blurred(picture: torch.Tensor, strength: float) -> torch.Tensor:
    sigma = strength * min(picture.shape[-2:])
    pixels = picture.permute(1, 2, 0).contiguous().numpy()
    return torch.from_numpy(cv2.GaussianBlur(pixels, (0, 0), sigma)).permute(2, 0, 1)
