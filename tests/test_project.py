"""The promises of the project itself: layers, light imports, commands, packaging."""

import ast
import re
import runpy
import shutil
import socket
import subprocess
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import pytest

import cf
from cf.__main__ import available

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])


def run(*command: str, cwd: Path = ROOT) -> str:
    done = subprocess.run(
        [sys.executable, *command], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_each_layer_knows_only_the_layers_below_it() -> None:
    run("-c", "from importlinter.cli import lint_imports_command; lint_imports_command()")


def test_importing_the_package_imports_nothing_heavy() -> None:
    loaded = run("-c", "import cf, sys; print(*sys.modules)").split()
    assert not {"torch", "lightning", "hydra", "numpy"} & set(loaded)


def test_the_list_of_commands_is_light_and_has_an_example_for_each() -> None:
    shown = run("-X", "importtime", "-m", "cf")
    for name in available():
        assert f"python -m cf.{name} " in shown


def test_an_unknown_command_is_named() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "cf", "fitt"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "'fitt'" in done.stderr


@pytest.mark.parametrize("name", available())
@pytest.mark.filterwarnings("ignore:.*found in sys.modules:RuntimeWarning")
def test_the_help_of_every_command_shows_an_example(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [name, "--help"])
    with pytest.raises(SystemExit) as ended:  # as `python -m` would, in this process
        runpy.run_module(f"cf.{name}", run_name="__main__", alter_sys=True)
    assert not ended.value.code
    assert f"python -m cf.{name}" in capsys.readouterr().out


def test_a_command_can_be_started_by_its_name() -> None:
    name = next(iter(available()))
    assert f"python -m cf.{name}" in run("-m", "cf", name, "--help")


def test_a_test_that_reaches_for_the_network_fails() -> None:
    with socket.socket() as outside, pytest.raises(RuntimeError, match="network"):
        outside.connect(("192.0.2.1", 80))


def test_every_folder_of_modules_is_a_package() -> None:
    folders = {file.parent for file in (ROOT / "cf").rglob("*.py")}
    assert [folder for folder in folders if not (folder / "__init__.py").exists()] == []


def test_make_quick_touches_every_room() -> None:
    """In files that it does not leave out as a whole."""
    files = [file.read_text() for file in (ROOT / "tests").glob("test_*.py")]
    left_out = re.compile(r"^pytestmark = \[?pytest\.mark\.whole", re.MULTILINE)
    text = "\n".join(one for one in files if not left_out.search(one))
    rooms = {file.parent.name for file in (ROOT / "cf").glob("*/__init__.py")}
    assert {one for one in rooms if f"from cf.{one}" not in text} == set()


def test_the_changelog_knows_the_version() -> None:
    assert f"[{cf.__version__}]" in (ROOT / "CHANGELOG.md").read_text()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_python_in_every_page_runs(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = page.read_text()
    code = re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    written = ModuleType(page.stem)
    monkeypatch.setitem(sys.modules, "mine", ModuleType("mine"))
    for name in re.findall(r"^from (mine\.\w+) import", text, re.MULTILINE):  # the page's own file
        monkeypatch.setitem(sys.modules, name, written)
    exec("\n".join(code), vars(written))


def tracked() -> list[Path]:
    files = (
        f
        for folder in ("cf", "configs", "tests", "docs", "benchmarks")
        for f in (ROOT / folder).rglob("*")
    )
    return [file for file in files if file.suffix in {".py", ".yaml", ".md"}]


@pytest.mark.whole
def test_no_file_and_no_function_of_the_package_is_long() -> None:
    """Of a function its body counts: neither the signature nor the docstring."""
    long = []
    for file in (ROOT / "cf").rglob("*.py"):
        text = file.read_text()
        name = str(file.relative_to(ROOT))
        if (lines := text.count("\n")) > 300:
            long.append(f"{name}: {lines} lines")
        for one in ast.walk(ast.parse(text)):
            if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef):
                body = one.body[1:] if ast.get_docstring(one) and one.body[1:] else one.body
                if (lines := (one.end_lineno or 0) - body[0].lineno + 1) > 50:
                    long.append(f"{name}: {one.name} has {lines} lines")
    assert long == []


def test_no_public_name_is_defined_twice() -> None:
    """Two modules do not call different things by one name; each command has its `main`."""
    homes: dict[str, list[str]] = {}
    for file in (ROOT / "cf").rglob("*.py"):
        for one in ast.parse(file.read_text()).body:
            named = isinstance(one, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
            if named and one.name != "main" and not one.name.startswith("_"):
                homes.setdefault(one.name, []).append(str(file.relative_to(ROOT)))
    assert {name: files for name, files in homes.items() if len(files) > 1} == {}


def test_a_name_that_begins_with_a_tilde_is_opened_in_one_place() -> None:
    """`Path.expanduser` fails where nobody has the name: `~a.mp4` is a file as well."""
    files = (ROOT / "cf").rglob("*.py")
    assert [str(file) for file in files if ".expanduser()" in file.read_text()] == []


def test_a_function_has_arguments_and_only_a_class_has_attributes() -> None:
    wrong = [
        f"{file.relative_to(ROOT)}: {one.name}"
        for file in (ROOT / "cf").rglob("*.py")
        for one in ast.walk(ast.parse(file.read_text()))
        if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)
        and "Attributes:" in (ast.get_docstring(one) or "")
    ]
    assert wrong == []


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_make_lets_python_keep_what_it_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or each command that a test starts compiles PyTorch again."""
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    rule = "--eval=probe: ; @printenv PYTHONDONTWRITEBYTECODE || echo kept"
    done = subprocess.run(
        ["make", "-s", rule, "probe"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "kept", done.stderr


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a clone")
def test_what_lies_on_top_of_the_project_belongs_there() -> None:
    """A wheel of a profiler was once taken in with everything else that lay about."""
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    files = {name for name in listed.stdout.splitlines() if "/" not in name}
    known = {"Makefile", "LICENSE", "CITATION.cff", "mkdocs.yml", "pyproject.toml"}
    stray = {name for name in files - known if not name.startswith(".") and name[-3:] != ".md"}
    assert stray == set()


def test_what_is_left_to_do_has_an_issue() -> None:
    loose = re.compile(r"\b(TO" r"DO|FIX" r"ME|X" r"XX|HA" r"CK)\b(?!\(#\d+\))")
    assert [str(f.relative_to(ROOT)) for f in tracked() if loose.search(f.read_text())] == []


@pytest.mark.skipif(find_spec("hatchling") is None, reason="hatchling builds the wheel")
def test_the_wheel_carries_its_configs(tmp_path: Path) -> None:
    import zipfile

    run("-c", f"from hatchling.build import build_wheel; build_wheel({str(tmp_path)!r})")
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert "cf/__main__.py" in names
    for file in (ROOT / "configs").rglob("*.yaml"):
        assert f"cf/_configs/{file.relative_to(ROOT / 'configs')}" in names


def test_every_name_on_the_page_of_the_house_exists() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    names = re.findall(r"`(cf(?:\.\w+)+)`", text)
    assert len(names) > 30
    for name in names:
        found: object = cf
        at = "cf"
        for part in name.split(".")[1:]:
            at = f"{at}.{part}"
            found = import_module(at) if find_spec_of(at) else getattr(found, part)


def find_spec_of(name: str) -> bool:
    """Whether a module has that name."""
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:  # the name before the last dot is no package
        return False


def test_the_page_of_the_house_has_every_room() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    rooms = [folder.parent.name for folder in (ROOT / "cf").glob("*/__init__.py")]
    assert [room for room in rooms if f"`cf.{room}`" not in text] == []
