"""What each metric must notice: the rows of the responsibility matrix, all without weights."""

from collections.abc import Callable
from typing import Any

from responsibility_matrix import Expected

from cf.metrics.base import VideoMetric
from cf.metrics.consistency.semantic_drift import SemanticDrift
from cf.metrics.consistency.temporal_consistency import TemporalConsistency
from cf.metrics.consistency.vbench_consistency import SubjectConsistencyVBench
from cf.metrics.extractors.handcrafted import Handcrafted
from cf.metrics.motion.flickering import TemporalFlickeringVBench
from cf.metrics.motion.motion_smoothness import MotionSmoothness
from cf.metrics.motion.static_fraction import StaticFraction
from cf.metrics.motion.temporal_flicker import TemporalFlicker
from cf.metrics.quality.classical_quality import ClassicalQuality
from cf.metrics.repetition.loop_rate import LoopRate
from cf.metrics.repetition.sink_reset import SinkReset

SCENES = 6
"""As many as the hungriest needs."""
_DRIFTS = ("blur", "colour_drift", "over_exposure", "grey_out", "cross_fade")


class _OfFew(TemporalConsistency):
    """Of fewer prompts than models are compared with: here all values are of the same scenes."""

    least_prompts = SCENES


def _by_looks(metric: Callable[..., VideoMetric], **settings: Any) -> Callable[[], VideoMetric]:
    return lambda: metric(Handcrafted(), **settings)


def _by_flow(metric: Callable[..., VideoMetric]) -> Callable[[], VideoMetric]:
    return lambda: metric(side=128)


EXPECTED: dict[str, Expected] = {
    "TemporalConsistency": Expected(
        _by_looks(_OfFew, rate=2.0),
        must_respond=dict.fromkeys((*_DRIFTS, "flicker", "cut"), -1),
        known_blind=frozenset({"freeze"}),
        tolerance=0.04,
        scale=0.3,
        scenes=SCENES,
    ),
    "SemanticDrift": Expected(
        _by_looks(SemanticDrift, rate=2.0),
        must_respond=dict.fromkeys(_DRIFTS, 1),
        may_respond=frozenset({"cut", "loop"}),
        known_blind=frozenset({"freeze"}),
        tolerance=0.08,
        scenes=SCENES,
    ),
    "MotionSmoothness": Expected(
        _by_flow(MotionSmoothness),
        must_respond=dict.fromkeys(("jitter", "stutter", "shuffle"), 1),
        may_respond=frozenset({"freeze", "flicker", "noise", "blur", "cross_fade", "loop"}),
        scenes=1,
    ),
    "TemporalFlicker": Expected(
        _by_flow(TemporalFlicker),
        must_respond=dict.fromkeys(("flicker", "noise"), 1),
        tolerance=0.01,
        scale=0.05,
        scenes=1,
    ),
    "StaticFraction": Expected(
        _by_flow(StaticFraction),
        must_respond={"freeze": 1},
        may_respond=frozenset({"stutter"}),
        scenes=1,
    ),
    "cut rate": Expected(
        _by_flow(MotionSmoothness),
        must_respond={"cut": 1},
        may_respond=frozenset({"jitter", "shuffle", "loop", "sink_reset"}),
        tolerance=1.0,
        scale=40.0,
        scenes=1,
        read="cut_rate",
    ),
    "LoopRate": Expected(LoopRate, must_respond={"loop": 1}, may_respond=frozenset({"sink_reset"})),
    "SinkReset": Expected(
        SinkReset,
        must_respond={"sink_reset": 1},
        may_respond=frozenset({"jitter", "shuffle", "loop"}),
        tolerance=1.0,
        scale=20.0,
    ),
    "ClassicalQuality": Expected(
        ClassicalQuality,
        must_respond=dict.fromkeys(("over_exposure", "grey_out"), 1),
        may_respond=frozenset({"blur", "cross_fade", "cut", "flicker", "freeze"}),
        tolerance=0.1,
        scale=2.0,
    ),
    "VBench temporal flickering": Expected(
        TemporalFlickeringVBench,
        must_respond=dict.fromkeys(("flicker", "noise"), -1),
        may_respond=frozenset(
            {"jitter", "shuffle", "stutter", "cut", "sink_reset", "over_exposure"}
        ),
        known_blind=frozenset({"freeze", "blur", "grey_out"}),
        tolerance=0.01,
        scale=0.1,
    ),
    "VBench subject consistency": Expected(
        _by_looks(SubjectConsistencyVBench, rate=4.0),
        must_respond={},
        may_respond=frozenset({*_DRIFTS, "flicker", "cut"}),
        known_blind=frozenset({"freeze", "noise"}),
        scale=0.3,
    ),
}
"""By row; what a metric is not said to feel, it must leave."""
