"""Recall of a prompt that comes back: its law, its gates, what it answers for, and its suite."""

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd
import pytest
import torch
from commands import give
from distortions import distorted
from metrics_sets import Shrunken
from responsibility_matrix import scenes
from test_benchmark_prompts import DRAWN, umt5  # noqa: F401  (a fixture)
from torch import Tensor

from cf.bench.store import Job
from cf.bench.tasks.base import VideoSpec
from cf.bench.tasks.prompt_returns import PromptReturns
from cf.metrics.extractors.handcrafted import Handcrafted
from cf.metrics.extractors.mean_colour import MeanColour
from cf.metrics.recall.prompt_return import PromptReturnRecall

FPS, A, B = 4.0, 7, 8
TEXTS = {A: "a red wall", B: "a blue wall"}
BLUE = (0.0, 0.1, 1.0)
SEEDS = ((1.0, 0.6, 0.0), (1.0, 0.0, 0.6), (1.0, 0.5, 0.5))
"""What each seed makes of a red wall."""


def wall(colour: Sequence[float], seconds: float) -> Tensor:
    frames = round(seconds * FPS)
    return torch.tensor(colour)[None, :, None, None].expand(frames, 3, 4, 4).clone()


def fed(
    metric: PromptReturnRecall,
    video: int,
    parts: Sequence[tuple[int, Tensor]],
    seed: int,
    prompt_of: int = 0,
    cuts: int = 1000,
) -> None:
    """Parts under their prompts, in pieces of so many frames."""
    start = 0
    for prompt, frames in parts:
        for piece in frames.split(cuts):
            metric.update(
                piece, video, start, fps=FPS, prompt_id=prompt + 10 * prompt_of, seed=seed
            )
            start += len(piece)


def plain(**settings: object) -> PromptReturnRecall:
    return PromptReturnRecall(MeanColour(), TEXTS, **settings)  # type: ignore[arg-type]


def returning(
    back: Callable[[int], Sequence[float]], seeds: int = 2, lag: float = 4.0, **settings: object
) -> PromptReturnRecall:
    """Every seed shows its own red, then blue, and after the return what `back` says."""
    metric = plain(**settings)
    for seed in range(seeds):
        parts = [(A, wall(SEEDS[seed], 5)), (B, wall(BLUE, lag)), (A, wall(back(seed), 6))]
        fed(metric, seed, parts, seed)
    return metric


def test_who_returns_exactly_has_one_and_who_shows_another_seeds_has_none() -> None:
    assert float(returning(lambda seed: SEEDS[seed]).compute()) == pytest.approx(1, abs=1e-9)
    assert float(returning(lambda seed: SEEDS[1 - seed]).compute()) == pytest.approx(0, abs=1e-9)
    turned = returning(lambda seed: SEEDS[(seed + 1) % 3], seeds=3)
    back = returning(lambda seed: SEEDS[(seed + 2) % 3], seeds=3)
    pairs = zip(turned.result().per_video.values(), back.result().per_video.values(), strict=True)
    assert all(a + b == pytest.approx(0, abs=1e-9) for a, b in pairs)  # of all others, on average
    half = returning(lambda seed: [sum(x) / 2 for x in zip(*SEEDS[:2], strict=True)])
    assert 0.3 < float(half.compute()) < 0.8


def test_moving_frames_that_come_again_have_one() -> None:
    random = torch.Generator().manual_seed(0)
    metric = PromptReturnRecall(Shrunken(), None, gated=False, skip=0, span=5)
    for seed in range(3):
        shown = torch.rand(20, 3, 8, 8, generator=random)
        between = torch.rand(16, 3, 8, 8, generator=random)
        fed(metric, seed, [(A, shown), (B, between), (A, shown)], seed)
    assert float(metric.compute()) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("cuts", [1, 3])
def test_pieces_order_and_processes_leave_no_trace(cuts: int) -> None:
    whole, other, pieces = (returning(lambda _: SEEDS[2]), plain(), plain())
    for seed in (1, 0):
        parts = [(A, wall(SEEDS[seed], 5)), (B, wall(BLUE, 4)), (A, wall(SEEDS[2], 6))]
        fed(pieces if seed else other, seed, parts, seed, cuts=cuts)
    pieces.merge_state(other)
    one, again = whole.result(), pieces.result()
    assert one.value == pytest.approx(again.value, abs=1e-9)
    assert one.per_video.keys() == again.per_video.keys()
    assert one.extras.keys() == again.extras.keys()


def test_the_text_gates() -> None:
    ignoring = plain()
    absent = returning(lambda _: BLUE)
    for seed in range(2):
        fed(ignoring, seed, [(p, wall(SEEDS[seed], 5)) for p in (A, B, A)], seed)
    told = ignoring.result()
    assert math.isnan(told.value)
    assert "never left its first text" in told.reasons[0]
    assert told.extras["left"] == 0
    assert absent.result().value == 0
    assert absent.result().extras["returned"] == 0
    wrong = plain()
    for seed in range(2):
        fed(wrong, seed, [(p, wall(BLUE, 5)) for p in (A, B, A)], seed)
    assert "not like its own text" in wrong.result().reasons[0]


@pytest.mark.parametrize(
    ("parts", "seeds", "told"),
    [
        (((A, 5), (B, 4), (A, 6)), (0,), "give two seeds or more"),
        (((A, 5), (B, 4)), (0, 1), "never comes back"),
        (((A, 9),), (0, 1), "never comes back"),
        (((A, 5), (B, 4), (A, 1)), (0, 1), "fills no window of 1 s behind the first 1 s"),
    ],
)
def test_what_cannot_be_read_is_told(
    parts: Sequence[tuple[int, float]], seeds: Sequence[int], told: str
) -> None:
    metric = plain()
    for seed in seeds:
        colour = {A: SEEDS[seed], B: BLUE}
        fed(metric, seed, [(prompt, wall(colour[prompt], s)) for prompt, s in parts], seed)
    result = metric.result()
    assert math.isnan(result.value)
    assert all(told in result.reasons[seed] for seed in seeds)


def test_seeds_that_make_the_same_have_no_value() -> None:
    metric = plain()
    for seed in range(2):
        fed(
            metric, seed, [(A, wall(SEEDS[0], 5)), (B, wall(BLUE, 4)), (A, wall(SEEDS[0], 6))], seed
        )
    assert "other seeds make the same of its text" in metric.result().reasons[0]


def test_the_horizon_is_where_half_is_left() -> None:
    metric = PromptReturnRecall(
        MeanColour(), {10 * p + k: t for k, t in TEXTS.items() for p in range(4)}, resamples=50
    )
    shares = {1: 1.0, 2: 0.9, 4: 0.8, 8: 0.2, 16: 0.0}
    video = 0
    for prompt in range(4):
        for lag, share in shares.items():
            for seed in range(2):
                own, other = SEEDS[seed], SEEDS[1 - seed]
                back = [share * a + (1 - share) * b for a, b in zip(own, other, strict=True)]
                parts = [(A, wall(own, 5)), (B, wall(BLUE, lag)), (A, wall(back, 6))]
                fed(metric, video, parts, seed, prompt)
                video += 1
    result = metric.result()
    assert 4 < result.extras["horizon"] < 8
    assert result.extras["low"] <= result.extras["horizon"] <= result.extras["high"]
    assert result.extras["censored"] == 0
    recall = [result.extras[f"lag_{lag}"] for lag in shares]
    assert recall[0] == pytest.approx(1)
    assert recall == sorted(recall, reverse=True)
    assert result.curves["lags"].tolist() == [*shares]
    forgetful = plain(resamples=20)
    for i, lag in enumerate((1, 1, 2, 2)):
        parts = [(A, wall(SEEDS[i % 2], 5)), (B, wall(BLUE, lag)), (A, wall(SEEDS[1 - i % 2], 6))]
        fed(forgetful, i, parts, i % 2)
    assert math.isnan(forgetful.result().extras["horizon"])
    assert "no horizon" in forgetful.result().reasons[None]


@pytest.mark.parametrize("distortion", ["blur", "over_exposure", "cross_fade", "flicker"])
@pytest.mark.whole
def test_what_is_spoilt_after_the_return_costs_at_every_step(distortion: str) -> None:
    """Its row of the responsibility matrix; a flicker costs little."""
    shown = scenes(2, seconds=4)
    values = []
    for strength in (0.0, 0.5, 1.0):
        metric = PromptReturnRecall(Handcrafted(), None, gated=False, skip=0)
        for seed, scene in enumerate(shown):
            worst = distorted(distortion, scene, strength, seed=seed)[-8:]
            back = worst.repeat(4, 1, 1, 1) if strength else scene.video
            for start, part, prompt in ((0, scene.video, A), (32, scene.other, B), (64, back, A)):
                metric.update(part, seed, start, fps=8, prompt_id=prompt, seed=seed)
        values.append(float(metric.compute()))
    assert values[0] == pytest.approx(1, abs=1e-6)
    if distortion == "flicker":
        assert all(abs(value - 1) < 0.15 for value in values), values
    else:
        assert values[0] > values[1] > values[2]


# The suite


def test_every_prompt_is_interrupted_by_the_next(tmp_path: Path) -> None:
    listed = tmp_path / "list.txt"
    listed.write_text("a fox\na hen\na sea\n")
    task = PromptReturns(str(listed), lags=(1, 64))
    items = task.items()
    assert len({item.video_id for item in items}) == len(items) == 12
    assert items[1].script == ((0.0, "a fox"), (8.0, "a hen"), (72.0, "a fox"))
    assert items[1].seconds == 78
    assert items[-1].script[1][1] == "a fox"
    assert len({item.prompt_id for item in items}) == 3  # all lags and seeds begin alike
    acts = items[0].acts()
    assert acts[0].prompt_id == acts[2].prompt_id == items[0].prompt_id != acts[1].prompt_id


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"seeds": (0,)}, "give two or more"),
        ({"lags": ()}, "seconds above 0"),
        ({"lags": (1, 1)}, "each once"),
        ({"before": 0.0}, "seconds above 0"),
    ],
)
def test_tasks_that_make_no_sense(settings: dict[str, object], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        PromptReturns("a.txt", **settings)  # type: ignore[arg-type]


def test_one_text_cannot_be_interrupted(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a fox\n")
    with pytest.raises(ValueError, match="needs another one to interrupt it"):
        PromptReturns(str(tmp_path / "a.txt")).items()


def test_videos_without_an_end_of_their_own_are_the_jobs_they_were(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a fox\na hen\n")
    item = PromptReturns(str(tmp_path / "a.txt"), lags=(2,)).items()[0]
    job = Job("x", {}, "", {}, item, VideoSpec(8, (8, 8)), (10.0, 99.0), {})
    assert job.frames() == 128
    assert "seconds" not in json.dumps(job.digest())


@pytest.mark.slow
def test_the_suite_runs_from_end_to_end(tmp_path: Path, umt5: Path) -> None:  # noqa: F811
    listed = tmp_path / "prompts.txt"
    listed.write_text("a red cat\ncat runs\n")
    extractor = "metrics.prompt_return.extractor"
    give(
        "cf.benchmark",
        "suite=prompt_return",
        *DRAWN[:-2],
        f"contestants.drawn.text.folder='{umt5}'",
        f"asked.file='{listed}'",
        "asked.before=2",
        "asked.after=2",
        "asked.lags=[1,2]",
        "durations=[3,6]",
        f"~{extractor}",
        f"+{extractor}._target_=metrics_sets.Shrunken",
        "metrics.prompt_return.gated=false",
        "headline=[prompt_return]",
        "tensorboard=false",
        f"hydra.run.dir='{tmp_path / 'out'}'",
    )
    rows = pd.read_csv(tmp_path / "out" / "per_video.csv")
    assert (rows["status"] == "done").all()
    mine = rows[rows["metric"].str.startswith("PromptReturnRecall")].set_index(["video", "seconds"])
    assert len(mine) == 16
    assert mine["value"].xs(6, level="seconds").notna().all()
    assert mine["value"].xs(3, level="seconds").isna().all()
