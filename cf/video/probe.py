"""What a video file is, measured without decoding all of it where its container can be trusted."""

from dataclasses import dataclass, field
from pathlib import Path

from cf.video.container import UnreadableVideo
from cf.video.line import Timeline
from cf.video.timeline import is_steady, timeline

__all__ = ["UnreadableVideo", "VideoInfo", "is_steady", "probe"]


@dataclass(frozen=True)
class VideoInfo:
    """A video as a viewer sees it: upright and in square pixels.

    Attributes:
        duration: seconds from the first frame to the end of the last.
        fps: mean frames per second; the spacing may vary.
        height: pixels, after rotation and pixel aspect.
        width: pixels, after rotation and pixel aspect.
    """

    duration: float
    fps: float
    height: int
    width: int
    _line: Timeline = field(repr=False, compare=False)

    @property
    def slack(self) -> float:
        """Seconds by which rounding may have moved a timestamp."""
        return self._line.slack

    @property
    def kinds(self) -> tuple[str, ...]:
        """What of its footage is converted when it is read, as HDR or interlaced."""
        return self._line.kinds

    def pictures(self, fps: float) -> int:
        """How many pictures a whole read gives at `fps`."""
        return self._line.pictures(fps)


def probe(path: str | Path) -> VideoInfo:
    """Measure a video and make sure that its first frame decodes; `timeline` says what it costs.

    A fragmented mp4 whose writer was killed is as long as its intact part.

    Raises:
        UnreadableVideo: not a video, empty, without a decodable frame, cut off, or of a shape or
            length that no video has.
    """
    line = timeline(path)
    if line.missing:
        raise UnreadableVideo(path, line.missing)
    return VideoInfo(line.end, line.fps, *line.size, line)
