"""Rotary positions, masks, attention and the transformer; law: one masked forward = many calls."""

from dataclasses import replace
from itertools import product
from typing import Any

import jaxtyping
import pytest
import torch
from tiny import SHAPE, SIZES, blockwise, conditioning, draw, latents, model, one
from torch import Tensor

from cf.memory.base import Memory
from cf.memory.full import Full
from cf.memory.sliding import Sliding
from cf.models.attention import attend
from cf.models.masks import BlockCausal, Mask, TeacherForcing, block_sparse, dense
from cf.models.patches import embed_patches, unpatch
from cf.models.rope import rotate, rotation, wan_axes
from cf.models.transformer import VideoTransformer
from cf.types import Conditioning, LayerKV, Past, Prediction

EXACT: dict[str, Any] = {"atol": 1e-9, "rtol": 0}
CPU = torch.device("cpu")
AXES = (4, 4, 4)


# Rotary position embedding


def test_rotation_is_multiplication_by_a_complex_number() -> None:
    ids, x = draw(2, 7, 3, scale=50), draw(2, 7, 3, 12, seed=1)
    angles = [ids[..., axis, None] * 100.0 ** -torch.tensor([0, 0.5]).double() for axis in range(3)]
    turn = torch.polar(torch.ones(2, 7, 6).double(), torch.cat(angles, -1))[:, :, None]
    expected = torch.view_as_real(torch.view_as_complex(x.unflatten(-1, (6, 2))) * turn).flatten(-2)
    torch.testing.assert_close(rotate(x, rotation(ids, AXES, 100.0)), expected, **EXACT)


def test_logits_depend_on_relative_positions_alone() -> None:
    q, k = draw(1, 5, 2, 12), draw(1, 5, 2, 12, seed=1)
    ids, shift = draw(1, 5, 3, seed=2, scale=9), torch.tensor([100_000.0, -31.5, 7.25]).double()

    def logits(shift: Tensor) -> Tensor:
        turn = rotation(ids + shift, AXES, 10_000.0)
        return torch.einsum("bqhd,bkhd->bhqk", rotate(q, turn), rotate(k, turn))

    torch.testing.assert_close(logits(shift), logits(torch.zeros(3).double()), **EXACT)
    assert (logits(shift) - torch.einsum("bqhd,bkhd->bhqk", q, k)).abs().max() > 0.1


def test_rotation_of_bfloat16_rounds_once() -> None:
    ids, x = draw(1, 5, 3, scale=9).float(), draw(1, 5, 2, 12, seed=1).bfloat16()
    turn = rotation(ids, AXES, 10_000.0)
    assert torch.equal(rotate(x, turn), rotate(x.float(), turn).bfloat16())


@pytest.mark.parametrize(("head_dim", "axes"), [(128, (44, 42, 42)), (16, (8, 4, 4))])
def test_channels_of_each_axis(head_dim: int, axes: tuple[int, int, int]) -> None:
    assert wan_axes(head_dim) == axes


# Masks

MASKS = [
    {"block_frames": 1},
    {"block_frames": 3},
    {"block_frames": 2, "window_frames": 3},
    {"block_frames": 3, "window_frames": 5, "sink_frames": 2},
    {"block_frames": 3, "first_block_frames": 1},
    {"block_frames": 2, "window_frames": 3, "sink_frames": 1, "first_block_frames": 1},
]


def ends(frames: int, sizes: dict[str, int]) -> list[int]:
    """Index after the last frame of each frame's block, one block after the other."""
    found: list[int] = []
    length = sizes.get("first_block_frames", sizes["block_frames"])
    while len(found) < frames:
        found += [len(found) + length] * length
        length = sizes["block_frames"]
    return found[:frames]


def visible(kind: type[Mask], query: int, key: int, frames: int, sizes: dict[str, int]) -> bool:
    """What the peers' masks say in words (a row of a clean half is below `frames`)."""
    end, window = ends(frames, sizes), sizes.get("window_frames", 10**6)
    q, k = query % frames, key % frames
    reached = k >= end[q] - window or k < sizes.get("sink_frames", 0)
    if kind is BlockCausal or (query < frames and key < frames):
        return k < end[q] and reached
    if query < frames:
        return False
    if key < frames:
        return end[k] < end[q] and reached
    return end[k] == end[q]


@pytest.mark.parametrize("sizes", MASKS, ids=str)
@pytest.mark.parametrize("kind", [BlockCausal, TeacherForcing])
def test_masks_equal_brute_force(kind: type[Mask], sizes: dict[str, int]) -> None:
    frames, tokens = 7, 2
    rows = frames * (2 if kind is TeacherForcing else 1)
    spelled = dense(kind(**sizes), rows, tokens, CPU)
    for query, key in product(range(rows * tokens), repeat=2):
        expected = visible(kind, query // tokens, key // tokens, frames, sizes)
        assert bool(spelled[query, key]) == expected, (query, key)


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@pytest.mark.parametrize("kind", [BlockCausal, TeacherForcing])
@pytest.mark.whole
def test_flex_attention_equals_the_dense_mask(
    kind: type[Mask], monkeypatch: pytest.MonkeyPatch
) -> None:
    """150 tokens are more than one of flex attention's own blocks of 128."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # flex traces the rule
    mask = kind(3, window_frames=5, sink_frames=1)
    q, k, v = (draw(1, 150, 2, 8, seed=seed).float() for seed in range(3))
    flex = attend(q, k, v, block_sparse(mask, 50, 3, CPU))
    torch.testing.assert_close(flex, attend(q, k, v, dense(mask, 50, 3, CPU)), atol=1e-6, rtol=0)


def test_masks_are_values() -> None:
    assert BlockCausal(3, 6) == BlockCausal(3, 6)
    assert hash(BlockCausal(3, 6)) == hash(BlockCausal(3, 6))
    assert BlockCausal(3) != TeacherForcing(3)
    assert BlockCausal(3) != BlockCausal(3, 6)


def test_a_mask_first_made_in_inference_mode_serves_training() -> None:
    mask = BlockCausal(2, window_frames=4, sink_frames=1)
    with torch.inference_mode():
        spelled, sparse = dense(mask, 5, 1, CPU), block_sparse(mask, 5, 1, CPU)
    assert not spelled.is_inference()
    assert not sparse.kv_num_blocks.is_inference()


def test_impossible_masks_name_the_value() -> None:
    with pytest.raises(ValueError, match="block_frames=0 must be at least 1"):
        BlockCausal(0)
    with pytest.raises(ValueError, match="window_frames=2 is smaller"):
        BlockCausal(3, window_frames=2)
    with pytest.raises(ValueError, match="equal length, got 5"):
        TeacherForcing(3).frames(5)


# One masked forward = the block-wise pass


LAYOUTS = {
    "block 1": (1, None, [1] * 6),
    "block 3": (3, None, [3] * 4),
    "image first": (3, 1, [1, 3, 3, 3]),
}
WINDOWS: dict[str, tuple[Memory, dict[str, int]]] = {
    "full": (Full(), {}),
    "one block": (Sliding(0, 3), {"window_frames": 3}),
    "window 4": (Sliding(0, 4), {"window_frames": 4}),
    "window 6": (Sliding(0, 6), {"window_frames": 6}),
    "sink 1, window 5": (Sliding(1, 5), {"window_frames": 5, "sink_frames": 1}),
    "sink 2, window 3": (Sliding(2, 3), {"window_frames": 3, "sink_frames": 2}),
    "sink 4, window 4": (Sliding(4, 4), {"window_frames": 4, "sink_frames": 4}),
}


def assert_same(pieces: list[Prediction], whole: Prediction, rows: slice) -> None:
    """Velocities, keys, values and positions, whatever was forwarded together."""
    velocity = torch.cat([piece.velocity for piece in pieces], 1)
    torch.testing.assert_close(velocity, whole.velocity[:, rows], **EXACT)
    tokens = slice(*(4 * row for row in rows.indices(whole.velocity.shape[1])[:2]))
    for layer, (k, v, _, _) in enumerate(whole.block.layers):
        for field, expected in enumerate((k, v)):
            mine = torch.cat([piece.block.layers[layer][field] for piece in pieces], 1)
            torch.testing.assert_close(mine, expected[:, tokens], **EXACT)


@pytest.mark.parametrize("rich", [False, True], ids=["plain", "text, control, origin"])
@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_block_wise_pass_is_one_masked_forward(layout: str, window: str, rich: bool) -> None:
    """Clean rows under the block-causal mask, then [clean | noisy] under teacher forcing."""
    block_frames, first, lengths = LAYOUTS[layout]
    memory, sizes = WINDOWS[window]
    sizes = {**sizes, "block_frames": block_frames}
    if first is not None:
        sizes["first_block_frames"] = first
    frames, batch = sum(lengths), 2
    network = model() if rich else model(text_dim=None, control_dim=None)
    cond = conditioning(batch, frames, origin=True) if rich else Conditioning()
    x, noisy = latents(batch, frames), latents(batch, frames, seed=1)
    t, noisy_t = (torch.sigmoid(draw(batch, frames, seed=seed)) for seed in (2, 3))
    with torch.no_grad():
        pieces, noisy_pieces, context = blockwise(
            network, memory, x, t, cond, lengths, (noisy, noisy_t)
        )
        causal = network(x, t, cond, mask=BlockCausal(**sizes))
        rows, times = torch.cat((x, noisy), 1), torch.cat((t, noisy_t), 1)
        forced = network(rows, times, cond, mask=TeacherForcing(**sizes))
    assert_same(pieces, causal, slice(frames))
    assert_same(pieces, forced, slice(frames))
    assert_same(noisy_pieces, forced, slice(frames, None))
    if isinstance(memory, Full):
        assert torch.equal(context.layers[0].ids, causal.block.layers[0].ids)


def test_windows_and_layouts_really_differ() -> None:
    """So that the law above cannot hold for the wrong reason."""
    network, cond = model(), conditioning(1, 12, origin=True)
    x, t = latents(1, 12), torch.sigmoid(draw(1, 12))
    masks = [BlockCausal(block_frames=3, **sizes) for _, sizes in WINDOWS.values()]
    masks += [BlockCausal(1), BlockCausal(3, first_block_frames=1), TeacherForcing(3)]
    with torch.no_grad():
        outs = [network(x, t, cond, mask=mask).velocity for mask in masks]
    for i, out in enumerate(outs):
        assert all((out - other).abs().max() > 1e-4 for other in outs[:i])


# The transformer


def test_patch_embedding_is_the_convolution_whose_weights_it_holds() -> None:
    network, x = model(patch_size=(2, 1), latent_shape=(2, 4, 3)), draw(2, 3, 2, 4, 3)
    tokens, grid = embed_patches(x, network.patch_embedding, network.patch_size)
    expected = network.patch_embedding(x.transpose(1, 2)).flatten(3).permute(0, 2, 3, 1)
    assert grid == (2, 3)
    torch.testing.assert_close(tokens, expected, **EXACT)


def test_patches_return_to_where_they_were_cut() -> None:
    """Wan2.1's head orders a patch as (row, column, channel)."""
    network, x = model(patch_size=(2, 1), latent_shape=(2, 4, 3)), draw(2, 3, 2, 4, 3)
    patches = torch.empty(2, 3, 6, 4).double()
    for row, column, p, c in product(range(2), range(3), range(2), range(2)):
        patches[:, :, 3 * row + column, 2 * p + c] = x[:, :, c, 2 * row + p, column]
    assert torch.equal(unpatch(patches.flatten(1, 2), x.shape[1], (2, 3), network.patch_size), x)


def test_a_batch_is_its_samples() -> None:
    network, cond = model(), conditioning(3, 4, origin=True)
    x, t = latents(3, 4), torch.sigmoid(draw(3, 4))
    together = network(x, t, cond, mask=BlockCausal(2)).velocity
    for i in range(3):
        alone = network(x[i : i + 1], t[i : i + 1], one(cond, i), mask=BlockCausal(2)).velocity
        torch.testing.assert_close(together[i : i + 1], alone, **EXACT)


@pytest.mark.parametrize("changed", ["text", "control", "origin", "t"])
def test_every_condition_matters(changed: str) -> None:
    network, cond = model(), conditioning(1, 3, origin=True)
    x, t = latents(1, 3), torch.full((1, 3), 0.5).double()
    before = network(x, t, cond).velocity
    if changed == "t":
        t = t / 2
    else:
        cond = replace(cond, **{changed: getattr(cond, changed) * torch.tensor(0.3).double()})
    assert (network(x, t, cond).velocity - before).abs().max() > 1e-4


def test_only_relative_positions_of_a_past_matter() -> None:
    """A past and a block moved together in time give the same velocity, at any distance."""
    network, cond = model(), conditioning(1, 6)
    x, t = latents(1, 6), torch.full((1, 6), 0.5).double()
    part = cond.frames(0, 3)
    layers = network(x[:, :3], t[:, :3], part).block.layers

    def velocity(shift: float) -> Tensor:
        moved = tuple(
            layer._replace(ids=layer.ids + torch.tensor([shift, 0, 0])) for layer in layers
        )
        past = network.prepare(Past(moved, 3.0 + shift), part)
        return network(x[:, 3:], t[:, 3:], part, past).velocity

    torch.testing.assert_close(velocity(5000.0), velocity(0.0), **EXACT)


@pytest.mark.parametrize("how", ["valid", "bias", "both"])
def test_masked_tokens_of_a_past_are_as_if_absent(how: str) -> None:
    network, cond = model(), conditioning(2, 3)
    x, t = latents(2, 3), torch.full((2, 3), 0.5).double()
    layers = network(x, t, cond).block.layers
    valid = torch.ones(2, 12, dtype=torch.bool)
    valid[:, 5:] = False
    bias = torch.zeros(2, 12).double()
    if how == "bias":
        bias = bias.masked_fill(~valid, -torch.inf)
    masked = Past(
        tuple(layer._replace(valid=None if how == "bias" else valid) for layer in layers),
        3.0,
        None if how == "valid" else bias,
    )
    short = Past(tuple(LayerKV(k[:, :5], v[:, :5], ids[:, :5]) for k, v, ids, _ in layers), 3.0)
    outs = [network(x, t, cond, network.prepare(past, cond)).velocity for past in (masked, short)]
    torch.testing.assert_close(*outs, **EXACT)


def test_a_constant_bias_weighs_the_past_against_the_block() -> None:
    network, cond = model(), conditioning(1, 3)
    x, t = latents(1, 3), torch.full((1, 3), 0.5).double()
    layers = network(x, t, cond).block.layers

    def velocity(bias: float) -> Tensor:
        past = Past(layers, 3.0, torch.full((1, 12), bias).double())
        return network(x, t, cond, network.prepare(past, cond)).velocity

    alone = network(x, t, cond, network.prepare(Past((), 3.0), cond)).velocity
    torch.testing.assert_close(velocity(-1e4), alone, **EXACT)
    assert (velocity(0.0) - alone).abs().max() > 1e-3


def test_text_is_padded_with_zeros_that_are_attended() -> None:
    network, short = model(), model(text_len=3)
    x, t = latents(1, 3), torch.full((1, 3), 0.5).double()
    cond = conditioning(1, 3)
    assert cond.text is not None
    padded = replace(cond, text=torch.cat((cond.text, torch.zeros(1, 1, 5).double()), 1))
    out = network(x, t, cond).velocity
    assert torch.equal(out, network(x, t, padded).velocity)
    assert (out - short(x, t, cond).velocity).abs().max() > 1e-4


def test_x0_prediction_is_the_same_network_read_as_clean_latents() -> None:
    raw, network = model(), model(prediction="x0", min_time=0.2)
    x, cond = latents(1, 3), conditioning(1, 3)
    t = torch.tensor([[1.0, 0.5, 0.2]]).double()
    x0 = raw(x, t, cond).velocity
    velocity = network(x, t, cond).velocity
    torch.testing.assert_close(x - t[..., None, None, None] * velocity, x0, **EXACT)
    limited = model(prediction="x0", min_time=0.2, x0_limit=0.1)(x, t, cond).velocity
    clamped = x - t[..., None, None, None] * limited
    torch.testing.assert_close(clamped, x0.clamp(-0.1, 0.1), **EXACT)


@pytest.mark.parametrize("prediction", ["velocity", "x0"])
def test_a_perfect_network_has_reached_its_target(prediction: str) -> None:
    """What the forward makes of perfect answers is `target`, below `min_time` too."""
    network = model(prediction=prediction, min_time=0.2)
    x0, eps = latents(1, 4), latents(1, 4, seed=1)
    t = torch.tensor([[1.0, 0.5, 0.1, 0.01]]).double()
    x_t = x0 + t[..., None, None, None] * (eps - x0)
    perfect = eps - x0 if prediction == "velocity" else x0
    torch.testing.assert_close(
        network._velocity(perfect, x_t, t), network.target(x0, eps, t), **EXACT
    )


def test_without_head_weights_it_starts_from_zero() -> None:
    network = VideoTransformer(24, 2, 1, 32, latent_shape=SHAPE)
    x, t, cond = network.fake_inputs(2, 3)
    assert not network(x, t, cond).velocity.any()


@pytest.mark.parametrize("past", [False, True])
def test_bfloat16(past: bool) -> None:
    """Latents stay in the type of the input, keys take the model's, and numbers stay close."""
    network, exact = model(torch.bfloat16), model(torch.float32)
    cond = conditioning(1, 6, dtype=torch.float32)
    x, t = latents(1, 6, dtype=torch.float32), torch.full((1, 6), 0.5)
    outs = []
    for each in (network, exact):
        lengths = [3, 3] if past else [6]
        pieces, _, _ = blockwise(each, Full(), x, t, cond, lengths)
        outs.append(torch.cat([piece.velocity for piece in pieces], 1))
        assert pieces[0].block.layers[0].k.dtype == each.dtype
    assert outs[0].dtype == torch.float32
    assert (outs[0] - outs[1]).std() < 0.05 * outs[1].std()


@pytest.mark.parametrize("sizes", [{}, {"text_dim": None, "control_dim": None}], ids=str)
def test_fake_inputs_are_accepted(sizes: dict[str, Any]) -> None:
    network = model(torch.float32, **sizes)
    x, t, cond = network.fake_inputs(2, 4)
    assert network(x, t, cond).velocity.shape == (2, 4, *SHAPE)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"dim": 25}, "dim=25 must split into num_heads=2"),
        ({"dim": 26}, "dim=26 must split into num_heads=2 heads of an even"),
        ({"rope_axes": (4, 4, 2)}, r"rope_axes=\[4, 4, 2\] must be even and sum to the 12"),
        ({"rope_axes": (6, 3, 3)}, r"rope_axes=\[6, 3, 3\]"),
        ({"latent_shape": (2, 5, 4)}, r"latent_shape=\[2, 5, 4\]"),
    ],
    ids=str,
)
def test_impossible_sizes_name_the_value(sizes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        model(**sizes)


@pytest.mark.parametrize(
    ("cond", "message"),
    [
        (Conditioning(control=draw(1, 3, 3)), "conditioned on text"),
        (Conditioning(draw(1, 3, 5)), "control_dim is 3 but the conditioning has no control"),
        (Conditioning(draw(1, 3, 5), draw(1, 3, 2)), "control has 2 channels, control_dim is 3"),
        (Conditioning(draw(1, 5, 5), draw(1, 3, 3)), "5 x 5 do not fit .* text_len=4"),
        (Conditioning(draw(1, 3, 6), draw(1, 3, 3)), "3 x 6 do not fit .* text_dim=5"),
        (Conditioning(draw(1, 3, 5), draw(1, 2, 3)), "control covers 2 .* frame 2"),
    ],
)
def test_conditioning_that_does_not_fit_names_the_value(cond: Conditioning, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        model()(latents(1, 3), torch.ones(1, 3).double(), cond)


def test_control_of_cells_reaches_the_tokens_that_lie_there() -> None:
    text, signal, x = draw(1, 3, 5), draw(1, 3, 3), latents(1, 3)
    t = torch.full((1, 3), 0.5).double()
    plain, cells = model(), model(control_cells=(2, 2))
    of_frame = plain(x, t, Conditioning(text, signal)).velocity
    everywhere = cells(x, t, Conditioning(text, signal.repeat(1, 1, 4))).velocity
    torch.testing.assert_close(everywhere, of_frame)
    fine = model(control_cells=(4, 2))  # two rows of cells in each row of tokens
    halves = torch.stack((signal + 1, signal + 1, signal - 1, signal - 1), 2).flatten(2)
    rows = torch.cat((halves, torch.zeros_like(halves)), -1)
    coarse = torch.cat((signal, signal, torch.zeros(1, 3, 6).double()), -1)
    torch.testing.assert_close(
        fine(x, t, Conditioning(text, rows)).velocity,
        cells(x, t, Conditioning(text, coarse)).velocity,
    )
    other = cells(x, t, Conditioning(text, coarse.flip(-1))).velocity
    assert (other - cells(x, t, Conditioning(text, coarse)).velocity).abs().max() > 1e-3
    assert cells.fake_conditioning(1, 2).control.shape == (1, 2, 12)
    with pytest.raises(ValueError, match="3 channels, control_dim is 3 of each of 2 x 2 cells"):
        cells(x, t, Conditioning(text, signal))
    with pytest.raises(ValueError, match=r"control_cells=\[0, 4\]"):
        model(control_cells=(0, 4))


def test_attention_may_begin_as_a_look_up_of_like_tokens() -> None:
    for alike in (False, True):
        layers = VideoTransformer(**SIZES, qk_alike=alike).blocks
        assert alike == all(torch.equal(b.self_attn.k.weight, b.self_attn.q.weight) for b in layers)


def test_latents_that_do_not_fit_name_the_value() -> None:
    t = torch.ones(1, 3).double()
    with pytest.raises(ValueError, match=r"\(2, 5, 4\) do not fit"):
        model()(draw(1, 3, 2, 5, 4), t, conditioning(1, 3))
    with pytest.raises(ValueError, match="built without text"):
        model(text_dim=None)(latents(1, 3), t, conditioning(1, 3))
    with pytest.raises(ValueError, match="has a control signal"):
        model(control_dim=None)(latents(1, 3), t, conditioning(1, 3))


def test_a_mask_takes_no_past() -> None:
    network, cond = model(), conditioning(1, 3)
    x, t = latents(1, 3), torch.ones(1, 3).double()
    past = network.prepare(Past(network(x, t, cond).block.layers, 3.0), cond)
    with pytest.raises(ValueError, match="takes no past"):
        network(x, t, cond, past, BlockCausal(3))
