"""Metrics that know the truth at a small size, and what is known of the videos of the laws."""

from collections.abc import Callable
from functools import cache
from typing import Any

from torch import Tensor

from cf.data.world.known import known
from cf.data.world.rooms import Rooms
from cf.metrics.attribute_recall import AttributeRecall
from cf.metrics.base import VideoMetric
from cf.metrics.full_reference import PSNR, SSIM
from cf.metrics.perceptual import LPIPS
from cf.metrics.recall import CrossRoomMatch, SelfRevisit, TriggerGate

WORLD = Rooms(size=(24, 24), num_places=2, stay_blocks=2, token=(12, 6))


@cache
def _rows(number: int, frames: int) -> dict[str, Tensor]:
    return known(WORLD.draw(0, [number], frames), 0, given=frames // 2)


def truths(frames: Tensor, number: int) -> dict[str, Any]:
    """A reference and a truth for a video of the laws; neither has to do with what it shows."""
    return {"reference": frames.flip(-1) * 0.9, "truth": _rows(number, len(frames))}


RECALL: dict[str, Callable[[], VideoMetric]] = {
    "psnr": PSNR,
    "ssim": lambda: SSIM(rate=2),
    "lpips": lambda: LPIPS("squeeze", random=0, rate=0.5, window=None),
    "attribute_recall": lambda: AttributeRecall(WORLD, gate=False),
    "self_revisit": lambda: SelfRevisit(WORLD, gate=False),
    "cross_room_match": lambda: CrossRoomMatch(WORLD),
    "trigger_gate": lambda: TriggerGate(WORLD),
}
