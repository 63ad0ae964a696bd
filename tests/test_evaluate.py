"""`cf.evaluate` as a command: what it writes, keeps, compares, marks and refuses."""

import json
import math
import threading
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pandas as pd
import pytest
import torch
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from commands import Command, give
from torch import Tensor

from cf.evaluate import by_vbench
from cf.evaluation import decoding, measure
from cf.evaluation.comparisons import compare_all
from cf.evaluation.decoding import DecodedFrames, Ended, decode
from cf.evaluation.report import video_rows
from cf.evaluation.videos import Listed, list_videos
from cf.metrics.measurement import Seen
from cf.metrics.motion.flickering import FrameDifference, TemporalFlickeringVBench
from cf.video.probe import is_steady
from cf.video.writer import VideoWriter

NAME = "vbench_temporal_flickering"
FLICKERING = "+metrics.flickering._target_=cf.metrics.TemporalFlickeringVBench"


class Error(FrameDifference):
    """Mean absolute difference from the true frames."""

    span = 1
    needs = ("reference",)
    takes_bytes = False
    kept = torch.float32

    def see(self, seen: Seen) -> Tensor:
        assert seen.reference is not None
        return (seen.frames - seen.reference).abs().flatten(1).mean(1)

    def measure(self, kept: Tensor) -> Tensor:
        return 255 * kept.double()[:, None]

    def provenance(self) -> dict[str, Any]:
        return {"measured": "error"}


class Likeness(TemporalFlickeringVBench):
    """One less the error: a stub that needs a reference."""

    title = "likeness"

    def __init__(self) -> None:
        super().__init__()
        super(TemporalFlickeringVBench, self).__init__(Error())


def absent() -> TemporalFlickeringVBench:
    """A metric whose weights are not here."""
    raise FileNotFoundError("the weights absent-vit are not on this machine")


def drawn(path: Path, seed: int = 0, frames: int = 12, noise: float = 0.0) -> Path:
    """A square on a ground, both of colours of their own, with more or less flicker."""
    random = torch.Generator().manual_seed(seed)
    video = torch.rand(1, 3, 1, 1, generator=random).expand(frames, 3, 32, 48).clone()
    video[:, :, 8:24, 8:24] = torch.rand(3, 1, 1, generator=random)
    video += noise * torch.randn(frames, 1, 1, 1, generator=random)
    with VideoWriter(path, 8, (32, 48)) as writer:
        writer.write(video.clamp(0, 1))
    return path


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two contestants of six prompts, one of which flickers more and lacks a prompt."""
    folder = tmp_path_factory.mktemp("two")
    for i in range(6):
        drawn(folder / "calm" / f"{i}.mp4", i, noise=0.01)
        if i:
            drawn(folder / "wild" / f"{i}.mp4", i, noise=0.1)
    return folder


def evaluate(*settings: str, folder: Path) -> dict[str, Any]:
    if not any(one.startswith("metrics=") for one in settings):
        settings = ("metrics=none", FLICKERING, *settings)
    give("cf.evaluate", *settings, f"hydra.run.dir='{folder}'")
    summary: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    return summary


def test_contestants_are_compared_prompt_by_prompt(two: Path, tmp_path: Path) -> None:
    told = evaluate(f"videos=['{two}/calm','{two}/wild']", folder=tmp_path)
    (duel,) = told["duels"]
    assert (duel["metric"], duel["first"], duel["second"]) == (NAME, "calm", "wild")
    assert duel["comparison"]["difference"]["units"] == 5
    assert duel["comparison"]["dropped"] == ["0"]
    assert duel["comparison"]["difference"]["value"] > 0.03
    assert duel["comparison"]["p"] == duel["corrected_p"] == 2 / 2**5
    assert duel["comparison"]["win_rate"] == 1
    assert "5 pairs: p cannot fall below 0.0625" in duel["comparison"]["note"]
    assert [one["name"] for one in told["places"][NAME]] == ["calm", "wild"]
    assert told["contestants"]["wild"][NAME]["over_prompts"]["units"] == 5
    table = pd.read_csv(tmp_path / "per_video.csv")
    assert len(table) == 11
    assert set(table["frames"]) == {12}
    means = table.groupby("contestant")[NAME].mean()
    assert told["contestants"]["calm"][NAME]["value"] == pytest.approx(means["calm"])
    windows = pd.read_csv(tmp_path / "per_window.csv")
    assert set(windows["seconds"]) == {0, 1}
    paper = (tmp_path / "table.tex").read_text()
    assert paper.startswith("\\begin{tabular}{lrr}\n\\toprule")
    assert paper.count("\\textbf{") >= 1
    text = (tmp_path / "summary.md").read_text()
    assert "| calm - wild |" in text
    assert "p cannot fall below" in text
    assert (tmp_path / "over_time.png").read_bytes().startswith(b"\x89PNG")
    assert "</svg>" in (tmp_path / "over_time.svg").read_text()


@pytest.mark.whole
def test_a_paper_has_no_line_of_what_nobody_has_a_value_of(two: Path, tmp_path: Path) -> None:
    """Chance likeness wants sixteen prompts; and of two that are equal neither is the best."""
    consistency = "+metric@metrics.consistency=temporal_consistency"
    same = f"videos={{a: '{two}/calm', b: '{two}/calm'}}"
    evaluate(same, "metrics=none", FLICKERING, consistency, folder=tmp_path)
    above, table = (tmp_path / "table.tex").read_text().split("\\begin{tabular}")
    assert above.startswith("% TemporalConsistency")
    assert "16 or more" in above
    assert table.count(" & ") == 2 * 2  # the heading and flicker
    assert "none" not in table
    assert "textbf" not in table
    places = (tmp_path / "summary.md").read_text().split("## Places")[1].split("## Missing")[0]
    assert "TemporalConsistency" not in places


def test_a_file_that_cannot_be_used_keeps_its_line_and_all_others(tmp_path: Path) -> None:
    clips = tmp_path / "clips"
    drawn(clips / "good.mp4")
    drawn(clips / "one_frame.mp4", frames=1)
    (clips / "text.mp4").write_text("this is no video")
    (clips / "empty.webm").touch()
    half = drawn(clips / "half.mp4", frames=60, noise=0.2)
    half.write_bytes(half.read_bytes()[:-2000])
    told = evaluate(f"videos='{clips}'", folder=tmp_path / "out")
    table = pd.read_csv(tmp_path / "out" / "per_video.csv").set_index("video")
    assert sorted(table.index) == list(table.index)
    assert table[NAME].notna().tolist() == [False, True, False, False, False]
    assert table["reasons"]["empty.webm"] == "the file is empty (0 bytes)"
    assert "cut off" in table["reasons"]["half.mp4"]
    assert "one frame has no pair" in table["reasons"]["one_frame.mp4"]
    assert "not a video" in table["reasons"]["text.mp4"]
    assert math.isnan(table["reasons"].astype(object)["good.mp4"])
    headline = told["contestants"]["clips"][NAME]
    assert headline["value"] == table[NAME]["good.mp4"]
    assert headline["over_prompts"]["missing"] == 4
    assert set(told["failures"]) == {"clips/empty.webm", "clips/half.mp4", "clips/text.mp4"}
    assert "clips/text.mp4" in (tmp_path / "out" / "summary.md").read_text()


def test_frames_of_uneven_length_are_noted(tmp_path: Path) -> None:
    clips = tmp_path / "clips"
    clips.mkdir()
    with av.open(str(clips / "uneven.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=10, options={"bf": "0"})
        assert isinstance(stream, VideoStream)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        for stamp in (0, 1, 2, 10, 11, 20, 21, 30):
            frame = VideoFrame.from_ndarray(np.full((32, 32, 3), 5 * stamp, np.uint8), "rgb24")
            frame.pts, frame.time_base = stamp, Fraction(1, 10)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    assert not is_steady(clips / "uneven.mp4")
    assert is_steady(drawn(clips / "even.mp4"))
    evaluate(f"videos='{clips}'", folder=tmp_path / "out")
    table = pd.read_csv(tmp_path / "out" / "per_video.csv").set_index("video")
    assert "uneven length" in table["note"]["uneven.mp4"]
    assert table["note"].isna()["even.mp4"]
    assert table["seconds"]["uneven.mp4"] == pytest.approx(3.1, abs=0.3)


def test_a_csv_brings_prompts_seeds_references_and_boundaries(tmp_path: Path) -> None:
    drawn(tmp_path / "clips" / "a.mp4", 1)
    drawn(tmp_path / "clips" / "b.mp4", 1, noise=0.1)
    drawn(tmp_path / "clips" / "c.mp4", 2)
    drawn(tmp_path / "true.mp4", 1, frames=15)
    table = tmp_path / "list.csv"
    table.write_text(
        "path,prompt,seed,reference,boundaries\n"
        "clips/a.mp4,a square,0,true.mp4,4 8\n"
        "clips/b.mp4,a square,1,true.mp4,\n"
        "clips/c.mp4,another,0,,\n"
    )
    found = list_videos(str(table))
    assert [(one.prompt, one.seed, one.boundaries) for one in found] == [
        ("a square", 0, (4, 8)),
        ("a square", 1, ()),
        ("another", 0, ()),
    ]
    assert found[0].prompt_id == found[1].prompt_id != found[2].prompt_id
    told = evaluate(
        f"videos='{table}'", "+metrics.likeness._target_=test_evaluate.Likeness", folder=tmp_path
    )
    lines = pd.read_csv(tmp_path / "per_video.csv").set_index("video")
    likeness = lines["likeness"]
    assert likeness["clips/a.mp4"] > 0.99 > likeness["clips/b.mp4"]
    assert math.isnan(likeness["clips/c.mp4"])
    assert lines["reasons"]["clips/c.mp4"] == "likeness: no reference was given"
    assert lines[NAME].notna().all()
    over = told["contestants"]["list"][NAME]["over_prompts"]
    assert (over["units"], over["missing"]) == (2, 0), "seeds are averaged within their prompt"


@pytest.mark.whole
def test_a_stopped_evaluation_goes_on_where_it_was(
    two: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = ("metrics=none", FLICKERING, f"videos='{two}/calm'", "piece_megabytes=0.02")
    uninterrupted = evaluate(*settings, folder=tmp_path / "whole")
    opened: list[str] = []
    read = decoding._read

    def stops(video: Listed, *rest: Any) -> Iterator[DecodedFrames | Ended]:
        opened.append(video.name)
        if video.name == "3.mp4":
            yield next(read(video, *rest))
            raise KeyboardInterrupt
        yield from read(video, *rest)

    monkeypatch.setattr(decoding, "_read", stops)
    with pytest.raises(SystemExit):
        evaluate(*settings, folder=tmp_path / "stopped")
    assert not (tmp_path / "stopped" / "summary.json").exists()
    assert opened == ["0.mp4", "1.mp4", "2.mp4", "3.mp4"]
    opened.clear()
    monkeypatch.setattr(decoding, "_read", lambda v, *a: (opened.append(v.name), read(v, *a))[1])
    give("cf.evaluate", *settings, f"resume='{tmp_path / 'stopped'}'")
    assert opened == ["3.mp4", "4.mp4", "5.mp4"]
    resumed = json.loads((tmp_path / "stopped" / "summary.json").read_text())
    assert resumed == uninterrupted
    opened.clear()
    more = "+metrics.coarse={_target_: cf.metrics.TemporalFlickeringVBench, window: 2}"
    monkeypatch.setattr(TemporalFlickeringVBench, "title", None)
    with pytest.raises(SystemExit):  # two metrics of one name
        give("cf.evaluate", *settings, more, f"resume='{tmp_path / 'stopped'}'")
    (two / "calm" / "5.mp4").touch()
    give("cf.evaluate", *settings, f"resume='{tmp_path / 'stopped'}'")
    assert opened == ["5.mp4"], "a file that was changed is measured again"


def test_the_size_of_pieces_leaves_no_trace(two: Path, tmp_path: Path) -> None:
    videos, answers = list_videos(str(two / "calm"))[:2], []
    for i, piece_bytes in enumerate((1, 2**25)):
        told = measure.measure(videos, [TemporalFlickeringVBench()], tmp_path / str(i), piece_bytes)
        answers.append([*told.results["calm"][NAME].per_video.values()])
    assert answers[0] == pytest.approx(answers[1], abs=1e-12)


def test_decoding_runs_only_a_few_pieces_ahead_and_stops_when_nobody_listens(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    video = Listed("me", "endless", Path("endless.mp4"), "endless")
    made = []

    def endless(*_: Any) -> Iterator[DecodedFrames]:
        while True:
            made.append(len(made))
            yield DecodedFrames(
                video, len(made) - 1, 8.0, torch.zeros(1, 3, 2, 2, dtype=torch.uint8), None
            )

    monkeypatch.setattr(decoding, "_read", endless)
    pieces = decode([video], 1)
    for expected in range(20):
        piece = next(pieces)
        assert isinstance(piece, DecodedFrames)
        assert piece.start == expected
        assert len(made) <= expected + 5
    pieces.close()  # type: ignore[attr-defined]
    assert not [thread for thread in threading.enumerate() if thread.name == "decoding"]


def test_states_of_finished_videos_keep_no_picture() -> None:
    metric, other = TemporalFlickeringVBench(), TemporalFlickeringVBench()
    for one in (metric, other):
        one.update(torch.rand(5, 3, 64, 64, generator=torch.Generator().manual_seed(1)), 0, fps=4)
        one.update(
            torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(2)), 0, 5, fps=4
        )
    metric.settle()
    assert sum(len(rows) for state in metric.metric_state.values() for rows in state) < 20
    assert metric.result().value == other.result().value
    metric.update(torch.rand(4, 3, 8, 8), 1, fps=4)
    assert not metric.result().reasons


def test_missing_weights_are_recorded_and_an_error_only_if_nothing_is_left(
    two: Path, tmp_path: Path, refused: Command
) -> None:
    target = "+metrics.deep._target_=test_evaluate.absent"
    told = evaluate(f"videos='{two}/calm'", target, folder=tmp_path / "some")
    assert "absent-vit are not on this machine" in told["unavailable"]["deep"]
    assert "unavailable" in (tmp_path / "some" / "summary.md").read_text()
    assert "deep" not in told["contestants"]["calm"]
    assert "absent-vit" in refused("cf.evaluate", f"videos='{two}/calm'", "metrics=none", target)


def test_values_of_different_provenance_never_share_a_column(two: Path, tmp_path: Path) -> None:
    told = measure.measure(
        list_videos([str(two / "calm"), str(two / "wild")]), [TemporalFlickeringVBench()], tmp_path
    )
    assert not compare_all(told).refused
    assert NAME in video_rows(told)
    other = told.results["wild"][NAME]
    other = replace(other, provenance={**other.provenance, "prompts": "another list"})
    mixed = replace(told, results={**told.results, "wild": {NAME: other}})
    judged = compare_all(mixed)
    assert "measured differently" in judged.refused[NAME]
    assert not judged.pairs
    assert NAME not in judged.places
    table = video_rows(mixed)
    assert NAME not in table
    assert sum(column.startswith(f"{NAME}@") for column in table) == 2


@pytest.mark.whole
def test_metrics_of_sets_are_compared_on_the_prompts_of_all(two: Path, tmp_path: Path) -> None:
    told = evaluate(
        f"videos=['{two}/calm','{two}/wild']",
        "metrics=quick",
        "extractor._target_=metrics_sets.Shrunken",
        folder=tmp_path,
    )
    (name,) = told["compared_on_common_prompts"]
    assert "Drift" in name
    assert not told["not_compared"]
    duel = next(duel for duel in told["duels"] if duel["metric"] == name)
    assert duel["comparison"]["difference"]["units"] == 5
    whole = told["contestants"]["calm"][name]["provenance_digest"]
    assert whole != told["contestants"]["wild"][name]["provenance_digest"]
    assert "On the prompts of all contestants only" in (tmp_path / "summary.md").read_text()


def test_names_tell_prompt_and_seed_by_a_pattern(tmp_path: Path) -> None:
    for name in ("a dog, running-0.mp4", "a dog, running-1.mp4", "cats-0.mp4"):
        (tmp_path / name).touch()
    found = list_videos({"mine": str(tmp_path)}, r"(?P<prompt>.*)-(?P<seed>\d+)")
    assert [(one.prompt, one.seed) for one in found] == [
        ("a dog, running", 0),
        ("a dog, running", 1),
        ("cats", 0),
    ]


def test_contestants_get_names_that_tell_them_apart(tmp_path: Path) -> None:
    for place in ("a/clips", "b/clips"):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "x.mp4").touch()
    found = list_videos([str(tmp_path / "a/clips"), str(tmp_path / "b/clips")])
    assert [one.contestant for one in found] == ["a/clips", "b/clips"]
    assert found[0].prompt_id == found[1].prompt_id
    assert found[0].video_id != found[1].video_id


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ([], "videos must be given"),
        (["videos=nowhere"], "nowhere is neither a folder"),
        (["videos=nothing"], "holds no video"),
        (["videos=[missing.mp4]"], "none of 1 videos can be decoded"),
        (["videos=clip.mp4", "metrics=none"], "at least one metric"),
        (["videos=.", "pattern='('"], "no regular expression"),
        (["videos=.", "pattern='.*'"], "needs a group"),
        (["videos=clip.mp4", "+metrics.temporal_flickering.window=0"], "must be a positive"),
        (["videos=clip.mp4", "+metrics.temporal_flickering.widow=1"], "widow"),
        (["videos=.", "resume=somewhere"], "not the folder of an evaluation"),
        (["videos=list.csv"], "no column 'path'"),
    ],
)
def test_evaluate_refuses_in_one_message(
    settings: list[str], named: str, refused: Command, tmp_path: Path
) -> None:
    (tmp_path / "list.csv").write_text("file\na.mp4\n")
    (tmp_path / "clip.mp4").touch()
    (tmp_path / "nothing").mkdir()
    assert named in refused("cf.evaluate", *settings)


def test_what_comes_next_is_not_what_was_asked() -> None:
    """Nor has it what another set of metrics lacks."""
    typed = [
        "videos=a b",
        "+metric@metrics.psnr=psnr",
        "~metrics.loop_rate",
        "metrics.psnr.window=2",
    ]
    assert by_vbench(typed) == "python -m cf.evaluate 'videos=a b' metrics=vbench"
    assert by_vbench([*typed, "metrics=vbench"]) is None
