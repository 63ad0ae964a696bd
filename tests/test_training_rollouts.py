"""Training rollouts and gradients against plain references: what is made, and what flows where."""

from dataclasses import replace
from typing import Any

import pytest
import tiny
import torch
from torch import Tensor

from cf.distillation.base import Batch, Draft, Gradient, Stretch, TrainingRollout
from cf.distillation.conflict import gradient_cosine
from cf.distillation.data_context import DataContext
from cf.distillation.fresh import Fresh
from cf.distillation.gradients import Detached, ThroughPast
from cf.distillation.persistent import Persistent
from cf.distillation.random_window import RandomWindow
from cf.distillation.replay import Replay, Writer
from cf.distillation.rolling import RollingWindows
from cf.distillation.rollout_length import Length
from cf.distillation.windows import Windows
from cf.memory.full import Full
from cf.memory.sliding import Sliding
from cf.memory.slow_fast import SlowFast
from cf.models.base import Backbone
from cf.models.codec import Codec, DecoderStream, EncoderStream, PixelCodec
from cf.models.masks import BlockCausal
from cf.models.writer import WithWriter, exported_weights, filled_backbone
from cf.objectives.score import SharedMemory
from cf.rollout.blockwise import Rollout
from cf.rollout.rolling import Rolling
from cf.rollout.switch import PromptChange, Recache
from cf.types import Conditioning

CLOSE = {"rtol": 1e-9, "atol": 1e-11}


def batch(number: int = 0, frames: int = 12, video: bool = True) -> Batch:
    latents = tiny.latents(2, frames, seed=number) if video else None
    cond = Conditioning(tiny.draw(2, 3, 5, seed=number))
    return Batch(latents, cond, None, number, (2 * number, 2 * number + 1))


def network(**sizes: Any) -> Backbone:
    return tiny.model(control_dim=None, **sizes)


def made_by(kind: TrainingRollout, gradient: Gradient, student: Backbone, **given: Any) -> Tensor:
    """The scored frames of one step."""
    stretch = kind.begin(student, given.get("batch", batch()), given.get("step", 0), True)
    rolled = gradient(student, stretch)
    kind.finish(stretch, rolled)
    return stretch.window(rolled).frames


def gradients(student: Backbone, frames: Tensor) -> dict[str, Tensor]:
    student.zero_grad()
    (frames * tiny.latents(*frames.shape[:2], seed=9)).sum().backward()
    return {n: torch.zeros_like(p) if p.grad is None else p.grad for n, p in named(student)}


def named(student: Backbone) -> list[tuple[str, Any]]:
    return list(student.named_parameters())


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.allclose(one[name], other[name], **CLOSE) for name in one)


# Persistent rollouts


def persistent(most: int = 240, **more: Any) -> Persistent:
    rollout = Rollout(Sliding(3, 9), num_steps=1, recent_frames=21)
    return Persistent(rollout, Length(most, most), 21, [0, 0], **more)


def test_a_persistent_rollout_has_the_lengths_of_longlive() -> None:
    """21, 39, ... 237 of 240, then a new video with the next batch's prompt."""
    student, ends = network(dtype=torch.float32, num_layers=1), list[int]()
    kind = persistent()
    for number in range(14):
        with torch.no_grad():
            frames = made_by(kind, Detached(), student, batch=batch(number, video=False))
        assert frames.shape[1] == 21
        assert kind._video is not None
        ends.append(kind._video.past.shape[1])
    assert ends == [*range(21, 238, 18), 21]
    assert kind._video.samples == (26, 27)


def test_a_persistent_rollout_is_one_rollout() -> None:
    kind, student = persistent(most=66), network()
    with torch.no_grad():
        for number in range(3):
            made_by(kind, Detached(), student, batch=batch(number, video=False))
        noise = kind.rollout.noise(student, 0, (0, 1))
        whole = kind.rollout(student, noise, batch().cond, frames=57)
    assert kind._video is not None
    torch.testing.assert_close(kind._video.past, whole.past, **CLOSE)


def test_frames_of_an_earlier_step_are_scored_and_carry_no_gradient() -> None:
    kind, student = persistent(most=66), network()
    made_by(kind, ThroughPast(), student, batch=batch(0, video=False))
    assert kind._video is not None
    assert not any(layer.k.requires_grad for layer in kind._video.state.context.layers)
    stretch = kind.begin(student, batch(1, video=False), 0, True)
    window = stretch.window(ThroughPast()(student, stretch))
    assert (window.past.shape[1], window.frames.shape[1]) == (18, 21)
    assert window.samples == (2, 3)  # each step is scored with random numbers of its own
    assert torch.equal(window.frames[:, :3], kind._video.past[:, 18:])
    (found,) = torch.autograd.grad(window.frames[:, 3:].sum(), student.head.head.weight)
    assert found.abs().sum() > 0
    stretch = kind.begin(student, batch(1, video=False), 0, True)
    frames = stretch.window(Detached()(student, stretch)).frames
    assert not torch.autograd.grad(frames[:, :3].sum(), student.head.head.weight)[0].any()


@pytest.mark.whole
def test_a_persistent_rollout_goes_on_from_a_checkpoint(tmp_path: Any) -> None:
    kind, student = persistent(switch=Recache(), most=120), network()
    for number in range(3):
        made_by(kind, ThroughPast(), student, batch=batch(number, video=False))
    torch.save(kind.state_dict(), tmp_path / "state.pt")
    again = persistent(switch=Recache(), most=120)
    again.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    for number in range(3, 8):
        one, other = (
            made_by(k, Replay(), student, batch=batch(number, video=False)) for k in (kind, again)
        )
        assert torch.equal(one, other)


def test_a_refused_step_is_made_anew() -> None:
    """What a step began is kept once it was taken, and no earlier."""
    kind, student = persistent(most=66), network()
    made_by(kind, Detached(), student, batch=batch(0, video=False))
    one, other = (kind.begin(student, batch(1, video=False), 0, True) for _ in range(2))
    assert torch.equal(one.past, other.past)
    assert one.frames == other.frames == 18


def test_the_prompt_changes_once_where_longlive_changes_it() -> None:
    kind, student, places = persistent(switch=Recache("recompute")), network(), set()
    for number in range(120):
        video = kind._begun(student, batch(number, video=False), 240)
        places.add(video.switch_at)
    assert places == set(range(21, 202, 18))
    kind = persistent(switch=Recache("recompute"), most=57)  # 21, 39, 57: one place, 21
    made_by(kind, Detached(), student, batch=batch(0, video=False))
    before = kind._video
    assert before is not None
    stretch = kind.begin(student, batch(1, video=False), 0, True)
    assert torch.equal(stretch.cond.text, batch(1).cond.text)  # type: ignore[arg-type]
    change = PromptChange(kind.rollout, student, stretch.noise, batch(1).cond, before.state)
    expected = Recache("recompute")(change).context.layers
    for mine, layer in zip(stretch.state.context.layers, expected, strict=True):
        torch.testing.assert_close(mine.k, layer.k, **CLOSE)
    kind.finish(stretch, Detached()(student, stretch))
    later = kind.begin(student, batch(2, video=False), 0, True)
    assert torch.equal(later.cond.text, batch(1).cond.text)  # type: ignore[arg-type]


def test_the_first_window_may_be_made_alone() -> None:
    kind, student = persistent(most=66, first_gradient=False), network()
    stretch = kind.begin(student, batch(0, video=False), 0, True)
    assert (stretch.past.shape[1], stretch.frames, stretch.scored) == (21, 18, 21)


# A second making


def stretch_of(kind: Fresh, student: Backbone) -> Stretch:
    return kind.begin(student, batch(), 0, True)


MEMORIES = {"full": Full(), "sliding": Sliding(3, 6), "slow_fast": SlowFast(3, 3, 6)}


@pytest.mark.parametrize("memory", MEMORIES)
@pytest.mark.parametrize("prefix", [0, 1])
def test_a_replay_makes_the_frames_of_the_rollout(memory: str, prefix: int) -> None:
    student, rollout = network(), Rollout(MEMORIES[memory])
    kind = Fresh(rollout, Length(12, 12), 6, [prefix, prefix], seed=3)
    stretch = stretch_of(kind, student)
    live, again = (one(student, stretch) for one in (ThroughPast(), Replay()))
    torch.testing.assert_close(again.window, live.window, **CLOSE)
    torch.testing.assert_close(again.past, live.past, **CLOSE)


@pytest.mark.parametrize("memory", MEMORIES)
def test_a_replay_trains_what_is_written_of_constant_frames(memory: str) -> None:
    """Its gradient is that of a network's calls over keys that it has written of given frames."""
    student, rollout = network(), Rollout(MEMORIES[memory], num_steps=2)
    stretch = stretch_of(Fresh(rollout, Length(9, 9), None, [0, 0], seed=3), student)
    found = gradients(student, Replay()(student, stretch).window)

    with torch.no_grad():
        clean = Detached()(student, stretch).window
    noisy, t = [], rollout.times[0 if stretch.exit_step == 0 else 1]
    for start in range(0, 9, 3):  # the noise that the exit step starts from, from first principles
        first = stretch.noise(start, 0).double()
        if stretch.exit_step == 0:
            noisy.append(first)
            continue
        state = rollout.remember(student, clean[:, :start], stretch.noise, stretch.cond)
        with torch.no_grad():
            velocity = rollout.velocity(
                student, first, torch.ones(2, 3).double(), stretch.cond, state
            )
        noisy.append((1 - t) * (first - velocity) + t * stretch.noise(start, 1).double())
    x_t, times = torch.cat(noisy, 1), torch.full((2, 9), t).double()
    seen = SharedMemory(student, memory=rollout.memory)
    x0 = x_t - times[..., None, None, None] * seen.predict(x_t, times, stretch.cond, clean)
    assert same(found, gradients(student, x0))
    cut = gradients(student, Detached()(student, stretch).window)
    assert not same(found, cut)


@pytest.mark.parametrize("gradient", [Replay(), Writer()], ids=["replay", "writer"])
@pytest.mark.parametrize("memory", MEMORIES)
def test_activation_checkpointing_changes_no_gradient(memory: str, gradient: Replay) -> None:
    found = []
    for recompute in (False, True):
        student = gradient.prepared(network(activation_checkpointing=recompute))
        kind = Fresh(Rollout(MEMORIES[memory]), Length(9, 9), None, [0, 0])
        found.append(gradients(student, gradient(student, stretch_of(kind, student)).window))
    assert same(*found)


@pytest.mark.parametrize("kind", [RandomWindow, DataContext, Persistent])
def test_activation_checkpointing_changes_no_gradient_of_any_rollout(kind: Any) -> None:
    found = []
    for recompute in (False, True):
        student = network(activation_checkpointing=recompute)
        made = kind(Rollout(Sliding(3, 6)), Length(12, 12), 6, [0, 0])
        found.append(gradients(student, made_by(made, ThroughPast(), student)))
    assert any(gradient.abs().sum() > 0 for gradient in found[0].values())
    assert same(*found)


def test_a_writer_gets_the_gradient_of_the_past_and_the_denoiser_its_own() -> None:
    plain, kind = network(), Fresh(Rollout(Full()), Length(9, 9), None, [0, 0])
    whole = gradients(plain, Replay()(plain, stretch_of(kind, plain)).window)
    own = gradients(plain, Detached()(plain, stretch_of(kind, plain)).window)
    student = Writer().prepared(plain)
    assert isinstance(student, WithWriter)
    apart = gradients(student, Writer()(student, stretch_of(kind, student)).window)
    for name in own:
        torch.testing.assert_close(apart[f"network.{name}"], own[name], **CLOSE)
        past = apart[f"context_writer.{name}"]
        torch.testing.assert_close(past, whole[name] - own[name], rtol=1e-7, atol=1e-10)
    none = {f"network.{name}": g for name, g in own.items()}
    angle = gradient_cosine(none, apart, Writer().alias)
    assert float(angle) == pytest.approx(float(gradient_cosine(own, whole)), rel=1e-9)
    flat = [torch.cat([g[n].flatten() for n in sorted(own)]) for g in (own, whole)]
    expected = torch.cosine_similarity(flat[0], flat[1] - flat[0], 0)
    assert float(angle) == pytest.approx(float(expected), rel=1e-9)


def test_two_networks_are_exported_under_the_names_of_their_authors() -> None:
    student = Writer().prepared(network(seed=1))
    assert isinstance(student, WithWriter)
    with torch.no_grad():
        student.context_writer.head.head.bias += 1  # type: ignore[union-attr,operator]
    state = exported_weights(student)
    assert "blocks.0.ffn.0.memory_weight" in state
    again = filled_backbone(network, state, "memory")
    assert isinstance(again, WithWriter)
    pairs = zip(again.parameters(), student.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_one_masked_forward_is_the_pass_in_turn() -> None:
    student, rollout = network(), Rollout(Sliding(3, 6), context_noise=0.1)
    stretch = stretch_of(Fresh(rollout, Length(9, 9), None, [0, 0]), student)
    again = replace(stretch, past=tiny.latents(2, 3)[:, :0])
    from cf.distillation import again as module
    from cf.distillation.replay import drafted

    with torch.no_grad():
        _, _, draft = drafted(student, again)
    made = [
        module._at_once(student, again, draft, (6, 3)),
        module._in_turn(student, again, draft, True),
    ]
    torch.testing.assert_close(*made, **CLOSE)
    assert same(*(gradients(student, one) for one in made))


# Windows anywhere, windows that roll, and no rollout at all


@pytest.mark.whole
def test_a_random_window_lies_anywhere_and_is_made_from_its_own_noised_frames() -> None:
    student, rollout = network(), Rollout(Sliding(3, 9))
    kind, begins = RandomWindow(rollout, Length(15, 15), 6, [0, 0]), set()
    for number in range(30):
        given = replace_number(batch(0, video=False), number)
        begins.add(kind.begin(student, given, 0, True).past.shape[1])
    assert begins == {0, 3, 6, 9}
    number = next(n for n in range(30) if starts_at(kind, student, n) == 6)
    stretch = kind.begin(student, replace_number(batch(0, video=False), number), 0, True)
    frames = stretch.window(Detached()(student, stretch)).frames
    with torch.no_grad():
        whole = rollout(student, stretch.noise, stretch.cond, frames=12).past
        t = rollout.times[stretch.exit_step or 0]
        for start in (6, 9):
            x = whole[:, start : start + 3]
            noisy = (1 - t) * x + t * stretch.noise(start, 1000).double()
            state = rollout.remember(student, whole[:, :start], stretch.noise, stretch.cond)
            times = torch.full((2, 3), t).double()
            velocity = rollout.velocity(student, noisy, times, stretch.cond, state)
            expected = noisy - t * velocity
            torch.testing.assert_close(frames[:, start - 6 : start - 3], expected, **CLOSE)
    torch.testing.assert_close(stretch.past, whole[:, :6], **CLOSE)
    assert frames.requires_grad


def replace_number(given: Batch, number: int) -> Batch:
    return given._replace(number=number)


def starts_at(kind: RandomWindow, student: Backbone, number: int) -> int:
    given = replace_number(batch(0, video=False), number)
    return int(kind.begin(student, given, 0, True).past.shape[1])


def test_a_data_context_is_diffusion_forcing_over_noised_blocks() -> None:
    student, rollout = network(), Rollout(Sliding(3, 6), num_steps=3)
    kind = DataContext(rollout, Length(12, 12), None, [0, 0])
    stretch = kind.begin(student, batch(), 0, True)
    draft = stretch.draft
    assert isinstance(draft, Draft)
    assert {float(t) for t in draft.times.flatten()} <= {
        float(torch.tensor(t).double()) for t in rollout.times
    }
    frames = stretch.window(ThroughPast()(student, stretch)).frames
    velocity = student(draft.noisy, draft.times, stretch.cond, mask=BlockCausal(3, 6, 3)).velocity
    expected = draft.noisy - draft.times[..., None, None, None] * velocity
    torch.testing.assert_close(frames, expected, **CLOSE)
    assert same(gradients(student, frames), gradients(student, expected))
    with pytest.raises(ValueError, match=r"raise data\.clip_frames or lower module\.length"):
        kind.begin(student, batch(frames=9), 0, True)


def test_rolling_windows_take_turns_with_blocks() -> None:
    student, rollout = network(), Rolling(Full(), num_steps=2)
    kind = RollingWindows(rollout, Length(9, 9), 6, [0, 0])
    kinds = [type(kind.begin(student, batch(n), 0, True).rollout) for n in range(40)]
    assert 10 < kinds.count(Rolling) < 30
    assert kinds.count(Rolling) + kinds.count(Rollout) == 40
    for number in (kinds.index(Rolling), kinds.index(Rollout)):
        assert made_by(kind, Detached(), student, batch=batch(number)).shape[1] == 6


# Pictures, first blocks, few steps


def test_a_video_may_begin_with_a_picture() -> None:
    """One real latent frame, then blocks; the scores see it as a block of its own."""
    student, rollout = network(), Rollout(Full())
    kind = Fresh(rollout, Length(9, 9), 6, [0, 1], image_first=True)
    stretch = kind.begin(student, batch(frames=13), 0, True)
    assert stretch.past.shape[1] in (1, 4)
    assert stretch.stop == 10
    window = stretch.window(ThroughPast()(student, stretch))
    assert torch.equal(window.past[:, :1], batch(frames=13).latents[:, :1])  # type: ignore[index]
    seen, t = SharedMemory(student, memory=Full()), torch.full((2, 6), 0.5).double()
    masked = seen.predict(window.frames, t, window.cond, window.clean())
    blocks = seen._blockwise(window.frames, t, window.cond, window.clean())
    torch.testing.assert_close(masked, blocks, **CLOSE)
    with pytest.raises(ValueError, match="image_first=false"):
        kind.begin(student, batch(video=False), 0, True)


def test_the_first_block_of_a_window_may_be_left_out_of_the_gradient() -> None:
    student, rollout = network(), Rollout(Full())
    kind = Fresh(rollout, Length(9, 9), 9, [0, 0], first_gradient=False)
    stretch = kind.begin(student, batch(), 0, True)
    frames = stretch.window(Detached()(student, stretch)).frames
    assert frames.shape[1] == 9
    whole = rollout(student, stretch.noise, stretch.cond, frames=3).past
    assert torch.equal(frames[:, :3], whole)
    assert not torch.autograd.grad(frames[:, :3].sum(), student.head.head.weight)[0].any()
    with pytest.raises(ValueError, match="set it to 6 or more"):
        Fresh(rollout, Length(9, 9), 3, [0, 0], first_gradient=False)


@pytest.mark.parametrize(
    ("steps", "first", "block"),
    [
        (1, 4, 1),
        *(
            pytest.param(*one, marks=pytest.mark.exhaustive)
            for one in [(2, 4, 1), (4, None, 1), (1, 4, 3), (2, 4, 3), (4, None, 3)]
        ),
    ],
)
def test_students_of_few_steps_train_every_step_of_theirs(
    steps: int, first: int | None, block: int
) -> None:
    """A first block that takes more steps leaves at each of them, as the others do at theirs."""
    student = network()
    rollout = Rollout(Full(), num_steps=steps, first_steps=first, block_frames=block)
    seen: dict[int, set[float]] = {0: set(), 1: set()}
    calls: list[float] = []
    student.register_forward_pre_hook(lambda _, args: calls.append(float(args[1][0, 0])))
    for number in range(16):
        kind = Fresh(rollout, Length(2 * block, 2 * block, block), None, [0, 0])
        stretch = kind.begin(student, replace_number(batch(video=False), number), 0, True)
        calls.clear()
        with torch.no_grad():
            Detached()(student, stretch)
        ends = [i for i, t in enumerate(calls) if t == 0] + [len(calls)]
        seen[0].add(calls[ends[0] - 1])
        seen[1].add(calls[ends[1] - 1])
    for start, times in seen.items():
        assert times == {float(torch.tensor(t).double()) for t in rollout.times_at(start)}


class Strided(Codec):
    """Latents are pixels, of which each further latent frame holds four."""

    channels, time_stride, space_stride = 2, 4, 1

    def encoder(self) -> EncoderStream:
        return lambda video: video[:, :1, :2] * 2

    def decoder(self) -> DecoderStream:
        return DecoderStream(lambda latents, held: latents[:, :, [0, 1, 1]].cumsum(1) / 2)


def test_the_first_frame_of_a_window_may_be_encoded_anew_as_a_picture() -> None:
    student = network()
    kind = Fresh(Rollout(Full()), Length(9, 9), 6, [1, 1], reencode_frames=2)
    windows = Windows(kind, ThroughPast(), Strided(), 0.0)
    made = windows.make(student, batch(), 0, exits=True, gradient=True, real=False)
    (window,), plain = made.windows, made.stretch.window(made.rolled)
    expected = plain.past[:, -1:] + plain.frames[:, :1]  # decoded from two frames, encoded
    torch.testing.assert_close(window.frames[:, :1], expected, **CLOSE)
    assert torch.equal(window.frames[:, 1:], plain.frames[:, 1:])
    with pytest.raises(ValueError, match=r"reencode_frames=2: .* PixelCodec is like any other"):
        Windows(kind, ThroughPast(), PixelCodec(), 0.0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Persistent(Rollout(Full()), Length(24, 24)), "module.window_frames"),
        (lambda: persistent(overlap_frames=21), "overlap_frames=21"),
        (lambda: persistent(overlap_frames=2), "whole blocks of 3"),
        (lambda: persistent(most=18), "window_frames=21"),
        (lambda: RollingWindows(Rollout(Full()), Length(9, 9)), "rollout=rolling_few_steps"),
        (lambda: RollingWindows(Rolling(Full()), Length(9, 9), share=0.0), "share=0"),
        (lambda: Replay().check(Rolling(Full())), "gradient=through_past"),
    ],
)
def test_what_cannot_work_is_refused(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_a_switch_needs_a_text() -> None:
    kind, student = persistent(switch=Recache()), tiny.model(control_dim=None, text_dim=None)
    given = batch(video=False)._replace(cond=Conditioning())
    with pytest.raises(ValueError, match="no text here"):
        kind.begin(student, given, 0, True)
