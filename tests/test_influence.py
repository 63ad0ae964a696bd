"""Influence of cut history: exactly none beyond what a memory holds."""

from itertools import islice

import pytest
import torch
from tiny import conditioning, latents, model

from cf.memory.base import Memory
from cf.memory.full import Full
from cf.memory.sliding import Sliding
from cf.models.base import Backbone
from cf.rollout.blockwise import Rollout
from cf.rollout.influence import InfluenceHorizon, older_cut
from cf.rollout.state import RolloutState
from cf.schedule import FlowSchedule

NETWORK = model()
BLOCK = 3


def started(memory: Memory, frames: int = 18) -> tuple[Rollout, RolloutState]:
    rollout = Rollout(memory, FlowSchedule(), num_steps=2, block_frames=BLOCK)
    noise = rollout.noise(NETWORK, 0, [0, 1])
    with torch.no_grad():
        state = rollout.remember(NETWORK, latents(2, frames), noise, conditioning(2, 60))
    return rollout, state


def measured(memory: Memory, lags: list[int], network: Backbone = NETWORK, **more: float):  # type: ignore[no-untyped-def]
    rollout, state = started(memory)
    noise = rollout.noise(NETWORK, 0, [0, 1])
    horizon = InfluenceHorizon(rollout, network, seconds_per_frame=0.25, **more)
    return horizon(state, noise, conditioning(2, 60), lags)


@pytest.mark.parametrize("window", [6, 9, 12])
def test_it_ends_exactly_where_a_sliding_window_ends(window: int) -> None:
    found = measured(Sliding(sink_frames=0, window_frames=window), list(range(19)))
    held = window - BLOCK
    assert found.floor == 0
    assert all(change > 0 for change in found.change[:held])
    assert all(change == 0 for change in found.change[held:])
    assert found.frames == held
    assert found.seconds == held / 4


def test_a_sink_is_as_old_as_the_video() -> None:
    found = measured(Sliding(sink_frames=3, window_frames=6), [0, 3, 9, 15, 17, 18])
    assert found.change[-1] == 0
    assert all(change > 0 for change in found.change[:-1])
    assert found.frames == 18


def test_beyond_the_lags_it_is_not_known() -> None:
    found = measured(Full(), [3, 6])
    assert found.frames is None
    assert found.seconds is None


def test_what_cannot_be_told_from_nothing_does_not_count() -> None:
    found = measured(Full(), [0, 6, 12, 18], least=1e9)
    assert found.frames == 0


def test_the_state_is_left_as_it_was() -> None:
    rollout, state = started(Sliding(0, 9))
    noise, cond = rollout.noise(NETWORK, 0, [0, 1]), conditioning(2, 60)
    before, _ = next(islice(rollout.stream(NETWORK, noise, cond, state.fork()), 1))
    InfluenceHorizon(rollout, NETWORK, 1.0)(state, noise, cond, [0, 3])
    after, _ = next(islice(rollout.stream(NETWORK, noise, cond, state.fork()), 1))
    assert torch.equal(before, after)


def test_a_cut_keeps_the_last_frames_only() -> None:
    _, state = started(Full())
    cut = older_cut(state, 4)
    assert cut.context.frames == (14, 15, 16, 17)
    assert cut.context.start == state.context.start
    assert older_cut(state, 0).context.frames == ()


def test_bad_arguments_are_told() -> None:
    rollout, state = started(Full(), 3)
    noise, cond = rollout.noise(NETWORK, 0, [0, 1]), conditioning(2, 60)
    with pytest.raises(ValueError, match=r"lags=\[-1\] must be"):
        InfluenceHorizon(rollout, NETWORK, 1.0)(state, noise, cond, [-1])
    with pytest.raises(ValueError, match="repeats=1"):
        InfluenceHorizon(rollout, NETWORK, 1.0, repeats=1)
