"""Measures that read single frames: VBench's formulas, and likeness at moments of a video."""

import itertools
import math
from typing import Any

import pytest
import torch
from metrics import Piece, cut, moving
from metrics_sets import TEXTS, Shrunken
from torch import Tensor

from cf.metrics.base import VideoMetric, together
from cf.metrics.consistency.semantic_drift import SemanticDrift
from cf.metrics.consistency.similarity_to_first import SimilarityToFirst
from cf.metrics.consistency.temporal_consistency import TemporalConsistency
from cf.metrics.consistency.vbench_consistency import (
    BackgroundConsistencyVBench,
    ClipToClipRaw,
    SubjectConsistencyVBench,
)
from cf.metrics.result import Result
from cf.metrics.text.segment_text import SegmentTextSimilarity, SwitchResponse
from cf.metrics.text.text_similarity import PromptDrift, TextSimilarity

FPS = 8


def noise(frames: int, seed: int, drift: float = 0.6) -> Tensor:
    """A video that wanders off: its features turn away from those of its start."""
    random = torch.Generator().manual_seed(seed)
    steps = torch.rand(frames, 3, 16, 16, generator=random) - 0.5
    return (0.5 + drift * steps.cumsum(0)).clamp(0, 1)


LENGTHS = (5, 23, 2, 40)
VIDEOS = [noise(length, seed) for seed, length in enumerate(LENGTHS)]


def answer(metric: VideoMetric, videos: list[Tensor] = VIDEOS, fps: float = FPS) -> Result:
    for number, frames in enumerate(videos):
        metric.update(frames, number, fps=fps, prompt_id=number)
    return metric.result()


def by_hand(extractor: Shrunken, videos: list[Tensor]) -> tuple[float, float, list[float]]:
    """What VBench's paper and code describe, frame after frame: micro, macro, and by video."""
    everything, means = [], []
    for video in videos:
        scores = []
        rows = [extractor(frame[None])[0] for frame in video]
        for before, now in itertools.pairwise(rows):
            to_last = torch.cosine_similarity(before, now, dim=0).item()
            to_first = torch.cosine_similarity(rows[0], now, dim=0).item()
            scores.append(max(0.0, to_last) / 2 + max(0.0, to_first) / 2)
        everything += scores
        means.append(sum(scores) / len(scores))
    return sum(everything) / len(everything), sum(means) / len(means), means


@pytest.mark.parametrize("make", [SubjectConsistencyVBench, BackgroundConsistencyVBench])
@pytest.mark.parametrize("signed", [True, False])
def test_vbench_consistency_is_that_of_its_formula(make: Any, signed: bool) -> None:
    extractor = Shrunken(width=7, signed=signed)
    result = answer(make(extractor))
    micro, macro, means = by_hand(extractor, VIDEOS)
    assert result.value == pytest.approx(micro, abs=1e-5)
    assert result.extras["macro"] == pytest.approx(macro, abs=1e-5)
    assert [result.per_video[v] for v in range(4)] == pytest.approx(means, abs=1e-5)
    assert abs(micro - macro) > 1e-3, "or the test tells them not apart"
    assert (result.extras["min_cos"] < 0) == signed, "or the clamps are not tried"
    assert result.extras["num_frames"] == sum(LENGTHS) - 4
    assert [len(result.per_window[v]) for v in range(4)] == [length - 1 for length in LENGTHS]
    assert result.windows[1][0] == 1 / FPS


def test_vbench_consistency_is_named_after_its_extractor() -> None:
    names = [make(Shrunken()).name for make in (SubjectConsistencyVBench, ClipToClipRaw)]
    assert names == ["vbench_subject_consistency[shrunken]", "c2c_raw[shrunken]"]
    assert BackgroundConsistencyVBench(Shrunken()).name == "vbench_background_consistency[shrunken]"


def test_a_frozen_video_has_full_vbench_consistency() -> None:
    frozen = VIDEOS[0][:1].expand(20, -1, -1, -1)
    for make in (SubjectConsistencyVBench, BackgroundConsistencyVBench, ClipToClipRaw):
        result = answer(make(Shrunken()), [frozen])
        assert result.value == pytest.approx(1, abs=1e-6)
        assert result.extras["min_cos"] == pytest.approx(1, abs=1e-6)


def test_one_frame_leaves_the_others_scores() -> None:
    result = answer(SubjectConsistencyVBench(Shrunken()), [*VIDEOS, VIDEOS[0][:1]])
    assert math.isnan(result.per_video[4])
    assert "one frame" in result.reasons[4]
    before = answer(SubjectConsistencyVBench(Shrunken()))
    assert (result.value, result.extras["macro"]) == (before.value, before.extras["macro"])


@pytest.mark.parametrize("clip", [2.0, 0.5])
def test_clip_to_clip_is_vbenchs_formula_on_first_frames_of_clips(clip: float) -> None:
    videos = [noise(frames, seed, 0.2) for seed, frames in enumerate((40, 56))]
    firsts = [video[:: round(clip * FPS)] for video in videos]
    extractor = Shrunken()
    result = answer(ClipToClipRaw(extractor, clip=clip), videos)
    micro, macro, _ = by_hand(extractor, firsts)
    assert result.value == pytest.approx(micro, abs=1e-5)
    assert result.extras["macro"] == pytest.approx(macro, abs=1e-5)
    with pytest.raises(ValueError, match="clip=0 must be a positive"):
        ClipToClipRaw(extractor, clip=0)


def test_similarity_to_first_is_the_mean_of_frames_around_a_time() -> None:
    extractor = Shrunken()
    videos = [noise(frames, seed, 0.1) for seed, frames in enumerate((40, 41))]
    result = answer(SimilarityToFirst(extractor, times=(4, 2.5)), videos)
    for time in (2.5, 4):
        low, high = round((time - 0.5) * FPS), round((time + 0.5) * FPS)
        expected, robust = [], []
        for video in videos:
            rows = torch.nn.functional.normalize(extractor(video).double(), dim=-1)
            anchor = torch.nn.functional.normalize(rows[:FPS].mean(0), dim=0)
            expected.append(100 * float((rows[low : high + 1] @ rows[0]).mean()))
            robust.append(100 * float((rows[low : high + 1] @ anchor).mean()))
        assert result.extras[f"at_{time:g}"] == pytest.approx(sum(expected) / 2, abs=1e-4)
        assert result.extras[f"anchor_second_at_{time:g}"] == pytest.approx(
            sum(robust) / 2, abs=1e-4
        )
    assert result.value == result.extras["at_4"], "the last time is the headline"
    assert [result.per_video[v] for v in range(2)] == pytest.approx(expected, abs=1e-4)
    curve = dict(zip(result.windows[0].tolist(), result.per_window[0].tolist(), strict=True))
    assert curve[4.0] == pytest.approx(expected[0], abs=1e-4)
    assert list(curve) == [0.5 * half for half in range(1, 11)]


def test_an_odd_first_frame_moves_the_robust_twin_little() -> None:
    still = VIDEOS[1][:1].expand(40, -1, -1, -1).clone()
    odd = still.clone()
    odd[0] = 1 - still[0]
    calm, moved = (answer(SimilarityToFirst(Shrunken(), times=(3,)), [v]) for v in (still, odd))
    assert moved.value < calm.value - 100
    assert moved.extras["anchor_second_at_3"] > 99


def test_times_that_a_video_does_not_reach_are_told() -> None:
    metric = SimilarityToFirst(Shrunken(), times=(3, 5))
    short, nearly = VIDEOS[3][:32], VIDEOS[3].repeat(2, 1, 1, 1)[:38]  # 4 s and 4.75 s
    result = answer(metric, [short, nearly])
    assert math.isnan(result.per_video[0])
    assert "it lasts 4 s and cannot be read at 5 s" in result.reasons[0]
    assert not math.isnan(result.per_video[1])
    assert result.value == result.per_video[1]
    assert not math.isnan(result.extras["at_3"])
    assert math.isnan(result.extras["at_5"]), "a mean over other videos than at 3 s"
    for bad in ((), (0, 3)):
        with pytest.raises(ValueError, match="must be one or more positive"):
            SimilarityToFirst(Shrunken(), times=bad)


def text_vector(extractor: Shrunken, text: str) -> Tensor:
    return torch.nn.functional.normalize(extractor.encode_text([text])[0].double(), dim=0)


def test_text_similarity_is_the_mean_cosine_with_the_text_of_the_frames() -> None:
    """Where the prompt changes after 2 s, later frames are read next to the new text."""
    extractor = Shrunken()
    video = noise(40, 3, 0.1)
    rows = torch.nn.functional.normalize(extractor(video).double(), dim=-1)
    metric = TextSimilarity(extractor, TEXTS, times=(1, 2, 4))
    metric.update(video[:16], 0, 0, fps=FPS, prompt_id=5)
    metric.update(video[16:], 0, 16, fps=FPS, prompt_id=6)
    five, six = (100 * rows @ text_vector(extractor, TEXTS[prompt]) for prompt in (5, 6))
    result = metric.result()
    assert result.extras["at_1"] == pytest.approx(float(five[4:13].mean()), abs=1e-4)
    assert result.extras["at_4"] == pytest.approx(float(six[28:37].mean()), abs=1e-4)
    across = torch.cat((five[12:16], six[16:21])).mean()
    assert result.extras["at_2"] == pytest.approx(float(across), abs=1e-4)
    assert result.value == result.extras["at_4"]


def test_prompt_drift_is_how_much_less_the_end_is_like_the_text() -> None:
    extractor = Shrunken()
    for frames, span in ((96, 40), (32, 16)):  # 12 s, and 4 s, which are halved
        video = noise(frames, 3, 0.1)
        metric = PromptDrift(extractor, TEXTS, rate=FPS)
        metric.update(video, 0, fps=FPS, prompt_id=5)
        rows = torch.nn.functional.normalize(extractor(video).double(), dim=-1)
        likeness = 100 * rows @ text_vector(extractor, TEXTS[5])
        expected = float(likeness[:span].mean() - likeness[-span:].mean())
        result = metric.result()
        assert result.value == pytest.approx(expected, abs=1e-4)
        assert result.extras["first"] - result.extras["last"] == pytest.approx(expected, abs=1e-4)


def test_each_segment_is_read_next_to_its_text_and_a_switch_next_to_both() -> None:
    extractor = Shrunken()
    switching, staying = noise(40, 3, 0.1), noise(40, 4, 0.1)
    segments = [(5, 0, 16), (6, 16, 21), (5, 21, 40)]
    results = []
    for make in (SegmentTextSimilarity, SwitchResponse):
        metric = make(extractor, TEXTS)
        for prompt, first, stop in segments:
            metric.update(switching[first:stop], 0, first, fps=FPS, prompt_id=prompt)
        metric.update(staying, 1, fps=FPS, prompt_id=7)
        results.append(metric.result())
    rows = torch.nn.functional.normalize(extractor(switching).double(), dim=-1)
    by = {prompt: 100 * rows @ text_vector(extractor, TEXTS[prompt]) for prompt in (5, 6)}
    own = [float(by[prompt][first:stop].mean()) for prompt, first, stop in segments]
    old = [float(by[prompt][first:stop].mean()) for prompt, first, stop in ((6, 21, 40),)]
    similarity, response = results
    assert similarity.per_video[0] == pytest.approx(sum(own) / 3, abs=1e-4)
    assert similarity.per_window[0].tolist() == pytest.approx(own, abs=1e-4)
    assert similarity.windows[0].tolist() == [0, 2, 2.625]
    assert similarity.extras["segment_2"] == pytest.approx(own[1], abs=1e-4)
    assert similarity.extras["segment_1"] == pytest.approx(
        (own[0] + similarity.per_video[1]) / 2, abs=1e-4
    )
    assert response.extras["segment_3"] == pytest.approx(own[2] - old[0], abs=1e-4)
    assert response.value == response.per_video[0]
    assert response.reasons == {1: "its prompt never switches"}
    rare = SegmentTextSimilarity(extractor, TEXTS, rate=1)
    for prompt, first, stop in segments:
        rare.update(switching[first:stop], 0, first, fps=FPS, prompt_id=prompt)
    assert not math.isnan(rare.result().value)
    rare.update(staying[:9], 2, fps=FPS, prompt_id=7)
    rare.update(staying[9:10], 2, 9, fps=FPS, prompt_id=8)
    assert "no frame from 9 to 9" in rare.result().reasons[2]


def test_a_text_is_encoded_once() -> None:
    class Counting(Shrunken):
        asked: list[str] = []  # noqa: RUF012

        def encode_text(self, texts: list[str]) -> Tensor:
            self.asked.extend(texts)
            return super().encode_text(texts)

    extractor = Counting()
    for texts in ({1: "a house"}, {1: "a house", 2: "a horse", 3: "a house"}):
        TextSimilarity(extractor, texts, times=(2,))
    assert extractor.asked == ["a house", "a horse"]


@pytest.mark.parametrize("make", [TextSimilarity, PromptDrift, SegmentTextSimilarity])
def test_texts_that_are_not_there_are_told(make: Any) -> None:
    class Blind(Shrunken):
        name = "blind"
        encode_text = None

    with pytest.raises(ValueError, match="blind has no text tower; choose an extractor"):
        make(Blind(), TEXTS)
    with pytest.raises(ValueError, match="must give the text of each prompt_id"):
        make(Shrunken(), {})
    more: dict[str, Any] = {"times": (2,)} if make is TextSimilarity else {}
    metric = make(Shrunken(), {1: "a house"}, **more)
    for video, prompt in enumerate((1, 2, None)):
        metric.update(VIDEOS[3], video, fps=FPS, prompt_id=prompt)
    result = metric.result()
    assert result.reasons == {
        1: "texts= has none for its prompt_id=2",
        2: "it has no prompt_id, by which its text is found",
    }
    assert result.value == result.per_video[0]
    other = make(Shrunken(), {1: "a horse"}, **more).provenance()["texts"]
    assert other != result.provenance["texts"]


def test_measures_of_single_frames_and_of_windows_share_nothing_by_mistake() -> None:
    extractor = Shrunken()
    metrics = [
        SubjectConsistencyVBench(extractor),
        SimilarityToFirst(extractor, times=(2,)),
        TextSimilarity(extractor, TEXTS, times=(2,)),
        SemanticDrift(extractor),
        TemporalConsistency(extractor),
        PromptDrift(extractor, TEXTS),
    ]
    collection = together(metrics)
    groups = sorted(sorted(group) for group in collection.compute_groups.values())
    assert [len(group) for group in groups] == [3, 3]
    for video in moving():
        for piece in cut(video, 3, 20):
            collection.update(piece.frames, piece.video_id, piece.start_frame, **piece.more)
    values = collection.compute()
    alone = SubjectConsistencyVBench(extractor)
    for video in moving():
        Piece(video.frames, video.video_id, 0, video.more).give(alone)
    name = "vbench_subject_consistency[shrunken]"
    assert float(values[name]) == pytest.approx(float(alone.compute()), abs=1e-12)
