"""Tables of rotary position embeddings that lie among weights: compared, and then left out.

They follow from the configuration, so that networks make them anew; some programs save them all
the same (diffusers' `rope.freqs_cos`, transformers' `rotary_emb.inv_freq`, Wan's own `freqs`).
"""

from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any, NamedTuple

import torch
from torch import Tensor

from cf.models.rope import frequencies
from cf.models.stored import CheckpointError

_COSINE = ("freqs_cos", "cos_cached", "cos")
_SINE = ("freqs_sin", "sin_cached", "sin")
_SPEED = ("inv_freq", "inv_freqs", "original_inv_freq")
_EITHER = ("freqs", "freqs_cis", "freqs_complex", "rope_freqs")
_NAMES = frozenset({*_COSINE, *_SINE, *_SPEED, *_EITHER})
_TOLERANCE = 1e-3  # of tables that were made in float32, at positions in the thousands


class Rope(NamedTuple):
    """How a network turns its tokens."""

    axes: tuple[int, int, int]
    base: float


def is_table(name: str) -> bool:
    """Whether a weight's name is that of such a table.

    >>> is_table("rope.freqs_cos"), is_table("blocks.0.ffn.0.weight")
    (True, False)
    """
    return name.rpartition(".")[2] in _NAMES


def rope_of(network: object) -> Rope | None:
    """How a network turns its tokens; None: it has no such settings.

    Args:
        network: any module.
    """
    module: Any = network
    axes, base = getattr(module, "rope_axes", None), getattr(module, "rope_base", None)
    return None if axes is None or base is None else Rope(tuple(axes), float(base))


def tables_among(
    state: Mapping[str, Tensor], names: Iterable[str], rope: Rope, source: object
) -> list[str]:
    """Those of the names that are tables of this rotation, and can be left out.

    Args:
        state: of a file.
        names: for which a network has no place.
        rope: of the network.
        source: for messages.

    Raises:
        CheckpointError: a table is of another rotation; names it and the difference.
    """
    tables = [name for name in names if is_table(name)]
    for name in tables:
        if difference := _unlike(name, state[name], rope):
            raise CheckpointError(
                f"{source} was made with other positions than this model has: {name} {difference}, "
                f"for rope_axes={list(rope.axes)} and rope_base={rope.base:g}; configure the model "
                f"as the one that was saved"
            )
    return tables


def _unlike(name: str, table: Tensor, rope: Rope) -> str:
    """By how much a table differs, in words; empty if it does not."""
    numbers = torch.view_as_real(table) if table.is_complex() else table
    expected = _expected(name.rpartition(".")[2], numbers, rope)
    if not expected:
        shape = " x ".join(map(str, table.shape)) or "a number"
        return f"has the shape {shape}, which no table has"
    rounding = torch.finfo(numbers.dtype).eps if numbers.is_floating_point() else 0.0
    wide = numbers.detach().cpu().double()
    least = min((_difference(wide.reshape(x.shape), x) for x in expected), key=itemgetter(0))
    if least[0] <= max(_TOLERANCE, 2 * rounding):
        return ""
    place = ", ".join(map(str, least[1]))
    return f"differs by up to {least[0]:.3g} from what it computes, at [{place}]"


def _difference(table: Tensor, expected: Tensor) -> tuple[float, list[int]]:
    """The largest, of speeds and of large numbers in their own size, and where it lies."""
    least = 0.0 if expected.ndim == 1 else 1.0
    apart = (table - expected).abs() / expected.abs().clamp(min=least)
    flat = apart.nan_to_num(torch.inf).flatten()
    most = flat.argmax()
    return float(flat[most]), [int(i) for i in torch.unravel_index(most, apart.shape)]


def _expected(kind: str, numbers: Tensor, rope: Rope) -> list[Tensor]:
    """What a table of this name and shape may hold; nothing if no table has the shape."""
    _, speed = frequencies(rope.axes, rope.base, torch.device("cpu"))
    shape = _without_ones(numbers.shape, speed.numel())
    if kind in _SPEED:
        per_axis = speed.split([channels // 2 for channels in rope.axes])
        return [x for x in (speed, *per_axis) if tuple(x.shape) == shape]
    if len(shape) < 2 or not numbers.numel():
        return []
    angle = torch.arange(shape[0], dtype=torch.float64)[:, None] * speed
    turned = {
        "cos": [angle.cos(), angle.cos().repeat_interleave(2, 1)],
        "sin": [angle.sin(), angle.sin().repeat_interleave(2, 1)],
        "": [angle, torch.stack((angle.cos(), angle.sin()), -1)],
    }
    which = "cos" if kind in _COSINE else "sin" if kind in _SINE else ""
    return [x for x in turned[which] if tuple(x.shape) == shape]


def _without_ones(shape: Sequence[int], pairs: int) -> tuple[int, ...]:
    """Without axes of one, by which tables are spread over batches and heads."""
    return tuple(size for size in shape if size != 1 or pairs == 1)
