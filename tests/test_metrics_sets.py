"""Measures of likeness over time, on videos whose features, and hence answers, are known."""

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from metrics import Piece, cut, moving
from metrics_sets import Shrunken
from scipy import stats
from torch import Tensor

from cf.metrics.base import VideoMetric, together
from cf.metrics.bootstrap import resampled
from cf.metrics.consistency.consistency_horizon import ConsistencyHorizon
from cf.metrics.consistency.own_anchor import OwnAnchorAUC
from cf.metrics.consistency.semantic_drift import SemanticDrift, SemanticDriftAbsolute
from cf.metrics.consistency.survival import median, survival
from cf.metrics.consistency.temporal_consistency import (
    TemporalConsistency,
    TemporalConsistencyAbsolute,
)
from cf.metrics.extractors.base import Extractor
from cf.metrics.repetition.cross_prompt_collapse import CrossPromptCollapse
from cf.metrics.result import Result
from cf.stats.resampling import percentiles

FPS = 4
WIDTH = 48


class Pixels(Extractor):
    """Pixels from 0 to 1 as features from -1 to 1, so that a test states the features it wants.

    Attributes:
        scale: of all features.
        shared: a further feature, the same for all frames of unit features.
    """

    name = "pixels"
    semantic = True
    width = WIDTH + 1

    def __init__(self, scale: float = 1.0, shared: float = 0.0) -> None:
        self.scale, self.shared = scale, shared
        self.seen = 0

    def __call__(self, frames: Tensor) -> Tensor:
        self.seen += len(frames)
        features = torch.nn.functional.normalize(frames.flatten(1).double() * 2 - 1, dim=-1)
        shared = torch.full((len(frames), 1), self.shared, dtype=torch.double)
        return self.scale * torch.cat((features, shared), 1)

    def provenance(self) -> dict[str, Any]:
        return {"extractor": self.name, "scale": self.scale, "shared": self.shared}


def axis(number: int) -> Tensor:
    return torch.eye(WIDTH, dtype=torch.double)[number]


def frames_of(features: Tensor) -> Tensor:
    """Frames whose features, as `Pixels` reads them, are these."""
    return ((features + 1) / 2).float().view(-1, 3, 4, 4)


def turning(number: int, angles: Tensor, towards: int = WIDTH - 1) -> Tensor:
    """A video of one second per angle by which its feature has turned to another."""
    turned = angles.cos()[:, None] * axis(number) + angles.sin()[:, None] * axis(towards)
    return frames_of(turned.repeat_interleave(FPS, 0))


def answer(metric: VideoMetric, videos: list[Tensor], prompts: list[int] | None = None) -> Result:
    for number, frames in enumerate(videos):
        prompt = None if prompts is None else prompts[number]
        metric.update(frames, number, fps=FPS, prompt_id=prompt)
    return metric.result()


def naive(features: list[Tensor], prompts: list[int], window: int) -> tuple[float, list[float]]:
    """Temporal consistency and chance, frame pair by frame pair."""
    windows = len(features[0]) // window
    lags = [0, *(2**k for k in range(20) if 2**k <= windows / 2)]
    cut_up = [one.view(windows, window, -1) for one in features]
    total, chances = 0.0, []
    for lag in lags:
        own, chance = {}, []
        for v, one in enumerate(cut_up):
            pairs = []
            for w in range(windows - lag):
                likeness = one[w] @ one[w + lag].T
                if not lag:
                    likeness = likeness[~torch.eye(window, dtype=torch.bool)]
                pairs.append(float(likeness.mean()))
            own.setdefault(prompts[v], []).append(np.mean(pairs))
            for u, other in enumerate(cut_up):
                if prompts[u] != prompts[v]:
                    chance += [
                        float((one[w] @ other[w + lag].T).mean()) for w in range(windows - lag)
                    ]
        kappa = float(np.mean(chance))
        chances.append(kappa)
        mean = float(np.mean([np.mean(mine) for mine in own.values()]))
        total += (mean - kappa) / (1 - kappa) / len(lags)
    return total, chances


def clouds(videos: int, seconds: int, seed: int = 0) -> list[Tensor]:
    """Unit features that wander about a direction of their own."""
    random = torch.Generator().manual_seed(seed)
    made = []
    for _ in range(videos):
        start = torch.randn(WIDTH, generator=random, dtype=torch.double)
        steps = torch.randn(seconds * FPS, WIDTH, generator=random, dtype=torch.double)
        path = start + 0.3 * steps.cumsum(0)
        made.append(torch.nn.functional.normalize(path, dim=-1))
    return made


def test_temporal_consistency_is_what_pairs_of_frames_give() -> None:
    features = clouds(34, 5)
    prompts = [number // 2 for number in range(34)]  # two seeds each
    result = answer(TemporalConsistency(Pixels()), [frames_of(f) for f in features], prompts)
    value, chance = naive(features, prompts, FPS)
    assert result.value == pytest.approx(value, abs=1e-6)
    torch.testing.assert_close(
        result.curves["kappa"], torch.tensor(chance, dtype=torch.double), atol=1e-6, rtol=0
    )
    assert result.curves["lag"].tolist() == [0, 1, 2]
    assert np.mean(list(result.per_video.values())) == pytest.approx(result.value, abs=1e-9)
    assert result.extras["num_prompts"] == 17
    assert result.extras["TC_short"] == pytest.approx(float(result.curves["c"][:2].mean()))
    assert math.isnan(result.extras["TC_long"])


def test_temporal_consistency_of_long_videos_has_long_lags() -> None:
    result = answer(TemporalConsistency(Pixels()), [frames_of(f) for f in clouds(16, 20)])
    assert result.curves["lag"].tolist() == [0, 1, 2, 4, 8]
    assert result.extras["TC_long"] == pytest.approx(float(result.curves["c"][4]))
    assert result.extras["TC_long"] < result.extras["TC_short"]


def test_the_data_twice_change_nothing() -> None:
    videos = moving(17, 40)
    for make in (
        TemporalConsistency,
        SemanticDrift,
        OwnAnchorAUC,
        CrossPromptCollapse,
        ConsistencyHorizon,
    ):
        once, twice = make(Shrunken()), make(Shrunken())
        for video in videos:
            more = {**video.more, "prompt_id": video.video_id}
            Piece(video.frames, video.video_id, 0, more).give(once)
            for copy in (0, 100):
                Piece(video.frames, video.video_id + copy, 0, more).give(twice)
        assert twice.result().value == pytest.approx(once.result().value, abs=1e-12)


def test_more_seeds_of_one_prompt_give_it_no_more_weight() -> None:
    videos = [frames_of(f) for f in clouds(16, 4)]
    prompts = list(range(16))
    for make in (TemporalConsistency, SemanticDrift, OwnAnchorAUC, CrossPromptCollapse):
        once = answer(make(Pixels()), videos, prompts)
        more = answer(make(Pixels()), [*videos, videos[3], videos[3]], [*prompts, 3, 3])
        assert more.value == pytest.approx(once.value, abs=1e-12)


def test_time_reversed_changes_temporal_consistency_little() -> None:
    forth, back = TemporalConsistency(Shrunken()), TemporalConsistency(Shrunken())
    for video in moving(18, 80):
        video.give(forth)
        Piece(video.frames.flip(0), video.video_id, 0, video.more).give(back)
    assert float(back.compute()) == pytest.approx(float(forth.compute()), abs=0.005)


@pytest.mark.parametrize("make", [TemporalConsistency, SemanticDrift, CrossPromptCollapse])
def test_the_scale_of_features_is_nothing_to_them(make: Any) -> None:
    videos = [frames_of(f) for f in clouds(16, 8)]
    once, scaled = (answer(make(Pixels(scale=scale)), videos) for scale in (1.0, 37.0))
    assert scaled.value == pytest.approx(once.value, abs=1e-6)


@pytest.mark.parametrize("make", [TemporalConsistency, SemanticDrift, OwnAnchorAUC])
def test_what_all_features_share_is_nothing_to_them(make: Any) -> None:
    """A common feature lifts all cosines alike, chance too."""
    videos = [frames_of(f) for f in clouds(16, 8)]
    bare, lifted = (answer(make(Pixels(shared=shared)), videos) for shared in (0.0, 1.5))
    assert lifted.value == pytest.approx(bare.value, abs=1e-5)
    if make is TemporalConsistency:
        absolute = [
            answer(TemporalConsistencyAbsolute(Pixels(shared=shared), kappa=0.0), videos).value
            for shared in (0.0, 1.5)
        ]
        assert absolute[1] > absolute[0] + 0.05, "a fixed chance is not"


def test_a_frozen_video_has_full_absolute_consistency() -> None:
    frozen = clouds(1, 1)[0][:1].expand(40, -1)
    result = answer(TemporalConsistencyAbsolute(Pixels(), kappa=0.3), [frames_of(frozen)])
    assert result.value == pytest.approx(1, abs=1e-6)


def test_absolute_values_are_not_moved_by_other_videos() -> None:
    videos = [frames_of(f) for f in clouds(4, 6)]
    other = frames_of(clouds(1, 9, seed=5)[0])  # of another duration
    for make in (TemporalConsistencyAbsolute, SemanticDriftAbsolute):
        before = answer(make(Pixels(), kappa=0.05), videos)
        after = answer(make(Pixels(), kappa=0.05), [*videos, other])
        assert {video: after.per_video[video] for video in before.per_video} == before.per_video
        assert not math.isnan(before.value)
        assert not math.isnan(after.per_video[4])
        assert math.isnan(after.value)
        assert "seconds=6" in after.reasons[None]
        first = make(Pixels(), kappa=0.05, seconds=6)
        assert not math.isnan(answer(first, [*videos, other]).value)


def test_too_few_prompts_and_unequal_durations_are_refused_with_the_remedy() -> None:
    videos = [frames_of(f) for f in clouds(16, 6)]
    few = answer(TemporalConsistency(Pixels()), videos[:15])
    assert math.isnan(few.value)
    assert "15 prompts" in few.reasons[None]
    assert "Absolute" in few.reasons[None]
    assert all(video in few.reasons for video in range(15))
    seeds = answer(TemporalConsistency(Pixels()), videos, [0] * 16)
    assert "1 prompt," in seeds.reasons[None]

    unequal = [*videos[:15], videos[15][: 4 * FPS]]
    for make in (TemporalConsistency, SemanticDrift, CrossPromptCollapse, OwnAnchorAUC):
        refused = answer(make(Pixels()), unequal)
        assert math.isnan(refused.value)
        assert "give seconds=4" in refused.reasons[None]
        begun = answer(make(Pixels(), seconds=4), unequal)
        same = answer(make(Pixels()), [video[: 4 * FPS] for video in videos])
        assert begun.value == pytest.approx(same.value, abs=1e-12)
        assert begun.provenance["seconds"] == 4
    longer = answer(TemporalConsistency(Pixels(), seconds=5), [*videos, videos[0][: 4 * FPS]])
    assert longer.reasons == {16: "it has 4 s under one prompt, seconds=5 are compared"}
    assert not math.isnan(longer.value)
    assert math.isnan(longer.per_video[16])
    with pytest.raises(ValueError, match=r"seconds=0.5 must be at least one window of 1.0 s"):
        TemporalConsistency(Pixels(), seconds=0.5)


def test_the_prompts_of_the_set_are_part_of_the_provenance() -> None:
    videos = [frames_of(f) for f in clouds(17, 2)]
    digests = [
        answer(TemporalConsistency(Pixels()), videos[:count], prompts).provenance["prompts"]
        for count, prompts in ((16, list(range(16))), (17, list(range(17))), (17, [*range(16), 3]))
    ]
    assert digests[0] != digests[1]
    assert digests[0] == digests[2], "another seed is not another prompt"


def test_sets_that_collapse_lose_consistency_and_rise_in_chance() -> None:
    """Videos of all prompts turn to one picture, the sooner and farther the worse."""
    values, rises = [], []
    for strength in (0.0, 0.25, 0.5, 0.75, 1.0):
        angles = strength * math.pi / 2 * torch.linspace(0, 1, 16, dtype=torch.double)
        result = answer(TemporalConsistency(Pixels()), [turning(n, angles) for n in range(16)])
        values.append(result.value)
        rises.append(result.extras["CrossPromptCollapse"])
    assert values == sorted(values, reverse=True)
    assert values[0] == pytest.approx(1, abs=1e-6)
    assert rises == sorted(rises)
    assert rises[0] == pytest.approx(0, abs=1e-6)
    assert values[-1] < 0.9
    assert rises[-1] > 0.6
    same = answer(TemporalConsistency(Pixels()), [turning(0, torch.zeros(8))] * 16)
    assert same.value == 0, "alike from the start: nothing is told apart"


def test_collapse_between_the_ends_is_told_in_the_cosines_of_the_features() -> None:
    angles = torch.tensor([0.0] * 6 + [math.pi / 6] * 6, dtype=torch.double)
    videos = [turning(number, angles) for number in range(4)]
    result = answer(CrossPromptCollapse(Pixels()), videos)
    assert result.value == pytest.approx(0.25, abs=1e-6)  # sin² 30°
    assert result.extras["kappa_first"] == pytest.approx(0, abs=1e-6)
    assert result.extras["span"] == 5
    assert result.per_video[2] == pytest.approx(0.25, abs=1e-6)
    short = answer(CrossPromptCollapse(Pixels()), [video[4 * FPS : 8 * FPS] for video in videos])
    assert short.value == pytest.approx(0.25, abs=1e-6)
    assert short.extras["span"] == 2


def drifting(seconds: int = 16, prompts: int = 6, away: int | None = None) -> list[Tensor]:
    """Videos of which 1 - t / T is kept at time t; all turn `away`, or each to its own place."""
    angles = torch.acos(1 - torch.arange(seconds, dtype=torch.double) / seconds)
    return [
        turning(number, angles, WIDTH - 1 if away is not None else WIDTH // 2 + number)
        for number in range(prompts)
    ]


def test_semantic_drift_of_videos_that_turn_away_is_known() -> None:
    result = answer(SemanticDrift(Pixels()), drifting())
    expected = torch.arange(16, dtype=torch.double) / 16
    assert result.value == pytest.approx(float(expected[-4:].mean()), abs=1e-6)
    torch.testing.assert_close(result.per_window[0], expected, atol=1e-6, rtol=0)
    torch.testing.assert_close(result.curves["D"], expected, atol=1e-6, rtol=0)
    assert result.extras["AUC"] == pytest.approx(float(expected[1:].mean()), abs=1e-6)
    assert result.extras["D_max"] == pytest.approx(14 / 16, abs=1e-6)
    assert result.extras["slope_per_10s"] == pytest.approx(10 / 16, abs=1e-6)
    assert result.extras["denominator"] == pytest.approx(1, abs=1e-6)
    assert result.extras["low"] == pytest.approx(result.value, abs=1e-6)  # all prompts are alike
    assert result.extras["num_flagged"] == 0
    alone = answer(SemanticDriftAbsolute(Pixels(), kappa=0.0), drifting(prompts=1))
    assert alone.value == pytest.approx(result.value, abs=1e-6)
    assert math.isnan(alone.extras["low"])


def test_the_slope_of_a_long_video_is_that_of_windows_evenly_spaced() -> None:
    angles = torch.acos(1 - torch.arange(1300, dtype=torch.double) / 1300)
    long = [turning(0, angles, WIDTH // 2)]
    result = answer(SemanticDriftAbsolute(Pixels(), kappa=0.0), long)
    assert result.extras["slope_per_10s"] == pytest.approx(10 / 1300, abs=1e-6)


def test_semantic_drift_is_a_ratio_of_sums() -> None:
    features = clouds(8, 8, seed=3)
    prompts = [0, 0, 1, 2, 3, 4, 5, 6]
    result = answer(SemanticDrift(Pixels()), [frames_of(f) for f in features], prompts)
    cut_up = [one.view(8, FPS, -1) for one in features]
    kept, own = {}, {}
    for v, one in enumerate(cut_up):
        others: dict[int, list[int]] = {}
        for u in range(8):
            if prompts[u] != prompts[v]:
                others.setdefault(prompts[u], []).append(u)

        def chance(w: int, one: Tensor = one, others: dict[int, list[int]] = others) -> float:
            return float(
                np.mean(
                    [
                        np.mean([(one[0] @ cut_up[u][w].T).mean() for u in o])
                        for o in others.values()
                    ]
                )
            )

        off = ~torch.eye(FPS, dtype=torch.bool)
        own.setdefault(prompts[v], []).append(float((one[0] @ one[0].T)[off].mean()) - chance(0))
        late = [float((one[0] @ one[w].T).mean()) - chance(w) for w in (6, 7)]
        kept.setdefault(prompts[v], []).append(np.mean(late))
    sums = [sum(np.mean(mine) for mine in part.values()) for part in (kept, own)]
    assert result.value == pytest.approx(1 - sums[0] / sums[1], abs=1e-6)
    assert result.extras["low"] < result.value < result.extras["high"]


def test_a_frozen_video_does_not_drift_and_is_told_by_its_start() -> None:
    videos = [turning(number, torch.zeros(8)) for number in range(5)]
    assert answer(SemanticDrift(Pixels()), videos).value == pytest.approx(0, abs=1e-6)
    assert answer(OwnAnchorAUC(Pixels()), videos).value == 1
    lasting = answer(ConsistencyHorizon(Pixels()), videos)
    assert lasting.value == 8
    assert lasting.extras["censored"] == 1
    assert lasting.reasons[None].startswith("> 8 s")
    assert lasting.extras["num_censored"] == 5
    assert lasting.extras["high_censored"] == 1


def test_a_collapse_in_the_first_seconds_is_caught() -> None:
    """All turn to one picture after 2 s: complete drift, though nothing changes any more."""
    angles = torch.tensor([0.0] * 2 + [math.pi / 2] * 18, dtype=torch.double)
    result = answer(SemanticDrift(Pixels()), [turning(n, angles) for n in range(16)])
    assert result.value == pytest.approx(1, abs=1e-6)
    anchors = answer(OwnAnchorAUC(Pixels()), [turning(n, angles) for n in range(16)])
    assert anchors.value == pytest.approx(0.5)
    assert anchors.extras["top1"] == pytest.approx(1 / 16)
    assert anchors.curves["auc"][:2].tolist() == [1, 1]
    horizon = answer(ConsistencyHorizon(Pixels()), [turning(n, angles) for n in range(16)])
    assert horizon.value == 2
    assert horizon.extras["low"] == horizon.extras["high"] == 2


def test_anchors_that_are_not_told_apart_are_a_failure_with_its_reason() -> None:
    same = answer(SemanticDrift(Pixels()), [turning(0, torch.zeros(8))] * 6)
    assert math.isnan(same.value)
    assert "anchor not identifiable" in same.reasons[None]
    assert all(video in same.reasons for video in range(6))
    assert "denominator" in same.extras
    assert math.isnan(answer(ConsistencyHorizon(Pixels()), [turning(0, torch.zeros(8))] * 6).value)

    # Two of eight are told from the rest: enough for the mean, not for the interval.
    random = torch.Generator().manual_seed(1)
    noise = torch.randn(6, 32, WIDTH, generator=random, dtype=torch.double)
    flickering = [frames_of(torch.nn.functional.normalize(one, dim=-1)) for one in noise]
    told = [turning(number, torch.zeros(8)) for number in range(2)]
    assert "the interval" in answer(SemanticDrift(Pixels()), [*told, *flickering]).reasons[None]

    told = [turning(number, torch.zeros(8)) for number in range(9)]
    mixed = answer(SemanticDrift(Pixels()), [*told, flickering[0]])
    assert mixed.value == mixed.value
    assert math.isnan(mixed.per_video[9])
    assert "0.2 is needed" in mixed.reasons[9]
    horizon = answer(ConsistencyHorizon(Pixels()), [*told, flickering[0]])
    assert horizon.extras["num_unidentified"] == 1
    assert horizon.extras["num_censored"] == 9
    assert horizon.per_video[9] == 1, "lost in the first window, not left out"


def test_a_video_that_comes_closer_to_its_start_than_it_was_is_flagged() -> None:
    """A first second that is spread out, then its mean for ever."""
    spread = torch.nn.functional.normalize(
        axis(20) + 0.9 * torch.stack([axis(21), -axis(21), axis(22), -axis(22)]), dim=-1
    )
    collapsed = torch.cat((spread, axis(20).expand(28, -1)))
    videos = [*(turning(n, torch.zeros(8)) for n in range(5)), frames_of(collapsed)]
    result = answer(SemanticDrift(Pixels()), videos)
    assert result.extras["num_flagged"] == 1
    assert result.per_window[5].min() < -0.1


def test_appearance_and_meaning_have_different_names() -> None:
    assert SemanticDrift(Pixels()).name == "SemanticDrift[pixels]"
    assert SemanticDrift(Shrunken()).name == "AppearanceDrift[shrunken]"
    names = {SemanticDriftAbsolute(e, kappa=0).name for e in (Pixels(), Shrunken())}
    assert names == {"SemanticDriftAbsolute[pixels]", "AppearanceDriftAbsolute[shrunken]"}


def test_chance_is_given_or_shipped_and_never_guessed() -> None:
    for make in (TemporalConsistencyAbsolute, SemanticDriftAbsolute):
        with pytest.raises(ValueError, match="ships no chance likeness; give kappa="):
            make(Pixels())
        with pytest.raises(ValueError, match=r"kappa=1.5 must be a cosine below 1"):
            make(Pixels(), kappa=1.5)
        shipped = Pixels()
        shipped.kappa = 0.25
        assert make(shipped).provenance()["kappa"] == 0.25


def test_a_window_of_one_frame_has_no_likeness_within_and_says_so() -> None:
    videos = [frames_of(f) for f in clouds(16, 4)]
    for make in (TemporalConsistency, SemanticDrift):
        result = answer(make(Pixels(), rate=1.0), videos)
        assert math.isnan(result.value)
        assert "one frame" in result.reasons[None]
    slow = answer(TemporalConsistency(Pixels(), rate=0.5), videos)
    assert "no frame is looked at in window 1" in slow.reasons[0]


def test_parts_under_several_prompts_have_anchors_of_their_own() -> None:
    """Each video cuts to another scene with its prompt: no drift, but for one without prompts."""
    metric, blind = SemanticDrift(Pixels()), SemanticDrift(Pixels())
    for number in range(6):
        scenes = (turning(number, torch.zeros(5)), turning(number + 20, torch.zeros(5)))
        for half, frames in enumerate(scenes):
            start = half * 5 * FPS
            prompt = number + 10 * half
            metric.update(frames, number, start, fps=FPS, prompt_id=prompt)
            blind.update(frames, number, start, fps=FPS, prompt_id=number)
    assert float(metric.compute()) == pytest.approx(0, abs=1e-6)
    assert float(blind.compute()) == pytest.approx(1, abs=1e-6)
    result = metric.result()
    assert result.extras["num_prompts"] == 6
    assert result.windows[0].tolist() == list(range(10))
    assert len(result.per_window[0]) == 10


def test_prompts_that_change_in_mid_window_leave_it_out() -> None:
    """A cut at 2.5 s: two whole seconds before it, two after it, and the likeness across apart."""
    metric = TemporalConsistencyAbsolute(Pixels(), kappa=0.0)
    metric.update(turning(0, torch.zeros(3))[:10], 0, 0, fps=FPS, prompt_id=0)
    turned = turning(0, torch.full((3,), math.pi / 3))
    metric.update(turned[:10], 0, 10, fps=FPS, prompt_id=1)
    result = metric.result()
    assert result.value == pytest.approx(1, abs=1e-6)
    assert result.windows[0].tolist() == [0, 1, 3, 4]
    assert result.extras["across_prompts"] == pytest.approx(0.5, abs=1e-6)

    hasty = TemporalConsistencyAbsolute(Pixels(), kappa=0.0)
    for piece in range(8):
        hasty.update(turning(0, torch.zeros(1))[:2], 0, 2 * piece, fps=FPS, prompt_id=piece)
    assert "its prompt changes within every window of 1 s" in hasty.result().reasons[0]


def test_features_are_made_once_for_all_measures_of_a_set() -> None:
    extractor = Pixels()
    kinds = (TemporalConsistency, SemanticDrift, OwnAnchorAUC, CrossPromptCollapse)
    collection = together([make(extractor) for make in (*kinds, ConsistencyHorizon)])
    videos = clouds(16, 4)
    for number, features in enumerate(videos):
        collection.update(frames_of(features), number, 0, fps=FPS)
    assert extractor.seen == 16 * 4 * FPS
    alone = answer(SemanticDrift(Pixels()), [frames_of(f) for f in videos]).value
    assert float(collection.compute()["SemanticDrift[pixels]"]) == pytest.approx(alone, abs=1e-12)


@pytest.mark.whole
def test_fading_to_grey_is_drift_and_lost_consistency_by_degrees() -> None:
    drift, consistency = [], []
    for strength in (0.0, 0.25, 0.5, 0.75, 1.0):
        metrics = SemanticDrift(Shrunken()), TemporalConsistency(Shrunken())
        for video in moving(17, 64):
            share = strength * torch.linspace(0, 1, 64)[:, None, None, None]
            grey = torch.tensor([0.6, 0.5, 0.5])[:, None, None]
            faded = video.frames * (1 - share) + grey * share
            for metric in metrics:
                Piece(faded, video.video_id, 0, video.more).give(metric)
        drift.append(metrics[0].result().curves["D"][-1].item())
        consistency.append(float(metrics[1].compute()))
    assert drift == sorted(drift)
    assert drift[-1] > drift[0] + 0.2
    assert all(b < a + 0.005 for a, b in pairwise(consistency))
    assert consistency[-1] < consistency[0] - 0.015


CASES = {
    "none watched to the end": ([1.0, 2, 3, 4], [True] * 4),
    "ties": ([2.0, 2, 2, 5, 5, 7], [True, False, True, True, True, False]),
    "most are censored": ([3.0, 9, 9, 9], [True, False, False, False]),
    "last is censored": ([1.0, 2, 3, 4, 4], [True, True, False, True, False]),
}


@pytest.mark.parametrize("case", CASES)
def test_survival_is_scipys(case: str) -> None:
    times, happened = CASES[case]
    data = stats.CensoredData(
        uncensored=[t for t, h in zip(times, happened, strict=True) if h],
        right=[t for t, h in zip(times, happened, strict=True) if not h],
    )
    theirs = stats.ecdf(data).sf
    tensors = torch.tensor(times, dtype=torch.double), torch.tensor(happened)
    for weight in (1.0, 1 / 3):
        weights = torch.full((2, len(times)), weight, dtype=torch.double)
        steps, curve = survival(*tensors, weights)
        np.testing.assert_allclose(curve[1], theirs.evaluate(steps.numpy()), atol=1e-12)
    half = [t for t, p in zip(theirs.quantiles, theirs.probabilities, strict=True) if p <= 0.5]
    expected = min(half, default=math.inf)
    assert median(steps, curve).tolist() == [expected] * 2


def test_survival_by_hand_and_with_nothing_happening() -> None:
    times = torch.tensor([1.0, 2.0, 2.0, 3.0], dtype=torch.double)
    happened = torch.tensor([True, False, True, True])
    steps, curve = survival(times, happened, torch.ones(4, dtype=torch.double))
    assert steps.tolist() == [1, 2, 3]
    torch.testing.assert_close(curve, torch.tensor([0.75, 0.5, 0.0], dtype=torch.double))
    assert float(median(steps, curve)) == 2
    nothing = survival(times, torch.zeros(4, dtype=torch.bool), torch.ones(4, dtype=torch.double))
    assert math.isinf(float(median(*nothing)))


def test_the_horizon_of_videos_that_turn_away_at_known_times() -> None:
    """Half of the identity is gone after 3, 5, 7 and 9 s, and never in two."""
    videos = []
    for number, lost in enumerate((3, 5, 7, 9, 12, 12)):
        angles = torch.zeros(12, dtype=torch.double)
        angles[lost:] = math.pi / 2
        videos.append(turning(number, angles, WIDTH // 2 + number))
    result = answer(ConsistencyHorizon(Pixels()), videos)
    assert result.value == 7
    assert result.extras["censored"] == 0
    assert [result.per_video[v] for v in range(6)] == [3, 5, 7, 9, 12, 12]
    assert result.extras["num_censored"] == 2
    assert result.extras["low"] < 7 < result.extras["high"] <= 12
    assert result.curves["time"].tolist() == [3, 5, 7, 9]
    late = answer(ConsistencyHorizon(Pixels()), [videos[i] for i in (0, 0, 0, 3, 3, 3)])
    by_prompt = answer(
        ConsistencyHorizon(Pixels()), [videos[i] for i in (0, 0, 0, 3, 4, 5)], [0, 0, 0, 3, 4, 5]
    )
    assert (late.value, by_prompt.value) == (3, 9), "seeds of one prompt weigh as one"
    mostly = answer(ConsistencyHorizon(Pixels()), [*videos, *videos[4:], *videos[4:]])
    assert mostly.value == 12
    assert "> 12 s" in mostly.reasons[None]


def test_one_odd_second_is_no_lost_identity() -> None:
    angles = torch.zeros(12, dtype=torch.double)
    angles[5] = math.pi / 2
    videos = [turning(number, angles, WIDTH // 2 + number) for number in range(5)]
    assert answer(ConsistencyHorizon(Pixels()), videos).extras["num_censored"] == 5


def test_resampling_is_that_of_units() -> None:
    (counts,), (again,) = resampled(7), resampled(7)
    assert torch.equal(counts, again)
    assert (counts.sum(1) == 7).all()
    values = torch.randn(7, generator=torch.Generator().manual_seed(0), dtype=torch.double)
    low, high = percentiles((counts @ values / 7).numpy(), 0.95)
    theirs = stats.bootstrap(
        (values.numpy(),), np.mean, method="percentile", rng=np.random.default_rng(0)
    ).confidence_interval
    assert (low, high) == pytest.approx((theirs.low, theirs.high), abs=0.03)


def test_pieces_of_a_video_give_one_drift() -> None:
    """Windows lie by absolute time, whatever the frame rate."""
    metric, whole = SemanticDrift(Shrunken()), SemanticDrift(Shrunken())
    for video in moving(6, 75, fps=29.97):
        video.give(whole)
        for piece in cut(video, 1, 29, 30, 31, 60):
            piece.give(metric)
    assert metric.result().value == pytest.approx(whole.result().value, abs=1e-9)
    assert len(whole.result().per_window[0]) == 3  # 2.5 s: the last window is half full
