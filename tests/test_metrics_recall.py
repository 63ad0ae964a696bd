"""Recall where the truth is known: what made-up videos must get, and what others compute."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from cf.data.world.base import Drawn
from cf.data.world.known import known
from cf.data.world.rooms import Rooms
from cf.metrics.base import VideoMetric
from cf.metrics.recall.attribute_recall import AttributeRecall
from cf.metrics.recall.recall import CrossRoomMatch, SelfRevisit, TriggerGate
from cf.metrics.recall.recall_horizon import RecallHorizon
from cf.metrics.recall.revisit import RevisitPSNR
from cf.metrics.result import Result

WORLD = Rooms(stay_blocks=4)
FRAMES, GIVEN, VIDEOS, FPS = 108, 36, 6, 8.0
Make = Callable[[Drawn], Tensor]


@pytest.fixture(scope="module")
def drawn() -> Drawn:
    return WORLD.draw(0, range(VIDEOS), FRAMES)


def painted(drawn: Drawn, identity: Tensor) -> Tensor:
    """The videos with other things in their cells, from the first generated frame on."""
    video, _ = WORLD._paint(drawn.scene["sky"], identity)
    return torch.cat((drawn.video[:, :GIVEN], video[:, GIVEN:]), 1)


def columns(drawn: Drawn) -> Tensor:
    first = (drawn.truth.camera / WORLD.cell[1]).round().long()
    return first[..., None] + torch.arange(WORLD.view_cells)


def layouts(seed: int, *lead: int) -> Tensor:
    """What stands in rooms of another world: (..., rows, columns)."""
    random = torch.Generator().manual_seed(seed)
    kinds = (19, 18)
    rows = [torch.randint(k, (*lead, WORLD.room_cells), generator=random) for k in kinds]
    return torch.stack(rows, -2)


def at(layout: Tensor, where: Tensor) -> Tensor:
    """Cells in view of a strip for each frame: (b t rows columns)."""
    index = where[:, :, None].expand(-1, -1, 2, -1)
    return layout.gather(-1, index)


def perfect(drawn: Drawn) -> Tensor:
    return drawn.video


def forgetting(drawn: Drawn) -> Tensor:
    """Another room at each stay."""
    stay = (drawn.truth.fresh == 0).cumsum(1)
    rooms = layouts(1, VIDEOS, int(stay.max()) + 1)
    layout = rooms[torch.arange(VIDEOS)[:, None], stay]
    return painted(drawn, at(layout, columns(drawn)))


def wrong(drawn: Drawn) -> Tensor:
    """One other world, the same at every visit."""
    layout = layouts(2, VIDEOS, 3)[torch.arange(VIDEOS)[:, None], drawn.truth.place]
    return painted(drawn, at(layout, columns(drawn)))


def collapsed(drawn: Drawn) -> Tensor:
    """Every room is the same."""
    layout = layouts(3, VIDEOS)[:, None].expand(-1, FRAMES, -1, -1)
    return painted(drawn, at(layout, columns(drawn)))


def staying(drawn: Drawn) -> Tensor:
    """It never leaves the room in which the given frames end."""
    known_rooms = torch.zeros(VIDEOS, 2, WORLD.room_cells, dtype=torch.long)
    place = drawn.truth.place
    for frame in range(FRAMES):
        same = (place[:, frame] == place[:, GIVEN - 1]).nonzero().flatten()
        where = columns(drawn)[same, frame]
        for row in range(2):
            known_rooms[same[:, None], row, where] = drawn.truth.identity[same, frame, row]
    layout = known_rooms[:, None].expand(-1, FRAMES, -1, -1)
    return painted(drawn, at(layout, columns(drawn)))


def result(metric: VideoMetric, drawn: Drawn, video: Tensor, given: int = GIVEN) -> Result:
    for number, frames in enumerate(video):
        truth = known(drawn, number, given)
        reference = drawn.video[number]
        metric.update(frames, number, fps=FPS, truth=truth, reference=reference)
    return metric.result()


def test_a_perfect_video_is_perfect(drawn: Drawn) -> None:
    for metric in (AttributeRecall(WORLD), SelfRevisit(WORLD), TriggerGate(WORLD)):
        found = result(metric, drawn, perfect(drawn))
        assert found.value == 1
        assert set(found.per_video.values()) == {1}
    recall = result(AttributeRecall(WORLD), drawn, perfect(drawn))
    assert all(value == 1 for name, value in recall.extras.items() if name != "cells")
    match = result(CrossRoomMatch(WORLD), drawn, perfect(drawn))
    assert match.value == match.extras["truth"] < 0.2
    assert result(RevisitPSNR(), drawn, perfect(drawn)).value == 100


def test_a_forgetting_video_is_at_chance(drawn: Drawn) -> None:
    recall = result(AttributeRecall(WORLD), drawn, forgetting(drawn))
    assert abs(recall.value) < 0.07
    assert abs(recall.extras["ground/identity"]) < 0.05
    assert result(SelfRevisit(WORLD), drawn, forgetting(drawn)).value < 0.12
    assert result(TriggerGate(WORLD), drawn, forgetting(drawn)).value == 1


def test_a_wrong_world_is_known_to_itself_alone(drawn: Drawn) -> None:
    assert result(SelfRevisit(WORLD), drawn, wrong(drawn)).value == 1
    assert abs(result(AttributeRecall(WORLD), drawn, wrong(drawn)).value) < 0.07
    assert result(CrossRoomMatch(WORLD), drawn, wrong(drawn)).value < 0.2


def test_collapse_is_told_and_no_trial_of_memory(drawn: Drawn) -> None:
    assert result(CrossRoomMatch(WORLD), drawn, collapsed(drawn)).value == 1
    assert result(SelfRevisit(WORLD, gate=False), drawn, collapsed(drawn)).value == 1
    assert result(TriggerGate(WORLD), drawn, collapsed(drawn)).value < 0.5


def test_a_video_that_stays_is_caught_by_the_gate(drawn: Drawn) -> None:
    gate = result(TriggerGate(WORLD), drawn, staying(drawn))
    assert gate.extras["trials"] > 0
    assert gate.value < 0.2
    assert gate.extras["left"] < 0.8
    praised = result(AttributeRecall(WORLD, gate=False), drawn, staying(drawn))
    counted = result(AttributeRecall(WORLD), drawn, staying(drawn))
    assert praised.value > 0.2
    assert not counted.value > praised.value / 2


def test_without_a_return_there_is_a_reason(drawn: Drawn) -> None:
    single = Rooms(cut=0, stay_blocks=None)
    alone = single.draw(0, [0], 12)
    for metric in (AttributeRecall(single), SelfRevisit(single), TriggerGate(single)):
        found = result(metric, alone, alone.video, 6)
        assert math.isnan(found.value)
        assert found.reasons[None]
        assert found.reasons[0]


def near(one: float | Tensor, other: float | Tensor) -> None:
    pair = (torch.as_tensor(x, dtype=torch.double) for x in (one, other))
    torch.testing.assert_close(*pair, rtol=1e-12, atol=1e-12, equal_nan=True)


def test_frames_of_another_size_are_refused(drawn: Drawn) -> None:
    with pytest.raises(ValueError, match="cannot be read by a world of"):
        AttributeRecall(WORLD).update(
            torch.rand(FRAMES, 3, 16, 16), 0, fps=8, truth=known(drawn, 0, GIVEN)
        )
    with pytest.raises(ValueError, match=r"truth=\{'given'"):
        AttributeRecall(WORLD).update(drawn.video[0], 0, fps=8)


def test_only_views_that_were_given_count_as_revisited(drawn: Drawn) -> None:
    """A room that was not given shows nothing, however often it comes again."""
    metric = RevisitPSNR()
    found = result(metric, drawn, drawn.video, given=12)
    place, fresh = drawn.truth.place[0], drawn.truth.fresh[0]
    assert float(found.curves["frames_by_lag"].sum()) > 0
    first_stay = int((fresh == 0).nonzero()[1])
    again = ((place == place[0]) & (torch.arange(FRAMES) >= first_stay)).sum()
    metric.reset()
    metric.update(drawn.video[0], 0, fps=FPS, truth=known(drawn, 0, 12), reference=drawn.video[0])
    assert float(metric.result().curves["frames_by_lag"].sum()) <= int(again)


def memory_of(drawn: Drawn, frames: int) -> Tensor:
    """What is older than so many frames at the cut is painted as in another world."""
    true, other = drawn.truth.identity.clone(), layouts(5, VIDEOS, 40)
    where = columns(drawn)
    made = true.clone()
    for video in range(len(true)):
        last: dict[tuple[int, int], int] = {}
        at_cut, start, stay = dict(last), 0, 0
        for frame in range(true.shape[1]):
            if drawn.truth.fresh[video, frame] == 0:
                at_cut, start, stay = dict(last), frame, stay + 1
            place = int(drawn.truth.place[video, frame])
            for slot, column in enumerate(where[video, frame].tolist()):
                seen = at_cut.get((place, column))
                if frame >= GIVEN and seen is not None and start - seen > frames:
                    made[video, frame, :, slot] = other[video, stay, :, column]
                last[place, column] = frame
    return painted(drawn, made)


def test_the_horizon_finds_a_memory_of_known_length() -> None:
    world = Rooms(cut=0.5, num_places=3)
    worlds = world.draw(1, range(VIDEOS), FRAMES)
    edges = (0.0, 0.75, 1.5, 3.0, 6.0, 12.0)
    for frames in (12, 24):
        metric = RecallHorizon(world, edges, gate=False, resamples=50)
        found = result(metric, worlds, memory_of(worlds, frames))
        assert found.extras["censored"] == 0
        assert frames / FPS / 1.7 < found.value < frames / FPS * 1.7
        assert found.extras["low"] <= found.value <= found.extras["high"]
    beyond = result(RecallHorizon(world, edges, resamples=50), worlds, worlds.video)
    assert beyond.extras["censored"] == 1
    assert "censored: >" in beyond.reasons[None]
    assert beyond.extras["high"] == math.inf
    nothing = result(RecallHorizon(world, edges, gate=False), worlds, memory_of(worlds, 0))
    assert math.isnan(nothing.value)
    assert "none" in nothing.reasons[None]


def test_who_recalls_little_at_any_lag_has_no_horizon() -> None:
    world = Rooms(cut=0.5, num_places=3)
    worlds = world.draw(1, range(VIDEOS), FRAMES)
    rarely = torch.rand(VIDEOS, FRAMES, generator=torch.Generator().manual_seed(0)) < 0.3
    known, guessed = memory_of(worlds, 10_000), memory_of(worlds, 0)
    made = torch.where(rarely[..., None, None, None], known, guessed)
    found = result(RecallHorizon(world, gate=False, resamples=50), worlds, made)
    assert math.isnan(found.value)
    assert 0 < found.extras["recalled"] < 0.5
    assert "is recalled" in found.reasons[None]
    asked = RecallHorizon(world, gate=False, resamples=50, least=0.0, significance=None)
    assert result(asked, worlds, made).extras["censored"] == 1
