"""Our metrics of VBench's formulas as ratios to these formulas written plainly, frame by frame.

    python benchmarks/vbench_formulas.py [--seconds 5] [--rounds 9]

Both take the same bytes in memory, on one thread, in turns; ratios are of processor time within a
round: median (least to greatest). What a formula needs of a network is the same extractor on both
sides, a few numbers of each frame (`handcrafted-v2`), so that the rest shows.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from statistics import median

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  (its usual name)

from cf.metrics.base import VideoMetric
from cf.metrics.consistency.vbench_consistency import SubjectConsistencyVBench
from cf.metrics.extractors.base import Extractor
from cf.metrics.extractors.handcrafted import Handcrafted
from cf.metrics.motion.flickering import TemporalFlickeringVBench
from cf.system.opencv import cv2

FPS, PIECE = 16, 48  # frames per second, and frames of an update


def flickering(pictures: list[np.ndarray], number: type = np.float32) -> float:
    """Of pictures (height, width, 3) in bytes; VBench makes each float32 for every pair."""
    errors = [
        np.mean(cv2.absdiff(one.astype(number, copy=False), other.astype(number, copy=False)))
        for one, other in pairwise(pictures)
    ]
    return float((255 - np.mean(errors)) / 255)


def subject_consistency(frames: torch.Tensor, extractor: Extractor) -> float:
    """Of frames (t, 3, height, width) in bytes."""
    total, first, former = 0.0, None, None
    for frame in frames:
        feature = F.normalize(extractor(frame[None].float() / 255), dim=-1)
        if first is None or former is None:
            first = former = feature
            continue
        alike = [max(0.0, F.cosine_similarity(one, feature).item()) for one in (former, first)]
        total, former = total + sum(alike) / 2, feature
    return total / (len(frames) - 1)


def ours(metric: VideoMetric, frames: torch.Tensor) -> float:
    """A metric of ours of the same frames."""
    metric.reset()
    for start in range(0, len(frames), PIECE):
        metric.update(frames[start : start + PIECE], 0, start, fps=FPS)
    return float(metric.compute())


def main() -> None:
    """Print a line for each formula."""
    kind = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=kind)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--size", type=int, nargs=2, default=(480, 832), help="height and width")
    given = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    generator = torch.Generator().manual_seed(0)
    shape = round(given.seconds * FPS), 3, *given.size
    frames = torch.randint(256, shape, generator=generator, dtype=torch.uint8)
    pictures = [np.ascontiguousarray(one.permute(1, 2, 0).numpy()) for one in frames]
    extractor = Handcrafted()
    subject, flicker = SubjectConsistencyVBench(extractor), TemporalFlickeringVBench()
    pairs: dict[str, tuple[Callable[[], float], Callable[[], float]]] = {
        "temporal_flickering": (lambda: ours(flicker, frames), lambda: flickering(pictures)),
        "temporal_flickering in bytes": (
            lambda: ours(flicker, frames),
            lambda: flickering(pictures, np.uint8),
        ),
        "subject_consistency": (
            lambda: ours(subject, frames),
            lambda: subject_consistency(frames, extractor),
        ),
    }
    for name, sides in pairs.items():
        ratios, apart = [], 0.0
        for turn in range(given.rounds + 1):
            seconds, values = [0.0, 0.0], [0.0, 0.0]
            for i in (0, 1) if turn % 2 else (1, 0):
                began = time.process_time()
                values[i] = sides[i]()
                seconds[i] = time.process_time() - began
            apart = max(apart, abs(values[0] - values[1]))
            if turn:  # the first warms up
                ratios.append(seconds[0] / seconds[1])
        sys.stdout.write(
            f"{name}: {median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}) of the "
            f"formula; values differ by {apart:.1e}\n"
        )


if __name__ == "__main__":
    main()
