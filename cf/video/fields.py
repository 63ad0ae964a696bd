"""Interlaced pictures: two fields, taken one after the other, woven into one frame, line by line.

The first line and every second one after it, the top field, is the picture; the lines between are
kept where nothing moved and made of the top field where something did. A frame needs no other, so
that a clip shows what the whole file shows. Motion is seen by what it does: a line of the bottom
field sticks out of its two neighbours, further than out of the lines of its own field. That much is
cut off, and the line moves towards the cubic through the top field by no more than four times the
mean of it around. Median filters of this kind are Annegarn's; see de Haan and Bellers,
"Deinterlacing: an overview", Proc. IEEE 86, 1998.
"""

import numpy as np
from av.video.format import VideoFormat
from av.video.frame import VideoFrame
from jaxtyping import Shaped

from cf.system.opencv import cv2

_AROUND = (9, 5)  # samples across and lines of one field, over which combing is averaged
_ROOM = 4.0  # times that combing, by which a sample may move towards what the top field makes of it
_CUBIC = np.array([[-1], [9], [9], [-1]], np.float32) / 16
"""Of two lines above and two below, for the line in their middle."""
_BEFORE, _AFTER = -1, 1


def deinterlaced(frame: VideoFrame, woven: bool = True) -> VideoFrame:
    """A frame that is flagged as interlaced as one picture, which FFmpeg scales as a whole.

    A flagged one is scaled field by field. In a layout of which samples cannot be told apart, as of
    palettes, it is handed back.

    Args:
        frame: decoded.
        woven: whether it holds two fields; one field alone is a picture as it is.
    """
    kind = frame.format
    bits = max(part.bits for part in kind.components)
    packed = not kind.is_planar and (bits not in (8, 16) or _padded(kind))
    odd = packed or kind.has_palette or kind.is_bit_stream or kind.is_bayer or bits > 16
    if odd or min(plane.line_size for plane in frame.planes) <= 0:
        return frame
    picture = VideoFrame(frame.width, frame.height, kind.name)
    picture.colorspace, picture.color_range = frame.colorspace, frame.color_range
    picture.color_primaries, picture.color_trc = frame.color_primaries, frame.color_trc
    sample = np.dtype(np.uint16 if bits > 8 else np.uint8)
    if bits > 8 and kind.is_big_endian:
        sample = sample.newbyteorder(">")
    shared = kind.is_planar and len(frame.planes) < len(kind.components)
    most = 2 ** (8 * sample.itemsize if shared else bits) - 1  # of P010 the upper ten bits count
    for number, planes in enumerate(zip(frame.planes, picture.planes, strict=True)):
        wide = sum(part.width for part in kind.components if part.plane == number)
        old, new = (
            np.ndarray(
                (plane.height, wide),
                sample,
                memoryview(plane),
                0,
                (plane.line_size, sample.itemsize),
            )
            for plane in planes
        )
        new[...] = old
        if woven:
            _deinterlace(new, most)
    return picture


def _padded(kind: VideoFormat) -> bool:
    return kind.bits_per_pixel != kind.padded_bits_per_pixel


def _deinterlace(lines: Shaped[np.ndarray, "h w"], most: int) -> None:
    """Remake every second line, in place.

    Args:
        lines: samples of one plane; the top field begins.
        most: the largest of a sample.
    """
    native = lines.dtype.newbyteorder("=")
    top, bottom = (lines[first::2].astype(native) for first in (0, 1))
    count = len(bottom)
    if not count:
        return
    above, below = top[:count], _moved(top, _AFTER)[:count]
    low, high = cv2.min(above, below), cv2.max(above, below)
    own_before, own_after = _moved(bottom, _BEFORE), _moved(bottom, _AFTER)
    # As far as a sample sticks out of its own field, a thin line say, it may of the other.
    high = cv2.add(high, cv2.subtract(bottom, cv2.max(own_before, own_after)))
    low = cv2.subtract(low, cv2.subtract(cv2.min(own_before, own_after), bottom))
    combing = cv2.max(cv2.subtract(bottom, high), cv2.subtract(low, bottom))
    clipped = cv2.min(cv2.max(bottom, low), high)
    if combing.any():
        room = _ROOM * cv2.boxFilter(combing, cv2.CV_32F, _AROUND)
        room = np.minimum(room, most).astype(native)
        cubic = np.minimum(cv2.filter2D(top, -1, _CUBIC, None, (0, 1))[:count], most)
        clipped = cv2.min(cv2.max(cubic, cv2.subtract(clipped, room)), cv2.add(clipped, room))
    lines[1::2] = clipped


def _moved(field: Shaped[np.ndarray, "n w"], by: int) -> Shaped[np.ndarray, "n w"]:
    """In place of each line the one before or after it; the outermost stays."""
    if by == _BEFORE:
        return np.concatenate([field[:1], field[:-1]])
    return np.concatenate([field[1:], field[-1:]])
