"""Mistakes in a class of one's own: each is told in words that name the class and the remedy."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import repeat
from pathlib import Path
from typing import Any

import pytest
import torch
from test_benchmark_contestants import take, worlds
from test_objectives import TIMES, Gaussian, Unused, window
from torch import Tensor

from cf.bench.chunks import chunks
from cf.bench.contestants.base import Contestant, Piece
from cf.bench.cost import Stopwatch
from cf.bench.tasks.base import Request, VideoSpec
from cf.data.world.base import Film, World, WorldTruth
from cf.data.world.module import WorldData
from cf.distillation.plan import plan_of
from cf.distillation.scoring import scored
from cf.memory.base import Memory, SelectiveMemory
from cf.memory.full import Full
from cf.memory.trace import Story, trace
from cf.metrics.extractors.base import Extractor
from cf.metrics.features import Features
from cf.metrics.measurement import Measurement, Seen
from cf.metrics.readings import ReadingMetric, VideoReading
from cf.metrics.scored import Scored
from cf.objectives.base import Networks, Objective, TimeSampling, Window
from cf.objectives.plan import Part
from cf.rollout.blockwise import Rollout
from cf.seeding import SampleRandom
from cf.settings.build import build
from cf.settings.mistakes import exit_on_user_error
from cf.types import Loss, Video


@dataclass(frozen=True)
class Playing(Contestant):
    """Plays the given frames and then one piece, made of grey ones, for ever."""

    make: Callable[[Tensor], Any] = lambda grey: grey

    def terms(self, asked: VideoSpec | None) -> VideoSpec:
        assert asked is not None
        return asked

    def play(self, take: Request, device: str) -> Iterator[Piece]:
        grey = torch.full((take.given, 3, *take.terms.size), 0.5)
        yield grey
        yield from repeat(self.make(grey))


def played(make: Callable[[Tensor], Any]) -> int:
    asked = take(worlds())
    return sum(len(one) for one, _ in chunks(Playing(make=make), asked, Stopwatch("cpu"), 8))


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda grey: (grey * 255).byte(), r"floats in \[0, 1\], got a tensor of torch\.uint8"),
        (lambda grey: grey.numpy(), r"floats in \[0, 1\], got ndarray"),
        (lambda grey: grey * 255, r"floats in \[0, 1\], got 127\.5; divide by 255"),
        (lambda grey: grey[0], r"\(frames, 3, 32, 32\).*got \(3, 32, 32\)"),
        (lambda grey: grey.permute(0, 2, 3, 1), r"got \(8, 32, 32, 3\)"),
        (lambda grey: grey[..., :30], r"got \(8, 3, 32, 30\)"),
        (lambda grey: grey[:0], r"or more, got \(0, 3, 32, 32\); a video ends where its iterator"),
    ],
)
def test_a_piece_that_is_none_ends_its_video_with_words(
    make: Callable[[Tensor], Any], told: str
) -> None:
    assert played(lambda grey: grey * 1.5) == 24
    with pytest.raises(ValueError, match=told):
        played(make)


@dataclass(frozen=True)
class Erring(Objective):
    """An objective whose loss is made from the student's prediction."""

    make: Callable[[Tensor], Any]
    times: TimeSampling = TIMES

    def student_loss(self, window: Window, networks: Networks, random: SampleRandom) -> Loss:
        x, clean = window.frames.detach(), window.clean()
        t, _, x_t = self.times.noised(x, random)
        made: Loss = self.make(networks.student.predict(x_t, t, window.cond, clean))
        return made


@dataclass(frozen=True)
class Uncritical(Erring):
    """It uses a critic, and does not say that it needs one."""

    def student_loss(self, window: Window, networks: Networks, random: SampleRandom) -> Loss:
        t, _, x_t = self.times.noised(window.frames.detach(), random)
        return Loss(networks.fake.x0(x_t, t, window.cond, window.clean()).mean())


def test_a_critic_that_nobody_trains_is_told() -> None:
    networks = Networks(Gaussian(Unused()), Gaussian(Unused()), None)
    frames = torch.rand(2, 3, 1, 2, 2, dtype=torch.float64)
    with pytest.raises(ValueError, match=r"networks\.fake: no critic.*needs_critic = True"):
        scored([Part(Uncritical(Loss))], [window(frames)], networks, False, 0)


def loss(make: Callable[[Tensor], Any]) -> Tensor:
    mean = torch.tensor(0.1, dtype=torch.float64, requires_grad=True)
    networks = Networks(Gaussian(Unused(), mean=mean), Gaussian(Unused()), None)
    frames = torch.rand(2, 3, 1, 2, 2, dtype=torch.float64)
    return scored([Part(Erring(make))], [window(frames)], networks, False, 0).value


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda v: v.mean(), r"Erring\.student_loss must return a Loss.*tensor of shape \(\)"),
        (lambda v: Loss(v.mean(0)), r"tensor without axes, got a tensor of shape \(3, 1, 2, 2\)"),
        (lambda v: Loss(v.mean().item()), r"tensor without axes, got float"),
        (lambda v: Loss(v.mean().detach()), r"no gradient; compute it from what networks\.student"),
        (lambda v: Loss(v.mean(), {"v": v.mean().item()}), r"one number, got float as 'v'"),
        (lambda v: Loss(v.mean(), {"v": v.detach()}), r"of shape \(2, 3, 1, 2, 2\) as 'v'"),
    ],
)
def test_a_loss_that_is_none_is_told_before_anything_learns(
    make: Callable[[Tensor], Any], told: str
) -> None:
    assert loss(lambda v: Loss(v.mean(), {"v": v.mean().detach()})).requires_grad
    with pytest.raises(ValueError, match=told):
        loss(make)


@dataclass(frozen=True)
class Criticless(Erring):
    """Wants a critic and does not say how to train it."""

    needs_critic = True


def test_a_critic_without_a_loss_is_told_before_the_first_step() -> None:
    with pytest.raises(ValueError, match=r"Criticless says needs_critic and has no critic_loss"):
        plan_of(Criticless(Loss), Rollout(Full()), 0.5)


def test_an_objective_of_another_base_is_told_which_one_it_needs() -> None:
    stray: Any = Playing()
    with pytest.raises(ValueError, match=r"derive your class from cf\.objectives\.base\.Objective"):
        plan_of(stray, Rollout(Full()), 0.5)


class Unwritten(Objective):
    """A class without its one method."""


def test_a_missing_method_and_a_wrong_name_are_told_with_what_there_is() -> None:
    where = Unwritten.__module__
    told = r"objective: Unwritten has no student_loss; a class that derives from Objective must"
    with pytest.raises(ValueError, match=told):
        build({"_target_": f"{where}.Unwritten"}, "objective")
    with pytest.raises(ValueError, match=rf"{where} has no 'Unwriten'; it has .*Unwritten"):
        build({"_target_": f"{where}.Unwriten"}, "objective")


@dataclass(frozen=True)
class Grey(World):
    """Grey videos that are spoilt on the way."""

    make: Callable[[Tensor], Tensor]
    spoil: Callable[[WorldTruth], Any] = lambda truth: truth
    size: Sequence[int] = (8, 8)
    num_places: int = 1

    def film(self, seed: int, numbers: Sequence[int], frames: int) -> Film:
        none = torch.zeros(len(numbers), frames, 2)

        def paint(start: int, stop: int) -> tuple[Video, WorldTruth]:
            batch, length = len(numbers), stop - start
            row = torch.zeros(batch, length, dtype=torch.int64)
            cells, pixels = row[..., None, None], row[..., None, None].expand(-1, -1, 8, 8)
            truth = WorldTruth(row, row.float(), row, cells, pixels)
            return self.make(torch.full((batch, length, 3, 8, 8), 0.5)), self.spoil(truth)

        return Film(none[..., :1], none, [""] * len(numbers), {}, paint)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda grey: (grey * 255).byte(), r"floats in \[0, 1\], got torch\.uint8; divide by 255"),
        (lambda grey: grey * 255, r"floats in \[0, 1\], got 127\.5 to 127\.5; scale"),
        (lambda grey: grey * 2 - 2, r"got -1 to -1; scale"),
        (lambda grey: grey[:, :, :1], r"\(2, 4, 3, height, width\), got \(2, 4, 1, 8, 8\)"),
        (lambda grey: grey.transpose(1, 2), r"\(2, 4, 3, height, width\), got \(2, 3, 4, 8, 8\)"),
        (lambda grey: grey[..., :7], r"Grey must paint frames of size=\(8, 8\), got \(8, 7\)"),
    ],
)
def test_a_world_that_paints_no_video_is_told_before_anything_learns(
    make: Callable[[Tensor], Tensor], told: str
) -> None:
    assert Grey(lambda grey: grey * 2).draw(0, [0, 1], 4).video.amax() == 1
    with pytest.raises(ValueError, match=told):
        Grey(make).draw(0, [0, 1], 4)


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda _: None, "a video and its WorldTruth, got a NoneType beside it"),
        (lambda truth: other(truth, place=None), r"place must be \(2, 4\) whole numbers, got None"),
        (
            lambda truth: other(truth, camera=truth.place),
            r"camera must be \(2, 4\) numbers, got \(2, 4\) of torch.int64",
        ),
        (
            lambda truth: other(truth, fresh=truth.fresh[:, 1:]),
            r"fresh must be \(2, 4\) whole numbers, got \(2, 3\) of torch.int64",
        ),
        (
            lambda truth: other(truth, instance=truth.instance[..., :7]),
            r"instance must be \(2, 4, 8, 8\) whole numbers, got \(2, 4, 8, 7\)",
        ),
        (
            lambda truth: other(truth, pose=truth.place),
            r"pose must be \(2, 4, 3\) whole numbers, got \(2, 4\)",
        ),
        (lambda truth: other(truth, fresh=truth.fresh - 1), "fresh must be .* from 0 on, got -1"),
        (lambda truth: other(truth, place=truth.place + 1), "has num_places=1, .* goes up to 1"),
    ],
)
def test_a_truth_that_is_not_of_its_video_is_told_before_anything_learns(
    spoil: Callable[[WorldTruth], Any], told: str
) -> None:
    """Once a network was trained, and the truth was told to be wrong when it was measured."""
    with pytest.raises(ValueError, match=told):
        Grey(lambda grey: grey, spoil).draw(0, [0, 1], 4)


def other(truth: WorldTruth, **wrong: Any) -> WorldTruth:
    """The truth, of which some is wrong, past what checks types in tests."""
    made = replace(truth)
    for name, one in wrong.items():
        object.__setattr__(made, name, one)
    return made


def test_a_world_of_another_base_is_told_which_one_it_needs() -> None:
    stray: Any = lambda size: Playing()  # noqa: E731 -- what `_partial_: true` makes
    with pytest.raises(ValueError, match=r"got Playing; derive your class from cf\.data\.world"):
        WorldData(stray)
    with pytest.raises(ValueError, match=r"write _partial_: true under _target_"):
        WorldData(Grey(lambda grey: grey))  # type: ignore[arg-type] # the mistake


def test_one_caption_for_all_videos_is_no_list_of_captions() -> None:
    film = Grey(lambda grey: grey).film(0, [0, 1], 4)
    for told in ("grey", ["grey"]):
        with pytest.raises(ValueError, match=r"prompt must be a list of 2 captions, got .*grey"):
            replace(film, prompt=told).part(0, 4)  # type: ignore[arg-type] # the mistake


class Bright(Extractor):
    """The mean of each frame, made wrong on the way."""

    name = "bright"
    semantic = False
    width = 1  # type: ignore[assignment] # a constant is as good as a property

    def __init__(self, make: Callable[[Tensor], Tensor]) -> None:
        self.make = make

    def __call__(self, frames: Tensor) -> Tensor:
        return self.make(frames.flatten(1).mean(1, keepdim=True))

    def provenance(self) -> dict[str, Any]:
        return {}


class Nameless(Bright):
    """A class that forgot to say what it is called."""

    @property
    def name(self) -> str:  # type: ignore[override] # hides the base's, as if it had none
        raise AttributeError


def test_an_extractor_is_told_by_its_own_name() -> None:
    seen = Seen(torch.rand(4, 3, 8, 8))
    assert Features(Bright(lambda mean: mean)).see(seen).shape == (4, 1)
    for make in (lambda mean: mean[:, 0], lambda mean: mean[0], lambda mean: mean.repeat(1, 2)):
        told = r"Bright made features of shape .* of 4 frames; its width=1 asks for \(4, 1\)"
        with pytest.raises(ValueError, match=told):
            Features(Bright(make)).see(seen)
    with pytest.raises(ValueError, match=r"Nameless has no 'name'; an extractor says its name"):
        Features(Nameless(lambda mean: mean))


def test_features_that_are_no_tensor_or_no_numbers_are_told() -> None:
    seen = Seen(torch.rand(4, 3, 8, 8))
    with pytest.raises(ValueError, match=r"Bright must make features as a tensor, got ndarray"):
        Features(Bright(lambda mean: mean.numpy())).see(seen)
    with pytest.raises(ValueError, match=r"Bright made features that are not finite"):
        Features(Bright(lambda mean: mean / 0)).see(seen)
    broken = Seen(torch.full((4, 3, 8, 8), float("nan")))  # a video's own fault, which is marked
    assert Features(Bright(lambda mean: mean)).see(broken).isnan().all()


@dataclass(frozen=True)
class Keeping(SelectiveMemory):
    """A window of six frames, chosen wrongly on the way."""

    make: Callable[[Tensor], Any]
    max_frames: int = 9  # type: ignore[assignment] # a field is as good as a property

    def keep(self, frames: Tensor, stop: int) -> Tensor:
        chosen: Tensor = self.make(frames >= stop - 6)
        return chosen


def streamed(memory: Memory) -> int:
    return sum(len(block) for block in trace(memory, Story(frames=24)))


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda kept: kept.nonzero()[:, 0], r"Keeping\.keep .*got a tensor of torch\.int64"),
        (lambda kept: kept.long(), r"torch\.bool and shape \(3,\).*got a tensor of torch\.int64"),
        (lambda kept: kept.tolist(), r"True for each frame that is kept, got list"),
        (lambda kept: kept[:-1], r"got a tensor of torch\.bool and shape \(2,\)"),
        (lambda kept: None, r"got NoneType; compare indices"),
    ],
)
def test_a_choice_of_frames_that_is_none_is_told(make: Callable[[Tensor], Any], told: str) -> None:
    assert streamed(Keeping(lambda kept: kept))
    with pytest.raises(ValueError, match=told):
        streamed(Keeping(make))


def test_more_frames_than_a_memory_says_are_told_when_the_first_block_comes() -> None:
    with pytest.raises(ValueError, match=r"Keeping\.max_frames=5 is too small: keep leaves 3 .* 6"):
        streamed(Keeping(lambda kept: kept, max_frames=5))


def test_what_is_no_memory_is_told_with_the_class_it_needs() -> None:
    stray: Any = Playing()
    unnamed: Any = {"window_frames": 6}
    for made in (Rollout, lambda memory: trace(memory, Story(frames=24))):
        with pytest.raises(ValueError, match=r"got Playing; derive your class from cf\.memory"):
            made(stray)
        with pytest.raises(ValueError, match=r"memory has no _target_; write _target_: mine"):
            made(unnamed)


class Method(SelectiveMemory):
    """A class that forgot the decorator."""

    def max_frames(self) -> int:  # type: ignore[override] # the mistake
        return 9

    def keep(self, frames: Tensor, stop: int) -> Tensor:
        return frames >= stop - 6


def test_a_method_in_the_place_of_a_property_is_told() -> None:
    told = r"memory: Method\.max_frames is read as a value; write @property above it"
    with pytest.raises(ValueError, match=told):
        build({"_target_": f"{Method.__module__}.Method"}, "memory")


@dataclass(frozen=True)
class Light(Measurement):
    """The mean of each frame, spoilt on the way."""

    make: Callable[[Tensor], Any]
    width: int = 1  # type: ignore[assignment] # a field is as good as a property

    def see(self, seen: Seen) -> Tensor:
        kept: Tensor = self.make(seen.frames.flatten(1).mean(1, keepdim=True))
        return kept

    def measure(self, kept: Tensor) -> Tensor:
        return kept.double()

    def provenance(self) -> dict[str, Any]:
        return {}


class Lit(ReadingMetric):
    """How light a video is, read wrongly on the way."""

    def __init__(
        self,
        see: Callable[[Tensor], Any] = lambda x: x,
        read: Callable[[Tensor], Any] = VideoReading,
    ) -> None:
        super().__init__(Light(see))
        self.read = read

    def reading(self, one: Scored) -> VideoReading:
        made: VideoReading = self.read(one.sums.mean() / 8)
        return made


def lit(**wrong: Callable[[Tensor], Any]) -> float:
    metric = Lit(**wrong)
    metric.update(torch.full((16, 3, 8, 8), 0.5), video_id=0, start_frame=0, fps=8.0)
    return float(metric.compute())


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"see": lambda kept: kept.numpy()}, r"Light\.see must return a tensor .*got ndarray"),
        (
            {"see": lambda kept: kept.mean()},
            r"for each frame, \(16, \.\.\.\), got shape \(\)",
        ),
        ({"see": lambda kept: kept[1:]}, r"got shape \(15, 1\)"),
        ({"read": float}, r"Lit\.reading must return a VideoReading, got float; write VideoRea"),
        ({"read": lambda value: None}, r"got NoneType"),
        ({"read": lambda value: VideoReading(float("nan"))}, r"value=nan.*VideoReading\(reason="),
        ({"read": lambda value: VideoReading(1.0, "why")}, r"value=1\.0, reason='why'"),
        (
            {"read": lambda value: VideoReading(1.0, "", torch.rand(3), torch.rand(4))},
            r"got 3 numbers and 4 seconds; cut both alike",
        ),
    ],
)
def test_a_reading_that_is_none_is_told(
    wrong: dict[str, Callable[[Tensor], Any]], told: str
) -> None:
    assert lit() == pytest.approx(0.5)
    with pytest.raises(ValueError, match=told):
        lit(**wrong)


def test_a_film_of_other_shape_is_told() -> None:
    film = Grey(lambda grey: grey).film(0, [0, 1], 4)
    with pytest.raises(ValueError, match=r"origin must be .*\(2, 4, 2\), got \(2, 4\)"):
        replace(film, origin=film.origin[..., 0]).part(0, 4)
    only: Any = lambda start, stop: film.paint(start, stop)[0]  # noqa: E731 -- the mistake
    with pytest.raises(ValueError, match=r"paint must return a video and its WorldTruth, got Tens"):
        replace(film, paint=only).part(0, 4)


def test_a_bug_in_ones_own_class_is_told_with_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine_buggy.py").write_text(
        "class Buggy:\n"
        "    def __init__(self, shares: int = 1):\n"
        "        if shares < 0:\n"
        "            raise ValueError(\n"
        "                f'shares={shares} must not be negative'\n"
        "            )\n"
        "        self.share = 1 / shares\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    settings = {"_target_": "mine_buggy.Buggy", "shares": 0}
    for shares, said in ((0, r"buggy\.py, line 7, in __init__"), (-1, r"must not be negative\n$")):
        with pytest.raises(SystemExit), exit_on_user_error("cf.fit"):
            build({**settings, "shares": shares}, "objective")
        assert re.search(said, capsys.readouterr().err)


FORGETS = {
    "metric": (
        "from cf.metrics.readings import ReadingMetric\n\n\n"
        "class Forgets(ReadingMetric):\n"
        "    def __init__(self, strength: float = 1.0) -> None:\n"
        "        self.strength = strength\n\n"
        "    def reading(self, one):\n"
        "        return None\n",
        r"Forgets\.__init__ must call super\(\)\.__init__\(\.\.\.\), for .* makes self\.\w+ there",
        5,
    ),
    "data": (
        "from dataclasses import dataclass\n\nfrom cf.data.videos import VideoFolder\n\n\n"
        "@dataclass\nclass Forgets(VideoFolder):\n    place: str = 'here'\n",
        r"Forgets\.__post_init__ must call super\(\)\.__init__\(\.\.\.\), for VideoFolder makes",
        6,
    ),
}


@pytest.mark.parametrize("kind", FORGETS)
def test_a_class_that_does_not_begin_as_its_base_does_is_told_with_its_line(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, told, line = FORGETS[kind]
    name = f"mine_forgets_{kind}"
    (tmp_path / f"{name}.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    place = rf"\({re.escape(str(tmp_path / name))}\.py, line {line}\)$"
    for more in ({}, {"strength" if kind == "metric" else "place": 2.0}):
        with pytest.raises(ValueError, match=rf"^here: {told}.*{place}") as met:
            build({"_target_": f"{name}.Forgets"}, "here", **more)
        assert "\n" not in str(met.value)


def test_a_class_that_makes_all_itself_may_begin_as_it_likes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine_whole.py").write_text(
        "class Base:\n    def __init__(self):\n        self.there = 1\n\n\n"
        "class Whole(Base):\n    def __init__(self):\n        self.there = 2\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert build({"_target_": "mine_whole.Whole"}, "here").there == 2
