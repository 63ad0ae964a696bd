"""Metrics that compare with an engine's pictures, on an engine of coloured panels."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from cf.metrics.base import VideoMetric
from cf.metrics.extractors.handcrafted import Handcrafted
from cf.metrics.truth.choice import ForcedChoice
from cf.metrics.truth.novel import PoseNovelEntropy, PoseNovelFrechet
from cf.metrics.truth.pose import PoseObedience
from cf.metrics.truth.revisit import PoseRevisitLPIPS, PoseRevisitPSNR, PoseRevisitSSIM

AWAY = (0, -1, 16, 24, 40, -2)


class Panels:
    """Walls of 24 panels around the camera above a chequered floor; a thing behind every third.

    A picture shows 6 of the panels. A stub for laws, no evidence of anything.
    """

    panels, view = 24, 6

    def painted(
        self,
        seed: int,
        number: int,
        pose: Tensor,
        size: tuple[int, int],
        other: int = 0,
        kept: str = "",
    ) -> tuple[Tensor, Tensor]:
        walls, floor, things = (
            torch.rand(n, 3, generator=torch.Generator().manual_seed(hash((number, name))))
            for n, name in (
                (self.panels, 0 if kept == "surfaces" else other),
                (2, 100 if kept == "surfaces" else 100 + other),
                (self.panels, 200 if kept == "things" else 200 + other),
            )
        )
        height, width = size
        rows, columns = torch.arange(height), torch.arange(width)
        at = (columns * self.view // width - pose[:, 2:] * self.panels // 1024) % self.panels
        picture = walls[at][:, None].expand(-1, height, -1, -1).clone()
        chequers = floor[(rows[height // 2 :, None] // 2 + at[:, None] + columns // 3) % 2]
        picture[:, height // 2 :] = chequers
        low = (rows >= height // 3) & (rows < 2 * height // 3)
        thing = low[None, :, None] & (at % 3 == 0)[:, None]
        return torch.where(thing[..., None], things[at][:, None], picture).permute(
            0, 3, 1, 2
        ), thing

    def pictures(self, *where: Any, **which: Any) -> Tensor:
        return self.painted(*where, **which)[0]

    def regions(self, seed: int, number: int, pose: Tensor, size: tuple[int, int]) -> Tensor:
        rows = torch.arange(size[0])[None, :, None].expand(len(pose), -1, size[1])
        return (rows >= size[0] // 2).long()

    def turned(self, pose: Tensor, degrees: float) -> Tensor:
        by = torch.tensor([0, 0, round(degrees / 360 * 1024)])
        return torch.cat((pose[:, :2].long(), (pose + by)[:, 2:] % 1024), 1)

    def provenance(self) -> dict[str, Any]:
        return {"world": "panels"}


def rows(number: int, frames: int) -> dict[str, Tensor]:
    """What is known of a camera that turns; nothing that the videos of the laws obey."""
    at = torch.arange(frames)
    away = torch.tensor(AWAY)[at * len(AWAY) // frames]
    pose = torch.stack((0 * at, 0 * at, at * 1024 // 24 % 1024), 1)
    return {
        "pose": pose,
        "away": away,
        "seed": torch.zeros(frames, dtype=torch.long),
        "number": torch.full((frames,), number),
    }


TRUTH: dict[str, Callable[[], VideoMetric]] = {
    "pose_revisit_psnr": lambda: PoseRevisitPSNR(Panels()),
    "pose_revisit_ssim": lambda: PoseRevisitSSIM(Panels(), side=16),
    "pose_revisit_lpips": lambda: PoseRevisitLPIPS(Panels(), "squeeze", random=0, rate=1),
    "forced_choice": lambda: ForcedChoice(Panels(), places=3),
    "forced_choice_of_things": lambda: ForcedChoice(Panels(), "objects", places=3),
    "pose_novel_frechet": lambda: PoseNovelFrechet(Panels(), Handcrafted(), least=2),
    "pose_novel_entropy": lambda: PoseNovelEntropy(Panels(), side=16),
    "pose_obedience": lambda: PoseObedience(Panels(), headings=6, side=16),
}
