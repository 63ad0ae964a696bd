"""The picture of a memory: source frames in its context, and their places in RoPE time."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, UInt8
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from cf.memory.trace import Shown, Story

Pixels = UInt8[np.ndarray, "height width 3"]
_MAP = colormaps["turbo"]
_PAPER, _INK, _GRID = 1.0, "#222222", "#bbbbbb"
_FINE = 8
"""Rows of the right panel for each unit of RoPE time."""


def picture(name: str, told: Sequence[Sequence[Shown]], story: Story) -> Pixels:
    """Two panels for each distinct read: by source frame, and by RoPE time."""
    rows = _rows(told)
    figure = Figure(figsize=(7.6, 0.55 + 2.35 * len(rows)), dpi=100, layout="constrained")
    axes = figure.subplots(len(rows), 2, squeeze=False)
    highest = max(_highest(shown) for shown in rows.values())
    for (label, shown), (left, right) in zip(rows.items(), axes, strict=True):
        _sources(left, shown, story)
        _places(right, shown, story, highest)
        left.set_ylabel("source frame" + (f"\n({label})" if label else ""))
        right.set_ylabel("RoPE time")
        _scenes(left, story)
    axes[0, 0].set_title(name, loc="left", fontweight="bold")
    for axis in axes[-1]:
        axis.set_xlabel("latent frame being made")
    return _pixels(figure)


def overview_of_memories(traces: Mapping[str, Sequence[Sequence[Shown]]], story: Story) -> Pixels:
    """Every memory's panels, small and side by side; what the first denoising step is shown."""
    columns = 4
    rows = -(-len(traces) // columns)
    figure = Figure(figsize=(2.4 * columns, 2.05 * rows), dpi=100, layout="constrained")
    cells = figure.subfigures(rows, columns, squeeze=False).flatten()
    for cell, (name, blocks) in zip(cells, traces.items(), strict=False):
        left, right = cell.subplots(1, 2)
        shown = [block[0] for block in blocks]
        _sources(left, shown, story)
        _places(right, shown, story, _highest(shown))
        cell.suptitle(name, fontsize=8, fontweight="bold")
        for axis in (left, right):
            axis.tick_params(labelsize=5, length=1.5, pad=1)
            axis.locator_params(nbins=4)
    return _pixels(figure)


def _rows(blocks: Sequence[Sequence[Shown]]) -> dict[str, list[Shown]]:
    """What to draw one below the other: passes that ever see something else than the others."""
    passes = [call for shown in blocks[-1] for call in shown.passes]
    rows: dict[str, list[Shown]] = {}
    groups: list[tuple[list[str], list[Shown]]] = []
    for call in passes:
        shown = [next(s for s in block if call in s.passes) for block in blocks]
        label = "commit" if call[0] == "commit" else f"step {call[1]}"
        for labels, other in groups:
            if all(a is b for a, b in zip(shown, other, strict=True)):
                labels.append(label)
                break
        else:
            groups.append(([label], shown))
    for labels, shown in groups:
        steps = [label for label in labels if label != "commit"]
        text = f"{steps[0]} to {steps[-1][5:]}" if len(steps) > 1 else "".join(steps)
        text = " and ".join(part for part in (text, "commit" if "commit" in labels else "") if part)
        rows[text if len(groups) > 1 else ""] = shown
    return rows


def _sources(axis: Axes, shown: Sequence[Shown], story: Story) -> None:
    """Tokens spent on each source frame, as a share of a frame, in its colour, over the video.

    A bias below zero pales; one above, which lets few tokens count as many, is no room spent.
    """
    frames, tokens = story.frames, story.grid[0] * story.grid[1]
    image = np.full((frames, frames, 3), _PAPER)
    colours = _MAP(np.linspace(0.03, 0.97, frames))[:, :3]
    for read in shown:
        share = (read.sources * read.weights.clamp(max=1)[:, None]).sum(0).numpy() / tokens
        alpha = np.clip(share, 0, 1)[:, None] ** 0.6
        start, stop = read.block
        image[:, start:stop] = (alpha * colours + (1 - alpha) * _PAPER)[:, None]
        image[start:stop, start:stop] = 0.82
    axis.imshow(image, origin="lower", extent=(0, frames, 0, frames), aspect="auto")
    _style(axis)


def _places(axis: Axes, shown: Sequence[Shown], story: Story, highest: float) -> None:
    """The blend of source frames at each RoPE time, over the video."""
    fine = _FINE if highest <= 32 else 2
    image = np.full((int(np.ceil(highest)) * fine, story.frames, 3), _PAPER)
    for read in shown:
        start, stop = read.block
        column = _column(read, story, image.shape[0], fine)
        image[:, start:stop] = column[:, None]
        at = slice(round(read.start * fine), round((read.start + stop - start) * fine))
        image[at, start:stop] = 0.82
    extent = (0, story.frames, 0, image.shape[0] / fine)
    axis.imshow(image, origin="lower", extent=extent, aspect="auto", interpolation="nearest")
    edges = [*(read.block[0] for read in shown), story.frames]
    axis.stairs([read.start for read in shown], edges, baseline=None, color=_INK, linewidth=0.8)
    _style(axis)


def _column(read: Shown, story: Story, height: int, fine: int) -> Float[np.ndarray, "rows 3"]:
    """What stands at each RoPE time while a block is made; an entry ends where the next begins."""
    column = np.full((height, 3), _PAPER)
    if not len(read.times):
        return column
    colours = _MAP(np.linspace(0.03, 0.97, story.frames))[:, :3]
    weights = read.weights.numpy()
    times, at = np.unique(read.times.numpy().round(4), return_inverse=True)
    stops = np.minimum(np.append(times[1:], read.start), times + 1)
    mixed = (read.sources.numpy() * weights[:, None]).clip(0)
    for i, (time, stop) in enumerate(zip(times, stops, strict=True)):
        blend = mixed[at == i].sum(0)
        if blend.sum() <= 0:
            continue
        alpha = min(weights[at == i].max(), 1.0) ** 0.6
        colour = blend @ colours / blend.sum()
        top = max(round(stop * fine), round(time * fine) + 1)
        column[max(round(time * fine), 0) : top] = alpha * colour + (1 - alpha) * _PAPER
    return column


def _highest(shown: Sequence[Shown]) -> float:
    """Where RoPE time ends: with the coming block, or what stands beyond it."""
    ends = [read.start + read.block[1] - read.block[0] for read in shown]
    return max(*ends, *(float(read.times.max()) + 1 for read in shown if len(read.times)), 1.0)


def _scenes(axis: Axes, story: Story) -> None:
    """Which scene is being made, as letters along the top."""
    for number, start in enumerate(range(0, story.frames, story.scene_frames)):
        middle = (start + min(start + story.scene_frames, story.frames)) / 2
        letter = "ABCDEFGH"[number % story.scenes]
        axis.text(
            middle, 0.99 * story.frames, letter, color="#888888", size=7, ha="center", va="top"
        )


def _style(axis: Axes) -> None:
    axis.tick_params(labelsize=8, length=2)
    for side in axis.spines.values():
        side.set_color(_GRID)


def _pixels(figure: Figure) -> Pixels:
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()  # type: ignore[no-untyped-call]
