"""The pictures and the table of training_signals.py."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
import yaml
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cf.bench.contestants.network import Network
from cf.data.world.module import WorldData
from cf.runs.generator import load
from cf.settings.build import build

Curves = Mapping[str, Sequence[tuple[int, float]]]
_HEALTHY, _PROVOKED = "#9AA0A6", "#B2182B"
_FRAMES, _GIVEN, _SHOWN, _DRAWN, _WORLDS = 30, 18, 8, 2, 8


def draw_curves(
    curves: Mapping[str, Curves],
    runs: Mapping[str, Any],
    signals: Mapping[str, str],
    logarithmic: Sequence[str],
    folder: Path,
) -> None:
    """A column for each run, a row for each signal; the healthy run of its kind in grey."""
    figure = Figure(figsize=(1.75 * len(runs), 1.25 * len(signals)), layout="constrained")
    grid = figure.subplots(len(signals), len(runs), sharey="row", squeeze=False)
    for column, (name, run) in enumerate(runs.items()):
        for row, (signal, title) in enumerate(signals.items()):
            axes: Axes = grid[row, column]
            for which, colour in ((run.healthy, _HEALTHY), (name, _PROVOKED)):
                points = curves.get(which, {}).get(signal, ())
                if points and (which != run.healthy or colour == _HEALTHY):
                    axes.plot(*zip(*points, strict=True), color=colour, linewidth=1.3)
            if signal in logarithmic:
                axes.set_yscale("log")
            axes.tick_params(labelsize=6, length=2)
            axes.spines[["top", "right"]].set_visible(False)
            axes.grid(alpha=0.25, linewidth=0.5)
            if not column:
                axes.set_ylabel(title, fontsize=7)
            if not row:
                axes.set_title(name.replace("_", " "), fontsize=9)
    for axes in grid[-1]:
        axes.set_xlabel("student step", fontsize=7)
    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(folder / "training_signals.png", dpi=72, pil_kwargs={"optimize": True})


def continued(runs: Mapping[str, Path]) -> dict[str, torch.Tensor]:
    """What each run's network makes after the same given frames; `truth` is the worlds' own."""
    videos: dict[str, torch.Tensor] = {}
    for name, run in runs.items():
        if not (run / "network.safetensors").is_file():  # the guard stopped it before the first
            continue
        settings = yaml.safe_load((run / "config.yaml").read_text())
        data = build(settings["data"], "data")
        assert isinstance(data, WorldData)
        drawn = data.world.draw(2**32 - 3, range(_WORLDS), _FRAMES)
        generator = load(Network(checkpoint=str(run))._loading("cpu"))
        with torch.inference_mode():
            made = generator.follow(drawn, _GIVEN, 0, list(range(_WORLDS)))
        videos.setdefault("truth", drawn.video)
        videos[name] = made
    return videos


def draw_sheet(videos: Mapping[str, torch.Tensor], folder: Path) -> None:
    """Frames after the given ones, of two worlds side by side, a row for each run."""
    figure = Figure(figsize=(11, 0.62 * len(videos) + 0.5), layout="constrained")
    grid = figure.subplots(len(videos), 1, squeeze=False)[:, 0]
    for axes, (name, made) in zip(grid, videos.items(), strict=True):
        axes.imshow(_row(made[:_DRAWN]), interpolation="nearest", aspect="auto")
        axes.set(xticks=[], yticks=[])
        axes.set_ylabel(name.replace("_", "\n"), fontsize=7, rotation=0, ha="right", va="center")
    figure.savefig(folder / "training_signals_sheet.png", dpi=60, pil_kwargs={"optimize": True})


def _row(videos: torch.Tensor) -> np.ndarray:
    at = torch.linspace(_GIVEN, videos.shape[1] - 1, _SHOWN).round().long()
    cells = torch.cat([torch.cat(list(video[at].clamp(0, 1)), -1) for video in videos], -1)
    return (cells.permute(1, 2, 0) * 255).round().to(torch.uint8).numpy()


def changes(videos: Mapping[str, torch.Tensor]) -> dict[str, str]:
    """How much changes from frame to frame in units of the truth's, as `recall/change` has it."""
    told = {name: float(x[:, _GIVEN:].diff(dim=1).abs().mean()) for name, x in videos.items()}
    return {name: f"{value / told['truth']:.2f}" for name, value in told.items()}


def table(
    curves: Mapping[str, Curves],
    runs: Mapping[str, Any],
    stopped: Mapping[str, str],
    changed: Mapping[str, str],
) -> str:
    """The last values of each run, and how near each came to the guard's bounds."""
    head = ["run", "provoked by", "score gap", "student's gradient", "entropy", "across rooms"]
    head += ["recall", "change", "norm / median", "critic / teacher", "the guard"]
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    for name, one in curves.items():
        ends = [_last(one, f"train/{what}") for what in ("score_norm", "student_gradient_norm")]
        what = ("entropy", "cross_room", "recall")
        ends += [_last(one, f"recall/{which}") for which in what] + [changed.get(name, "")]
        norms = [
            _exploded([value for _, value in one.get(f"train/{who}_gradient_norm", ())])
            for who in ("student", "critic")
        ]
        ratio = _smoothed([value for _, value in one.get("critic", ())])
        guard = [f"{max(norms):.3g}", f"{ratio:.3g}", stopped[name] or "let it run"]
        lines.append(f"| {' | '.join([name, runs[name].told, *ends, *guard])} |")
    return "\n".join(lines)


def _last(curves: Curves, name: str, over: int = 4) -> str:
    values = [value for _, value in curves.get(name, ())]
    values = values[-over if name.startswith("train") else -1 :]
    return f"{sum(values) / len(values):.3g}" if values else ""


def _exploded(norms: Sequence[float], patience: int = 20) -> float:
    """The greatest ratio of a norm to the median of those before it, as the guard takes it."""
    pairs = [(norms[i], median(norms[i - patience : i])) for i in range(patience, len(norms))]
    return max((norm / usual for norm, usual in pairs if usual), default=0.0)


def _smoothed(ratios: Sequence[float], patience: int = 20) -> float:
    """The greatest running mean of the critic's ratio, as the guard takes it."""
    mean, greatest = 1.0, 1.0
    for ratio in ratios:
        mean += (ratio - mean) / patience
        greatest = max(greatest, mean)
    return greatest
