"""Laws of the memories that follow a published rule or are our own, against short references."""

import copy
import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from memories import assert_equal, counted, fold, frames_of, read
from tiny import block, blockwise, conditioning, draw, latents, model
from torch import Tensor

from cf.memory.base import Memory, Query
from cf.memory.commit_reads import CommitReads
from cf.memory.full import Full
from cf.memory.learned import Learned
from cf.memory.merged import Merged
from cf.memory.pooled import Pooled
from cf.memory.quantised import Quantised
from cf.memory.recency_bias import RecencyBias
from cf.memory.retrieve_key import RetrieveKey
from cf.memory.retrieve_pose import RetrievePose
from cf.memory.rolling_sink import RollingSink
from cf.memory.sliding import Sliding
from cf.memory.slow_fast import SlowFast
from cf.models.checkpoints import load_into, read_export, save_export
from cf.models.compressor import Compressor
from cf.modules.ema import WeightAverage
from cf.rollout.blockwise import Rollout
from cf.types import Block, Conditioning, Context, LayerKV, Past

both = pytest.mark.parametrize("frames", [1, 3])
INNER: dict[str, Memory] = {
    "full": Full(),
    "sliding": Sliding(2, 7),
    "relative": Sliding(3, 9, "relative"),
    "slow_fast": SlowFast(2, 4, 6, interval=1),
    "pooled": Pooled(),
    "merged": Merged(),
    "retrieve_key": RetrieveKey(bank_frames=8),
}
inner = pytest.mark.parametrize("within", INNER.values(), ids=INNER.keys())


def told(
    count: int, frames: int = 3, grid: tuple[int, int] = (1, 1), batch: int = 1
) -> list[Block]:
    """Blocks of one layer whose every value is the frame's true index; keys are drawn."""
    blocks = []
    for i in range(count):
        made = block(frames, batch=batch, grid=grid, seed=i)
        (layer,) = made.layers
        times = layer.ids[..., 0] + i * frames
        v = times[..., None, None].double().expand_as(layer.v).clone()
        blocks.append(replace(made, layers=(layer._replace(v=v),)))
    return blocks


def sources(past: Past, index: int = 0, layer: int = 0) -> list[float]:
    """The frames that a sample reads, in the order in which they lie, from `told` blocks."""
    return counted(past.layers[layer], index)[1][:, 0, 0].tolist()


def commit(policy: Memory, context: Context, frames: int = 3) -> Past:
    return policy.read(context, Query(frames, conditioning(1), "commit", 4))


def step(policy: Memory, context: Context, number: int, frames: int = 3) -> Past:
    return policy.read(context, Query(frames, conditioning(1), "denoise", number))


def attended(past: Past, q: Tensor, layer: int = 0) -> Tensor:
    """Attention over a past, without positions and without the block itself."""
    k, v, _, valid = past.layers[layer]
    logits = torch.einsum("bqhd,bnhd->bhqn", q, k) / math.sqrt(q.shape[-1])
    if past.bias is not None:
        logits = logits + past.bias[:, None, None]
    if valid is not None:
        logits = logits.masked_fill(~valid[:, None, None], -math.inf)
    return torch.einsum("bhqn,bnhd->bqhd", logits.softmax(-1), v)


# Commit reads


@both
@inner
def test_the_commit_pass_reads_a_part_of_what_denoising_reads(within: Memory, frames: int) -> None:
    """With tokens, bias and positions as they were there; denoising is unchanged."""
    policy = CommitReads(within, commit_frames=2)
    context = fold(policy, [block(frames, layers=2, seed=i) for i in range(30 // frames)])
    assert_equal(
        context, fold(within, [block(frames, layers=2, seed=i) for i in range(30 // frames)])
    )
    plain, seen, committed = (
        read(within, context, frames),
        step(policy, context, 0, frames),
        commit(policy, context, frames),
    )
    assert committed.start == plain.start == seen.start
    for a, b, c in zip(plain.layers, seen.layers, committed.layers, strict=True):
        assert all(x is y or torch.equal(x, y) for x, y in zip(a[:3], b[:3], strict=True))
        for x, y in zip(a[:3], counted(c, 0), strict=True):
            assert torch.equal(x[0, -2 * 4 :], y)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, [15, 16, 17]),
        ({"commit_frames": 0}, []),
        ({"commit_frames": 1}, [17]),
        ({"commit_frames": 99}, [12, 13, 14, 15, 16, 17]),
        ({"commit_frames": None}, [12, 13, 14, 15, 16, 17]),
        ({"commit_frames": None, "commit_sink": True}, [0, 1, 12, 13, 14, 15, 16, 17]),
        ({"commit_frames": 2, "commit_sink": True}, [0, 1, 16, 17]),
        ({"commit_frames": 0, "commit_sink": True}, [0, 1]),
    ],
)
def test_what_the_commit_pass_reads(settings: dict[str, Any], expected: list[int]) -> None:
    policy = CommitReads(Sliding(2, 9), **settings)
    past = commit(policy, fold(policy, told(6)))
    assert (sources(past) if past.layers else []) == expected
    assert past.start == 18


def test_reads_by_step_and_layer() -> None:
    """Far history at steps 2 and 3 and in layer 1 alone; elsewhere the sink and two frames."""
    policy = CommitReads(
        Sliding(1, 9),
        near_frames=2,
        far_steps=[2, 4],
        far_layers=[1, 2],
        commit_frames=None,
        commit_sink=True,
        commit_layers=[0, 1],
    )
    blocks = [replace(b, layers=b.layers * 3) for b in told(6)]
    context = fold(policy, blocks)
    everything, near = [0, 12, 13, 14, 15, 16, 17], [0, 16, 17]
    for number in range(4):
        past = step(policy, context, number)
        far = 2 <= number < 4
        expected = [near, everything if far else near, near]
        assert [sources(past, layer=i) for i in range(3)] == expected
    keys = [policy.read_key(Query(3, Conditioning(), "denoise", number)) for number in range(4)]
    assert keys[0] == keys[1] != keys[2] == keys[3]


def test_a_limit_that_limits_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="near_frames=2 and near_sink=True limit nothing"):
        CommitReads(Full(), near_frames=2)
    with pytest.raises(ValueError, match=r"far_steps must be \[first, stop\], got \[3, 1\]"):
        CommitReads(Full(), far_steps=[3, 1])


def test_committing_alone_is_committing_from_nothing() -> None:
    """What is written with commit_frames=0 is what the network makes of the block by itself."""
    network, cond = model(), conditioning(1, 9)
    x = latents(1, 9)
    rollout = Rollout(CommitReads(Full(), commit_frames=0), num_steps=1)
    context = rollout.remember(network, x, rollout.noise(network, 0, (0,)), cond).context
    for start in (0, 3, 6):
        part, t = x[:, start : start + 3], torch.zeros(1, 3, dtype=torch.float64)
        alone = network(part, t, cond.frames(start, start + 3)).block
        for mine, theirs in zip(context.layers, alone.layers, strict=True):
            torch.testing.assert_close(mine.k[:, start * 4 :][:, :12], theirs.k)
            torch.testing.assert_close(mine.v[:, start * 4 :][:, :12], theirs.v)


# Recency bias


def test_the_bias_is_the_power_law_of_distance() -> None:
    policy = RecencyBias(
        Sliding(2, 12, "relative"), beta=3.0, gammas=[2.0, 0.5], recent_frames=2, commit=False
    )
    context = fold(policy, told(8))  # reads 2 sink frames and 9 of the window
    for number, gamma in ((0, 2.0), (1, 0.5), (3, 0.5)):
        bias = step(policy, context, number).bias
        assert bias is not None
        distance = [11 - slot - 2 for slot in range(11)]
        expected = [
            0.0 if slot < 2 or distance[slot] <= 0 else -3 * (distance[slot] / distance[2]) ** gamma
            for slot in range(11)
        ]
        torch.testing.assert_close(bias[0].tolist(), expected)
    assert commit(policy, context).bias is None


@inner
def test_a_bias_of_zero_changes_nothing_and_a_large_one_leaves_the_recent(within: Memory) -> None:
    context = fold(within, [block(3, layers=2, seed=i) for i in range(12)])
    plain, q = read(within, context), draw(1, 3, 1, 4, seed=5)
    none = read(RecencyBias(within, beta=0.0), context)
    torch.testing.assert_close(attended(none, q), attended(plain, q))
    strong = RecencyBias(within, beta=1e9, gammas=[0.0], recent_frames=2, spare_sink=False)
    part = plain._replace(
        layers=[LayerKV(*(x if x is None else x[:, -8:] for x in layer)) for layer in plain.layers],
        bias=None if plain.bias is None else plain.bias[:, -8:],
    )
    torch.testing.assert_close(attended(read(strong, context), q), attended(part, q))


# Rolling sink


@both
@pytest.mark.parametrize("turn", ["cycle", "bounce"])
def test_the_sink_rolls_through_the_first_frames(turn: Any, frames: int) -> None:
    policy = RollingSink(2, 6, pool_frames=5, turn=turn)
    context, blocks = Context(), told(60 // frames, frames)
    for each in blocks:
        context = policy.update(context, each)
        start = context.start
        recent = list(range(max(start + frames - 6, 0), start))
        pool = [i for i in range(5) if i < start + frames - 6]
        if len(pool) <= 2:
            sink = pool
        elif turn == "cycle":
            sink = [(start + i) % len(pool) for i in range(2)]
        else:  # 0, 1, ..., n, n - 1, ..., 1, 0, ...
            there = list(range(len(pool) - 1))
            first = (there + there[-2:0:-1])[start % (2 * (len(pool) - 2))]
            sink = [first, first + 1]
        assert sources(read(policy, context, frames)) == sink + recent
        assert (
            frames_of(policy, context) == [float(i) for i in range(len(sink + recent))]
            or frames == 1
        )
    assert context.frames == (*range(5), *recent)


def test_a_sink_at_rest_is_the_plain_window() -> None:
    policy, plain = RollingSink(3, 6, pool_frames=7, pace=0.0), Sliding(3, 6, "relative")
    context, other = (fold(one, told(10)) for one in (policy, plain))
    for a, b in zip(
        read(policy, context).layers[0][:3], read(plain, other).layers[0][:3], strict=True
    ):
        assert torch.equal(a, b)


# Pooled and learned


def grids(frame: Tensor, size: int) -> Tensor:
    """A frame (rows, columns, ...) as means of squares of `size` tokens, row by row."""
    rows, columns = frame.shape[:2]
    squares = [
        frame[i : i + size, j : j + size].flatten(0, 1).mean(0)
        for i in range(0, rows, size)
        for j in range(0, columns, size)
    ]
    return torch.stack(squares)


@both
@pytest.mark.parametrize("grid", [(4, 4), (5, 3), (2, 2), (1, 1)])
def test_pooled_frames_are_means_of_growing_squares(grid: tuple[int, int], frames: int) -> None:
    policy = Pooled(2, 5, level_frames=2, pooled_levels=2, positions="absolute")
    blocks = [block(frames, grid=grid, seed=i) for i in range(48 // frames)]
    past = read(policy, fold(policy, blocks), frames)
    tokens = grid[0] * grid[1]
    flat = [torch.cat([each.layers[0][f] for each in blocks], 1)[0] for f in range(3)]
    flat[2] = flat[2].double()
    flat[2][:, 0] = torch.arange(48).repeat_interleave(tokens)
    whole = [x.unflatten(0, (48, *grid)) for x in flat]
    recent = 48 - (5 - frames)
    room = [2 * tokens // len(grids(whole[0][0], size)) for size in (2, 4)]
    once = range(recent - room[0], recent)
    twice = range(once.start - room[1], once.start)
    for field in range(3):
        parts = [whole[field][i].flatten(0, 1) for i in range(2)]
        parts += [grids(whole[field][i], 4) for i in twice]
        parts += [grids(whole[field][i], 2) for i in once]
        parts += [whole[field][i].flatten(0, 1) for i in range(recent, 48)]
        exact = {"rtol": 1e-6, "atol": 1e-5} if field == 2 else {}  # positions are float32
        torch.testing.assert_close(past.layers[0][field][0].double(), torch.cat(parts), **exact)


def test_proportional_attention_is_attention_over_equal_tokens() -> None:
    """Where tokens that become one are equal, nothing is lost but their positions."""
    policy, whole = Pooled(0, 3, level_frames=4, pooled_levels=2), Full()
    blocks = []
    for i in range(6):
        made = block(3, grid=(4, 4), seed=i)
        k, v = (draw(3, 1, 4, seed=10 * i + field) for field in (0, 1))
        k, v = (x.repeat_interleave(16, 0)[None] for x in (k[:, None, 0], v[:, None, 0]))
        blocks.append(replace(made, layers=(made.layers[0]._replace(k=k, v=v),)))
    q = draw(1, 5, 1, 4, seed=99)
    mine, theirs = (read(one, fold(one, blocks)) for one in (policy, whole))
    assert mine.layers[0].k.shape[1] < theirs.layers[0].k.shape[1] / 4
    torch.testing.assert_close(attended(mine, q), attended(theirs, q))


@both
@pytest.mark.parametrize("policy", [Pooled(), Learned(), Pooled(1, 4, 2, pooled_levels=0)])
def test_positions_lie_side_by_side(policy: Any, frames: int) -> None:
    blocks = [block(frames, grid=(4, 6), seed=i) for i in range(60 // frames)]
    past = read(policy, fold(policy, blocks), frames)
    times = past.layers[0].ids[0, :, 0]
    assert times[0] == 0
    assert bool((times.diff() >= 0).all())
    assert past.start == pytest.approx(past.layers[0].k.shape[1] / 24)
    assert past.start + frames <= policy.max_frames


@pytest.mark.parametrize("policy", [Pooled(), Learned(), Merged()])
def test_flushing_leaves_sink_and_recent_frames(policy: Memory) -> None:
    context = policy.flush(fold(policy, told(10, grid=(2, 2))), 2)
    sink = list(range(policy.sink_frames))
    assert context.frames == (*sink, 28, 29)
    assert sources(read(policy, context))[::4] == [*sink, 28, 29]
    again = policy.update(context, told(11, grid=(2, 2))[-1])
    assert sources(read(policy, again))[-12::4] == [30, 31, 32]


def with_compressor(seed: int = 0) -> Any:
    network = model(compressor_rank=2)
    with torch.no_grad():
        for i, parameter in enumerate(network.compressor.parameters()):
            parameter.copy_(draw(*parameter.shape, seed=seed + i, scale=0.5))
    return network


def test_a_new_compressor_is_mean_pooling() -> None:
    compressor = Compressor(4, 1, 2, rank=3).double()
    policy = Learned(1, 4, 2)
    for grid in ((4, 4), (3, 5)):
        blocks = [block(3, layers=2, grid=grid, seed=i) for i in range(9)]
        mine = fold(policy, [replace(each, compress=compressor) for each in blocks])
        for a, b in zip(mine.layers, fold(policy, blocks).layers, strict=True):
            for x, y in zip(a[:3], b[:3], strict=True):
                torch.testing.assert_close(x, y)


def test_the_compressor_weighs_by_head_and_corrects_by_a_low_rank() -> None:
    compressor = Compressor(6, 2, 1, rank=2).double()
    for i, parameter in enumerate(compressor.parameters()):
        parameter.data = draw(*parameter.shape, seed=i)
    k, v = draw(2, 1, 4, 2, 3, seed=9)
    ids = block(1).layers[0].ids
    out = compressor(0, LayerKV(k, v, ids), (2, 2))
    means = []
    for x in (k, v):
        heads = []
        for head in range(2):
            score = k[0, :, head] @ compressor.weigh[0, head] / math.sqrt(3)
            heads.append((score.softmax(0)[:, None] * x[0, :, head]).sum(0))
        means.append(torch.cat(heads))
    mean = torch.cat(means)
    expected = mean + compressor.up[0] @ (compressor.down[0] @ mean)
    torch.testing.assert_close(torch.cat((out.k.flatten(), out.v.flatten())), expected)
    assert out.ids.tolist() == [[[0.0, 0.5, 0.5]]]


def test_the_compressor_learns_from_what_later_blocks_read() -> None:
    """And is a part of the network: in its state, copied, exported, moved by its optimiser."""
    network, cond = with_compressor(), conditioning(1, 18)
    rollout = Rollout(Learned(0, 4, 1), num_steps=1, block_frames=3)
    eps = rollout.noise(network, 0, (0,))
    rolled = rollout(network, eps, cond, frames=18, window_frames=18, differentiable_past=True)
    (rolled.window * latents(1, 18)).sum().backward()
    assert {name for name in network.state_dict() if "compressor" in name} == {
        f"compressor.{name}" for name in ("weigh", "down", "up")
    }
    for parameter in network.compressor.parameters():
        assert parameter.grad is not None
        assert bool((parameter.grad[0] != 0).any())
    made = rolled.window.detach()
    other = with_compressor(seed=7)
    changed = rollout(other, eps, cond, frames=18).past
    assert torch.equal(changed[:, :3], made[:, :3]), "nothing has been compressed yet"
    assert not torch.allclose(changed[:, -3:], made[:, -3:])


def test_training_the_compressor_brings_compressed_reads_nearer_to_whole_ones() -> None:
    """What is minimised: how far the next block's velocity is from that with every frame whole."""
    network, cond, x = model(compressor_rank=2), conditioning(2, 15), latents(2, 15)
    optimizer = torch.optim.Adam(network.compressor.parameters(), 0.05)
    t = torch.full((2, 3), 0.6, dtype=torch.float64)
    losses = []
    for _ in range(9):
        seen = [
            blockwise(network, policy, x[:, :12], 0 * x[:, :12, 0, 0, 0], cond, [3] * 4)[2]
            for policy in (Learned(0, 4, 3, positions="absolute"), Full())
        ]
        here = cond.frames(12, 15)
        reads = [
            network.prepare(policy.read(context, Query(3, here)), here)
            for policy, context in zip(
                (Learned(0, 4, 3, positions="absolute"), Full()), seen, strict=True
            )
        ]
        mine, theirs = (network(x[:, 12:], t, here, read).velocity for read in reads)
        loss = (mine - theirs.detach()).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.8 * losses[0]


def test_the_compressor_travels_with_the_network(tmp_path: Path) -> None:
    """Averaged, in the module's state, and in the file that others build the network from."""
    network = with_compressor()
    average = WeightAverage(network, 0.9)
    average.update(with_compressor(seed=3))
    mean, start, end = (
        one.compressor.weigh for one in (average.network, network, with_compressor(seed=3))
    )
    torch.testing.assert_close(mean, start.lerp(end, 1 - 2 / 11))
    save_export(tmp_path / "net.safetensors", average.network.state_dict(), {"model": {}})
    _, state = read_export(tmp_path / "net.safetensors")
    again = model(compressor_rank=2)
    load_into(again, state, "net")
    for name, weight in average.network.state_dict().items():
        assert torch.equal(weight, again.state_dict()[name])
    with pytest.raises(ValueError, match="compressor"):
        load_into(model(), state, "net")


# Merged


@both
@pytest.mark.parametrize("power", [0.0, 0.7, 2.0])
def test_every_frame_counts_once_and_spans_grow_with_age(power: float, frames: int) -> None:
    policy = Merged(1, 6, 5, power=power)
    context, blocks = Context(), told(240 // frames, frames)
    for each in blocks:
        context = policy.update(context, each)
    spans = context.state[0].tolist()
    recent = 5 - frames
    assert sum(spans) == 240 - 1 - recent
    bounds = [1]
    for span in spans:
        bounds.append(bounds[-1] + span)
    means = [(a + b - 1) / 2 for a, b in pairwise(bounds)]
    expected = [0, *means, *range(240 - recent, 240)]
    torch.testing.assert_close(sources(read(policy, context, frames)), [float(x) for x in expected])
    if power:
        assert sum(spans[:2]) > 3 * sum(spans[-2:])
    else:
        assert max(spans[:-1]) <= 2 * min(spans[:-1])


@pytest.mark.whole
def test_merged_spans_follow_the_power_law() -> None:
    """An entry at age a spans about a ** power frames, up to a factor that room decides."""
    for power in (0.0, 0.5, 1.0):
        policy = Merged(0, 24, 6, power=power)
        spans = torch.tensor(fold(policy, told(500)).state[0].tolist(), dtype=torch.float64)
        ages = spans.flip(0).cumsum(0).flip(0) - spans / 2
        old = slice(0, 16)  # the youngest are too short for their power: at least one frame each
        slope = torch.linalg.lstsq(
            torch.stack((ages[old].log(), torch.ones(16, dtype=torch.float64)), 1),
            spans[old].log()[:, None],
        ).solution[0, 0]
        assert float(slope) == pytest.approx(power, abs=0.35)


def test_proportional_merging_keeps_the_mass_of_equal_frames() -> None:
    policy = Merged(0, 2, 3, proportional=True)
    (layer,), q = block(3, grid=(2, 2)).layers, draw(1, 2, 1, 4, seed=3)
    first = [x[:, :4].repeat(1, 3, 1, 1) for x in layer[:2]]
    still = replace(block(3), layers=(layer._replace(k=first[0], v=first[1]),))
    context = fold(policy, [still] * 5)
    other = [still] * 4 + [block(3, seed=8)]
    for blocks in ([still] * 5, other):
        mine, theirs = (attended(read(one, fold(one, blocks)), q) for one in (policy, Full()))
        if blocks is other:  # the last block's frames differ: they are merged with no equal
            continue
        torch.testing.assert_close(mine, theirs)
    assert sum(context.state[0].tolist()) == 15


# Retrieval


def framed(origins: list[float], frames: int = 3, control: Any = None) -> list[Block]:
    """Told blocks of a 2 x 4 grid whose frames stand at these columns of the world."""
    blocks = told(len(origins) // frames, frames, (2, 4))
    found = []
    for i, each in enumerate(blocks):
        (layer,) = each.layers
        shift = torch.zeros_like(layer.ids)
        part = slice(i * frames, (i + 1) * frames)
        shift[..., 2] = torch.tensor(origins[part]).repeat_interleave(8)
        mine = None if control is None else torch.tensor(control[part]).double()[None]
        layers = (layer._replace(ids=layer.ids + shift),)
        found.append(replace(each, layers=layers, control=mine))
    return found


def looking(at: float, control: list[float] | None = None, frames: int = 3) -> Query:
    origin = torch.tensor([[0.0, at]]).expand(frames, 2)[None]
    signal = None if control is None else torch.tensor(control).double().expand(1, frames, -1)
    return Query(frames, Conditioning(None, signal, origin))


def overlap_reference(
    origins: list[float], at: float, count: int, greedy: bool, penalty: float, apart: int
) -> list[int]:
    """WorldMem's rule on columns of a strip, in plain Python; frames from 0, all of them a bank."""
    view, taken = {at + i for i in range(4)}, []
    left = set(view)
    for _ in range(count):
        best = None
        for i, origin in enumerate(origins):
            near = any(abs(i - j) < apart for j in taken)
            if i in taken or near:
                continue
            seen = {p for p in (left if greedy else view) if -0.5 <= p - origin < 3.5}
            score = len(seen) / 4 - penalty * (1 - i / (len(origins) + 3))
            if best is None or score > best[0] + 1e-9:
                best = (score, i)
        assert best is not None
        taken.append(best[1])
        left -= {p for p in left if -0.5 <= p - origins[best[1]] < 3.5}
    return sorted(taken)


@pytest.mark.parametrize("apart", [1, 2, 3])
@pytest.mark.parametrize("penalty", [0.0, 0.2, 0.9])
@pytest.mark.parametrize("greedy", [True, False])
def test_frames_are_found_by_what_they_saw(greedy: bool, penalty: float, apart: int) -> None:
    origins = [float(round(6 * math.sin(0.7 * i))) for i in range(18)]
    policy = RetrievePose(
        0, 6, 3, bank_frames=None, greedy=greedy, age_penalty=penalty, apart_frames=apart
    )
    context = fold(policy, framed(origins))
    for at in (-6.0, -2.0, 0.0, 3.0, 6.0):
        past = policy.read(context, looking(at))
        found = overlap_reference(origins[:15], at, 3, greedy, penalty, apart)
        assert sources(past)[::8] == [*found, 15, 16, 17]
        assert past.layers[0].ids[0, ::8, 0].tolist() == [0, 1, 2, 3, 4, 5]
        columns = [origins[i] for i in (*found, 15, 16, 17)]
        assert past.layers[0].ids[0, ::8, 2].tolist() == columns


def test_the_same_place_in_another_room_is_no_match() -> None:
    """Views overlap everywhere; the control signal says which room it is."""
    rooms = [[1.0, 0.0]] * 6 + [[0.0, 1.0]] * 12
    context_of = RetrievePose(0, 6, 3, bank_frames=None, control_width=0.1, greedy=False)
    context = fold(context_of, framed([0.0] * 18, control=rooms))
    past = context_of.read(context, looking(0.0, [1.0, 0.0]))
    assert sources(past)[:24:8] == [3, 4, 5]
    alone = replace(context_of, view=None)
    assert sources(alone.read(context, looking(0.0, [1.0, 0.0])))[:24:8] == [3, 4, 5]
    with pytest.raises(ValueError, match="the model has none"):
        fold(context_of, framed([0.0] * 6))


def test_cameras_find_frames_that_looked_the_same_way() -> None:
    """Turned by less than the field of view there is overlap; behind one's back there is none."""
    yaws = [0.0, 20.0, 90.0, 180.0, 270.0, 340.0] + [180.0] * 6
    poses = [[0.0, 0.0, 0.0, 0.0, yaw] for yaw in yaws]
    policy = RetrievePose(0, 6, 3, bank_frames=None, view="camera", greedy=False, age_penalty=0.0)
    context = fold(policy, framed([0.0] * 12, control=poses))
    assert sources(policy.read(context, looking(0.0, [0.0] * 5)))[:24:8] == [0, 1, 5]
    away = [[100.0 * (i == 0), 0.0, 0.0, 0.0, yaw] for i, yaw in enumerate(yaws)]
    context = fold(policy, framed([0.0] * 12, control=away))
    assert 0 not in sources(policy.read(context, looking(0.0, [0.0] * 5)))[:24:8]


def test_samples_find_their_own_frames() -> None:
    policy = RetrievePose(0, 6, 2, bank_frames=None, age_penalty=0.0, greedy=False)
    one, two = (framed([s * float(i) for i in range(18)]) for s in (1.0, -1.0))
    joined = []
    for a, b in zip(one, two, strict=True):
        fields = [torch.cat(pair) for pair in zip(a.layers[0][:3], b.layers[0][:3], strict=True)]
        joined.append(replace(a, layers=(LayerKV(*fields),)))
    past = policy.read(fold(policy, joined), looking(5.0))
    assert sources(past, 0)[:16:8] == [4, 5]
    assert sources(past, 1)[:16:8] == [0, 1]


def test_a_full_bank_spreads_over_the_whole_past() -> None:
    policy = RetrieveKey(2, 6, 3, bank_frames=8)
    context = fold(policy, told(100))
    bank = context.frames[2:-3]
    assert len(bank) == 8
    assert bank[0] == 2
    assert bank[-1] == 300 - 3 - 1
    gaps = [b - a for a, b in pairwise(bank)]
    assert max(gaps) <= 3 * 300 / 8
    assert context.frames[-3:] == (297, 298, 299)
    assert all(note.shape[1] == len(context.frames) for note in context.state)


@pytest.mark.parametrize("per_layer", [True, False])
def test_frames_are_found_by_the_cosine_of_mean_keys(per_layer: bool) -> None:
    policy = RetrieveKey(0, 6, 3, bank_frames=None, per_layer=per_layer)
    blocks = [block(3, batch=2, layers=2, seed=i) for i in range(8)]
    past = read(policy, fold(policy, blocks))
    keys = [torch.cat([each.layers[i].k for each in blocks], 1) for i in range(2)]
    means = [k.unflatten(1, (24, 4)).mean(2)[:, :, 0] for k in keys]
    groups = means if per_layer else [torch.cat(means, -1)] * 2
    for layer, mean in enumerate(groups):
        cosine = torch.cosine_similarity(mean[:, :21], mean[:, -1:], dim=-1)
        for index in range(2):
            found = sorted(cosine[index].topk(3).indices.tolist())
            expected = keys[layer].unflatten(1, (24, 4))[index, [*found, 21, 22, 23]]
            assert torch.equal(past.layers[layer].k[index], expected.flatten(0, 1))


# Quantised


@pytest.mark.parametrize(
    "within", [one for one in INNER.values() if not isinstance(one, Pooled | Merged)]
)
def test_eight_bits_are_near_and_do_not_wear_off(within: Memory) -> None:
    """However long a token is moved about unblended, it is off by half a step at most."""
    policy = Quantised(within, exact_frames=1)
    blocks = [block(3, layers=2, batch=2, seed=i) for i in range(14)]
    mine, theirs = read(policy, fold(policy, blocks)), read(within, fold(within, blocks))
    assert mine.start == theirs.start
    for a, b in zip(mine.layers, theirs.layers, strict=True):
        for x, y in zip(a[:2], b[:2], strict=True):
            bound = y.abs().amax(-1, keepdim=True) / 127 / 2 * 1.001
            assert bool(((x - y).abs() <= bound).all())
            assert torch.equal(x[:, -4:], y[:, -4:])
        assert torch.equal(a.ids, b.ids)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_quantising_again_changes_no_bit(dtype: torch.dtype) -> None:
    policy, long = Quantised(Full(), exact_frames=0), []
    for i in range(40):
        made = block(1, seed=i)
        layer = made.layers[0]
        layers = (layer._replace(k=layer.k.to(dtype), v=layer.v.to(dtype)),)
        long.append(replace(made, layers=layers))
    first = read(policy, fold(policy, long[:1]), 1).layers[0]
    last = read(policy, fold(policy, long), 1).layers[0]
    assert torch.equal(first.k, last.k[:, :4])
    assert torch.equal(first.v, last.v[:, :4])
    assert last.k.dtype == dtype


def test_eight_bits_take_the_bytes_of_eight_bits() -> None:
    """At a head's usual width; scales and positions come on top."""
    k = torch.randn(1, 12, 2, 128)
    ids = block(3).layers[0].ids
    blocks = [Block((LayerKV(k, k.clone(), ids),), 3, (2, 2))] * 12
    sizes = []
    for policy in (Quantised(Full(), exact_frames=0), Full()):
        context = fold(policy, blocks)
        tensors = [x for x in (*context.layers[0], *context.state) if x is not None]
        sizes.append(sum(x.numel() * x.element_size() for x in tensors))
    assert sizes[0] / sizes[1] == pytest.approx(0.25, abs=0.02)


# All


NESTED: dict[str, Memory] = {
    "all three": Quantised(CommitReads(RecencyBias(Pooled(), beta=2.0), commit_frames=1)),
    "eight bits of slow-fast": Quantised(SlowFast(2, 3, 6, interval=1), exact_frames=2),
    "bias on retrieved": RecencyBias(Quantised(RetrieveKey(bank_frames=6)), gammas=[0.5, 2.0]),
    "commit of merged": CommitReads(Merged(), commit_sink=True, near_frames=1, far_layers=[1, 2]),
    "nothing exact": Quantised(Merged(), exact_frames=0),
}


@pytest.mark.parametrize("policy", NESTED.values(), ids=NESTED.keys())
def test_wrappers_go_around_one_another(policy: Memory) -> None:
    """A stream cut and resumed, in inference mode or not, is one stream; gradient is finite."""
    network, cond = model(), conditioning(2, 27)
    rollout = Rollout(policy, num_steps=2)
    eps = rollout.noise(network, 0, (0, 1))
    whole = rollout(network, eps, cond, frames=27).past
    with torch.inference_mode():
        stream = rollout.stream(network, eps, cond)
        parts = [next(stream) for _ in range(5)]
        resumed = rollout.stream(network, eps, cond, copy.deepcopy(parts[-1][1]))
        parts += [next(resumed) for _ in range(4)]
    torch.testing.assert_close(torch.cat([x for x, _ in parts], 1), whole, rtol=0, atol=1e-12)
    rolled = rollout(network, eps, cond, frames=18, window_frames=9, differentiable_past=True)
    rolled.window.sum().backward()
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in network.parameters())
    assert hash(policy) == hash(replace(policy))  # type: ignore[type-var]


@pytest.mark.parametrize(
    "policy", [RetrieveKey(bank_frames=6), Quantised(RetrieveKey(2)), Merged()]
)
def test_what_was_flushed_goes_on_like_a_stream(policy: Memory) -> None:
    blocks = [block(3, layers=2, seed=i) for i in range(20)]
    context = policy.flush(fold(policy, blocks[:10]), 2)
    assert len(context.frames) == policy.sink_frames + 2
    for each in blocks[10:]:
        context = policy.update(context, each)
    past = read(policy, context)
    assert past.layers[0].k.shape[1] / 4 + 3 <= (policy.max_frames or 0)
    assert torch.equal(past.layers[1].k[:, -12:], blocks[-1].layers[1].k)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Pooled(level_frames=0), "level_frames=0"),
        (lambda: Pooled(pooled_levels=-1), "pooled_levels must not be negative, got -1"),
        (lambda: Merged(merged_frames=0), "merged_frames=0"),
        (lambda: Merged(power=-1.0), "power=-1.0 must not be negative"),
        (lambda: RollingSink(sink_frames=9, pool_frames=3), "pool_frames=3"),
        (lambda: RetrievePose(bank_frames=2), "bank_frames=2"),
        (lambda: RetrievePose(view=None), "view=null needs control_width"),
        (lambda: Quantised(Full(), exact_frames=-1), "exact_frames must not be negative"),
        (lambda: RecencyBias(Full(), gammas=[]), "gammas not empty"),
        (lambda: Compressor(4, 1, 1, rank=0), "compressor_rank must be at least 1, got 0"),
        (lambda: Pooled(window_frames=2).check_block(3), "window_frames=2 is smaller"),
        (lambda: Merged(window_frames=2).check_block(3), "window_frames=2 is smaller"),
        (lambda: RollingSink(window_frames=2).check_block(3), "window_frames=2 is smaller"),
        (lambda: RetrieveKey(window_frames=2).check_block(3), "window_frames=2 is smaller"),
        (lambda: Quantised(Sliding(0, 2)).check_block(3), "window_frames=2 is smaller"),
    ],
)
def test_what_cannot_be_names_the_value(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("policy", [Pooled(), Learned(), Merged(), RetrieveKey(), RollingSink()])
def test_a_block_as_long_as_the_window_sees_what_is_older_alone(policy: Any) -> None:
    """And one that is longer still sees no less: a recache may read many frames at once."""
    context = fold(policy, told(10, grid=(2, 2)))
    window, beyond = (read(policy, context, policy.window_frames + more) for more in (0, 4))
    assert sources(window) == sources(beyond)
    if not isinstance(policy, RetrieveKey):  # which may look up any frame outside the window
        assert max(sources(window)) < 30 - 1
    assert beyond.start == window.start
