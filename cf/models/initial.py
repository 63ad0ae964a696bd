"""What a `VideoTransformer` begins with: sizes that fit one another, and its first weights."""

from collections.abc import Sequence
from typing import Any

from torch import nn

from cf.bounds import check_least
from cf.models.blocks import TransformerBlock
from cf.models.rope import wan_axes


def mlp(width: int, dim: int, activation: nn.Module) -> nn.Sequential:
    """Two linear layers with an activation between them."""
    return nn.Sequential(nn.Linear(width, dim), activation, nn.Linear(dim, dim))


def initialise(
    network: Any,
    qk_bias: float,
    qk_gain: float,
    qk_alike: bool,
    control_gain: float | None,
    zero_head: bool,
) -> None:
    """Give a `VideoTransformer` the weights with which a training begins; see its attributes."""
    check_least(0, control_gain=control_gain)
    for module in network.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)
    nn.init.xavier_uniform_(network.patch_embedding.weight.flatten(1))
    for embedding in (network.text_embedding, network.time_embedding):
        for layer in embedding or ():
            if isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, std=0.02)
    if network.control_embedding is not None and control_gain is not None:
        nn.init.normal_(network.control_embedding.weight, std=control_gain)
    for block in network.blocks:
        assert isinstance(block, TransformerBlock)
        for projection in (block.self_attn.q, block.self_attn.k):
            nn.init.constant_(projection.bias, qk_bias)
        for norm in (block.self_attn.norm_q, block.self_attn.norm_k):
            nn.init.constant_(norm.weight, qk_gain)
        if qk_alike:
            block.self_attn.k.load_state_dict(block.self_attn.q.state_dict())
    if zero_head:
        nn.init.zeros_(network.head.head.weight)


def checked_axes(dim: int, num_heads: int, axes: Sequence[int] | None) -> tuple[int, int, int]:
    """Channels of a head for (frame, row, column).

    Raises:
        ValueError: if heads do not split so.
    """
    head_dim = dim // max(num_heads, 1)
    if num_heads < 1 or dim % num_heads or head_dim % 2:
        raise ValueError(
            f"dim={dim} must split into num_heads={num_heads} heads of an even number of channels"
        )
    frame, row, column = wan_axes(head_dim) if axes is None else axes
    if frame + row + column != head_dim or frame % 2 or row % 2 or column % 2:
        raise ValueError(
            f"rope_axes={[frame, row, column]} must be even and sum to the {head_dim} channels "
            f"of a head"
        )
    return frame, row, column


def checked_latent_shape(shape: Sequence[int], patch: Sequence[int]) -> tuple[int, int, int]:
    """Channels, height and width of a latent frame.

    Raises:
        ValueError: if it cannot be cut into patches.
    """
    channels, height, width = shape
    if height % patch[0] or width % patch[1]:
        raise ValueError(
            f"latent_shape={list(shape)} cannot be cut into patches of {patch[0]} x {patch[1]}"
        )
    return channels, height, width


def checked_cells(cells: Sequence[int] | None, width: int | None) -> tuple[int, int] | None:
    """Rows and columns of a control signal that differs over the picture.

    Raises:
        ValueError: if there are none of them, or no signal.
    """
    if cells is None:
        return None
    if len(cells) != 2 or min(cells) < 1 or width is None:
        raise ValueError(
            f"control_cells={list(cells)} must be rows and columns, with control_dim numbers in "
            f"each cell (control_dim is {width})"
        )
    return cells[0], cells[1]
