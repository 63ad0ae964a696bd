"""Prompt switches: against the peers' arithmetic, and laws that hold with any memory."""

import itertools
from dataclasses import replace
from typing import Any

import pytest
import torch
from tiny import MEMORIES, conditioning, latents, memory, model, one
from torch import Tensor

from cf.generation import requests
from cf.memory.base import Memory, Query
from cf.memory.full import Full
from cf.memory.participative import Participative
from cf.memory.sliding import Sliding
from cf.memory.slow_fast import SlowFast
from cf.models.attention import attend
from cf.models.codec import PixelCodec
from cf.models.conditions import with_control
from cf.models.patches import embed_patches
from cf.models.rope import rotate
from cf.models.transformer import VideoTransformer
from cf.rollout import switch
from cf.rollout.blockwise import Rollout
from cf.rollout.state import RolloutState
from cf.rollout.switch import Cut, Flush, Keep, PromptChange, Recache, Switch
from cf.runs.generator import Generator
from cf.types import Conditioning, Context

EXACT: dict[str, Any] = {"atol": 1e-9, "rtol": 0}
OLD, NEW = (replace(conditioning(2, 60), text=conditioning(2, seed=seed).text) for seed in (0, 7))


def begun(
    policy: Memory, frames: int, **options: Any
) -> tuple[VideoTransformer, Rollout, Any, RolloutState]:
    """A network, its rollout and noise, and a stream cut after some frames under the old prompt."""
    network, rollout = model(), Rollout(policy, num_steps=1, **options)
    eps = rollout.noise(network, 0, (0, 1))
    with torch.no_grad():
        state = rollout.remember(network, latents(2, frames), eps, OLD)
    return network, rollout, eps, state


def assert_same(one: Context, other: Context) -> None:
    assert (one.start, one.frames, one.first) == (other.start, other.frames, other.first)
    for mine, theirs in zip(one.layers, other.layers, strict=True):
        for a, b in zip(mine, theirs, strict=True):
            assert (a is None) == (b is None)
            if a is not None and b is not None:
                torch.testing.assert_close(a, b, **EXACT)


# Flush and cut


@pytest.mark.parametrize("recent", [0, 1, 2, 5])
@pytest.mark.parametrize(("sink", "window"), [(1, 5), (3, 9), (0, 6)])
def test_flush_keeps_the_sink_and_the_last_frames(sink: int, window: int, recent: int) -> None:
    policy = Sliding(sink, window, "relative")
    *_, state = begun(policy, 12)
    held = state.context.frames
    flushed = switch.flush(state, policy, recent).context
    tail = held[max(len(held) - recent, sink) :] if recent else ()
    assert flushed.frames == held[:sink] + tail
    tokens = [4 * held.index(frame) + i for frame in flushed.frames for i in range(4)]
    for mine, theirs in zip(flushed.layers, state.context.layers, strict=True):
        assert torch.equal(mine.k, theirs.k[:, tokens])
        assert torch.equal(mine.v, theirs.v[:, tokens])
    assert flushed.start == 12


@pytest.mark.parametrize(("sink", "size"), [(1, 6), (1, 12), (3, 12), (2, 9), (4, 12), (0, 6)])
def test_infinity_rope_after_a_flush_as_coded(sink: int, size: int) -> None:
    """The cache becomes [first slot, last two]; queries stay at the end of a full window."""
    policy = Sliding(sink, size - sink, "relative", as_released=True)
    network, rollout, eps, state = begun(policy, 15)
    state = Flush(as_released=True)(PromptChange(rollout, network, eps, NEW, state))
    cache = [12 if sink == 0 else 0, 13, 14]
    for start in (15, 18, 21, 24):
        out = max(len(cache) + 3 - size, 0)
        cache = cache[:sink] + cache[sink + out :]
        past = policy.read(state.context, Query(3, NEW))
        assert list(state.context.frames) == cache
        times = past.layers[0].ids[0, ::4, 0].tolist()
        assert times == list(range(len(cache)))
        assert (past.start, past.query_start) == (len(cache), size - 3)
        cache += range(start, start + 3)
        with torch.no_grad():
            _, state = next(rollout.stream(network, eps, NEW, state))


def test_the_coded_flush_differs_only_where_the_sink_is_not_one_frame() -> None:
    for sink, same in ((1, True), (3, False)):
        policy = Sliding(sink, 9, "relative")
        network, rollout, eps, state = begun(policy, 15)
        one, other = (
            Flush(as_released=f)(PromptChange(rollout, network, eps, NEW, state))
            for f in (False, True)
        )
        assert (one.context.frames == other.context.frames) == same


def test_a_cut_moves_one_block_in_all_its_passes() -> None:
    """Its queries and keys stand at 45 to 47, the past in its slots, and all is as ever after."""
    policy = Sliding(1, 5, "relative")
    network, rollout, eps, state = begun(policy, 12)
    cuts = Cut()(PromptChange(rollout, network, eps, NEW, state))
    part = NEW.frames(12, 15)
    past = policy.read(state.context, Query(3, part))._replace(start=45.0)
    with torch.no_grad():
        x0, after = next(rollout.stream(network, eps, NEW, cuts))
        read = network.prepare(past, part)
        x, t = eps(12, 0).double(), torch.ones(2, 3).double()
        expected = x - network(x, t, part, read).velocity
        torch.testing.assert_close(x0, expected, **EXACT)
        block = network(x0, t * 0, part, read).block
    assert_same(after.context, policy.update(state.context, block))
    assert after.begin is None


def test_a_cut_may_come_with_a_flush() -> None:
    network, rollout, eps, state = begun(Sliding(1, 8, "relative"), 12)
    both = Cut(50.0, Flush(1))(PromptChange(rollout, network, eps, NEW, state))
    assert both.begin == 50
    assert both.context.frames == (0, 11)


# Recache


def longlive(
    network: VideoTransformer,
    cond: Conditioning,
    frames: Tensor,
    start: int,
    sink: Context,
    at: int | None = None,
) -> list[tuple[Tensor, Tensor]]:
    """Keys and values of one pass over frames that see [kept sink | all but the first of them].

    As many of the first frames as there are sink frames ask, but are not asked: their slots hold
    the old sink. `at` is where the first of them stands, if not at `start`.
    """
    hidden = 4 * len(sink.frames)
    cond = cond.frames(start, start + frames.shape[1])
    x, grid = embed_patches(frames, network.patch_embedding, network.patch_size)
    own = torch.arange(frames.shape[1])
    x = with_control(x, cond, own, network.control_embedding, network.control_dim)
    _, modulation = network._embed_time(torch.zeros(frames.shape[:2]).double())
    rows = torch.cartesian_prod(*(torch.arange(n) for n in (frames.shape[1], *grid))).float()
    rows[:, 0] += start if at is None else at
    place = network._rotation(rows[None])
    text, made = network._project_text(cond), []
    assert text is not None
    for i, block in enumerate(network.blocks):
        parts = (block.modulation + modulation).unsqueeze(3).unbind(2)  # type: ignore
        norm = torch.nn.functional.layer_norm(x, x.shape[-1:], eps=block.eps)  # type: ignore
        tokens = (norm * (1 + parts[1]) + parts[0]).flatten(1, 2)
        attention: Any = block.self_attn
        q, (k, v) = rotate(attention.queries(tokens), place), attention.keys_values(tokens)
        made.append((k, v))
        keys, values = rotate(k, place)[:, hidden:], v[:, hidden:]
        if hidden:
            held = sink.layers[i]
            keys = torch.cat((rotate(held.k, network._rotation(held.ids)), keys), 1)
            values = torch.cat((held.v, values), 1)
        out = attention.o(attend(q, keys, values))
        x = x + parts[2] * out.unflatten(1, x.shape[1:3])
        crossed = block.cross_attn(block.norm3(x).flatten(1, 2), text[i])  # type: ignore
        x = x + crossed.unflatten(1, x.shape[1:3])
        norm = torch.nn.functional.layer_norm(x, x.shape[-1:], eps=block.eps)  # type: ignore
        x = x + parts[5] * block.ffn(norm * (1 + parts[4]) + parts[3])  # type: ignore
    return made


@pytest.mark.parametrize("positions", ["absolute", "relative"])
@pytest.mark.parametrize(
    ("sink", "window", "start"), [(3, 9, 24), (3, 9, 9), (1, 5, 15), (2, 9, 12), (0, 6, 12)]
)
def test_longlive_recache_with_the_sink_kept(
    sink: int, window: int, start: int, positions: Any
) -> None:
    policy = Sliding(sink, window, positions)
    network, rollout, eps, state = begun(policy, start)
    count = min(sink + window, start)
    recent = latents(2, start)[:, -count:]
    with torch.no_grad():
        old = switch.flush(state, policy, 0).context
        at = 0 if positions == "relative" else None
        made = longlive(network, NEW, recent, start - count, old, at)
        found = Recache(as_released=True)(PromptChange(rollout, network, eps, NEW, state)).context
    kept = [*range(sink), *range(max(start - window + 3, sink), start)]
    assert list(found.frames) == kept
    for layer, was, (k, v) in zip(found.layers, old.layers, made, strict=True):
        stay = 4 * (len(kept) - sink)
        torch.testing.assert_close(
            layer.k, torch.cat((was.k, k[:, k.shape[1] - stay :]), 1), **EXACT
        )
        torch.testing.assert_close(
            layer.v, torch.cat((was.v, v[:, v.shape[1] - stay :]), 1), **EXACT
        )


@pytest.mark.parametrize("positions", ["absolute", "relative"])
@pytest.mark.parametrize(("sink", "window", "start"), [(3, 9, 24), (3, 9, 9), (1, 5, 15)])
def test_longlive_recache_with_the_sink_recomputed(
    sink: int, window: int, start: int, positions: Any
) -> None:
    """The first of the recomputed frames are the sink from now on, where they were."""
    policy = Sliding(sink, window, positions)
    network, rollout, eps, state = begun(policy, start)
    count = min(sink + window, start)
    first = start - count
    with torch.no_grad():
        made = longlive(network, NEW, latents(2, start)[:, -count:], first, Context())
        after = Recache("recompute", as_released=True)(
            PromptChange(rollout, network, eps, NEW, state)
        )
    recent = range(max(start - window + 3, first + sink), start)
    assert after.context.frames == (*range(first, first + sink), *recent)
    tokens = [4 * (f - first) + i for f in after.context.frames for i in range(4)]
    for layer, (k, v) in zip(after.context.layers, made, strict=True):
        torch.testing.assert_close(layer.k, k[:, tokens], **EXACT)
        torch.testing.assert_close(layer.v, v[:, tokens], **EXACT)
    with torch.no_grad():
        for _, later in itertools.islice(rollout.stream(network, eps, NEW, after), 4):
            sinks = later.context.frames[:sink]
    assert sinks == tuple(range(first, first + sink))


@pytest.mark.parametrize("policy", [Full(), Sliding(0, 30), Sliding(3, 27, "relative")])
@pytest.mark.parametrize("sink", ["keep", "recompute"])
@pytest.mark.parametrize(("context_noise", "frames"), [(0.0, 3), (0.1, 3), (0.0, 1)])
def test_recaching_under_the_same_prompt_changes_nothing(
    policy: Memory, sink: Any, context_noise: float, frames: int
) -> None:
    """Block by block, where all is held; the both-ways pass of the peers does change it."""
    options: dict[str, Any] = {"context_noise": context_noise, "block_frames": frames}
    network, rollout, eps, state = begun(policy, 15, recent_frames=15, **options)
    same = Recache(sink)(PromptChange(rollout, network, eps, OLD, state))
    assert_same(same.context, state.context)
    peers = Recache(sink, as_released=True)(PromptChange(rollout, network, eps, OLD, state))
    assert (peers.context.layers[1].k - state.context.layers[1].k).abs().max() > 1e-3
    first, before = (each.context.layers[0].v[:, :4] for each in (peers, state))
    torch.testing.assert_close(first, before, **EXACT)


def test_a_recache_reads_the_new_prompt_block_by_block() -> None:
    policy = Sliding(1, 6)
    network, rollout, eps, state = begun(policy, 12)
    after = Recache(frames=6)(PromptChange(rollout, network, eps, NEW, state))
    sink = switch.flush(state, policy, 0).context
    with torch.no_grad():
        start = RolloutState(replace(sink, start=7))
        expected = rollout.remember(network, latents(2, 12)[:, 7:], eps, NEW, start)
    assert_same(after.context, expected.context)
    assert torch.equal(after.recent, state.recent)  # type: ignore[arg-type]


def test_a_stream_that_cannot_recache_says_so_before_it_begins() -> None:
    network, rollout, eps, _ = begun(Full(), 3)
    with pytest.raises(ValueError, match="set its recent_frames, which is None"):
        next(switch.stream(rollout, network, eps, [(0, OLD), (9, NEW)], Recache()))
    rollout = Rollout(Sliding(1, 5), num_steps=1, recent_frames=6)
    texts = [(0, OLD), (4, NEW), (13, OLD)]  # at blocks, of frames 6 and 15
    for frames, sink in ((6, "recompute"), (7, "keep"), (None, "keep")):
        refuses = Recache(sink, frames=frames)  # type: ignore[arg-type]
        made = [
            x0
            for x0, _ in itertools.islice(switch.stream(rollout, network, eps, texts, refuses), 6)
        ]
        assert len(made) == 6
    for frames, sink, needed in ((7, "recompute", 7), (8, "keep", 7), (40, "recompute", 15)):
        refuses = Recache(sink, frames=frames)  # type: ignore[arg-type]
        told = rf"after 15 latent frames needs the last {needed} of them, but the rollout holds 6"
        with pytest.raises(ValueError, match=told):
            next(switch.stream(rollout, network, eps, texts, refuses))
        next(switch.stream(rollout, network, eps, texts[:2], refuses))  # all 6 are held


@pytest.mark.parametrize("sink", ["keep", "recompute"])
def test_a_recache_may_follow_another(sink: Any) -> None:
    """No frame is held twice, however soon."""
    network, rollout, eps, state = begun(Sliding(3, 9), 24)
    for frames in (5, None, 9):
        state = Recache("recompute", frames=frames)(PromptChange(rollout, network, eps, NEW, state))
        state = Recache(sink)(PromptChange(rollout, network, eps, OLD, state))
        held = state.context.frames
        assert list(held) == sorted(set(held))
        assert held[-1] == state.context.start - 1
        with torch.no_grad():
            _, state = next(rollout.stream(network, eps, OLD, state))


def test_a_recache_without_latents_says_what_to_set() -> None:
    network, rollout, eps, state = begun(Full(), 9)
    with pytest.raises(ValueError, match="set recent_frames of the rollout to 1"):
        Recache()(PromptChange(rollout, network, eps, NEW, state))
    network, rollout, eps, state = begun(Sliding(1, 5), 9)
    with pytest.raises(ValueError, match="the last 8 of them, but the rollout holds 6"):
        Recache(frames=9)(PromptChange(rollout, network, eps, NEW, state))


# Streams of prompts, and every memory

SWITCHES: dict[str, Switch] = {
    "keep": Keep(),
    "flush": Flush(),
    "cut": Cut(),
    **{
        f"{sink}, {'peers' if as_released else 'causal'}": Recache(sink, as_released=as_released)  # type: ignore[arg-type]
        for sink in ("keep", "recompute")
        for as_released in (False, True)
    },
}
POLICIES: dict[str, Memory] = {
    **{file.stem: memory(file.stem) for file in MEMORIES},
    "released": SlowFast(3, 4, 6, threshold=0.99, interval=1, as_released=True),
    "participative as coded": Participative(4, 2, 4, 12, as_released=True),
    "no sink as coded": Sliding(0, 6, "relative", as_released=True),
    "pooled": SlowFast(3, 4, 6, store="pooled", quantile=0.5, interval=1),
}


ALWAYS = ("full", "sliding", "slow_fast", "released")
"""Memories that meet every switch in `make test`; each of the others meets two or three there."""


@pytest.mark.parametrize(
    ("policy", "kind"),
    [
        pytest.param(
            policy,
            kind,
            id=f"{name}-{switch}",
            marks=[] if name in ALWAYS or (i + j) % 3 == 0 else pytest.mark.exhaustive,
        )
        for i, (name, policy) in enumerate(POLICIES.items())
        for j, (switch, kind) in enumerate(SWITCHES.items())
    ],
)
def test_every_switch_goes_with_every_memory(policy: Memory, kind: Switch) -> None:
    """It leaves the state it was given as it was, keeps samples apart, and the stream goes on."""
    network, rollout, eps, state = begun(policy, 27, recent_frames=27)
    with torch.inference_mode():
        before = [x.clone() for layer in state.context.layers for x in layer[:3]]
        after = kind(PromptChange(rollout, network, eps, NEW, state))
        x0, went = next(rollout.stream(network, eps, NEW, after.fork()))
        again, _ = next(rollout.stream(network, eps, NEW, after))
        held = [x for layer in state.context.layers for x in layer[:3]]
    assert torch.equal(x0, again)
    assert x0.isfinite().all()
    assert all(torch.equal(a, b) for a, b in zip(before, held, strict=True))
    assert went.context.start == 30
    single = rollout.noise(network, 0, (1,))
    with torch.no_grad():
        alone = rollout.remember(network, latents(2, 27)[1:], single, one(OLD, 1))
        alone = kind(PromptChange(rollout, network, single, one(NEW, 1), alone))
        y0, _ = next(rollout.stream(network, single, one(NEW, 1), alone))
    torch.testing.assert_close(y0, x0[1:], **EXACT)


@pytest.mark.parametrize("kind", [Keep(), Recache(), Cut(at=20.0)])
def test_a_stream_changes_its_prompt_at_the_first_block_from_there(kind: Switch) -> None:
    policy = Sliding(1, 8)
    network, rollout = model(), Rollout(policy, num_steps=1)
    eps = rollout.noise(network, 0, (0, 1))
    prompts = [(0, OLD), (7, NEW), (15, OLD)]
    with torch.no_grad():
        running = switch.stream(rollout, network, eps, prompts, kind)
        made = list(itertools.islice(running, 7))
        expected, state = [], RolloutState()
        for i, cond in enumerate([OLD, OLD, OLD, NEW, NEW, OLD, OLD]):
            if i in (3, 5):
                state = kind(PromptChange(rollout, network, eps, cond, state))
            x0, state = next(rollout.stream(network, eps, cond, state))
            expected.append(x0)
        video = torch.cat([x0 for x0, _ in made], 1)
        torch.testing.assert_close(video, torch.cat(expected, 1), **EXACT)
        for cut in (2, 3, 4, 5):
            rest = switch.stream(rollout, network, eps, prompts, kind, made[cut - 1][1])
            again = [x0 for x0, _ in itertools.islice(rest, 7 - cut)]
            torch.testing.assert_close(torch.cat(again, 1), video[:, 3 * cut :], **EXACT)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Flush(-1), "recent_frames=-1 must not be negative"),
        (lambda: Recache(frames=0), "frames=0 must be at least 1"),
    ],
)
def test_impossible_switches_name_the_value(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_prompts_that_do_not_follow_one_another_are_named() -> None:
    network, rollout, eps, _ = begun(Full(), 3)
    prompts = [(3, OLD), (3, NEW)]
    with pytest.raises(ValueError, match=r"rising frames, got \[3, 3\]"):
        next(switch.stream(rollout, network, eps, prompts, Keep()))


# The command


class Spelled:
    """A text encoder whose states are the letters."""

    def encode(self, prompts: list[str]) -> Tensor:
        codes = [[ord(letter) % 7 - 3.0 for letter in prompt[:4].ljust(4)] for prompt in prompts]
        return torch.tensor(codes).double()[..., None].expand(-1, -1, 5)


@pytest.mark.parametrize("given", [0, 5])
def test_generate_follows_a_script(given: int) -> None:
    """Text changes with the first block from a pixel frame on; the recache is the stream's."""
    network = model(control_dim=None, latent_shape=(3, 4, 4))
    rollout = Rollout(Sliding(1, 5), num_steps=1)
    made = Generator(network, PixelCodec(), Spelled(), rollout, Recache(), 8.0, (4, 4))  # type: ignore[arg-type]
    script = [(0, made.conditioning(["fox"])), (7, made.conditioning(["cat"]))]
    prefix = torch.rand(1, given, 3, 4, 4) if given else None
    with torch.inference_mode():
        chunks = list(made.stream(prefix, 12, script, 3, 1))
        eps, state = rollout.noise(network, 3, (0,)), RolloutState()
        expected = []
        if prefix is not None:
            seen = PixelCodec().encode(prefix)
            state = rollout.remember(network, seen, eps, script[0][1], state)
            expected.append(prefix)
        for i in range(4):
            if i == 3:
                state = Recache()(PromptChange(rollout, network, eps, script[1][1], state))
            x0, state = next(rollout.stream(network, eps, script[i // 3][1], state))
            expected.append(PixelCodec().decode(x0))
    torch.testing.assert_close(torch.cat(chunks, 1), torch.cat(expected, 1), atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"prompts": [[0, "a"]], "prompt": "b"}, "prompt=... or prompts=..., not both"),
        ({"prompts": ["a", "b"], "prompt": ""}, r"\[\[seconds, text\], ...\], got 'a'"),
        ({"prompts": [[1, "a"]], "prompt": ""}, r"begin at 0 .* got \[1.0\]"),
        ({"prompts": [[0, "a"], [3, "b"], [2, "c"]], "prompt": ""}, r"got \[0.0, 3.0, 2.0\]"),
    ],
)
def test_scripts_that_make_no_sense_are_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        requests._script(settings)
