"""Whether a browser plays a video file as it is."""

from pathlib import Path

from cf.video.container import UnreadableVideo, opened_video

_CODECS = {".mp4": {"h264"}, ".m4v": {"h264"}, ".webm": {"vp8", "vp9", "av1", "libdav1d"}}
_PIXELS = {"yuv420p", "yuvj420p"}


def plays_in_browsers(path: Path) -> bool:
    """Whether today's browsers play the file: H.264 in mp4 or VP8, VP9, AV1 in WebM, of 8 bits.

    H.265, ten bits and other containers play in some browsers and not in others.
    """
    codecs = _CODECS.get(path.suffix.lower())
    if codecs is None:
        return False
    try:
        with opened_video(path) as (_, stream):
            codec = stream.codec_context
            return codec.name in codecs and codec.pix_fmt in _PIXELS
    except UnreadableVideo:
        return False
