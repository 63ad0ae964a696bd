"""Still pictures read from files: upright, cover-scaled and centre-cropped."""

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from cf.system.opencv import cv2
from cf.video.container import UnreadableVideo, file_bytes, refuse_shape

_CHECKED = {"JPEG", "PNG", "WEBP", "GIF", "BMP", "AVIF"}


def read_image(path: str | Path, size: Sequence[int] | None = None) -> Float[Tensor, "1 3 h w"]:
    """A still picture in [0, 1], turned as its EXIF says, cover-scaled and centre-cropped.

    Raises:
        UnreadableVideo: the file is missing or not a picture.
    """
    rgb = decoded_picture(path)
    target = (rgb.shape[0], rgb.shape[1]) if size is None else pair(size)
    return torch.from_numpy(fitted(rgb, target))[None].float() / 255


def fitted(rgb: UInt8[np.ndarray, "h w 3"], size: tuple[int, int]) -> UInt8[np.ndarray, "3 h2 w2"]:
    """A picture scaled until it covers a size, and cropped about its centre, as planes.

    Args:
        rgb: the picture.
        size: height and width.
    """
    height, width = cover((rgb.shape[0], rgb.shape[1]), size)
    area = cv2.INTER_AREA if height < rgb.shape[0] else cv2.INTER_CUBIC
    rgb = np.asarray(cv2.resize(rgb, (width, height), interpolation=area), np.uint8)
    return np.stack([_crop(plane, size) for plane in cv2.split(rgb)])


def decoded_picture(path: str | Path) -> UInt8[np.ndarray, "h w 3"]:
    """A still picture in bytes, red first, turned as its EXIF says.

    Args:
        path: of the file.

    Raises:
        UnreadableVideo: the file is missing or not a picture.
    """
    path = Path(path)
    file_bytes(path)
    rgb = _turned(path) if _refuse_picture(path) == "AVIF" else _decoded(path)
    refuse_shape(path, *rgb.shape[:2])
    return rgb


def _decoded(path: Path) -> UInt8[np.ndarray, "h w 3"]:
    data = np.frombuffer(path.read_bytes(), np.uint8)
    try:
        image = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    except cv2.error:
        image = None
    if image is None:
        raise UnreadableVideo(path, "it is not a picture that can be decoded")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def _turned(path: Path) -> UInt8[np.ndarray, "h w 3"]:
    """An AVIF, whose container says how it is turned, which OpenCV does not heed."""
    with Image.open(path) as image:
        return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))


def _refuse_picture(path: Path) -> str | None:
    """The format; refuses what is too large by its header, before memory is taken, or not whole."""
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(path) as image:
            width, height = image.size
            refuse_shape(path, height, width)
            if image.format in _CHECKED:  # OpenCV fills with grey what was cut off
                image.load()
            return image.format
    except Image.DecompressionBombError:
        raise UnreadableVideo(path, "it has too many pixels for a picture") from None
    except UnidentifiedImageError:
        return None  # OpenCV reads more formats, and says what it cannot read
    except (OSError, SyntaxError, EOFError, OverflowError) as error:
        raise UnreadableVideo(path, f"it is cut off or damaged: {error}") from None


def pair(size: Sequence[int]) -> tuple[int, int]:
    """Height and width, checked.

    Args:
        size: as it was given.

    Raises:
        ValueError: it is no pair of positive numbers.
    """
    if len(size) != 2 or min(size) < 1:
        raise ValueError(f"size is (height, width) in pixels; got {tuple(size)}")
    return size[0], size[1]


def cover(source: tuple[int, int], target: tuple[int, int]) -> tuple[int, int]:
    """The size to which `source` is scaled, its shape kept, so that it covers `target`.

    Args:
        source: height and width.
        target: likewise.
    """
    scale = max(target[0] / source[0], target[1] / source[1])
    return max(target[0], round(source[0] * scale)), max(target[1], round(source[1] * scale))


def _crop(plane: UInt8[np.ndarray, "h w"], target: tuple[int, int]) -> UInt8[np.ndarray, "h2 w2"]:
    top = (plane.shape[0] - target[0]) // 2
    left = (plane.shape[1] - target[1]) // 2
    return plane[top : top + target[0], left : left + target[1]]
