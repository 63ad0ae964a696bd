"""What the pictures of memories are drawn from, and the command that draws them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from commands import run
from tiny import MEMORIES, memory

from cf.memory.base import Memory
from cf.memory.commit_reads import CommitReads
from cf.memory.full import Full
from cf.memory.merged import Merged
from cf.memory.picture import overview_of_memories, picture
from cf.memory.pooled import Pooled
from cf.memory.recency_bias import RecencyBias
from cf.memory.sliding import Sliding
from cf.memory.trace import Shown, Story, trace

SMALL = Story(frames=24, grid=(2, 2), scene_frames=6)
NAMES = [file.stem for file in MEMORIES]
UNLIKE = ("full", "sliding", "memrope", "pooled", "commit_reads", "recency_bias")
"""As drawings: all frames or few, blends, coarser ones, passes that see another, weights."""
ROOT = Path(__file__).parents[1]


def held(shown: Shown) -> list[int]:
    """The source frames that are there, in the order of RoPE time."""
    order = shown.times.argsort(stable=True)
    return [int(i) for i in shown.sources[order][:: SMALL.grid[0] * SMALL.grid[1]].argmax(1)]


@pytest.mark.parametrize("frames", [1, 3])
def test_full_memory_shows_every_frame_where_it_was(frames: int) -> None:
    told = trace(Full(), Story(24, frames, (2, 2)))
    assert len(told) == 24 // frames
    for i, (shown,) in enumerate(told):
        assert shown.block == (i * frames, (i + 1) * frames)
        assert held(shown) == shown.times[::4].tolist() == list(range(i * frames))
        assert [phase for phase, _ in shown.passes] == ["denoise"] * 4 + ["commit"]


def test_sliding_memory_shows_sink_and_window() -> None:
    (last,) = trace(Sliding(2, 7, "relative"), SMALL)[-1]
    assert held(last) == [0, 1, 17, 18, 19, 20]
    assert last.times[::4].tolist() == [0, 1, 2, 3, 4, 5]
    assert last.start == 6


def test_what_is_blended_shows_as_a_blend() -> None:
    (last,) = trace(Merged(1, 2, 5), SMALL)[-1]
    torch.testing.assert_close(last.sources.sum(1), torch.ones(len(last.sources)))
    assert last.sources.sum(0)[1:19].gt(0).all()
    assert last.sources[4:12].max() < 0.5
    (last,) = trace(Pooled(0, 3, 1, pooled_levels=1), SMALL)[-1]
    assert held(last)[0] == 17 or last.sources.sum(0)[17:21].tolist() == [1.0] * 4


def test_passes_that_see_something_else_are_apart() -> None:
    told = trace(CommitReads(Full(), commit_frames=2, near_frames=1, far_steps=[2, 4]), SMALL)
    near, far, commit = told[-1]
    assert near.passes == (("denoise", 0), ("denoise", 1))
    assert far.passes == (("denoise", 2), ("denoise", 3))
    assert commit.passes == (("commit", 4),)
    assert [len(held(shown)) for shown in (near, far, commit)] == [1, 21, 2]


def test_a_bias_shows_as_weight() -> None:
    (last,) = trace(RecencyBias(Full(), beta=2.0, recent_frames=1), SMALL)[-1]
    assert last.weights[-4:].tolist() == [1, 1, 1, 1]
    assert float(last.weights[0]) == pytest.approx(np.exp(-2))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("frames", [1, 3])
def test_every_memory_can_be_traced(name: str, frames: int) -> None:
    assert len(trace(memory(name), Story(24, frames, (4, 4), scene_frames=6))) == 24 // frames


@pytest.mark.parametrize(
    "name", [n if n in UNLIKE else pytest.param(n, marks=pytest.mark.exhaustive) for n in NAMES]
)
def test_every_memory_can_be_drawn(name: str) -> None:
    story = Story(24, 3, (4, 4), scene_frames=6)
    pixels = picture(name, trace(memory(name), story), story)
    assert pixels.shape[1] == 760
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 50


def test_different_memories_make_different_pictures() -> None:
    one, other = (picture("", trace(m, SMALL), SMALL) for m in (Full(), Sliding(1, 6)))
    assert not np.array_equal(one, other)
    both: dict[str, Memory] = {"full": Full(), "sliding": Sliding(1, 6)}
    pixels = overview_of_memories({name: trace(m, SMALL) for name, m in both.items()}, SMALL)
    assert pixels.shape[1] == 960


def test_a_story_that_cannot_be_told_names_the_values() -> None:
    with pytest.raises(ValueError, match="frames=10 must be whole blocks of block_frames=3"):
        Story(frames=10)
    with pytest.raises(ValueError, match="smaller than a block of 3"):
        trace(Sliding(0, 2), SMALL)


@pytest.mark.whole
def test_one_command_draws_them(tmp_path: Path) -> None:
    folders = f"docs={tmp_path / 'docs'}", f"hydra.run.dir={tmp_path / 'run'}"
    done = run("cf.memory_map", "memories=[sliding,pooled]", "story.frames=48", *folders)
    assert done.status == 0, done.told
    pictures = {path.name: path for path in (tmp_path / "docs" / "memories").iterdir()}
    assert set(pictures) == {"sliding.png", "pooled.png", "all.png"}
    assert all(path.read_bytes()[:4] == b"\x89PNG" for path in pictures.values())
    assert max(path.stat().st_size for path in pictures.values()) < 100_000
    assert list((tmp_path / "run").glob("events.out.tfevents.*"))
    page = (tmp_path / "docs" / "memories.md").read_text()
    assert "![pooled](memories/pooled.png)" in page
    assert str(tmp_path) not in page


def test_the_pictures_of_the_docs_are_there_and_small() -> None:
    shown = {path.name: path.stat().st_size for path in (ROOT / "docs" / "memories").glob("*.png")}
    assert "all.png" in shown
    assert max(shown.values()) < 100_000
    page = (ROOT / "docs" / "memories.md").read_text()
    assert all(f"memories/{name}" in page for name in shown)
