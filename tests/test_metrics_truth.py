"""Measures against an engine's picture: what the truth, chance, blur and a wrong pose must get."""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from metrics_truth import TRUTH, Panels
from torch import Tensor
from truth_matrix import TRUTH_DUTIES, WRONG, TruthMatrix

from cf.data.world.again import away
from cf.data.world.doom import engine
from cf.metrics.base import VideoMetric
from cf.metrics.extractors.handcrafted import Handcrafted
from cf.metrics.truth.choice import ForcedChoice
from cf.metrics.truth.nearest import nearest_choice
from cf.metrics.truth.novel import PoseNovelEntropy, PoseNovelFrechet
from cf.metrics.truth.pose import PoseObedience
from cf.metrics.truth.revisit import PoseRevisitPSNR

FRAMES, SIZE = 24, (32, 48)


def test_a_view_is_known_by_its_pose_and_for_how_long_it_was_away() -> None:
    room, door = [0, 0, 1000], [300, 0, 1000]
    path = torch.tensor([room, room, door, door, [20, 20, 4], [0, 0, 40], door, room])
    assert away(path, given=2).tolist() == [0, 0, -2, -1, 3, -2, -1, 3]
    for start in range(len(path)):
        assert torch.equal(away(path, 2, start), away(path, 2)[start:])
    assert away(path, given=8).tolist() == [0] * 8
    assert away(path.new_zeros(9, 3), given=1).tolist() == [0] * 9, "never out of sight"


def test_whoever_knows_nothing_is_right_by_chance_and_ties_cost() -> None:
    random = np.random.default_rng(0)
    mask = np.ones((4, 4), bool)
    above = []
    for _ in range(800):
        colours = random.choice([0.1, 0.5, 0.9], (4, 1, 1, 1, 3))  # places often look alike
        families = np.broadcast_to(colours, (4, 2, 4, 4, 3))
        best = nearest_choice(random.random((4, 4, 3)), families, mask)
        above.append((best.right - best.chance, best.room))
    right, room = np.sum(above, 0)
    assert abs(right / room) < 0.06
    far = np.stack([np.zeros((2, 4, 4, 3)), np.ones((2, 4, 4, 3))])
    assert nearest_choice(np.full((4, 4, 3), 0.5), far, mask).right == 0
    assert nearest_choice(far[1, 0], far, mask)[:3] == (1, 0.5, 0.5)
    same = nearest_choice(far[1, 0], far[[1, 1]], mask)
    assert same.right == same.chance == 1
    assert same.room == 0


def seen(turned: float = 0, of: int = 7) -> tuple[Tensor, dict[str, Tensor]]:
    """A video of a camera that turns, and what is known of it."""
    pose = torch.stack([torch.tensor([0, 0, i * 1024 // FRAMES]) for i in range(FRAMES)])
    truth = {
        "pose": pose,
        "away": torch.full((FRAMES,), 24),
        "given": torch.zeros(FRAMES),
        "seed": torch.zeros(FRAMES).long(),
        "number": torch.full((FRAMES,), 7),
    }
    panels = Panels()
    return panels.painted(0, of, panels.turned(pose, turned), SIZE)[0], truth


def value(metric: VideoMetric, frames: Tensor, truth: Mapping[str, Tensor]) -> float:
    metric.update(frames, 0, fps=8, truth=truth)
    return metric.result().value


@pytest.mark.whole
def test_new_views_of_the_engine_are_near_and_blur_noise_cells_and_grey_are_far() -> None:
    frames, truth = seen()
    truth["away"] = torch.where(torch.arange(FRAMES) < 8, -1, -2)
    noise = torch.rand(frames.shape, generator=torch.Generator().manual_seed(0))
    blurred = torch.nn.functional.avg_pool2d(frames, 5, 1, 2, count_include_pad=False)
    cells = torch.nn.functional.avg_pool2d(frames, 16, 16).repeat_interleave(16, -1)
    shown = {"engine": frames, "blur": blurred, "noise": noise, "grey": frames * 0 + 0.4}
    shown["cells"] = cells.repeat_interleave(16, -2)
    far, bits = dict[str, float](), dict[str, float]()
    for name, video in shown.items():
        # what is seen again does not count
        video = torch.where(truth["away"][:, None, None, None] == -2, video, 1 - video)
        frechet = PoseNovelFrechet(Panels(), Handcrafted(), rate=None, least=16)
        far[name] = value(frechet, video, truth)
        entropy = PoseNovelEntropy(Panels(), rate=None)
        bits[name] = value(entropy, video, truth)
        assert entropy.result().extras["engine"] == bits["engine"] > 2
    assert abs(far.pop("engine")) < 1e-6
    assert min(far.values()) > 0.1
    assert abs(bits["grey"]) < 1e-9
    few = PoseNovelFrechet(Panels(), Handcrafted(), rate=None, least=17)
    found = value(few, frames, truth)
    assert found != found
    assert "16 views are new, 17 are needed" in few.result().reasons[None]


MAKES: dict[str, Callable[[], VideoMetric]] = {
    "surfaces": lambda: ForcedChoice(Panels(), rate=None, side=32),
    "objects": lambda: ForcedChoice(Panels(), "objects", rate=None, side=32),
    "pose": lambda: PoseObedience(Panels(), rate=None, side=32),
}


@pytest.mark.parametrize("name", MAKES)
@pytest.mark.whole
def test_the_truth_has_all_and_what_is_not_the_truth_little(name: str) -> None:
    video, truth = seen()
    double = video.repeat_interleave(2, -1).repeat_interleave(2, -2)
    assert value(MAKES[name](), video, truth) == 1
    assert value(MAKES[name](), double, truth) > 0.9, "at another resolution"
    spoilt = {
        "mirrored": video.flip(-1),
        "frozen": video[:1].expand_as(video),
        "turned": seen(turned=15)[0],
        "grey": torch.full_like(video, 0.5),
    }
    for how, frames in spoilt.items():
        assert value(MAKES[name](), frames, truth) < 0.5, how
    others = [value(MAKES[name](), seen(of=of)[0], truth) for of in range(8, 16)]
    assert abs(np.mean(others)) < 0.25


def test_revisits_are_compared_by_lag_and_novel_views_apart() -> None:
    video, truth = seen()
    dim = torch.where((torch.arange(FRAMES) >= 12).view(-1, 1, 1, 1), video * 0.5, video)
    waits = torch.tensor([16] * 6 + [-2] * 6 + [64] * 6 + [-1] * 6)
    metric = PoseRevisitPSNR(Panels(), rate=None)
    metric.update(dim, 0, fps=8, truth={**truth, "away": waits})
    result = metric.result()
    assert result.curves["frames_by_lag"].tolist() == [6, 0, 6, 0, 0, 0]
    assert result.curves["by_lag"][0] == result.extras["novel"] == 100
    assert result.curves["by_lag"][2] < 30
    assert result.value == pytest.approx(float(result.curves["by_lag"][[0, 2]].mean()))


def test_a_metric_of_some_lags_takes_these_alone_and_says_so() -> None:
    video, truth = seen()
    dim = torch.where((torch.arange(FRAMES) >= 12).view(-1, 1, 1, 1), video * 0.5, video)
    truth |= {"away": torch.tensor([16] * 12 + [64] * 12)}  # 2 and 8 seconds
    soon, late = (PoseRevisitPSNR(Panels(), e, rate=None) for e in ((1.5, 5), (5, 16)))
    assert value(soon, dim, truth) == 100
    assert value(late, dim, truth) < 30
    assert [soon.name, late.name] == ["PoseRevisitPSNR[1.5 to 5 s]", "PoseRevisitPSNR[5 to 16 s]"]
    choice = ForcedChoice(Panels(), edges=(1.5, 5), rate=None, side=32)
    assert value(choice, dim, truth) == 1
    assert choice.name == "ForcedChoice[surfaces, 1.5 to 5 s]"


@pytest.mark.parametrize("name", TRUTH)
def test_where_nothing_comes_again_there_is_a_reason_and_no_number(name: str) -> None:
    video, truth = seen()
    metric = TRUTH[name]()
    metric.update(video, 0, fps=8, truth={**truth, "away": torch.full((FRAMES,), -1)})
    result = metric.result()
    assert result.value != result.value
    assert "no view" in result.reasons[0]


@pytest.mark.exhaustive
@pytest.mark.slow
def test_each_measure_answers_for_what_it_says() -> None:
    pytest.importorskip("vizdoom")
    matrix = TruthMatrix(videos=4, seconds=16)
    matrix.measure()
    wrong = []
    for row, duty in TRUTH_DUTIES.items():
        assert matrix.values[row, "truth"] == pytest.approx(duty.right), row
        for name, value in ((name, matrix.values[row, name]) for name in WRONG):
            if name in duty.charge and not duty.falls(name, value):
                wrong.append(f"{row} must reach {duty.charge[name]} under {name}, has {value}")
            if name in duty.still and not abs(value - duty.right) <= 0.1:
                wrong.append(f"{row} must keep still under {name}, has {value}")
    assert not wrong


def test_without_an_engine_a_benchmark_says_what_to_install(
    tmp_path: Path, refused: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "vizdoom", None)
    # An engine that an earlier test of this process began would serve this one too.
    monkeypatch.setattr(engine, "_engines", {})
    asked = ("suite=recall", "world=doom", "workers=0", f"hydra.run.dir='{tmp_path / 'run'}'")
    told = refused("cf.benchmark", *asked)
    assert "pip install -e '.[doom]'" in told
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: ForcedChoice(Panels(), places=1), "places=1 must lie in 2..64"),
        (lambda: ForcedChoice(Panels(), edges=(3, 2)), r"edges=\[3, 2\]"),
        (lambda: PoseObedience(Panels(), headings=3), "headings=3 must lie in 4..360"),
        (lambda: PoseRevisitPSNR(Panels(), side=3), "side=3 must be at least 16"),
    ],
)
def test_bad_settings_are_named(make: Callable[[], Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        make()
