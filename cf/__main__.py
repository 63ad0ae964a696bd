"""`python -m cf`: the list of commands, and a short way to start one."""

import os
import sys
from importlib.util import find_spec

from cf import __version__
from cf.system.shell import show

COMMANDS = {
    "demo": ("show the claim in rooms of a game engine, in minutes", "study=small"),
    "prepare": ("encode videos and prompts once", "videos=my_clips codec=wan text=umt5"),
    "fit": ("train a model", "data=videos data.folder=my_clips"),
    "generate": ("stream a video from a checkpoint", "checkpoint=outputs/run seconds=60"),
    "play": ("steer a video while a network makes it", "checkpoint=outputs/run"),
    "recall": ("count what networks remember of drawn worlds", "students='{mine: outputs/run}'"),
    "evaluate": ("measure videos, whoever made them", "videos=my_clips"),
    "memory_map": ("draw what each memory shows of the past", "memories=[sliding,pooled]"),
    "benchmark": ("compare models and memories over long videos", "suite=smoke"),
    "compare": ("lay runs side by side", "outputs/a outputs/b"),
    "weights": ("show which published weights are here", "status"),
}


def available() -> dict[str, tuple[str, str]]:
    """The commands whose modules exist; finding out imports none of them."""
    return {name: text for name, text in COMMANDS.items() if find_spec(f"cf.{name}")}


def overview() -> str:
    """What `python -m cf` shows.

    >>> print(overview().splitlines()[2])
    usage: python -m cf <command> [key=value ...]
    """
    lines = [f"context-forcing {__version__}: long-context video generation research", ""]
    lines += ["usage: python -m cf <command> [key=value ...]", ""]
    for name, (summary, example) in available().items():
        lines += [f"  {name:10} {summary}", f"  {'':10} python -m cf.{name} {example}"]
    return "\n".join([*lines, "", "python -m cf <command> --help explains its settings."])


def main() -> None:
    """List the commands, or become the one that is named."""
    name, *rest = sys.argv[1:] or ["--help"]
    if name in {"-h", "--help", "help"}:
        show(overview())
    elif name in {"-V", "--version"}:
        sys.stdout.write(__version__ + "\n")
    elif name in available():
        os.execv(sys.executable, [sys.executable, "-m", f"cf.{name}", *rest])
    else:
        sys.exit(f"cf: no command {name!r}; there are {', '.join(available())}")


if __name__ == "__main__":
    main()
