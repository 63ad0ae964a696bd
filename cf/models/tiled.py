"""A codec that works on overlapping tiles of a picture, one after the other, to save memory."""

from collections.abc import Callable, Iterator, Sequence
from itertools import product
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from cf.models.codec import Codec, DecoderStream, EncoderStream, Pixels
from cf.types import Latents

Span = tuple[int, int]
_OVERLAP = 4  # a tile shares the fourth part of its side with the next one, as in diffusers


class Tiled(Codec):
    """Another codec, tile by tile; where tiles overlap, one fades into the other.

    What a codec sees of a whole picture at once (the attention in Wan's middle block) it sees of a
    tile only, so that colours may differ slightly from those of a whole picture.

    Attributes:
        codec: the codec of each tile.
        side: pixels along a side of a tile.
    """

    def __init__(self, codec: Codec, side: int) -> None:
        super().__init__()
        if side < 2 * _OVERLAP * codec.space_stride or side % codec.space_stride:
            least = 2 * _OVERLAP * codec.space_stride
            raise ValueError(
                f"tile={side} must be a multiple of {codec.space_stride} and at least {least}"
            )
        self.codec, self.side = codec, side
        self.channels, self.time_stride = codec.channels, codec.time_stride
        self.space_stride = codec.space_stride

    def encoder(self) -> EncoderStream:
        """See `Codec.encoder`; every tile has a stream of its own."""
        streams: dict[int, EncoderStream] = {}

        def encode(video: Pixels) -> Latents:
            self.check_video(video, started=bool(streams))
            grid = _grid(video.shape[-2:], self.side)

            def tile(number: int) -> Latents:
                (top, bottom), (left, right) = grid[number]
                stream = streams.setdefault(number, self.codec.encoder())
                return stream(video[..., top:bottom, left:right])

            return _joined(tile, grid, lambda at: at // self.space_stride)

        return encode

    def decoder(self) -> DecoderStream:
        """See `Codec.decoder`; every tile has a stream of its own."""

        def decode(latents: Latents, state: list[Any]) -> Pixels:
            self.check_latents(latents)
            grid = _grid(latents.shape[-2:], self.side // self.space_stride)
            state.extend([] for _ in range(len(grid) - len(state)))

            def tile(number: int) -> Pixels:
                (top, bottom), (left, right) = grid[number]
                part = latents[..., top:bottom, left:right]
                return self.codec.decoder().step(part, state[number])

            return _joined(tile, grid, lambda at: at * self.space_stride)

        return DecoderStream(decode)


def _joined(
    tile: Callable[[int], Tensor], grid: Sequence[tuple[Span, Span]], to: Callable[[int], int]
) -> Tensor:
    """Tiles, made one after the other, on one picture; `to` says where a place comes to lie."""
    height, width = (to(max(span[axis][1] for span in grid)) for axis in (0, 1))
    out: Tensor | None = None
    total: Tensor | None = None
    for number, spans in enumerate(grid):
        part = tile(number)
        (top, bottom), (left, right) = ((to(a), to(b)) for a, b in spans)
        share = _fading(bottom - top, top > 0, bottom < height, part)[:, None]
        share = share * _fading(right - left, left > 0, right < width, part)
        if out is None or total is None:
            out = part.new_zeros(*part.shape[:-2], height, width)
            total = part.new_zeros(height, width)
        out[..., top:bottom, left:right] += part * share
        total[top:bottom, left:right] += share
    assert out is not None
    assert total is not None
    return out / total


def _fading(length: int, before: bool, after: bool, like: Tensor) -> Float[Tensor, " length"]:
    """How much a tile counts along a side: less towards its neighbours."""
    ramp = length // _OVERLAP
    share = like.new_ones(length)
    rise = (torch.arange(ramp, device=like.device, dtype=like.dtype) + 1) / (ramp + 1)
    if before:
        share[:ramp] = rise
    if after:
        share[length - ramp :] = rise.flip(0)
    return share


def _grid(size: Sequence[int], side: int) -> list[tuple[Span, Span]]:
    rows, columns = (list(_spans(length, side)) for length in size)
    return list(product(rows, columns))


def _spans(length: int, side: int) -> Iterator[Span]:
    """Overlapping spans of one length that cover all; a short length is one span."""
    start, step = 0, side - side // _OVERLAP
    while start + side < length:
        yield start, start + side
        start += step
    yield max(length - side, 0), length
