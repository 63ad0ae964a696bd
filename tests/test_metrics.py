"""Laws of all metrics: one answer, however the frames come; bad input told or marked."""

import copy
import math
import os
import pickle
import random
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.multiprocessing
from metrics import METRICS, Piece, cut, moving

from cf.metrics.base import VideoMetric, together
from cf.metrics.fidelity.fvd import FVD
from cf.metrics.measurement import Seen
from cf.metrics.motion.flickering import FrameDifference, TemporalFlickeringVBench
from cf.metrics.result import Result
from cf.metrics.scored import Fault
from cf.metrics.set_metric import SetMetric
from cf.metrics.stream import Stream

LONG = {name for name in METRICS if name.endswith("lpips")}
"""Those whose network takes most of the time; what is around it is the same as for PSNR."""
every_metric = pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.exhaustive) if n in LONG else n for n in METRICS]
)


@pytest.fixture(scope="module")
def videos() -> list[Piece]:
    return moving()


def enough(name: str, videos: list[Piece]) -> list[Piece]:
    """A set needs all of them; what is read off each video alone is the same law on a few."""
    return videos if isinstance(METRICS[name](), SetMetric | FVD) else videos[:4]


@pytest.fixture
def whole(name: str, videos: list[Piece]) -> list[Piece]:
    return enough(name, videos)


@pytest.fixture(scope="module")
def answers() -> dict[str, Result]:
    return {}


@pytest.fixture
def expected(name: str, whole: list[Piece], answers: dict[str, Result]) -> Result:
    """The answer when every video comes in one piece."""
    if name not in answers:
        metric = METRICS[name]()
        for video in whole:
            video.give(metric)
        answers[name] = metric.result()
        assert float(metric.compute()) == answers[name].value
        assert answers[name].value == answers[name].value, "a law about NaN shows nothing"
    return answers[name]


def same(one: Result, other: Result) -> None:
    """Equal to 1e-9 in every part."""
    near(one.value, other.value)
    assert one.reasons == other.reasons
    assert one.provenance == other.provenance
    for part in ("per_video", "per_window", "windows", "curves", "extras"):
        mine, theirs = getattr(one, part), getattr(other, part)
        assert mine.keys() == theirs.keys()
        for key in mine:
            near(mine[key], theirs[key])


def near(one: Any, other: Any) -> None:
    pair = (torch.as_tensor(x, dtype=torch.double) for x in (one, other))
    torch.testing.assert_close(*pair, rtol=1e-9, atol=1e-9, equal_nan=True)


def pieces(whole: list[Piece], seed: int, most: int = 9) -> list[Piece]:
    """All videos in pieces of 1 to `most` frames, shuffled."""
    draw = random.Random(seed)
    made = []
    for video in whole:
        at: list[int] = []
        while (following := (at[-1] if at else 0) + draw.randint(1, most)) < len(video.frames):
            at.append(following)
        made += cut(video, *at)
    draw.shuffle(made)
    return made


@every_metric
def test_chunks_in_any_order_give_one_answer(
    name: str, whole: list[Piece], expected: Result
) -> None:
    metric = METRICS[name]()
    for piece in pieces(whole, 1, 16):
        piece.give(metric)
    same(metric.result(), expected)


@every_metric
def test_a_curve_shows_the_value_or_says_what_it_shows(
    name: str, whole: list[Piece], expected: Result
) -> None:
    """Else a picture of it, under the metric's name and arrow, is read as the value."""
    for video, curve in expected.per_window.items():
        value, known = expected.per_video.get(video, math.nan), curve[~curve.isnan()]
        if len(known) and not math.isnan(value) and not expected.curve_shows:
            assert known.min() - 1e-6 <= value <= known.max() + 1e-6
    title, higher = expected.curve_title
    assert (title == expected.name) == (not expected.curve_shows)
    assert higher is None or not expected.curve_shows


@every_metric
def test_single_frames_in_order_give_the_same_and_leave_few_states(
    name: str, whole: list[Piece], expected: Result
) -> None:
    """Forty updates leave no more lists behind than a few."""
    metric = METRICS[name]()
    for piece in cut(whole[0], *range(1, 40)):
        piece.give(metric)
    assert all(len(getattr(metric, state)) <= 33 for state in metric._states.values())
    for video in whole[1:]:
        video.give(metric)
    same(metric.result(), expected)


@every_metric
def test_forward_gives_the_same(name: str, whole: list[Piece], expected: Result) -> None:
    metric = METRICS[name]()
    for piece in pieces(whole, 2, 30):
        piece.give(metric.forward)
    same(metric.result(), expected)


@every_metric
def test_merging_and_pickling_in_mid_stream_give_the_same(
    name: str, whole: list[Piece], expected: Result
) -> None:
    one, other = METRICS[name](), METRICS[name]()
    for i, piece in enumerate(pieces(whole, 3, 30)):
        piece.give((one, other)[i % 2])
        if i == 7:
            one, other = pickle.loads(pickle.dumps(one)), copy.deepcopy(other)
    one.compute()
    one.merge_state(other)
    same(one.result(), expected)
    near(one.compute(), expected.value)


@every_metric
def test_reset_forgets_everything(name: str, whole: list[Piece], expected: Result) -> None:
    metric = METRICS[name]()
    whole[3].give(metric)
    metric.reset()
    for video in whole:
        video.give(metric)
    same(metric.result(), expected)


@every_metric
def test_bytes_and_floats_give_the_same(name: str, whole: list[Piece]) -> None:
    results = []
    for as_bytes in (True, False):
        metric = METRICS[name]()
        for video in whole:
            levels = (video.frames * 255).round().byte()
            more = dict(video.more)
            if "reference" in more:
                more["reference"] = (more["reference"] * 255).round().byte()
            frames = levels if as_bytes else levels.float() / 255
            Piece(frames, video.video_id, 0, more).give(metric)
        results.append(metric.result())
    same(*results)


@every_metric
def test_a_broken_video_is_marked_and_the_others_are_kept(name: str, whole: list[Piece]) -> None:
    metric, alone = METRICS[name](), METRICS[name]()
    for video in whole:
        video.give(metric)
        video.give(alone)
    broken = whole[0].frames.clone()
    broken[5, 0, 0, 0] = float("nan")
    Piece(broken, 100, 0, {**whole[0].more, "prompt_id": 100}).give(metric)
    metric.fail(101)
    for piece in list(cut(whole[1], 3, 6))[::2]:
        Piece(piece.frames, 102, piece.start_frame, {**piece.more, "prompt_id": 102}).give(metric)
    result, kept = metric.result(), alone.result()
    near(result.value, kept.value)
    for video, reason in ((100, "NaN"), (101, "decoded"), (102, "frames 3 to 5 are missing")):
        assert result.per_video[video] != result.per_video[video]
        assert reason in result.reasons[video]
    for video in kept.per_video:
        near(result.per_video[video], kept.per_video[video])


@every_metric
def test_one_frame_gives_a_number_or_a_reason(name: str, whole: list[Piece]) -> None:
    metric = METRICS[name]()
    first = next(cut(whole[0], 1))
    first.give(metric)
    result = metric.result()
    if result.per_video[0] != result.per_video[0]:
        assert result.reasons[0]
    if result.value != result.value:
        assert result.reasons


@every_metric
def test_without_a_video_it_says_so(name: str) -> None:
    metric = METRICS[name]()
    assert metric.result().value != metric.result().value


@pytest.mark.parametrize("of_sets", [True, False])
def test_metrics_in_one_collection_give_what_they_give_alone(
    of_sets: bool, videos: list[Piece]
) -> None:
    made = {n: make() for n, make in METRICS.items() if n not in LONG}
    metrics = {n: one for n, one in made.items() if (enough(n, videos) is videos) == of_sets}
    collection = together([copy.deepcopy(one) for one in metrics.values()])
    for piece in pieces(enough(next(iter(metrics)), videos), 4, 30):
        collection.update(piece.frames, piece.video_id, piece.start_frame, **piece.more)
        for metric in metrics.values():
            piece.give(metric)
    values = collection.compute()
    for metric in metrics.values():
        near(values[metric.name], metric.compute())


def work(rank: int, world: int, folder: Path, videos: list[Piece]) -> None:
    """One process of several; the last of three is idle."""
    torch.set_num_threads(1)
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT="0")
    store = torch.distributed.FileStore(str(folder / "store"), world)
    torch.distributed.init_process_group("gloo", store=store, rank=rank, world_size=world)
    busy = min(world, 2)
    results = {}
    for name in (one for one in METRICS if one not in LONG):  # alike in every process
        metric = METRICS[name]()
        for i, piece in enumerate(pieces(enough(name, videos), 5, 30)):
            if i % busy == rank:
                piece.give(metric)
        results[name] = metric.result()
        assert float(metric.compute()) == results[name].value
    torch.distributed.destroy_process_group()
    if not rank:
        torch.save(results, folder / "results.pt")


@pytest.mark.slow
@pytest.mark.parametrize("world", [2, pytest.param(3, marks=pytest.mark.exhaustive)])
def test_processes_give_the_same(world: int, videos: list[Piece], tmp_path: Path) -> None:
    torch.multiprocessing.spawn(work, (world, tmp_path, videos), nprocs=world)
    results = torch.load(tmp_path / "results.pt", weights_only=False)
    for name in (one for one in METRICS if one not in LONG):
        metric = METRICS[name]()
        for video in enough(name, videos):
            video.give(metric)
        same(results[name], metric.result())


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "shape": ({"frames": torch.zeros(3, 8, 8)}, r"shape \(t, 3, h, w\)"),
    "empty": ({"frames": torch.zeros(0, 3, 8, 8)}, "must not be empty"),
    "range": ({"frames": torch.full((2, 3, 8, 8), -1.0)}, r"lie in \[0, 1\], got -1 to -1"),
    "dtype": ({"frames": torch.zeros(2, 3, 8, 8, dtype=torch.int32)}, "torch.int32"),
    "fps": ({"fps": 0}, "fps=0 must be a positive"),
    "start": ({"start_frame": -1}, "start_frame=-1"),
    "twice": ({"start_frame": 3}, "frame 3 of video 0 was delivered twice"),
    "rate": ({"start_frame": 4, "fps": 7}, "had fps=8 and now has fps=7"),
    "size": ({"start_frame": 4, "frames": torch.zeros(2, 3, 9, 8)}, "were .8, 8. pixels"),
}


@pytest.mark.parametrize("bad", BAD)
def test_bad_input_gets_one_clear_error_and_nothing_is_taken_in(bad: str) -> None:
    metric = METRICS["temporal_flickering"]()
    metric.update(torch.rand(4, 3, 8, 8), 0, fps=8)
    before = metric.result()
    changed, message = BAD[bad]
    given = {"frames": torch.rand(4, 3, 8, 8), "video_id": 0, "start_frame": 4, "fps": 8, **changed}
    with pytest.raises(ValueError, match=message):
        metric.update(**given)
    same(metric.result(), before)


def test_what_two_processes_both_saw_is_marked() -> None:
    one, other = (METRICS["temporal_flickering"]() for _ in range(2))
    for metric in (one, other):
        metric.update(torch.rand(4, 3, 8, 8), 0, fps=8)
    other.update(torch.rand(4, 3, 8, 8), 1, fps=8)
    one.merge_state(other)
    result = one.result()
    assert result.reasons == {0: "frame 0 was delivered twice"}
    assert result.value == result.per_video[1]


def test_states_keep_their_precision() -> None:
    metric: VideoMetric = METRICS["temporal_flickering"]()
    metric.half()
    metric.to(torch.float16)
    metric.update(torch.rand(4, 3, 8, 8), 0, fps=8)
    assert metric.compute().dtype == torch.float64
    assert getattr(metric, metric._states["sums"])[0].dtype == torch.float64


class _Doubled(FrameDifference):
    def see(self, seen: Seen) -> torch.Tensor:
        return super().see(seen).double()


class _Short(FrameDifference):
    def measure(self, kept: torch.Tensor) -> torch.Tensor:
        return super().measure(kept)[1:]


@pytest.mark.parametrize(
    ("measurement", "told"),
    [
        (_Doubled(), "write kept = torch.float64 in the class"),
        (_Short(), r"returned shape \(1, 1\) for 3 frames; .* it must be \(2, 1\)"),
    ],
)
def test_a_measurement_that_breaks_its_word_is_told_how_to_keep_it(
    measurement: FrameDifference, told: str
) -> None:
    metric = TemporalFlickeringVBench()
    metric._stream = Stream(measurement, metric.window)
    metric.measurement = measurement
    with pytest.raises(ValueError, match=told):
        metric.update(torch.zeros(3, 3, 8, 8), 0, fps=8)
    assert metric.result().per_video == {}, "nothing is taken in"


def test_every_fault_has_a_reason() -> None:
    for fault in Fault:
        metric = METRICS["temporal_flickering"]()
        metric.fail(3, 7, fault)
        assert "7" in metric.result().reasons[3]
