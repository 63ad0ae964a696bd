"""A network under a memory and a rollout, as a contestant."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import torch
from typing_extensions import override

from cf.bench.contestants.base import Contestant, Piece
from cf.bench.contestants.camera import check_camera
from cf.bench.contestants.untrained import untrained
from cf.bench.tasks.base import Request, Sample, Task, VideoSpec
from cf.models.attention_kernel import attention_kernel
from cf.models.releases import missing, needs
from cf.models.start import fingerprint, fingerprint_of_update
from cf.models.updates import LoraFile, lora_files
from cf.runs.generator import Generator, file_of, load
from cf.runs.guidance import guide_of
from cf.runs.guide import guide_model
from cf.runs.on_card import untold
from cf.runs.outline import codec_outline, parts_of, way_of
from cf.runs.texts import UNBOUNDED, CachedText, TextCache
from cf.settings.build import Settings, build
from cf.settings.trusted import read_vetted_export
from cf.types import Video
from cf.video.reader import read_image

_COMMIT = "cf.memory.commit_reads.CommitReads"


@dataclass(frozen=True)
class Network(Contestant):
    """A checkpoint, trained here or released, with what it generates with.

    What is None is taken from the checkpoint, as `cf.generate` does; published weights say nothing
    of it, so that all must be given.

    Attributes:
        checkpoint: a run's folder, an export, or published weights; None: untrained, weights drawn
            from `seed`.
        needs: other files and folders that must be at hand.
        how: where the checkpoint is had, for whoever lacks it.
        commit_reads: let the pass that commits a block read little (Commit Forcing); settings of
            `cf.memory.commit_reads.CommitReads`, around whatever the memory is.
        compile: how its blocks run (`cf.models.compiled`).
        image_encoder: of an image-to-video network that attends its picture.
    """

    checkpoint: str | None = None
    needs: Sequence[str] = ()
    how: str = ""
    model: Settings | None = None
    codec: Settings | None = None
    text: Settings | None = None
    rollout: Settings | None = None
    memory: Settings | None = None
    switch: Settings = field(default_factory=lambda: {"_target_": "cf.rollout.Keep"})
    sampling: Settings = field(default_factory=dict)
    weights: Settings = field(default_factory=dict)
    commit_reads: Settings | None = None
    image_encoder: Settings | None = None
    fps: float | None = None
    size: Sequence[int] | None = None
    dtype: str = "float32"
    compile: Literal["none", "blocks", "graphs"] = "none"
    seed: int = 0

    def missing(self) -> str:
        """The files that are missing, and how to get them; empty if none is."""
        names = ("checkpoint", "weights", "codec", "text", "image_encoder")
        lacking = [missing(needs({name: getattr(self, name) for name in names}))]
        guides = [missing(needs({"checkpoint": guide})) for guide in self._guides()]
        lacking += [f"sampling.guide: {message}" for message in guides if message]
        if gone := [path for path in self.needs if not Path(path).exists()]:
            lacking.append(f"{', '.join(gone)} not found")
        if said := "; ".join(message for message in lacking if message):
            return said + (f"; {self.how}" if self.how else "")
        folder = Path(self.checkpoint) if self.checkpoint and self.model is None else None
        if folder is not None and folder.is_dir() and not any(folder.glob("*.safetensors")):
            return f"{folder} holds no network; its training did not finish"
        return ""

    def fingerprint(self) -> str:
        """SHA-256 of the weights, and of those of a guide."""
        guides = [f"guide-{fingerprint(file_of(guide))}" for guide in self._guides()]
        if self.checkpoint is None:
            return "+".join([f"untrained-{self.seed}", *guides])
        digest = fingerprint(file_of(self.checkpoint))
        return "+".join([digest, *sorted(map(fingerprint_of_update, self._loras())), *guides])

    def terms(self, asked: VideoSpec | None) -> VideoSpec:
        """Frame rate and size of the settings, else of the checkpoint."""
        config = self._config()
        fps, size = self.fps or config.get("fps"), self.size or config.get("size")
        if (fps is None or size is None) and asked is not None and self.checkpoint is None:
            fps, size = asked.fps, asked.size
        if fps is None or size is None:
            raise ValueError("its frame rate and size are not known; give fps and size")
        blocks, stride = self._block()
        attended = build(self.memory_settings(), "memory").max_frames
        return VideoSpec(float(fps), (size[0], size[1]), blocks and blocks * stride, attended)

    def check_task(self, asked: Task) -> None:
        """Refuse a control signal that it does not take, and sampling that it cannot do."""
        check_camera(self._own("model") or None, asked.control_width, self.checkpoint)
        if self.sampling:
            parts = self._parts(settings := self._loading("cpu"))
            codec = codec_outline(parts["codec"], settings)
            guide_model(way_of(settings, parts), parts, codec)  # refuses what cannot guide it

    @override
    def first_block(self, at: int) -> int:
        blocks, stride = self._block()
        latents = at and 1 + -(-(at - 1) // stride)  # as codecs cover frames
        return -(-latents // (blocks or 1))

    def _block(self) -> tuple[int | None, int]:
        """Latent frames of a block, if known, and frames of a latent frame."""
        codec, stride = self._own("codec"), 4
        if str(codec.get("_target_")).endswith("PixelCodec"):  # else it would read weights
            stride = build(codec, "codec").time_stride
        return self.sampling.get("block_frames") or self._own("rollout").get("block_frames"), stride

    def ways(self) -> dict[str, str]:
        """Its memory and its rollout, with their settings."""
        sampling = {name: value for name, value in self.sampling.items() if value is not None}
        rollout = {**self._own("rollout"), **sampling}
        alone = {name: value for name, value in rollout.items() if name != "memory"}
        return {"memory": _short(self.memory_settings()), "rollout": _short(alone)}

    def play(self, take: Request, device: str) -> Iterator[Piece]:
        """Blocks, decoded as they are made."""
        generator = self._generator(take, device)
        with torch.inference_mode():
            for video in self._stream(generator, take):
                yield video[0].float().cpu().clone()

    @override
    def kernel(self, take: Request, device: str) -> str:
        return attention_kernel(self._generator(take, device).network)

    def _generator(self, take: Request, device: str) -> Generator:
        settings = self._loading(device, with_text=take.film is None)
        return _loaded(json.dumps(settings, sort_keys=True), self.seed)

    def _stream(self, generator: Generator, take: Request) -> Iterator[Any]:
        seed = take.item.seed
        if take.film is not None:
            assert take.item.world is not None
            return generator.following(take.film, take.given, seed, [take.item.world])
        generator, prefix = _begun(generator, take)
        script = [(at, generator.conditioning([text])) for at, text in take.script()]
        # A prompt's noise is its own, whatever else is made.
        noise_seed = (take.item.prompt_id + seed) % 2**31
        return chain(generator.stream(prefix, take.frames, script, noise_seed, 1))

    @override
    def check(self, items: Sequence[Sample], name: str) -> None:
        model = self._own("model")
        texts = [text for item in items if item.world is None for _, text in item.script if text]
        if model and not model.get("text_dim") and texts:
            raise ValueError(
                f"contestants.{name} takes no text, and {texts[0]!r} is asked for: compare it in a "
                "world (suite=world, suite=recall), or train one with text=... and model.text_dim"
            )
        if not (model.get("reference_channels") or model.get("image_dim")):
            return
        if model.get("image_dim") and self.image_encoder is None:
            raise ValueError(
                f"contestants.{name} attends the picture that it goes on from: give "
                f"+image_encoder@contestants.{name}.image_encoder=clip"
            )
        if bare := [item.prompt for item in items if not item.image and item.world is None]:
            raise ValueError(
                f"contestants.{name} is an image-to-video network: give every prompt of the list "
                f"an image (a column of a csv, a key of a jsonl); {bare[0]} has none"
            )

    def encoder(self, device: str) -> CachedText | None:
        """What encodes prompts for it before it is loaded; None if it is told none."""
        settings = self._loading(device, with_text=True)
        parts = self._parts(settings)
        if not parts["text"] or untold(parts["text"]):
            return None
        where, dim = torch.device(device), parts["model"].get("text_dim")
        return CachedText(parts["text"], where, dim, TextCache(most=UNBOUNDED))

    def negative(self) -> list[str]:
        """The text that guidance leads it away from, if one guides it."""
        guided = (self.sampling.get("guidance") or 1) != 1 and not self.sampling.get("guide")
        return [self.sampling.get("negative_prompt") or ""] if guided else []

    def _loading(self, device: str, with_text: bool = False) -> Settings:
        """The settings of `cf.runs.generator.load`; `with_text`: with an encoder for texts."""
        own_memory = self.commit_reads is not None or self.memory is not None
        return {
            "checkpoint": self.checkpoint,
            "model": self.model,
            "codec": self.codec,
            "text": self.text,
            "rollout": self.rollout,
            "memory": self.memory_settings() if own_memory else None,
            "switch": self.switch,
            "image_encoder": self.image_encoder,
            "sampling": self.sampling,
            "weights": {"container": None, "lora": None, "lora_alpha": None, **self.weights},
            "fps": self.fps,
            "size": None if self.size is None else list(self.size),
            "device": device,
            "dtype": self.dtype,
            "compile": self.compile,
            "offload": "text" if with_text else None,
        }

    def _parts(self, settings: Settings) -> Settings:
        """What it is built of, given what it is loaded with."""
        return settings if self.checkpoint is None else parts_of(settings)

    def memory_settings(self) -> Settings:
        """Its memory, inside commit reads if they are restricted.

        Raises:
            ValueError: nothing says which memory it has.
        """
        memory = self.memory or self._own("rollout").get("memory")
        if memory is None:
            raise ValueError("its memory is not known; give memory=...")
        if self.commit_reads is None:
            return dict(memory)
        return {"_target_": _COMMIT, **self.commit_reads, "memory": memory}

    def _guides(self) -> list[str]:
        """The path of the network that guides it, if another does."""
        guide = guide_of({"sampling": self.sampling})
        return [] if guide is None else [guide]

    def _loras(self) -> list[LoraFile]:
        return lora_files(self.weights.get("lora"), self.weights.get("lora_alpha"))

    def _config(self) -> Settings:
        if self.checkpoint is None or self.model is not None:
            return {}
        named = ("codec", "text", "rollout", "memory", "fps", "size")
        return _config_of(self.checkpoint, tuple(n for n in named if getattr(self, n) is not None))

    def _own(self, name: str) -> Settings:
        """The settings that it is given under a name, else the checkpoint's; empty: neither."""
        return getattr(self, name) or self._config().get(name) or {}


def _short(settings: Settings) -> str:
    """A class and its settings, in one line."""
    name = str(settings.get("_target_", "")).rpartition(".")[2]
    parts = [
        f"{key}={_short(value) if isinstance(value, dict) else value}"
        for key, value in settings.items()
        if not key.startswith("_")
    ]
    return f"{name}({', '.join(parts)})" if name or parts else ""


def _begun(generator: Generator, take: Request) -> tuple[Generator, Video | None]:
    """What goes on from a prompt's picture, and the picture if the network is not told of it."""
    picture = read_image(take.item.image, take.terms.size)[None] if take.item.image else None
    conditioned = generator.shown(picture)
    return (generator, picture) if conditioned is None else (conditioned, None)


@lru_cache(8)
def _config_of(checkpoint: str, exchanged: tuple[str, ...]) -> Settings:
    return read_vetted_export(file_of(checkpoint), exchanged)[0]


@lru_cache(1)
def _loaded(settings: str, seed: int) -> Generator:
    """Load the generator of these settings; only one is held at a time."""
    options: Settings = json.loads(settings)
    if options["checkpoint"] is not None:
        return load(options)
    return untrained(options, seed)
