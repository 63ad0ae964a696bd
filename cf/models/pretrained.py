"""Parts of a published model's folder: where they lie and in which number format they run."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import torch

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def first_there(folder: str | Sequence[str], marks: Sequence[str]) -> str:
    """The folder; of several, the first that has one of the marks, else the first that exists.

    Args:
        folder: one, or several in which a published model may lie.
        marks: patterns of files of which a folder with the wanted part has one.

    >>> first_there(["absent/a", "absent/b"], ["vae"])
    'absent/a'
    """
    if isinstance(folder, str):
        return folder
    there = [one for one in folder if Path(one).expanduser().is_dir()]
    marked = [one for one in there if any(any(Path(one).expanduser().glob(m)) for m in marks)]
    return [*marked, *there, *folder][0]


def find_part(folder: str, part: str, files: str = "config.json") -> Path:
    """The folder of one part: `folder/part` as published, or `folder` itself.

    Args:
        folder: a published model's folder, or that of the part alone.
        part: what the part's subfolder is called.
        files: pattern of a file that tells the part's folder.

    Raises:
        FileNotFoundError: if neither holds such a file; says where it looked and what to put there.
    """
    root = Path(folder).expanduser().absolute()
    for place in (root / part, root):
        if any(place.glob(files)):
            return place
    raise FileNotFoundError(
        f"no {part} found: looked for {files} in {root / part} and in {root}; put the folder "
        f"{part!r} of a Wan model in diffusers layout (such as Wan2.1-T2V-1.3B-Diffusers) there, "
        "or point folder at it"
    )


def check_complete(place: Path, missing: Iterable[str]) -> None:
    """Refuse a part that would run with random weights.

    Raises:
        ValueError: if any weight is missing; names the first.
    """
    names = sorted(missing)
    if names:
        raise ValueError(
            f"{place} lacks {len(names)} of the weights, such as {names[0]}; copy the whole "
            "folder again"
        )


def parse_dtype(name: str) -> torch.dtype:
    """The torch type of a configured name.

    Raises:
        ValueError: if it is not a name that models run in.

    >>> parse_dtype("bfloat16")
    torch.bfloat16
    """
    if name not in _DTYPES:
        raise ValueError(f"dtype must be one of {', '.join(_DTYPES)}, got {name!r}")
    return _DTYPES[name]
