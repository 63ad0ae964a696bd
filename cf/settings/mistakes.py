"""A user's mistake as the one line that a command says, and where a class of their own failed."""

import dis
import inspect
import logging
import os
import re
import sys
import sysconfig
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType
from typing import Any

import yaml
from hydra.errors import HydraException
from omegaconf.errors import (
    InterpolationToMissingValueError,
    MissingMandatoryValue,
    OmegaConfBaseException,
)

from cf.files.atomic import check_here
from cf.system.processes import end_with_parent
from cf.system.shell import open_streams

_CF = f"{Path(__file__).parents[1]}/"
_CATCHES = "exit_on_user_error"
"""It stands above whoever called, which may be a script or a test."""
_OF_OMEGACONF = re.compile(r"^\w+ raised while resolving interpolation: ")
_LIBRARIES = tuple({f"{sysconfig.get_path(name)}/" for name in ("stdlib", "purelib", "platlib")})


@contextmanager
def exit_on_user_error(command: str) -> Iterator[None]:
    """Turn a user's mistake into one message and exit status 1; HYDRA_FULL_ERROR=1 shows where.

    A launcher's worker ends with whoever launched it.
    """
    end_with_parent()
    open_streams()
    logging.raiseExceptions = False  # a line that the log has no space for is not worth a traceback
    mistakes = (
        ValueError,
        OSError,
        ImportError,
        ArithmeticError,
        HydraException,
        OmegaConfBaseException,
        yaml.YAMLError,
    )
    try:
        check_here()
        yield
    except mistakes as error:
        if os.environ.get("HYDRA_FULL_ERROR") == "1":
            raise
        if isinstance(error, MissingMandatoryValue | InterpolationToMissingValueError):
            missing = error.full_key
            if isinstance(error, InterpolationToMissingValueError):  # the one that this one names
                missing = str(error).split("\n")[0].rpartition(": ")[2]
            message = f"{missing} must be given: {missing}=..."
        elif isinstance(error, yaml.YAMLError):
            message = f"a file is no YAML: {' '.join(str(error).split())}"
        else:
            message = _OF_OMEGACONF.sub("", str(error).split("\n    full_key")[0])
            message += failing_line(error)
        sys.stderr.write(f"\n{command}: {message}\n")
        sys.exit(1)


def failing_line(error: BaseException) -> str:
    """File, line and function of one's own class that an error comes from; else empty.

    An error that such a class raises on purpose tells itself what is wrong, so it needs none.

    Args:
        error: as a command met it.
    """
    met = (error, error.__cause__)  # what Hydra makes of an error names it as its cause
    frames = [
        entry for part in met if part is not None for entry in traceback.walk_tb(part.__traceback__)
    ]
    codes = [frame.f_code for frame, _ in frames]
    files = [code.co_filename for code in codes]
    begun = (i for i, code in enumerate(codes) if code.co_name != _CATCHES)
    first = next((i for i in begun if files[i].startswith(_CF)), len(files))
    own = [i for i in range(first, len(files)) if _is_own(files[i])]
    if not own:
        return ""
    frame, line = frames[own[-1]]
    summary = traceback.FrameSummary(files[own[-1]], line, frame.f_code.co_name)
    if own[-1] == len(files) - 1 and (summary.line or "").startswith("raise "):
        return ""
    return f" ({files[own[-1]]}, line {line}, in {summary.name}; HYDRA_FULL_ERROR=1 shows the rest)"


def forgotten_init(made: object) -> str:
    """That a class of one's own does not begin as its base does, with file and line; else empty.

    Told where its `__init__` calls no other, and something is not there that a base's makes.

    Args:
        made: what was built.
    """
    kind = type(made)
    first, *bases = [base for base in kind.__mro__ if "__init__" in vars(base)]
    code = _code(vars(first)["__init__"])
    file = getattr(sys.modules.get(first.__module__), "__file__", None)
    if code is None or file is None or not _is_own(file):
        return ""
    after = _code(vars(first).get("__post_init__"))
    if "__init__" in (*code.co_names, *(after.co_names if after else ())):
        return ""
    for base in bases:
        made_there = _assigned(_code(vars(base)["__init__"]))
        if lost := next((name for name in made_there if not hasattr(made, name)), ""):
            written = not code.co_filename.startswith("<")  # a dataclass' is not
            line = code.co_firstlineno if written else inspect.getsourcelines(first)[1]
            where = "__init__" if written else "__post_init__"
            return (
                f"{first.__name__}.{where} must call super().__init__(...), for {base.__name__} "
                f"makes self.{lost} there ({file}, line {line})"
            )
    return ""


def _code(function: Any) -> CodeType | None:
    return getattr(inspect.unwrap(function), "__code__", None) if function else None


def _assigned(code: CodeType | None) -> list[str]:
    """Attributes that a function gives to its first argument, or to others."""
    if code is None:
        return []
    steps = dis.get_instructions(code)
    return [str(step.argval) for step in steps if step.opname == "STORE_ATTR"]


def _is_own(file: str) -> bool:
    return not file.startswith(("<", _CF, *_LIBRARIES))
