"""The video or image that a new video goes on from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cf.settings.build import Settings

if TYPE_CHECKING:
    from cf.runs.generator import Generator
    from cf.types import Video


def prefix_of(settings: Settings, generator: Generator) -> Video | None:
    """The video or image to continue, less what does not fill a latent frame.

    Raises:
        ValueError: the video holds less than is asked for.
    """
    from cf.video.listing import video_at
    from cf.video.reader import read_image, read_video
    from cf.video.timeline import timeline

    fps, size = generator.fps, generator.size
    if settings["image"]:
        return read_image(settings["image"], size)[None]
    if not settings["video"]:
        return None
    seconds = settings["given_seconds"]
    if seconds is not None:
        frames_in_seconds(settings, "given_seconds", fps)
    file = video_at(Path(settings["video"]), settings["pictures_fps"])
    line = timeline(file)
    pictures = line.pictures(fps)
    beyond = seconds is not None and round(seconds * fps) > pictures
    if beyond or (line.missing and not seconds):
        lacks = line.missing or f"given_seconds={seconds:g} is more than it has"
        raise ValueError(
            f"video={settings['video']}: {lacks}; given_seconds={pictures / fps:.4g} uses the "
            f"{pictures} pictures at {fps:g} per second that are there"
        )
    video = read_video(file, fps, size, seconds)[None]
    stride = generator.codec.time_stride
    return video[:, : 1 + (video.shape[1] - 1) // stride * stride]


def frames_in_seconds(settings: Settings, name: str, fps: float) -> int:
    """How many frames a setting of seconds stands for.

    Raises:
        ValueError: it is none.
    """
    frames = round(float(settings[name]) * fps)
    if not frames:
        raise ValueError(
            f"{name}={settings[name]} is no frame at {fps:g} frames/s; give {1 / fps:.3g} or more"
        )
    return frames
