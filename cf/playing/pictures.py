"""Pictures as bytes for a page, and back."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from cf.system.opencv import cv2

_SMALL = 160 * 160
"""Pixels up to which a picture is sent without loss: PNG is small and quick there, JPEG smears."""
_QUALITY = 92
Picture = UInt8[Tensor, "3 h w"]


def encoded(picture: Picture) -> bytes:
    """PNG of a small picture, JPEG of a larger one."""
    if picture.shape[-2] * picture.shape[-1] <= _SMALL:
        return as_png(picture)
    # Full chroma: half of it smears edges of saturated colour.
    full = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    return _bytes(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY, *full])


def as_png(picture: Picture) -> bytes:
    """Without loss."""
    return _bytes(".png", picture, [cv2.IMWRITE_PNG_COMPRESSION, 3])


def decoded(data: bytes, size: tuple[int, int]) -> UInt8[Tensor, "1 3 h w"]:
    """A picture of a known height and width; its header is read before memory is taken for it.

    Raises:
        ValueError: it is none, or of another size.
    """
    import io

    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(data), formats=("PNG", "JPEG")) as image:
            if (image.height, image.width) != tuple(size):
                raise ValueError(
                    f"a picture of {image.height} x {image.width} pixels came, and the video has "
                    f"{size[0]} x {size[1]}"
                )
            pixels = np.asarray(image.convert("RGB"))
    except (UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError):
        raise ValueError("what came is no PNG or JPEG picture") from None
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None]


def _bytes(kind: str, picture: Picture, options: list[int]) -> bytes:
    bgr = np.ascontiguousarray(picture.permute(1, 2, 0).numpy()[..., ::-1])
    _, data = cv2.imencode(kind, bgr, options)
    return bytes(data)
