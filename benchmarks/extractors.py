"""What extractors take for change: frames of one video, of others, and the same ones disturbed.

    python benchmarks/extractors.py <folder of clips> [name ...]

A row per extractor: `chance`, the mean cosine of frames of different videos; `auc`, how often two
frames of one video are more alike than two of different ones; then 1 - (cosine - chance) /
(1 - chance) of frames a second apart and of frames before and after a disturbance: 0 nothing
changed, 1 as much as to another video.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import interpolate, normalize
from torchvision.transforms.functional import adjust_saturation, gaussian_blur

from cf.metrics.extractors.choose import extractor
from cf.metrics.extractors.handcrafted import Handcrafted
from cf.video.listing import listed_in
from cf.video.reader import probe, read_frames

HEIGHT, WIDTH = 256, 448
DISTURBED: dict[str, Callable[[Tensor], Tensor]] = {
    "mirrored": lambda x: x.flip(-1),
    "darker": lambda x: x * 0.6,
    "grey": lambda x: adjust_saturation(x, 0.2),
    "blurred": lambda x: gaussian_blur(x, [25, 25], [4.0, 4.0]),
    "noisy": lambda x: (x + 0.1 * torch.randn(x.shape, generator=_seeded())).clamp(0, 1),
    "closer": lambda x: interpolate(x[..., 38:-38, 67:-67], (HEIGHT, WIDTH), mode="bilinear"),
}


def main() -> None:
    """Print a table."""
    folder, *names = sys.argv[1:]
    torch.set_num_threads(1)
    clips = [seconds(path) for path in listed_in(Path(folder)).videos]
    frames = torch.cat(clips)
    video = torch.cat([torch.full((len(clip),), i) for i, clip in enumerate(clips)])
    heads = ("extractor", "chance", "auc", "a second", *DISTURBED, "ms a frame")
    sys.stdout.write(" | ".join(heads) + "\n")
    for name in names or [Handcrafted.name, "efficientnet-lite0"]:
        sys.stdout.write(" | ".join([name, *row(name, frames, video)]) + "\n")


def row(name: str, frames: Tensor, video: Tensor) -> list[str]:
    """Of one extractor."""
    see = extractor(name)
    start = time.perf_counter()
    features = normalize(see(frames), dim=1)
    spent = (time.perf_counter() - start) / len(frames) * 1000
    cosine = features @ features.T
    same = video[:, None] == video
    apart = same & ~torch.eye(len(video), dtype=torch.bool)
    chance = cosine[~same].mean()
    auc = (cosine[apart][:, None] > cosine[~same][None]).double().mean()
    after = torch.diagonal(cosine, 1)[video[1:] == video[:-1]]
    changes = [(features * normalize(see(f(frames)), dim=1)).sum(1) for f in DISTURBED.values()]
    shares = [1 - (float(x.mean()) - chance) / (1 - chance) for x in (after, *changes)]
    return [f"{float(x):.2f}" for x in (chance, auc, *shares)] + [f"{spent:.0f}"]


def seconds(path: Path) -> Tensor:
    """A frame of each second of a clip, in [0, 1]."""
    count = max(1, int(probe(path).duration))
    return read_frames(path, 0.0, count, 1.0, (HEIGHT, WIDTH)).float() / 255


def _seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


if __name__ == "__main__":
    main()
