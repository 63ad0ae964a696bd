"""H.264 files that can be watched while they are written and survive a killed writer."""

import contextlib
import os
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import av
import numpy as np
import torch
from av.container import InputContainer
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter
from av.video.stream import VideoStream
from jaxtyping import Float, UInt8
from torch import Tensor

from cf.files.atomic import replacing, sync

_BT709 = 1  # in the numbering of the H.264 standard
# zerolatency: what has been written is in the file, not in the encoder's look-ahead.
_OPTIONS = {"crf": "18", "preset": "veryfast", "tune": "zerolatency"}
Packet = Any
"""`av.Packet`, which can be annotated with its stream in stubs only."""
Pictures = UInt8[Tensor, "t 3 h w"]


class Written(NamedTuple):
    """What a writer needs, besides its file, to go on as if it had never stopped.

    Attributes:
        frames: of the parts that are finished; more may be in the file.
        pending: the frames since, from which the part at hand is encoded anew.
    """

    frames: int
    pending: Pictures


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
        part_seconds: the encoder begins anew so often, so that `written` can be taken up again;
            None: it never does.
    """

    def __init__(
        self,
        path: str | Path,
        fps: float,
        size: tuple[int, int],
        scale: int = 1,
        part_seconds: float | None = None,
        begun: Written | None = None,
    ) -> None:
        """Begin a file, or go on with one of which another writer had `begun` so much.

        Raises:
            ValueError: a setting makes no video, or the file holds less than was begun.
        """
        if fps <= 0 or scale < 1 or min(size) < 1:
            raise ValueError(
                f"a video needs fps > 0, scale >= 1 and a size; got {fps}, {scale}, {size}"
            )
        self.path, self.fps, self.size, self.scale = Path(path), fps, size, scale
        self._part = None if part_seconds is None else max(1, round(part_seconds * fps))
        self._frames = self._finished = 0
        self._pending: list[UInt8[np.ndarray, "h w 3"]] = []
        self._scaler = VideoReformatter()
        self._tick = 1 / Fraction(fps).limit_denominator(1001)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if begun is None or not len(begun.pending):
            self._open(self.path)
        else:
            self._take_up(begun)

    def _open(self, path: Path) -> None:
        self._container = av.open(
            os.path.abspath(path),
            "w",
            format="mp4",
            options={
                "movflags": "frag_keyframe+empty_moov+default_base_moof",
                "flush_packets": "1",
            },
        )
        stream = self._container.add_stream("libx264", rate=1 / self._tick, options=_OPTIONS)
        assert isinstance(stream, VideoStream)
        self._encoder = stream.codec_context
        self._prepare(self._encoder)
        self._stream: VideoStream | None = stream

    def _prepare(self, encoder: VideoCodecContext) -> None:
        height, width = (side * self.scale for side in self.size)
        encoder.height, encoder.width = height + height % 2, width + width % 2
        encoder.pix_fmt = "yuv420p"
        encoder.gop_size = max(1, round(self.fps))
        encoder.time_base = self._tick
        encoder.colorspace = encoder.color_primaries = encoder.color_trc = _BT709
        encoder.color_range = ColorRange.MPEG

    def _take_up(self, begun: Written) -> None:
        """Copy the finished parts; the file is replaced once the new one holds as much."""
        with replacing(self.path) as temporary:
            self._open(temporary)
            assert self._stream is not None
            for packet in _packets(self.path, begun.frames):
                packet.stream = self._stream
                self._container.mux(packet)
            self._frames = self._finished = begun.frames
            if begun.frames:
                self._begin_part()
            self._encode(begun.pending.permute(0, 2, 3, 1).numpy())

    def write(self, frames: Float[Tensor, "t 3 h w"] | Pictures) -> None:
        """Append any number of frames: bytes, or floats in [0, 1], clipped where outside.

        Raises:
            ValueError: the frames have another size, are not finite, or the writer is closed.
        """
        if self._stream is None:
            raise ValueError(f"{self.path} is closed and takes no more frames")
        if tuple(frames.shape[-2:]) != tuple(self.size):
            raise ValueError(
                f"{self.path} takes frames of {self.size}; got {tuple(frames.shape[-2:])}"
            )
        try:
            pictures = pictures_of(frames.detach())
        except ValueError as error:
            raise ValueError(f"{error}: {self.path}") from None
        self._encode(pictures.cpu().permute(0, 2, 3, 1).numpy())

    def _encode(self, pictures: UInt8[np.ndarray, "t h w 3"]) -> None:
        for picture in pictures:
            if self._part is not None:
                if len(self._pending) == self._part:
                    self._end_part()
                self._pending.append(picture)
            frame = self._scaler.reformat(
                VideoFrame.from_ndarray(self._enlarge(picture), "rgb24"),
                format="yuv420p",
                dst_colorspace=Colorspace.ITU709,
                dst_color_range=ColorRange.MPEG,
                threads=1,
            )
            frame.pts, frame.time_base = self._frames, self._tick
            self._mux(self._encoder.encode(frame))
            self._frames += 1

    def _mux(self, packets: Sequence[Packet]) -> None:
        for packet in packets:
            packet.stream = self._stream
            self._container.mux(packet)

    def _end_part(self) -> None:
        self._mux(self._encoder.encode(None))
        self._begin_part()
        self._finished, self._pending = self._frames, []

    def _begin_part(self) -> None:
        """An encoder that knows nothing of what came before, so that it can be had again."""
        encoder: Any = av.CodecContext.create("libx264", "w")
        encoder.options = _OPTIONS
        self._prepare(encoder)
        encoder.framerate = 1 / self._tick
        encoder.flags |= av.codec.context.Flags.global_header
        self._encoder = encoder

    def written(self) -> Written:
        """What `begun` of another writer takes, once the file so far is safe on the disk.

        Raises:
            ValueError: the writer has no parts.
        """
        if self._part is None:
            raise ValueError(f"{self.path} is written without parts; give part_seconds")
        if self._frames:
            sync(self.path)
        pending = np.stack(self._pending) if self._pending else np.zeros((0, *self.size, 3), "u1")
        return Written(self._finished, torch.from_numpy(pending).permute(0, 3, 1, 2))

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
            self._mux(self._encoder.encode(None))
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


def pictures_of(frames: Float[Tensor, "*b t 3 h w"] | Pictures) -> UInt8[Tensor, "*b t 3 h w"]:
    """Frames in [0, 1] as bytes, where they are; those outside are clipped.

    Raises:
        ValueError: a value is not finite.
    """
    if frames.dtype == torch.uint8:
        return frames
    frames = frames.float()
    if not frames.isfinite().all():
        raise ValueError("frames of a video hold values that are not finite")
    return (frames.clamp(0, 1) * 255).round().to(torch.uint8)


def _packets(path: Path, frames: int) -> list[Packet]:
    """The first packets of a video, one for each frame.

    Raises:
        ValueError: there are fewer.
    """
    packets: list[Packet] = []
    with contextlib.suppress(av.FFmpegError, OSError), _read(path) as source:
        for packet in source.demux(source.streams.video[0]):
            if len(packets) == frames or packet.dts is None:
                break
            packets.append(_as_encoded(packet))
    if len(packets) < frames:
        raise ValueError(
            f"{path} holds {len(packets)} frames, and {frames} had been made when the state was "
            f"saved; it was changed since"
        )
    return packets


def _read(path: Path) -> InputContainer:
    """A file that was written here, whatever lies in its place by now."""
    return av.open(os.path.abspath(path), format="mp4")


def _as_encoded(packet: Packet) -> Packet:
    """A packet of a file as an encoder gives it: start codes in place of units' lengths."""
    data, at = bytearray(packet), 0
    while at < len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        data[at : at + 4] = b"\0\0\0\1"
        at += 4 + length
    encoded = av.Packet(bytes(data))
    encoded.pts, encoded.dts, encoded.duration = packet.pts, packet.dts, packet.duration
    encoded.time_base, encoded.is_keyframe = packet.time_base, packet.is_keyframe
    return encoded


def _make_plain(path: Path) -> None:
    """Rewrite a fragmented mp4, without encoding again, as one whose index comes first."""
    with (
        replacing(path) as finished,
        _read(path) as source,
        av.open(
            os.path.abspath(finished), "w", format="mp4", options={"movflags": "faststart"}
        ) as target,
    ):
        template = source.streams.video[0]
        stream = target.add_stream_from_template(template)
        for packet in source.demux(template):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
