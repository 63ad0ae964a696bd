"""`python -m cf.generate`: stream videos from a trained network."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from cf.files.counts import so_many
from cf.files.output_folder import working
from cf.settings.build import Settings, to_settings
from cf.settings.command_line import command
from cf.settings.making import with_network

if TYPE_CHECKING:
    from cf.generation.requests import VideoRequest
    from cf.generation.unfinished import Unfinished
    from cf.runs.generator import Generator

log = logging.getLogger("cf.generate")


@command("generate")
def main(cfg: DictConfig) -> None:
    """Generate as `cfg` says."""
    folder = Path(HydraConfig.get().runtime.output_dir)
    with working("cf.generate", folder, lambda: _kept(folder)):
        if cfg.script is not None:
            from cf.playing.replay import replay

            replay(to_settings(cfg), folder)
            return
        settings = with_network(to_settings(cfg))
        if settings["plan"]:
            from cf.runs.on_card import show_plan

            log.info("%s", show_plan(settings))
            return
        from cf.generation.walk import follows_camera, make_walks

        (make_walks if follows_camera(settings) else generate)(settings, folder)


def generate(settings: Settings, folder: Path) -> list[Path]:
    """Write an mp4 and a contact sheet of each video that is asked for; what is whole is kept."""
    from cf.generation.record import Record
    from cf.generation.requests import TYPED, requests_of
    from cf.generation.unfinished import Unfinished
    from cf.runs.generator import load
    from cf.runs.on_card import told_when_full

    if settings["given_seconds"] is not None and not settings["video"]:
        raise ValueError(
            f"given_seconds={settings['given_seconds']} is of a video: give video=... as well"
        )
    for name, typed in (("path", "camera_path@path"), ("number", "number")):
        if settings[name]:
            raise ValueError(f"{typed}=...: this network follows no camera; leave it out")
    wanted = requests_of(settings)
    paths = [folder / f"{request.name}.mp4" for request in wanted]
    record = Record(folder, settings)
    missing = record.missing(wanted, typed=settings["prompts"] == TYPED)
    unfinished = Unfinished(folder, settings["save_every"])
    if missing:
        saved = unfinished.read()
        texts = sorted({text for request in missing for _, text in request.script})
        with told_when_full(settings):
            generator = load({**settings, "texts": texts})
            _make(settings, folder, generator, missing, record, unfinished, saved)
    else:
        unfinished.tidy(wanted)  # it may have been killed after its last record
    log.info("%s: %s", so_many(len(paths), "video"), folder)
    return paths


def _make(
    settings: Settings,
    folder: Path,
    generator: Generator,
    missing: list[VideoRequest],
    record: Any,
    unfinished: Unfinished,
    saved: dict[str, Any] | None,
) -> None:
    """Make what is left, in batches, beginning with the one that was stopped."""
    import torch

    from cf.generation.batch import VideoBatch
    from cf.generation.prefix import frames_in_seconds, prefix_of
    from cf.generation.requests import TYPED
    from cf.generation.typed_prompts import TypedPrompts
    from cf.runs.key_frames import key_frames_of
    from cf.system.progress import progress
    from cf.system.signals import Stop, heard

    _tell_empty(generator, missing, typed=settings["prompts"] == TYPED)
    prefix = prefix_of(settings, generator)
    with torch.inference_mode():
        if shown := generator.shown(prefix):
            generator, prefix = shown, None
    frames = frames_in_seconds(settings, "seconds", generator.fps)
    typed = settings["prompts"] == TYPED
    if typed and generator.text.dim is None:
        raise ValueError("prompts=-: this model is not conditioned on text; leave prompts out")
    given_frames = 0 if prefix is None else generator.codec.covering(prefix.shape[1])
    generator.check_length(generator.first_block(frames, given_frames), given_frames)
    for request in missing:
        generator.check_script(request.script, frames, given_frames, request.where)
    _check_pinned(settings)
    with torch.inference_mode():
        images = key_frames_of(settings["pinned"], generator, given_frames)
    lines = TypedPrompts(sys.stdin) if typed else None
    parts, saved = _parts(settings, missing, saved)
    total = len(missing) * (frames + (0 if prefix is None else prefix.shape[1]))
    record.write(generator, {})
    with (
        torch.inference_mode(),
        heard(Stop()) as stop,
        progress(total, "generating", "frames") as bar,
    ):
        for part in parts:
            given_to_all = (prefix, frames, settings["seed"], lines, images, settings["overlap"])
            job = VideoBatch(generator, part, folder, *given_to_all)
            try:
                finished = job.make(unfinished, stop, bar, saved)
            except (KeyError, TypeError):
                if saved is None:
                    raise
                raise unfinished.damaged() from None
            record.write(generator, finished)
            unfinished.forget()
            saved = None


def _parts(
    settings: Settings, missing: list[VideoRequest], saved: dict[str, Any] | None
) -> tuple[list[list[VideoRequest]], dict[str, Any] | None]:
    """What is made at once, and the state with which the first of it goes on, if any."""
    from cf.generation.requests import batches

    size = settings["batch"] or settings["samples"]
    described = {request.name: request for request in missing}
    if saved is None or any(
        name not in described or described[name].described() != description
        for name, description in saved["videos"].items()
    ):
        if saved is not None:
            log.warning("the state of %s is of other videos: left out", ", ".join(saved["videos"]))
        return list(batches(missing, size)), None
    first = [described[name] for name in saved["videos"]]
    log.info("%s goes on after %d frames", ", ".join(saved["videos"]), int(saved["files"]["done"]))
    return [first, *batches([request for request in missing if request not in first], size)], saved


def _tell_empty(generator: Generator, wanted: list[VideoRequest], typed: bool) -> None:
    """Say that a video is made of no text; the first of those that are typed is still to come."""
    has_text = [any(text for _, text in request.script) for request in wanted]
    if not typed and not all(has_text) and generator.text.dim is not None:
        log.warning(
            'the prompt is empty: this network makes what a text says, prompt="..."; it was '
            "trained on long ones"
        )


def _check_pinned(settings: Settings) -> None:
    """Raise a ValueError at a key-frame of a time that the video does not reach."""
    for seconds, image in settings["pinned"]:
        if seconds >= settings["seconds"]:
            raise ValueError(
                f"pinned: {image} belongs to {seconds:g} s, and the video ends after "
                f"seconds={settings['seconds']:g}"
            )


def _kept(folder: Path) -> str:
    files = sorted(file.name for file in folder.glob("*.mp4"))
    return f"{', '.join(files)} can be played as far as made" if files else "nothing was made yet"


if __name__ == "__main__":
    main()
