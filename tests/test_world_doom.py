"""Rooms of a game engine: the world's contract, exact pictures, cameras on their paths."""

from collections import Counter
from itertools import groupby, pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

vizdoom = pytest.importorskip("vizdoom")

from cf.bench.tasks.worlds import Worlds  # noqa: E402
from cf.data.world.again import away  # noqa: E402
from cf.data.world.base import Drawn  # noqa: E402
from cf.data.world.camera_control import Action, PoseFeatures, Rays  # noqa: E402
from cf.data.world.doom.catalogue import CEILINGS, FLOORS, THINGS, WALLS  # noqa: E402
from cf.data.world.doom.engine import pictures, views  # noqa: E402
from cf.data.world.doom.path import (  # noqa: E402
    CameraPath,
    OneOf,
    Return,
    Still,
    Tour,
    Visits,
    planned_frames,
)
from cf.data.world.doom.place import Place  # noqa: E402
from cf.data.world.doom.wad import SLOT, udmf, wad  # noqa: E402
from cf.data.world.doom.walking import TURN, Pose  # noqa: E402
from cf.data.world.doom.world import Doom  # noqa: E402
from cf.data.world.module import WorldData  # noqa: E402

PATHS: dict[str, CameraPath] = {
    "visits": Visits(),
    "return": Return(lags=(2, 4)),
    "tour": Tour(),
    "still": Still(),
    "one_of": OneOf((Visits(headings=16), Return(lags=(2,)))),
}
pytestmark = pytest.mark.xdist_group("doom")  # one engine for all


def same(a: Drawn, b: Drawn) -> bool:
    """Whether pictures, truth and control are the same to the bit."""
    tensors = [(one.video, one.control, *vars(one.truth).values()) for one in (a, b)]
    pairs = zip(*tensors, strict=True)
    return a.prompt == b.prompt and all(x is y is None or torch.equal(x, y) for x, y in pairs)


@pytest.mark.parametrize("path", PATHS)
def test_a_short_video_is_the_beginning_and_a_part_is_a_part_of_a_long_one(path: str) -> None:
    world = Doom(path=PATHS[path])
    film = world.film(3, [5, 2], 60)
    whole = film.part(0, 60)
    assert same(world.draw(3, [5, 2], 24), film.part(0, 24))
    assert torch.equal(film.part(40, 47).video, whole.video[:, 40:47])
    assert torch.equal(world.draw(3, [2], 60).video, whole.video[1:])
    assert not torch.equal(world.draw(4, [2], 60).video, whole.video[1:])


def test_a_pose_that_comes_again_has_the_same_pixels_whatever_came_between() -> None:
    rng = np.random.default_rng(0)
    for number in range(24):  # all things and most surfaces, at many times
        place = Doom(things=4).place(0, number)
        x, y = place.rooms[0].centre
        poses = [Pose(x, y, int(heading)) for heading in rng.integers(0, TURN, 6)]
        again = views(place, [*poses, *poses[::-1], *poses], (48, 64))
        assert (again.pixels[:6] == again.pixels[6:12][::-1]).all()
        assert (again.pixels[:6] == again.pixels[12:]).all()
        assert (again.depth[:6] == again.depth[12:]).all()
        assert (again.thing[:6] == again.thing[12:]).all()


def test_every_surface_is_in_the_engines_data() -> None:
    names = (Path(vizdoom.__file__).parent / "freedoom2.wad").read_bytes()
    for texture in (*WALLS, *FLOORS, *CEILINGS, "SUPPORT3"):
        assert texture.encode().ljust(8, b"\0") in names, texture
    assert len({thing.type for thing in THINGS}) == len(THINGS)


def test_things_are_where_the_truth_says_they_are() -> None:
    seen = Counter[str]()
    for number in range(12):
        place = Doom(things=4).place(1, number)
        items = [item for room in place.rooms for item in room.items]
        owner = [i for i, room in enumerate(place.rooms) for _ in room.items]
        for at, room in enumerate(place.rooms):
            x, y = room.centre
            around = views(place, [Pose(x, y, k) for k in range(0, TURN, 128)], (120, 160))
            here = {i + 1 for i, o in enumerate(owner) if o == at}
            assert here <= set(np.unique(around.thing).tolist()), (number, at)
            for picture, heading in zip(around.thing, range(0, TURN, 128), strict=True):
                for thing in here & set(np.unique(picture).tolist()):
                    item = items[thing - 1]
                    bearing = np.arctan2(item.y - y, item.x - x) - heading / TURN * 2 * np.pi
                    column = 80 * (1 - np.tan(bearing))
                    columns = np.nonzero(picture == thing)[1]
                    assert columns.min() - 24 <= column <= columns.max() + 24
                    seen[THINGS[item.thing].name] += 1
    assert len(seen) == len(THINGS)


def test_a_place_furnished_anew_has_the_same_geometry_and_other_looks() -> None:
    world = Doom()
    place, other = world.place(0, 3), world.place(0, 3, other=1)
    assert place.doors == other.doors
    assert place != other
    assert [(r.left, r.top, r.height) for r in place.rooms] == [
        (r.left, r.top, r.height) for r in other.rooms
    ]
    assert other == world.place(0, 3, other=1) != world.place(0, 3, other=2)
    pose = [Pose(*place.rooms[0].centre, 0)]
    one, two = (views(p, pose, (48, 64)) for p in (place, other))
    assert (one.pixels != two.pixels).mean() > 0.5
    assert udmf(place) == udmf(world.place(0, 3))


@pytest.mark.parametrize("grid", [(1, 1), (1, 4), (3, 3)])
@pytest.mark.parametrize("path", PATHS)
def test_the_camera_stays_clear_of_walls_and_things(path: str, grid: tuple[int, int]) -> None:
    for number in range(8):
        place = Doom(grid=grid).place(0, number)
        things = np.array([(i.x, i.y) for r in place.rooms for i in r.items] or [(-999, -999)])
        for shot in planned_frames(PATHS[path], place, np.random.default_rng(number), 8.0, 200):
            x, y = shot.pose.x, shot.pose.y
            room = place.rooms[place.room_at(x, y)]
            inside = room.left + 24 <= x <= room.right - 24 and (
                room.bottom + 24 <= y <= room.top - 24
            )
            doorway = min(x - room.left, room.right - x, y - room.bottom, room.top - y) < 24
            assert inside or doorway
            if doorway:  # in the middle of it
                assert abs(x - room.centre[0]) < 16 or abs(y - room.centre[1]) < 16
            assert np.hypot(*(things - (x, y)).T).min() > 40


def test_cuts_lie_at_the_edges_of_blocks_and_lead_to_another_room() -> None:
    place = Doom().place(0, 0)
    shots = planned_frames(Visits(cut=0.5), place, np.random.default_rng(0), 8.0, 600)
    cuts = [i for i, shot in enumerate(shots) if shot.fresh == 0]
    assert all(cut % 3 == 0 for cut in cuts)
    assert 70 < len(cuts) < 130
    rooms = [place.room_at(*shot.pose[:2]) for shot in shots]
    assert all(rooms[cut] != rooms[cut - 1] for cut in cuts[1:])
    alone = planned_frames(Visits(cut=0.0), place, np.random.default_rng(0), 8.0, 60)
    assert [shot.fresh for shot in alone] == list(range(60))


@pytest.mark.parametrize("seed", range(4))
def test_a_camera_that_turns_by_whole_steps_sees_all_views_of_a_room_again(seed: int) -> None:
    """And not otherwise: from any heading it comes back to another one than it left with."""
    place = Doom().place(0, seed)
    again = []
    for headings in (16, None):
        path = Return(lags=(2, 4), look=2.0, headings=headings)
        shots = planned_frames(path, place, np.random.default_rng(seed), 8.0, 120)
        first = {shot.pose for shot in shots[:17]}
        again.append(len({shot.pose for shot in shots[32:]} & first))
    assert again[0] == 16
    assert again[1] < 16


def test_a_stay_begins_with_one_of_so_many_headings() -> None:
    place = Doom().place(0, 0)
    visits = Visits(cut=1.0, wander=0, headings=4)
    shots = planned_frames(visits, place, np.random.default_rng(0), 8.0, 300)
    begun = {shot.pose.heading for shot in shots if shot.fresh == 0}
    assert begun == {0, TURN // 4, TURN // 2, 3 * TURN // 4}


def test_videos_go_one_of_several_ways_each_as_often() -> None:
    place = Doom().place(0, 0)
    paths = OneOf((Still(), Visits(cut=1.0)))
    cut = [
        any(
            shot.fresh == 0
            for shot in planned_frames(paths, place, np.random.default_rng(i), 8.0, 9)[1:]
        )
        for i in range(100)
    ]
    assert 35 < sum(cut) < 65


@pytest.mark.parametrize("fps", [8.0, 16.0])
@pytest.mark.parametrize("grid", [(1, 2), (2, 2), (3, 3)])
def test_the_camera_is_away_for_each_lag_and_every_lag_has_its_trials(
    grid: tuple[int, int], fps: float
) -> None:
    lags = (3, 6, 15, 40)
    place = Doom(grid=grid).place(0, 1)
    path = Return(lags=lags)
    shots = planned_frames(path, place, np.random.default_rng(2), fps, round(sum(lags) * 2 * fps))
    rooms = [place.room_at(*shot.pose[:2]) for shot in shots]
    home = rooms[0]
    runs = [(room == home, len(list(some))) for room, some in groupby(rooms)]
    away = [sum(n for h, n in some) for h, some in groupby(runs, lambda run: run[0]) if not h]
    expected = sorted(round(lag * fps) for lag in lags)
    assert sorted(away[: len(lags)]) == pytest.approx(expected, abs=2)
    for one, other in pairwise(shots):  # it walks, and never jumps
        assert np.hypot(other.pose.x - one.pose.x, other.pose.y - one.pose.y) <= 240 / fps + 2


def test_a_tour_reaches_every_room_and_a_still_camera_does_not_move() -> None:
    place = Doom(grid=(2, 3)).place(0, 2)
    shots = planned_frames(Tour(), place, np.random.default_rng(0), 8.0, 1500)
    assert {place.room_at(*shot.pose[:2]) for shot in shots} == set(range(6))
    assert (
        len({shot.pose for shot in planned_frames(Still(), place, np.random.default_rng(0), 8, 9)})
        == 1
    )


def test_features_of_a_pose_are_told_from_where_the_video_began() -> None:
    rng = np.random.default_rng(0)
    pose = rng.uniform(0, 600, (20, 3)) * (1, 1, 0.01)
    fresh = np.arange(20)
    turn, shift = 1.1, np.array((300.0, -70.0))
    cos, sin = np.cos(turn), np.sin(turn)
    moved = np.concatenate(
        (pose[:, :2] @ np.array([[cos, sin], [-sin, cos]]) + shift, pose[:, 2:] + turn), 1
    )
    for control in (PoseFeatures(), Action(), Rays()):
        one, other = control(pose, fresh), control(moved, fresh)
        assert one.shape == (20, control.width)
        np.testing.assert_allclose(one, other, atol=1e-9)
        np.testing.assert_allclose(control(pose[:7], fresh[:7]), one[:7], atol=1e-12)
    near = PoseFeatures()(np.array([[0, 0, 0], [16, 0, 0.1], [200, 90, 2.0]]), np.arange(3))
    assert near[0] @ near[1] > 1.5 * (near[0] @ near[2])


def test_a_turned_camera_looks_with_another_cell_where_one_looked_before() -> None:
    rays = Rays((3, 2), (512,), (1, 2))
    across = 2 * np.arctan(0.5)  # from the middle of one column to that of the other
    signal = rays(np.array([[0, 0, 0.3], [0, 0, 0.3 + across]]), np.arange(2)).reshape(2, 3, 2, -1)
    np.testing.assert_allclose(signal[1, :, 1], signal[0, :, 0], atol=1e-12)
    assert np.abs(signal[1, :, 0] - signal[0, :, 0]).max() > 0.5
    assert np.abs(signal[0, 0] - signal[0, 2]).max() > 0.5  # up is not down


def test_pixels_alone_are_those_of_views() -> None:
    place = Place.draw(np.random.default_rng(5), (1, 2))
    poses = [Pose(*place.rooms[i % 2].centre, 100 * i) for i in range(4)]
    before = views(place, poses, (48, 64))
    alone = pictures(place, poses, (48, 64))
    after = views(place, poses, (48, 64))
    np.testing.assert_array_equal(alone, before.pixels)
    for one, other in zip(vars(before).values(), vars(after).values(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert len(np.unique(after.depth)) > 10


def test_it_is_training_data_in_workers_too() -> None:
    settings = {"world": lambda size: Doom(size=size), "size": (48, 64), "clip_frames": 6}
    alone, shared = (WorldData(**settings, batch_size=2, num_workers=n) for n in (0, 2))
    for one, other, _ in zip(
        alone.train_dataloader(), shared.train_dataloader(), "ab", strict=False
    ):
        assert torch.equal(one["video"], other["video"])
        assert one["control"].shape == (2, 6, Doom().control_width)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"size": (4, 64)}, r"size=\[4, 64\]"),
        ({"grid": (9, 9)}, r"grid=\[9, 9\]"),
        ({"things": 5}, "things=5"),
        ({"fps": 0}, "fps=0"),
    ],
)
def test_bad_worlds_are_named(settings: dict[str, object], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        Doom(**settings)  # type: ignore[arg-type]


def test_bad_paths_are_named() -> None:
    for make, told in (
        (lambda: Visits(cut=2), "cut=2"),
        (lambda: Return(lags=()), r"lags=\[\]"),
        (lambda: Return(speed=0), "speed=0"),
        (lambda: Return(headings=0), "headings=0"),
        (lambda: Visits(headings=2000), "headings=2000"),
        (lambda: OneOf(()), "names no camera path"),
        (lambda: Tour(turn_degrees=0), "turn_degrees=0"),
        (lambda: Action(step=0), "step=0"),
        (lambda: PoseFeatures((-1,)), r"wavelengths=\[-1\]"),
        (lambda: Rays((0, 4)), r"cells=\[0, 4\]"),
        (lambda: Rays(harmonics=(0,)), r"harmonics=\[0\]"),
        (lambda: Rays(field=180), "field=180"),
    ):
        with pytest.raises(ValueError, match=told):
            make()
    with pytest.raises(ValueError, match="too large; ask for fewer rooms"):
        wad(b" " * (SLOT + 1))


def test_the_largest_place_fits_its_slot() -> None:
    place = Place.draw(np.random.default_rng(0), (8, 8), 4)
    assert len(udmf(place)) <= SLOT


def test_the_sheet_of_revisits_shows_given_views_that_come_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
    from revisits import chosen, with_revisits

    task = Worlds(WorldData(lambda size: Doom(size=size), size=(48, 64)))
    numbers = with_revisits(task, 3, frames=48, given=12)
    assert len(numbers) == 3
    for number in numbers:
        path = task.data.world.film(task.seed, [number], 48).path
        assert path is not None
        lag = away(path[0], 12)
        shown = chosen(path[0], 12)
        assert [label for label, _ in shown[3:]] == ["again"] * 3
        assert all(lag[frame] > 0 for _, frame in shown[3:])
        assert all(lag[frame] == -2 for label, frame in shown if label == "new")
        assert all(frame < 12 for label, frame in shown if label == "given")
