"""The metrics of motion, flicker, loops and classical quality at a small size."""

from collections.abc import Callable
from typing import Any

from cf.metrics.base import VideoMetric
from cf.metrics.motion.camera_vs_object import CameraVsObject
from cf.metrics.motion.chunk_seam import ChunkSeam
from cf.metrics.motion.disorder import Disorder
from cf.metrics.motion.dynamic_degree import DynamicDegree
from cf.metrics.motion.motion_retention import MotionRetention
from cf.metrics.motion.motion_smoothness import MotionSmoothness
from cf.metrics.motion.motion_smoothness_vbench import MotionSmoothnessVBench
from cf.metrics.motion.static_fraction import StaticFraction
from cf.metrics.motion.temporal_flicker import TemporalFlicker
from cf.metrics.motion.warping_error import WarpingError
from cf.metrics.quality.blur_effect import BlurEffect
from cf.metrics.quality.classical import ClassicalMeasure
from cf.metrics.quality.classical_quality import ClassicalQuality
from cf.metrics.quality.frame_pack_drift import FramePackDrift
from cf.metrics.quality.quality_drift import QualityDrift
from cf.metrics.repetition.loop_rate import LoopRate
from cf.metrics.repetition.sink_reset import SinkReset

# Few frames a second: of every law, flow takes nearly all of the time.
_FEW: dict[str, Any] = {"rate": 0.8}

MOTION: dict[str, Callable[[], VideoMetric]] = {
    "motion_smoothness": lambda: MotionSmoothness(**_FEW),
    "motion_smoothness_vbench": lambda: MotionSmoothnessVBench("linear"),
    "temporal_flicker": lambda: TemporalFlicker(**_FEW),
    "warping_error": lambda: WarpingError(**_FEW),
    "chunk_seam": lambda: ChunkSeam(rate=1.1),
    "dynamic_degree": lambda: DynamicDegree(**_FEW),
    "motion_retention": lambda: MotionRetention(**_FEW),
    "static_fraction": lambda: StaticFraction(**_FEW),
    "camera_vs_object": lambda: CameraVsObject(**_FEW),
    "loop_rate": LoopRate,
    "sink_reset": SinkReset,
    "disorder": Disorder,
    "blur_effect": BlurEffect,
    "classical_measure": lambda: ClassicalMeasure("sharpness"),
    "classical_quality": ClassicalQuality,
    "quality_drift": lambda: QualityDrift("contrast"),
    "quality_drift_of_another": lambda: QualityDrift(MotionSmoothnessVBench("linear")),
    "frame_pack_drift": lambda: FramePackDrift("noise"),
}
"""Name in tests -> a metric that gives a number on `moving()`."""
