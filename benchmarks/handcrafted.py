"""Fits what handcrafted-v2 subtracts, the mean over varied pictures and their mirror images.

    python benchmarks/handcrafted.py <folder of clips> [--out <file>]

Drawn worlds count as much as real clips: the mean is over kinds of videos, of which each is a mean
over videos. Every other video is held out; between those the chance likeness `kappa` is measured.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import normalize

from cf.data.shapes import draw_clips
from cf.data.world.rooms import Rooms
from cf.data.world.walk import Walk
from cf.metrics.extractors.handcrafted import MIRRORED, raw
from cf.video.reader import read_video

PACKAGED = Path(__file__).parent.parent / "cf/metrics/extractors/handcrafted_v2.json"
FRAMES = 24
WORLDS = 64


def main() -> None:
    """Fit and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clips", type=Path, help="a folder of real clips")
    parser.add_argument("--out", type=Path, default=PACKAGED)
    given = parser.parse_args()
    torch.set_num_threads(1)
    kinds = {name: list(videos) for name, videos in sources(given.clips)}
    fitted = [video for videos in kinds.values() for video in videos[::2]]
    mean = torch.stack([torch.cat(videos[::2]).mean(0) for videos in kinds.values()]).mean(0)
    mean = (mean + mean[MIRRORED]) / 2  # from nearly to exactly without a left or right
    numbers = [round(float(x), 7) for x in mean]
    chances = {name: chance(videos[1::2], torch.tensor(numbers)) for name, videos in kinds.items()}
    made = {
        "made_by": "benchmarks/handcrafted.py",
        "videos": {name: len(videos) for name, videos in kinds.items()},
        "clips": sorted(path.name for path in clips(given.clips)),
        "fitted_videos": len(fitted),
        "frames_each": FRAMES,
        "kappa": round(sum(chances.values()) / len(chances), 4),
        "kappa_of": {name: round(value, 4) for name, value in chances.items()},
        "kappa_is": "mean cosine of frames of two held-out videos of one kind, mean over kinds",
        "sha256": hashlib.sha256(json.dumps(numbers).encode()).hexdigest(),
        "mean": numbers,
    }
    given.out.write_text(json.dumps(made, indent=1) + "\n")
    sys.stdout.write(f"{given.out}: kappa {made['kappa']} {made['kappa_of']}\n")


def sources(folder: Path) -> Iterator[tuple[str, Iterator[Tensor]]]:
    """Descriptions of the videos of each kind, mirror images included."""
    for name, world in (("rooms", Rooms), ("walk", Walk)):
        yield (
            name,
            (
                described(world(size=(side, side)).draw(7, [number], 96).video[0])
                for number in range(WORLDS)
                for side in [(32, 96)[number // 2 % 2]]
            ),
        )
    with tempfile.TemporaryDirectory() as drawn:
        paths = draw_clips(drawn, count=WORLDS, fps=4, seed=7)
        yield "shapes", (described(read_video(path, fps=4)) for path in paths)
    yield "clips", (described(read_video(path, fps=4)) for path in clips(folder))


def clips(folder: Path) -> list[Path]:
    """Video files of a folder."""
    found = sorted(folder.glob("*.mp4"))
    if len(found) < 4:
        raise ValueError(f"{folder} holds {len(found)} .mp4 files; give at least 4")
    return found


def described(frames: Tensor) -> Tensor:
    """What handcrafted-v2 sees, before the mean is subtracted, of some frames and their mirrors."""
    some = frames[:: max(1, len(frames) // FRAMES)][:FRAMES]
    return torch.cat((raw(some), raw(some.flip(-1))))


def chance(videos: list[Tensor], mean: Tensor) -> float:
    """Mean cosine of frames of two different videos."""
    sums = torch.stack([normalize(video - mean).double().mean(0) for video in videos])
    both = sums @ sums.T
    count = len(videos)
    return float((both.sum() - both.trace()) / (count * (count - 1)))


if __name__ == "__main__":
    main()
