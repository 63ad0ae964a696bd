"""Paths that begin at somebody's home."""

import os
from pathlib import Path


def expanded(path: str | os.PathLike[str]) -> Path:
    """A path whose `~` or `~name` is opened; where nobody has that name, it is a file's own.

    >>> expanded("~nobody.txt").name
    '~nobody.txt'
    """
    return Path(os.path.expanduser(path))
