"""Commands as they are shown: to be copied into a shell as they stand."""

import shlex
from collections.abc import Sequence
from pathlib import Path


def setting(name: str, value: str | Path) -> str:
    """A setting with a text or a path as a shell takes it.

    >>> print(setting("resume", "my run"))
    'resume=my run'
    """
    return shlex.quote(f"{name}={value}")


def shell_command(module: str, arguments: Sequence[str]) -> str:
    """A command of this package as a shell takes it.

    >>> print(shell_command("cf.fit", ["seed=1", "resume=a b"]))
    python -m cf.fit seed=1 'resume=a b'
    """
    return shlex.join(["python", "-m", module, *arguments])


def resuming(folder: Path) -> str:
    """The command that goes on with a run."""
    return f"python -m cf.fit {setting('resume', folder)}"
