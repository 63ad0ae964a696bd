"""Which gates of the benchmark real clips and degraded copies of them pass: clip x gate."""

import argparse
import math
import sys
from collections.abc import Iterator
from pathlib import Path

import torch
import yaml
from hydra.utils import instantiate
from torch import Tensor
from torchvision.transforms.functional import gaussian_blur
from tqdm import tqdm

from cf.bench.ranking import Gate
from cf.metrics.base import VideoMetric, together
from cf.paths import CONFIG_DIR
from cf.video.listing import SUFFIXES
from cf.video.probe import probe
from cf.video.reader import read_video

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from distortions import Scene, distorted

RATE, SIDE, SECONDS = 8.0, 128, 3.0
"""Pictures per second; pixels of the short side at most; length of the pieces of a clip."""
ROOMS = 4
"""Places of the engine for each path."""
COPIES = ("real", "still", "frozen", "still jitter", "shuffle", "noise", "blur", "loop")
COPIES += ("still flicker", "turns", "blurred")


def main() -> None:
    """Print a line for each clip, piece of a clip and degraded copy."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", help="of videos; or doom: rooms of a game engine, on all paths")
    parser.add_argument("--copies", nargs="*", choices=COPIES, default=COPIES)
    asked = parser.parse_args()
    bounds = yaml.safe_load((Path(CONFIG_DIR) / "benchmark.yaml").read_text())["gates"]
    known = {key: Path(CONFIG_DIR) / "metric" / f"{key}.yaml" for key in bounds}
    sys.stdout.write(
        "| clip | copy | " + " | ".join(bounds) + " |\n|" + " --- |" * (len(bounds) + 2) + "\n"
    )
    failing = dict.fromkeys(asked.copies, 0)
    found = dict(rooms() if asked.folder == "doom" else pieces(Path(asked.folder)))
    for copy in asked.copies:
        for name, video in tqdm(found.items(), desc=copy):
            metrics = {key: instantiate(yaml.safe_load(known[key].read_text())) for key in bounds}
            cells, failed = judged(metrics, bounds, degraded(video, copy))
            failing[copy] += failed
            sys.stdout.write(f"| {name} | {copy} | " + " | ".join(cells) + " |\n")
    for copy, count in failing.items():
        sys.stdout.write(f"{copy}: {count} of {len(found)} fail a gate\n")


def pieces(folder: Path) -> Iterator[tuple[str, Tensor]]:
    """Every clip of a folder, and pieces of the longer ones."""
    for path in sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES):
        info = probe(path)
        shrink = min(1.0, SIDE / min(info.height, info.width))
        size = (round(info.height * shrink), round(info.width * shrink))
        video = read_video(path, RATE, size, max_seconds=12)
        yield path.stem, video
        step = round(SECONDS * RATE)
        for start in range(0, len(video) - step // 2, step) if len(video) > 1.5 * step else ():
            yield f"{path.stem} from {start / RATE:g} s", video[start : start + step]


def rooms() -> Iterator[tuple[str, Tensor]]:
    """Videos of an engine's rooms on each of its camera's paths, and pieces of them."""
    from cf.data.world.doom.path import Return, Still, Tour, Visits
    from cf.data.world.doom.world import Doom

    step = round(SECONDS * RATE)
    for path in (Visits(), Return(), Tour(), Still()):
        for number in range(ROOMS):
            name = f"{type(path).__name__.lower()} {number}"
            video = Doom(path=path, fps=RATE).draw(0, [number], 4 * step).video[0]
            yield name, video
            yield f"{name} from {SECONDS:g} s", video[step : 2 * step]


def degraded(video: Tensor, copy: str) -> Tensor:
    """The clip, or a copy of it that no gate should let pass."""
    still = video[:1].expand_as(video)
    shown = still if copy.startswith("still") else video
    if copy == "turns":  # two stills
        return video[[0, -1]].repeat(-(-len(video) // 2), 1, 1, 1)[: len(video)]
    if copy == "blurred":  # from its first frame on
        return gaussian_blur(video, 6 * (min(video.shape[-2:]) // 32) + 1)
    nothing = torch.zeros(len(video), *video.shape[-2:], dtype=torch.bool)
    scene = Scene(shown.clone(), video.flip(-1), nothing, RATE)
    name = {"frozen": "freeze", "still jitter": "jitter", "still flicker": "flicker"}.get(
        copy, copy
    )
    strength = 0.7 if copy == "frozen" else 1.0
    return shown if name in ("real", "still") else distorted(name, scene, strength)


def judged(
    metrics: dict[str, VideoMetric], bounds: dict[str, list[float | None]], video: Tensor
) -> tuple[list[str], bool]:
    """A cell for each gate, and whether one fails."""
    watched = together([*metrics.values()])
    watched.update(video, 0, fps=RATE)
    cells, failed = [], False
    for key, metric in metrics.items():
        value = watched[metric.name].result().per_video.get(0, math.nan)
        holds = Gate(key, *bounds[key]).holds(value)
        failed |= holds is False
        verdict = {True: "", False: " FAILS", None: "not measured"}[holds]
        cells.append(verdict if holds is None else f"{value:.3g}{verdict}")
    return cells, failed


if __name__ == "__main__":
    main()
