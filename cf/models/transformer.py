"""The video diffusion transformer: Wan2.1's architecture, any size, causal or bidirectional."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812  (its usual name)
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.attention.flex_attention import BlockMask
from torch.utils.checkpoint import checkpoint

from cf.models.attention import (
    CrossAttention,
    Reading,
    Remembered,
    SelfAttention,
    mask_for,
    with_room,
)
from cf.models.base import NOTHING, Backbone, Prepared
from cf.models.compressor import Compressor
from cf.models.masks import Mask
from cf.models.rope import Rotation, rotate, rotation, wan_axes
from cf.types import Block, Conditioning, Latents, LayerKV, Live, Past, Prediction, Times

Tokens = Float[Tensor, "b f n dim"]
TextKV = tuple[Tensor, Tensor]


class BlockInputs(NamedTuple):
    """What a transformer block reads besides its tokens."""

    place: tuple[Rotation, Rotation]
    past: Remembered | Reading | None
    text: TextKV | None
    mask: Tensor | BlockMask | None


class TransformerBlock(nn.Module):
    """Self-attention, cross-attention where there is text, feed-forward; modulated by time."""

    def __init__(
        self, dim: int, num_heads: int, ffn_dim: int, eps: float, cross_attention: bool
    ) -> None:
        super().__init__()
        self.eps = eps
        self.modulation = nn.Parameter(torch.randn(1, 6, dim) / dim**0.5)
        self.self_attn = SelfAttention(dim, num_heads, eps)
        self.norm3 = nn.LayerNorm(dim, eps) if cross_attention else None
        self.cross_attn = CrossAttention(dim, num_heads, eps) if cross_attention else None
        self.ffn = nn.Sequential(
            nn.Linear(dim, ffn_dim), nn.GELU(approximate="tanh"), nn.Linear(ffn_dim, dim)
        )

    def forward(
        self, x: Tokens, time: Float[Tensor, "b f 6 dim"], reads: BlockInputs
    ) -> tuple[Tokens, Tensor, Tensor, Tensor]:
        """The tokens after this block, and its queries, keys (both before RoPE) and values."""
        modulation = (self.modulation + time).unsqueeze(3)
        shift1, scale1, gate1, shift2, scale2, gate2 = modulation.unbind(2)
        shape = x.shape[1:3]
        tokens = _modulated(x, shift1, scale1, self.eps).flatten(1, 2)
        attended, q, k, v = self.self_attn(tokens, reads.place, reads.past, reads.mask)
        x = x + gate1 * attended.unflatten(1, shape)
        if self.cross_attn is not None and self.norm3 is not None:
            assert reads.text is not None
            attended = self.cross_attn(self.norm3(x).flatten(1, 2), reads.text)
            x = x + attended.unflatten(1, shape)
        return x + gate2 * self.ffn(_modulated(x, shift2, scale2, self.eps)), q, k, v


class Head(nn.Module):
    """From tokens to patches."""

    def __init__(self, dim: int, patch_dim: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.modulation = nn.Parameter(torch.randn(1, 2, dim) / dim**0.5)
        self.head = nn.Linear(dim, patch_dim)

    def forward(self, x: Tokens, time: Float[Tensor, "b f dim"]) -> Float[Tensor, "b f n patch"]:
        """One patch per token."""
        shift, scale = (self.modulation + time.unsqueeze(2)).unsqueeze(3).unbind(2)
        out: Tensor = self.head(_modulated(x, shift, scale, self.eps))
        return out


def _modulated(x: Tokens, shift: Tensor, scale: Tensor, eps: float) -> Tokens:
    return F.layer_norm(x, x.shape[-1:], eps=eps) * (1 + scale) + shift


class VideoTransformer(Backbone):
    """One network for every role and size; parameters carry Wan2.1's names.

    Wan2.1: https://arxiv.org/abs/2503.20314. Positions are data, so resolution, length and
    placement of frames are the caller's.

    Attributes:
        dim, num_heads, num_layers, ffn_dim: width, heads, depth and feed-forward width.
        latent_shape: channels, height, width that it generates by default; any other works too.
        patch_size: rows and columns of latents in a token.
        text_dim: width of the text encoder's states; None builds no cross-attention.
        text_len: text is zero-padded to this many tokens, which are all attended.
        control_dim: width of the per-frame control signal; None for none.
        freq_dim: width of the sinusoid of time.
        rope_axes: channels of a head for (frame, row, column); None: Wan2.1's split.
        prediction: "velocity" as Wan2.1, or "x0", which small models on large patches need.
        x0_limit: clamps a predicted x0 to +-x0_limit; only for prediction "x0".
        min_time: below it, an x0 prediction is turned into velocity as if at it.
        qk_bias, qk_gain: initial bias of the query and key projections, and gain of their norm.
        control_gain: initial spread of the control embedding; None: a linear layer's. A one-hot
            control is found much sooner at 1.
        zero_head: start from velocity or x0 equal to 0, as Wan2.1.
        activation_checkpointing: recompute each block in the backward pass.
        compressor_rank: width of a `Compressor` that the network owns, which `memory=learned`
            asks to make old frames small; None for none.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        num_layers: int,
        ffn_dim: int,
        latent_shape: Sequence[int] = (16, 60, 104),
        patch_size: Sequence[int] = (2, 2),
        text_dim: int | None = None,
        text_len: int = 512,
        control_dim: int | None = None,
        freq_dim: int = 256,
        rope_axes: Sequence[int] | None = None,
        rope_base: float = 10_000.0,
        eps: float = 1e-6,
        prediction: Literal["velocity", "x0"] = "velocity",
        x0_limit: float | None = None,
        min_time: float = 0.1,
        qk_bias: float = 0.0,
        qk_gain: float = 1.0,
        control_gain: float | None = None,
        zero_head: bool = True,
        activation_checkpointing: bool = False,
        compressor_rank: int | None = None,
    ) -> None:
        super().__init__()
        self.rope_axes = _checked_axes(dim, num_heads, rope_axes)
        self.latent_shape = _checked_latent_shape(latent_shape, patch_size)
        if prediction not in ("velocity", "x0"):
            raise ValueError(f"prediction must be velocity or x0, got {prediction!r}")
        if num_layers < 1 or freq_dim < 2 or freq_dim % 2:
            raise ValueError(
                f"num_layers={num_layers} must be at least 1 and freq_dim={freq_dim} even"
            )
        channels, rows, columns = self.latent_shape[0], *patch_size
        self.patch_size = (rows, columns)
        self.rope_base, self.freq_dim, self.text_len = rope_base, freq_dim, text_len
        self.prediction, self.x0_limit, self.min_time = prediction, x0_limit, min_time
        self.activation_checkpointing = activation_checkpointing
        self.text_dim, self.control_dim = text_dim, control_dim

        self.patch_embedding = nn.Conv3d(channels, dim, (1, rows, columns), (1, rows, columns))
        self.text_embedding = None if text_dim is None else _mlp(text_dim, dim, nn.GELU("tanh"))
        self.control_embedding = None if control_dim is None else nn.Linear(control_dim, dim)
        self.time_embedding = _mlp(freq_dim, dim, nn.SiLU())
        self.time_projection = nn.Sequential(nn.SiLU(), nn.Linear(dim, 6 * dim))
        self.blocks = nn.ModuleList(
            TransformerBlock(dim, num_heads, ffn_dim, eps, text_dim is not None)
            for _ in range(num_layers)
        )
        self.head = Head(dim, channels * rows * columns, eps)
        self._initialise(qk_bias, qk_gain, control_gain, zero_head)
        self.compressor = None
        if compressor_rank is not None:
            self.compressor = Compressor(dim, num_heads, num_layers, compressor_rank)

    def _initialise(
        self, qk_bias: float, qk_gain: float, control_gain: float | None, zero_head: bool
    ) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        nn.init.xavier_uniform_(self.patch_embedding.weight.flatten(1))
        for embedding in (self.text_embedding, self.time_embedding):
            for layer in embedding or ():
                if isinstance(layer, nn.Linear):
                    nn.init.normal_(layer.weight, std=0.02)
        if self.control_embedding is not None and control_gain is not None:
            nn.init.normal_(self.control_embedding.weight, std=control_gain)
        for block in self.blocks:
            assert isinstance(block, TransformerBlock)
            for projection in (block.self_attn.q, block.self_attn.k):
                nn.init.constant_(projection.bias, qk_bias)
            for norm in (block.self_attn.norm_q, block.self_attn.norm_k):
                nn.init.constant_(norm.weight, qk_gain)
        if zero_head:
            nn.init.zeros_(self.head.head.weight)

    @property
    def dtype(self) -> torch.dtype:
        """The type of its parameters."""
        return self.patch_embedding.weight.dtype

    @property
    def device(self) -> torch.device:
        """Where its parameters are."""
        return self.patch_embedding.weight.device

    def prepare(self, past: Past, cond: Conditioning) -> Prepared:
        """Rotate remembered keys and project the text, once per distinct read of a block."""
        layers, placed, place = [], None, None
        for layer in past.layers if past.live is None else ():
            if place is None or layer.ids is not placed:
                place = None  # not kept: with positions per layer they would add up to many keys
                placed, place = layer.ids, self._rotation(layer.ids)
            layers.append(_remembered(layer, place, past.bias, past.room))
        text = self._project_text(cond)
        return Prepared(tuple(layers), past.start, text, past.query_start, past.live)

    def forward(
        self,
        x_t: Latents,
        t: Times,
        cond: Conditioning,
        past: Prepared = NOTHING,
        mask: Mask | None = None,
    ) -> Prediction:
        """See `Backbone.forward`."""
        if mask is not None and (past.layers or past.live):
            raise ValueError("a mask orders frames that are forwarded at once; it takes no past")
        batch, frames = x_t.shape[:2]
        x, grid = self._embed_patches(x_t)
        at = torch.arange(frames) if mask is None else mask.frames(frames)
        cond = cond.frames(0, int(at[-1]) + 1)  # an index error on a GPU would name nothing
        at = at.to(x_t.device)
        x = self._add_control(x, cond, at)
        time, modulation = self._embed_time(t)
        ids = _positions(at, grid, cond.origin).expand(batch, -1, -1)
        text = past.text if past.text is not None else self._project_text(cond)
        seen = mask_for(mask, frames, x.shape[2], x.device)
        reads = BlockInputs(self._place(ids, past), None, None, seen)
        x, layers, queries = self._run_blocks(x, modulation, reads, replace(past, text=text), ids)
        out = self._unpatch(self.head(x, time), grid).to(x_t.dtype)
        control = None if cond.control is None else cond.control[:, at]
        turns = self.rotate if queries else None
        block = Block(layers, frames, grid, queries, control, self.compressor, turns)
        return Prediction(self._velocity(out, x_t, t), block)

    def rotate(self, x: Tensor, ids: Tensor) -> Tensor:
        """Keys or queries that stand at `ids`, after RoPE."""
        return rotate(x, self._rotation(ids))

    def target(self, x0: Latents, eps: Latents, t: Times) -> Latents:
        """The velocity eps - x0, which an x0 prediction is not asked to reach below `min_time`."""
        if self.prediction == "velocity":
            return eps - x0
        return (eps - x0) * (t / t.clamp(min=self.min_time))[..., None, None, None]

    def fake_conditioning(self, batch: int, frames: int) -> Conditioning:
        """Random conditioning of the kinds that this backbone was built for."""
        text = None
        if self.text_dim is not None:
            text = torch.randn(batch, self.text_len, self.text_dim, device=self.device)
        control = None
        if self.control_dim is not None:
            control = torch.randn(batch, frames, self.control_dim, device=self.device)
        return Conditioning(text, control)

    def _run_blocks(
        self,
        x: Tokens,
        modulation: Tensor,
        reads: BlockInputs,
        past: Prepared,
        ids: Tensor,
    ) -> tuple[Tokens, tuple[LayerKV, ...], tuple[Tensor, ...]]:
        layers, queries = [], []
        recompute = self.activation_checkpointing and torch.is_grad_enabled()
        for i, block in enumerate(self.blocks):
            seen: Remembered | Reading | None = past.layers[i] if past.layers else None
            if past.live is not None:
                seen = self._reading(past.live, i, ids)
            mine = reads._replace(past=seen, text=past.text[i] if past.text else None)
            if recompute:
                x, q, k, v = checkpoint(block, x, modulation, mine, use_reentrant=False)
            else:
                x, q, k, v = block(x, modulation, mine)
            layers.append(LayerKV(k, v, ids))
            if past.queries:
                queries.append(q)
        return x, tuple(layers), tuple(queries)

    def _reading(self, live: Live, layer: int, ids: Tensor) -> Reading:
        def read(q: Tensor, k: Tensor, v: Tensor) -> Remembered:
            seen = live(layer, LayerKV(k, v, ids), q)
            return _remembered(seen, self._rotation(seen.ids), None)

        return read

    def _rotation(self, ids: Tensor) -> Rotation:
        return rotation(ids, self.rope_axes, self.rope_base)

    def _place(self, ids: Tensor, past: Prepared) -> tuple[Rotation, Rotation]:
        """The rotations of the block's queries and keys; as a rule one and the same."""
        keys = self._rotation(ids + ids.new_tensor((past.start, 0, 0)))
        if past.query_start is None:
            return keys, keys
        return self._rotation(ids + ids.new_tensor((past.query_start, 0, 0))), keys

    def _embed_patches(self, x_t: Latents) -> tuple[Tokens, tuple[int, int]]:
        rows, columns = self.patch_size
        height, width = x_t.shape[-2:]
        if x_t.shape[2] != self.latent_shape[0] or height % rows or width % columns:
            raise ValueError(
                f"latents of shape {tuple(x_t.shape[2:])} do not fit this model: it takes "
                f"{self.latent_shape[0]} channels, heights in multiples of {rows} and widths in "
                f"multiples of {columns}"
            )
        patches = x_t.unflatten(-1, (-1, columns)).unflatten(-3, (-1, rows))
        patches = patches.permute(0, 1, 3, 5, 2, 4, 6).flatten(4).flatten(2, 3)
        weight = self.patch_embedding.weight.flatten(1)
        x = F.linear(patches.to(weight.dtype), weight, self.patch_embedding.bias)
        return x, (height // rows, width // columns)

    def _unpatch(self, patches: Float[Tensor, "b f n patch"], grid: tuple[int, int]) -> Latents:
        x: Tensor = patches.unflatten(2, grid).unflatten(-1, (*self.patch_size, -1))
        return x.permute(0, 1, 6, 2, 4, 3, 5).flatten(5, 6).flatten(3, 4)

    def _add_control(self, x: Tokens, cond: Conditioning, at: Tensor) -> Tokens:
        if (self.control_embedding is None) != (cond.control is None):
            raise ValueError(
                f"control_dim is {self.control_dim} but the conditioning "
                f"{'has no' if cond.control is None else 'has a'} control signal"
            )
        if self.control_embedding is None or cond.control is None:
            return x
        if cond.control.shape[-1] != self.control_dim:
            raise ValueError(
                f"control has {cond.control.shape[-1]} channels, control_dim is {self.control_dim}"
            )
        added: Tensor = self.control_embedding(cond.control[:, at].to(x.dtype))
        return x + added.unsqueeze(2)

    def _embed_time(self, t: Times) -> tuple[Tensor, Float[Tensor, "b f 6 dim"]]:
        half = torch.arange(self.freq_dim // 2, device=t.device, dtype=torch.float64)
        angle = 1000 * t.double()[..., None] * 10_000.0 ** (-half / len(half))
        time = self.time_embedding(torch.cat((angle.cos(), angle.sin()), -1).to(self.dtype))
        modulation: Tensor = self.time_projection(time)
        return time, modulation.unflatten(-1, (6, -1))

    def _project_text(self, cond: Conditioning) -> tuple[TextKV, ...] | None:
        if self.text_embedding is None:
            if cond.text is not None:
                raise ValueError("this model was built without text (text_dim is null)")
            return None
        if cond.text is None:
            raise ValueError("this model is conditioned on text: give the text encoder's states")
        length, width = cond.text.shape[1:]
        if length > self.text_len or width != self.text_dim:
            raise ValueError(
                f"text states of shape {length} x {width} do not fit this model: it takes at most "
                f"text_len={self.text_len} tokens of text_dim={self.text_dim}"
            )
        padded = F.pad(cond.text.to(self.dtype), (0, 0, 0, self.text_len - length))
        text = self.text_embedding(padded)
        projected = []
        for block in self.blocks:
            assert isinstance(block, TransformerBlock)
            assert block.cross_attn is not None
            projected.append(block.cross_attn.keys_values(text))
        return tuple(projected)

    def _velocity(self, out: Latents, x_t: Latents, t: Times) -> Latents:
        if self.prediction == "velocity":
            return out
        if self.x0_limit is not None:
            out = out.clamp(-self.x0_limit, self.x0_limit)
        return (x_t - out) / t.to(out).clamp(min=self.min_time)[..., None, None, None]


def _remembered(
    layer: LayerKV, place: Rotation, bias: Float[Tensor, "b n"] | None, room: int = 0
) -> Remembered:
    k, v, _, valid = layer
    mask = valid if bias is None else bias
    if valid is not None and bias is not None:
        mask = bias.masked_fill(~valid, -torch.inf)
    if mask is not None and mask.dtype != torch.bool:
        mask = mask.to(k.dtype)
    k, mask = rotate(k, place), None if mask is None else mask[:, None, None]
    if room:
        k = with_room(k, room)
        shape = (len(v), v.shape[1] + room, *v.shape[2:])
        k, v = (x.as_strided(shape, x.stride(), x.storage_offset()) for x in (k, v))
    return Remembered(k, v, mask, room)


def _mlp(width: int, dim: int, activation: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, dim), activation, nn.Linear(dim, dim))


def _positions(
    at: Tensor, grid: tuple[int, int], origin: Float[Tensor, "b f 2"] | None
) -> Float[Tensor, "b n 3"]:
    rows, columns = (torch.arange(size, device=at.device) for size in grid)
    ids = torch.stack(torch.meshgrid(at, rows, columns, indexing="ij"), -1).float()[None]
    if origin is not None:
        shift = F.pad(origin[:, at].float(), (1, 0))
        ids = ids + shift[:, :, None, None, :]
    return ids.flatten(1, 3)


def _checked_axes(dim: int, num_heads: int, axes: Sequence[int] | None) -> tuple[int, int, int]:
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


def _checked_latent_shape(shape: Sequence[int], patch: Sequence[int]) -> tuple[int, int, int]:
    channels, height, width = shape
    if height % patch[0] or width % patch[1]:
        raise ValueError(
            f"latent_shape={list(shape)} cannot be cut into patches of {patch[0]} x {patch[1]}"
        )
    return channels, height, width
