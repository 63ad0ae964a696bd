"""What footage is not shown as it is stored, told once for many files, and what cannot be shown."""

from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import Any

from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from cf.files.counts import so_many
from cf.video.colour import coding_of
from cf.video.container import UnreadableVideo

INTERLACED = "interlaced"
_TOLD = {
    "HDR": "HDR and read as SDR of BT.709",
    "wide gamut": "of a wide gamut and read as BT.709",
    INTERLACED: "interlaced and deinterlaced",
}
KINDS = frozenset(_TOLD)
_CONVERTED = {0, 1, 2, 3, 4, 5, 6, 7, 9}
"""Matrices that FFmpeg's scaler converts, by their number in ISO/IEC 23091-2."""
_MATRICES = {8: "YCgCo", 10: "BT.2020 with constant luminance", 14: "ICtCp", 15: "IPT-C2"}
_UNSPECIFIED = 2
_DOLBY_TAGS = {"dvh1", "dvhe", "dva1", "dvav", "dav1"}
_DOLBY_DATA = ("DOVI_RPU_BUFFER", "DOVI_METADATA")
_FIELD_APART = {"hevc", "vvc"}
"""Codecs of which a frame that is flagged as interlaced is one field."""


def converted_from(path: Path, frame: VideoFrame, stream: VideoStream) -> tuple[str, ...]:
    """What is converted when a video is read, by its first frame.

    Args:
        path: of the file.
        frame: the first.
        stream: that it is of.

    Raises:
        UnreadableVideo: its colours cannot be converted.
    """
    refuse_colours(path, frame)
    untold = frame.colorspace == frame.color_trc == _UNSPECIFIED
    if untold and _is_dolby(frame, stream):
        raise UnreadableVideo(
            path,
            "its colours are those of Dolby Vision alone (profile 5), which need the metadata of "
            "each picture; convert it to HDR10, HLG or SDR, as FFmpeg's filter libplacebo does",
        )
    colours = coding_of(frame)
    kinds = (colours.kind,) if colours else ()
    return (*kinds, INTERLACED) if frame.interlaced_frame and weaves(stream) else kinds


def refuse_colours(path: str | Path, frame: VideoFrame) -> None:
    """Refuse colours that would come out green or pink.

    Args:
        path: of the file.
        frame: decoded.

    Raises:
        UnreadableVideo: its matrix cannot be converted.
    """
    matrix = int(frame.colorspace)
    if matrix not in _CONVERTED and not frame.format.is_rgb:
        name = _MATRICES.get(matrix, f"matrix {matrix} of ISO/IEC 23091-2")
        raise UnreadableVideo(
            path, f"its colours are stored as {name}, which is not read; convert it to BT.709"
        )


def weaves(stream: VideoStream) -> bool:
    """Whether a frame that is flagged as interlaced holds two fields.

    Args:
        stream: of the file.
    """
    return stream.codec_context.name not in _FIELD_APART


def _is_dolby(frame: VideoFrame, stream: VideoStream) -> bool:
    if stream.codec_context.codec_tag.lower() in _DOLBY_TAGS:
        return True
    try:
        side_data: Any = frame.side_data  # typed as if it held strings
        return any(name in side_data for name in _DOLBY_DATA)
    except ValueError:  # among it is a kind that PyAV does not know yet
        return False


def conversions_told(videos: Collection[Collection[str]]) -> str:
    """A sentence on what is converted; empty if nothing is.

    Args:
        videos: the kinds of each.
    """
    counts = Counter(kind for kinds in videos for kind in kinds)
    pairs = ((counts[kind], what) for kind, what in _TOLD.items() if counts[kind])
    parts = [f"{count} {'is' if count == 1 else 'are'} {what}" for count, what in pairs]
    return f"of {so_many(len(videos), 'video')}, {'; '.join(parts)}" if parts else ""
