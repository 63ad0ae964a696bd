"""The released slow-fast memory against its control flow, written out once more per slot."""

import itertools
from typing import Any

import pytest
import torch
from memories import sample
from tiny import block, conditioning, draw, latents, model
from torch import Tensor

from cf.memory.base import Query
from cf.memory.slow_fast import SlowFast
from cf.rollout.blockwise import Rollout
from cf.types import Block, Context

FRAMES = 3


def passes(count: int, batch: int = 2, layers: int = 2) -> list[list[Block]]:
    """Blocks of one-token frames in three passes each, whose keys change now more, now less."""
    made, at = [], draw(batch, layers, 4, seed=1)
    for i in range(count):
        mine = []
        for step in range(3):
            at = at + (1.0 if i % 3 == 0 else 0.15) * draw(batch, layers, 4, seed=10 * i + step)
            each = block(FRAMES, batch=batch, layers=layers, grid=(1, 1), seed=100 + 10 * i + step)
            noise = [0.05 * layer.k[:, :, 0] for layer in each.layers]
            for layer, (kv, extra) in enumerate(zip(each.layers, noise, strict=True)):
                kv.k.copy_((at[:, layer, None] + extra)[:, :, None])
            mine.append(each)
        made.append(mine)
    return made


class Peer:
    """One layer of the released cache for one sample: slots of (frame, key)."""

    def __init__(self, sizes: tuple[int, int, int], interval: int | None) -> None:
        self.sink, self.slow, self.fast = sizes
        self.interval, self.size = interval, sum(sizes)
        self.slots: list[tuple[int, Tensor]] = []
        self.history: list[int] = []
        self.written, self.newest, self.before = 0, -1, None

    def attend(self, keys: Tensor, start: int, first: bool) -> list[tuple[int, Tensor]]:
        """What a pass over the block at `start` attends, in slots 0, 1, 2, ..."""
        mean = keys.mean(0)
        if start < 6:
            novel = False
        elif self.interval is not None:
            novel = start % self.interval == 0
        elif self.before is None:
            novel = True
        else:
            novel = bool(torch.cosine_similarity(mean, self.before, 0) < 0.95)
        if novel and self.newest != start:
            entry = (start, keys[0])
            if self.sink + self.written + 1 + self.fast <= self.size:
                self.slots[self.sink + self.written] = entry
                self.written += 1
            else:
                last = self.sink + self.slow
                self.slots[self.sink : last] = [*self.slots[self.sink + 1 : last], entry]
            self.newest = start
            self.history.append(start)
        if not first:
            del self.slots[-FRAMES:]
        elif len(self.slots) + FRAMES > self.size:
            del self.slots[self.sink + self.slow : self.sink + self.slow + FRAMES]
        self.slots += [(start + i, key) for i, key in enumerate(keys)]
        self.before = mean
        return self.slots


@pytest.mark.parametrize("bounded", [True, False])
@pytest.mark.parametrize("interval", [None, 1, 2])
@pytest.mark.parametrize("sizes", [(3, 12, 6), (3, 3, 6)])
def test_the_released_rule(
    sizes: tuple[int, int, int], interval: int | None, bounded: bool
) -> None:
    uniform: dict[str, Any] = {"novelty": "uniform", "interval": interval or 1}
    policy = SlowFast(
        *sizes, **(uniform if interval else {"interval": 1}), bounded=bounded, as_released=True
    )
    frames = None if interval is None else 3 * interval
    peers = [[Peer(sizes, frames) for _ in range(2)] for _ in range(2)]
    context = Context()
    for i, mine in enumerate(passes(16)):
        for step, own in enumerate(mine):
            commit = step == 2
            past = policy.read(
                context, Query(3, conditioning(1), "commit" if commit else "denoise", step)
            )
            for layer in range(2):
                kv = own.layers[layer]
                seen = None if past.live is None else past.live(layer, kv, own.queries[layer])
                for index in range(2):
                    slots = peers[layer][index].attend(kv.k[index, :, 0], 3 * i, step == 0)
                    if seen is None:
                        continue
                    assert torch.equal(seen.k[index, :, 0], torch.stack([k for _, k in slots[:-3]]))
                    times = seen.ids[index, :, 0].tolist()
                    true = [float(frame) for frame, _ in slots[:-3]]
                    assert times == (list(range(len(slots) - 3)) if bounded else true)
                    assert past.start == (len(slots) - 3 if bounded else 3 * i)
            context = policy.update(context, own) if commit else policy.noisy(context, own)
    histories = {tuple(each.history) for each in itertools.chain(*peers)}
    assert len(set(itertools.chain(*histories))) > 3
    assert interval is not None or len(histories) > 1, "all decided alike"


def test_a_promoted_frame_is_as_noisy_as_it_was_and_seen_at_once() -> None:
    """Consequences 2, 3 and 6 of its control flow, on the first block that may be promoted."""
    policy, context = SlowFast(interval=1, as_released=True), Context()
    turned = [torch.eye(4).double()[i] for i in (0, 0, 1, 2)]
    for i, key in enumerate(turned[:2]):
        context = policy.update(context, block(3, grid=(1, 1), keys=key[None], seed=i))
    noisy, clean = (block(3, grid=(1, 1), keys=key[None]) for key in turned[2:])
    live = policy.read(context, Query(3, conditioning(1))).live
    assert live is not None
    assert torch.equal(live(0, noisy.layers[0], noisy.queries[0]).k[0, 3, 0], turned[2])
    context = policy.update(policy.noisy(context, noisy), clean)
    assert torch.equal(context.layers[0].k[0, 3, 0], turned[2])
    assert torch.equal(context.layers[0].k[0, 6:9, 0], turned[3].expand(3, -1))


def test_samples_do_not_share_their_decisions() -> None:
    policy = SlowFast(3, 2, 6, interval=1, as_released=True)
    together, alone = Context(), [Context(), Context()]
    for mine in passes(9):
        for step, own in enumerate(mine):
            fold = policy.update if step == 2 else policy.noisy
            together = fold(together, own)
            alone = [fold(one, sample(own, i)) for i, one in enumerate(alone)]
    for i, one in enumerate(alone):
        for mine_, ours in zip(one.layers, together.layers, strict=True):
            assert all(torch.equal(a[0], b[i]) for a, b in zip(mine_[:3], ours[:3], strict=True))


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("differentiable", [False, True])
def test_a_rollout_with_it_streams_resumes_and_trains(
    checkpointing: bool, differentiable: bool
) -> None:
    network, cond = model(), conditioning(2, 24)
    rollout = Rollout(SlowFast(3, 2, 6, interval=1, threshold=0.999, as_released=True), num_steps=2)
    eps = rollout.noise(network, 0, (0, 1))
    with torch.no_grad():
        whole = rollout(network, eps, cond, frames=24)
        half = rollout(network, eps, cond, frames=12)
        rest = rollout(network, eps, cond, frames=12, state=half.state)
        assert torch.equal(torch.cat((half.past, rest.past), 1), whole.past)
        state = half.state
    with torch.inference_mode():
        state = rollout(network, eps, cond, frames=12).state
        x0, _ = next(rollout.stream(network, eps, cond, state))
    assert torch.equal(x0, whole.past[:, 12:15])
    written = whole.state.context.state[1]
    assert bool((written > 0).all()), "something was meant to be promoted"
    found = []
    for recompute in {False, checkpointing}:
        network.activation_checkpointing = recompute
        rolled = rollout(
            network, eps, cond, frames=15, window_frames=9, differentiable_past=differentiable
        )
        loss = (rolled.window * latents(2, 9)).sum()
        found.append(torch.autograd.grad(loss, list(network.parameters())))
    for one, other in zip(found[0], found[-1], strict=True):
        torch.testing.assert_close(one, other, atol=1e-9, rtol=0)
