"""Every test runs on few threads and has no network; with `make test-all`, shapes are checked."""

import gc
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# Before torch is imported, and for the commands that tests start: two workers share two cores.
os.environ.update(OMP_NUM_THREADS="1", HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1")
# A dead proxy, so that a download fails in started commands too.
os.environ.update(http_proxy="http://127.0.0.1:9", https_proxy="http://127.0.0.1:9")
os.environ.update(no_proxy="localhost,127.0.0.1")

import beartype.typing  # noqa: F401 -- named by the text given to the hook
import jaxtyping
import pytest
import torch
from hydra.core.hydra_config import HydraConfig

torch.set_num_threads(1)
# Autograd begins before anything is compiled: after that it would begin threads, and no fork of a
# test (`tests/ranks.py`) could run a backward pass.
torch.ones((), requires_grad=True).backward()
# What is started in the background ignores Ctrl-C, and under nohup hang-ups too; so would
# the commands that tests start.
if threading.current_thread() is threading.main_thread():
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
# Types and shapes of every call, with `make test-all`: a loop over small tensors takes ten times as
# long. Whole numbers in YAML may stand for floats; Self is beyond what beartype checks in a method.
if os.environ.get("CF_CHECK_SHAPES") == "1":
    jaxtyping.install_import_hook(
        "cf",
        "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True, hint_overrides="
        "beartype.FrozenDict({beartype.typing.Self: object})))",
    )

SHARED = Path(__file__).parents[2] / "shared"


def pytest_addoption(parser: pytest.Parser) -> None:
    """The option of `make quick`."""
    parser.addoption("--first-cases", action="store_true", help="of each test its first case alone")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Of those that other options leave."""
    if not config.getoption("--first-cases"):
        return
    first: dict[str, pytest.Item] = {}
    for item in items:
        first.setdefault(item.nodeid.partition("[")[0], item)
    kept = {id(item) for item in first.values()}
    config.hook.pytest_deselected(items=[one for one in items if id(one) not in kept])
    items[:] = first.values()


def pytest_collection_finish() -> None:
    """What was imported and collected stays: garbage is not looked for in it again and again."""
    gc.collect()
    gc.freeze()


def _guard(connect: Any) -> Any:
    def guarded(self: socket.socket, address: Any) -> Any:
        if isinstance(address, tuple) and address[0] not in {"localhost", "127.0.0.1", "::1"}:
            raise RuntimeError(f"a test reached for the network: {address}")
        return connect(self, address)

    return guarded


socket.socket.connect = _guard(socket.socket.connect)  # type: ignore[method-assign]
socket.socket.connect_ex = _guard(socket.socket.connect_ex)  # type: ignore[method-assign]


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What tests keep in the user's cache is not kept; fonts, found once for all, are."""
    mine = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    os.environ.setdefault("MPLCONFIGDIR", str(mine / "matplotlib"))
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session", autouse=True)
def lean() -> Iterator[None]:
    """Tests compose as commands do."""
    from cf.settings import composition

    with composition.lean():
        yield


@pytest.fixture(autouse=True)
def alone() -> Iterator[None]:
    """A training over several processes leaves their group behind, which the next would join."""
    yield
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


@pytest.fixture(autouse=True)
def nothing_of_other_commands() -> Iterator[None]:
    """A command given in this process leaves its log open, which the next would write to.

    And its settings, which the next would take for those that were typed.
    """
    yield
    HydraConfig.instance().cfg = None
    root = logging.getLogger()
    for handler in root.handlers[:]:
        if isinstance(handler, logging.FileHandler) and not _of_pytest(handler):
            root.removeHandler(handler)
            handler.close()


def _of_pytest(handler: logging.Handler) -> bool:
    return type(handler).__module__.startswith("_pytest")


def _folder(path: Path) -> Path:
    if not path.is_dir():
        pytest.skip(f"no {path.name} folder beside the repository")
    return path


@pytest.fixture
def shared() -> Path:
    """Material beside the repository, which not every machine has."""
    return _folder(SHARED)


@pytest.fixture
def reference() -> Path:
    """Published weights and arrays to match, which not every machine has."""
    return _folder(SHARED / "reference")


@pytest.fixture
def refused(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., str]:
    """Give a command in this process; returns its one message, once sure that it failed."""
    from commands import give

    def refuse(module: str, *arguments: str) -> str:
        # Loggers may still hold the captured output of an earlier test.
        monkeypatch.setattr(logging, "raiseExceptions", False)
        monkeypatch.chdir(tmp_path)
        with pytest.raises(SystemExit) as stopped:
            give(module, *arguments)
        assert stopped.value.code not in (0, None)
        told = capfd.readouterr().err
        assert "Traceback" not in told
        return told

    return refuse
