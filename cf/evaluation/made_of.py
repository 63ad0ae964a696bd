"""A record of an evaluation's videos and settings, so that its folder goes on with the same."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cf.evaluation.videos import Listed
from cf.files.atomic import write_text
from cf.files.text import read_json_file
from cf.runs.run_folder import leaves
from cf.settings.renamed import with_current_names
from cf.video.numbered import PictureFolder

log = logging.getLogger("cf.evaluate")

_FILE = "evaluation.json"
_FREE = ("videos", "pattern", "pictures_fps", "device", "piece_megabytes", "shown", "resume")
"""Settings that change no number, or that the list of videos tells."""
_SHOWN = 5


def check_made_of(folder: Path, videos: Sequence[Listed], settings: Mapping[str, Any]) -> None:
    """Record the videos and settings of a new folder; refuse a folder with other ones.

    Raises:
        ValueError: videos or settings differ from those with which the folder was begun.
    """
    ours = _described(videos, settings)
    if not (folder / _FILE).is_file():
        if (folder / "states").is_dir():
            log.warning("%s does not say what it was made of; it is taken as it is", folder)
        write_text(folder / _FILE, json.dumps(ours, indent=1) + "\n")
        return
    theirs = read_json_file(folder / _FILE)
    try:
        differences = _differing(dict(theirs["videos"]), ours["videos"], "video")
        was = dict(leaves(with_current_names(theirs["settings"])))
        differences += _differing(was, leaves(ours["settings"]), "setting")
    except (KeyError, TypeError, ValueError):
        raise ValueError(f"{folder / _FILE} is damaged; begin anew, without resume=") from None
    if differences:
        more = f"\n  and {len(differences) - _SHOWN} more" if len(differences) > _SHOWN else ""
        raise ValueError(
            f"{folder} was begun with other videos or settings:\n  "
            + "\n  ".join(differences[:_SHOWN])
            + f"{more}\ngive the same, or begin anew, without resume="
        )


def forget_made_of(folder: Path) -> None:
    """Remove the record if nothing was measured."""
    if not any((folder / "states").glob("*")):
        (folder / _FILE).unlink(missing_ok=True)


def _described(videos: Sequence[Listed], settings: Mapping[str, Any]) -> dict[str, Any]:
    listed = {
        f"{video.contestant}/{video.name}": [
            _place(video.path),
            video.prompt,
            video.seed,
            None if video.reference is None else _place(video.reference),
            list(video.boundaries),
        ]
        for video in videos
    }
    fixed = {name: value for name, value in settings.items() if name not in _FREE}
    return {"videos": listed, "settings": fixed}


def _place(path: Path) -> str:
    """Of a file; of numbered pictures, with the rate at which they are shown."""
    rate = f" at {path.fps:g} pictures/s" if isinstance(path, PictureFolder) else ""
    return f"{os.path.realpath(path)}{rate}"


def _differing(theirs: Mapping[str, Any], ours: Mapping[str, Any], what: str) -> list[str]:
    differences = []
    for name in dict.fromkeys([*theirs, *ours]):
        if name not in ours:
            differences.append(f"{what} {name} is not given now")
        elif name not in theirs:
            differences.append(f"{what} {name} is new")
        elif theirs[name] != ours[name]:
            differences.append(f"{what} {name} was {theirs[name]!r}, and is {ours[name]!r}")
    return differences
