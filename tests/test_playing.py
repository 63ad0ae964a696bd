"""Sessions that are played: what they show, what they recall, and that they are made again."""

import json
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from commands import give
from playing import Wish, maker_of, run_of_doom, run_of_rooms, told_maker

from cf.data.world.again import away
from cf.data.world.doom.path import Return
from cf.data.world.doom.world import Doom
from cf.data.world.rooms import Rooms
from cf.playing.maker import Maker
from cf.playing.recollection import CellRecollection, ViewRecollection
from cf.playing.record import read_played, runs_of
from cf.playing.replay import maker_session, moments
from cf.playing.session import TRUTH, Moment, Session
from cf.video.reader import read_video

KEYS = [("right",), (), ("ahead", "left"), ("back",), ("right",), ()]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_of_rooms(tmp_path_factory.mktemp("play") / "run")


@pytest.fixture(scope="module")
def maker(run: Path) -> Maker:
    return maker_of(run)


def played(session: Session) -> list[Moment]:
    begun = session.start()
    shown = [] if begun is None else [begun]
    return shown + [session.step([keys]) for keys in KEYS]


def video(shown: list[Moment], name: str) -> torch.Tensor:
    return torch.cat([one.pictures[name] for one in shown])


def same(one: list[Moment], other: list[Moment]) -> bool:
    names = one[0].pictures
    return all(torch.equal(video(one, name), video(other, name)) for name in names)


def test_the_same_keys_make_the_same_frames_and_others_make_others(maker: Maker) -> None:
    wish = Wish(("own", "window"), seed=3, number=5)
    once, again = (maker.session(wish) for _ in range(2))
    first = played(once)
    assert same(first, played(again))
    assert first[-1].first + first[-1].frames == once.frames == 12 + 3 * len(KEYS)
    other = maker.session(wish)
    other.start()
    assert not torch.equal(other.step([("left",)]).pictures["own"], first[1].pictures["own"])
    assert not same(first, played(maker.session(Wish(("own", "window"), seed=4, number=5))))


def test_two_memories_begin_as_one_and_part_where_one_has_forgotten(maker: Maker) -> None:
    """From one noise: what differs is what is remembered."""
    shown = played(maker.session(Wish(("own", "window"))))
    assert torch.equal(shown[0].pictures["own"], shown[0].pictures[TRUTH])
    alike = maker.session(Wish(("own", "full")))  # own is full memory
    assert all(torch.equal(one.pictures["own"], one.pictures["full"]) for one in played(alike))
    assert not torch.equal(shown[1].pictures["own"], shown[1].pictures["window"])


def test_a_lane_is_the_video_that_its_memory_makes_alone(maker: Maker) -> None:
    both = played(maker.session(Wish(("own", "window"))))
    alone = played(maker.session(Wish(("window",))))
    assert torch.equal(video(both, "window"), video(alone, "window"))
    assert torch.equal(video(both, TRUTH), video(alone, TRUTH))


@pytest.mark.parametrize("pictured", [False, True], ids=["plain", "image to video"])
def test_a_planned_way_that_is_played_is_the_video_of_a_network_that_follows_it(
    maker: Maker, tmp_path: Path, pictured: bool
) -> None:
    """`Generator.follow` and a session, told of one camera, paint the same."""
    if pictured:
        maker = maker_of(run_of_rooms(tmp_path / "run", reference_channels=7))
        with pytest.raises(ValueError, match="image-to-video model: give given_seconds above 0"):
            maker_of(tmp_path / "run", given_seconds=0).session(Wish(("own",)))
    session = maker.session(Wish(("own",), seed=2, number=4))
    session.start()
    made = torch.cat([session.step([("left",)]).pictures["own"] for _ in range(4)])
    film = session._stage.film(session._way)
    drawn = film.part(0, film.frames)
    with torch.inference_mode():
        followed = maker.generator.follow(drawn, 12, 2, [0])[0, 12:]
    assert torch.equal(made, (followed.clamp(0, 1) * 255).round().to(torch.uint8))


def test_the_world_shows_what_the_player_walked_through(maker: Maker) -> None:
    session = maker.session(Wish(("own",), number=5))
    shown = played(session)
    world: Any = maker._world()
    way = world.stage(7, 5).planned(12)
    stage = world.stage(7, 5)
    for i, held in enumerate(key for key in KEYS for _ in range(3)):
        way.append(stage.moved(way[-1], held, edge=i % 3 == 0))
    drawn = stage.film(way).part(0, len(way)).video[0]
    assert torch.equal(video(shown, TRUTH), (drawn * 255).round().to(torch.uint8))


def test_a_memory_shows_the_frames_that_it_holds(maker: Maker) -> None:
    shown = played(maker.session(Wish(("own", "window"))))
    stop = shown[-1].first + shown[-1].frames
    assert shown[-1].held["own"] == list(range(stop))
    assert shown[-1].held["window"] == list(range(stop - 3, stop))
    slow = maker_of(
        Path(maker.network["checkpoint"]),
        memory={
            "_target_": "cf.memory.SlowFast",
            "sink_frames": 3,
            "slow_frames": 6,
            "fast_frames": 6,
            "store": "block",
            "per_layer": False,
            "bounded": False,
            "novelty": "uniform",
            "decide": "overflow",
            "interval": 1,
        },
    )
    held = played(slow.session(Wish(("own",))))[-1].held["own"]
    assert held[:3] == [0, 1, 2]
    assert len(held) == 12
    assert held[-3:] == list(range(stop - 3, stop))


def test_a_recorded_session_is_made_again_bit_for_bit(maker: Maker, tmp_path: Path) -> None:
    session = maker.session(Wish(("own", "window"), seed=3, number=5))
    shown = played(session)
    file = tmp_path / "session.json"
    maker.played(session).write(file)
    read = read_played(file)
    assert read == maker.played(session)
    again = maker_session(maker, read)
    begun = again.start()
    assert begun is not None
    assert same(shown, [begun, *moments(again, maker, read)])


@pytest.mark.whole
def test_generate_replays_a_session_from_its_file_alone(
    maker: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = maker.session(Wish(("own", "window"), number=5))
    shown = played(session)
    maker.played(session).write(tmp_path / "session.json")
    monkeypatch.chdir(tmp_path)
    give("cf.generate", "script=session.json", "hydra.run.dir=out")
    # H.264 is not exact; that the frames are, the law above says.
    for name, memory in (("memory_a", "own"), ("memory_b", "window"), ("truth", TRUTH)):
        made = read_video(tmp_path / "out" / f"{name}.mp4", size=(16, 16))
        wanted = video(shown, memory).float() / 255
        assert made.shape == wanted.shape
        assert (made - wanted).abs().mean() < 0.05
    assert read_played(tmp_path / "out" / "session.json") == maker.played(session)


def test_other_weights_do_not_replay_a_session(
    maker: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    session = maker.session(Wish(("own",)))
    played(session)
    file = tmp_path / "session.json"
    maker.played(session).write(file)
    file.write_text(file.read_text().replace(maker.sha256, "0" * 64))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        give("cf.generate", "script=session.json", "hydra.run.dir=out")
    assert "holds other weights than those that made the session" in capsys.readouterr().err


HOSTILE: dict[str, tuple[Any, str]] = {
    "a memory that is a command": (
        {"memories": {"own": {"_target_": "os.system", "command": "touch owned"}}},
        "not part of cf",
    ),
    "a world that is none": ({"world": {"_target_": "cf.memory.Full"}}, "must be SteeredWorld"),
    "a switch that is a memory": (
        {"switches": {"x": {"_target_": "cf.memory.Full"}}},
        "must be Switch",
    ),
    "a model of another place": (
        {"network": {"model": {"_target_": "subprocess.run", "args": ["touch", "owned"]}}},
        "not part of cf",
    ),
    "something within the sampling": (
        {"network": {"sampling": {"sampler": {"_target_": "os.system", "command": "x"}}}},
        "not part of cf",
    ),
    "more frames than there may be": ({"frames": 10**9}, "more than 200,000 frames"),
    "keys of other frames": ({"keys": [[2, "W"]]}, "of all frames"),
    "keys that are none": ({"keys": [[18, "Q"]]}, "letters of WASD"),
    "negative numbers": ({"keys": [[-18, "W"]]}, "letters of WASD"),
    "a text without its switch": ({"texts": [[12, "a", "none"]]}, "a switch that is not there"),
    "a seed that is a text": ({"seed": "0"}, "seed is '0'"),
    "something more": ({"run": "touch owned"}, "has a run, which no session has"),
    "another version": ({"version": 9}, "is of version 9"),
    "another kind": ({"kind": "a song"}, "is no session of cf.play"),
}


@pytest.mark.parametrize("change", HOSTILE.values(), ids=HOSTILE)
def test_a_strangers_session_is_data(
    maker: Maker, tmp_path: Path, change: tuple[dict[str, Any], str]
) -> None:
    session = maker.session(Wish(("own",)))
    played(session)
    file = tmp_path / "session.json"
    maker.played(session).write(file)
    told = json.loads(file.read_text())
    for name, value in change[0].items():
        told[name] = {**told[name], **value} if name == "network" else value
    file.write_text(json.dumps(told))
    with pytest.raises(ValueError, match=change[1]):
        read_played(file)


def test_texts_take_turns_with_the_switch_that_is_chosen() -> None:
    maker = told_maker()

    def make(*said: tuple[str, str]) -> tuple[Session, list[Moment]]:
        session = maker.session(Wish(("own", "window"), text="a fox"))
        assert session.start() is None
        shown = [session.step() for _ in range(4)]
        for text, name in said:
            session.say(text, name, maker.switch(name))
            shown += [session.step() for _ in range(2)]
        return session, shown

    keep, plain = make(("a hen", "keep"))
    _, flushed = make(("a hen", "flush"))
    assert same(plain[:4], flushed[:4])
    assert not torch.equal(video(plain[4:], "own"), video(flushed[4:], "own"))
    _, silent = make(("a fox", "keep"))
    assert not torch.equal(video(plain[4:], "own"), video(silent[4:], "own"))
    assert keep.texts == [(12, "a hen", "keep")]
    # And the record of several texts and switches makes the same again.
    several, shown = make(("a hen", "recache"), ("a fox", "flush"))
    read = maker.played(several)
    again = maker_session(maker, read)
    assert again.start() is None
    assert same(shown, list(moments(again, maker, read)))


def test_a_text_that_cannot_be_said_changes_nothing(maker: Maker) -> None:
    rooms = maker.session(Wish(("own",)))
    rooms.start()
    with pytest.raises(ValueError, match="takes no text"):
        rooms.say("a fox", "keep", maker.switch("keep"))
    told = told_maker()
    session, plain = (told.session(Wish(("own",), text="a fox")) for _ in range(2))
    for one in (session, plain):
        one.start()
        one.step()
    with pytest.raises(ValueError, match="is empty"):
        session.say("  ", "keep", told.switch("keep"))
    with pytest.raises(ValueError, match="no switch 'nod'"):
        told.switch("nod")
    assert torch.equal(session.step().pictures["own"], plain.step().pictures["own"])
    assert session.texts == []


def test_a_video_goes_on_from_a_picture() -> None:
    maker = told_maker()
    picture = torch.randint(0, 256, (1, 3, 4, 4), dtype=torch.uint8)
    session = maker.session(Wish(("own",), picture=picture))
    begun = session.start()
    assert begun is not None
    assert begun.given
    assert torch.equal(begun.pictures["own"], picture)
    shown = session.step().pictures["own"]
    read = maker.played(session)
    again = maker_session(maker, read)
    again.start()
    assert torch.equal(next(iter(moments(again, maker, read))).pictures["own"], shown)


def test_a_network_that_follows_a_camera_must_have_its_world(run: Path, tmp_path: Path) -> None:
    alone = tmp_path / "network.safetensors"
    alone.write_bytes((run / "network.safetensors").read_bytes())
    with pytest.raises(ValueError, match="give the folder of its run"):
        maker_of(alone).session(Wish(("own",)))


def test_a_world_that_cannot_be_steered_is_told(run: Path, tmp_path: Path) -> None:
    other = tmp_path / "run"
    other.mkdir()
    for name in ("network.safetensors", "config.yaml"):
        (other / name).write_bytes((run / name).read_bytes())
    told = (other / "config.yaml").read_text()
    (other / "config.yaml").write_text(told.replace("rooms.Rooms", "walk.Walk"))
    with pytest.raises(ValueError, match="walks through Walk, whose camera nobody steers yet"):
        maker_of(other)
    (other / "config.yaml").write_text(told.replace("cf.data.world.rooms.Rooms", "os.system"))
    with pytest.raises(ValueError, match="not part of cf"):
        maker_of(other)


def test_memories_that_do_not_fit_are_not_offered(run: Path) -> None:
    from playing import SWITCHES, settings_of

    small = {"_target_": "cf.memory.Sliding", "sink_frames": 0, "window_frames": 2}
    wrong = {"_target_": "cf.memory.Sliding", "width": 2}
    offered = Maker.loaded(settings_of(run), {"small": small, "wrong": wrong}, SWITCHES).memories
    assert list(offered) == ["own"]


def test_frames_of_a_block_are_those_that_are_asked_for(run: Path) -> None:
    """Keys are read when a block begins, so that shorter ones answer sooner."""
    from playing import settings_of

    settings = settings_of(run)
    settings["sampling"]["block_frames"] = 1
    maker = Maker.loaded(settings, {}, {})
    session = maker.session(Wish(("own",)))
    session.start()
    assert session.step().frames == 1
    assert maker.played(session).network["sampling"]["block_frames"] == 1


def test_the_student_of_the_package_is_played_a_frame_at_a_time(run: Path) -> None:
    from playing import settings_of

    from cf.settings.making import with_live_network

    def frames(checkpoint: str | None, told: int | None) -> int | None:
        settings = settings_of(run, checkpoint=checkpoint)
        settings["sampling"]["block_frames"] = told
        asked: int | None = with_live_network(settings)["sampling"]["block_frames"]
        return asked

    assert frames(None, None) == 1
    assert frames(None, 3) == 3
    assert frames(str(run), None) is None


def test_recall_of_rooms_is_of_what_was_out_of_view() -> None:
    world = Rooms(num_places=2, room_cells=4)
    stage = world.stage(0, 0)
    way = [(0, 0, 0), (0, 0, 1), (1, 0, 0), (1, 0, 1), (0, 0, 0), (0, 0, 1)]
    drawn = stage.film(way).part(0, 6)
    watcher = CellRecollection(world, fps=2)
    told = watcher.watch(drawn.video[0], drawn, given=4)
    assert told[:4] == [None] * 4
    assert told[4] == told[5] == (1.0, 1.5)  # three frames after frame 1
    # The other room's picture, where the first one's should be.
    wrong = drawn.video[0].clone()
    wrong[4] = wrong[2]
    again = CellRecollection(world, fps=2).watch(wrong, drawn, given=4)
    cells = (drawn.truth.identity[0, 0] == drawn.truth.identity[0, 2]).double().mean()
    assert again[4] is not None
    assert again[4].share == pytest.approx(float(cells))
    assert again[5] == (1.0, 1.5)


def test_recall_of_what_a_network_made_up_is_against_its_own_first_picture() -> None:
    world = Rooms(num_places=2, room_cells=4)
    stage = world.stage(0, 0)
    drawn = stage.film([(0, 0, 0), (1, 0, 0), (0, 0, 0)]).part(0, 3)
    made = drawn.video[0].clone()
    made[0] = made[2] = made[1]  # it paints one room everywhere
    told = CellRecollection(world, fps=1).watch(made, drawn, given=0)
    assert told == [None, None, (1.0, 2.0)]


def test_recall_of_a_place_in_space_is_where_given_views_come_back() -> None:
    world = Doom(path=Return((1,)), fps=8)
    film = world.film(0, [0], 64)
    assert film.path is not None
    lags = away(film.path[0], 24)
    from cf.data.world.base import Drawn

    pictures = torch.rand(1, 64, 3, 24, 32)
    truth: Any = None
    drawn = Drawn(pictures, film.control, film.origin, film.prompt, truth, film.scene, film.path)
    told = ViewRecollection(fps=8).watch(pictures[0], drawn, given=24)
    assert [one is not None for one in told] == (lags > 0).tolist()
    assert any(told)
    assert all(one is None or one.share == pytest.approx(1) for one in told)
    assert {one.seconds for one in told if one} == {int(lag) / 8 for lag in lags if lag > 0}


@pytest.mark.skipif(find_spec("vizdoom") is None, reason="needs ViZDoom")
def test_a_walk_through_an_engines_rooms_is_made_again_bit_for_bit(tmp_path: Path) -> None:
    maker = maker_of(run_of_doom(tmp_path / "run"), given_seconds=0.75)
    session = maker.session(Wish(("own", "window"), number=2))
    begun = session.start()
    assert begun is not None
    shown = [begun, *(session.step([keys]) for keys in (("left",), ("ahead",), ("ahead", "right")))]
    film = session._stage.film(session._way)
    assert film.path is not None
    turned, walked = film.path[0, 6:9], film.path[0, 9:12]
    assert len(set(turned[:, 2].tolist())) == 3
    assert len({tuple(at) for at in walked[:, :2].tolist()}) == 3
    true = film.part(0, 15).video[0]
    assert torch.equal(video(shown, TRUTH), (true * 255).round().to(torch.uint8))
    file = tmp_path / "session.json"
    maker.played(session).write(file)
    read = read_played(file)
    again = maker_session(maker, read)
    first = again.start()
    assert first is not None
    assert same(shown, [first, *moments(again, maker, read)])


def test_keys_are_written_as_lengths_and_letters() -> None:
    held = [("ahead",), ("ahead", "left"), ("ahead", "left"), ()]
    assert runs_of(held) == [(1, "W"), (2, "WA"), (1, "")]


def frames_of(shown: list[Moment]) -> Iterator[int]:
    for one in shown:
        yield from range(one.first, one.first + one.frames)


def test_frames_are_counted_without_a_gap(maker: Maker) -> None:
    shown = played(maker.session(Wish(("own",))))
    assert list(frames_of(shown)) == list(range(30))
