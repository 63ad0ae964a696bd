"""Results as TensorBoard shows them: contestants side by side, over the seconds of video."""

from __future__ import annotations

import io
import math
import shutil
from itertools import islice
from pathlib import Path
from typing import cast

import pandas as pd
import torch
from jaxtyping import Float
from PIL import Image
from tensorboard.compat.proto.summary_pb2 import Summary
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from cf.bench.contest import BenchmarkResults
from cf.bench.store import SHEET, VIDEO, Store, folder_of
from cf.report.charts import lag_curves
from cf.report.heatmap import heatmap_over_time, over_lags
from cf.report.hparams import write_hparams
from cf.report.long_tables import LongTables
from cf.video.reader import read_chunks
from cf.video.sheet import gif_bytes
from cf.video.timeline import timeline

_TOGETHER = "_together"  # the run of what shows all contestants in one picture
_MOST_FRAMES, _MOST_WIDTH = 48, 128  # of a moving picture


def write_benchmark_board(contest: BenchmarkResults, tables: LongTables, folder: Path) -> Path:
    """A run per contestant: scalars whose step is the tenth of a second, headlines, videos, sheets.

    The folder is written anew, so that nothing of an earlier report is left in it.
    """
    root = folder / "tensorboard"
    shutil.rmtree(root, ignore_errors=True)
    curves = tables["per_window"]
    for name in contest.made:
        writer = SummaryWriter(str(root / folder_of(name)))
        windows = curves[curves["contestant"] == name]
        means = windows.groupby(["metric", "second"])["value"].mean()
        for key, value in means.items():
            metric, second = cast(tuple[str, float], key)
            if math.isfinite(value):
                title, _ = contest.made[name].longest[metric].curve_title
                writer.add_scalar(f"over_time/{title}", value, round(second * 10))
        _headlines(writer, contest, name)
        _pictures(writer, contest, Store(folder), name)
        writer.close()
    _heat(root, contest, curves)
    return root


def _heat(root: Path, contest: BenchmarkResults, windows: pd.DataFrame) -> None:
    """Recall by lag and over time, all contestants in one picture, as a run of its own."""
    pictures: dict[str, bytes] = {}
    for metric in next(iter(contest.made.values())).longest:
        if not (lagged := lag_curves(contest.made, metric)):
            continue
        drawn = {
            f"recall_by_lag/{metric}": over_lags(lagged, metric),
            f"recall_over_time/{metric}": heatmap_over_time(
                windows[windows["metric"] == metric], metric
            ),
        }
        pictures |= {tag: encoded for tag, encoded in drawn.items() if encoded is not None}
    if pictures:
        writer = SummaryWriter(str(root / _TOGETHER))
        for tag, encoded in pictures.items():
            _png(writer, tag, encoded)
        writer.close()


def _png(writer: SummaryWriter, tag: str, encoded: bytes) -> None:
    with Image.open(io.BytesIO(encoded)) as picture:
        size = torch.empty(0, 3, picture.height, picture.width)
    _image(writer, tag, encoded, size)


def _headlines(writer: SummaryWriter, contest: BenchmarkResults, name: str) -> None:
    entry = next(entry for entry in contest.entered if entry.name == name)
    terms = entry.terms
    assert terms is not None  # whoever made something has them
    values = {
        f"headline/{metric}@{seconds:g}s": cell.shown
        for seconds, table in contest.headlines.items()
        for metric, cell in table.cells[name].items()
    }
    described = {
        "contestant": entry.name,
        "source": entry.contestant.source,
        "attended frames": str(terms.attended or "all"),
        **entry.contestant.ways(),
        "not measured": _not_measured(contest, name),
    }
    write_hparams(writer, described, values, 0)


def _not_measured(contest: BenchmarkResults, name: str) -> str:
    """Headlines without a value, and gates that were not measured, at the longest duration."""
    cells = contest.last.cells[name].items()
    parts = [f"{key}: {cell.note}" for key, cell in cells if not math.isfinite(cell.shown)]
    gates = contest.last.not_measured(name)
    return "; ".join([*parts, *([f"gates: {gates}"] if gates else [])])


def _pictures(writer: SummaryWriter, contest: BenchmarkResults, store: Store, name: str) -> None:
    """Moving pictures as GIF in image summaries: TensorBoard's own video summary shows nothing."""
    for item in dict.fromkeys(job.item for job in contest.jobs):
        job = store.folder(name, item.key)
        if (job / VIDEO).is_file():
            small, fps = _small(job / VIDEO)
            _image(writer, f"videos/{item.key}", gif_bytes(small, fps), small)
        if (job / SHEET).is_file() and (job / VIDEO).is_file():
            _png(writer, f"sheets/{item.key}", (job / SHEET).read_bytes())


def _small(path: Path) -> tuple[Float[Tensor, "t 3 h w"], float]:
    """A few small frames, evenly spread, and their rate; the whole video is never in memory."""
    line = timeline(path)
    stride = -(-line.pictures(line.fps) // _MOST_FRAMES)
    frames = (frame for chunk in read_chunks(path, _MOST_FRAMES) for frame in chunk)
    small = []
    for frame in islice(frames, 0, None, stride):
        shrink = -(-frame.shape[-1] // _MOST_WIDTH)
        small.append(frame[:, ::shrink, ::shrink].clone())  # a view would keep the whole chunk
    return torch.stack(small).float() / 255, line.fps / stride


def _image(writer: SummaryWriter, tag: str, encoded: bytes, like: Tensor) -> None:
    height, width = like.shape[-2:]
    image = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=encoded)
    file = writer._get_file_writer()
    file.add_summary(Summary(value=[Summary.Value(tag=tag, image=image)]), 0)
