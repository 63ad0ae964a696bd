"""Draws README's moving picture: the engine's truth, slow-fast memory and a window, from one noise.

python benchmarks/moving_picture.py docs/pictures/walk.webp --number 3
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from cf.bench.contestants.network import Network
from cf.data.world.again import away
from cf.files.atomic import replacing
from cf.files.shipped import shipped
from cf.memory import Sliding
from cf.memory.base import Memory
from cf.runs.generator import Generator, load
from cf.runs.steered_world import world_settings
from cf.settings.build import build

GIVEN, SECONDS, LARGER, BAR = 24, 24, 4, 40
PAPER, INK, GREY = (255, 255, 255), (20, 20, 20), (110, 110, 110)


def main() -> None:
    """One walk under two memories, beside what is true."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--checkpoint", default="shipped:student")
    parser.add_argument("--number", type=int, default=0, help="of the place")
    parser.add_argument("--seed", type=int, default=1_000_000, help="of places")
    asked = parser.parse_args()
    network = Network(checkpoint=shipped(asked.checkpoint))
    world = build(world_settings(shipped(asked.checkpoint)), "world")
    generator = load(network._loading("cpu"))
    frames = GIVEN + SECONDS * round(generator.fps) // 3 * 3
    film = world.film(asked.seed, [asked.number], frames)
    assert film.path is not None
    true = film.part(0, frames).video[0]
    lanes = {"the engine's own picture": true}
    window = Sliding(sink_frames=0, window_frames=6)
    for name, memory in (("slow-fast memory", None), ("a window of six frames", window)):
        maker = generator if memory is None else under(generator, memory)
        with torch.inference_mode():
            parts = maker.following(film, GIVEN, 0, [asked.number])
            made = next(parts)[0]
            while len(made) < frames:
                made = torch.cat((made, next(parts)[0]))
        lanes[name] = made
    lag = away(film.path[0], GIVEN)
    pictures = [drawn(lanes, lag, i, generator.fps) for i in range(frames)]
    with replacing(asked.picture) as temporary:
        pictures[0].save(
            temporary,
            "WEBP",
            save_all=True,
            append_images=pictures[1:],
            duration=round(1000 / generator.fps),
            loop=0,
            quality=70,
        )


def under(generator: Generator, memory: Memory) -> Generator:
    """The generator with another memory.

    Args:
        generator: of the network.
        memory: what it holds instead of its own.
    """
    return replace(generator, rollout=replace(generator.rollout, memory=memory))


def drawn(lanes: dict[str, Tensor], lag: Tensor, frame: int, fps: float) -> Image.Image:
    """The lanes side by side, and whether this view was seen before.

    Args:
        lanes: videos by name, (t, 3, h, w); the first is true.
        lag: of each frame, as `away` tells it.
        frame: which.
        fps: of the videos.
    """
    height, width = (side * LARGER for side in next(iter(lanes.values())).shape[-2:])
    sheet = Image.new("RGB", (len(lanes) * (width + 8) - 8, height + BAR), PAPER)
    write = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(14)
    true = lanes[next(iter(lanes))][frame]
    for i, (name, video) in enumerate(lanes.items()):
        pixels = (video[frame].float().clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
        picture = Image.fromarray(np.ascontiguousarray(pixels)).resize((width, height), 0)
        left = i * (width + 8)
        sheet.paste(picture, (left, 0))
        write.text((left + 2, height + 3), name, INK, font)
        error = float((video[frame] - true).square().mean())
        if i and int(lag[frame]) > 0:
            told = f"{-10 * np.log10(max(error, 1e-10)):.0f} dB"
        elif i:
            told = "given" if frame < GIVEN else ""
        else:
            told = f"{frame / fps:.0f} s" + said(int(lag[frame]), frame, fps)
        write.text((left + 2, height + 20), told, GREY, font)
    return sheet


def said(lag: int, frame: int, fps: float) -> str:
    """Whether a view was seen before, in words.

    Args:
        lag: as `away` tells it.
        frame: its number.
        fps: of the video.
    """
    if frame < GIVEN:
        return ", given"
    return f", seen {lag / fps:.0f} s ago" if lag > 0 else ""


if __name__ == "__main__":
    main()
