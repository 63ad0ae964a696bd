"""What it costs to bring frames to a page, by the way they are packed.

    python benchmarks/transport.py

Of each way: processor time to encode a frame, bytes of a frame, and pictures that the encoder holds
back before the first comes out. Frames are those of a drawn walk, of a small network's size and of
Wan2.1's. Ways: PNG and JPEG of each frame as `cf.playing.pictures` makes them, H.264 packets as
WebCodecs takes them, and the same in fragments of one frame, as Media Source Extensions take them.
"""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Callable, Iterator
from fractions import Fraction

import av
import numpy as np
from av.video.stream import VideoStream

from cf.data.world.walk import Walk
from cf.playing.pictures import _QUALITY, _bytes, as_png
from cf.video.writer import pictures_of

SIZES = ((32, 32), (48, 64), (480, 832))
FRAMES = 12
_OPTIONS = {"crf": "18", "preset": "ultrafast", "tune": "zerolatency"}


def frames_of(size: tuple[int, int]) -> np.ndarray:
    """A walk of `FRAMES` frames (t, 3, h, w)."""
    video = Walk(size=size, num_places=1, cut=0.0).draw(0, [1], FRAMES).video[0]
    return pictures_of(video).numpy()


def _stream(container: av.container.OutputContainer, frames: np.ndarray) -> VideoStream:
    stream = container.add_stream("libx264", rate=8, options=_OPTIONS)
    assert isinstance(stream, VideoStream)
    stream.height, stream.width = frames.shape[2:]
    stream.pix_fmt = "yuv420p"
    stream.codec_context.time_base = Fraction(1, 8)
    stream.codec_context.thread_count = 1
    return stream


def packets(frames: np.ndarray) -> Iterator[int]:
    """H.264 as it leaves the encoder, a number of bytes for each frame that goes in."""
    with av.open(io.BytesIO(), "w", format="h264") as container:
        stream = _stream(container, frames)
        for i, one in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(one.transpose(1, 2, 0)))
            frame.pts, frame.time_base = i, Fraction(1, 8)
            yield sum(packet.size for packet in stream.encode(frame))


def fragments(frames: np.ndarray) -> Iterator[int]:
    """The same in mp4, a fragment for each frame."""
    target, before = io.BytesIO(), 0
    options = {"movflags": "frag_every_frame+empty_moov+default_base_moof", "flush_packets": "1"}
    with av.open(target, "w", format="mp4", options=options) as container:
        stream = _stream(container, frames)
        for i, one in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(one.transpose(1, 2, 0)))
            frame.pts, frame.time_base = i, Fraction(1, 8)
            for packet in stream.encode(frame):
                container.mux(packet)
            yield target.tell() - before
            before = target.tell()


def each(encode: Callable[..., bytes]) -> Callable[[np.ndarray], Iterator[int]]:
    """Of an encoder of single pictures."""
    import torch

    def sizes(frames: np.ndarray) -> Iterator[int]:
        for one in frames:
            yield len(encode(torch.from_numpy(one)))

    return sizes


def main() -> None:
    """Print a table."""
    from cf.system.opencv import cv2

    jpeg = [cv2.IMWRITE_JPEG_QUALITY, _QUALITY]
    full = [*jpeg, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    ways = {
        "PNG": each(as_png),
        "JPEG": each(lambda one: _bytes(".jpg", one, full)),
        "H.264 packets (WebCodecs)": packets,
        "fragmented mp4 (MSE)": fragments,
    }
    cv2.setNumThreads(1)
    sys.stdout.write(
        "| size | way | ms per frame | bytes per frame | held back |\n|---|---|---|---|---|\n"
    )
    for size in SIZES:
        frames = frames_of(size)
        for name, way in ways.items():
            list(way(frames[:2]))  # what the first call loads
            began = time.process_time()
            sizes = list(way(frames))
            spent = 1000 * (time.process_time() - began) / FRAMES
            held = next((i for i, one in enumerate(sizes) if one > 1000 or (one and i)), 0)
            cells = (f"{size[0]} x {size[1]}", name, f"{spent:.2f}", f"{sum(sizes) / FRAMES:,.0f}")
            sys.stdout.write(f"| {' | '.join(cells)} | {held} |\n")


if __name__ == "__main__":
    main()
