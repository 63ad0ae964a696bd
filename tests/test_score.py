"""How a score network sees the past: masked and block-wise views agree, and see no more."""

from dataclasses import replace

import pytest
import tiny
import torch

from cf.memory.full import Full
from cf.memory.sliding import Sliding
from cf.memory.slow_fast import SlowFast
from cf.models.transformer import VideoTransformer
from cf.objectives.score import Memoryless, SharedMemory, TimePrefix
from cf.types import Conditioning, Latents, Times

CLOSE = {"rtol": 1e-9, "atol": 1e-11}
FRAMES, WINDOW = 12, 6


@pytest.fixture(scope="module")
def network() -> VideoTransformer:
    return tiny.model()


def inputs() -> tuple[Latents, Times, Conditioning, Latents]:
    t = torch.rand(2, WINDOW, generator=torch.Generator().manual_seed(0)).double()
    cond = tiny.conditioning(2, FRAMES, origin=True)
    return tiny.latents(2, WINDOW, seed=1), t, cond, tiny.latents(2, FRAMES, seed=2)


@pytest.mark.parametrize("memory", [Full(), Sliding(3, 6), Sliding(0, 6)], ids=repr)
@pytest.mark.parametrize("block", [1, 3])
def test_one_masked_forward_is_the_pass_block_by_block(
    network: VideoTransformer, memory: Full | Sliding, block: int
) -> None:
    score = SharedMemory(network, memory=memory, block_frames=block)
    masked = score.predict(*inputs())
    torch.testing.assert_close(masked, score._blockwise(*inputs()), **CLOSE)


@pytest.mark.parametrize("memory", [Full(), Sliding(3, 6)], ids=repr)
def test_gradients_agree_and_reach_the_past_only_if_they_may(
    network: VideoTransformer, memory: Full | Sliding
) -> None:
    score = SharedMemory(network, memory=memory)
    parameters = [p for p in network.parameters() if p.requires_grad]

    def gradients(of: torch.Tensor) -> list[torch.Tensor]:
        loss = of.square().mean()
        found = torch.autograd.grad(loss, parameters, allow_unused=True)
        return [
            torch.zeros_like(p) if g is None else g for p, g in zip(parameters, found, strict=True)
        ]

    masked = gradients(score.predict(*inputs()))
    for one, other in zip(masked, gradients(score._blockwise(*inputs())), strict=True):
        torch.testing.assert_close(one, other, **CLOSE)
    cut = gradients(replace(score, differentiable_past=False).predict(*inputs()))
    assert any(not torch.allclose(a, b) for a, b in zip(masked, cut, strict=True))
    x_t, t, cond, clean = inputs()
    with_past = clean.clone().requires_grad_()
    replace(score, differentiable_past=False).predict(x_t, t, cond, with_past).sum().backward()
    assert with_past.grad is None
    score.predict(x_t, t, cond, with_past).sum().backward()
    assert with_past.grad is not None
    assert with_past.grad[:, : FRAMES - WINDOW].abs().sum() > 0
    assert with_past.grad[:, -3:].abs().sum() == 0  # the last block is not its own past


def test_activation_checkpointing_changes_no_gradient() -> None:
    for memory in (Full(), SlowFast(3, 3, 6)):
        found = []
        for recompute in (False, True):
            network = tiny.model(activation_checkpointing=recompute)
            SharedMemory(network, memory=memory).predict(*inputs()).square().mean().backward()
            found.append([p.grad for p in network.parameters() if p.grad is not None])
        for one, other in zip(*found, strict=True):
            torch.testing.assert_close(one, other, **CLOSE)


def test_a_window_of_two_blocks_sees_the_previous_block_alone(network: VideoTransformer) -> None:
    x_t, t, cond, clean = inputs()
    score = SharedMemory(network, memory=Sliding(0, 6))
    changed = clean.clone()
    changed[:, :3] += 1
    before, after = (score.predict(x_t, t, cond, c) for c in (clean, changed))
    # The block before the window was itself read under a window, and carries a trace of its past.
    assert not torch.equal(before[:, :3], after[:, :3])
    one_layer = tiny.model(num_layers=1)
    score = SharedMemory(one_layer, memory=Sliding(0, 6))
    before, after = (score.predict(x_t, t, cond, c) for c in (clean, changed))
    torch.testing.assert_close(before, after, **CLOSE)


def test_memoryless_ignores_the_past(network: VideoTransformer) -> None:
    x_t, t, cond, clean = inputs()
    score = Memoryless(network)
    assert torch.equal(score.predict(x_t, t, cond, clean), score.predict(x_t, t, cond, clean + 1))
    expected = network(x_t, t, cond.frames(WINDOW, FRAMES)).velocity
    assert torch.equal(score.predict(x_t, t, cond, clean), expected)


@pytest.mark.parametrize("tell_clean", [False, True])
def test_a_time_prefix_is_one_forward_over_prefix_and_window(
    network: VideoTransformer, tell_clean: bool
) -> None:
    x_t, t, cond, clean = inputs()
    score = TimePrefix(network, prefix_frames=4, tell_clean=tell_clean)
    told = torch.zeros(2, 4).double() if tell_clean else t[:, :1].expand(2, 4)
    rows = torch.cat((clean[:, 2:6], x_t), 1)
    expected = network(rows, torch.cat((told, t), 1), cond.frames(2, FRAMES)).velocity[:, 4:]
    torch.testing.assert_close(score.predict(x_t, t, cond, clean), expected, **CLOSE)
    longer = TimePrefix(network, prefix_frames=99)
    assert longer.predict(x_t, t, cond, clean).shape == x_t.shape


def test_a_slow_fast_memory_is_read_block_by_block(network: VideoTransformer) -> None:
    score = SharedMemory(network, memory=SlowFast(3, 3, 6))
    assert score.predict(*inputs()).shape == (2, WINDOW, *tiny.SHAPE)


def test_what_is_not_whole_blocks_is_refused(network: VideoTransformer) -> None:
    x_t, t, cond, clean = inputs()
    with pytest.raises(ValueError, match="a window of 5 frames must be whole blocks"):
        SharedMemory(network, memory=Full()).predict(x_t[:, 1:], t[:, 1:], cond, clean)
    with pytest.raises(ValueError, match="prefix_frames"):
        TimePrefix(network, prefix_frames=-1)
