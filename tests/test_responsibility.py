"""The responsibility matrix: who must respond does so at every step, all others keep still."""

import math
from itertools import pairwise

import pytest
import torch
from distortions import DISTORTIONS, Scene, distorted
from expected_responses import EXPECTED, SCENES
from responsibility_matrix import STRENGTHS, Matrix, scenes

from cf.data.world.known import known
from cf.data.world.walk import Walk
from cf.metrics.extractors.handcrafted import Handcrafted
from cf.metrics.recall.identity import IdentityPersistence

exhaustive = pytest.mark.exhaustive
WITHOUT = {"identity_swap"}
"""Distortions that nobody notices: global looks do not tell one small thing from another."""


@pytest.fixture(scope="module")
def matrix() -> Matrix:
    return Matrix(EXPECTED, scenes(SCENES))


@pytest.fixture(scope="module")
def scene() -> Scene:
    return scenes(1, seconds=8)[0]


def test_every_distortion_has_a_metric_that_answers_or_is_an_expected_miss() -> None:
    charged = {distortion for expected in EXPECTED.values() for distortion in expected.must_respond}
    assert charged | WITHOUT == set(DISTORTIONS)
    assert not charged & WITHOUT
    for expected in EXPECTED.values():
        groups = (set(expected.must_respond), set(expected.may_respond), set(expected.known_blind))
        assert set.union(*groups) <= set(DISTORTIONS)
        assert sum(map(len, groups)) == len(set.union(*groups)), "a distortion has one role"


@pytest.mark.slow
@pytest.mark.parametrize(
    "distortion",
    [
        one if one in {"blur", "freeze", "shuffle"} else pytest.param(one, marks=exhaustive)
        for one in DISTORTIONS
    ],
)
def test_the_metric_in_charge_answers_and_the_others_keep_still(
    distortion: str, matrix: Matrix
) -> None:
    in_charge = [name for name, expected in EXPECTED.items() if distortion in expected.must_respond]
    matrix.measure(EXPECTED, distortion, 0.0)
    for strength in STRENGTHS[1:-1]:
        matrix.measure(in_charge, distortion, strength)
    matrix.measure(EXPECTED, distortion, 1.0)
    wrong = []
    for name, expected in EXPECTED.items():
        change = matrix.change(name, distortion)
        if distortion in expected.must_respond:
            steps = matrix.steps(name, distortion)
            if not all(expected.must_respond[distortion] * step > 0 for step in steps):
                wrong.append(f"{name} must move at every step, and moves {steps}")
            if abs(change) <= expected.tolerance:
                wrong.append(f"{name} must move, and moves by {change}")
        elif distortion in expected.known_blind:
            better = 1 if expected.metric().higher_is_better else -1
            if not better * change > expected.tolerance:
                wrong.append(f"{name} is known to be fooled, and moves by {change}")
        elif distortion not in expected.may_respond and not abs(change) <= expected.tolerance:
            wrong.append(f"{name} must keep still, and moves by {change}")
    assert not wrong


@pytest.mark.slow
def test_smoothness_of_what_stands_still_is_not_ranked(matrix: Matrix) -> None:
    assert math.isnan(matrix.value("MotionSmoothness", "freeze", 1.0))


@pytest.mark.parametrize("name", DISTORTIONS)
def test_distortions_are_graded_and_drawn_from_the_seed(name: str, scene: Scene) -> None:
    made = [distorted(name, scene, strength, seed=3) for strength in STRENGTHS]
    torch.testing.assert_close(made[0], scene.video, atol=1e-6, rtol=0)
    changed = [float((one - scene.video).abs().mean()) for one in made]
    assert changed[-1] > 0
    assert changed[-1] >= 0.8 * max(changed), "the strongest does not change least"
    assert torch.equal(made[2], distorted(name, scene, STRENGTHS[2], seed=3))
    for one in made:
        assert one.shape == scene.video.shape
        assert one.dtype == scene.video.dtype
        assert 0 <= one.min() <= one.max() <= 1


def test_what_strong_distortions_keep_weak_ones_keep(scene: Scene) -> None:
    """Draws are nested: a frame that stutters weakly stutters strongly as well."""
    for name in ("stutter", "freeze", "loop", "shuffle"):
        changed = [
            (distorted(name, scene, s, seed=1) != scene.video).flatten(1).any(1) for s in (0.3, 0.7)
        ]
        if name in ("stutter", "freeze"):
            assert not (changed[0] & ~changed[1]).any()
        assert changed[0].sum() <= changed[1].sum()


def test_one_thing_changes_its_colours_and_nothing_else(scene: Scene) -> None:
    made = distorted("identity_swap", scene, 1.0)
    differs = (made != scene.video).any(1)
    assert differs.any()
    assert not (differs & ~scene.thing).any()
    assert not differs[: len(made) // 2].any()


@pytest.mark.parametrize(("name", "strength"), [("blurr", 0.5), ("blur", 1.5), ("blur", -0.1)])
def test_unknown_distortions_and_strengths_are_refused(
    name: str, strength: float, scene: Scene
) -> None:
    with pytest.raises(ValueError, match=r"blurr|strength"):
        distorted(name, scene, strength)


@pytest.mark.whole
def test_another_identity_is_seen_where_things_are_looked_at_one_by_one() -> None:
    """What all rows of the matrix overlook; it needs to know where things are."""
    world = Walk((64, 64), 1.5, num_places=2, place_sprites=2, stay_blocks=8, turn=0.0)
    drawn = world.draw(seed=0, numbers=[0], frames=96)
    truth = known(drawn, 0, given=24)
    instance = truth["instance"]
    for thing in (2, 5):
        scene = Scene(drawn.video[0], drawn.video[0], instance == thing, 8.0)
        values = []
        for strength in STRENGTHS:
            metric = IdentityPersistence(Handcrafted(), int(instance.max()), border=4)
            video = distorted("identity_swap", scene, strength)
            metric.update(video, 0, fps=8, truth=truth)
            values.append(float(metric.compute()))
        assert all(after < before for before, after in pairwise(values)), values
        assert values[0] - values[-1] > 0.05
