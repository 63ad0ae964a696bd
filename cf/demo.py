"""`python -m cf.demo`: the claim in minutes on two cores, or a tiny model on videos of yours."""

import logging
import math
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from cf.files.shipped import SHIPPED
from cf.runs.next_command import measuring
from cf.runs.run_folder import RunFolder
from cf.runs.watching import watched
from cf.settings.build import Settings, to_settings
from cf.settings.command_line import command
from cf.settings.literal import quoted
from cf.system.shell import setting, shell_command
from cf.system.signals import Stopped, run
from cf.video.numbered import PictureFolder

log = logging.getLogger("cf.demo")

_PLACES = 1_000_000
"""From here on, seeds are of places that no training draws."""
_TOLD = 30
"""Lines of a command that failed which are shown."""
_MEASURED = {
    "table": "recall.md",
    "plot": "recall.png",
    "video": "recall.mp4",
    "contact sheet": "recall_sheet.png",
}


@command("demo")
def main(cfg: DictConfig) -> None:
    """Run the demo as `cfg` says."""
    folder, began = Path(HydraConfig.get().runtime.output_dir), time.perf_counter()
    try:
        (on_videos if cfg.videos else on_worlds)(to_settings(cfg), folder)
    except Stopped as stopped:
        settings = [*HydraConfig.get().overrides.task, f"hydra.run.dir={folder}"]
        log.info("%s; go on with: %s", stopped, shell_command("cf.demo", settings))
        raise
    log.info("the demo took %.1f minutes", (time.perf_counter() - began) / 60)


def on_worlds(settings: Settings, folder: Path) -> None:
    """What students start from, if it is not there; students side by side; what they recall."""
    if settings["benchmark"] is not None and find_spec("vizdoom") is None:
        raise ImportError(
            "the demo walks through rooms of a game engine: pip install -e '.[doom]'; without it, "
            "drawn rooms show the same: python -m cf.demo study=claim"
        )
    shared = [*settings["fit"], f"seed={settings['seed']}"]
    experiments, sweeps = settings["start"], settings["sweeps"]
    phases = bool(experiments) + len(sweeps) + 1
    starts = list[str]()
    if experiments:
        start = [f"experiment={','.join(experiments.values())}", *shared]
        said = f"1 of {phases}, {' and '.join(experiments)}"
        _sweep(folder / "start", start, "${hydra:runtime.choices.experiment}", said)
        places = {role: folder / "start" / experiment for role, experiment in experiments.items()}
        starts = [f"start.{role}.path={quoted(str(place))}" for role, place in places.items()]
    runs: dict[str, Path] = {}
    for number, (name, sweep) in enumerate(sweeps.items(), 1 + bool(experiments)):
        words = [*starts, *sweep["settings"], *shared]
        _sweep(folder / name, words, sweep["subdir"], f"{number} of {phases}, {name}")
        runs |= {student: folder / name / run for student, run in sweep["students"].items()}
    log.info("%d of %d, what they recall:", phases, phases)
    (_on_rooms if settings["benchmark"] is None else _on_doom)(settings, folder, runs)


def _on_rooms(settings: Settings, folder: Path, runs: Mapping[str, Path]) -> None:
    """Of drawn rooms, cell by cell."""
    teacher, measured = folder / "start" / settings["start"]["teacher"], folder / "recall"
    _command(
        "cf.recall",
        f"students={{{_named(runs)}}}",
        f"oracle={quoted(str(teacher))}",
        *settings["recall"],
        f"hydra.run.dir={quoted(str(measured))}",
    )
    for what, name in _MEASURED.items():
        log.info("%s: %s", what, measured / name)
    log.info("training: python -m tensorboard.main --logdir %s", shlex.quote(str(folder)))
    log.info("%s", _found(measured / "recall.csv"))
    run = next(iter(runs.values()))
    log.info("measure one of them again: %s", measuring(RunFolder(run).settings([]), run))


def _on_doom(settings: Settings, folder: Path, runs: Mapping[str, Path]) -> None:
    """Of an engine's rooms, against the engine's own pictures, beside networks of the package."""
    measured = folder / "recall"
    beside = {name: SHIPPED + name for name in settings["beside"]}
    _command(
        "cf.benchmark",
        *settings["benchmark"],
        f"asked.seed={_PLACES + settings['seed']}",
        f"networks={{{_named({**beside, **runs})}}}",
        f"hydra.run.dir={quoted(str(measured))}",
    )
    log.info("table: %s", measured / "results.md")
    log.info("training: python -m tensorboard.main --logdir %s", shlex.quote(str(folder)))
    log.info("%s", _recalled(measured / "headline.csv"))
    log.info("page, with all videos in step: %s", measured / "index.html")
    run = next(iter(runs.values()))
    log.info("walk yourself: %s", shell_command("cf.play", [setting("checkpoint", run)]))


def _named(runs: Mapping[str, Path | str]) -> str:
    """Networks by name, as a setting."""
    return ",".join(f"{name}:{quoted(str(run))}" for name, run in runs.items())


def _recalled(table: Path) -> str:
    """What the table shows, in a sentence: the first headline of each, highest first."""
    import pandas as pd

    rows = pd.read_csv(table)
    metric = rows["metric"].iloc[0]
    rows = rows[rows["metric"].eq(metric) & ~rows["contestant"].eq("truth")]
    rows = rows.dropna(subset=["value"]).sort_values("value", ascending=False)
    if rows.empty:
        return "no camera came back to a view that it had left: nothing was there to recall"
    scores = [
        f"{name} {value:.3g}" + ("" if math.isnan(low) else f" [{low:.3g}, {high:.3g}]")
        for name, value, low, high in zip(
            *(rows[column] for column in ("contestant", "value", "low", "high")), strict=True
        )
    ]
    return f"Of views that were left and are seen again, {metric}: {', '.join(scores)}."


def _found(table: Path) -> str:
    """What the table shows, in a sentence: who recalls most and least of revisited rooms."""
    import pandas as pd

    rows = pd.read_csv(table)
    rows = rows[(rows["statistic"] == "recall, all lags") & ~rows["contestant"].eq("truth")]
    rows = rows[rows["contestant"].str.contains(", ")].dropna(subset=["value"]).sort_values("value")
    if rows.empty:
        return "no student came back to a room that it had left: nothing was there to recall"
    shares = [
        f"{row.contestant} paints {row.value:.0%}"
        + ("" if pd.isna(row.low) else f" [{row.low:.0%}, {row.high:.0%}]")
        for row in (rows.iloc[-1], rows.iloc[0])
    ]
    return f"Of a room that is seen again, {shares[0]} of the cells right, {shares[1]}."


def on_videos(settings: Settings, folder: Path) -> None:
    """Train on a folder of videos, then stream a much longer continuation of one of them."""
    trained, videos, rate = folder / "run", settings["videos"], settings["pictures_fps"]
    settings = settings["on_videos"]
    footage = [f"data.folder={quoted(videos)}", *([f"data.pictures_fps={rate}"] if rate else [])]
    _command("cf.fit", *footage, *settings["fit"], f"hydra.run.dir={quoted(str(trained))}")
    start = _trained_on(trained)
    for memory in settings["memories"]:
        _command(
            "cf.generate",
            f"checkpoint={quoted(str(trained))}",
            f"memory={memory}",
            f"video={quoted(str(start))}",
            *([f"pictures_fps={start.fps}"] if isinstance(start, PictureFolder) else []),
            f"seconds={settings['seconds']}",
            *settings["generate"],
            f"hydra.run.dir={quoted(str(folder / memory))}",
        )
    clip = _clip_seconds(trained)
    log.info(
        "trained on clips of %.1f s; every video goes on for %s s",
        clip,
        settings["seconds"],
    )
    for memory in settings["memories"]:
        log.info("%s: %s", memory, folder / memory / "video_0.mp4")
        log.info("%s, at a glance: %s", memory, folder / memory / "video_0.png")
    log.info("training: python -m tensorboard.main --logdir %s", shlex.quote(str(trained)))


def _sweep(folder: Path, settings: list[str], subdir: str, what: str) -> None:
    """A multirun of `cf.fit`, its runs side by side, each on one thread; its lines go to a file."""
    folder.mkdir(parents=True, exist_ok=True)
    with watched(folder, what):
        _command(
            "cf.fit",
            "--multirun",
            *settings,
            "hydra/launcher=joblib",
            "hydra.launcher.n_jobs=2",
            f"hydra.sweep.dir={quoted(str(folder))}",
            f"hydra.sweep.subdir='{subdir}'",
            lines=folder / "log.txt",
        )


def _trained_on(run: Path) -> Path:
    """The first video that the run was trained on; one that it never saw is beyond a tiny model."""
    from cf.data.sources import split, survey

    data = RunFolder(run).settings([])["data"]
    pictures_fps = data.get("pictures_fps")  # runs of old have none
    sources, _ = survey(
        Path(data["folder"]), data["clip_frames"], data["fps"], pictures_fps=pictures_fps
    )
    return split(sources, data["val_fraction"])[0][0].path


def _clip_seconds(run: Path) -> float:
    data = RunFolder(run).settings([])["data"]
    return float(data["clip_frames"] / data["fps"])


def _command(module: str, *arguments: str, lines: Path | None = None) -> None:
    """Each part is a command that the reader can give as well, and is shown as such.

    Args:
        module: of the command.
        arguments: its settings.
        lines: a file that takes what the command says; None: it says it here.
    """
    log.info("%s", shell_command(module, arguments))
    command = [sys.executable, "-m", module, *arguments]
    if lines is None:
        status = run(command)
    else:
        single = {**os.environ, "OMP_NUM_THREADS": "1"}
        with lines.open("ab") as file:
            status = run(command, env=single, stdout=file, stderr=subprocess.STDOUT)
        if status:
            sys.stderr.write("\n".join(lines.read_text(errors="replace").splitlines()[-_TOLD:]))
            sys.stderr.write("\n")
    if status:
        where = "" if lines is None else f"; all that it said: {lines}"
        raise ValueError(f"{module} ended with status {status}; its message stands above{where}")


if __name__ == "__main__":
    main()
