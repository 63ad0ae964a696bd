"""Wan's VAE as its authors store it: their names, diffusers' names, and sizes told by shapes."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor

from cf.models.names import renamed_part
from cf.models.stored import CheckpointError

_RESNET = {
    "residual.0": "norm1",
    "residual.2": "conv1",
    "residual.3": "norm2",
    "residual.6": "conv2",
    "shortcut": "conv_shortcut",
}
_SIDE = {
    "conv1": "conv_in",
    "middle.0": "mid_block.resnets.0",
    "middle.1": "mid_block.attentions.0",
    "middle.2": "mid_block.resnets.1",
    "head.0": "norm_out",
    "head.2": "conv_out",
}
_TOP = {"conv1": "quant_conv", "conv2": "post_quant_conv"}
# What latents are normalised by stands in the authors' code, not in their files.
_MEANS: dict[int, str] = {
    16: """-0.7571 -0.7089 -0.9113 0.1075 -0.1745 0.9653 -0.1517 1.5508 0.4134 -0.0715 0.5517
        -0.3632 -0.1922 -0.9497 0.2503 -0.2921""",
    48: """-0.2289 -0.0052 -0.1323 -0.2339 -0.2799 0.0174 0.1838 0.1557 -0.1382 0.0542 0.2813
        0.0891 0.1570 -0.0098 0.0375 -0.1825 -0.2246 -0.1207 -0.0698 0.5109 0.2665 -0.2108 -0.2158
        0.2502 -0.2055 -0.0322 0.1109 0.1567 -0.0729 0.0899 -0.2799 -0.1230 -0.0313 -0.1649 0.0117
        0.0723 -0.2839 -0.2083 -0.0520 0.3748 0.0152 0.1957 0.1433 -0.2944 0.3573 -0.0548 -0.1681
        -0.0667""",
}
_STDS: dict[int, str] = {
    16: """2.8184 1.4541 2.3275 2.6558 1.2196 1.7708 2.6052 2.0743 3.2687 2.1526 2.8652 1.5579
        1.6382 1.1253 2.8251 1.9160""",
    48: """0.4765 1.0364 0.4514 1.1677 0.5313 0.4990 0.4818 0.5013 0.8158 1.0344 0.5894 1.0901
        0.6885 0.6165 0.8454 0.4978 0.5759 0.3523 0.7135 0.6804 0.5833 1.4146 0.8986 0.5659 0.7069
        0.5338 0.4889 0.4917 0.4069 0.4999 0.6866 0.4093 0.5709 0.6065 0.6415 0.4944 0.5726 1.2042
        0.5458 1.6887 0.3971 1.0600 0.3943 0.5537 0.5444 0.4089 0.7468 0.7744""",
}
_FLAT = re.compile(r"(en|de)coder\.(down|up)samples\.(\d+)\.(.+)")
_NESTED = re.compile(r"(en|de)coder\.(down|up)samples\.(\d+)\.(?:down|up)samples\.(\d+)\.(.+)")
_BLOCKS = re.compile(
    r"(en|de)coder\.(down|up)_blocks\.(\d+)\.(?:(resnets|upsamplers)\.(\d+)\.|((?:down|up)sampler)\.)?"
    r"(.+)"
)


def is_original_vae(names: Iterable[str]) -> bool:
    """Whether these are the authors' own names of a VAE's weights."""
    return {"encoder.conv1.weight", "decoder.conv1.weight", "conv2.weight"} <= set(names)


def to_diffusers_vae(names: Iterable[str]) -> dict[str, str]:
    """What diffusers' `AutoencoderKLWan` calls each weight of an original VAE.

    Args:
        names: all of them, since a decoder's names hang on the number of its blocks.
    """
    names = list(names)
    blocks = {side: _blocks(names, side) for side in ("en", "de")}
    return {name: _theirs(name, blocks) for name in names}


def to_original_vae(names: Iterable[str]) -> dict[str, str]:
    """What Wan's authors call each weight of diffusers' `AutoencoderKLWan`."""
    names = list(names)
    blocks = [match for name in names if (match := _BLOCKS.fullmatch(name))]
    resnets = {
        side: 1 + max((int(m[5]) for m in blocks if m[1] == side and m[4] == "resnets"), default=0)
        for side in ("en", "de")
    }
    nested = any(match[6] for match in blocks)
    return {name: _ours(name, resnets, nested) for name in names}


def vae_config(state: Mapping[str, Tensor], source: object) -> dict[str, Any]:
    """The settings of diffusers' `AutoencoderKLWan` that make an original VAE.

    Args:
        state: its weights, under the authors' names.
        source: for messages.

    Raises:
        CheckpointError: if it is another VAE than those of Wan2.1 and Wan2.2.
    """
    first, channels = state["encoder.conv1.weight"], len(state["conv2.weight"])
    if channels not in _MEANS:
        raise CheckpointError(
            f"{source} is a VAE of {channels} channels, but those of Wan have 16 or 48; give "
            "Wan2.1_VAE.pth or Wan2.2_VAE.pth, or a VAE with its config.json in diffusers' layout"
        )
    names = to_diffusers_vae(state)
    shapes = {names[name]: weight.shape for name, weight in state.items()}
    nested = "encoder.downsamples.0.downsamples.0.residual.2.weight" in state
    widths, deeper = _stages(shapes, nested)
    base, patch = len(first), round((first.shape[1] / 3) ** 0.5)
    return {
        "base_dim": base,
        "decoder_base_dim": len(state["decoder.conv1.weight"]) * base // widths[-1],
        "z_dim": channels,
        "dim_mult": [width // base for width in widths],
        "num_res_blocks": _blocks(state, "en"),
        "attn_scales": [],
        "temperal_downsample": deeper,
        "dropout": 0.0,
        "latents_mean": [float(x) for x in _MEANS[channels].split()],
        "latents_std": [float(x) for x in _STDS[channels].split()],
        "is_residual": nested,
        "in_channels": first.shape[1],
        "out_channels": len(state["decoder.head.2.weight"]),
        "patch_size": None if patch == 1 else patch,
        "scale_factor_temporal": 2 ** sum(deeper),
        "scale_factor_spatial": patch * 2 ** len(deeper),
    }


def _stages(shapes: Mapping[str, Any], nested: bool) -> tuple[list[int], list[bool]]:
    """Widths of the encoder's stages, and whether time is halved between each two."""
    widths: list[int] = []
    deeper: list[bool] = []
    count = 1 + max(int(m[3]) for name in shapes if (m := _BLOCKS.fullmatch(name)) and m[1] == "en")
    ends = []
    for at in range(count):
        place = f"encoder.down_blocks.{at}."
        inner = "downsampler." if nested else ""
        conv = shapes.get(f"{place}{'resnets.0.' if nested else ''}conv1.weight")
        if conv is not None:
            ends.append(conv[0])
        if f"{place}{inner}resample.1.weight" in shapes:
            widths.append(ends[-1])
            deeper.append(f"{place}{inner}time_conv.weight" in shapes)
    return [*widths, ends[-1]], deeper


def _blocks(names: Iterable[str], side: str) -> int:
    """Residual blocks in a stage; of a decoder one more than the setting says."""
    resamples, residuals = set(), set()
    for name in names:
        nested, flat = _NESTED.fullmatch(name), _FLAT.fullmatch(name)
        if nested and nested[1] == side and nested[3] == "0" and "residual." in nested[5]:
            residuals.add(int(nested[4]))
        elif not nested and flat and flat[1] == side and flat[4].startswith("resample."):
            resamples.add(int(flat[3]))
    if residuals:
        return 1 + max(residuals)
    return min(resamples, default=0)


def _theirs(name: str, blocks: Mapping[str, int]) -> str:
    if match := _NESTED.fullmatch(name):
        side, way, stage, at, rest = match.groups()
        module = f"resnets.{at}" if int(at) < blocks[side] else f"{way}sampler"
        return f"{side}coder.{way}_blocks.{stage}.{module}.{renamed_part(rest, _RESNET)}"
    if match := _FLAT.fullmatch(name):
        side, way, at, rest = match.groups()
        if side == "en":
            return f"encoder.down_blocks.{at}.{renamed_part(rest, _RESNET)}"
        stage, inner = divmod(int(at), blocks[side] + 1)
        module = f"resnets.{inner}" if inner < blocks[side] else "upsamplers.0"
        return f"decoder.up_blocks.{stage}.{module}.{renamed_part(rest, _RESNET)}"
    side, _, rest = name.partition(".")
    if side in ("encoder", "decoder"):
        middle = rest.startswith("middle.")
        rest = renamed_part(rest, _SIDE)
        if middle and ".resnets." in rest:
            *before, last = rest.rsplit(".resnets.", 1)
            index, _, last = last.partition(".")
            rest = f"{before[0]}.resnets.{index}.{renamed_part(last, _RESNET)}"
        return f"{side}.{rest}"
    return renamed_part(name, _TOP)


def _ours(name: str, resnets: Mapping[str, int], nested: bool) -> str:
    back = {new: old for old, new in _RESNET.items()}
    if match := _BLOCKS.fullmatch(name):
        side, way, stage, kind, at, sampler, rest = match.groups()
        rest = renamed_part(rest, back)
        if nested or sampler:
            place = resnets[side] if sampler else at
            return f"{side}coder.{way}samples.{stage}.{way}samples.{place}.{rest}"
        if side == "en":
            return f"encoder.downsamples.{stage}.{rest}"
        inner = resnets[side] if kind == "upsamplers" else int(at)
        return f"decoder.upsamples.{int(stage) * (resnets[side] + 1) + inner}.{rest}"
    side, _, rest = name.partition(".")
    if side in ("encoder", "decoder"):
        middle = ".resnets." in rest
        rest = renamed_part(rest, {new: old for old, new in _SIDE.items()})
        if middle:
            first, index, last = rest.split(".", 2)
            rest = f"{first}.{index}.{renamed_part(last, back)}"
        return f"{side}.{rest}"
    return renamed_part(name, {new: old for old, new in _TOP.items()})
