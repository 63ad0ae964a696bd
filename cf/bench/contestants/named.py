"""Names of metrics and contestants in the settings, checked before the work begins."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Sequence
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path
from typing import Any

from cf.bench.contestants.entries import Entry
from cf.evaluation.gates import check_bounds
from cf.files.naming import meant
from cf.files.text import yaml_of
from cf.paths import CONFIG_DIR
from cf.settings.build import Settings
from cf.settings.literal import PATHS

log = logging.getLogger("cf.benchmark")


def check_names(settings: Settings, entered: Sequence[Entry], typed: Collection[str] = ()) -> None:
    """Refuse names that nothing has, and those that a user typed and this benchmark lacks.

    The suites' own headlines name metrics that some choices of metrics leave out; those are told.

    Args:
        settings: of `cf.benchmark`.
        entered: the contestants.
        typed: settings that were given on the command line.

    Raises:
        ValueError: a name of headline, gates, pareto or unranked is wrong; shows the nearest; or
            a path that was typed leads nowhere.
    """
    if settings["absent"] == "refuse":
        for entry in entered:
            _refuse_absent(entry, settings["networks"] or {}, typed)
    metrics = [name for name, metric in settings["metrics"].items() if metric is not None]
    gates = [name for name, bounds in settings["gates"].items() if bounds is not None]
    axes = list(settings["pareto"].values())
    for setting, names in (("headline", settings["headline"]), ("gates", gates), ("pareto", axes)):
        explicit = any(key == setting or key.startswith(f"{setting}.") for key in typed)
        _check(setting, names, metrics, {*metrics, *_known_metrics()}, explicit, "metrics")
    if settings["headline"] and not set(settings["headline"]) & set(metrics):
        log.warning("no metric of headline is measured; the headline will be empty")
    check_bounds(settings["gates"])
    people = [name for entry in entered for name in (entry.name, entry.files)]
    all_names = {*people, *(settings["contestants"] or {}), *_known_contestants()}
    _check("unranked", settings["unranked"], people, all_names, "unranked" in typed, "contestants")


def _refuse_absent(entry: Entry, networks: Collection[str], typed: Collection[str]) -> None:
    """Refuse a contestant that is missing if a user typed where it is; others may stay away."""
    entry_keys = [name for name in typed if name.startswith(f"contestants.{entry.name}.")]
    paths = [name for name in entry_keys if any(fnmatchcase(name, pattern) for pattern in PATHS)]
    network = entry.name.partition(", ")[0]  # before the name of a memory
    if network in networks:
        paths += sorted({"networks", f"networks.{network}"} & {*typed})
    if entry.missing and paths:
        lacking = [path for path in paths if _value(entry, path) in entry.missing]
        where = lacking[0] if lacking else f"contestants.{entry.name}"
        raise ValueError(
            f"{where}: {entry.label}: {entry.missing}; give absent=list to compare the others"
        )


def _value(entry: Entry, typed: str) -> str:
    """What a contestant has for a setting of its own; empty for that of a network by name."""
    value: Any = entry.settings
    for key in typed.removeprefix(f"contestants.{entry.name}.").split("."):
        value = value.get(key, "") if isinstance(value, dict) else ""
    return str(value)


def _check(
    setting: str,
    names: Iterable[str],
    available: Sequence[str],
    all_names: Collection[str],
    typed: bool,
    what: str,
) -> None:
    lacking = [name for name in names if name not in available]
    for name in lacking:
        if typed or name not in all_names:
            options = ", ".join(dict.fromkeys(available)) or "none"
            raise ValueError(
                f"{setting}: {name!r} is none of the {what} of this benchmark"
                f"{meant(name, available)}: {options}"
            )
    if lacking and what == "metrics":
        log.info("%s: %s of the suite is not measured here", setting, ", ".join(lacking))


@lru_cache(1)
def _known_metrics() -> frozenset[str]:
    """The names of metrics in all configurations."""
    files = [
        *Path(CONFIG_DIR).glob("metrics/*.yaml"),
        *Path(CONFIG_DIR).glob("suite/metrics/*.yaml"),
    ]
    names: set[str] = set()
    for settings in (yaml_of(file) or {} for file in files):
        listed = [name for default in settings.pop("defaults", []) for name in default]
        names |= {name.removeprefix("/metric@") for name in listed} | {*settings}
    return frozenset(names)


@lru_cache(1)
def _known_contestants() -> frozenset[str]:
    return frozenset(file.stem for file in Path(CONFIG_DIR).glob("contestant/*.yaml"))
