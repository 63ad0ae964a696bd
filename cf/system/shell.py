"""What is shown in a shell: commands, to be copied as they stand, and lists."""

import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

_LIVE = '"$`!\\'
"""These mean something between double quotes."""


class ShellWord(str):
    """A word as a shell takes it: what is quoted once is not quoted again."""

    __slots__ = ()


def word(text: str) -> ShellWord:
    """A text as one word of a shell, in the quotes that a person reads best.

    >>> print(word("videos='a b'"), word("say $HOME"), word("plain"))
    "videos='a b'" 'say $HOME' plain
    """
    single = "'" in text and not any(mark in text for mark in _LIVE)
    return ShellWord(f'"{text}"' if single else shlex.quote(text))


def setting(name: str, value: str | Path) -> ShellWord:
    """A setting with a text or a path as a shell takes it.

    >>> print(setting("resume", "my run"))
    'resume=my run'
    """
    return word(f"{name}={value}")


def shell_command(module: str, arguments: Sequence[str]) -> str:
    """A command of this package as a shell takes it.

    >>> print(shell_command("cf.fit", ["seed=1", "resume=a b"]))
    python -m cf.fit seed=1 'resume=a b'
    >>> print(shell_command("cf.fit", [setting("resume", "a b")]))
    python -m cf.fit 'resume=a b'
    """
    words = [text if isinstance(text, ShellWord) else word(text) for text in arguments]
    return " ".join(["python", "-m", module, *words])


def resuming(folder: Path, settings: Sequence[str] = ()) -> str:
    """The command that goes on with a run.

    Args:
        folder: of the run.
        settings: in place of the run's own.

    >>> print(resuming(Path("RUN"), ["optimizer.lr=0.001"]))
    python -m cf.fit resume=RUN optimizer.lr=0.001
    """
    return shell_command("cf.fit", [setting("resume", folder), *settings])


def open_streams() -> None:
    """Give this process the streams that it was begun without (`2>&-`), which lead nowhere.

    Without them the next file would get their number, and what is said would go into it.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115


@contextmanager
def partly_read() -> Iterator[None]:
    """Write to stdout, of which a reader such as `head` may take as little as it wants."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what is still held


def show(text: str) -> None:
    """Write lines to stdout, of which a reader may take as many as it wants."""
    with partly_read():
        sys.stdout.write(f"{text}\n")
