"""What has yet to be downloaded, or is not all there."""

import re
from contextlib import suppress
from pathlib import Path

_MARKS = {".aria2": "aria2", ".st": "axel"}
"""What a program puts beside a file until all of it is there; what is not, reads as zeros."""
_POINTER = b"version https://git-lfs"
_MOST_BYTES = 1024  # of a pointer


_ENDINGS = (".incomplete", ".part", ".partial", ".crdownload", ".download", ".opdownload")
"""Of files that a program renames when all of them is there; some have their full length before."""
_REPOSITORY = re.compile(
    r"(?:https?:/+(?:www\.)?huggingface\.co/|hf:/*)?(?P<name>[\w.-]+/[\w.-]+)"
    r"(?:/(?:resolve|blob|tree)/[^/]+(?:/(?P<file>[^?]+))?(?:\?.*)?)?/?"
)


def to_fetch(path: str | Path) -> str:
    """What gets a path that is none here, as the end of a message; empty if it may be one.

    Args:
        path: as it was typed, or as `Path` has it, which makes one slash of two.

    >>> to_fetch("runs/a/network.safetensors"), to_fetch("file:///a.pt")
    ('', '; give the path alone, /a.pt')
    >>> to_fetch("s3://a/b")
    '; it is an address, and files are read on this machine alone: download it, and give its path'
    """
    text = str(path)
    scheme = re.match(r"([a-z][a-z\d+.-]+):/*", text)
    if scheme and scheme[1] == "file":
        return f"; give the path alone, /{text[scheme.end() :]}"
    match = _REPOSITORY.fullmatch(text)
    if match and (scheme or not _may_be_path(Path(text))):
        folder = f"weights/{match['name'].partition('/')[2]}"
        path = match["file"] or ""
        return (
            f"; if that repository of Hugging Face is meant: hf download {match['name']} {path}"
            f"{' ' * bool(path)}--local-dir {folder}, and then give "
            f"{folder}{'/' * bool(path)}{path}"
        )
    if scheme and f"{scheme[1]}:/" in text:
        return (
            "; it is an address, and files are read on this machine alone: download it, and give "
            "its path"
        )
    return ""


def _may_be_path(path: Path) -> bool:
    """Suffixes begin with a letter; behind a dot of a repository's name there is a size."""
    return path.parent.is_dir() or path.suffix[1:2].isalpha() or path.parts[0] in ("..", "~")


def unfinished(file: Path) -> str:
    """That a file lacks parts, as the end of a sentence that begins with it; empty if it does not.

    Args:
        file: that is there.
    """
    if file.suffix.lower() in _ENDINGS:
        return (
            f"is not all there: {file.suffix} says that its download has not ended; start it "
            "again, or rename the file if it is whole"
        )
    for mark, program in _MARKS.items():
        beside = file.with_name(file.name + mark)
        if beside.is_file():
            return (
                f"is not all there: {beside.name} beside it says that {program} has not ended; "
                "start that download again, or delete that mark if the file is whole"
            )
    return pointer(file)


def pointer(file: Path) -> str:
    """That git-lfs has not fetched a file, as such an end; empty if it has.

    Args:
        file: that is there.
    """
    head = b""
    with suppress(OSError):  # who reads it says why
        if file.is_file() and file.stat().st_size <= _MOST_BYTES:
            head = file.read_bytes()
    if not head.startswith(_POINTER):
        return ""
    folder = file.absolute().parent
    return f"is a git-lfs pointer in place of the file; fetch it: git -C '{folder}' lfs pull"
