"""H.264 files that can be watched while they are written and survive a killed writer."""

import contextlib
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import av
import numpy as np
import torch
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter
from av.video.stream import VideoStream
from jaxtyping import Float, UInt8
from torch import Tensor

from cf.files.atomic import replacing

_BT709 = 1  # in the numbering of the H.264 standard


class VideoWriter:
    """Frames in, an mp4 out; use it as a context manager.

    While it is open the file is a fragmented mp4, playable up to its last complete fragment (at
    most a second) even if the process is killed; closing turns it into a plain mp4 that starts
    at once in a browser. H.264 needs even sizes, so an odd one grows by a repeated row or column.

    Attributes:
        path: the file, playable from the first fragment on.
        fps: frames per second.
        size: height and width of the frames that it takes.
        scale: whole factor by which each pixel is repeated, so that small frames can be seen.
    """

    def __init__(self, path: str | Path, fps: float, size: tuple[int, int], scale: int = 1) -> None:
        if fps <= 0 or scale < 1 or min(size) < 1:
            raise ValueError(
                f"a video needs fps > 0, scale >= 1 and a size; got {fps}, {scale}, {size}"
            )
        self.path, self.fps, self.size, self.scale = Path(path), fps, size, scale
        self._frames = 0
        self._scaler = VideoReformatter()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._container = av.open(
            str(self.path),
            "w",
            format="mp4",
            options={
                "movflags": "frag_keyframe+empty_moov+default_base_moof",
                "flush_packets": "1",
            },
        )
        self._stream: VideoStream | None = self._add_stream()

    def _add_stream(self) -> VideoStream:
        rate = Fraction(self.fps).limit_denominator(1001)
        self._tick = 1 / rate
        # zerolatency: what has been written is in the file, not in the encoder's look-ahead.
        options = {"crf": "18", "preset": "veryfast", "tune": "zerolatency"}
        stream = self._container.add_stream("libx264", rate=rate, options=options)
        assert isinstance(stream, VideoStream)
        height, width = (side * self.scale for side in self.size)
        stream.height, stream.width = height + height % 2, width + width % 2
        stream.pix_fmt = "yuv420p"
        codec = stream.codec_context
        codec.gop_size = max(1, round(self.fps))
        codec.time_base = self._tick
        codec.colorspace = codec.color_primaries = codec.color_trc = _BT709
        codec.color_range = ColorRange.MPEG
        return stream

    def write(self, frames: Float[Tensor, "t 3 h w"]) -> None:
        """Append any number of frames in [0, 1]; values outside are clipped.

        Raises:
            ValueError: the frames have another size, are not finite, or the writer is closed.
        """
        if self._stream is None:
            raise ValueError(f"{self.path} is closed and takes no more frames")
        if tuple(frames.shape[-2:]) != tuple(self.size):
            raise ValueError(
                f"{self.path} takes frames of {self.size}; got {tuple(frames.shape[-2:])}"
            )
        frames = frames.detach().to("cpu", torch.float32)
        if not frames.isfinite().all():
            raise ValueError(f"frames for {self.path} hold values that are not finite")
        pictures = (frames.clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
        for picture in pictures:
            frame = self._scaler.reformat(
                VideoFrame.from_ndarray(self._enlarge(picture), "rgb24"),
                format="yuv420p",
                dst_colorspace=Colorspace.ITU709,
                dst_color_range=ColorRange.MPEG,
                threads=1,
            )
            frame.pts, frame.time_base = self._frames, self._tick
            self._container.mux(self._stream.encode(frame))
            self._frames += 1

    def _enlarge(self, picture: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h2 w2 3"]:
        picture = picture.repeat(self.scale, 0).repeat(self.scale, 1)
        odd = [(0, side % 2) for side in picture.shape[:2]]
        return np.ascontiguousarray(np.pad(picture, [*odd, (0, 0)], mode="edge"))

    def close(self) -> None:
        """Finish the file; does nothing the second time.

        Raises:
            ValueError: no frame was written; the file is removed.
        """
        if self._stream is None:
            return
        if self._frames:
            self._container.mux(self._stream.encode(None))
        self._stream = None
        self._container.close()
        if not self._frames:
            self.path.unlink(missing_ok=True)
            raise ValueError(f"no frames were written to {self.path}")
        _make_plain(self.path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()
        else:  # keep what was written, and let the first error be the one that is seen
            with contextlib.suppress(Exception):
                self.close()


def _make_plain(path: Path) -> None:
    """Rewrite a fragmented mp4, without encoding again, as one whose index comes first."""
    with (
        replacing(path) as finished,
        av.open(str(path)) as source,
        av.open(str(finished), "w", format="mp4", options={"movflags": "faststart"}) as target,
    ):
        template = source.streams.video[0]
        stream = target.add_stream_from_template(template)
        for packet in source.demux(template):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
