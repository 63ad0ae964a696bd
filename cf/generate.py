"""`python -m cf.generate`: stream a video from a trained network."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from cf.entry import Settings, build, plain, told
from cf.paths import CONFIG_DIR

if TYPE_CHECKING:
    import torch

    from cf.models.base import Backbone
    from cf.models.codec import Codec
    from cf.models.text import TextEncoder
    from cf.rollout import Rollout
    from cf.types import Conditioning, Video

log = logging.getLogger("cf.generate")
PARTS = ("model", "codec", "text", "rollout")


@hydra.main(version_base="1.3", config_path=CONFIG_DIR, config_name="generate")
def main(cfg: DictConfig) -> None:
    """Generate as `cfg` says."""
    with told("cf.generate"):
        if OmegaConf.is_missing(cfg, "checkpoint"):
            raise ValueError("checkpoint must be given: the folder of a run, or a file of weights")
        generate(plain(cfg), Path(HydraConfig.get().runtime.output_dir))


def generate(settings: Settings, folder: Path) -> list[Path]:
    """Write one mp4 per sample into `folder`, and a contact sheet and the settings beside each."""
    import torch

    generator = load(settings)
    prefix = _prefix(settings, generator)
    frames = max(round(_positive(settings, "seconds") * generator.fps), 1)
    prompts = [settings["prompt"]] * int(_positive(settings, "samples"))
    paths = [folder / f"video_{i}.mp4" for i in range(len(prompts))]
    with torch.inference_mode():
        cond = generator.conditioning(prompts)
        chunks = generator.stream(prefix, frames, cond, settings["seed"], len(paths))
        _write(chunks, paths, generator, frames, 0 if prefix is None else prefix.shape[1])
    record = {"settings": settings, "rollout": repr(generator.rollout), "fps": generator.fps}
    (folder / "generate.json").write_text(json.dumps(record, indent=2, default=str) + "\n")
    return paths


@dataclass(frozen=True)
class Generator:
    """A network with all that it takes to make videos of it.

    Attributes:
        fps, size: pixel frames per second, height and width.
    """

    network: Backbone
    codec: Codec
    text: TextEncoder
    rollout: Rollout
    fps: float
    size: tuple[int, int]

    def conditioning(self, prompts: list[str]) -> Conditioning:
        """Conditioning of a batch of prompts."""
        from cf.types import Conditioning

        states = self.text.encode(prompts)
        return Conditioning(None if states is None else states.to(self.network.device))

    def stream(
        self, prefix: Video | None, frames: int, cond: Conditioning, seed: int, samples: int
    ) -> Iterator[Video]:
        """The prefix, if any, and then at least `frames` new pixel frames, block by block."""
        from cf.rollout import START

        noise = self.rollout.noise(self.network, seed, range(samples))
        decode, state, given = self.codec.decoder(), START, 0
        if prefix is not None:
            seen = self.codec.encode(prefix.to(self.network.device)).expand(samples, -1, -1, -1, -1)
            state = self.rollout.remember(self.network, seen, noise, cond, state)
            given = seen.shape[1]
            yield decode(seen)
        needed = self.codec.covering(self.codec.video_frames(given) + frames)
        stream = self.rollout.stream(self.network, noise, cond, state)
        for latents, after in stream:
            yield decode(latents)
            if after.context.start >= needed:
                return


def load(settings: Settings) -> Generator:
    """The network in `settings["checkpoint"]`, with what the settings exchange of it."""
    import torch

    from cf.models.checkpoints import load_into, load_weights, read_export
    from cf.run_folder import EXPORT

    source = Path(settings["checkpoint"])
    source = source / EXPORT if source.is_dir() and (source / EXPORT).exists() else source
    named = (*PARTS, "fps", "size")
    parts = {name: settings[name] for name in named if settings.get(name) is not None}
    if settings.get("model") is None:
        config, state = read_export(source)
        config = {name: value for name, value in config.items() if name not in parts}
        if settings.get("memory") is not None and "rollout" in config:
            config["rollout"] = {**config["rollout"], "memory": None}
        for name in PARTS:
            _refuse_foreign(config.get(name), name)
        parts = {**config, **parts}
    else:
        state = load_weights(source, **settings["weights"])
    for name in named:
        if name not in parts:
            raise ValueError(f"{source.name} does not say its {name}; give {name}=...")
    chosen = {name: value for name, value in settings["sampling"].items() if value is not None}
    rollout = {**parts["rollout"], **chosen}
    if settings.get("memory") is not None:
        rollout["memory"] = settings["memory"]
    device = torch.device(_device(settings["device"]))
    network: Backbone = build(parts["model"], "model")
    load_into(network, state, str(source))
    network.to(device, getattr(torch, settings["dtype"])).eval().requires_grad_(False)
    codec, text = (build(parts[name], name).to(device) for name in ("codec", "text"))
    made: Rollout = build(rollout, "rollout")
    return Generator(network, codec, text, made, float(parts["fps"]), tuple(parts["size"]))


def _refuse_foreign(settings: Any, where: str) -> None:
    """Refuse to build, at any depth, what a file names from outside this package."""
    if isinstance(settings, list):
        for one in settings:
            _refuse_foreign(one, where)
    if not isinstance(settings, dict):
        return
    target = str(settings.get("_target_", "cf."))
    if not target.startswith("cf."):
        raise ValueError(
            f"the checkpoint asks for {target} as its {where}, which is not part of cf; "
            f"name it yourself ({where}=...) if you trust it"
        )
    for name, value in settings.items():
        _refuse_foreign(value, name if isinstance(value, dict) else where)


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

    fps, size = generator.fps, generator.size
    if settings["video"] and settings["image"]:
        raise ValueError("give video=... or image=..., not both")
    if settings["image"]:
        return read_image(settings["image"], size)[None]
    if not settings["video"]:
        return None
    seconds = settings["given_seconds"] and _positive(settings, "given_seconds")
    video = read_video(settings["video"], fps, size, seconds)[None]
    stride = generator.codec.time_stride
    return video[:, : 1 + (video.shape[1] - 1) // stride * stride]


def _positive(settings: Settings, name: str) -> float:
    value = settings[name]
    if not isinstance(value, int | float) or isinstance(value, bool) or not value > 0:
        raise ValueError(f"{name} must be a number above 0, got {value!r}")
    return value


def _device(name: str) -> str:
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return name


if __name__ == "__main__":
    main()
