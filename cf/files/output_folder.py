"""A command's output folder: one process works in it, and what it keeps is told when that ends."""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode

from cf.files.atomic import DiskFullError, disk_is_full, locked, remove_temporaries
from cf.system.shell import shell_command
from cf.system.signals import Stop, Stopped, heard

_EMPTY = (".lock", "config.yaml", "phases.yaml")  # what a training writes before it begins
_OWN = ("hydra.run.dir", "hydra.sweep.dir", "resume")


@contextmanager
def working(
    module: str, folder: Path, kept: Callable[[], str], resumes: Path | None = None
) -> Iterator[None]:
    """While the block runs, the folder is this process's alone, and what is kept is told.

    Files that killed processes left half written are removed from it and from `resumes`. What is
    kept is told if the command is asked to end or the disk is full.

    Args:
        module: the command.
        folder: what it writes into.
        kept: what is kept by then.
        resumes: once this is there, `resume=` takes the folder up again; until then, and if it is
            None, the same command in the same folder does.

    Raises:
        ValueError: another process works in the folder.
        Stopped: it was asked to end.
        DiskFullError: no space is left, whichever library noticed it.
    """
    busy = (
        f"another {module} is running in {folder}; wait for it, or give another folder: "
        "hydra.run.dir=..."
    )

    def again() -> str:
        there = resumes is not None and resumes.exists()
        return f"go on with: {_again(module, folder, 'resume' if there else 'hydra.run.dir')}"

    with heard(Stop()):
        try:
            with locked(folder, busy):
                for place in (folder, resumes or folder):
                    remove_temporaries(place)
                yield
        except (Stopped, KeyboardInterrupt) as error:
            stopped = error if isinstance(error, Stopped) else Stopped(signal.SIGINT)
            logging.getLogger(module).error("%s; %s; %s", stopped, kept(), again())
            stopped.told = True
            raise stopped from None
        except Exception as error:
            if not disk_is_full(error):
                raise
            path = error.filename if isinstance(error, DiskFullError) else folder
            raise DiskFullError(path, f"{kept()}; free some, then {again()}") from error


@contextmanager
def stoppable(module: str) -> Iterator[None]:
    """While the block runs, say what goes on if the command is asked to end and nobody else did.

    That is before its work begins, and in a sweep, whose runs are several.

    Raises:
        Stopped: it was asked to end.
    """
    typed = sys.argv[1:]
    with heard(Stop(), only_unheard=True):
        try:
            yield
        except Stopped as stopped:
            if not stopped.told:
                again = _again(module, None, "") if sweeps() else shell_command(module, typed)
                sys.stderr.write(f"\n{module}: {stopped}; go on with: {again}\n")
                stopped.told = True
            raise


def sweeps() -> bool:
    """Whether this run, or the process that began it, is one of a sweep."""
    return HydraConfig.initialized() and HydraConfig.get().mode is RunMode.MULTIRUN


def _again(module: str, folder: Path | None, goes_on: str) -> str:
    """The command that was given, and the folder that it worked in; that of a sweep is known."""
    rest = [word for word in sys.argv[1:] if word.lstrip("+").split("=")[0] not in _OWN]
    if sweeps():
        goes_on, folder = "hydra.sweep.dir", Path(HydraConfig.get().sweep.dir).absolute()
    return shell_command(module, [*rest, f"{goes_on}={folder}"])


def remove_empty_logs(folder: Path) -> None:
    """Of a command that was refused in a folder of something else; who works there has a lock."""
    if not (folder / ".lock").exists():
        for path in folder.glob("*.log"):
            if not path.stat().st_size:
                path.unlink()


def tidy(folder: Path) -> None:
    """Remove the folder of a run that ended with a mistake before it left anything of worth."""
    paths = list(folder.rglob("*")) if folder.is_dir() else []
    files = [path for path in paths if not path.is_dir()]
    if not all(
        path.suffix == ".log" or path.name in _EMPTY or path.name.startswith("events.out.tfevents.")
        for path in files
    ):
        return
    for path in files:
        path.unlink()
    for path in sorted(set(paths) - set(files), reverse=True):
        path.rmdir()
    folder.rmdir()
    outputs = Path.cwd() / "outputs"  # outputs/COMMAND/DATE/TIME
    for place in [path for path in folder.parents if outputs in (path, *path.parents)]:
        if any(place.iterdir()):
            return
        place.rmdir()
