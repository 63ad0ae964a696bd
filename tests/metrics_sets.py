"""Measures of likeness over time at a small size, and a stand-in for real extractors."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from cf.metrics.base import VideoMetric
from cf.metrics.consistency.consistency_horizon import ConsistencyHorizon
from cf.metrics.consistency.own_anchor import OwnAnchorAUC
from cf.metrics.consistency.semantic_drift import SemanticDrift, SemanticDriftAbsolute
from cf.metrics.consistency.similarity_to_first import SimilarityToFirst
from cf.metrics.consistency.temporal_consistency import (
    TemporalConsistency,
    TemporalConsistencyAbsolute,
)
from cf.metrics.consistency.vbench_consistency import (
    BackgroundConsistencyVBench,
    ClipToClipRaw,
    SubjectConsistencyVBench,
)
from cf.metrics.extractors.base import Extractor
from cf.metrics.repetition.cross_prompt_collapse import CrossPromptCollapse
from cf.metrics.text.segment_text import SegmentTextSimilarity
from cf.metrics.text.text_similarity import PromptDrift, TextSimilarity


class Shrunken(Extractor):
    """Frames shrunken to 8 x 8, centred and projected at random: a stub, evidence of nothing."""

    name = "shrunken"
    semantic = False

    def __init__(self, width: int = 12, signed: bool = True) -> None:
        random = torch.Generator().manual_seed(0)
        self.matrix = torch.randn(3 * 64, width, generator=random)
        self.signed = signed

    @property
    def width(self) -> int:
        return self.matrix.shape[1]

    def __call__(self, frames: Tensor) -> Tensor:
        small = torch.nn.functional.adaptive_avg_pool2d(frames, 8).flatten(1)
        features = torch.stack([one @ self.matrix for one in small - 0.5])
        return features if self.signed else features.abs()

    def encode_text(self, texts: list[str]) -> Tensor:
        """Another direction for each text."""
        seeds = [sum(map(ord, text)) for text in texts]
        draws = [torch.Generator().manual_seed(seed) for seed in seeds]
        return torch.stack([torch.randn(self.width, generator=one) for one in draws])

    def provenance(self) -> dict[str, Any]:
        return {"extractor": self.name, "width": self.width, "signed": self.signed}


TEXTS = {prompt: f"prompt {prompt}" for prompt in range(101)}

SETS: dict[str, Callable[[], VideoMetric]] = {
    "temporal_consistency": lambda: TemporalConsistency(Shrunken()),
    "temporal_consistency_absolute": lambda: TemporalConsistencyAbsolute(Shrunken(), kappa=0.1),
    "semantic_drift": lambda: SemanticDrift(Shrunken()),
    "semantic_drift_absolute": lambda: SemanticDriftAbsolute(Shrunken(), kappa=0.1),
    "consistency_horizon": lambda: ConsistencyHorizon(Shrunken()),
    "own_anchor": lambda: OwnAnchorAUC(Shrunken()),
    "cross_prompt_collapse": lambda: CrossPromptCollapse(Shrunken()),
    "subject_consistency": lambda: SubjectConsistencyVBench(Shrunken()),
    "background_consistency": lambda: BackgroundConsistencyVBench(Shrunken()),
    "clip_to_clip_raw": lambda: ClipToClipRaw(Shrunken(), clip=1.0),
    "similarity_to_first": lambda: SimilarityToFirst(Shrunken(), times=(2, 4)),
    "text_similarity": lambda: TextSimilarity(Shrunken(), TEXTS, times=(2, 4)),
    "prompt_drift": lambda: PromptDrift(Shrunken(), TEXTS),
    "segment_text": lambda: SegmentTextSimilarity(Shrunken(), TEXTS),
}
