"""What a video shows: the text file beside it, and a word about videos that have none."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from cf.data.script import text_from
from cf.files.naming import composed
from cf.files.text import text_of
from cf.video.listing import stem_in

_SHOWN = 3


def caption_of(video: Path) -> str:
    """The text of `fox.txt` for `fox.mp4`, or a folder `fox` of pictures; empty if there is none.

    The ending may have capitals, and an accent may be spelt in either way: folders that went over
    several systems have one in the video's name and the other in the text's.

    Raises:
        ValueError: the file cannot be read as text.
    """
    stem = stem_in(video, Path(video.name)).name
    file = video.with_name(f"{stem}.txt")
    if not file.is_file():
        try:
            changed = video.parent.stat().st_mtime_ns
            name = _texts(str(video.parent), changed).get(composed(stem))
        except OSError:
            return ""
        if name is None:
            return ""
        file = video.with_name(name)
    return text_from(text_of(file, "caption"), str(file), may_be_empty=True)


def uncaptioned(captions: Mapping[str, str]) -> str:
    """That some videos have no caption, as a sentence; empty if all have one.

    Args:
        captions: of each video by its name.
    """
    without = [name for name, text in captions.items() if not text]
    if not without:
        return ""
    named = ", ".join(without[:_SHOWN]) + ", ..." * (len(without) > _SHOWN)
    return (
        f"{len(without)} of {len(captions)} videos have no caption and are shown with the empty "
        f"text: {named}; a caption is the text of the .txt file of the same name beside a "
        "video"
    )


@lru_cache(256)
def _texts(folder: str, changed: int) -> Mapping[str, str]:
    """Text files of a folder by their names without ending, accents composed."""
    files = sorted(one.name for one in Path(folder).iterdir() if one.suffix.lower() == ".txt")
    return {composed(Path(name).stem): name for name in files}
