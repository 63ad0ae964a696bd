"""Every command line that a help, a page or a message prints runs as it is printed."""

import json
import re
import subprocess
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from cf.__main__ import COMMANDS
from cf.models.repositories import RELEASES
from cf.settings.command_line import prepared

ROOT = Path(__file__).parents[1]
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "benchmarks" / "README.md"]
HELPS = [*(ROOT / "configs").glob("*.yaml"), *(ROOT / "benchmarks").glob("*.yaml")]
STARTS = r"(?:\.venv/bin/)?(?:python |tensorboard |pre-commit |make |cf )|VIDEOS=|pip install "
FOLDERS = (
    *(
        "my_clips",
        "clips",
        "RUN",
        "BASE",
        "TEACHER",
        "FOLDER",
        "DIR",
        "their_videos",
        "outputs/run",
    ),
    *("outputs/fit/DATE/TIME", "outputs/evaluate/DATE/TIME", "outputs/ours", "outputs/theirs"),
    *("outputs/benchmark/a", "outputs/fit/a", "outputs/fit/b", "outputs/full/1", "ours", "theirs"),
    *(
        "outputs/window/1",
        "outputs/sweep/rooms/arms/x",
        "outputs/a",
        "outputs/b",
        "outputs/fit/RUN",
    ),
    *("outputs/benchmark/b", "outputs/benchmark/recall", "a"),
    *("weights/Wan2.1-I2V-14B-480P-Diffusers", "weights/Wan2.1-T2V-1.3B"),
)
FILES = (
    "cat.mp4",
    "cat.jpg",
    "a.png",
    "b.png",
    "wan.pt",
    "...",
    "MovieGenVideoBench.txt",
    "list.txt",
    "ours.csv",
    "prompts.txt",
    "session.json",
)
RUNS = ("RUN", "FOLDER", "outputs/fit/DATE/TIME", "outputs/evaluate/DATE/TIME", "a b")
NOT_HYDRA = (
    "training_memory",
    "against",
    "codec",
    "continuations",
    "transport",
    "live",
    "metrics_apart",
    "moving_picture",
    "ship",
    "roofline",
    "decoding",
    "revisits",
    "recipes",
    "training_signals",
    "truth",
    "truth_share",
    "extractors",
    "responsibility",
    "malformed",
    "gates",
    "kills",
    "combinations",
    "fuzz",
    "fuzz_video",
    "training_step",
    "vbench_formulas",
    "settings_page",
)
MINE = {  # what a page tells the reader to write first
    "my_configs/memory/mine.yaml": "_target_: my.module.Metric\n",
    "my_configs/memory/strided.yaml": "_target_: my.module.Metric\nstride: 8\n",
    "my/module.py": "class Metric:\n    def __init__(self, stride: int = 1) -> None: ...\n",
}


def lines_of_pages() -> list[str]:
    """In blocks of code, and in the text between backticks."""
    found = []
    for page in PAGES:
        text = page.read_text()
        for block in re.findall(r"^```(?:bash|sh)?\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
            found += re.findall(rf"^(?:{STARTS}).*$", re.sub(r"\\\n\s*", "", block), re.MULTILINE)
        found += re.findall(
            r"`((?:\.venv/bin/)?python (?:-m cf\.\w+|benchmarks/\w+.py) [^`]*)`", text
        )
    return found


def lines_of_helps() -> list[str]:
    """Indented in the templates of --help; what a line does follows after two spaces."""
    found = []
    for file in HELPS:
        help_text = OmegaConf.to_container(OmegaConf.load(file), resolve=False)["hydra"]["help"]
        text = re.sub(r"\\\n\s*", "", help_text["template"])
        shown = re.findall(r"^  +(python .*)$", text, re.MULTILINE)
        found += [re.split(r"\s{2,}", one)[0] for one in shown]
    found += [f"python -m cf.{name} {example}" for name, (_, example) in COMMANDS.items()]
    return found


def lines_of_comments() -> list[str]:
    """At the head of an option, where a comment tells how it is used."""
    found = []
    for file in (ROOT / "configs").rglob("*.yaml"):
        text = re.sub(r"\\\n#\s*", "", file.read_text())
        found += re.findall(
            r"^#.*?(python -m cf\.\w+ \S*=.*|python -m cf\.\w+ -m .*)$", text, re.MULTILINE
        )
    return found


def lines_of_messages() -> list[str]:
    """In the code, where a message tells what to type; what it fills in is a run's folder."""
    found = []
    for file in [*(ROOT / "cf").rglob("*.py"), *(ROOT / "hydra_plugins").glob("*.py")]:
        text = re.sub(r'"\n\s*f?"', "", file.read_text())
        shown = re.findall(r'python -m (?:cf\.\w+|tensorboard\.main) [^"`\n|]*', text)
        shown = [re.sub(r" %s(?= seconds)", " checkpoint=RUN", one) for one in shown]
        filled = [re.sub(r"%s|\{[\w.]+\}", "RUN", re.split("[,;] ", one)[0]) for one in shown]
        found += [one for one in filled if re.search(r"=(?!\.\.\.)|--", one)]
    return found


def everywhere() -> list[str]:
    """All that is printed."""
    return [*lines_of_pages(), *lines_of_helps(), *lines_of_comments(), *lines_of_messages()]


LINES = sorted(
    {
        re.sub(r"^\.venv/bin/python|\s+#.*", lambda found: "" if "#" in found[0] else "python", one)
        for one in everywhere()
        if "{{" not in one
    }
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all that the lines name."""
    folder = tmp_path_factory.mktemp("typed")
    for name in FOLDERS:
        (folder / name).mkdir(parents=True, exist_ok=True)
    for name in RUNS:
        (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / name / "config.yaml").touch()
    for name in FILES:
        (folder / name).write_text("a fox\n")
    for release in RELEASES.values():  # what presets read
        for file in release.files:
            path = folder / "weights" / release.folder / file.path.replace("*", "config.json")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    for name, text in MINE.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return folder


def arguments(line: str, folder: Path) -> list[str]:
    """As a shell makes them of the line."""
    shown = "python() { printf '%s\\0' \"$@\"; }; " + line
    done = subprocess.run(
        ["bash", "-c", shown], cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout.split("\0")[:-1]


@pytest.mark.parametrize("line", LINES)
def test_a_line_runs_as_it_is_printed(
    line: str, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    monkeypatch.syspath_prepend(str(place))
    words = line.split()
    if words[0] in ("make",) or words[0].startswith("VIDEOS="):
        target = words[words.index("make") + 1]
        assert f"\n{target}:" in (ROOT / "Makefile").read_text()
        return
    if words[0].startswith(("pip", ".venv/bin/tensorboard", ".venv/bin/pre-commit")):
        return
    assert words[0] != "tensorboard", "it is found in .venv/bin only"
    if line.startswith("python -m tensorboard.main"):
        assert find_spec("tensorboard.main")
        return
    given = arguments(line, place)
    if given[0] == "-m":
        assert given[1] == "cf" or given[1].startswith("cf.")
        _, _, name = given[1].partition(".")
        rest = given[2:]
    else:
        name, rest = Path(given[0]).stem, given[1:]
        assert (ROOT / given[0]).is_file()
    if name in ("", "weights", *NOT_HYDRA):
        return
    if name == "compare":
        rest = import_module("cf.compare").hydrated(rest)
    folder = str(ROOT / ("benchmarks" if given[0] != "-m" else "configs"))
    prepared(rest, name, folder)


HEAVY = ("torch", "lightning", "torchmetrics", "diffusers", "transformers", "pandas", "matplotlib")
HEAVY = (*HEAVY, "scipy", "numpy", "cv2", "av", "tensorboard", "sklearn", "skimage", "PIL")
HELPS_ALL = """
import contextlib, importlib, io, json, sys
from hydra._internal.config_repository import CachingConfigRepository

copies, made = [], CachingConfigRepository.__init__
CachingConfigRepository.__init__ = lambda *given: (copies.append(1), made(*given))[1]
told = {}
for name in sys.argv[2:]:
    sys.argv, out = ["cf." + name, "--help"], io.StringIO()
    copies.clear()
    with contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):
        importlib.import_module("cf." + name).main()
    told[name] = len(out.getvalue()), len(copies), [x for x in HEAVY if x in sys.modules]
print(json.dumps(told))
"""


@pytest.mark.whole
def test_a_help_needs_no_heavy_library_and_reads_the_settings_once() -> None:
    """It is what a person waits for most often."""
    script = f"HEAVY = {HEAVY!r}\n{HELPS_ALL}"
    done = subprocess.run(
        [sys.executable, "-c", script, "-", *COMMANDS], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told.keys() == set(COMMANDS)
    for name, (length, copies, heavy) in told.items():
        assert length > 300, f"{name} shows nothing"
        assert copies <= 2, f"{name}: Hydra copies all settings {copies} times"
        assert heavy == [], f"{name} imports {heavy} before it is asked to do anything"
