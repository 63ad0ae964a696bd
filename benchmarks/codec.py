"""What a codec keeps of pictures: held-out places of the engine, and clips, beside a bare resize.

    python benchmarks/codec.py RUN
    python benchmarks/codec.py RUN --videos FOLDER --size 96 128 --sheet sheet.png

RUN is a run of `python -m cf.fit experiment=doom_codec`. The resize makes each frame smaller by
area, to as many numbers as the codec's latents have, and larger again by cubic interpolation.
PSNR in dB, SSIM and, where its weights are installed, shift tolerant LPIPS are means over frames.
`flicker` is the mean change from frame to frame of what is left of a picture that stands still, in
grey levels of 255.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F  # noqa: N812  (its usual name)
from torch import Tensor

from cf.data.world.doom.world import Doom
from cf.metrics.extractors.lookup import MissingWeightsError
from cf.metrics.fidelity.full_reference import Decibels, FrameSimilarity, Structure
from cf.metrics.fidelity.perceptual import Perceptual
from cf.models.autoencoder import VideoAutoencoder
from cf.video.listing import listed_in
from cf.video.probe import probe
from cf.video.reader import read_frames
from cf.video.sheet import contact_sheet

_HELD_OUT = 2**32 - 5  # a seed of places that no training draws
_FRAMES = 17
_FPS = 8.0
Through = Callable[[Tensor], Tensor]


def main(given: Sequence[str] | None = None) -> None:
    """Print a row for each kind of video."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", help="folder of a run, or its network.safetensors")
    parser.add_argument("--videos", type=Path, help="folder of clips")
    parser.add_argument("--size", type=int, nargs=2, default=(48, 64), help="height and width")
    parser.add_argument("--places", type=int, default=8, help="of the engine")
    parser.add_argument("--sheet", type=Path, help="picture to write")
    args = parser.parse_args(given)
    codec = VideoAutoencoder.from_file(args.run)
    size = int(args.size[0]), int(args.size[1])
    sources = {"places": list(_places(size, args.places))}
    if args.videos is not None:
        sources["clips"] = list(_clips(args.videos, size))
    ways: dict[str, Through] = {
        "codec": lambda video: codec.decode(codec.encode(video)),
        "resize": partial(_resized, numbers=_numbers(codec, size)),
    }
    measures: list[FrameSimilarity] = [Decibels(), Structure(), *_perceptual()]
    names = " | ".join(one.name for one in measures)
    sys.stdout.write(f"| videos | | {names} | flicker |\n|---|---|{'---|' * (len(measures) + 1)}\n")
    with torch.no_grad():
        for name, videos in sources.items():
            for way, through in ways.items():
                pairs = [(through(video)[0], video[0]) for video in videos]
                told = [
                    f"{float(torch.cat([measure(*pair) for pair in pairs]).mean()):.3f}"
                    for measure in measures
                ]
                still = [video[:, :1].expand_as(video) for video in videos]
                flicker = sum(_change(through(video)) for video in still) / len(still)
                sys.stdout.write(f"| {name} | {way} | {' | '.join(told)} | {flicker:.3f} |\n")
            if args.sheet is not None and name == next(iter(sources)):
                _draw([*videos[:3]], ways, args.sheet)


def _places(size: tuple[int, int], count: int) -> Iterator[Tensor]:
    world = Doom(size=size, fps=_FPS)
    for number in range(count):
        yield world.draw(_HELD_OUT, [number], _FRAMES).batch()["video"]


def _clips(folder: Path, size: tuple[int, int]) -> Iterator[Tensor]:
    for path in listed_in(folder).videos:
        if probe(path).pictures(_FPS) > _FRAMES:
            yield (read_frames(path, 0.0, _FRAMES, _FPS, size).float() / 255)[None]


def _numbers(codec: VideoAutoencoder, size: tuple[int, int]) -> float:
    """Numbers that stand for a pixel frame."""
    channels, rows, columns = codec.latent_shape(*size)
    return channels * rows * columns / codec.time_stride


def _resized(video: Tensor, numbers: float) -> Tensor:
    height, width = video.shape[-2:]
    scale = (numbers / (3 * height * width)) ** 0.5
    small = F.interpolate(
        video[0], (max(1, round(height * scale)), max(1, round(width * scale))), mode="area"
    )
    large = F.interpolate(small, (height, width), mode="bicubic", align_corners=False)
    return large.clamp(0, 1)[None]


def _perceptual() -> list[FrameSimilarity]:
    """LPIPS, shift tolerant, where its weights are installed (extra `st-lpips`)."""
    try:
        return [Perceptual("st-alex")]
    except MissingWeightsError:
        return []


def _change(video: Tensor) -> float:
    return float((video[:, 1:] - video[:, :-1]).abs().mean()) * 255


def _draw(videos: Sequence[Tensor], ways: dict[str, Through], path: Path) -> None:
    """Truth above, then each way."""
    rows = [torch.cat([v, *(through(v) for through in ways.values())], -2) for v in videos]
    whole = torch.cat(rows, -1)[0].repeat_interleave(3, -1).repeat_interleave(3, -2)
    contact_sheet(whole, path, count=4, columns=2, most_width=2000)


if __name__ == "__main__":
    main()
