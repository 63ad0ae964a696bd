"""The contract of every memory in configs/memory; a new yaml is under it without a line here."""

import copy
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from memories import assert_bounded, assert_equal, counted, fold, mixed, read, sample
from tiny import MEMORIES, block, conditioning, latents, memory, model
from torch import Tensor
from torch.utils._pytree import tree_map_only

from cf.memory.anchor import Anchor
from cf.memory.base import Memory, SelectiveMemory, fork, pieces
from cf.memory.deep_sink import DeepSink
from cf.memory.ema_sink import EmaSink
from cf.memory.memrope import MemRope
from cf.memory.pinned import Pinned
from cf.memory.sliding import Sliding
from cf.memory.slow_fast import SlowFast
from cf.rollout.blockwise import Rollout
from cf.types import Block, Context


@dataclass(frozen=True)
class WithKeyFrame(Pinned):
    """Pins the first frame that comes, as if it belonged to frame 2."""

    def update(self, context: Context, block: Block) -> Context:
        if not context.layers:
            lengths = [1, block.frames - 1] if block.frames > 1 else [1]
            context = self.pin(context, next(pieces(block, lengths)), [2])
        return super().update(context, block)


NAMES = [file.stem for file in MEMORIES]
VARIANTS: dict[str, Memory] = {
    **{name: memory(name) for name in NAMES},
    "one block": Sliding(0, 3),
    "window of 4": Sliding(2, 4, "relative"),
    "kept, overflow": SlowFast(3, 4, 6, novelty="kept", decide="overflow", interval=1),
    "kept tokens, shared": SlowFast(
        1, 4, 5, novelty="kept", descriptor="tokens", per_layer=False, interval=1
    ),
    "block": SlowFast(3, 5, 6, store="block", interval=1),
    "pooled": SlowFast(3, 2, 6, store="pooled", novelty="kept", interval=1),
    "pooled overflow": SlowFast(2, 2, 4, store="pooled", decide="overflow", interval=1),
    "unbounded": SlowFast(3, 4, 6, bounded=False),
    "no slow": SlowFast(3, 0, 6),
    "no sink": SlowFast(0, 4, 3, interval=1),
    "figure": SlowFast(3, 4, 6, threshold=0.5, promote="alike", evict="newest", interval=1),
    "uniform": SlowFast(3, 4, 6, novelty="uniform", interval=2),
    "quantile": SlowFast(3, 4, 6, quantile=0.5, calibration=5, novelty="kept", interval=1),
    "quantile, shared": SlowFast(3, 4, 6, quantile=0.5, per_layer=False, interval=1),
    "released": SlowFast(3, 4, 6, interval=1, as_released=True),
    "infinity_rope as coded": Sliding(0, 6, "relative", as_released=True),
    "deep_sink as coded": DeepSink(4, 8, as_released=True),
    "ema_sink as coded": EmaSink(3, 6, as_released=True),
    "memrope as coded": MemRope(as_released=True),
    "memrope per position": MemRope(2, 5, average="position"),
    "anchor as coded": Anchor(3, 9, as_released=True),
    "a key-frame": WithKeyFrame(Sliding(1, 6, "relative"), 1),
    "a key-frame, chosen": WithKeyFrame(SlowFast(3, 4, 6, interval=1), 1),
}
MEANS = ("SlowFast", "MemRope", "Participative")
"""Besides selective ones, those that hold frames, tokens or their weighted means."""
every = pytest.mark.parametrize("policy", VARIANTS.values(), ids=VARIANTS.keys())
both = pytest.mark.parametrize(
    ("policy", "frames"),
    [
        *(pytest.param(VARIANTS[name], n, id=f"{name}-{n}") for name in NAMES for n in (1, 3)),
        *(pytest.param(VARIANTS[name], 3, id=name) for name in VARIANTS if name not in NAMES),
    ],
)
"""Students that make one frame at a time, and three."""


SELECTIVE = [
    pytest.param(policy, frames, id=f"{name}-{frames}")
    for name, policy in VARIANTS.items()
    for frames in (1, 2, 3)
    if isinstance(policy, SelectiveMemory) and policy.forgets_for_ever
]


@pytest.mark.parametrize(("policy", "frames"), SELECTIVE)
def test_what_is_held_is_keep_of_all_frames(policy: SelectiveMemory, frames: int) -> None:
    """No frame is lost that is still wanted, and none is held that is not."""
    try:
        policy.check_block(frames)
    except ValueError:
        pytest.skip("blocks of this length do not fit")
    context = Context()
    for i in range(24):
        context = policy.update(context, block(frames, seed=i))
        whole = torch.arange(context.start)
        asked = whole[policy.keep(whole, context.start + frames)]
        assert context.frames == tuple(asked.tolist())


@dataclass(frozen=True)
class Waxing(SelectiveMemory):
    """Wants back what it has dropped: multiples of a number that rises and falls."""

    max_frames = None
    called: ClassVar[list[int]] = []

    def keep(self, frames: Tensor, stop: int) -> Tensor:
        self.called.append(len(frames))
        return (frames % (1 + stop // 6 % 3) == 0) | (frames >= stop - 6)


def test_a_keep_that_wants_back_what_it_dropped_is_refused_at_the_first_block() -> None:
    with pytest.raises(ValueError, match=r"Waxing.keep wants back what it had dropped"):
        fold(Waxing(), [block(3)])
    assert 0 not in Waxing.called
    Waxing.called.clear()
    read(Waxing(), Context())
    assert not Waxing.called, "there is nothing to choose from"


def no_room(policy: Memory, frames: int) -> bool:
    """A window of one block has room for the coming one alone."""
    return policy in (Sliding(0, frames), SlowFast(0, 4, frames, interval=1))


def past_tokens(policy: Memory, context: Context, frames: int) -> int:
    return max((layer.k.shape[1] for layer in read(policy, context, frames).layers), default=0)


@both
def test_newest_frame_is_kept(policy: Memory, frames: int) -> None:
    if no_room(policy, frames):
        pytest.skip("the window is one block")
    context = Context()
    for i in range(40 // frames):
        arrived = block(frames, seed=i)
        context = policy.update(context, arrived)
        newest = read(policy, context, frames).layers[0]
        for mine, theirs in zip(newest[:2], arrived.layers[0][:2], strict=True):
            assert torch.equal(mine[:, -4:], theirs[:, -4:])


@both
def test_size_is_bounded_and_constant(policy: Memory, frames: int) -> None:
    assert_bounded(policy, max(60, 2 * (policy.max_frames or 0)), frames)


@pytest.mark.exhaustive
@pytest.mark.slow
@pytest.mark.parametrize("names", [NAMES[::2], NAMES[1::2]], ids=["even", "odd"])
def test_size_is_bounded_and_constant_over_ten_thousand_blocks(names: list[str]) -> None:
    """In a process that does not check types: the checks take ten times as long as the updates."""
    command = [sys.executable, str(Path(__file__).with_name("memories.py")), *names]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == names


@every
def test_a_longer_block_sees_no_more_than_there_is_room_for(policy: Memory) -> None:
    """After frames that came one by one, the memory has kept more than a block of 3 may see."""
    if policy.max_frames is None:
        pytest.skip("no bound")
    context = fold(policy, [block(1, seed=i) for i in range(30)])
    assert past_tokens(policy, context, 3) / 4 + 3 <= policy.max_frames
    context = policy.update(context, block(3))
    assert past_tokens(policy, context, 3) / 4 + 3 <= policy.max_frames


@every
def test_inputs_are_untouched(policy: Memory) -> None:
    """Under autograd; the same update can be done again, with the same result."""
    context = fold(policy, mixed(9))
    arrived = mixed(10)[-1]
    tensors = [x for layer in (*context.layers, *arrived.layers) for x in layer if x is not None]
    before = [x.clone() for x in (*tensors, *context.state)]
    first, second = (policy.update(context, arrived) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(before, (*tensors, *context.state), strict=True))
    assert_equal(first, second)


@every
def test_no_value_is_asked_for(policy: Memory) -> None:
    """On a device that has shapes and no values: asking is what makes a host wait for a GPU."""
    context = Context()
    with torch.inference_mode():
        for each in mixed(14):
            absent = tree_map_only(torch.Tensor, lambda x: x.to("meta"), vars(each))
            context = policy.update(context, Block(**absent))
            past = read(policy, context)
            assert all(layer.k.is_meta and layer.ids.is_meta for layer in past.layers)


@both
def test_a_fold_cut_and_resumed_is_one_fold(policy: Memory, frames: int) -> None:
    """All that matters is in the context, which may be copied elsewhere and back."""
    blocks = mixed(14, frames=frames)
    resumed = copy.deepcopy(fold(policy, blocks[:9]))
    for each in blocks[9:]:
        resumed = policy.update(resumed, each)
    assert_equal(resumed, fold(policy, blocks))


@both
def test_inference_storage_gives_the_same_bits(policy: Memory, frames: int) -> None:
    with torch.inference_mode():
        consumed = fold(policy, mixed(14, frames=frames))
    assert_equal(consumed, fold(policy, mixed(14, frames=frames)))


@every
def test_a_consumed_context_says_so_and_a_forked_one_survives(policy: Memory) -> None:
    with torch.inference_mode():
        context = fold(policy, mixed(9))
        kept = fork(context)
        first = policy.update(context, mixed(10)[-1])
        with pytest.raises(RuntimeError, match="consumed by an update; fork"):
            policy.update(context, mixed(10)[-1])
        assert_equal(first, policy.update(kept, mixed(10)[-1]))
        assert_equal(first, policy.update(kept, mixed(10)[-1]))


@both
def test_samples_are_independent(policy: Memory, frames: int) -> None:
    """A batch remembers what its samples alone do, though these keep different frames."""
    blocks = mixed(42 // frames, frames=frames)
    together = read(policy, fold(policy, blocks), frames)
    for index in range(3):
        alone = read(policy, fold(policy, [sample(each, index) for each in blocks]), frames)
        assert alone.start == together.start
        for mine, ours in zip(alone.layers, together.layers, strict=True):
            for a, b in zip(counted(mine, 0), counted(ours, index), strict=True):
                assert torch.equal(a, b)
    differ = isinstance(policy, SlowFast) and policy.slow_frames and not policy.as_released
    if differ and policy.novelty != "uniform" and frames == 3:  # type: ignore[attr-defined]
        (first, _), kept = (read(policy, fold(policy, blocks)).layers for _ in range(2))
        assert first.valid is not None
        sizes = [len(counted(layer, index)[0]) for layer in kept for index in range(3)]
        assert len(set(sizes)) > 1, "the samples were meant to decide differently"


@every
def test_what_is_remembered_is_differentiable(policy: Memory) -> None:
    """Fully for the newest frame; what policies decide by is detached."""
    blocks = [block(3, seed=i, grid=(2, 2)) for i in range(8)]
    leaves = [x.requires_grad_() for each in blocks for x in each.layers[0][:2]]
    context = fold(policy, blocks)
    assert not any(x.requires_grad for x in context.state), "it would hold on to every block"
    past = read(policy, context)
    total = sum((x.sum() for layer in past.layers for x in layer[:2]), torch.zeros(()).double())
    grads = torch.autograd.grad(total, leaves, allow_unused=True)
    assert all(grad is None or bool(grad.isfinite().all()) for grad in grads)
    newest = grads[-2:]
    if not no_room(policy, 3):
        assert all(grad is not None and bool((grad[:, -4:] >= 1).all()) for grad in newest)
    if isinstance(policy, SelectiveMemory) or type(policy).__name__ in MEANS:
        whole = type(policy).update is SelectiveMemory.update
        assert_conserved(grads, past.layers, whole=whole)


def assert_conserved(grads: Any, layers: Any, *, whole: bool) -> None:
    """As much gradient as elements: what is held is made of frames with weights that sum to 1."""
    weight = sum(float(grad.sum()) for grad in grads if grad is not None)
    elements = sum(counted(layer, 0)[field].numel() for layer in layers for field in (0, 1))
    assert weight == pytest.approx(elements)
    assert not whole or all(bool((g == g.round()).all()) for g in grads if g is not None)


@pytest.mark.parametrize(
    ("name", "frames"),
    [
        *((name, 3) for name in NAMES),
        *(
            pytest.param(
                name, 1, marks=[] if name in ("full", "slow_fast") else pytest.mark.exhaustive
            )
            for name in NAMES
        ),
    ],
)
def test_a_student_trains_one_step(name: str, frames: int) -> None:
    """Through its own rollout: every weight gets a finite gradient and moves."""
    policy = memory(name)
    network, cond = model(torch.float64), conditioning(2, 18)
    rollout = Rollout(policy, num_steps=2, block_frames=frames)
    eps = rollout.noise(network, 0, (0, 1))
    optimizer = torch.optim.SGD(network.parameters(), 1e-3)
    before = [parameter.detach().clone() for parameter in network.parameters()]
    rolled = rollout(network, eps, cond, frames=18, window_frames=6, differentiable_past=True)
    (rolled.window * latents(2, 6)).sum().backward()
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in network.parameters())
    optimizer.step()
    moved = [not torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True)]
    assert all(moved)


@pytest.mark.parametrize("name", NAMES)
def test_a_memory_is_a_value(name: str) -> None:
    policy = memory(name)
    again = replace(policy)  # type: ignore[type-var]
    assert again == policy
    assert hash(again) == hash(policy)
    assert [name for name in NAMES if memory(name) == policy] == [name]


@every
def test_an_empty_context_reads_as_nothing(policy: Memory) -> None:
    past = read(policy, Context())
    assert len(past.layers) == 0
    assert past.start == 0


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        (Sliding(0, 2), "window_frames=2 is smaller than a block of 3"),
        (SlowFast(fast_frames=2), "fast_frames=2 is smaller than a block of 3"),
        (SlowFast(slow_frames=2, store="block"), "slow_frames=2 cannot hold a whole block of 3"),
    ],
)
def test_blocks_that_do_not_fit_name_the_value(policy: Memory, message: str) -> None:
    policy.check_block(1)
    with pytest.raises(ValueError, match=message):
        policy.check_block(3)


@pytest.mark.parametrize(
    ("kind", "sizes", "message"),
    [
        (Sliding, {"sink_frames": -1}, "sink_frames=-1"),
        (Sliding, {"window_frames": 0}, "window_frames=0"),
        (SlowFast, {"sink_frames": -1}, "sink_frames=-1"),
        (SlowFast, {"slow_frames": -1}, "slow_frames=-1"),
        (SlowFast, {"interval": 0}, "interval=0"),
    ],
)
def test_impossible_sizes_name_the_value(
    kind: type[Sliding | SlowFast], sizes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        kind(**sizes)
