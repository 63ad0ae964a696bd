"""What a generator will be, before any weight is read: the shape of its network, how it samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cf.runs.guidance import OF_GUIDANCE, guidance_of
from cf.runs.run_folder import EXPORT
from cf.settings.build import Settings, build, check
from cf.settings.checks import unknown_setting
from cf.settings.hints import hints_of
from cf.settings.sampling import Sampling

PARTS = ("model", "codec", "text", "rollout")

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

    from cf.models.base import Backbone
    from cf.models.codec import Codec
    from cf.rollout.blockwise import Rollout
    from cf.rollout.switch import Switch


@dataclass(frozen=True)
class Way:
    """How videos are sampled.

    Attributes:
        guidance: how far the network is led away from something worse; 1: it is as it is.
        guidance_times: least and most time at which it is.
        negative: text that it is led away from; None where no text guides.
        guide: weights of the network that it is led away from, or `own`; None where none guides.
    """

    rollout: Rollout
    switch: Switch
    guidance: float = 1.0
    guidance_times: tuple[float, float] = (0.0, 1.0)
    negative: str | None = None
    guide: str | None = None

    def guided(self, network: Backbone, guide: Backbone | None = None) -> Backbone:
        """The network, guided if that is asked for.

        Args:
            network: to be guided.
            guide: the network of the weights in `guide`; None where that names none.
        """
        from cf.models.guided import Guided, GuidedByNetwork

        how = self.guidance, self.guidance_times
        if self.guide is not None:
            return GuidedByNetwork(network, guide or network, *how)
        return network if self.negative is None else Guided(network, *how)


def way_of(settings: Settings, parts: Settings) -> Way:
    """What settings say of sampling, the checkpoint's own where they say nothing.

    Raises:
        ValueError: guidance without anything to lead away from, or what is for guidance without it.
    """
    sampling = {name: value for name, value in settings["sampling"].items() if value is not None}
    guidance_settings = {name: sampling.pop(name) for name in OF_GUIDANCE if name in sampling}
    rollout = {**parts["rollout"], **sampling}
    if settings.get("memory") is not None:
        rollout["memory"] = settings["memory"]
    if settings.get("pinned"):
        rollout["memory"] = _pinning(rollout["memory"], len(settings["pinned"]))
    _check_known(sampling, rollout)
    sampler: Rollout = build(rollout, "rollout")
    guidance = guidance_of(guidance_settings, parts["text"], sampler)
    return Way(sampler, build(settings["switch"], "switch"), **guidance)


def _check_known(sampling: Settings, rollout: Settings) -> None:
    """Raise a ValueError at a setting of sampling that the rollout does not have."""
    from hydra.utils import get_method

    options = [name for name in hints_of(get_method(rollout["_target_"])) if name != "return"]
    for name in sampling:
        if name not in options:
            choices = dict.fromkeys([*Sampling.__dataclass_fields__, *options])
            at = [f"sampling.{key}" for key in choices if key not in ("memory", "schedule")]
            raise ValueError(unknown_setting(f"sampling.{name}", at))


def _pinning(memory: Settings, images: int) -> Settings:
    """A memory that keeps so many key-frames, besides what it keeps by itself."""
    kind = "cf.memory.pinned.Pinned"
    within = memory if memory["_target_"] == kind else {"_target_": kind, "memory": memory}
    return {**within, "key_frames": images}


def outlined(model: Settings, dtype: str) -> Backbone:
    """The network on the meta device, where it has shapes and no numbers, in its final type."""
    import torch

    with torch.device("meta"):
        network: Backbone = build(model, "model")
    return network.to(getattr(torch, dtype)).eval().requires_grad_(False)


def check_filled(network: Backbone) -> None:
    """Raise an AssertionError if a number of the network is still missing."""
    for name, x in chain(network.named_parameters(), network.named_buffers()):
        assert not x.is_meta, f"{name} was given no numbers"


def sized(model: Settings, size: Sequence[int], codec: Codec, name: str = "size") -> Settings:
    """A network's settings for pictures of this height and width.

    Args:
        model: its settings.
        size: height and width in pixels.
        codec: whose latents it makes.
        name: of the setting that says the size, for messages.

    Raises:
        ValueError: the codec has other channels; or the sides do not divide into latents and
            tokens: names the nearest that do.
    """
    shape = model.get("latent_shape")
    if shape is None:
        return model
    if codec.channels != shape[0]:
        raise ValueError(
            f"this network makes latents of {shape[0]} channels and the codec reads "
            f"{codec.channels}: choose a codec that goes with the network, as that of its training"
        )
    steps = [codec.space_stride * patch for patch in model.get("patch_size", (2, 2))]
    if any(side % step for side, step in zip(size, steps, strict=True)):
        pairs = list(zip(size, steps, strict=True))
        lower = [max(side // step, 1) * step for side, step in pairs]
        upper = [-(-side // step) * step for side, step in pairs]
        sizes = dict.fromkeys(map(tuple, (lower, upper)))
        near = " and ".join(f"{name}=[{h},{w}]" for h, w in sizes)
        raise ValueError(
            f"{name}={list(size)}: this network makes pictures whose height is a multiple of "
            f"{steps[0]} and whose width is one of {steps[1]}; the nearest that fit are {near}"
        )
    return {**model, "latent_shape": list(codec.latent_shape(*size))}


def codec_outline(codec: Settings, settings: Settings) -> Codec:
    """The codec on the meta device, tiled if that is asked for; no weight is read."""
    outline: Codec = _outline(codec, "codec")
    if settings.get("tile") is None:
        return outline
    from cf.models.tiled import Tiled

    return Tiled(outline, int(settings["tile"]))


def text_outline(text: Settings) -> Module:
    """The text encoder on the meta device."""
    outline: Module = _outline(text, "text")
    return outline


def eyes_outline(eyes: Settings) -> Module:
    """The image encoder on the meta device."""
    outline: Module = _outline(eyes, "image_encoder")
    return outline


def _outline(part: Settings, where: str) -> Any:
    """A part by its class's own `outlined`, which reads no weights, or else as it is built."""
    import torch
    from hydra.utils import get_method

    check(part, where)
    factory = get_method(part["_target_"])
    owner = getattr(factory, "__self__", factory)
    arguments = {name: value for name, value in part.items() if not name.startswith("_")}
    with torch.device("meta"):
        if hasattr(owner, "outlined"):
            return owner.outlined(**arguments)
    return build(part, where)  # small enough


def parts_of(settings: Settings) -> Settings:
    """What the network in `settings["checkpoint"]` is built of; no weight is read.

    Raises:
        ValueError: if the file cannot be read, asks for what it may not, or does not say enough.
    """
    source = file_of(settings["checkpoint"])
    named = (*PARTS, "fps", "size")
    parts = {name: settings[name] for name in named if settings.get(name) is not None}
    if settings.get("model") is None:
        exchanged = [*parts, *(["memory"] if settings.get("memory") is not None else [])]
        parts = {**exported_parts(source, exchanged), **parts}
    for name in named:
        if name not in parts:
            raise ValueError(f"{source.name} does not say its {name}; give {name}=...")
    return {**parts, "codec": codec_for(parts["codec"], settings)}


def exported_parts(source: Path, exchanged: Sequence[str]) -> Settings:
    """What the network of an export is built of, but for what is exchanged; no weight is read.

    Raises:
        ValueError: the file cannot be read, or asks for what it may not.
    """
    from cf.settings.trusted import read_vetted_export, vet_size

    config, weights = read_vetted_export(source, exchanged)
    if "model" in config:
        vet_size(config["model"], weights, source.name)
    return config


def codec_for(codec: Settings, settings: Settings) -> Settings:
    """The codec with a number format: on a GPU bfloat16, unless one was chosen.

    A plan is one of a GPU, wherever it is made.
    """
    if codec.get("dtype") != "auto":
        return codec
    on_gpu = settings.get("plan") or settings.get("card_gb") is not None
    on_gpu = on_gpu or device_of(settings["device"]).startswith("cuda")
    return {**codec, "dtype": "bfloat16" if on_gpu else "float32"}


def file_of(checkpoint: str) -> Path:
    """The network of a run's folder, or the file or folder of weights itself."""
    path = Path(checkpoint)
    return path / EXPORT if (path / EXPORT).exists() else path


def device_of(name: str) -> str:
    """The device of a name; auto: a GPU if there is one."""
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return name


def read_checkpoint(settings: Settings) -> tuple[Settings, Mapping[str, Tensor]]:
    """What the network in `settings["checkpoint"]` is built of, and its weights.

    Raises:
        ValueError: if the file cannot be read, asks for what it may not, or does not say enough.
    """
    from cf.models.checkpoints import load_weights

    parts = parts_of(settings)
    source = file_of(settings["checkpoint"])
    return parts, load_weights(source, **(settings.get("weights") or {}))
