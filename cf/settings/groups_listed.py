"""The options of all groups, listed by Hydra from one reading of the configuration folders."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import CachingConfigRepository


@contextmanager
def listed_once() -> Iterator[None]:
    """Let Hydra ask one copy of its repository for the options of every group.

    For each group it copies all that it holds, which takes most of the time of `--help`.
    """
    made = ConfigLoaderImpl._parse_overrides_and_create_caching_repo
    once = cache(lambda loader, name: made(loader, name, []))

    def kept(
        self: Any, name: str | None, overrides: Sequence[str]
    ) -> tuple[list[Any], CachingConfigRepository]:
        return made(self, name, [*overrides]) if name or overrides else once(self, name)

    ConfigLoaderImpl._parse_overrides_and_create_caching_repo = kept  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        ConfigLoaderImpl._parse_overrides_and_create_caching_repo = made  # type: ignore[method-assign]
