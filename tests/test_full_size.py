"""The page on full size: its commands, as they are printed, on small weights of those layouts."""

import re
import shlex
from pathlib import Path

import published
import pytest
import torch
from commands import give

from cf.models.repositories import RELEASES
from cf.video.probe import probe
from cf.video.writer import VideoWriter
from cf.weights import main

PAGE = Path(__file__).parents[1] / "docs" / "full-size.md"
BLOCKS = re.findall(r"^```\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
LINES = [line for block in BLOCKS for line in re.sub(r"\\\n\s*", "", block).splitlines()]
TRAINING = (
    *published.MODEL,
    "data.size=[16,32]",
    "data.val_fraction=0",
    "module.length.least=27",
    "module.length.most=27",
    "module.accumulate=1",
    "trainer=cpu",
    "trainer.max_steps=1",
)


def of(command: str) -> list[list[str]]:
    """The arguments of every line of the page that begins with a command."""
    chosen = [line.removeprefix(command) for line in LINES if line.startswith(f"{command} ")]
    assert chosen, command
    return [shlex.split(line) for line in chosen]


@pytest.fixture(scope="module")
def downloaded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which everything lies where the page's downloads put it."""
    folder = tmp_path_factory.mktemp("full")
    place = published.base(folder / "weights")
    published.students(folder / "weights")
    original = folder / "weights" / "Wan2.1-T2V-1.3B"
    original.mkdir()
    published.original(original)
    (folder / "prompts.txt").write_text("a red cat runs\na cat\n")
    with VideoWriter(folder / "my_clips" / "a.mp4", 16, (16, 32)) as writer:
        writer.write(torch.rand(100, 3, 16, 32))
    (folder / "my_clips" / "a.txt").write_text("a red cat runs\n")
    assert place.is_dir()
    return folder


@pytest.fixture
def here(downloaded: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(downloaded)
    return downloaded


def test_every_line_of_the_page_is_run_here() -> None:
    known = ("python -m cf.weights ", "python -m cf.generate ", "python -m cf.benchmark ")
    known += ("python -m cf.fit ", "hf download ", "pip install ")
    assert [line for line in LINES if not line.startswith(known)] == []


@pytest.mark.whole
def test_downloads_put_files_where_they_are_looked_for(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for repository, *files, _, place in of("hf download"):
        release = RELEASES[Path(place).name]
        assert (release.repository, place) == (repository, f"weights/{release.folder}")
        assert set(files) <= {file.path for file in release.files}
    asked: list[str] = []
    monkeypatch.setattr(
        "cf.weights.fetch.from_hub", lambda release, _: asked.append(release.folder) or []
    )
    fetched = [line for line in of("python -m cf.weights") if line[0] == "fetch"]
    for line in fetched:
        main(line)
    assert asked == ["Wan2.1-T2V-1.3B"], "what is there is not fetched again"
    for line in of("python -m cf.weights"):
        if line[0] == "status":
            main(line)
            assert re.search(r"longlive +network, LoRA, codec, text +-", capsys.readouterr().out)
        if line[0] == "verify":
            main([*line, *published.MODEL, "--psnr=-99"])
            assert Path("verify.json").is_file()


@pytest.mark.parametrize("line", of("python -m cf.generate"), ids=" ".join)
def test_a_video_is_made(
    line: list[str], here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seconds = 1 if "prompts=" not in " ".join(line) else 11
    short = (*published.REDUCED, f"seconds={seconds}", f"hydra.run.dir='{tmp_path}/out'")
    give("cf.generate", *line, *short)
    if "plan=true" in line:
        assert "in reserve" in capsys.readouterr().out
        return
    assert probe(tmp_path / "out" / "video_0.mp4").duration == pytest.approx(seconds, abs=0.01)


@pytest.mark.slow
def test_four_students_are_compared(here: Path, tmp_path: Path) -> None:
    (line,) = of("python -m cf.benchmark")
    names = re.findall(r"contestants\.(\w+)=", " ".join(line))
    assert len(names) == 4
    reduced = [f"contestants.{name}.{one}" for name in names for one in published.REDUCED]
    short = ("durations=[1.5]", "workers=0", "devices=cpu", "metrics=quick", "report=false")
    give("cf.benchmark", *line, *reduced, *short, f"hydra.run.dir='{tmp_path}/out'")
    told = (tmp_path / "out" / "results.md").read_text()
    assert all(name in told for name in names)
    assert len((tmp_path / "out" / "failures.csv").read_text().splitlines()) <= 1


@pytest.mark.slow
def test_a_student_is_trained(here: Path, tmp_path: Path) -> None:
    (line,) = of("python -m cf.fit")
    give("cf.fit", *line, *TRAINING, f"hydra.run.dir='{tmp_path}/out'")
    assert (tmp_path / "out" / "network.safetensors").is_file()


def test_the_table_of_the_page_has_every_preset() -> None:
    from cf.weights.presets import preset_names

    table = "\n".join(line for line in PAGE.read_text().splitlines() if line.startswith("| `"))
    assert set(re.findall(r"`(\w+)`", table)) >= set(preset_names())


def test_a_base_under_few_steps_is_told(
    here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = ("preset=self_forcing", "checkpoint=weights/Wan2.1-T2V-1.3B", "prompt=a cat")
    short = (*published.REDUCED, "weights.container=null", "seconds=0.5")
    give("cf.generate", *base, *short, f"hydra.run.dir='{tmp_path}/out'")
    assert "is Wan2.1 itself" in capsys.readouterr().out
