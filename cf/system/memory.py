"""How much memory this computer has, and what is too large for it."""

import os
from contextlib import suppress
from pathlib import Path

_GROUPS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
"""Where Linux says what a container may take, by its versions of control groups."""


def computer_bytes() -> int:
    """Memory of this computer, or what its container may take of it."""
    available = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for file in _GROUPS:
        with suppress(OSError, ValueError):  # no such group, or "max"
            available = min(available, int(Path(file).read_text()))
    return available


def refuse_beyond_computer(needed: int, what: str) -> None:
    """Refuse what cannot lie in memory: Linux would give it and then end some process.

    Raises:
        ValueError: says how much it takes and how much there is.
    """
    if needed > (total := computer_bytes()):
        raise ValueError(
            f"{what} takes {needed / 1e9:.1f} GB, and this computer has {total / 1e9:.1f}; choose "
            "a smaller one, or a computer with more memory"
        )
