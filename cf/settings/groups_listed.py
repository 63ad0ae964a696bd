"""The groups of a command and their options, listed by Hydra from one reading of the folders."""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import CachingConfigRepository
from hydra._internal.hydra import Hydra

_ENTRY = re.compile(r"^ +- +(?:(?:optional|override) +)*([\w/]+)(?:@[\w.]+)?(:.*)?$")


def own_groups(file: Path, root: Path) -> set[str]:
    """The groups that a configuration takes options of, and those that their options do.

    Args:
        file: of the configuration.
        root: the folder in which groups are folders.
    """
    groups, read, todo = set[str](), set[Path](), [file]
    while todo:
        config = todo.pop()
        if config in read or not config.is_file():
            continue
        read.add(config)
        inside = config.parent.relative_to(root).as_posix() if root in config.parents else "."
        for name, is_group in _defaults(config.read_text()):
            path = name[1:] if name.startswith("/") else f"{inside}/{name}".removeprefix("./")
            if not is_group:
                todo.append(root / f"{path}.yaml")
            elif path not in groups:
                groups.add(path)
                todo += (root / path).glob("*.yaml")
    return groups


def _defaults(text: str) -> Iterator[tuple[str, bool]]:
    """What a configuration's defaults list names, and whether that is a group."""
    _, begun, entries = f"\n{text}".partition("\ndefaults:")
    for line in entries.splitlines()[1:] if begun else ():
        if line and not line.startswith((" ", "#")):
            return
        entry = _ENTRY.match(line.partition(" #")[0].rstrip())
        if entry and entry[1] != "_self_":
            yield entry[1], entry[2] is not None


@contextmanager
def listed_once(file: Path, root: Path) -> Iterator[None]:
    """Let Hydra ask one copy of its repository for the options of the command's groups.

    For each group it copies all that it holds, which takes most of the time of `--help`. Groups
    that only other commands have are left out; those of a folder of the user's stay.

    Args:
        file: of the command's configuration.
        root: the folder in which groups are folders.
    """
    listed, groups = Hydra.format_config_groups, own_groups(file, root)

    def is_own(group: str) -> bool:
        return group in groups or not (root / group).is_dir()

    def format_own(self: Any, predicate: Callable[[str], bool], compact: bool = True) -> str:
        return listed(self, lambda group: predicate(group) and is_own(group), compact)

    create = ConfigLoaderImpl._parse_overrides_and_create_caching_repo
    once = cache(lambda loader, name: create(loader, name, []))

    def create_shared(
        self: Any, name: str | None, overrides: Sequence[str]
    ) -> tuple[list[Any], CachingConfigRepository]:
        return create(self, name, [*overrides]) if name or overrides else once(self, name)

    ConfigLoaderImpl._parse_overrides_and_create_caching_repo = create_shared  # type: ignore[method-assign, assignment]
    Hydra.format_config_groups = format_own  # type: ignore[method-assign]
    try:
        yield
    finally:
        ConfigLoaderImpl._parse_overrides_and_create_caching_repo = create  # type: ignore[method-assign]
        Hydra.format_config_groups = listed  # type: ignore[method-assign]
