"""Which gates of the benchmark real clips and degraded copies of them pass: clip x gate.

For an engine's rooms, the gates are those of suite=world world=doom, on differences from the true
video: such a world stands still and is seen again by itself. What is real there is the same way
through another place.
"""

import argparse
import math
import sys
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import torch
import yaml
from hydra.utils import instantiate
from torch import Tensor
from torchvision.transforms.functional import gaussian_blur
from tqdm import tqdm

from cf.evaluation.gates import Gate
from cf.metrics.base import VideoMetric, together
from cf.paths import CONFIG_DIR
from cf.video.naming import SUFFIXES
from cf.video.probe import probe
from cf.video.reader import read_video

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from distortions import Scene, distorted

RATE, SIDE, SECONDS = 8.0, 128, 3.0
"""Pictures per second; pixels of the short side at most; length of the pieces of a clip."""
ROOMS = 2
"""Of the engine's places, how many on each of the camera's paths."""
COPIES = ("real", "still", "frozen", "still jitter", "shuffle", "noise", "blur", "loop")
COPIES += ("still flicker", "turns", "blurred")


def main() -> None:
    """Print a line for each clip, piece of a clip and degraded copy."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", help="of videos; or doom, rooms of a game engine")
    parser.add_argument("--copies", nargs="*", choices=COPIES, default=COPIES)
    asked = parser.parse_args()
    rooms = asked.folder == "doom"
    bounds = yaml.safe_load((Path(CONFIG_DIR) / "gate_set/clips.yaml").read_text())
    for file in ("suite/world.yaml", "suite/world/doom.yaml") if rooms else ():
        bounds |= yaml.safe_load((Path(CONFIG_DIR) / file).read_text())["gates"]
    gates = {key: Gate(key, *(bound or (None, None))) for key, bound in bounds.items()}
    sys.stdout.write(
        "| clip | copy | " + " | ".join(gates) + " |\n|" + " --- |" * (len(gates) + 2) + "\n"
    )
    failing = dict.fromkeys(asked.copies, 0)
    found = list(drawn() if rooms else pieces(Path(asked.folder)))
    for clip in tqdm(found):
        truth = values(gates, clip.video) if rooms else {}
        for copy in asked.copies:
            video = clip.elsewhere if copy == "real" else degraded(clip.video, copy)
            measured = values(gates, clip.video if video is None else video)
            differ = {key: value - truth.get(key, 0.0) for key, value in measured.items()}
            cells, failed = judged(gates, differ)
            failing[copy] += failed
            sys.stdout.write(f"| {clip.name} | {copy} | " + " | ".join(cells) + " |\n")
    for copy, count in failing.items():
        sys.stdout.write(f"{copy}: {count} of {len(found)} fail a gate\n")


class Clip(NamedTuple):
    """A video, and for a drawn one what is seen on the same way through another place."""

    name: str
    video: Tensor
    elsewhere: Tensor | None = None


def pieces(folder: Path) -> Iterator[Clip]:
    """Every clip of a folder, and pieces of the longer ones."""
    for path in sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES):
        info = probe(path)
        shrink = min(1.0, SIDE / min(info.height, info.width))
        size = (round(info.height * shrink), round(info.width * shrink))
        video = read_video(path, RATE, size, max_seconds=12)
        yield Clip(path.stem, video)
        step = round(SECONDS * RATE)
        for start in range(0, len(video) - step // 2, step) if len(video) > 1.5 * step else ():
            yield Clip(f"{path.stem} from {start / RATE:g} s", video[start : start + step])


def drawn() -> Iterator[Clip]:
    """Twelve seconds of an engine's rooms on each of its camera's paths."""
    from cf.data.world.doom.painter import DoomPainter
    from cf.data.world.doom.path import Return, Still, Tour, Visits
    from cf.data.world.doom.world import Doom

    for path in (Visits(), Return(), Tour(), Still()):
        world = Doom(path=path, fps=RATE)
        for number in range(ROOMS):
            one = world.draw(0, [number], round(4 * SECONDS * RATE))
            assert one.truth.pose is not None
            pose, size = one.truth.pose[0], (world.size[0], world.size[1])
            other, _ = DoomPainter().painted(0, number, pose, size, other=1)
            yield Clip(f"{type(path).__name__.lower()} {number}", one.video[0], other)


def degraded(video: Tensor, copy: str) -> Tensor:
    """The clip, or a copy of it that no gate should let pass."""
    still = video[:1].expand_as(video)
    shown = still if copy.startswith("still") else video
    if copy == "turns":  # two stills
        return video[[0, -1]].repeat(-(-len(video) // 2), 1, 1, 1)[: len(video)]
    if copy == "blurred":  # from its first frame on
        return gaussian_blur(video, 6 * (min(video.shape[-2:]) // 32) + 1).clamp(0, 1)
    nothing = torch.zeros(len(video), *video.shape[-2:], dtype=torch.bool)
    scene = Scene(shown.clone(), video.flip(-1), nothing, RATE)
    name = {"frozen": "freeze", "still jitter": "jitter", "still flicker": "flicker"}.get(
        copy, copy
    )
    strength = 0.7 if copy == "frozen" else 1.0
    return shown if name in ("real", "still") else distorted(name, scene, strength)


def values(gates: Collection[str], video: Tensor) -> dict[str, float]:
    """Of the metrics of some gates."""
    known = {key: Path(CONFIG_DIR) / "metric" / f"{key}.yaml" for key in gates}
    metrics: dict[str, VideoMetric] = {
        key: instantiate(yaml.safe_load(file.read_text())) for key, file in known.items()
    }
    watched = together([*metrics.values()])
    watched.update(video, 0, fps=RATE)
    return {
        key: watched[metric.name].result().per_video.get(0, math.nan)
        for key, metric in metrics.items()
    }


def judged(gates: Mapping[str, Gate], measured: Mapping[str, float]) -> tuple[list[str], bool]:
    """A cell for each gate, and whether one fails."""
    verdicts = {True: "", False: " FAILS"}
    held = {key: gate.holds(measured[key]) for key, gate in gates.items()}
    cells = [
        "not measured" if one is None else f"{measured[key]:.3g}{verdicts[one]}"
        for key, one in held.items()
    ]
    return cells, False in held.values()


if __name__ == "__main__":
    main()
