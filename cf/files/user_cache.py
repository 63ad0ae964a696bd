"""Where the user's cache is: what lies there may be deleted at any time and is made again."""

import os
from pathlib import Path

from cf.files.home import expanded


def cache_home() -> Path:
    """$XDG_CACHE_HOME, or .cache in the user's home."""
    return expanded(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


def user_cache(name: str) -> Path:
    """This project's folder of that name in it, which need not be there yet."""
    return cache_home() / "cf" / name
