"""Files that stand under their name whole or not at all, and folders that one process works in."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_TEMPORARY = ".cf-tmp"
_LONGEST_NAME = 100  # characters of the file's own name in that of its temporary: 255 bytes in all
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# torch, safetensors and FFmpeg do not pass the system's error number on.
_FULL_TEXTS = re.compile(
    r"No space left on device|Disk quota exceeded|File too large|os error (28|122|27)\b"
    r"|PytorchStreamWriter failed writing|unexpected pos \d+ vs|iostream error"
)


_KEPT = "free some and give the same command again: what is finished is kept"


class DiskFullError(OSError):
    """No space is left for a file; what stood there before still does.

    Attributes:
        kept: what is kept, and the remedy.
    """

    def __init__(self, path: str | Path, kept: str = _KEPT) -> None:
        super().__init__(errno.ENOSPC, "no space is left", str(path))
        self.kept = kept

    def __reduce__(self) -> tuple[type[DiskFullError], tuple[str, str]]:  # between processes
        return type(self), (str(self.filename), self.kept)

    def __str__(self) -> str:
        return f"no space is left on the disk for {self.filename}; {self.kept}"


def disk_is_full(error: BaseException | None) -> bool:
    """Whether an error, or what caused it, is that a disk, a quota or a size limit is used up."""
    seen = set[int]()
    while error is not None and id(error) not in seen:  # a cause raised anew has itself for context
        seen.add(id(error))
        if isinstance(error, OSError) and error.errno in _FULL:
            return True
        no_space = (
            isinstance(error, RuntimeError | OSError) or type(error).__name__ == "SafetensorError"
        )
        if no_space and _FULL_TEXTS.search(str(error)):
            return True
        error = error.__cause__ or error.__context__
    return False


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A file beside `path` to write into, which takes its place once the block has ended well.

    It is flushed to the disk first, so that a crash leaves the old file or the new one. Its mode is
    that of any new file of this user. Missing folders are made.

    Yields:
        the path to write to, on the same file system; its suffix says nothing of the format.

    Raises:
        DiskFullError: no space is left, whichever library noticed it.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(_temporary_name(path.name))
    try:
        with temporary.open("wb") as file:
            mode = os.fstat(file.fileno()).st_mode & 0o777
        yield temporary
        temporary.chmod(mode)  # some libraries write files that only their owner may read
        sync(temporary)
        temporary.replace(path)
        with suppress(OSError):  # not every file system can flush a folder
            sync(path.parent)
    except Exception as error:
        if disk_is_full(error) and not isinstance(error, DiskFullError):
            raise DiskFullError(path) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


def remove(path: Path) -> None:
    """Remove a file, a link or a whole folder; nothing need be there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Write a text in UTF-8 as `replacing` does.

    Raises:
        DiskFullError: no space is left.
    """
    with replacing(path) as temporary:
        temporary.write_bytes(text.encode())


def check_here() -> None:
    """Be sure that the folder that the program works in can be told of in settings and paths.

    Raises:
        ValueError: it is gone, or has a name that cannot.
    """
    try:
        folder = os.getcwd()
    except FileNotFoundError:
        raise ValueError("the folder that this began in is gone; cd to one that is there") from None
    try:
        folder.encode()
    except UnicodeEncodeError:
        reason = f"the folder {folder!r} is not UTF-8 text; rename it, or cd to another"
        raise ValueError(reason) from None
    if "${" in folder:
        raise ValueError(
            f"the folder {folder} has ${{ in its name, with which settings begin a reference; "
            "rename it, or cd to another"
        )


def check_writable(folder: Path, remedy: str = "give another folder") -> None:
    """Be sure that a folder can be made and written in; it is left as it was, or not there.

    Args:
        folder: which.
        remedy: for the message.

    Raises:
        ValueError: it cannot.
    """
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        trial = folder / _temporary_name("trial")
        trial.touch()
        trial.unlink()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        if link := next((path for path in missing if path.is_symlink()), None):
            reason = f"{link} is a link to {link.readlink()}, which is not there"
        raise ValueError(f"{folder} cannot be written ({reason}); {remedy}") from None
    finally:
        for one in missing:
            with suppress(OSError):
                one.rmdir()


def sync(path: Path) -> None:
    """Flush a file or a folder to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def remove_temporaries(folder: Path) -> None:
    """Remove what killed writers left in a folder; only while nobody else writes in it."""
    for left in folder.glob(f".*{_TEMPORARY}"):
        if left.is_dir():
            shutil.rmtree(left)
        else:
            left.unlink(missing_ok=True)


def shared_temporary(path: Path) -> Path:
    """Where several processes write what will stand at `path`."""
    return path.with_name(f".{path.name}.shared{_TEMPORARY}")


@contextmanager
def locked(folder: Path, busy: str) -> Iterator[None]:
    """Keep other processes out of a folder; the lock ends with this process, however it ends.

    Args:
        folder: is made if it is missing, and holds the file `.lock`.
        busy: the message if another process works there now.

    Raises:
        ValueError: another process holds the lock.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # children do not inherit it
        except (BlockingIOError, PermissionError):
            raise ValueError(busy) from None
        yield


def _temporary_name(name: str) -> str:
    if len(os.fsencode(name)) > _LONGEST_NAME:
        name = hashlib.sha256(os.fsencode(name)).hexdigest()[:16]
    return f".{name}.{os.getpid()}{_TEMPORARY}"
