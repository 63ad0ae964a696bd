"""How long videos are, measured once: kept in the user's cache by path, size and time of change."""

import hashlib
import json
import logging
import math
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import av

from cf.files.atomic import write_text
from cf.files.text import MOST_BYTES, text_of
from cf.files.user_cache import user_cache
from cf.video.footage import KINDS
from cf.video.line import pictures_in
from cf.video.listing import name_in, stamp
from cf.video.reader import UnreadableVideo, probe

log = logging.getLogger(__name__)

_FORMAT = 3
_FOLDERS = 64  # of which lengths are kept; those that were not asked for the longest go first


class VideoLength(NamedTuple):
    """Of a video, in seconds, and what it is converted from.

    Attributes:
        end: at which the last picture ends.
        slack: by which rounding may have moved a timestamp.
        kinds: what of its footage is converted when it is read.
    """

    end: float
    slack: float
    kinds: tuple[str, ...] = ()

    def pictures(self, fps: float) -> int:
        """How many pictures a whole read gives at `fps`."""
        return pictures_in(self.end - self.slack, fps)


class Lengths:
    """The lengths of the videos of a folder; what cannot be read is asked again every time.

    Attributes:
        file: in the user's cache, one for each folder.
    """

    def __init__(self, folder: Path) -> None:
        name = hashlib.sha256(str(folder.resolve()).encode(errors="surrogateescape")).hexdigest()
        self.folder, self.file = folder, user_cache("lengths") / f"{name}.json"
        self._known = self._read()
        self._found: dict[str, tuple[int, int, VideoLength]] = {}

    def of(self, path: Path) -> VideoLength:
        """The length of a video of this folder; threads may ask at once.

        Raises:
            UnreadableVideo: as `probe` says.
        """
        name = name_in(path, self.folder).as_posix()
        try:
            size, changed, fps = stamp(path)
        except OSError:
            raise UnreadableVideo(path, "there is no such file") from None
        name += f" {fps:g}" if fps else ""  # pictures last as long as they are told to
        entry = self._known.get(name)
        if entry is None or entry[:2] != (size, changed):
            info = probe(path)
            entry = size, changed, VideoLength(info.duration, info.slack, info.kinds)
        self._found[name] = entry
        return entry[2]

    def keep(self) -> None:
        """Write what was found, if anything of it is new."""
        if self._found == self._known:
            with suppress(OSError):
                self.file.touch()
            return
        files = {name: [size, at, *length] for name, (size, at, length) in self._found.items()}
        text = json.dumps({"format": _FORMAT, "reader": _reader(), "files": files}, sort_keys=True)
        if len(text) > MOST_BYTES:
            return
        try:
            write_text(self.file, text)
            paths = sorted(self.file.parent.glob("*.json"), key=lambda path: path.stat().st_mtime)
            for path in paths[:-_FOLDERS]:
                path.unlink(missing_ok=True)
        except OSError as error:
            log.warning("%s; the videos of %s are measured again next time", error, self.folder)

    def _read(self) -> dict[str, tuple[int, int, VideoLength]]:
        if not self.file.is_file():
            return {}
        try:
            cache = json.loads(text_of(self.file))
            if (cache["format"], cache["reader"]) != (_FORMAT, _reader()):
                return {}
            return {str(name): _entry(*cells) for name, cells in cache["files"].items()}
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            log.warning("%s is damaged (%s) and made anew", self.file, str(error)[:100])
            return {}


def _entry(
    size: Any, changed: Any, end: Any, slack: Any, kinds: Any
) -> tuple[int, int, VideoLength]:
    length = VideoLength(float(end), float(slack), tuple(kinds))
    if not all(math.isfinite(x) and x >= 0 for x in length[:2]) or not KINDS.issuperset(kinds):
        raise ValueError(f"a length of {end} s, of {kinds}")
    return int(size), int(changed), length


def _reader() -> str:
    """Another library may measure otherwise."""
    return f"av {av.__version__}"
