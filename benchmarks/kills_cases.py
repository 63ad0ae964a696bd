"""The commands that are killed, with settings and inputs with which their work takes seconds."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from warm import ROOT, Command, run

sys.path.insert(0, str(ROOT / "tests"))

from commands import ROOMS, STUDENT
from test_benchmark import FEW, SMALL
from test_fit import TINY
from test_recall import QUICK

from cf.data.shapes import draw_clips


@dataclass(frozen=True)
class Case:
    """A command: how it is started in a folder, and how it goes on there."""

    start: Callable[[Path], Command]
    again: Callable[[Path], Command]


def cases(work: Path) -> dict[str, Case]:
    """Every command with small settings; `work` holds its inputs."""
    rooms = f"{work}/rooms"
    small = [one for one in SMALL if not one.startswith("workers=")]
    student = (*STUDENT, "objective=direct_forcing")
    begun = (f"start.teacher.path={rooms}", f"start.student.path={rooms}")

    def same(module: str, *settings: str, folder: str = "hydra.run.dir") -> Case:
        def made(place: Path) -> Command:
            return module, [*settings, f"{folder}={place}"]

        return Case(made, made)

    def resumed(*settings: str) -> Case:
        case = same("cf.fit", *settings)

        def again(place: Path) -> Command:
            begun = any((place / one).is_file() for one in ("config.yaml", "phases.yaml"))
            if begun and random.random() < 0.5:
                own = settings[:2] if settings[0] == "--config-dir" else ()
                return "cf.fit", [*own, f"resume={place}"]
            return case.start(place)

        return Case(case.start, again)

    return {
        "fit": resumed(*ROOMS, "trainer.max_steps=8"),
        "distil": resumed(*ROOMS, *student, *begun),
        "phases": resumed("--config-dir", f"{work}/configs", "experiment=short", *shared()),
        "sweep": same(
            "cf.fit",
            "-m",
            *ROOMS,
            "seed=0,1",
            "hydra/launcher=joblib",
            "hydra.launcher.n_jobs=2",
            folder="hydra.sweep.dir",
        ),
        "benchmark": same("cf.benchmark", *small, "workers=2", *FEW, "tensorboard=false"),
        "evaluate": same(
            "cf.evaluate",
            f"videos={work}/clips",
            "metrics=none",
            "+metrics.a._target_=cf.metrics.TemporalFlickeringVBench",
        ),
        "recall": same("cf.recall", *QUICK, f"students={{one:'{rooms}'}}"),
        "generate": same(
            "cf.generate",
            f"checkpoint={work}/net",
            "seconds=3",
            "samples=3",
            "batch=2",
            "save_every=0.1",
        ),
    }


def shared() -> list[str]:
    """Settings of the training in phases, those of its experiment left out."""
    return [one for one in ROOMS if not one.startswith(("data=", "model=", "memory="))]


def prepare(work: Path, names: list[str]) -> None:
    """Inputs that the commands need: clips, two small networks and a training in phases."""
    draw_clips(work / "clips", count=6, seconds=2.0, fps=8.0, size=(32, 32))
    if {"distil", "recall"} & set(names):
        run(("cf.fit", [*ROOMS, "trainer.max_steps=1", f"hydra.run.dir={work}/rooms"]), work)
    if "generate" in names:
        given = [*TINY, f"data.folder={work}/clips", "trainer.max_steps=1"]
        run(("cf.fit", [*given, f"hydra.run.dir={work}/net"]), work)
    if "phases" in names:
        folder = work / "configs" / "experiment"
        folder.mkdir(parents=True)
        own = "module.length.least=12, module.length.most=12, 'module.prefix_blocks=[1,2]'"
        starts = [f"'start.{who}.path=${{folder}}/base'" for who in ("student", "teacher")]
        (folder / "short.yaml").write_text(
            "# @package _global_\ndefaults: [rooms_student]\nphases:\n"
            f"  base: [experiment=rooms_base]\n"
            f"  student: [experiment=rooms_student, {', '.join(starts)}, {own}]\n"
        )
