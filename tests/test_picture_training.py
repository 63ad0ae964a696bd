"""Image-to-video networks in training: laws of gradients, and what a batch tells of pictures."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from commands import ROOMS, fit, give
from safetensors.torch import load_file
from test_objectives import TIMES, noised
from test_picture import Eyes, Words
from test_rollout import REFERENCES, gradients, loss_of, noise, plain_loop
from test_score import inputs
from test_wan_layouts import vae
from tiny import conditioning, draw, latents, model, to_diffusers
from torch import Tensor

from cf.data.shapes import draw_clips
from cf.distillation.base import Batch
from cf.distillation.gradients import Detached
from cf.distillation.persistent import Persistent
from cf.distillation.rollout_length import Length
from cf.memory.full import Full
from cf.memory.sliding import Sliding
from cf.models.masks import TeacherForcing
from cf.models.picture import reference_of
from cf.models.transformer import VideoTransformer
from cf.models.vae import WanVAE
from cf.modules.base import VideoModule
from cf.modules.divergence_guard import Guard
from cf.objectives.base import Networks, Window
from cf.objectives.dmd import DMD
from cf.objectives.score import SharedMemory
from cf.objectives.teacher import check_teacher
from cf.rollout.blockwise import Rollout
from cf.seeding import SampleRandom
from cf.types import Conditioning

CLOSE: dict[str, Any] = {"rtol": 1e-9, "atol": 1e-11}
KNOWN = 4
"""Frames of the reference; its last one holds for all that follow."""


def network(seed: int = 0, **sizes: Any) -> VideoTransformer:
    return model(seed=seed, image_dim=6, reference_channels=6, **sizes)


def pictured(cond: Conditioning, frames: int = KNOWN) -> Conditioning:
    """The same with a picture's states, and a reference of which the last frame holds."""
    batch = len(cond.text) if cond.text is not None else 1
    known = draw(batch, KNOWN, 6, 4, 4, seed=61)
    spelled = [known[:, min(i, KNOWN - 1)] for i in range(frames)]
    return replace(cond, image=draw(batch, 5, 6, seed=60), reference=torch.stack(spelled, 1))


def same(mine: list[Tensor], theirs: list[Tensor]) -> None:
    assert max(float(x.abs().max()) for x in theirs) > 1e-3
    for one, other in zip(mine, theirs, strict=True):
        torch.testing.assert_close(one, other, **CLOSE)


def parts(of: VideoTransformer) -> set[str]:
    """Names of the weights that a picture reaches and nothing else does."""
    return {n for n, _ in of.named_parameters() if "img" in n}


@pytest.mark.parametrize("differentiable", [False, True], ids=["truncated", "differentiable"])
@pytest.mark.parametrize("kind", REFERENCES)
def test_a_students_gradient_is_that_of_a_plain_loop(kind: str, differentiable: bool) -> None:
    """The plain loop is told of every frame of the reference; the rollout, that its last holds."""
    policy, keep = REFERENCES[kind]
    student, rollout = network(), Rollout(policy)
    cond, eps = conditioning(2, 12), noise(student, rollout, 0, 1)
    whole = pictured(cond, 12)
    expected = plain_loop(student, eps, whole, keep, 9, 1, differentiable)
    sizes = {"frames": 12, "window_frames": 9, "exit_step": 1}
    seen = pictured(cond)
    rolled = rollout(student, eps, seen, **sizes, differentiable_past=differentiable)
    torch.testing.assert_close(rolled.window, expected, **CLOSE)
    found = gradients(student, loss_of(rolled.window))
    same(found, gradients(student, loss_of(expected)))
    named = dict(zip((n for n, _ in student.named_parameters()), found, strict=True))
    assert all(named[name].abs().sum() > 0 for name in parts(student))


@pytest.mark.parametrize("memory", [Full(), Sliding(3, 6)], ids=repr)
def test_blocks_over_a_cache_are_one_masked_forward(memory: Full | Sliding) -> None:
    """Values and gradients of a teacher, whose memory is filled block by block or is a mask."""
    teacher = network()
    x_t, t, cond, clean = inputs()
    seen = pictured(cond)
    cached = SharedMemory(teacher, memory=memory)._blockwise(x_t, t, seen, clean)
    sizes = memory.as_mask()
    assert sizes is not None
    mask = TeacherForcing(3, *sizes, None, x_t.shape[1])
    times = torch.cat((t.new_zeros(2, 12), t), 1)
    rows, spelled = torch.cat((clean, x_t), 1), pictured(cond, 12)
    masked = teacher(rows, times, spelled, mask=mask).velocity[:, 12:]
    torch.testing.assert_close(cached, masked, **CLOSE)
    same(gradients(teacher, loss_of(cached)), gradients(teacher, loss_of(masked)))


def test_the_gradient_of_a_forward_is_that_of_diffusers() -> None:
    """Every weight's, by a picture, its reference channels and a text, in double precision."""
    diffusers = pytest.importorskip("diffusers")
    mine = network(control_dim=None, text_len=512)  # where diffusers looks for a picture
    theirs = diffusers.WanTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=12,
        in_channels=8,
        out_channels=2,
        text_dim=5,
        freq_dim=8,
        ffn_dim=32,
        num_layers=2,
        image_dim=6,
        added_kv_proj_dim=24,
    ).double()
    theirs.load_state_dict(to_diffusers(mine.state_dict()))
    x, t = latents(2, 6, seed=1), torch.tensor([0.7, 0.3]).double()
    cond = replace(pictured(conditioning(2), 6), text=draw(2, 512, 5, seed=7))
    assert cond.reference is not None
    made = mine(x, t[:, None].expand(-1, 6), cond).velocity
    rows = torch.cat((x, cond.reference), 2).transpose(1, 2)
    out = theirs(rows, 1000 * t, cond.text, cond.image, return_dict=False)[0].transpose(1, 2)
    torch.testing.assert_close(made, out, rtol=0, atol=1e-4)  # its norms are float32
    (loss_of(made)).backward()
    (loss_of(out)).backward()
    gradient = {n: p.grad for n, p in theirs.named_parameters()}
    own = {n: p.grad for n, p in mine.named_parameters() if p.grad is not None}
    for name, value in to_diffusers(own).items():
        torch.testing.assert_close(value, gradient[name], rtol=1e-4, atol=1e-4)


def test_the_gradient_of_a_distillation_step_is_the_difference_of_the_scores() -> None:
    """A plain loop's, along what teacher and critic say in a masked forward each."""
    student, teacher, critic = network(), network(seed=1), network(seed=2)
    cond, rollout = conditioning(2, 12), Rollout(Full())
    eps, other = noise(student, rollout, 0, 1), draw(2, 3, 5, seed=90)
    student.requires_grad_()
    real, fake = (SharedMemory(x, memory=Full()) for x in (teacher, critic))
    networks = Networks(real, replace(real, guidance=2.0), fake)
    sizes: dict[str, Any] = {"frames": 12, "window_frames": 9, "exit_step": 1}
    seen = pictured(cond)
    rolled = rollout(student, eps, seen, **sizes, differentiable_past=True)
    uncond = replace(seen, text=other)
    window = Window(rolled.past, rolled.window, seen.frames(0, 12), (0, 1), uncond.frames(0, 12))
    random = SampleRandom((3,), (0, 1))
    mine = gradients(student, DMD(TIMES).student_loss(window, networks, random).value)

    spelled = pictured(cond, 12)
    frames = plain_loop(student, eps, spelled, lambda *_: True, 9, 1, True)
    with torch.no_grad():
        t, x_t = noised(frames, random, TIMES)
        t = t.expand(2, 9)
        clean = torch.cat((rolled.past, frames), 1)

        def x0(of: VideoTransformer, told: Conditioning) -> Tensor:
            rows, times = torch.cat((clean, x_t), 1), torch.cat((t.new_zeros(2, 12), t), 1)
            velocity = of(rows, times, told, mask=TeacherForcing(3, None, 0, None, 9)).velocity
            return x_t - t[..., None, None, None] * velocity[:, 12:]

        bare = x0(teacher, replace(spelled, text=other))
        truth = bare + 2 * (x0(teacher, spelled) - bare)
        scale = (frames - truth).abs().mean((1, 2, 3, 4), keepdim=True)
        along = (x0(critic, spelled) - truth) / scale / frames.numel()
    same(mine, gradients(student, (frames * along).sum()))


def test_a_rollout_over_several_steps_keeps_the_picture_that_it_began_with() -> None:
    """A later batch has other pictures; a new prompt takes the text's place and no more."""
    rollout = Rollout(Sliding(3, 9), num_steps=1, recent_frames=21)
    kind = Persistent(rollout, Length(66, 66), 21, [0, 0])
    student = network(control_dim=None)
    told = [
        replace(
            pictured(conditioning(2, seed=number)),
            image=draw(2, 5, 6, seed=number),
        )
        for number in range(3)
    ]
    with torch.no_grad():
        for number, cond in enumerate(told):
            batch = Batch(None, cond, None, number, (2 * number, 2 * number + 1))
            stretch = kind.begin(student, batch, 0, True)
            kind.finish(stretch, Detached()(student, stretch))
        whole = rollout(student, rollout.noise(student, 0, (0, 1)), told[0], frames=57)
    assert kind._video is not None
    torch.testing.assert_close(kind._video.past, whole.past, **CLOSE)
    other = rollout(student, rollout.noise(student, 0, (0, 1)), told[1], frames=57)
    assert not torch.allclose(other.past, whole.past)


def test_a_teacher_of_other_pictures_is_refused() -> None:
    with pytest.raises(ValueError, match="teacher's image_dim is None and the student's 6"):
        check_teacher(network(), model(reference_channels=6))


# What a batch tells

EYES = ("+model.image_dim=4", "+model.text_dim=4", "+model.text_len=3")
WORDS = ("text._target_=test_picture.Words", "+image_encoder={_target_:test_picture.Eyes}")
CLIPS = ("clip_frames=12", "fps=6", "size=[16,16]")


def settings(folder: Path, kind: str, *more: str) -> list[str]:
    rest = [one for one in ROOMS if not one.startswith(("data", "model=rooms"))]
    rest += ["model=tiny", f"data={kind}", f"data.folder='{folder}'", "data.batch_size=2"]
    rest += [f"data.{one}" for one in CLIPS]
    return [*rest, "+model.reference_channels=7", *EYES, "trainer.max_steps=2", *more]


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    draw_clips(folder, 5, 2.0, 6, (16, 16))
    return folder


@pytest.mark.whole
def test_prepared_clips_bring_their_pictures_along(
    videos: Path, tmp_path: Path, refused: Any
) -> None:
    """A training on them is that on the videos, to the last bit; without pictures it is refused."""
    given = ["cf.prepare", f"videos='{videos}'", *CLIPS]
    give(*given, "pictures=true", f"hydra.run.dir='{tmp_path / 'p'}'")
    give(*given, f"hydra.run.dir='{tmp_path / 'bare'}'")
    runs = [
        load_file(fit(tmp_path / kind, *settings(folder, kind, *WORDS)) / "network.safetensors")
        for kind, folder in (("videos", videos), ("latents", tmp_path / "p"))
    ]
    assert runs[0].keys() == runs[1].keys()
    assert all(torch.equal(runs[0][name], runs[1][name]) for name in runs[0])
    told = refused("cf.fit", *settings(tmp_path / "bare", "latents", *WORDS))
    assert "prepared with pictures=true (cf.prepare)" in told


@pytest.mark.whole
def test_a_student_starts_from_an_image_to_video_teacher(videos: Path, tmp_path: Path) -> None:
    """`module=start` tells both of the pictures, and so may a distillation begin from it."""
    base = fit(tmp_path / "base", *settings(videos, "videos", *WORDS))
    starts = [f"start.{who}.path={base}" for who in ("student", "teacher")]
    given = settings(videos, "videos", *WORDS, *starts, "module=start", "start=consistency")
    made = load_file(fit(tmp_path / "run", *given, "score.guidance=1") / "network.safetensors")
    before = load_file(base / "network.safetensors")
    moved = [n for n in before if "img" in n and not torch.equal(before[n], made[n])]
    assert moved, "what attends the picture is trained"


@pytest.mark.whole
def test_an_encoder_that_does_not_fit_is_refused_before_anything_is_written(
    videos: Path, tmp_path: Path, refused: Any
) -> None:
    folder = f"hydra.run.dir={tmp_path / 'run'}"
    given = settings(videos, "videos", folder)
    assert "give image_encoder=clip" in refused("cf.fit", *given, WORDS[0])
    wide = [one.replace("image_dim=4", "image_dim=5") for one in given]
    assert "states of 4 numbers and the network has model.image_dim=5" in refused(
        "cf.fit", *wide, *WORDS
    )
    none = [one for one in given if "image_dim" not in one]
    assert "leave image_encoder out" in refused("cf.fit", *none, *WORDS)
    assert not (tmp_path / "run" / "config.yaml").exists()


def test_a_rollout_beyond_its_clip_sees_what_a_video_does() -> None:
    """The reference of a short clip is no shorter than that with which videos are made."""
    codec, picture = WanVAE(vae("2.1")), torch.rand(1, 1, 3, 16, 16)
    sizes: dict[str, Any] = {"latent_shape": (16, 2, 2), "reference_channels": 20, "image_dim": 4}
    student = model(torch.float32, control_dim=None, text_dim=4, text_len=3, **sizes)
    outside: Any = (codec, Words(), Rollout(Full()), Guard())
    module = VideoModule(student, *outside, 0.0, 0, 0.0, 0, [Eyes()])
    clip = picture.expand(-1, 5, -1, -1, -1)
    told = module.conditioning({"video": clip, "prompt": [""]}, [""])
    assert told.reference is not None
    assert torch.equal(told.reference, reference_of(codec, picture, 20))
    assert told.reference.shape[1] > codec.covering(5)
