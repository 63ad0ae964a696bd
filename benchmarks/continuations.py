"""Draws continuations of one video below each other, at the same seconds, under what is true.

    python benchmarks/continuations.py SHEET --truth FILE --given 2 --at 0 1 2 --made NAME=FILE ...

SHEET is the picture to write. Each FILE is a video of `cf.generate video=FILE given_seconds=2`;
its NAME stands beside it. Seconds count from the last given frame.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from cf.files.atomic import replacing
from cf.video.captions import line, with_row_names
from cf.video.reader import read_video
from cf.video.timeline import timeline

_NAMES = 110
"""Pixels of the column of names."""


def main(given: Sequence[str] | None = None) -> None:
    """One sheet."""
    from PIL import Image

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sheet", type=Path, help="picture to write")
    parser.add_argument("--made", nargs="+", required=True, help="NAME=FILE")
    parser.add_argument("--truth", type=Path, required=True, help="the video that is continued")
    parser.add_argument("--given", type=float, required=True, help="seconds of it that were given")
    parser.add_argument("--at", type=float, nargs="+", required=True, help="seconds after these")
    parser.add_argument("--width", type=int, default=120, help="pixels of a frame on the sheet")
    asked = parser.parse_args(given)
    made = dict(one.rpartition("=")[::2] for one in asked.made)
    first = read_video(next(iter(made.values())))
    fps, size = timeline(next(iter(made.values()))).fps, first.shape[-2:]
    rows = {"the video itself": read_video(asked.truth, fps, size)}
    rows |= {name: read_video(file) for name, file in made.items()}
    last = round(asked.given * fps) - 1
    picks = [last + round(second * fps) for second in asked.at]
    cell = round(asked.width * size[0] / size[1]), asked.width
    strips = torch.cat([_strip(video, picks, cell) for video in rows.values()], -2)
    sheet = torch.cat((_labels(asked.at, asked.width), strips), -2)
    pixels = (with_names(sheet, [*rows]).clamp(0, 1) * 255).round().byte().permute(1, 2, 0)
    kind = Image.registered_extensions()[asked.sheet.suffix.lower()]
    with replacing(asked.sheet) as temporary:
        Image.fromarray(pixels.numpy()).save(temporary, kind, quality=82)


def with_names(sheet: Tensor, names: Sequence[str]) -> Tensor:
    """The sheet, at its left the names of its rows; the first line has none.

    Args:
        sheet: (3, h, w), a line of labels above the rows.
        names: of the rows.
    """
    above = line("", 1).shape[-2]
    named = with_row_names(sheet[None, :, above:], names, _NAMES)[0]
    label = torch.cat((line("", _NAMES), sheet[:, :above]), -1)
    return torch.cat((label, named), -2)


def _strip(video: Tensor, picks: Sequence[int], cell: tuple[int, int]) -> Tensor:
    """Frames side by side, each as large as a cell; white where the video has ended."""
    nothing = torch.ones_like(video[0])
    frames = torch.stack([video[pick] if pick < len(video) else nothing for pick in picks])
    return torch.cat([*interpolate(frames, cell, mode="area")], -1)


def _labels(seconds: Sequence[float], width: int) -> Tensor:
    told = [f"+ {one:g} s" if one else "last given" for one in seconds]
    return torch.cat([line(text, width) for text in told], -1)


if __name__ == "__main__":
    main()
