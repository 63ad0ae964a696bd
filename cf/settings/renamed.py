"""Names of classes in settings that were written before the classes moved; they stay valid."""

from typing import Any

FIRST_HOMES = {
    "cf.bench.contestants.controls.CopyLast": "cf.bench.controls",
    "cf.bench.contestants.controls.Spoilt": "cf.bench.controls",
    "cf.bench.contestants.controls.Truth": "cf.bench.controls",
    "cf.bench.contestants.imported.Imported": "cf.bench.imported",
    "cf.bench.contestants.network.Network": "cf.bench.network",
    "cf.bench.tasks.prompts.Prompts": "cf.bench.prompts",
    "cf.bench.tasks.worlds.Worlds": "cf.bench.worlds",
    "cf.metrics.AttributeRecall": "cf.metrics.attribute_recall",
    "cf.metrics.BackgroundConsistencyVBench": "cf.metrics.vbench_consistency",
    "cf.metrics.CameraVsObject": "cf.metrics.camera_vs_object",
    "cf.metrics.ChunkSeam": "cf.metrics.chunk_seam",
    "cf.metrics.ClassicalQuality": "cf.metrics.classical_quality",
    "cf.metrics.ClipToClipRaw": "cf.metrics.vbench_consistency",
    "cf.metrics.ColourRecall": "cf.metrics.colour_recall",
    "cf.metrics.ConsistencyHorizon": "cf.metrics.consistency_horizon",
    "cf.metrics.CrossPromptCollapse": "cf.metrics.cross_prompt_collapse",
    "cf.metrics.CrossRoomMatch": "cf.metrics.recall",
    "cf.metrics.DynamicDegree": "cf.metrics.dynamic_degree",
    "cf.metrics.FVD": "cf.metrics.fvd",
    "cf.metrics.FramePackDrift": "cf.metrics.frame_pack_drift",
    "cf.metrics.IdentityPersistence": "cf.metrics.identity",
    "cf.metrics.LPIPS": "cf.metrics.perceptual",
    "cf.metrics.LoopRate": "cf.metrics.loop_rate",
    "cf.metrics.MirrorConsistency": "cf.metrics.mirror",
    "cf.metrics.MotionRetention": "cf.metrics.motion_retention",
    "cf.metrics.MotionSmoothness": "cf.metrics.motion_smoothness",
    "cf.metrics.MotionSmoothnessVBench": "cf.metrics.motion_smoothness_vbench",
    "cf.metrics.NeedleInVideo": "cf.metrics.needle",
    "cf.metrics.OwnAnchorAUC": "cf.metrics.own_anchor",
    "cf.metrics.PSNR": "cf.metrics.full_reference",
    "cf.metrics.PromptDrift": "cf.metrics.text_similarity",
    "cf.metrics.QualityDrift": "cf.metrics.quality_drift",
    "cf.metrics.RecallHorizon": "cf.metrics.recall_horizon",
    "cf.metrics.RevisitLPIPS": "cf.metrics.revisit",
    "cf.metrics.RevisitPSNR": "cf.metrics.revisit",
    "cf.metrics.RevisitSSIM": "cf.metrics.revisit",
    "cf.metrics.SSIM": "cf.metrics.full_reference",
    "cf.metrics.SegmentTextSimilarity": "cf.metrics.segment_text",
    "cf.metrics.SelfRevisit": "cf.metrics.recall",
    "cf.metrics.SemanticDrift": "cf.metrics.semantic_drift",
    "cf.metrics.SemanticDriftAbsolute": "cf.metrics.semantic_drift",
    "cf.metrics.SimilarityToFirst": "cf.metrics.similarity_to_first",
    "cf.metrics.SinkReset": "cf.metrics.sink_reset",
    "cf.metrics.StaticFraction": "cf.metrics.static_fraction",
    "cf.metrics.SubjectConsistencyVBench": "cf.metrics.vbench_consistency",
    "cf.metrics.SwitchResponse": "cf.metrics.segment_text",
    "cf.metrics.TemporalConsistency": "cf.metrics.temporal_consistency",
    "cf.metrics.TemporalConsistencyAbsolute": "cf.metrics.temporal_consistency",
    "cf.metrics.TemporalFlicker": "cf.metrics.temporal_flicker",
    "cf.metrics.TemporalFlickeringVBench": "cf.metrics.flickering",
    "cf.metrics.TextSimilarity": "cf.metrics.text_similarity",
    "cf.metrics.TriggerGate": "cf.metrics.recall",
    "cf.metrics.WarpingError": "cf.metrics.warping_error",
    "cf.metrics.fidelity.fvd.I3D": "cf.metrics.fvd",
    "cf.metrics.motion.flow.Dis": "cf.metrics.flow",
    "cf.metrics.motion.flow.Farneback": "cf.metrics.flow",
    "cf.metrics.motion.flow_raft.Raft": "cf.metrics.flow_raft",
    "cf.metrics.motion.interpolation.DisInterpolator": "cf.metrics.interpolation",
    "cf.metrics.motion.interpolation.Linear": "cf.metrics.interpolation",
    "cf.metrics.motion.interpolation.Supplied": "cf.metrics.interpolation",
    "cf.rollout.Cut": "cf.switch",
    "cf.rollout.Flush": "cf.switch",
    "cf.rollout.Keep": "cf.switch",
    "cf.rollout.PromptChange": "cf.switch",
    "cf.rollout.Recache": "cf.switch",
    "cf.rollout.Rolling": "cf.rolling",
    "cf.rollout.Switch": "cf.switch",
    "cf.runs.stages.Stages": "cf.stages",
    "cf.modules.divergence_guard.Guard": "cf.modules.guard",
    "cf.distillation.rollout_length.Length": "cf.modules.length",
}
"""Each class that has moved, by its name today: the module that it was first published in."""

BETWEEN = {"cf.modules.rollout_length.Length": "cf.distillation.rollout_length.Length"}
"""Names of classes that moved twice, between their first one and today's."""

_FIRST = {name: f"{home}.{name.rpartition('.')[2]}" for name, home in FIRST_HOMES.items()}
_CURRENT = {**{first: name for name, first in _FIRST.items()}, **BETWEEN}


FIRST_SETTINGS = {"as_released": "faithful"}
"""Settings of memories and switches that were renamed: today's name and the first one."""
_GRADIENTS = {True: "through_past", False: "detached"}
"""What `module.differentiable_past` said before how gradient flows became a choice of its own."""
_GRADIENT_CLASSES = {
    True: "cf.distillation.gradients.ThroughPast",
    False: "cf.distillation.gradients.Detached",
}


def with_current_names(settings: Any) -> Any:
    """The same settings; classes and what is set of them have the names of today."""
    named = _renamed(settings, _CURRENT, {first: now for now, first in FIRST_SETTINGS.items()})
    return _with_gradient(named)


def with_first_names(settings: Any) -> Any:
    """The same settings with first names: what is compared by hash stays equal after a move."""
    return _renamed(settings, _FIRST, FIRST_SETTINGS)


def current_argument(argument: str) -> tuple[str, str]:
    """`name=value` with today's name, and what is to be said if it had another; else empty."""
    name, equals, value = argument.partition("=")
    above, dot, last = name.rpartition(".")
    if name == "module.differentiable_past" and value.lower() in ("true", "false"):
        now = f"gradient={_GRADIENTS[value.lower() == 'true']}"
        return now, f"{argument} is {now} today; the old name goes with the next version"
    for now, first in FIRST_SETTINGS.items():
        if last == first and dot and equals:
            said = f"{name} is called {above}.{now} today; the old name goes with the next version"
            return f"{above}.{now}={value}", said
    return argument, ""


def _renamed(settings: Any, classes: dict[str, str], keys: dict[str, str]) -> Any:
    if isinstance(settings, list | tuple):
        return [_renamed(value, classes, keys) for value in settings]
    if not isinstance(settings, dict):
        return settings
    return {
        keys.get(name, name): classes.get(value, value)
        if name == "_target_" and isinstance(value, str)
        else _renamed(value, classes, keys)
        for name, value in settings.items()
    }


def _with_gradient(settings: Any) -> Any:
    """The settings of a training; one that was written before `gradient=` says it as today."""
    module = settings.get("module") if isinstance(settings, dict) else None
    if not isinstance(module, dict) or "differentiable_past" not in module:
        return settings
    updated = {name: value for name, value in module.items() if name != "differentiable_past"}
    updated["gradient"] = {"_target_": _GRADIENT_CLASSES[bool(module["differentiable_past"])]}
    return {**settings, "module": updated}
