"""Video files opened with PyAV: only files, only formats of videos, only pictures that fit."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from cf.files.downloads import unfinished
from cf.video.naming import joined_jpegs, shown
from cf.video.numbered import A_FOLDER_OF_THEM, PICTURES

MOST_PIXELS = 2**26
"""Of a picture, so that a header cannot ask for more memory than there is; 8K has half of it."""
MOST_STRETCHED = 40
"""Times that one side of a picture may be as long as the other."""
MOST_SECONDS = 1e6
"""That a video may claim to last."""
_MOST_DELAYED = 8  # frames that are shown after one that was cut off, and stand before it
_THREADED_PIXELS = 2**16
"""A picture that has fewer is decoded in less time than it takes to wake a thread for a slice."""
_FORMATS = (
    "mov,matroska,webm,avi,mpegts,mpeg,mpegvideo,m4v,h264,hevc,vc1,obu,ivf,flv,live_flv,asf,ogg,"
    "gif,apng,nut,mxf,dv,mjpeg,rm,wtv,swf,yuv4mpegpipe,webp,webp_pipe"
)
"""Not among them: playlists, which name further files to open."""
_SHORT_IN_APNG = {"max_fps": "90", "default_fps": "10"}
"""The rule of `shown_for`, which FFmpeg has for APNG alone."""
# Of titles in other encodings; PyAV 19 reads them by itself.
_OF_METADATA: dict[str, Any] = (
    {"metadata_errors": "replace"} if int(av.__version__.split(".")[0]) < 19 else {}
)
_ENCRYPTED = "it is encrypted; give a copy that was made without protection (DRM)"
_HEAD = 2**16  # bytes, in which a file in fragments has its header
READING = {"format_whitelist": _FORMATS, "protocol_whitelist": "file", **_SHORT_IN_APNG}
"""How FFmpeg opens a file of which nothing is known."""


class UnreadableVideo(ValueError):  # noqa: N818 - it names the video's state, as in its reports
    """A video or picture that cannot be used, with the file and the reason.

    Attributes:
        path: the file.
        reason: what is wrong with it, as the end of a sentence that begins with its name.
    """

    def __init__(self, path: str | Path, reason: str) -> None:
        super().__init__(str(path), reason)  # both as args, so that it travels between processes
        self.path = Path(path)
        self.reason = reason

    def __str__(self) -> str:
        return f"{shown(self.path)}: {self.reason}"


class _EncryptedError(OSError):
    """A packet is encrypted; `opened_video` names the file."""


@dataclass(frozen=True)
class Rotation:
    """How a decoded frame becomes upright: transpose, then mirror."""

    transpose: bool
    mirror_rows: bool
    mirror_columns: bool


_TURNS = {
    0: Rotation(False, False, False),
    90: Rotation(True, True, False),
    180: Rotation(False, True, True),
    270: Rotation(True, False, True),
}
"""By degrees counter-clockwise."""


@contextmanager
def opened_video(path: str | Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    """The container and its main video stream; whatever FFmpeg raises inside names the file.

    Raises:
        UnreadableVideo: the file is missing, empty or not a video, its pictures are too large, or
            decoding fails inside.
    """
    path = Path(path)
    limit = {"max_pixels": str(MOST_PIXELS)}
    try:
        if not file_bytes(path):
            raise UnreadableVideo(path, "the file is empty (0 bytes)")
        with av.open(
            os.path.abspath(path),  # so that no name is taken for an address: concat:a.mp4
            format="mjpeg" if joined_jpegs(path) else None,
            **_OF_METADATA,
            container_options=READING,
            options=limit,
        ) as container:
            stream = _main_stream(container, path)
            stream.codec_context.options = limit
            if stream.codec_context.width * stream.codec_context.height < _THREADED_PIXELS:
                stream.thread_type = "NONE"
            yield container, stream
    except (av.FFmpegError, OSError, OverflowError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        message = f"it cannot be decoded ({reason}); it is cut off, damaged or not a video"
        if isinstance(error, _EncryptedError) or _names_encryption(path):
            message = _ENCRYPTED
        if path.suffix.lower() in PICTURES:
            message = f"it is a still picture, or damaged; {A_FOLDER_OF_THEM}"
        raise UnreadableVideo(path, message) from error


def _names_encryption(path: Path) -> bool:
    """Whether an mp4 in fragments says so, which FFmpeg does not open."""
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except OSError:
        return False
    return head[4:8] == b"ftyp" and b"encv" in head and b"schm" in head


def file_bytes(path: Path) -> int:
    """Size of a regular file, which can be read again and ends.

    Raises:
        UnreadableVideo: there is none, or no name can be so.
    """
    reason = "there is no such file"
    try:
        status = os.stat(path)
    except (OSError, ValueError):  # a name may be too long, or hold a zero
        raise UnreadableVideo(path, reason) from None
    if fault := unfinished(path):
        raise UnreadableVideo(path, f"it {fault}")
    if stat.S_ISREG(status.st_mode):
        return status.st_size
    if stat.S_ISDIR(status.st_mode):
        reason = f"it is a folder, and no file; {A_FOLDER_OF_THEM}"
    else:
        reason = "it is no regular file but a device or pipe"
    raise UnreadableVideo(path, reason)


def _main_stream(container: InputContainer, path: Path) -> VideoStream:
    if not container.streams:
        raise UnreadableVideo(path, "it holds no streams; it is cut off or not a video")
    stream = container.streams.best("video")
    cover = av.stream.Disposition.attached_pic
    if not isinstance(stream, VideoStream) or stream.disposition & cover:
        raise UnreadableVideo(path, "it has no video stream, or was cut off before its index")
    if stream.codec_context is None:
        raise UnreadableVideo(path, "the codec of its pictures is not known; it may be damaged")
    height, width = stream.codec_context.height, stream.codec_context.width
    if height * width > MOST_PIXELS:
        raise UnreadableVideo(path, f"its pictures of {width} x {height} pixels are too large")
    return stream


def decoded_frames(container: InputContainer, stream: VideoStream) -> Iterator[VideoFrame]:
    """Frames from the container's position on.

    What is damaged at the end of the file was cut off and is left out; what is damaged inside, as
    where files were joined, is decoded as far as it goes. What a decoder refuses before the first
    frame, since a cut removed what it refers to, is passed over.
    """
    waiting: list[VideoFrame] = []
    for frame in _all_decoded(container, stream):
        if not waiting and not frame.is_corrupt:  # as nearly all
            yield frame
            continue
        waiting.append(frame)
        while waiting and (len(waiting) > _MOST_DELAYED or not waiting[0].is_corrupt):
            yield waiting.pop(0)
    yield from (frame for frame in waiting if not frame.is_corrupt)


def _all_decoded(container: InputContainer, stream: VideoStream) -> Iterator[VideoFrame]:
    """Frames, among them those at the end of which a decoder had to guess a part.

    A packet without a byte, as of Theora where nothing moves, shows the frame before once more.
    """
    waiting: Packet[VideoStream] | None = None
    frame: VideoFrame | None = None
    begun = False
    for packet in packets_of(container, stream):
        if not packet.size and packet.pts is not None:
            if frame is not None and not stream.codec_context.has_b_frames:
                frame.pts = packet.pts
                yield frame
            continue
        if waiting is not None and packet.size:
            yield from _tolerant(stream, waiting)
        waiting = None
        if packet.is_corrupt and packet.size:
            waiting = packet
            continue
        for frame in stream.decode(packet) if begun else _tolerant(stream, packet):
            begun = True
            yield frame


def packets_of(container: InputContainer, stream: VideoStream) -> "Iterator[Packet[VideoStream]]":
    """A stream's packets, at last an empty one without times, which decoders want as well.

    Behind that PyAV looks for streams that the file did not begin with, as of a damaged packet or a
    programme that changed, and does not find them (`IndexError`).

    Args:
        container: that is read on from where it stands.
        stream: of it.
    """
    for packet in container.demux(stream):
        if packet.has_sidedata("encryption_info"):
            raise _EncryptedError
        yield packet
        if not packet.size and packet.pts is None:
            return


def _tolerant(stream: VideoStream, packet: "Packet[VideoStream]") -> list[VideoFrame]:
    try:
        return stream.decode(packet)
    except av.InvalidDataError:
        return []


def time_base(stream: VideoStream) -> float:
    """Seconds per tick of the stream's timestamps."""
    return float(stream.time_base or Fraction(1, 1000))


def display_size(frame: VideoFrame, aspect: float) -> tuple[int, int]:
    """Height and width in square pixels, before the frame is turned upright."""
    return frame.height, max(1, round(frame.width * aspect))


def pixel_aspect(stream: VideoStream) -> float:
    """Width of a pixel in heights; 1 where the header is plainly wrong."""
    aspect = float(stream.sample_aspect_ratio or 1)
    return aspect if 0.1 < aspect < 10 else 1.0


def turn_of(frame: VideoFrame) -> Rotation:
    """How to make a frame upright, in quarter turns, from its display matrix."""
    try:
        side_data: Any = frame.side_data  # typed without the keys that it takes
        if not side_data:  # as nearly all
            return _TURNS[0]
        data = bytes(side_data["DISPLAYMATRIX"])
    except KeyError:
        return _TURNS[0]
    except ValueError:  # among it is a kind that PyAV does not know yet
        return _TURNS[round(frame.rotation / 90) * 90 % 360]
    # A pixel at (column, row) goes to (a column + c row, b column + d row).
    (a, b), (c, d) = np.frombuffer(data, np.int32).reshape(3, 3)[:2, :2].tolist()
    return Rotation(True, b < 0, c < 0) if abs(b) > abs(a) else Rotation(False, d < 0, a < 0)


def refuse_shape(path: str | Path, height: int, width: int) -> None:
    """Refuse pictures that no scaling can make useful and that take much memory in trying.

    Raises:
        UnreadableVideo: with the reason.
    """
    if height * width > MOST_PIXELS:
        raise UnreadableVideo(path, f"its pictures of {width} x {height} pixels are too large")
    if max(height, width) > MOST_STRETCHED * min(height, width):
        raise UnreadableVideo(
            path,
            f"its pictures have {width} x {height} pixels; no side may be more than "
            f"{MOST_STRETCHED} times as long as the other",
        )
