"""Published weights under other names: the authors', diffusers' or this project's, bit for bit."""

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from cf.files.atomic import replacing, write_text
from cf.files.home import expanded
from cf.models.checkpoints import (
    export_metadata,
    exported_config,
    load_weights,
    refuse_misfit,
    refuse_not_finite,
)
from cf.models.headers import order_metadata
from cf.models.layouts import cf_model, diffusers_model, original_model, sizes_of
from cf.models.merged import Weights
from cf.models.names import networks, to_diffusers_name
from cf.models.pickles import CONTAINERS
from cf.models.pretrained import TEXT, VAE, check_whole, parse_dtype, read_part
from cf.models.rope import ROPE_BASE, wan_axes
from cf.models.rope_tables import Rope, is_table, tables_among
from cf.models.stored import CheckpointError, some
from cf.models.text_names import (
    is_text,
    text_config,
    to_original_text,
    to_transformers_text,
    with_tied,
)
from cf.models.transformer import VideoTransformer
from cf.models.updates import Lora
from cf.models.vae_names import is_original_vae, to_diffusers_vae, to_original_vae, vae_config
from cf.models.weight_files import read_json, read_stored

LAYOUTS = ("original", "diffusers", "cf")
_SHARD = 10**10  # bytes, as diffusers
_OWN = ("control_embedding.", "compressor.")
_SAID = ("latents_mean", "latents_std")


@dataclass(frozen=True)
class Files:
    """What is to be written.

    Attributes:
        names: of each tensor in the new file, by that in the old one.
        file: what the file is called in a folder.
        config: what config.json says; None: none is written.
        metadata: of the safetensors header.
    """

    names: Mapping[str, str]
    file: str
    config: Mapping[str, Any] | None = None
    metadata: Mapping[str, str] | None = None


def convert(
    source: str,
    out: str,
    to: str,
    container: str | None = None,
    lora: Lora = None,
    lora_alpha: float | None = None,
    dtype: str | None = None,
    num_heads: int | None = None,
) -> list[Path]:
    """Write a transformer, a codec or a text encoder in another layout.

    The numbers stay, bit for bit, unless LoRAs are merged, they were quantised, or dtype is given.

    Args:
        source: a file, or a folder with one part, in any layout that is read.
        out: a folder; or a file (.safetensors, .pth), which then has no config.json beside it.
        to: original, diffusers or cf.
        container: which network of the file.
        lora: updates to merge, as `load_weights` takes them.
        lora_alpha: theirs, likewise.
        dtype: float32, bfloat16 or float16; None: as stored, and float32 where it was quantised.
        num_heads: of a transformer; None: as its config.json says, or heads of 128 channels.

    Raises:
        ValueError: if the layout is unknown, the target exists, or the source is nothing of this.
    """
    if to not in LAYOUTS:
        raise ValueError(f"to must be one of {', '.join(LAYOUTS)}, got {to!r}")
    target = expanded(out)
    if target.is_file() or (target.is_dir() and any(target.iterdir())):
        raise ValueError(f"out={out} exists; give another folder or file, or remove it")
    wanted = None if dtype is None else parse_dtype(dtype)
    path = expanded(source)
    stored = read_stored(path, container, CONTAINERS)
    place = stored.file if stored.file.is_dir() else stored.file.parent
    said = read_json(place / "config.json")
    said = said if isinstance(said, dict) else {}
    if networks(stored.state):
        state = load_weights(path, container, lora, lora_alpha)
        config = exported_config(stored.said)
        heads = num_heads or _heads(config.get("model")) or _heads(said)
        files = _transformer(state, to, path, heads, config)
        return _write(state, files, target, wanted, path)
    if lora is not None or to == "cf":
        raise ValueError(
            f"{source} is no transformer, so it takes no lora and to=cf; give to=original or "
            "to=diffusers, in either of which it is read"
        )
    parts = read_part(path, VAE, TEXT)
    files = _part(parts.raw, to, path, said, wanted)
    return _write(parts, files, target, wanted, path)


def _transformer(
    weights: Weights, to: str, path: Path, heads: int | None, exported: Mapping[str, Any]
) -> Files:
    state = weights.raw
    of_writer = [name for name in state if name.startswith(_OWN)]
    if of_writer and to != "cf":
        raise CheckpointError(
            f"{path} holds {some(of_writer)}, for which the layout {to!r} has no place; give to=cf"
        )
    sizes = sizes_of(state, heads, path)
    rope = Rope(wan_axes(sizes.dim // sizes.num_heads), ROPE_BASE)
    left_out = tables_among(weights, filter(is_table, state), rope, path)
    names = {name: name for name in state if name not in left_out}
    if not exported:
        settings = {name: x for name, x in cf_model(sizes).items() if name != "_target_"}
        with torch.device("meta"):
            network = VideoTransformer(**settings)
        refuse_misfit(network, weights, str(path))
    if to == "cf":
        metadata = export_metadata(exported or {"model": cf_model(sizes)})
        return Files(names, "network.safetensors", None, metadata)
    _refuse_unsaid(exported.get("model"), rope, to, path)
    file, metadata = "diffusion_pytorch_model.safetensors", {"format": "pt"}
    if to == "original":
        return Files(names, file, original_model(sizes), metadata)
    theirs = {name: to_diffusers_name(name) for name in names}
    return Files(theirs, file, diffusers_model(sizes), metadata)


def _refuse_unsaid(model: Any, rope: Rope, to: str, path: Path) -> None:
    """Refuse an export whose network does what no shape and no other layout says."""
    theirs = {"prediction": "velocity", "eps": 1e-6, "text_len": 512, "rope_base": rope.base}
    theirs |= {"rope_axes": rope.axes}
    settings = model if isinstance(model, dict) else {}
    differing = [
        f"{name}={settings[name]}"
        for name, value in theirs.items()
        if settings.get(name) is not None
        and (tuple(settings[name]) if name == "rope_axes" else settings[name]) != value
    ]
    if differing:
        raise CheckpointError(
            f"{path} has {some(differing)}, which the layout {to!r} cannot say; give to=cf"
        )


def _part(
    state: Mapping[str, Tensor], to: str, path: Path, said: dict[str, Any], dtype: Any
) -> Files:
    original, metadata = to == "original", {"format": "pt"}
    if is_text(state):
        names = {name: to_transformers_text(name) for name in state}
        named = {names[name]: weight for name, weight in state.items()}
        config = text_config(named, path)
        check_whole("UMT5EncoderModel", config, with_tied(named), path)
        if not original:
            kind = {"architectures": ["UMT5EncoderModel"], "model_type": "umt5"}
            return Files(names, "model.safetensors", kind | config, metadata)
        back = {name: to_original_text(theirs) for name, theirs in names.items()}
        originals = {name: ours for name, ours in back.items() if ours is not None}
        ending = "-bf16" if dtype in (None, torch.bfloat16) else ""
        return Files(originals, f"models_t5_umt5-xxl-enc{ending}.pth")
    is_original = is_original_vae(state)
    if not is_original and "decoder.conv_in.weight" not in state:
        raise CheckpointError(
            f"{path} holds no transformer, codec or text encoder of Wan ({some(list(state))}); "
            "give one"
        )
    ours = {n: n for n in state} if is_original else to_original_vae(state)
    named = {ours[name]: weight for name, weight in state.items()}
    config = vae_config(named, path)
    theirs = to_diffusers_vae(state) if is_original else {n: n for n in state}
    as_diffusers = {theirs[name]: weight for name, weight in state.items()}
    check_whole("AutoencoderKLWan", config | said, as_diffusers, path)
    if original:
        if any(key in said and list(said[key]) != config[key] for key in _SAID):
            raise CheckpointError(
                f"{path} is normalised by other numbers than the authors' VAE, whose file cannot "
                "say them; keep diffusers' layout"
            )
        return Files(ours, "Wan2.1_VAE.pth" if config["z_dim"] == 16 else "Wan2.2_VAE.pth")
    kind = {"_class_name": "AutoencoderKLWan"}
    return Files(theirs, "diffusion_pytorch_model.safetensors", kind | config | said, metadata)


def _heads(said: Any) -> int | None:
    if not isinstance(said, dict):
        return None
    heads = said.get("num_attention_heads", said.get("num_heads"))
    return heads if type(heads) is int and heads > 0 else None


def _write(
    state: Mapping[str, Tensor],
    files: Files,
    target: Path,
    dtype: torch.dtype | None,
    source: Path,
) -> list[Path]:
    """The files, or none of them."""
    alone = target.suffix in (".safetensors", ".pth", ".pt")
    folder = target.parent if alone else target
    is_new = not folder.exists()
    first = target if alone else folder / files.file
    shards = [list(files.names)]
    if files.config is not None and not alone:
        shards = _shards(state, files, dtype)
    written: list[Path] = []
    where: dict[str, str] = {}
    try:
        for i, names in enumerate(shards):
            path = first
            if len(shards) > 1:
                path = first.with_stem(f"{first.stem}-{i + 1:05}-of-{len(shards):05}")
            where |= {files.names[name]: path.name for name in names}
            part = {files.names[name]: _cast(name, state[name], dtype, source) for name in names}
            _save(part, path, files.metadata)
            written.append(path)
        if len(shards) > 1:
            index = {"metadata": {}, "weight_map": where}
            written.append(first.with_name(f"{first.name}.index.json"))
            write_text(written[-1], json.dumps(index, indent=2) + "\n")
        if files.config is not None and not alone:
            written.append(folder / "config.json")
            write_text(written[-1], json.dumps(files.config, indent=2) + "\n")
    except BaseException:
        for path in written:
            path.unlink(missing_ok=True)
        if is_new:
            with suppress(OSError):
                folder.rmdir()
        raise
    return written


def _shards(
    state: Mapping[str, Tensor], files: Files, dtype: torch.dtype | None
) -> list[list[str]]:
    raw: Callable[[str], Tensor] = getattr(state, "raw", state).__getitem__
    shards: list[list[str]] = [[]]
    total = 0
    for name in files.names:
        weight = raw(name)
        size = weight.numel() * (weight.element_size() if dtype is None else dtype.itemsize)
        if total + size > _SHARD and shards[-1]:
            shards.append([])
            total = 0
        shards[-1].append(name)
        total += size
    return shards


def _cast(name: str, weight: Tensor, dtype: torch.dtype | None, source: Path) -> Tensor:
    refuse_not_finite({name: weight}, str(source))
    converted = (weight.detach() if dtype is None else weight.detach().to(dtype)).contiguous()
    if dtype == torch.float16 and not converted.isfinite().all():
        raise CheckpointError(
            f"{source} holds numbers in {name} that float16 cannot hold; give dtype=bfloat16"
        )
    return converted


def _save(state: dict[str, Tensor], path: Path, metadata: Mapping[str, str] | None) -> None:
    with replacing(path) as temporary:
        if path.suffix == ".safetensors":
            save_file({n: x.clone() for n, x in state.items()}, temporary, dict(metadata or {}))
            order_metadata(temporary)
        else:
            torch.save(state, temporary)
