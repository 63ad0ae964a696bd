"""A video as one picture: contact sheets for reports and animated GIFs for TensorBoard."""

import io
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from cf.files.atomic import replacing
from cf.system.opencv import cv2

_CELL = (112, 320)  # least and most pixels of a cell's width: labels stay legible, sheets small
_GAP = 4
_LABEL = 18  # pixels of the strip under a frame
_PAPER, _INK = 255, 40
_THIN = 3  # a palette is chosen from every third pixel, both ways, of every frame


def contact_sheet(
    video: Float[Tensor, "t 3 h w"],
    path: str | Path | None = None,
    *,
    fps: float | None = None,
    columns: int = 8,
    count: int | None = 32,
    labels: Sequence[str] | None = None,
    most_width: int = _CELL[1],
) -> UInt8[np.ndarray, "height width 3"]:
    """Frames of a video in rows, a label under each; written as an image if `path` is given.

    Shows `count` frames, spread evenly from first to last, or all if it is None. The labels are
    seconds if `fps` is given and frame numbers otherwise, unless `labels` has one text for each
    frame shown. Frames wider than `most_width` pixels are made smaller.

    Raises:
        ValueError: there are no frames, or not one label for each that is shown.
    """
    total = video.shape[0]
    if not total:
        raise ValueError("a contact sheet needs at least one frame")
    shown = min(total, count or total)
    picks = [round(i * (total - 1) / max(1, shown - 1)) for i in range(shown)]
    if labels is None:
        labels = [f"{i}" if fps is None else f"{i / fps:.2f} s" for i in picks]
    if len(labels) != shown:
        raise ValueError(f"{shown} frames are shown but {len(labels)} labels were given")
    pictures = zip(_pictures(video[picks]), labels, strict=True)
    cells = [_cell(picture, text, most_width) for picture, text in pictures]
    columns = min(columns, shown)
    height, width = cells[0].shape[0] + _GAP, cells[0].shape[1] + _GAP
    rows = -(-shown // columns)
    sheet = np.full((rows * height + _GAP, columns * width + _GAP, 3), _PAPER, np.uint8)
    for i, cell in enumerate(cells):
        top, left = _GAP + i // columns * height, _GAP + i % columns * width
        sheet[top : top + cell.shape[0], left : left + cell.shape[1]] = cell
    if path is not None:
        kind = Image.registered_extensions()[Path(path).suffix.lower()]
        with replacing(path) as temporary:
            Image.fromarray(sheet).save(temporary, kind)
    return sheet


def gif_bytes(video: Float[Tensor, "t 3 h w"], fps: float) -> bytes:
    """An endlessly repeating animated GIF; a GIF's clock ticks in hundredths of a second.

    One palette of 256 colours serves all frames: to choose one for each takes six times as long.

    Raises:
        ValueError: there are no frames, or `fps` is not positive.
    """
    if not video.shape[0] or fps <= 0:
        raise ValueError(f"a GIF needs frames and fps > 0; got {video.shape[0]} and {fps}")
    pictures = _pictures(video)
    palette = Image.fromarray(np.concatenate(pictures[:, ::_THIN, ::_THIN])).quantize(256)
    images = [
        Image.fromarray(picture).quantize(palette=palette, dither=Image.Dither.NONE)
        for picture in pictures
    ]
    ticks = [round(i * 100 / fps) for i in range(len(images) + 1)]
    milliseconds = [max(1, stop - start) * 10 for start, stop in pairwise(ticks)]
    buffer = io.BytesIO()
    images[0].save(
        buffer,
        format="GIF",
        save_all=True,
        append_images=images[1:],
        duration=milliseconds,
        loop=0,
    )
    return buffer.getvalue()


def _pictures(video: Float[Tensor, "t 3 h w"]) -> UInt8[np.ndarray, "t h w 3"]:
    video = video.detach().to("cpu", torch.float32).nan_to_num(0).clamp(0, 1)
    return (video * 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()


def _cell(
    picture: UInt8[np.ndarray, "h w 3"], label: str, most: int
) -> UInt8[np.ndarray, "h2 w2 3"]:
    """A frame at a legible size with its label underneath."""
    height, width = picture.shape[:2]
    least = _CELL[0]
    if width < least:
        scale = -(-least // width)
        picture = picture.repeat(scale, 0).repeat(scale, 1)
    elif width > most:
        size = (most, max(1, round(height * most / width)))
        picture = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
    strip = np.full((_LABEL, picture.shape[1], 3), _PAPER, np.uint8)
    font, ink = cv2.FONT_HERSHEY_SIMPLEX, (_INK, _INK, _INK)
    cv2.putText(strip, label, (2, _LABEL - 5), font, 0.42, ink, 1, cv2.LINE_AA)
    return np.concatenate([picture, strip])
