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
        for one in entered:
            _refuse_absent(one, settings["networks"] or {}, typed)
    there = [name for name, one in settings["metrics"].items() if one is not None]
    gates = [name for name, bounds in settings["gates"].items() if bounds is not None]
    axes = list(settings["pareto"].values())
    for setting, names in (("headline", settings["headline"]), ("gates", gates), ("pareto", axes)):
        explicit = any(one == setting or one.startswith(f"{setting}.") for one in typed)
        _check(setting, names, there, {*there, *_known_metrics()}, explicit, "metrics")
    if settings["headline"] and not set(settings["headline"]) & set(there):
        log.warning("no metric of headline is measured; the headline will be empty")
    check_bounds(settings["gates"])
    people = [name for one in entered for name in (one.name, one.files)]
    known = {*people, *(settings["contestants"] or {}), *_known_contestants()}
    _check("unranked", settings["unranked"], people, known, "unranked" in typed, "contestants")


def _refuse_absent(one: Entry, networks: Collection[str], typed: Collection[str]) -> None:
    """Refuse a contestant that is missing if a user typed where it is; others may stay away."""
    own = [name for name in typed if name.startswith(f"contestants.{one.name}.")]
    paths = [name for name in own if any(fnmatchcase(name, pattern) for pattern in PATHS)]
    network = one.name.partition(", ")[0]  # before the name of a memory
    if network in networks:
        paths += sorted({"networks", f"networks.{network}"} & {*typed})
    if one.missing and paths:
        lacking = [path for path in paths if _value(one, path) in one.missing]
        where = lacking[0] if lacking else f"contestants.{one.name}"
        raise ValueError(
            f"{where}: {one.label}: {one.missing}; give absent=list to compare the others"
        )


def _value(one: Entry, typed: str) -> str:
    """What a contestant has for a setting of its own; empty for that of a network by name."""
    value: Any = one.settings
    for key in typed.removeprefix(f"contestants.{one.name}.").split("."):
        value = value.get(key, "") if isinstance(value, dict) else ""
    return str(value)


def _check(
    setting: str,
    names: Iterable[str],
    there: Sequence[str],
    known: Collection[str],
    typed: bool,
    what: str,
) -> None:
    lacking = [name for name in names if name not in there]
    for name in lacking:
        if typed or name not in known:
            options = ", ".join(dict.fromkeys(there)) or "none"
            raise ValueError(
                f"{setting}: {name!r} is none of the {what} of this benchmark"
                f"{meant(name, there)}: {options}"
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
    known: set[str] = set()
    for settings in (yaml_of(file) or {} for file in files):
        listed = [name for one in settings.pop("defaults", []) for name in one]
        known |= {name.removeprefix("/metric@") for name in listed} | {*settings}
    return frozenset(known)


@lru_cache(1)
def _known_contestants() -> frozenset[str]:
    return frozenset(file.stem for file in Path(CONFIG_DIR).glob("contestant/*.yaml"))
