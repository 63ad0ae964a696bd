"""Downloads that have not ended, though the file is there under its name and in its full length."""

from pathlib import Path

_MARKS = {".aria2": "aria2", ".st": "axel"}
"""What a program puts beside a file until all of it is there; what is not, reads as zeros."""


def unfinished(file: Path) -> str:
    """That a file lacks parts, as the end of a sentence that begins with it; empty if it does not.

    Args:
        file: that is there.
    """
    for mark, program in _MARKS.items():
        beside = file.with_name(file.name + mark)
        if beside.is_file():
            return (
                f"is not all there: {beside.name} beside it says that {program} has not ended; "
                "start that download again, or delete that mark if the file is whole"
            )
    return ""
