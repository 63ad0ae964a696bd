"""Draws what a trained network makes of views that it was given, left, and was sent back to."""

import argparse
from pathlib import Path

import torch
import yaml
from torch import Tensor

from cf.bench.contestants.network import Network
from cf.bench.tasks.worlds import Worlds
from cf.data.world.again import away
from cf.runs.generator import load
from cf.settings.build import build
from cf.video.sheet import contact_sheet

SECONDS, GIVEN = 6.0, 1.5
"""Of a video, and of its beginning that is given."""


def main() -> None:
    """A row for each place: the given view, a view not given, and revisits, made over true."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="folder of a training with data=doom")
    parser.add_argument("picture", type=Path)
    parser.add_argument("--places", type=int, default=6)
    asked = parser.parse_args()
    settings = yaml.safe_load((asked.run / "config.yaml").read_text())
    task = Worlds(build(settings["data"], "data"), worlds=asked.places)  # none of training's
    generator = load(Network(checkpoint=str(asked.run))._loading("cpu"))
    frames, given = round(SECONDS * generator.fps), round(GIVEN * generator.fps)
    numbers = with_revisits(task, asked.places, frames, given)
    film = task.data.world.film(task.seed, numbers, frames)
    true = film.part(0, frames)
    with torch.inference_mode():
        made = generator.follow(true, given, 0, numbers)
    assert film.path is not None
    cells, labels = [], []
    for i, path in enumerate(film.path):
        for label, frame in chosen(path, given):
            both = torch.cat((made[i, frame], true.video[i, frame]), 1)
            cells.append(both.repeat_interleave(2, 1).repeat_interleave(2, 2))
            labels.append(f"{label}, {frame / generator.fps:.2f} s")
    contact_sheet(torch.stack(cells), asked.picture, columns=6, count=None, labels=labels)


def with_revisits(task: Worlds, places: int, frames: int, given: int) -> list[int]:
    """The first places in which a given view comes again, in more than three frames."""
    found: list[int] = []
    for number in range(100 * places):
        path = task.data.world.film(task.seed, [number], frames).path
        if path is not None and (away(path[0], given) > 0).sum() > 3:
            found.append(number)
        if len(found) == places:
            break
    return found


def chosen(path: Tensor, given: int) -> list[tuple[str, int]]:
    """Two given frames, one of a view that is new if there is one, and three revisits."""
    lag = away(path, given)
    again = torch.where(lag > 0)[0].tolist()
    new = torch.where(lag == -2)[0].tolist()
    shown = [("given", 0), ("given", given - 1)]
    shown += [("new", new[len(new) // 2])] if new else [("given", given // 2)]
    return [*shown, *(("again", again[i * (len(again) - 1) // 2]) for i in range(3))]


if __name__ == "__main__":
    main()
