"""Between what a person types and Hydra: texts taken literally, every setting checked at once."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext, suppress
from functools import wraps
from pathlib import Path
from typing import Any, NoReturn

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from cf.files.atomic import check_writable
from cf.files.output_folder import remove_empty_logs, stoppable, tidy
from cf.paths import CONFIG_DIR
from cf.settings.build import to_settings
from cf.settings.checks import check_settings, kind_of
from cf.settings.composition import composition_of, hydra_of, known_mode, lean
from cf.settings.groups_listed import listed_once
from cf.settings.literal import literal, quoted
from cf.settings.mistakes import exit_on_user_error
from cf.settings.options import (
    flat_objective,
    inner_memories,
    named_options,
    refuse_elsewhere,
    refuse_scale,
    refuse_taken_out,
    refuse_unheard,
)
from cf.settings.renamed import current_argument
from cf.settings.schema import COMMANDS
from cf.system.shell import partly_read
from cf.system.signals import passed_on, spare_tracker

Task = Callable[[DictConfig], Any]
Command = Callable[[], None]
_IN_NO_NAME = r"[^\w$/.@:~+-]"
_TRIED = 64  # values of a sweep's setting that are checked before the first run


def command(name: str, folder: str = CONFIG_DIR, program: str = "") -> Callable[[Task], Command]:
    """As `hydra.main`, for a command that takes texts literally and checks its settings first.

    Args:
        name: of its file of settings.
        folder: where that file lies.
        program: what it is called in messages; empty: cf.NAME.
    """
    program = program or f"cf.{name}"

    def decorated(task: Task) -> Command:
        @wraps(task)
        def run_task(cfg: DictConfig) -> Any:
            place = Path(HydraConfig.get().runtime.output_dir)
            fresh = all(path.suffix == ".log" for path in place.iterdir())
            try:
                return exit_on_user_error(program)(task)(cfg)
            except SystemExit as error:
                if error.code == 1:
                    tidy(place) if fresh else remove_empty_logs(place)
                raise

        run = hydra.main(version_base="1.3", config_path=folder, config_name=name)(run_task)

        @wraps(task)
        def main() -> None:
            several = {"-m", "--multirun"} & set(sys.argv)
            with stoppable(program), passed_on() if several else nullcontext():
                with exit_on_user_error(program):
                    sys.argv[1:], mode = _prepared(sys.argv[1:], name, folder)
                shows, file = {"-h", "--help"} & set(sys.argv), Path(folder, f"{name}.yaml")
                listing = listed_once(file, Path(CONFIG_DIR)) if shows else nullcontext()
                with lean(), known_mode(mode), listing, partly_read():
                    run()

        return main

    return decorated


def prepared(arguments: Sequence[str], name: str, folder: str = CONFIG_DIR) -> list[str]:
    """The arguments as Hydra takes them, flags first, once sure that they can be.

    Raises:
        ValueError: an argument that is no setting, a setting that is unknown, or a wrong value.
    """
    return _prepared(arguments, name, folder)[0]


def _prepared(arguments: Sequence[str], name: str, folder: str) -> tuple[list[str], Any]:
    """The arguments, and Hydra's mode; None if that is not set or of no use."""
    if folder != CONFIG_DIR:  # the groups of every command
        arguments = [*arguments, f"hydra.searchpath=[{quoted(f'file://{CONFIG_DIR}')}]"]
    args = _parsed(arguments)
    flags = _without(arguments, args.overrides)
    settings = [literal(_current(setting), args.multirun) for setting in args.overrides]
    if args.config_dir is not None:
        args.config_dir = os.path.expanduser(args.config_dir)
        flags = [os.path.expanduser(flag) if flag.startswith("~") else flag for flag in flags]
        if not Path(args.config_dir).is_dir():
            raise ValueError(f"--config-dir={args.config_dir} is not a folder")
    if args.help or args.hydra_help or args.shell_completion or args.info:
        return [*flags, *settings], None
    with lean():
        settings, mode = _check(args, settings, name, folder)
    return [*flags, *settings], mode


def _current(setting: str) -> str:
    """The setting with today's name; an older one is told."""
    now, said = current_argument(setting)
    if said:
        sys.stderr.write(f"{said}\n")
    return now


def _parsed(arguments: Sequence[str]) -> argparse.Namespace:
    """Flags and settings, which may stand in any order."""
    for argument in arguments:
        try:
            argument.encode()
        except UnicodeEncodeError:
            raise ValueError(
                f"{argument!r} is not UTF-8 text; rename the file, or give its folder"
            ) from None
    parser = get_args_parser()

    def fail(message: str) -> NoReturn:
        raise ValueError(f"{message}; settings are given as name=value, and --help lists them")

    parser.error = fail  # type: ignore[method-assign]
    args = parser.parse_intermixed_args([*arguments])
    for setting in args.overrides:
        if not setting.startswith("~") and not setting.partition("=")[1]:
            raise ValueError(f"{setting!r} is no setting; settings are given as name=value")
        if not re.match(r"(~|\+{1,2})?[\w$/]", setting):
            raise ValueError(f"{setting!r} names no setting; settings are given as name=value")
        key, _, value = setting.partition("=")
        if odd := re.search(_IN_NO_NAME, key):
            near = f"{re.sub(_IN_NO_NAME, '', key)}={value.strip()}"
            raise ValueError(
                f"{setting!r} names no setting, for {odd[0]!r} is in no name; is {near} meant?"
            )
    return args


def _without(arguments: Sequence[str], overrides: Sequence[str]) -> list[str]:
    flags = list(arguments)
    for setting in overrides:
        flags.remove(setting)
    return flags


def _check(
    args: argparse.Namespace, settings: Sequence[str], name: str, folder: str
) -> tuple[list[str], Any]:
    """Compose every setting that is asked for, and compare it with what it may be."""
    mode = None
    base = str(Path(args.config_path or folder).absolute())
    name = args.config_name or name
    place: list[str] = []
    if args.config_dir is not None:
        place = [f"hydra.searchpath=[{quoted(f'file://{Path(args.config_dir).absolute()}')}]"]
    with hydra.initialize_config_dir(version_base="1.3", config_dir=base):
        overrides = [_override(text, name, (*place, *settings)) for text in (*place, *settings)]
        refuse_elsewhere(name, overrides)
        overrides = named_options(name, flat_objective(name, overrides))
        overrides = inner_memories(name, overrides)
        refuse_taken_out(name, overrides)
        for job in _jobs(overrides, args.multirun, name):
            cfg = composition_of(name, job)
            mode, choices = cfg.hydra.mode, cfg.hydra.runtime.choices
            refuse_unheard(overrides, cfg)
            refuse_scale(cfg)
            sweeper = choices["hydra/sweeper"]
            if args.multirun and choices["hydra/launcher"] == "joblib":
                spare_tracker()
            staged = args.multirun and (cfg.get("sweep") is not None or sweeper == "stages")
            if args.cfg is None and name in COMMANDS:
                _check_composed(cfg, name, staged, job)
            if args.cfg is None:
                _check_place(cfg, args.multirun, {str(item.key_or_group) for item in overrides})
    return [str(override.input_line) for override in overrides[len(place) :]], mode


_LIST = re.compile(r"\[[^][{}()'\"]*\]")
"""Entries that lack quotes."""


def _override(setting: str, name: str, beside: Sequence[str]) -> Override:
    """A setting as Hydra reads it; `beside` holds all settings of the command."""
    try:
        return _read(setting)
    except HydraException:
        key, _, value = setting.partition("=")
        # A name that does not exist is told as such; other settings may bring it.
        composition_of(name, [*_readable(beside), f"{key}=null"])
        remedy = f'write {key}="{_written(value)}"'
        kind = kind_of(name, key.lstrip("+"))
        if kind and not (kind.startswith("a list") and _LIST.fullmatch(value)):
            remedy = f"{key} must be {kind}"
        raise ValueError(
            f"{setting} cannot be read: {value!r} has a character with a meaning of its own; "
            f"{remedy}"
        ) from None


def _written(value: str) -> str:
    """A value in the quotes that it needs: the entries of a list have their own."""
    if _LIST.fullmatch(value):
        return f"[{','.join(quoted(entry.strip()) for entry in value[1:-1].split(','))}]"
    return quoted(value)


def _read(setting: str) -> Override:
    loader = GlobalHydra.instance().config_loader()  # which knows what a glob(*) stands for
    return OverridesParser.create(config_loader=loader).parse_overrides([setting])[0]


def _readable(settings: Sequence[str]) -> Iterator[str]:
    """Those that Hydra can read, and that are one run's."""
    for setting in settings:
        with suppress(HydraException):
            if not _read(setting).is_sweep_override():
                yield setting


def _jobs(overrides: Sequence[Override], multirun: bool, name: str) -> Iterator[list[str]]:
    """Settings of runs in which every value of a sweep comes up."""
    values = [_values(override) for override in overrides]
    for override in overrides:
        if override.is_sweep_override() and not multirun:
            key, _, value = str(override.input_line).partition("=")
            remedy, kind = f"a list is written {key}=[{value}]", kind_of(name, key)
            if re.fullmatch(r"-?\d+,\d+", value) and (not kind or "a number" in kind):
                number = f"a number is written {key}={value.replace(',', '.')}"
                remedy = number if kind else f"{remedy}, and {number}"
            raise ValueError(
                f"{override.input_line}: several values make several runs, which takes -m; {remedy}"
            )
    first = [tried[0] for tried in values if tried]
    yield first
    for tried in (tried for tried in values if len(tried) > 1):
        at = first.index(tried[0])
        for another in tried[1:_TRIED]:
            yield [*first[:at], another, *first[at + 1 :]]


def _values(override: Override) -> list[str]:
    if not override.is_sweep_override():
        return [str(override.input_line)]
    if not override.is_discrete_sweep():
        return []
    values = [*override.sweep_string_iterator()]
    if not values:  # of an empty list, or of a glob that nothing matches
        raise ValueError(
            f"{override.input_line} gives no value; list them, {override.key_or_group}=A,B"
        )
    return [f"{override.get_key_element()}={value}" for value in values]


def _check_composed(cfg: DictConfig, name: str, staged: bool, job: Sequence[str]) -> None:
    """Types, bounds and contradictions, before anything is made."""
    typed = {re.split(r"[.=@/]", setting.lstrip("+~"))[0]: at for at, setting in enumerate(job)}
    groups = sorted(_groups(cfg), key=lambda group: -typed.get(group, -1))
    others = staged or cfg.get("phases") or not OmegaConf.is_missing(cfg, "resume")
    with hydra_of(cfg):
        keys = [str(key) for key in cfg if key != "hydra" and not (staged and key == "sweep")]
        settings = to_settings(OmegaConf.masked_copy(cfg, keys))
    check_settings(name, settings, groups, deep=not (name == "fit" and others))


def _check_place(cfg: DictConfig, multirun: bool, typed: set[str]) -> None:
    """Raise a ValueError unless the folder of the results is theirs and can be made."""
    several = multirun or str(cfg.hydra.mode).endswith("MULTIRUN")
    unread, read = ("run", "sweep") if several else ("sweep", "run")
    if f"hydra.{unread}.dir" in typed and f"hydra.{read}.dir" not in typed:
        runs = "several runs (-m)" if several else "one run"
        raise ValueError(f"hydra.{unread}.dir is not read by {runs}; give hydra.{read}.dir=...")
    with hydra_of(cfg):  # its name may hold the suite's
        place = Path(str(cfg.hydra.sweep.dir if several else cfg.hydra.run.dir))
    check_writable(place, f"give another folder: hydra.{read}.dir=...")


def _groups(cfg: DictConfig) -> list[str]:
    """Where the options of groups stand."""
    keys = [key for key in map(str, cfg.hydra.runtime.choices) if not key.startswith("hydra/")]
    return sorted({key.split("@")[-1].split("/")[-1].split(".")[0] for key in keys})
