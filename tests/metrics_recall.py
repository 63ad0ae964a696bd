"""Metrics that know the truth at a small size, and what is known of the videos of the laws."""

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from metrics_truth import rows
from torch import Tensor

from cf.data.world.known import known
from cf.data.world.needle import Needle
from cf.data.world.rooms import Rooms
from cf.metrics.base import VideoMetric
from cf.metrics.extractors.mean_colour import MeanColour
from cf.metrics.fidelity.full_reference import PSNR, SSIM
from cf.metrics.fidelity.fvd import FVD, VideoExtractor
from cf.metrics.fidelity.perceptual import LPIPS
from cf.metrics.recall.attribute_recall import AttributeRecall
from cf.metrics.recall.colour_recall import ColourRecall
from cf.metrics.recall.identity import IdentityPersistence
from cf.metrics.recall.needle import NeedleInVideo
from cf.metrics.recall.novel_content import CellQualityDrift, NovelEntropy, NovelQuality
from cf.metrics.recall.out_and_back import MirrorConsistency
from cf.metrics.recall.recall import CrossRoomMatch, SelfRevisit, TriggerGate
from cf.metrics.recall.recall_horizon import RecallHorizon
from cf.metrics.recall.revisit import RevisitLPIPS, RevisitPSNR, RevisitSSIM

WORLD = Rooms(size=(24, 24), num_places=2, stay_blocks=2, token=(12, 6))
NEEDLE = Needle(size=(24, 24), token=(12, 6), past_frames=24, shown_frames=3, away_frames=3)
PALETTE = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))


class Moving(VideoExtractor):
    """Mean colour and mean change of a clip: a stub for laws, no evidence of anything."""

    name = "moving"
    width = 4

    def __call__(self, clips: Tensor) -> Tensor:
        clips = clips.double()
        change = clips.diff(dim=1).abs().mean((1, 2, 3, 4))
        return torch.cat((clips.mean((1, 3, 4)), change[:, None]), 1)

    def provenance(self) -> dict[str, Any]:
        return {"extractor": self.name}


@cache
def _rows(number: int, frames: int) -> dict[str, Tensor]:
    """Rooms that come again and a needle; two things, hidden from frame 12 to frame 23."""
    made = known(WORLD.draw(0, [number], frames), 0, given=frames // 2)
    made["needle"] = NEEDLE.role(frames)
    instance = torch.zeros(frames, 24, 24, dtype=torch.long)
    instance[:, 2:12, 2:12], instance[:, 14:20, 10:22] = 1, 2
    instance[12:24] = 0
    colour = torch.tensor([0, 2]).expand(frames, 2)
    return {**made, **rows(number, frames), "instance": instance, "colour": colour}


def truths(frames: Tensor, number: int) -> dict[str, Any]:
    """A reference and a truth for a video of the laws; neither has to do with what it shows."""
    return {"reference": frames.flip(-1) * 0.9, "truth": _rows(number, len(frames))}


RECALL: dict[str, Callable[[], VideoMetric]] = {
    "psnr": PSNR,
    "ssim": lambda: SSIM(rate=1),
    "lpips": lambda: LPIPS("squeeze", random=0, rate=0.5, window=None),
    "fvd": lambda: FVD(Moving(), bin_seconds=2.0, least=6),
    "attribute_recall": lambda: AttributeRecall(WORLD, gate=False),
    "self_revisit": lambda: SelfRevisit(WORLD, gate=False),
    "cross_room_match": lambda: CrossRoomMatch(WORLD),
    "novel_entropy": lambda: NovelEntropy(WORLD),
    "novel_quality": lambda: NovelQuality(WORLD),
    "cell_quality_drift": lambda: CellQualityDrift(WORLD),
    "trigger_gate": lambda: TriggerGate(WORLD),
    "recall_horizon": lambda: RecallHorizon(
        WORLD, (0.0, 0.5, 1.0, 4.0), gate=False, significance=None, least=-1.0, resamples=20
    ),
    "needle_in_video": lambda: NeedleInVideo(WORLD, scene=("sky",)),
    "revisit_psnr": RevisitPSNR,
    "revisit_ssim": RevisitSSIM,
    "revisit_lpips": lambda: RevisitLPIPS("squeeze", random=0),
    "mirror_consistency": lambda: MirrorConsistency(MeanColour(), size=(6, 6)),
    "identity_persistence": lambda: IdentityPersistence(MeanColour(), 2, border=2),
    "colour_recall": lambda: ColourRecall(PALETTE, 2),
}
