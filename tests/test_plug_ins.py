"""The pages that add a metric, an objective, ...: their files and commands, to the letter."""

import re
import runpy
import sys
from collections.abc import Iterator
from pathlib import Path

import metrics
import pytest
import torch
from commands import ROOMS, STUDENT, fit, give
from test_benchmark import FEW, SMALL

from cf.data.world.base import World
from cf.settings.build import build
from cf.video.writer import VideoWriter

DOCS = Path(__file__).parents[1] / "docs"
SMALL_RUNS = {
    "a-metric": ("metrics=none",),
    "an-extractor": ("metrics=quick",),
    "a-contestant": (*SMALL[1:], *FEW, "~contestants.untrained", "asked.worlds=1", "report=false"),
    "a-world": (
        *(one for one in ROOMS if one.startswith(("model.", "trainer.", "rollout.", "module."))),
        *("data.size=[16,16]", "data.clip_frames=12", "data.batch_size=2", "trainer.max_steps=2"),
        *("callbacks.samples.every_steps=1000", "callbacks.checkpoint.every_n_train_steps=2"),
    ),
    "an-objective": (*(one for one in (*ROOMS, *STUDENT) if "=" in one), "trainer.max_steps=1"),
}
"""Page -> settings with which its first command takes seconds."""
MADE = {
    "a-metric": ("summary.json", "BlackFrames"),
    "an-extractor": ("summary.json", "thumbnail"),
    "a-contestant": ("per_video.csv", "fading"),
    "a-world": ("config.yaml", "mine.stripes.Stripes"),
    "an-objective": ("metrics.csv", "train/huber"),
}
"""Page -> a file that its first command leaves, and what stands in it."""

FILE = r"Save as\s`([^`]+)`:\n\n```\w+\n(.*?)^```"


def files(page: str) -> dict[str, str]:
    text = (DOCS / f"adding-{page}.md").read_text()
    found = re.findall(
        r"[Ss]ave as\s`([^`]+)`:\n\n```\w+\n(.*?)^```", text, re.DOTALL | re.MULTILINE
    )
    return dict(found)


def commands(page: str) -> list[list[str]]:
    text = (DOCS / f"adding-{page}.md").read_text()
    return [line.split() for line in re.findall(r"^python -m (cf\.\w+ .*)$", text, re.MULTILINE)]


@pytest.fixture
def folder(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """What the reader of a page has after its first two steps, and a clip."""
    for name, text in files(page).items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "my_clips").mkdir()
    with VideoWriter(tmp_path / "my_clips" / "clip.mp4", 8, (32, 32)) as writer:
        writer.write(torch.rand(24, 3, 32, 32))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for module in [name for name in sys.modules if name.split(".")[0] == "mine"]:
        del sys.modules[module]


@pytest.mark.parametrize("page", SMALL_RUNS)
def test_two_files_are_all_it_takes(page: str, folder: Path) -> None:
    assert len(files(page)) == 2
    module, *given = commands(page)[0]
    if page == "an-objective":
        start = fit(folder / "start", *ROOMS, "trainer.max_steps=1")
        given = [re.sub("BASE|TEACHER", f"'{start}'", one) for one in given]
    give(module, *given, *SMALL_RUNS[page], f"hydra.run.dir='{folder / 'made'}'")
    name, text = MADE[page]
    assert text in (folder / "made" / name).read_text()


@pytest.mark.parametrize("page", ["a-memory", *SMALL_RUNS])
def test_the_test_of_a_page_passes(page: str, folder: Path) -> None:
    text = (DOCS / f"adding-{page}.md").read_text()
    (code,) = re.findall(
        r"`test_mine\.py`[^`]*```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE
    )
    (folder / "test_mine.py").write_text(code)
    names = runpy.run_path(str(folder / "test_mine.py"))
    (check,) = (one for name, one in names.items() if name.startswith("test_"))
    check()


@pytest.mark.parametrize("page", ["a-metric"])
def test_laws_find_a_metric_by_its_yaml(page: str, folder: Path) -> None:
    make = metrics.shipped(folder / "my_configs" / "metric" / "black_frames.yaml")
    whole, cut = make(), make()
    for video in metrics.moving(2):
        dark = metrics.Piece(video.frames * (video.video_id == 0), video.video_id, 0, video.more)
        dark.give(whole)
        for piece in metrics.cut(dark, 3, 17):
            piece.give(cut)
    assert whole.result().per_video == cut.result().per_video == {0: 0.0, 1: 1.0}


@pytest.mark.parametrize("page", ["a-world"])
def test_a_part_of_a_film_is_that_of_the_whole(page: str, folder: Path) -> None:
    world: World = build({"_target_": "mine.stripes.Stripes"}, "world")
    film = world.film(0, [3, 5], 30)
    assert torch.equal(film.part(10, 20).video, world.draw(0, [3, 5], 20).video[:, 10:])
    assert film.part(0, 30).truth.place.unique().tolist() == [0, 1, 2]
