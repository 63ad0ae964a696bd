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
    known = sorted(path.name for path in _FOLDER.iterdir() if path.is_dir() and path.name[0] != "_")
    name = path.removeprefix(SHIPPED)
    if name not in known:
        names = ", ".join(SHIPPED + name for name in known)
        raise ValueError(f"{path} does not come with the package; there are {names or 'none'}")
    return str(_FOLDER / name)
