"""`python -m cf.compare`: lay runs or results side by side, with paired statistics."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from cf.settings.build import to_settings
from cf.settings.command_line import command
from cf.settings.literal import quoted

log = logging.getLogger("cf.compare")

_SETTINGS = ("runs", "groups", "only")
_CONFIG = ("--config-dir", "-cd", "--config-path", "-cp", "--config-name", "-cn", "--cfg", "-c")
_VALUED = (*_CONFIG, "--package", "-p")


def hydrated(arguments: Sequence[str]) -> list[str]:
    """Arguments as Hydra takes them: paths go into `runs`, and `name=path` into `groups`.

    >>> hydrated(["outputs/a", "full=outputs/full/*", "only=[train/loss]"])
    ['only=[train/loss]', "runs=['outputs/a']", "groups={full:['outputs/full/*']}"]
    """
    rest, runs = list[str](), list[str]()
    groups: dict[str, list[str]] = {}
    for before, one in zip(["", *arguments], arguments, strict=False):
        name, equals, path = one.partition("=")
        if one.startswith("-") or before in _VALUED:
            rest.append(one)
        elif not equals or Path(one).exists():
            runs.append(one)
        elif name.lstrip("+~").split(".")[0] in (*_SETTINGS, "hydra"):
            rest.append(one)
        else:
            several = path.startswith("[") and path.endswith("]")
            paths = path[1:-1].split(",") if several else [path]
            groups.setdefault(name, []).extend(paths)
    rest += [f"runs=[{','.join(map(quoted, runs))}]"] if runs else []
    inner = ",".join(f"{name}:[{','.join(map(quoted, paths))}]" for name, paths in groups.items())
    return [*rest, f"groups={{{inner}}}"] if groups else rest


@command("compare")
def _main(cfg: DictConfig) -> None:
    from cf.comparing.compare import sides_of, write_comparison

    settings = to_settings(cfg)
    groups = {name: _listed(paths) for name, paths in (settings["groups"] or {}).items()}
    only = settings["only"]
    paths = sides_of(_listed(settings["runs"]), groups)
    folder = Path(HydraConfig.get().runtime.output_dir)
    text = write_comparison(paths, None if only is None else _listed(only), folder)
    log.info("\n%s\n%s", text, folder / "compare.md")
    if paths.trainings:
        log.info("curves: %s", folder / "curves.png")
        log.info("python -m tensorboard.main --logdir %s", folder / "tensorboard")


def _listed(value: str | list[str] | None) -> list[str]:
    """As a list; its kind was checked with all settings."""
    return [value] if isinstance(value, str) else value or []


def main() -> None:
    """Compare as the arguments say."""
    sys.argv[1:] = hydrated(sys.argv[1:])
    _main()


if __name__ == "__main__":
    main()
