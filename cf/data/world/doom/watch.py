"""Who ends the engine when our process is gone, however it went."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_PROC = Path("/proc")
# Its standard input ends when every process that holds the other end has ended.
_SCRIPT = """
import glob, os, shutil, signal, sys
engine, instance, folder = sys.argv[1:]
sys.stdin.read()
try:
    os.kill(int(engine), signal.SIGKILL)
except ProcessLookupError:
    pass
shutil.rmtree(folder, ignore_errors=True)
for name in glob.glob(f"/dev/shm/ViZDoom*{instance}"):
    os.unlink(name)
"""


class Watch:
    """A small process that kills an engine and removes what it leaves once we are gone.

    The engine itself waits for ever for a parent that was killed.

    Attributes:
        folder: of the engine's files, which its command line names.
    """

    def __init__(self, folder: Path) -> None:
        found = _engine(folder)
        self.process = found and subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _SCRIPT, *found, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for us
        )

    def close(self) -> None:
        """Let it do its work now."""
        if self.process:
            assert self.process.stdin is not None
            self.process.stdin.close()
            self.process.wait()


def _engine(folder: Path) -> tuple[str, str] | None:
    """Process number and instance of the engine that runs on these files; None where none does."""
    for place in _PROC.glob("[0-9]*"):
        try:
            words = (place / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:  # it has ended
            continue
        if any(str(folder) in word for word in words) and "+viz_instance_id" in words:
            return place.name, words[words.index("+viz_instance_id") + 1]
    return None
