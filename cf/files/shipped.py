"""Networks that come with the package: a path `shipped:NAME` is one of theirs."""

from pathlib import Path

SHIPPED = "shipped:"
_FOLDER = Path(__file__).parent.parent / "shipped"


def shipped(path: str) -> str:
    """The folder in the package that a path stands for; other paths as they are.

    Args:
        path: such as `shipped:student`.

    Raises:
        ValueError: nothing of that name comes with the package.
    """
    if not path.startswith(SHIPPED):
        return path
    known = sorted(one.name for one in _FOLDER.iterdir() if one.is_dir() and one.name[0] != "_")
    name = path.removeprefix(SHIPPED)
    if name not in known:
        there = ", ".join(SHIPPED + one for one in known)
        raise ValueError(f"{path} does not come with the package; there are {there or 'none'}")
    return str(_FOLDER / name)
