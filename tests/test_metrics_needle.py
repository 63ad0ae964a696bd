"""Needles, mirrors and things that were hidden: what made-up videos must get."""

from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor

from cf.bench.tasks.needles import Needles
from cf.data.world.base import Drawn
from cf.data.world.known import known
from cf.data.world.module import WorldData
from cf.data.world.needle import Needle
from cf.data.world.rooms import Rooms
from cf.data.world.tiles import COLOURS
from cf.data.world.walk import Walk
from cf.metrics.base import VideoMetric
from cf.metrics.extractors.mean_colour import MeanColour
from cf.metrics.recall.colour_recall import ColourRecall
from cf.metrics.recall.identity import IdentityPersistence
from cf.metrics.recall.needle import NeedleInVideo
from cf.metrics.recall.out_and_back import MirrorConsistency
from cf.metrics.result import Result

FPS, GIVEN = 8.0, 36


def result(metric: VideoMetric, drawn: Drawn, video: Tensor) -> Result:
    for number, frames in enumerate(video):
        metric.update(frames, number, fps=FPS, truth=known(drawn, number, GIVEN))
    return metric.result()


def test_a_needle_is_found_where_it_was_not_lost() -> None:
    metric = None
    for number, depth in enumerate((0.0, 0.5, 1.0)):
        world = Needle(depth=depth)
        needles = world.draw(0, [3, 4], 57)
        metric = metric or NeedleInVideo(world)
        for sample in range(2):
            video = needles.video[sample].clone()
            if depth == 0.5:
                video[48:] = video[20:29].flip(-1)
            truth = {**known(needles, sample, 48), "needle": world.role(57)}
            metric.update(video, 10 * number + sample, fps=FPS, truth=truth)
    assert metric is not None
    found = metric.result()
    assert [found.per_video[i] for i in (0, 1, 20, 21)] == [1] * 4
    assert max(found.per_video[i] for i in (10, 11)) < 0.4
    assert found.curves["needles"].sum() == 6
    assert found.curves["accuracy"].shape == (5, 6)
    assert found.curves["accuracy"][0, 2] == 1
    assert found.curves["accuracy"][2 if found.curves["needles"][2].sum() else 1, 2] < 0.5


def test_the_needle_world_shows_what_it_asks_for() -> None:
    world = Needle(depth=0.3)
    one = world.draw(0, [0], 60)
    role = world.role(60)
    shown, asked = one.truth.identity[0, role == 1], one.truth.identity[0, role == 2]
    assert torch.equal(shown[0], asked[0])
    assert (one.truth.place[0, role > 0] == 0).all()
    assert (one.truth.place[0, role == 0] > 0).all()
    fresh, place = one.truth.fresh[0], one.truth.place[0]
    assert (fresh[1:][place.diff() != 0] == 0).all()
    with pytest.raises(ValueError, match=r"depth=2 must lie"):
        Needle(depth=2)
    with pytest.raises(ValueError, match="together at most past_frames=12"):
        Needle(past_frames=12)


def test_the_way_back_is_compared_with_the_way_out() -> None:
    random = torch.Generator().manual_seed(0)
    out = torch.rand(20, 3, 36, 64, generator=random)
    there_and_back = torch.cat((out, out.flip(0)[1:]))
    metric = MirrorConsistency(MeanColour())
    metric.update(there_and_back, 0, fps=8)
    exact = metric.result()
    assert exact.value == 100
    assert abs(exact.extras["cosine"] - 1) < 1e-6
    wrong_way = there_and_back.clone()
    wrong_way[25:] = wrong_way[25:].flip(-1)
    metric.reset()
    metric.update(wrong_way, 0, fps=8)
    metric.update(torch.full((39, 3, 36, 64), 0.5), 1, fps=8)
    found = metric.result()
    assert found.value == found.per_video[0] < 40
    assert "looks like its turn" in found.reasons[1]


WALK = Walk(stay_blocks=6, place_sprites=3, num_places=2)


@pytest.fixture(scope="module")
def walked() -> Drawn:
    return WALK.draw(0, range(4), 120)


def test_colours_are_read_from_the_true_video(walked: Drawn) -> None:
    metric = ColourRecall(list(COLOURS.values()), 6)
    found = result(metric, walked, walked.video)
    assert found.extras["trials"] >= 10
    assert found.extras["legible"] > 0.9
    assert found.value > 0.9
    grey = walked.video.clone()
    grey[:, GIVEN:] = 0.5
    lost = result(ColourRecall(list(COLOURS.values()), 6), walked, grey)
    assert lost.value < 0.5
    assert lost.extras["legible"] > lost.extras["accuracy"]


def test_a_thing_that_was_swapped_while_hidden_is_another(walked: Drawn) -> None:
    kept = result(IdentityPersistence(MeanColour(), 6, border=2, rate=None), walked, walked.video)
    swapped = walked.video.clone()
    swapped[:, GIVEN:] = swapped[:, GIVEN:, [2, 0, 1]]
    lost = result(IdentityPersistence(MeanColour(), 6, border=2, rate=None), walked, swapped)
    assert kept.extras["trials"] >= 10
    assert kept.value > 0.5
    assert lost.value < kept.value / 2


def test_what_was_never_hidden_has_a_reason(walked: Drawn) -> None:
    metric = ColourRecall(list(COLOURS.values()), 6)
    truth = {name: rows[:4] for name, rows in known(walked, 0, 2).items()}
    metric.update(walked.video[0, :4], 0, fps=FPS, truth=truth)
    assert "nothing was hidden" in metric.result().reasons[0]
    assert np.isnan(metric.result().value)


def test_a_task_of_needles_knows_what_it_asks_for() -> None:
    data = WorldData(partial(Rooms, token=(12, 6)), size=(24, 24))
    asked = Needles(data, worlds=2, past_seconds=[3, 6], depths=[0, 1], asked_seconds=0.75)
    items = asked.items()
    assert len({item.key for item in items}) == len(items) == 8
    right, wrong = (NeedleInVideo(Rooms(size=(24, 24), token=(12, 6))) for _ in range(2))
    for item in items:
        given, film = asked.given_frames(item, 8), asked.film(item, 60)
        rows = asked.known(film, given, 0, 60)
        apart = [asked.known(film, given, *part).truth["needle"] for part in ((0, 20), (20, 60))]
        assert torch.equal(torch.cat(apart), rows.truth["needle"])
        role = rows.truth["needle"][given - 6 :].tolist()
        assert role == [0] * 6 + [2] * 6 + [0] * (54 - given)
        video = film.part(0, 60).video[0]
        right.update(video, item.video_id, fps=8, truth=rows.truth)
        stays = torch.cat((video[:given], video[given - 1 :][:1].expand(60 - given, -1, -1, -1)))
        wrong.update(stays, item.video_id, fps=8, truth=rows.truth)
    assert float(right.compute()) == 1 > 0.5 > float(wrong.compute())
    assert right.result().curves["by_lag"].nan_to_num(1).eq(1).all()
    assert (right.result().curves["needles"] > 0).sum() == 4


def test_needles_refuse_what_they_do_not_fit_into() -> None:
    data = WorldData(partial(Rooms, token=(12, 6)), size=(24, 24))
    with pytest.raises(ValueError, match="past_frames=6"):
        Needles(data, past_seconds=[0.75])
    with pytest.raises(ValueError, match="depths="):
        Needles(data, depths=[0.5, 0.5])
    with pytest.raises(ValueError, match="rooms whose cells are known"):
        Needles(WorldData(Walk))
