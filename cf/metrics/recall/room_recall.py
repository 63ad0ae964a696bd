"""All that is told of what a model remembers of rooms, by the names of `cf.recall`'s tables."""

from collections.abc import Iterable, Mapping, Sequence
from typing import cast

from torch import Tensor

from cf.metrics.base import VideoMetric, together
from cf.metrics.lags import rising
from cf.metrics.pooled import PooledResult
from cf.metrics.recall.attribute_recall import AttributeRecall
from cf.metrics.recall.cells import CellWorld
from cf.metrics.recall.novel_content import CellQualityDrift, NovelEntropy, NovelQuality
from cf.metrics.recall.recall import CrossRoomMatch, SelfRevisit
from cf.types import Video

_SHARES = {
    "self_recall": "SelfRevisit",
    "cross_room": "CrossRoomMatch",
    "entropy": "NovelEntropy",
    "novel_quality": "NovelQuality",
    "drift": "CellQualityDrift",
}


class RoomRecall:
    """The metrics of recall over videos that continue drawn rooms, every return counted.

    Attributes:
        world: draws and reads the cells.
        lags: edges of the bins of lag, in frames.
        frames: of the longest video.
        fps: frames per second.
    """

    def __init__(self, world: CellWorld, lags: Sequence[float], frames: int, fps: float) -> None:
        edges = [lag / fps for lag in rising(lags, "lags", "frames")]
        every = (0.0, frames / fps)
        self.bins, self.fps, self.videos = len(edges) - 1, fps, 0
        self.metrics = together(
            [
                AttributeRecall(world, edges, gate=False),
                SelfRevisit(world, every, gate=False),
                CrossRoomMatch(world),
                NovelEntropy(world),
                NovelQuality(world),
                CellQualityDrift(world),
            ]
        )

    def update(self, videos: Video, truths: Sequence[Mapping[str, Tensor]]) -> None:
        """Count whole videos, of whose frames `cf.data.world.known` tells the truth."""
        for video, truth in zip(videos, truths, strict=True):
            self.metrics.update(video, self.videos, fps=self.fps, truth=truth)
            self.videos += 1

    def pooled(self) -> dict[str, PooledResult]:
        """Every number by name; `lag 0`, `lag 1` and so on is recall in that bin."""
        metrics = cast(Iterable[VideoMetric], self.metrics.values())
        results = {type(metric).__name__: metric.result() for metric in metrics}
        recall = results["AttributeRecall"].pooled
        by_lag = {f"lag {i}": recall[f"lag {i}"] for i in range(self.bins)}
        others = {name: results[metric].pooled["all"] for name, metric in _SHARES.items()}
        return {**by_lag, "recall": recall["all"], **others}
