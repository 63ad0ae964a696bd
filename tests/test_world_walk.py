"""Laws of WALK: what its truth says is what its pictures show."""

from dataclasses import fields
from functools import cache

import pytest
import torch
from torch import Tensor
from torch.nn.functional import grid_sample, max_pool2d

from cf.data.world import staging
from cf.data.world.base import Drawn, ObjectMotion
from cf.data.world.module import WorldData
from cf.data.world.rooms import Rooms
from cf.data.world.sprites import KINDS, RADIUS
from cf.data.world.themes import HOURS, THEMES
from cf.data.world.walk import Walk

SMALL = Walk(size=(16, 24), cut=0.3, turn=0.3)
LARGE = Walk(size=(64, 96), cut=0.2)


@cache
def drawn(world: Walk, numbers: tuple[int, ...] = (0, 1, 2), frames: int = 24) -> Drawn:
    return world.draw(0, numbers, frames)


def tensors(d: Drawn) -> dict[str, Tensor]:
    """All that is told per video, by name."""
    parts = {"video": d.video, "control": d.control, "origin": d.origin}
    for owner in (d.truth, d.truth.motion):
        for field in fields(owner):
            value = getattr(owner, field.name)
            if isinstance(value, Tensor):
                parts[field.name] = value
    return parts


def motion(d: Drawn) -> ObjectMotion:
    assert d.truth.motion is not None
    return d.truth.motion


def centroid(mask: Tensor) -> Tensor:
    """Mean (row, column) of the pixels' middles."""
    return torch.nonzero(mask).double().mean(0) + 0.5


@pytest.mark.parametrize("world", [SMALL, Walk(stay_blocks=1), LARGE])
@pytest.mark.parametrize("frames", [1, 8])
def test_a_short_video_is_the_beginning_of_a_long_one(world: Walk, frames: int) -> None:
    long, short = tensors(drawn(world)), tensors(world.draw(0, (0, 1, 2), frames))
    per_video = {"kind", "colour", "home"}
    for name, value in short.items():
        beginning = long[name] if name in per_video else long[name][:, :frames]
        assert torch.equal(value, beginning), name
    assert world.draw(0, (0, 1, 2), frames).prompt == drawn(world).prompt


def test_a_batch_is_its_videos_one_by_one_however_much_is_painted_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    together = tensors(drawn(SMALL))
    monkeypatch.setattr(staging, "_PIXELS", 5 * 16 * 24)
    for i in range(3):
        alone = tensors(SMALL.draw(0, [i], 24))
        for name, value in alone.items():
            assert torch.equal(value[0], together[name][i]), name


def test_seed_and_number_tell_videos_apart() -> None:
    again, other = SMALL.draw(0, [1], 4).video[0], SMALL.draw(1, [1], 4).video[0]
    assert torch.equal(again, drawn(SMALL).video[1, :4])
    assert not torch.allclose(again, other, atol=0.05)
    assert not torch.allclose(again, drawn(SMALL).video[0, :4], atol=0.05)


@pytest.mark.parametrize("size", [(16, 16), (32, 32), (64, 64), (128, 128), (48, 84)])
def test_values_are_pixels_at_any_size(size: tuple[int, int]) -> None:
    d = Walk(size=size).draw(3, [0], 2)
    assert d.video.shape == (1, 2, 3, *size)
    assert d.video.dtype == torch.float32
    assert d.video.min() >= 0
    assert d.video.max() <= 1
    assert d.video.std() > 0.05
    assert d.truth.identity.shape == (1, 2, 0, 0)


def test_a_picture_of_twice_the_size_shows_the_same() -> None:
    one, two = (Walk(size=size).draw(0, [0, 1], 6) for size in ((32, 32), (64, 64)))
    torch.testing.assert_close(two.truth.camera, 2 * one.truth.camera)
    torch.testing.assert_close(motion(two).centre, 2 * motion(one).centre)
    halved = torch.nn.functional.avg_pool2d(two.video.flatten(0, 1), 2)
    assert (halved - one.video.flatten(0, 1)).abs().mean() < 0.02


@pytest.mark.parametrize("height", [16, 48])
def test_the_camera_cruises_eases_and_turns(height: int) -> None:
    world = Walk(size=(height, 24), cut=0.04, place_sprites=0)
    d = world.draw(0, range(4), 150)
    truth, step, same = d.truth, motion(d).camera_step, d.truth.fresh > 0
    scale, last = height / 32, 2 * 24
    moved = truth.camera.diff(dim=1)
    torch.testing.assert_close(step[:, 1:], moved * same[:, 1:], atol=1e-4, rtol=0)
    assert (step[~same] == 0).all()
    assert step.abs().max() <= 2 * scale + 1e-5
    assert truth.camera.min() >= 0
    assert truth.camera.max() <= last
    # Never a jerk: its own acceleration, and that of the widest turn at the end of a place.
    jerk = step.diff(dim=1).abs()[(truth.fresh[:, 1:] > 1)]
    assert jerk.max() <= (0.2 + 2 * 2 / 8) * scale + 1e-4
    assert (step.abs() >= 0.999 * scale)[same].float().mean() > 0.4
    assert (step > 0).any()
    assert (step < 0).any()
    torch.testing.assert_close(d.origin[..., 1], truth.camera / 8)
    assert (d.origin[..., 0] == 0).all()


def test_cuts_lie_at_the_edges_of_blocks_and_are_as_rare_as_told() -> None:
    world = Walk(size=(16, 16), place_sprites=0, cut=0.1, block_frames=4)
    d = world.draw(0, range(4), 240)
    cuts = d.truth.fresh[:, 1:] == 0
    edge = torch.arange(1, 240) % 4 == 0
    assert not cuts[:, ~edge].any()
    assert abs(cuts[:, edge].float().mean() - 0.1) < 4 * (0.1 * 0.9 / cuts[:, edge].numel()) ** 0.5
    assert torch.equal(cuts, d.truth.place.diff(dim=1) != 0)
    assert torch.equal(d.control.argmax(-1), d.truth.place)
    aged = d.truth.fresh.diff(dim=1)
    assert (aged[~cuts] == 1).all()


def test_no_cut_without_chance_and_places_in_turn_when_told() -> None:
    bare = {"size": (16, 16), "place_sprites": 0}
    assert (Walk(cut=0.0, **bare).draw(0, [0, 1], 40).truth.place.diff(dim=1) == 0).all()
    place = Walk(stay_blocks=2, **bare).draw(0, [0], 36).truth.place[0]
    assert torch.equal((place - place[0]) % 3, torch.arange(36) // 6 % 3)


@pytest.mark.parametrize("number", range(3))
def test_without_a_sprite_only_its_mask_and_its_rim_change(number: int) -> None:
    d = drawn(LARGE)
    seen = torch.bincount(d.truth.instance[number].flatten(), minlength=13)[1:13]
    sprite = int(seen.argmax()) + 1
    bare = LARGE.draw(0, [number], 24, without=[sprite])
    mask = (d.truth.instance[number] == sprite).float()
    rim = max_pool2d(mask, 3, stride=1, padding=1) > 0
    change = (bare.video[0] - d.video[number]).abs().amax(1)
    assert seen[sprite - 1] > 500
    assert (change[mask > 0] > 0).float().mean() > 0.97
    # Outside lie but slivers of its rim, where what it surrounds is hidden or out of the picture.
    stray = (change > 0) & ~rim
    assert stray.sum() <= 0.015 * mask.sum()
    assert (change * stray).max() < 0.25
    # And nothing at all changes beyond its reach.
    at = motion(d).centre[number, :, sprite - 1]
    column = at[:, 1] - d.truth.camera[number]
    down = torch.arange(64)[:, None] + 0.5 - at[:, 0, None, None]
    across = torch.arange(96) + 0.5 - column[:, None, None]
    assert (change[down.hypot(across) > 1.8 * RADIUS * 64] == 0).all()
    assert not (bare.truth.instance == sprite).any()
    assert (motion(bare).visible[0, :, sprite - 1] == 0).all()
    same = mask == 0
    assert torch.equal(bare.truth.instance[0][same], d.truth.instance[number][same])
    torch.testing.assert_close(motion(bare).centre[0], motion(d).centre[number])


@pytest.mark.whole
def test_sprites_are_where_the_truth_says() -> None:
    d = drawn(LARGE, tuple(range(16)))
    m, errors, kinds = motion(d), [], set()
    for video, frame, sprite in torch.nonzero(m.visible == 1).tolist():
        mask = d.truth.instance[video, frame] == sprite + 1
        at = m.centre[video, frame, sprite].double().clone()
        at[1] -= d.truth.camera[video, frame]
        errors.append((centroid(mask) - at).abs().max())
        kinds.add(int(m.kind[video, sprite]))
    assert kinds == set(range(len(KINDS)))
    assert torch.stack(errors).max() < 0.25 * RADIUS * 64


def test_what_is_visible_has_pixels_and_the_rest_has_none() -> None:
    d = drawn(LARGE, tuple(range(8)))
    m = motion(d)
    labels = torch.arange(1, 13)
    pixels = (d.truth.instance[:, :, None] == labels[:, None, None]).sum((3, 4))
    assert torch.equal(pixels > 0, m.visible > 0)
    assert m.visible.max() == 1
    away = m.home[:, None] != d.truth.place[..., None]
    assert (m.visible[away] == 0).all()
    assert (m.visible > 0).any()
    # Things in front hide sprites: somewhere one is hidden in the middle of the picture.
    column = m.centre[..., 1] - d.truth.camera[..., None]
    inside = ~away & (column > 12) & (column < 84)
    assert (m.visible[inside] < 0.6).any()
    assert d.truth.instance.max() > 12


@pytest.mark.whole
def test_sprites_go_on_while_nobody_looks() -> None:
    tour, stay = Walk(size=(64, 96), stay_blocks=2), Walk(size=(64, 96), cut=0.0)
    d, still = tour.draw(0, range(6), 36), stay.draw(0, range(6), 36)
    m = motion(d)
    # The law knows nothing of the camera.
    assert torch.equal(m.centre, motion(still).centre)
    torch.testing.assert_close(m.centre.diff(dim=1), m.step[:, 1:], atol=1e-3, rtol=0)
    found = 0
    for video in range(6):
        for frame in torch.nonzero(d.truth.fresh[video] == 0)[3:, 0].tolist():
            for sprite in torch.nonzero(m.visible[video, frame] == 1)[:, 0].tolist():
                mask = d.truth.instance[video, frame] == sprite + 1
                at = centroid(mask)[1] + d.truth.camera[video, frame]
                before = m.centre[video, frame - 12, sprite, 1]  # as this place was left
                now = m.centre[video, frame, sprite, 1]
                if (now - before).abs() > 8:
                    found += 1
                    assert (at - now).abs() < 3
    assert found >= 3


def test_no_two_sprites_of_a_video_look_alike() -> None:
    m = motion(Walk(size=(16, 16), num_places=6, place_sprites=6).draw(0, [0, 1], 1))
    for kind, colour in zip(m.kind, m.colour, strict=True):
        assert len(set(zip(kind.tolist(), colour.tolist(), strict=True))) == 36


def test_flow_tells_where_pixels_came_from() -> None:
    world = Walk(size=(64, 96), cut=0.0)
    d = world.draw(0, range(4), 24)
    flow = motion(d).flow(d.truth.instance)
    now, before = d.video[:, 1:].flatten(0, 1), d.video[:, :-1].flatten(0, 1)
    rows, columns = torch.meshgrid(torch.arange(64) + 0.5, torch.arange(96) + 0.5, indexing="ij")
    source = torch.stack((columns, rows), -1) - flow[:, 1:].flatten(0, 1).flip(-1)
    grid = source / torch.tensor([96, 64]) * 2 - 1
    warped = grid_sample(before, grid, align_corners=False, padding_mode="border")
    inside = ((grid.abs() < 1).all(-1))[:, None].expand_as(now)
    error, still = (warped - now).abs()[inside], (before - now).abs()[inside]
    assert error.mean() < 0.35 * still.mean()
    assert error.median() < 0.003
    moving = (d.truth.instance[:, 1:].flatten(0, 1) > 0)[:, None].expand_as(now)[inside]
    assert error[moving].mean() < 0.5 * still[moving].mean()
    assert (flow[d.truth.fresh == 0][..., 1][d.truth.instance[d.truth.fresh == 0] == 0] == 0).all()


def test_without_parallax_a_step_of_a_pixel_moves_the_picture_by_one() -> None:
    world = Walk(place_sprites=0, speed=(1.0, 1.0), cut=0.0, parallax=0.0)
    d = drawn(world)
    steps = motion(d).camera_step
    seen = 0
    for video, frame in torch.nonzero((steps.abs() - 1).abs() < 1e-5).tolist():
        before, now = d.video[video, frame - 1], d.video[video, frame]
        if steps[video, frame] < 0:
            before, now = now, before
        torch.testing.assert_close(now[..., :-1], before[..., 1:], atol=2e-3, rtol=0)
        seen += 1
    assert seen > 20
    deep = drawn(Walk(place_sprites=0, speed=(1.0, 1.0), cut=0.0))
    assert (motion(deep).camera_step == steps).all()
    assert not torch.equal(deep.video, d.video)


def test_places_have_the_themes_and_hours_that_are_named() -> None:
    world = Walk(num_places=3, cut=1.0, themes=("desert", "meadow"), hours=("night",))
    d = drawn(world, tuple(range(8)))
    names = list(THEMES)
    assert set(d.scene["theme"].flatten().tolist()) == {
        names.index("desert"),
        names.index("meadow"),
    }
    assert set(d.scene["hour"].flatten().tolist()) == {list(HOURS).index("night")}


def test_it_is_training_data_and_rooms_have_no_motion() -> None:
    data = WorldData(Walk, size=(16, 16), clip_frames=3, batch_size=2, val_clips=2)
    batch = next(iter(data.val_dataloader()))
    assert batch["video"].shape == (2, 3, 3, 16, 16)
    assert batch["control"].shape == (2, 3, 3)
    assert len(batch["prompt"]) == 2
    assert Rooms().draw(0, [0], 1).truth.motion is None


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"size": (8, 32)}, "at least 16"),
        ({"place_views": 1.0}, "place_views=1.0"),
        ({"num_places": 0}, "num_places=0"),
        ({"num_places": 10}, "no two sprites"),
        ({"place_sprites": -1}, "place_sprites=-1"),
        ({"speed": (2.0, 1.0)}, "speed="),
        ({"cut": 1.5}, "cut=1.5"),
        ({"turn": -0.1}, "turn=-0.1"),
        ({"block_frames": 0}, "block_frames=0"),
        ({"stay_blocks": 0}, "stay_blocks=0"),
        ({"token": (0, 8)}, "token="),
        ({"themes": ["meadow", "moon"]}, r"themes=\['meadow', 'moon'\] must be some of"),
        ({"hours": []}, r"hours=\[\] must be some of"),
        ({"parallax": 1.5}, "parallax=1.5"),
    ],
)
def test_bad_settings_are_refused(settings: dict[str, object], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        Walk(**settings)


def test_unknown_sprites_cannot_be_left_out() -> None:
    with pytest.raises(ValueError, match=r"without=\[13\]"):
        SMALL.draw(0, [0], 1, without=[13])
