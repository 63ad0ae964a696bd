"""Who takes part in the benchmark: networks, imported videos, what is released."""

import json
from contextlib import nullcontext
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from commands import ROOMS, Command, fit
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import OmegaConf
from test_benchmark import settings

from cf.bench.contest import run_benchmark
from cf.bench.contestants.absent import Absent
from cf.bench.contestants.camera import check_camera
from cf.bench.contestants.controls import CopyLast, Spoilt, Truth
from cf.bench.contestants.entries import Entry, entries
from cf.bench.contestants.imported import Imported, export_vbench
from cf.bench.contestants.network import Network
from cf.bench.tasks.base import Request, Sample, VideoSpec
from cf.bench.tasks.prompts import Prompts
from cf.bench.tasks.worlds import Worlds
from cf.data.prompt_list import prompts_of
from cf.data.world.module import WorldData
from cf.data.world.rooms import Rooms
from cf.paths import CONFIG_DIR
from cf.report.long_tables import per_training, per_video
from cf.report.tables import write_tables
from cf.runs.generator import load
from cf.settings.build import build, to_settings
from cf.stats.trainings import trainings
from cf.video.writer import VideoWriter

TERMS = VideoSpec(8.0, (32, 32))
TINY = (
    "asked.data.size=[16,16]",
    "asked.data.world.view_cells=2",
    "asked.data.world.room_cells=3",
    "model.patch_size=[8,8]",
)
"""The world of `network`."""
SPOILT = ("frozen", "looping", "resetting", "blurred", "noisy")
RELEASED = (
    "self_forcing",
    "self_forcing_full",
    "self_forcing_no_memory",
    "causvid",
    "causal_forcing",
    "causal_forcing_framewise",
    "causal_forcing_pp",
    "causal_forcing_pp_1step",
    "causal_forcing_long",
    "longlive",
    "id_forcing",
    "infinity_rope",
    "rolling_forcing",
    "deep_forcing",
    "reward_forcing",
    "memrope",
    "rolling_sink",
    "sgf",
    "sgf_framewise",
    "sgf_plus",
    "sgf_plus_framewise",
    "context_forcing",
    "context_forcing_released",
)


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fit(tmp_path_factory.mktemp("network") / "run", *ROOMS, "trainer.max_steps=1")


def worlds(size: int = 32, cells: int = 4) -> Worlds:
    from functools import partial

    world = partial(Rooms, view_cells=cells, room_cells=cells + 1, token=(8, 8))
    return Worlds(WorldData(world, size=(size, size)), worlds=2, given_seconds=1)


def take(asked: Worlds, frames: int = 24) -> Request:
    item = asked.items()[1]
    terms = asked.terms()
    return Request(
        item, terms, frames, asked.given_frames(item, 8.0), asked.film(item, frames + 32)
    )


@pytest.mark.slow
def test_a_network_streams_what_it_makes_at_once(network: Path) -> None:
    asked = worlds(16, 2)
    what = take(asked)
    one = Network(checkpoint=str(network))
    assert one.terms(asked.terms()).size == (16, 16)
    assert one.ways()["memory"] == "Full()"
    assert "num_steps=2" in one.ways()["rollout"]
    window = {"_target_": "cf.memory.sliding.Sliding", "sink_frames": 3, "window_frames": 6}
    shown = Network(checkpoint=str(network), memory=window, sampling={"num_steps": 7}).ways()
    assert shown["memory"] == "Sliding(sink_frames=3, window_frames=6)"
    assert "num_steps=7" in shown["rollout"]
    assert "schedule=FlowSchedule(shift=5.0)" in shown["rollout"]
    pieces = list(islice(one.play(what, "cpu"), 7))
    assert [len(piece) for piece in pieces] == [8, 3, 3, 3, 3, 3, 3]
    generator = load(one._loading("cpu"))
    drawn = asked.film(what.item, 8 + 18).part(0, 8 + 18)
    with torch.inference_mode():
        whole = generator.follow(drawn, 8, what.item.seed, [1])
    assert torch.equal(torch.cat(pieces), whole[0])


@pytest.mark.slow
def test_networks_take_part_under_every_memory_and_with_restricted_commit_reads(
    network: Path, tmp_path: Path
) -> None:
    window = "{_target_:cf.memory.sliding.Sliding,sink_frames:0,window_frames:6}"
    full = "{_target_:cf.memory.full.Full}"
    more = ("contestants=none", f"+memories={{window:{window},full:{full}}}", "commit_reads=true")
    chosen = settings(*TINY, *more, f"networks={{mine: '{network}'}}")
    contest = run_benchmark(chosen, tmp_path)
    assert list(contest.made) == [
        "mine, window",
        "mine, window + commit reads",
        "mine, full",
        "mine, full + commit reads",
    ]
    assert (tmp_path / "videos" / "mine,_full_+_commit_reads").is_dir()
    table = per_video(contest.made)
    assert (table["status"] == "done").all()
    assert table.groupby("contestant")["frames_sha256"].nunique().eq(4).all()
    assert table["weights_sha256"].nunique() == 1
    attended = {one.name: one.terms.attended for one in contest.entered if one.terms}
    assert attended["mine, window"] == 6
    assert attended["mine, full"] is None


@pytest.mark.slow
def test_a_method_trained_twice_is_one_contestant_with_two_trainings(
    network: Path, tmp_path: Path
) -> None:
    chosen = settings(
        *TINY,
        "contestants=controls",
        *(f"~contestants.{one}" for one in SPOILT),
        f"networks={{twice: ['{network}', '{network}'], once: ['{network}']}}",
    )
    contest = run_benchmark(chosen, tmp_path)
    assert list(contest.made) == ["truth", "copy_last_frame", "twice", "once"]
    table = per_video(contest.made)
    frames = table[table["seconds"] == 3].groupby(["contestant", "video"])["frames_sha256"].first()
    assert frames["twice"]["world0000-0"] == frames["twice"]["world0000-0+1"]
    assert frames["twice"]["world0001-0"] == frames["once"]["world0001-0"]
    assert [one.label for one in contest.entered][2:4] == ["twice, training 0", "twice, training 1"]
    assert trainings(contest.made["once"].units()) == []  # it stands beside each of the others
    (flicker,) = contest.headlines[3.0].metrics
    twice, once = (contest.headlines[3.0].cells[name] for name in ("twice", "once"))
    assert (twice[flicker].mean.units, once[flicker].mean.units) == (2, 2)
    assert contest.unit("twice") == "training"
    assert contest.unit("once") == "prompt"
    assert twice[flicker].mean.value == pytest.approx(once[flicker].mean.value, abs=1e-12)
    means = per_training(contest)
    assert means.groupby("contestant")["training"].nunique()["twice"] == 2
    write_tables(contest, tmp_path)
    assert "Methods were trained up to 2 times" in (tmp_path / "results.md").read_text()


@pytest.mark.whole
def test_everyone_who_is_released_is_named_and_says_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").write_text("a red fox\n")
    file = f"asked.file={tmp_path / 'prompts.txt'}"
    with initialize_config_dir(CONFIG_DIR, version_base="1.3"):
        chosen = to_settings(compose("benchmark", ["suite=vbench", file]))
    entered = entries(chosen, Prompts(str(tmp_path / "prompts.txt")))
    absent = [one.name for one in entered if isinstance(one.contestant, Absent)]
    assert absent == ["longlive2", "tethercache", "lingbot_world"]
    entered = [one for one in entered if one.name not in absent]
    assert tuple(one.name for one in entered) == RELEASED
    for one in entered:
        contestant = one.contestant
        assert isinstance(contestant, Network)
        assert "not found" in one.missing
        assert contestant.source
        terms = contestant.terms(None)
        framewise = "framewise" in one.name or "_pp" in one.name
        block = 4 if framewise else 12
        assert (terms.fps, terms.size, terms.block_frames) == (16.0, (480, 832), block)
        assert contestant.rollout is not None
        rollout = build({**contestant.rollout, "memory": contestant.memory_settings()}, one.name)
        steps = {"rolling_forcing": 5, "causal_forcing_long": 5, "causvid": 3}
        steps |= {"causal_forcing_pp": 2, "causal_forcing_pp_1step": 1}
        assert len(rollout.times) == steps.get(one.name, 4)
        assert len(rollout.times_at(0)) == 4 if "_pp" in one.name else len(rollout.times)
        build(replace(contestant, commit_reads={}).memory_settings(), one.name)
    attended = {one.name: one.contestant.terms(None).attended for one in entered}
    assert attended["self_forcing_full"] is None
    assert attended["longlive"] == 12
    assert attended["infinity_rope"] == 6
    assert attended["context_forcing"] == 21


@pytest.mark.whole
def test_nothing_is_run_if_nobody_is_at_hand(tmp_path: Path, refused: Command) -> None:
    (tmp_path / "prompts.txt").write_text("a red fox\n")
    told = refused("cf.benchmark", "suite=moviegen", f"asked.file={tmp_path / 'prompts.txt'}")
    assert "nobody who is named is at hand" in told
    assert "self_forcing_dmd.pt" in told


def test_videos_made_elsewhere_take_part(tmp_path: Path) -> None:
    folder = tmp_path / "theirs"
    asked = worlds()
    for item, seconds in zip(asked.items(), (3, 2), strict=True):
        drawn = asked.film(item, seconds * 8).part(0, seconds * 8)
        with VideoWriter(folder / f"{item.key}.mp4", 8.0, (32, 32)) as writer:
            writer.write(drawn.video[0])
    (folder / "broken-0.mp4").write_bytes(b"not a video")
    theirs = (
        f"+contestants.theirs={{_target_:cf.bench.contestants.imported.Imported,folder:'{folder}'}}"
    )
    chosen = settings("contestants=none", theirs)
    contest = run_benchmark(chosen, tmp_path / "out")
    table = per_video(contest.made).set_index(["video", "seconds"])
    assert table.loc[("world0000-0", 3.0), "status"] == "done"
    assert table.loc[("world0001-0", 2.0), "value"] > 0
    assert table.loc[("world0001-0", 3.0), "status"] == "short"
    assert table.loc[("world0001-0", 3.0), "reason"] == "it ends after 2.00 s"
    assert table["prefix_valid"].isna().all()


def test_our_videos_get_the_names_that_vbench_looks_for(tmp_path: Path) -> None:
    video = tmp_path / "video.mp4"
    video.write_bytes(b"x")
    long = "a very long prompt " * 20
    items = [Sample("a-3", "a", 3, ((0.0, "a red fox"),)), Sample("b-0", "b", 0, ((0.0, long),))]
    assert export_vbench(dict.fromkeys(items, video), tmp_path / "out") == 2
    assert (tmp_path / "out" / "a red fox-3.mp4").resolve() == video.resolve()
    imported = Imported(folder=str(tmp_path / "out"))
    assert items[0].key in imported._match(tuple(items)).files


def test_a_spoilt_video_is_spoilt_as_it_says() -> None:
    what = take(worlds(), frames=48)
    truth = torch.cat(list(Truth().play(what, "cpu")))
    assert what.film is not None

    def spoilt(how: str, **more: float) -> torch.Tensor:
        pieces, made = Spoilt(how=how, **more).play(what, "cpu"), []  # type: ignore[arg-type]
        while sum(map(len, made)) < 48:
            made.append(next(pieces))
        return torch.cat(made)[:48]

    for how in ("freeze", "loop", "reset", "blur", "noise"):
        assert torch.equal(spoilt(how)[:8], truth[:8]), how
    assert torch.equal(spoilt("freeze", seconds=1)[16:], truth[15:16].expand(32, -1, -1, -1))
    assert torch.equal(spoilt("loop", seconds=2)[24:40], truth[8:24])
    assert torch.equal(spoilt("reset", seconds=3)[24:32], truth[:8])
    assert torch.equal(spoilt("reset", seconds=3)[32:48], truth[32:48])
    noise = spoilt("noise", strength=0.1)
    assert torch.equal(noise, spoilt("noise", strength=0.1))
    assert 0.03 < float((noise[8:] - truth[8:48]).std()) < 0.1
    assert float(spoilt("blur", strength=0.1)[8:].std()) < float(truth[8:48].std())


def test_unequal_terms_are_refused_or_shown(tmp_path: Path) -> None:
    other = "contestants.untrained.size=[32,40]"
    with pytest.raises(ValueError, match="32 x 40: untrained"):
        run_benchmark(settings(other), tmp_path)
    with pytest.raises(ValueError, match="since a world is painted as it is asked for"):
        run_benchmark(settings(other, "unequal=show"), tmp_path)  # each video failed alone


def _scripts(path: Path) -> dict[str, Any]:
    return {one.name: one.script for one in prompts_of(path)}


def test_prompts_are_read_from_every_kind_of_list(tmp_path: Path) -> None:
    texts = ["a red fox", "it snows, softly"]
    (tmp_path / "a.txt").write_text("a red fox\n\nit snows, softly\na red fox\n")
    entries = [{"prompt_en": text, "dimension": ["x"]} for text in texts]
    (tmp_path / "a.json").write_text(json.dumps(entries))
    (tmp_path / "a.csv").write_text('prompt\na red fox\n"it snows, softly"\n')
    lines = [json.dumps({"text": text}) for text in texts]
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    lists = [_scripts(tmp_path / f"a.{kind}") for kind in ("txt", "json", "csv", "jsonl")]
    assert all(one == lists[0] for one in lists)
    assert [script[0][1] for script in lists[0].values()] == texts
    switching = tmp_path / "b.jsonl"
    switching.write_text('{"prompt_id": "day", "segments": [[0, "dawn"], [10, "dusk"]]}')
    assert _scripts(switching) == {"day": ((0.0, "dawn"), (10.0, "dusk"))}
    drawn = Prompts(str(tmp_path / "a.txt"), count=1, seeds=[0, 1]).items()
    assert [item.seed for item in drawn] == [0, 1]
    assert drawn[0].prompt == drawn[1].prompt
    with pytest.raises(ValueError, match="count=3"):
        Prompts(str(tmp_path / "a.txt"), count=3).items()
    with pytest.raises(ValueError, match="no prompt list"):
        _scripts(tmp_path / "missing.txt")


@pytest.mark.parametrize("name", ["", ".", "..", ".partial-x", "../out", "-rf", "~", "a" * 300])
def test_a_contestant_that_names_no_folder_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="cannot be that of a folder"):
        _ = Entry(name, {}, CopyLast(), None, "").files


@pytest.mark.parametrize("name", ["longlive2", "tethercache", "lingbot_world"])
def test_who_cannot_run_here_is_listed_with_what_it_lacks(name: str) -> None:
    file = Path(CONFIG_DIR) / "contestant" / f"{name}.yaml"
    made = instantiate(OmegaConf.load(file), _recursive_=False)
    assert len(made.missing()) > 80
    assert "contestant=imported" in made.missing()
    assert made.source
    with pytest.raises(ValueError, match=made.missing()[:9]):
        made.terms(None)


FOLLOWS = {"control_dim": 5, "control_cells": [2, 3]}


@pytest.mark.parametrize(
    ("model", "told", "wrong"),
    [
        (FOLLOWS, 31, "takes 30 numbers of the camera in each frame and the world tells 31"),
        ({"control_dim": 3}, 5, "takes 3 numbers .* give its model control_dim=5"),
        (FOLLOWS, None, "follows a camera, and the videos of this task have none"),
        ({"control_dim": None}, 30, "follows no camera.*model.control_dim=30"),
        (FOLLOWS, 30, None),
        ({"control_dim": None}, None, None),
        ({}, None, None),
        (None, 30, None),  # published weights: not known before they are read
    ],
)
def test_a_network_and_a_task_agree_on_the_camera_before_the_first_video(
    model: dict[str, Any] | None, told: int | None, wrong: str | None
) -> None:
    with nullcontext() if wrong is None else pytest.raises(ValueError, match=wrong):
        check_camera(model, told)


def test_a_network_without_texts_is_refused_on_prompts_before_the_first_video(
    network: Path,
) -> None:
    """Once each of them failed alone, and the page was empty."""
    made = Network(source="mine", checkpoint=str(network))
    asked = [Sample("a-fox-0", "a fox", 0, ((0.0, "a fox"),))]
    with pytest.raises(ValueError, match=r"contestants\.mine takes no text, and 'a fox' is asked"):
        made.check(asked, "mine")
    made.check([replace(asked[0], script=((0.0, ""),)), replace(asked[0], world=3)], "mine")


def test_a_network_of_another_world_is_told_its_own(network: Path, tmp_path: Path) -> None:
    """And no video is begun: once each of them failed alone, after the controls' were made."""
    wider = settings(
        *TINY,
        f"networks={{mine: {network}}}",
        "asked.data.world.num_places=4",
        "contestants.untrained=null",
    )
    with pytest.raises(ValueError, match=r"mine: it takes 3 .* tells 4: .*python -m cf\.recall"):
        run_benchmark(wider, tmp_path)
    assert not (tmp_path / "videos").exists()
