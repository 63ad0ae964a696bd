"""`python -m cf.generate`: stream a video from a trained network."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from cf.data.script import script_of
from cf.files.atomic import write_text
from cf.files.output_folder import alone, working
from cf.runs.generator import Generator, load
from cf.settings.build import Settings, exit_on_user_error, to_settings
from cf.settings.command_line import command

if TYPE_CHECKING:
    import torch

    from cf.types import Video

log = logging.getLogger("cf.generate")


@command("generate")
def main(cfg: DictConfig) -> None:
    """Generate as `cfg` says."""
    folder = Path(HydraConfig.get().runtime.output_dir)
    with (
        exit_on_user_error("cf.generate"),
        working("cf.generate", folder, lambda: _kept(folder)),
        alone("cf.generate", folder),
    ):
        if OmegaConf.is_missing(cfg, "checkpoint"):
            raise ValueError("checkpoint must be given: the folder of a run, or a file of weights")
        generate(to_settings(cfg), folder)


def generate(settings: Settings, folder: Path) -> list[Path]:
    """Write one mp4 per sample into `folder`, and a contact sheet and the settings beside each."""
    import torch

    generator = load(settings)
    prefix = _prefix(settings, generator)
    frames = _frames(settings, "seconds", generator.fps)
    _check_script(settings, generator, prefix, frames)
    paths = [folder / f"video_{i}.mp4" for i in range(int(_positive(settings, "samples")))]
    with torch.inference_mode():
        script = [
            (round(seconds * generator.fps), generator.conditioning([text] * len(paths)))
            for seconds, text in _script(settings)
        ]
        chunks = generator.stream(prefix, frames, script, settings["seed"], len(paths))
        _write(chunks, paths, generator, frames, 0 if prefix is None else prefix.shape[1])
    record = {"settings": settings, "rollout": repr(generator.rollout), "fps": generator.fps}
    write_text(folder / "generate.json", json.dumps(record, indent=2, default=str) + "\n")
    return paths


def _kept(folder: Path) -> str:
    files = sorted(file.name for file in folder.glob("video_*.mp4"))
    return f"{', '.join(files)} can be played as far as made" if files else "nothing was made yet"


def _write(
    chunks: Iterator[Video], paths: list[Path], generator: Generator, frames: int, prefix: int
) -> None:
    from contextlib import ExitStack

    import torch
    from tqdm import tqdm

    from cf.video.sheet import contact_sheet
    from cf.video.writer import VideoWriter

    fps, size, total = generator.fps, generator.size, prefix + frames
    scale = max(256 // max(size), 1)
    shown = {round(i * (total - 1) / 31) for i in range(32)}
    picked: list[torch.Tensor] = []
    done = 0
    with ExitStack() as stack:
        writers = [stack.enter_context(VideoWriter(path, fps, size, scale)) for path in paths]
        bar = stack.enter_context(tqdm(total=total, unit="frame", desc="generating"))
        for chunk in chunks:
            video = chunk[:, : total - done].float().cpu()
            for writer, sample in zip(writers, video, strict=True):
                writer.write(sample)
            picked += [video[:, i] for i in range(video.shape[1]) if done + i in shown]
            done += video.shape[1]
            bar.update(video.shape[1])
    labels = [f"{i / fps:.1f} s" + (" (given)" if i < prefix else "") for i in sorted(shown)]
    for i, path in enumerate(paths):
        video = torch.stack([frame[i] for frame in picked])
        factor = max(scale // 2, 1)
        video = video.repeat_interleave(factor, -1).repeat_interleave(factor, -2)
        contact_sheet(video, path.with_suffix(".png"), labels=labels[: len(video)])
        log.info("video: %s  contact sheet: %s", path, path.with_suffix(".png"))


def _prefix(settings: Settings, generator: Generator) -> Video | None:
    """The video or image to continue, less what does not fill a latent frame."""
    from cf.video.reader import read_image, read_video
    from cf.video.timeline import timeline

    fps, size = generator.fps, generator.size
    if settings["video"] and settings["image"]:
        raise ValueError("give video=... or image=..., not both")
    if settings["image"]:
        return read_image(settings["image"], size)[None]
    if not settings["video"]:
        return None
    seconds = settings["given_seconds"]
    if seconds is not None:
        _frames(settings, "given_seconds", fps)
    line = timeline(settings["video"])
    there = line.pictures(fps)
    if line.missing and (not seconds or round(seconds * fps) > there):
        raise ValueError(
            f"video={settings['video']}: {line.missing}; given_seconds={there / fps:.4g} uses the "
            f"{there} pictures at {fps:g} per second that are there"
        )
    video = read_video(settings["video"], fps, size, seconds)[None]
    stride = generator.codec.time_stride
    return video[:, : 1 + (video.shape[1] - 1) // stride * stride]


def _script(settings: Settings) -> list[tuple[float, str]]:
    """Prompts and the seconds at which they begin."""
    if not settings["prompts"]:
        return [(0.0, settings["prompt"])]
    if settings["prompt"]:
        raise ValueError("give prompt=... or prompts=..., not both")
    return list(script_of(settings["prompts"], "prompts", may_be_empty=True))


def _check_script(
    settings: Settings, generator: Generator, prefix: Video | None, frames: int
) -> None:
    """Raise a ValueError at a text that would never be seen."""
    script = _script(settings)
    given = 0 if prefix is None else generator.codec.covering(prefix.shape[1])
    generator.check_script(script, given)
    last = script[-1][0]
    if generator.first_block(round(last * generator.fps), given) >= generator.first_block(
        frames, given
    ):
        block = generator.rollout.block_frames * generator.codec.time_stride / generator.fps
        raise ValueError(
            f"prompts: the text of {last:g} s would never be seen: the video ends after "
            f"seconds={settings['seconds']:g}, and a text begins with a block, of {block:.3g} s"
        )


def _frames(settings: Settings, name: str, fps: float) -> int:
    """How many frames a setting of seconds stands for."""
    frames = round(_positive(settings, name) * fps)
    if not frames:
        raise ValueError(
            f"{name}={settings[name]} is no frame at {fps:g} frames/s; give {1 / fps:.3g} or more"
        )
    return frames


def _positive(settings: Settings, name: str) -> float:
    value = settings[name]
    if not isinstance(value, int | float) or isinstance(value, bool) or not value > 0:
        raise ValueError(f"{name} must be a number above 0, got {value!r}")
    return value


if __name__ == "__main__":
    main()
