"""Words beside the pictures of a video: names of its rows, and a remark on each frame."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from cf.system.opencv import cv2

HEIGHT = 18
"""Pixels of a line of text."""
_INK = (40, 40, 40)


def line(text: str, width: int, height: int = HEIGHT) -> Float[Tensor, "3 h w"]:
    """A line of text in dark on white, from the left; what is too long is cut off.

    Args:
        text: in ASCII, which is all that the font has.
        width: pixels.
        height: pixels, in the middle of which the line stands.
    """
    strip = np.full((height, width, 3), 255, np.uint8)
    place = (3, (height + HEIGHT) // 2 - 5)
    cv2.putText(strip, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.36, _INK, 1, cv2.LINE_AA)
    return torch.from_numpy(strip).permute(2, 0, 1).float() / 255


def with_row_names(
    video: Float[Tensor, "t 3 h w"], names: Sequence[str], width: int = 56
) -> Float[Tensor, "t 3 h w2"]:
    """The video, at its left the names of its rows, which are equally high.

    Args:
        video: rows below one another.
        names: of the rows, from the top.
        width: pixels of the column of names.

    Raises:
        ValueError: the height is no multiple of the number of rows.
    """
    frames, _, height, _ = video.shape
    if height % len(names):
        raise ValueError(f"a picture of {height} pixels has no {len(names)} rows of one height")
    column = torch.cat([line(name, width, height // len(names)) for name in names], -2)
    column = column.to(video.device, video.dtype).expand(frames, -1, -1, -1)
    return torch.cat((column, video), -1)


def with_remarks(
    video: Float[Tensor, "t 3 h w"], remarks: Sequence[str]
) -> Float[Tensor, "t 3 h2 w"]:
    """The video, above each frame a line of its own.

    Args:
        video: the frames.
        remarks: one for each of them.
    """
    drawn = {text: line(text, video.shape[-1]) for text in dict.fromkeys(remarks)}
    lines = torch.stack([drawn[text] for text in remarks]).to(video.device, video.dtype)
    return torch.cat((lines, video), -2)
