"""What a walk shows of views that it had been given, had left, and came back to."""

from __future__ import annotations

import logging
from pathlib import Path

import torch

from cf.data.world.again import NOVEL, away
from cf.data.world.base import Film
from cf.types import Video
from cf.video.sheet import contact_sheet

log = logging.getLogger("cf.generate")
_SHOWN = 12  # views of a sheet
_LARGER = 3
_SAID = (
    "%d of %d frames show a view that was given and had been out of sight, for %.1f s on average: "
    "%.1f dB of PSNR against the truth, and %.1f dB in views that are new"
)


class Again:
    """Gathers made and true pictures of views that came back; use it for one video.

    Where the world tells no poses, or nothing was given, nothing is gathered.
    """

    def __init__(self, film: Film, given: int, fps: float) -> None:
        self._fps, self._frames = fps, film.frames
        has_past = film.path is not None and given
        self._lag = away(film.path[0], given) if has_past and film.path is not None else None
        self._chosen: set[int] = set()
        if self._lag is not None:
            back = torch.where(self._lag > 0)[0].tolist()
            count = min(len(back), _SHOWN)
            self._chosen = {back[i * (len(back) - 1) // max(count - 1, 1)] for i in range(count)}
        self._seen = 0
        self._psnr: list[torch.Tensor] = []
        self._pairs: list[torch.Tensor] = []
        self._labels: list[str] = []

    def add(self, video: Video, true: Video | None) -> None:
        """Take the next frames.

        Args:
            video: as the network made them, of one video.
            true: as the world shows them; None: nothing is true.
        """
        if true is None or self._lag is None:
            return
        error = (video[0] - true[0]).square().mean((1, 2, 3)).clamp(min=1e-10)
        self._psnr.append(-10 * error.log10())
        for i in range(video.shape[1]):
            frame = self._seen + i
            if frame in self._chosen:
                self._pairs.append(torch.cat((video[0, i], true[0, i]), 1))
                gone = int(self._lag[frame]) / self._fps
                self._labels.append(f"{frame / self._fps:.1f} s, away for {gone:.1f} s")
        self._seen += video.shape[1]

    def write(self, path: Path) -> None:
        """The sheet, made over true, and one sentence on all views that came back.

        Args:
            path: of the picture, which is not written where nothing came back.
        """
        if self._lag is None or not self._pairs:
            return
        pairs = torch.stack(self._pairs)
        pairs = pairs.repeat_interleave(_LARGER, -1).repeat_interleave(_LARGER, -2)
        contact_sheet(pairs, path, columns=4, count=None, labels=self._labels)
        psnr, back, new = torch.cat(self._psnr), self._lag > 0, self._lag == NOVEL
        mean = float(self._lag[back].float().mean()) / self._fps
        of_back, of_new = psnr[back].mean(), psnr[new].mean()
        log.info(_SAID, int(back.sum()), self._frames, mean, float(of_back), float(of_new))
        log.info("views that came back, made over true: %s", path)
