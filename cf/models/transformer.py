"""The video diffusion transformer: Wan2.1's architecture, any size, causal or bidirectional."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from typing_extensions import override

from cf.bounds import check_least
from cf.models.attention import Reading, Remembered, mask_for, once_held, remembered
from cf.models.base import NOTHING, Backbone, Prepared, ahead
from cf.models.blocks import BlockInputs, Head, TextKV, Tokens, TransformerBlock
from cf.models.compressor import Compressor
from cf.models.conditions import (
    image_tokens,
    random_conditioning,
    sinusoid,
    text_tokens,
    with_control,
    with_reference,
)
from cf.models.context_parallel import Split, all_tokens, own_tokens
from cf.models.image_branch import ImageEmbedding
from cf.models.initial import checked_axes, checked_cells, checked_latent_shape, initialise, mlp
from cf.models.low_rank import ActiveRole
from cf.models.masks import Mask, frames_at
from cf.models.patches import embed_patches, unpatch
from cf.models.recorded import Pass, Passed, Recorder
from cf.models.rope import ROPE_BASE, Rotation, positions, rotate, rotation
from cf.types import Block, Conditioning, Latents, LayerKV, Live, Past, Prediction, Times, later


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
        control_cells: rows and columns, if the signal tells `control_dim` numbers of each of so
            many cells of the picture, row by row; None: of the frame.
        image_dim: width of an image encoder's states, which Wan2.1's image-to-video models attend
            beside the text; None for none.
        reference_channels: of each frame beside its latents: 4 of a mask and the latents of a
            picture and of nothing after it, in image-to-video models; 0 for none.
        freq_dim: width of the sinusoid of time.
        rope_axes: channels of a head for (frame, row, column); None: Wan2.1's split.
        prediction: "velocity" as Wan2.1, or "x0", which small models on large patches need.
        x0_limit: clamps a predicted x0 to +-x0_limit; only for prediction "x0".
        min_time: below it, an x0 prediction is turned into velocity as if at it.
        qk_bias, qk_gain: initial bias of the query and key projections, and gain of their norm.
        qk_alike: keys begin as queries do: attention looks up tokens alike, as those of near poses.
        control_gain: initial spread of the control embedding; None: a linear layer's. A one-hot
            control is found much sooner at 1.
        zero_head: start from velocity or x0 equal to 0, as Wan2.1.
        activation_checkpointing: recompute each block in the backward pass.
        compressor_rank: width of a `Compressor` that the network owns, which `memory=learned`
            asks to make old frames small; None for none.
        recorder: replays passes as CUDA graphs (`cf.models.compiled`); None: each is run.
        split: spreads tokens over processes; None: this one has all.
        active: which role it is, where several are on it (`cf.models.adapters`); None: one alone.
    """

    recorder: Recorder | None = None
    split: Split | None = None
    active: ActiveRole | None = None

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
        rope_base: float = ROPE_BASE,
        eps: float = 1e-6,
        prediction: Literal["velocity", "x0"] = "velocity",
        x0_limit: float | None = None,
        min_time: float = 0.1,
        qk_bias: float = 0.0,
        qk_gain: float = 1.0,
        qk_alike: bool = False,
        control_gain: float | None = None,
        control_cells: Sequence[int] | None = None,
        zero_head: bool = True,
        activation_checkpointing: bool = False,
        compressor_rank: int | None = None,
        image_dim: int | None = None,
        reference_channels: int = 0,
    ) -> None:
        super().__init__()
        self.rope_axes = checked_axes(dim, num_heads, rope_axes)
        self.latent_shape = checked_latent_shape(latent_shape, patch_size)
        if prediction not in ("velocity", "x0"):
            raise ValueError(f"prediction must be velocity or x0, got {prediction!r}")
        check_least(1, num_layers=num_layers, ffn_dim=ffn_dim, control_dim=control_dim)
        check_least(0, x0_limit=x0_limit)
        if freq_dim < 2 or freq_dim % 2:
            raise ValueError(f"freq_dim={freq_dim} must be even, from 2 on")
        if image_dim is not None and text_dim is None:
            raise ValueError("image_dim wants text_dim: a picture is attended beside a text")
        channels, rows, columns = self.latent_shape[0], *patch_size
        self.patch_size = (rows, columns)
        self.rope_base, self.freq_dim, self.text_len = rope_base, freq_dim, text_len
        self.prediction, self.x0_limit, self.min_time = prediction, x0_limit, min_time
        self.activation_checkpointing = activation_checkpointing
        self.text_dim, self.control_dim = text_dim, control_dim
        self.image_dim, self.reference_channels = image_dim, reference_channels
        self.control_cells = checked_cells(control_cells, control_dim)

        patch = (1, rows, columns)
        self.patch_embedding = nn.Conv3d(channels + reference_channels, dim, patch, patch)
        self.text_embedding = None if text_dim is None else mlp(text_dim, dim, nn.GELU("tanh"))
        self.control_embedding = None if control_dim is None else nn.Linear(control_dim, dim)
        self.img_emb = None if image_dim is None else ImageEmbedding(image_dim, dim)
        self.time_embedding = mlp(freq_dim, dim, nn.SiLU())
        self.time_projection = nn.Sequential(nn.SiLU(), nn.Linear(dim, 6 * dim))
        self.blocks = nn.ModuleList(
            TransformerBlock(
                dim, num_heads, ffn_dim, eps, text_dim is not None, image_dim is not None
            )
            for _ in range(num_layers)
        )
        self.head = Head(dim, channels * rows * columns, eps)
        initialise(self, qk_bias, qk_gain, qk_alike, control_gain, zero_head)
        self.compressor = None
        if compressor_rank is not None:
            self.compressor = Compressor(dim, num_heads, num_layers, compressor_rank)

    @property
    def dtype(self) -> torch.dtype:
        """The type of its parameters."""
        return self.patch_embedding.weight.dtype

    @property
    def device(self) -> torch.device:
        """Where its parameters are."""
        return self.patch_embedding.weight.device

    @override
    def prepare(self, past: Past, cond: Conditioning, times: Sequence[float] = ()) -> Prepared:
        layers, placed, place = [], None, None
        for i, layer in enumerate(past.layers if past.live is None else ()):
            if place is None or layer.ids is not placed:
                place = None  # not kept: with positions per layer they would add up to many keys
                placed, place = layer.ids, self._rotation(layer.ids[:, past.turned_tokens :])
            layers.append(remembered(layer, place, past, i))
        parts = tuple(layers), past.start, self._project_text(cond), past.query_start, past.live
        return Prepared(*parts, times=self._embed_each(times), held={})

    @override
    def forward(
        self,
        x_t: Latents,
        t: Times,
        cond: Conditioning,
        past: Prepared = NOTHING,
        mask: Mask | None = None,
    ) -> Prediction:
        if mask is not None and (past.layers or past.live):
            raise ValueError("a mask orders frames that are forwarded at once; it takes no past")
        frames = x_t.shape[1]
        at, last = frames_at(frames, mask, x_t.device)
        cond = cond.frames(0, last + 1)  # an index error on a GPU would name nothing
        latents = with_reference(x_t, cond, at, self.reference_channels)
        x, grid = embed_patches(latents, self.patch_embedding, self.patch_size)
        steered = self.control_embedding, self.control_dim, self.control_cells
        x = with_control(x, cond, at, *steered, grid)
        time, modulation = past.times[past.step] if past.times else self._embed_time(t)
        ids, place = self._placed(x, at, grid, cond.origin, past)
        text = past.text if past.text is not None else self._project_text(cond)
        attn_mask = mask_for(mask, frames, x.shape[2], x.device)
        x, place = own_tokens(self.split, x, place)
        reads = BlockInputs(place, None, None, attn_mask, self.split)
        past = past if past.text is text else replace(past, text=text)
        through = self._through if self.recorder is None else partial(self.recorder, self._through)
        patches, layers, queries = through(Pass(x, time, modulation, reads, past, ids))
        control = None if cond.control is None else cond.control[:, at]
        extras = control, self.compressor, self.rotate if queries else None
        block = Block(layers, frames, grid, queries, *extras)
        if past.returns == "block":
            return Prediction(x_t[:, :0], block)
        (patches,) = all_tokens(self.split, (patches.flatten(1, 2),), frames)
        out = unpatch(patches, frames, grid, self.patch_size).to(x_t.dtype)
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
        return random_conditioning(self, batch, frames)

    def _through(self, inputs: Pass) -> Passed:
        """From tokens to patches, through all blocks."""
        x, time, modulation, reads, past, ids = inputs
        layers, queries = [], []
        recompute = self.activation_checkpointing and torch.is_grad_enabled()
        for i, block in enumerate(self.blocks):
            ends = past.returns == "block" and i + 1 == len(self.blocks)
            memory: Any = past.layers[i] if past.layers and not ends else None
            if past.live is not None:
                memory = self._reading(past.live, i, ids)
            memory = once_held(memory) if recompute and reads.split is None else memory
            args = reads._replace(past=memory, text=past.text[i] if past.text else None, ends=ends)
            role_block = block if self.active is None else self.active.kept(block)
            run: Any = partial(checkpoint, role_block, use_reentrant=False) if recompute else block
            x, q, k, v = run(x, modulation, args)
            if past.returns == "velocity":
                continue
            q, k, v = all_tokens(reads.split, (q, k, v), x.shape[1])
            layers.append(LayerKV(k, v, ids))
            if past.queries:
                queries.append(q)
        patches = x[:, :0] if past.returns == "block" else self.head(x, time)
        return Passed(patches, tuple(layers), tuple(queries))

    def _reading(self, live: Live, layer: int, ids: Tensor) -> Reading:
        def read(q: Tensor, k: Tensor, v: Tensor) -> Remembered:
            kv = live(layer, LayerKV(k, v, ids), q)
            return remembered(kv, self._rotation(kv.ids), Past())

        return read

    def _rotation(self, ids: Tensor) -> Rotation:
        return rotation(ids, self.rope_axes, self.rope_base, self.dtype)

    def _placed(
        self,
        x: Tokens,
        at: Tensor,
        grid: tuple[int, int],
        origin: Float[Tensor, "b f 2"] | None,
        past: Prepared,
    ) -> tuple[Tensor, tuple[Rotation, Rotation]]:
        """Where the tokens stand, and the rotations of queries and keys; once for a block."""
        key, cache = (*x.shape[:2], grid), past.held
        if cache is not None and key in cache:
            cached: tuple[Tensor, tuple[Rotation, Rotation]] = cache[key]
            return cached
        ids = positions(at, grid, origin)
        keys = queries = self._rotation(later(ids, past.start))
        if past.query_start is not None:
            queries = self._rotation(later(ids, past.query_start))
        placed = ids.expand(len(x), -1, -1), (queries, keys)
        if cache is not None:
            cache[key] = placed
        return placed

    def _embed_time(self, t: Times) -> tuple[Tensor, Float[Tensor, "b f 6 dim"]]:
        time = self.time_embedding(sinusoid(t, self.freq_dim).to(self.dtype))
        modulation: Tensor = self.time_projection(time)
        return time, modulation.unflatten(-1, (6, -1))

    def _embed_each(self, times: Sequence[float]) -> tuple[tuple[Tensor, Tensor], ...]:
        """Each time's embedding and modulation, which hold for all frames and samples."""
        if not times:
            return ()
        t = ahead(torch.tensor([times], dtype=torch.float64), self.device)
        return tuple(zip(*(x.split(1, 1) for x in self._embed_time(t)), strict=True))

    def _project_text(self, cond: Conditioning) -> tuple[TextKV, ...] | None:
        text = text_tokens(cond, self.text_embedding, self.text_len, self.text_dim, self.dtype)
        image = image_tokens(cond, self.img_emb, self.image_dim, self.dtype)
        if text is None:
            return None
        tokens = (text,) if image is None else (text, image)
        blocks: Any = self.blocks
        return tuple(block.cross_attn.keys_values(*tokens) for block in blocks)

    def _velocity(self, out: Latents, x_t: Latents, t: Times) -> Latents:
        if self.prediction == "velocity":
            return out
        if self.x0_limit is not None:
            out = out.clamp(-self.x0_limit, self.x0_limit)
        return (x_t - out) / t.to(out).clamp(min=self.min_time).view(*t.shape, 1, 1, 1)
