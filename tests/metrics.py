"""Every metric at a small size, and videos to try them on."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from hydra.utils import get_class
from metrics_motion import MOTION
from metrics_recall import RECALL, WORLD, truths
from metrics_sets import SETS, TEXTS, Shrunken
from metrics_truth import TRUTH
from torch import Tensor

from cf.metrics.base import VideoMetric
from cf.metrics.extractors.base import Extractor
from cf.metrics.motion.flickering import TemporalFlickeringVBench
from cf.paths import CONFIG_DIR


class Projection(Extractor):
    """A fixed random projection of shrunken frames: a stub for laws, no evidence of anything."""

    name = "projection"
    semantic = False

    def __init__(self, width: int = 12, signed: bool = True) -> None:
        random = torch.Generator().manual_seed(0)
        self.matrix = (
            torch.randn(3 * 64, width, generator=random)
            if signed
            else (torch.rand(3 * 64, width, generator=random))
        )

    @property
    def width(self) -> int:
        return self.matrix.shape[1]

    def __call__(self, frames: Tensor) -> Tensor:
        small = torch.nn.functional.adaptive_avg_pool2d(frames, 8).flatten(1)
        return torch.stack([one @ self.matrix for one in small])

    def provenance(self) -> dict[str, Any]:
        return {"extractor": self.name, "width": self.width}


METRICS: dict[str, Callable[[], VideoMetric]] = {
    "temporal_flickering": TemporalFlickeringVBench,
}
"""Name in tests -> a metric that gives a number on `moving()`."""
METRICS |= MOTION
METRICS |= SETS
METRICS |= RECALL


def shipped(file: Path) -> Callable[[], VideoMetric]:
    """A metric by its settings, with stand-ins for what a command hands it."""
    settings = yaml.safe_load(file.read_text())
    made = get_class(settings.pop("_target_"))
    stand_ins = {"extractor": Shrunken(), "world": WORLD, "texts": TEXTS}
    settings |= {name: one for name, one in stand_ins.items() if name in settings}
    return lambda: made(**settings)


OTHER_VIDEOS = {"cut_rate", "switch_response", "prompt_return"}
"""Without a number on `moving()`; test_cuts, test_metrics_sets and test_prompt_return try them."""
METRICS |= {
    file.stem: shipped(file)
    for file in sorted((Path(CONFIG_DIR) / "metric").glob("*.yaml"))
    if file.stem not in {*METRICS, *OTHER_VIDEOS}  # those above are at a small size
}
METRICS |= TRUTH


@dataclass(frozen=True)
class Piece:
    """Arguments of one update."""

    frames: Tensor
    video_id: int
    start_frame: int
    more: dict[str, Any]

    def give(self, metric: Any) -> Any:
        """Through `forward` if `metric` is called, through `update` if it is a metric."""
        act = metric.update if isinstance(metric, VideoMetric) else metric
        return act(self.frames, self.video_id, self.start_frame, **self.more)


def moving(videos: int = 18, frames: int = 40, size: int = 24, fps: float = 8.0) -> list[Piece]:
    """Whole videos: a textured square that drifts over a textured ground, another per video."""
    made = []
    for number in range(videos):
        random = torch.Generator().manual_seed(number)
        ground = _texture(random, size)
        square = _texture(random, size // 3)
        step = torch.rand(2, generator=random) * 2 - 1
        place = torch.rand(2, generator=random) * size
        pictures = []
        for frame in range(frames):
            picture = torch.roll(ground, round(frame * float(step[0])), -1)
            top, left = ((place + frame * step).long() % (size - len(square[0]))).tolist()
            picture[:, top : top + len(square[0]), left : left + len(square[0])] = square
            pictures.append(picture)
        more = {
            "fps": fps,
            "prompt_id": number // 2 if number < 2 else number,  # two videos of one prompt
            "boundaries": range(0, frames, 8),
        }
        whole = torch.stack(pictures)
        made.append(Piece(whole, number, 0, {**more, **truths(whole, number)}))
    return made


def _texture(random: torch.Generator, size: int) -> Tensor:
    coarse = torch.rand(1, 3, max(size // 4, 2), max(size // 4, 2), generator=random)
    return torch.nn.functional.interpolate(coarse, (size, size), mode="bicubic").clamp(0, 1)[0]


def cut(whole: Piece, *at: int) -> Iterator[Piece]:
    """The same video in pieces that begin at frame 0 and at `at`."""
    stops = [*at, len(whole.frames)]
    for start, stop in zip([0, *at], stops, strict=True):
        more = dict(whole.more)
        if "reference" in more:
            more["reference"] = more["reference"][start:stop]
        if "truth" in more:
            more["truth"] = {name: rows[start:stop] for name, rows in more["truth"].items()}
        yield Piece(whole.frames[start:stop], whole.video_id, start, more)
