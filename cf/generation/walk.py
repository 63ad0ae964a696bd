"""Videos of a network that follows a camera: it goes the world's own way, the truth beside it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from cf.generation.again import Again
from cf.generation.files import VideoFiles
from cf.generation.record import Record
from cf.generation.requests import VideoRequest
from cf.runs.generator import load
from cf.runs.outline import parts_of
from cf.runs.steered_world import steered, world_settings
from cf.settings.build import Settings, build
from cf.settings.given import own_settings, typed_for
from cf.system.progress import progress
from cf.system.shell import setting, shell_command

if TYPE_CHECKING:
    from cf.data.world.base import Film
    from cf.data.world.steered import SteeredWorld
    from cf.runs.generator import Generator
    from cf.types import Video

log = logging.getLogger("cf.generate")
_GIVEN_SECONDS = 3.0
_OF_OTHERS = ("video", "image", "pinned", "prompts", "prompts_file")


def follows_camera(settings: Settings) -> bool:
    """Whether the network that settings of `cf.generate` name is told where a camera goes."""
    return parts_of(settings)["model"].get("control_dim") is not None


def make_walks(settings: Settings, folder: Path) -> list[Path]:
    """Write videos along the ways of a world; if their beginnings were given, what is true beside.

    Args:
        settings: of `cf.generate`.
        folder: of the results.

    Raises:
        ValueError: a setting is of networks that follow no camera, or the run says of no world.
        ImportError: the world's engine is not installed.
    """
    run_world = _world(settings)
    first = settings["number"]
    wanted = [
        VideoRequest(f"video_{i}", ((0.0, settings["prompt"]),), first + i, "number")
        for i in range(settings["samples"])
    ]
    record = Record(folder, settings)
    missing = record.missing(wanted, typed=False)
    if missing:
        generator = load({**settings, "texts": []})
        if generator.text.dim is None:
            generator.text.encode([settings["prompt"]])  # which refuses what would be ignored
        world = steered(generator, run_world)
        assert world is not None  # it follows a camera
        given_frames, frames = _lengths(settings, generator)
        total = given_frames + frames
        with torch.inference_mode(), progress(len(missing) * total, "walking", "frames") as bar:
            for request in missing:
                film = world.film(settings["world_seed"], [request.sample], total)
                again = Again(film, given_frames, generator.fps)
                for video, true in _made(generator, film, given_frames, settings, request, folder):
                    again.add(video, true)
                    bar.update(video.shape[1])
                again.write(folder / f"again_{request.name.removeprefix('video_')}.png")
                record.write(generator, {request.name: {**request.described(), "frames": frames}})
    log.info("videos: %s", folder)
    network = setting("checkpoint", settings["checkpoint"])
    typed = typed_for("play", aside=("checkpoint", "seconds", "image"))
    played = [*own_settings(), network, *typed, "against=window"]
    log.info("walk yourself: %s", shell_command("cf.play", played))
    return [folder / f"{request.name}.mp4" for request in wanted]


def _made(
    generator: Generator,
    film: Film,
    given_frames: int,
    settings: Settings,
    request: VideoRequest,
    folder: Path,
) -> Iterator[tuple[Video, Video | None]]:
    """What the network makes, written as it comes, and what the world shows there.

    Where nothing was given, the network makes a place of its own, and nothing is true.
    """
    paths = [folder / f"{request.name}.mp4"]
    if given_frames:
        paths += [folder / f"{request.name.replace('video', 'truth')}.mp4"]
    shape = (generator.fps, generator.size, film.frames, given_frames)
    with VideoFiles(paths, *shape) as files:
        parts = generator.following(
            film, given_frames, settings["seed"], [request.sample], settings["prompt"]
        )
        while files.done < film.frames:
            video = next(parts)[:, : film.frames - files.done].float().cpu()
            end = files.done + video.shape[1]
            true = film.part(files.done, end).video if given_frames else None
            files.add(video if true is None else torch.cat((video, true)))
            yield video, true
        files.write_sheets()


def _lengths(settings: Settings, generator: Generator) -> tuple[int, int]:
    """Frames that are given, in whole blocks, and frames that are made."""
    block = generator.codec.video_frames(generator.rollout.block_frames)
    seconds = settings["given_seconds"]
    wanted = _GIVEN_SECONDS if seconds is None else seconds
    given_frames = round(wanted * generator.fps / block) * block
    if wanted and not given_frames:
        raise ValueError(
            f"given_seconds={wanted:g} is less than half a block, of {block / generator.fps:.3g} "
            "s; give more, or 0 to begin with nothing"
        )
    frames = -(-round(settings["seconds"] * generator.fps) // block) * block
    if not frames:
        raise ValueError(f"seconds={settings['seconds']} is no frame; give more")
    generator.check_length(frames // block, given_frames)
    return given_frames, frames


def _world(settings: Settings) -> SteeredWorld | None:
    """The world of the network's run, with the path that is asked for.

    Raises:
        ValueError: a setting does not belong to a walk, or the run's folder asks for too much.
    """
    for name in _OF_OTHERS:
        if settings[name]:
            raise ValueError(
                f"{name}={settings[name]}: this network follows a camera through its world; which "
                "video of it, and which way, number=... and camera_path@path=... say"
            )
    options, path = world_settings(settings["checkpoint"]), settings["path"]
    if options is None:
        return None
    world: SteeredWorld = build(options if path is None else {**options, "path": path}, "world")
    return world
