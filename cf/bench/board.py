"""Results as TensorBoard shows them: contestants side by side, over the seconds of video."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any, cast

import torch
from PIL import Image
from tensorboard.compat.proto.summary_pb2 import Summary
from torch.utils.tensorboard import SummaryWriter

from cf.bench.contest import Contest
from cf.bench.results import per_window
from cf.bench.store import SHEET, VIDEO, Store
from cf.video.reader import read_video
from cf.video.sheet import gif_bytes

_MOST_FRAMES, _MOST_WIDTH = 48, 128  # of a moving picture


def write_board(contest: Contest, folder: Path) -> Path:
    """A run per contestant: scalars whose step is the tenth of a second, headlines, videos, sheets.

    The folder is written anew, so that nothing of an earlier report is left in it.
    """
    root = folder / "tensorboard"
    shutil.rmtree(root, ignore_errors=True)
    curves = per_window(contest.made)
    for name in contest.made:
        writer = SummaryWriter(str(root / name))
        mine = curves[curves["contestant"] == name]
        means = mine.groupby(["metric", "second"])["value"].mean()
        for key, value in means.items():
            metric, second = cast(tuple[str, float], key)
            if math.isfinite(value):
                writer.add_scalar(f"over_time/{metric}", value, round(second * 10))
        _headlines(writer, contest, name)
        _pictures(writer, contest, Store(folder), name)
        writer.close()
    return root


def _headlines(writer: SummaryWriter, contest: Contest, name: str) -> None:
    entry = next(one for one in contest.entered if one.files == name)
    terms = entry.terms
    values = {
        f"headline/{metric}@{seconds:g}s": cell.value
        for seconds, table in contest.headlines.items()
        for metric, cell in table.cells[name].items()
        if math.isfinite(cell.value)
    }
    described: dict[str, Any] = {"contestant": entry.name, "source": entry.contestant.source}
    if terms is not None:
        described["attended"] = terms.attended or "all"
    writer.add_hparams(described, values, run_name=".")


def _pictures(writer: SummaryWriter, contest: Contest, store: Store, name: str) -> None:
    """Moving pictures as GIF in image summaries: TensorBoard's own video summary shows nothing."""
    for item in dict.fromkeys(job.item for job in contest.jobs):
        job = store.job(name, item.key)
        if (job / VIDEO).is_file():
            video = read_video(job / VIDEO)
            stride = -(-len(video) // _MOST_FRAMES)
            shrink = -(-video.shape[-1] // _MOST_WIDTH)
            small = video[::stride, :, ::shrink, ::shrink]
            fps = next(one.terms.fps for one in contest.jobs if one.contestant == name)
            _image(writer, f"videos/{item.key}", gif_bytes(small, fps / stride), small)
        if (job / SHEET).is_file() and (job / VIDEO).is_file():
            with Image.open(job / SHEET) as picture:
                size = torch.empty(0, 3, picture.height, picture.width)
            _image(writer, f"sheets/{item.key}", (job / SHEET).read_bytes(), size)


def _image(writer: SummaryWriter, tag: str, encoded: bytes, like: torch.Tensor) -> None:
    height, width = like.shape[-2:]
    image = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=encoded)
    file = writer._get_file_writer()
    file.add_summary(Summary(value=[Summary.Value(tag=tag, image=image)]), 0)
