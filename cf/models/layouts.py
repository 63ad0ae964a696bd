"""How each layout's config.json describes a transformer of Wan's architecture."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from cf.models.kinds import channels
from cf.models.stored import CheckpointError, some

_HEAD_WIDTH = 128  # of every published size
_TELLING = ("patch_embedding.weight", "blocks.0.ffn.0.weight", "time_embedding.0.weight")


@dataclass(frozen=True)
class Sizes:
    """What shapes tell of a transformer; the widths of what it lacks are None."""

    dim: int
    num_heads: int
    num_layers: int
    ffn_dim: int
    takes: int
    makes: int
    patch: tuple[int, int]
    freq_dim: int
    text_dim: int | None
    image_dim: int | None
    control_dim: int | None
    compressor_rank: int | None


def sizes_of(state: Mapping[str, Tensor], heads: int | None, source: object) -> Sizes:
    """Sizes of a transformer.

    Args:
        state: under Wan's own names.
        heads: of attention; None: as wide as those that are published.
        source: for messages.

    Raises:
        CheckpointError: if heads are of another width, and none are given, or weights are missing.
    """
    if lost := [name for name in _TELLING if name not in state]:
        raise CheckpointError(f"{source} lacks {some(lost)}; give all weights of a transformer")
    patches = state["patch_embedding.weight"]
    dim = patches.shape[0]
    if heads is None and dim % _HEAD_WIDTH:
        raise CheckpointError(
            f"{source} does not say how many heads its {dim} channels make; give num_heads=..."
        )
    count = heads or dim // _HEAD_WIDTH
    if dim % count:
        raise CheckpointError(f"{source}: {dim} channels do not make num_heads={count}")
    takes, makes = channels(state)

    def width(name: str, axis: int = 1) -> int | None:
        return state[name].shape[axis] if name in state else None

    return Sizes(
        dim=dim,
        num_heads=count,
        num_layers=len({name.split(".")[1] for name in state if name.startswith("blocks.")}),
        ffn_dim=state["blocks.0.ffn.0.weight"].shape[0],
        takes=takes,
        makes=makes,
        patch=(patches.shape[3], patches.shape[4]),
        freq_dim=state["time_embedding.0.weight"].shape[1],
        text_dim=width("text_embedding.0.weight"),
        image_dim=width("img_emb.proj.1.weight"),
        control_dim=width("control_embedding.weight"),
        compressor_rank=width("compressor.down"),
    )


def original_model(sizes: Sizes) -> dict[str, Any]:
    """As Wan's authors describe it."""
    return {
        "_class_name": "WanModel",
        "dim": sizes.dim,
        "eps": 1e-06,
        "ffn_dim": sizes.ffn_dim,
        "freq_dim": sizes.freq_dim,
        "in_dim": sizes.takes,
        "model_type": "t2v" if sizes.takes == sizes.makes else "i2v",
        "num_heads": sizes.num_heads,
        "num_layers": sizes.num_layers,
        "out_dim": sizes.makes,
        "text_len": 512,
    }


def diffusers_model(sizes: Sizes) -> dict[str, Any]:
    """As diffusers' `WanTransformer3DModel` takes it."""
    return {
        "_class_name": "WanTransformer3DModel",
        "added_kv_proj_dim": None if sizes.image_dim is None else sizes.dim,
        "attention_head_dim": sizes.dim // sizes.num_heads,
        "cross_attn_norm": True,
        "eps": 1e-06,
        "ffn_dim": sizes.ffn_dim,
        "freq_dim": sizes.freq_dim,
        "image_dim": sizes.image_dim,
        "in_channels": sizes.takes,
        "num_attention_heads": sizes.num_heads,
        "num_layers": sizes.num_layers,
        "out_channels": sizes.makes,
        "patch_size": [1, *sizes.patch],
        "qk_norm": "rms_norm_across_heads",
        "rope_max_seq_len": 1024,
        "text_dim": sizes.text_dim,
    }


def cf_model(sizes: Sizes) -> dict[str, Any]:
    """As `VideoTransformer` takes it; pictures of the size that Wan's models make by default."""
    large = sizes.makes == 48
    shape = [sizes.makes, 44, 80] if large else [sizes.makes, 60, 104]
    return {
        "_target_": "cf.models.transformer.VideoTransformer",
        "dim": sizes.dim,
        "num_heads": sizes.num_heads,
        "num_layers": sizes.num_layers,
        "ffn_dim": sizes.ffn_dim,
        "latent_shape": shape,
        "patch_size": list(sizes.patch),
        "freq_dim": sizes.freq_dim,
        "text_dim": sizes.text_dim,
        "image_dim": sizes.image_dim,
        "reference_channels": sizes.takes - sizes.makes,
        "control_dim": sizes.control_dim,
        "compressor_rank": sizes.compressor_rank,
    }
