"""Provokes what goes wrong in a distillation, and draws the curves that tell it.

    python benchmarks/training_signals.py FOLDER           # train what FOLDER lacks, then draw
    python benchmarks/training_signals.py FOLDER --only teacher healthy

A teacher and a base of the drawn rooms, then a healthy distillation and one for each failure, a
process each; what is finished is kept, what was interrupted goes on. Pictures go to docs/pictures,
the numbers of docs/training-signals.md to standard output.
"""

import argparse
import csv
import os
import re
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor
from training_signals_drawn import changes, continued, draw_curves, draw_sheet, table

from cf.memory.full import Full
from cf.objectives.score import Clean, SharedMemory
from cf.types import Conditioning, Latents, Times

ROOT = Path(__file__).resolve().parents[1]
PICTURES = ROOT / "docs" / "pictures"
SHARED = (
    "trainer.enable_progress_bar=false",
    "trainer.log_every_n_steps=1",
    "trainer.val_check_interval=1000000",
    "callbacks.samples=null",
    "callbacks.throughput=null",
    "callbacks.checkpoint.every_n_train_steps=10",
)
STARTS = {
    "teacher": ("experiment=rooms_teacher", "trainer.max_steps=300"),
    "base": ("experiment=rooms_base", "trainer.max_steps=200"),
}
DMD = (
    "experiment=rooms_dmd",
    "start.student.path={teacher}",
    "start.teacher.path={teacher}",
    "callbacks=recall",
    "callbacks.recall.every_steps=4",
    "callbacks.recall.worlds=8",
    "data.batch_size=4",
    "callbacks.recall.frames=30",
    "data.clip_frames=18",
    "module.length.least=18",
    "module.length.most=18",
    "module.window_frames=6",
    "module.critic_steps=3",
    "trainer.max_steps=32",
)
FORCING = (
    "experiment=rooms_student",
    "start.student.path={base}",
    "start.teacher.path={teacher}",
    "callbacks=recall",
    "callbacks.recall.every_steps=10",
    "callbacks.recall.worlds=8",
    "data.batch_size=4",
    "callbacks.recall.frames=30",
    "data.clip_frames=24",
    "trainer.max_steps=100",
)


@dataclass(frozen=True)
class Provoked:
    """A distillation: what is done to it, and what else it is beside its healthy like."""

    settings: tuple[str, ...]
    healthy: str = "healthy"
    told: str = ""


RUNS = {
    "healthy": Provoked(DMD, told="DMD, start and critic as they should be"),
    "critic_slow": Provoked((*DMD, "critic_optimizer.lr=1e-6"), told="critic lr / 2000"),
    "critic_fast": Provoked((*DMD, "critic_optimizer.lr=0.1"), told="critic lr x 50"),
    "guidance_high": Provoked(
        (*DMD, "score._target_=training_signals.HistoryGuided", "+score.scale=6"),
        told="guidance 6, away from the teacher without a past",
    ),
    "wrong_start": Provoked((*DMD, "start.student.path=null"), told="random weights"),
    "bf16": Provoked((*DMD, "trainer.precision=bf16-true"), told="weights and Adam in bf16"),
    "static": Provoked(
        (*DMD, "optimizer.lr=0.001", "score._target_=training_signals.StillCamera"),
        told="the teacher is told that the camera stands",
    ),
    "one_picture": Provoked(
        (*DMD, "optimizer.lr=0.001", "score._target_=training_signals.OneRoom"),
        told="the teacher is told one room for all",
    ),
    "forcing": Provoked(FORCING, "forcing", "direct forcing, gradient through the past"),
    "forcing_detached": Provoked(
        (*FORCING, "gradient=detached"), "forcing", "the past is detached"
    ),
}
SIGNALS = {
    "train/score_norm": "score gap",
    "critic": "critic's error / teacher's",
    "train/student_gradient_norm": "student's gradient",
    "train/critic_gradient_norm": "critic's gradient",
    "recall/entropy": "entropy, bits",
    "recall/cross_room": "match across rooms",
    "recall/recall": "recall",
}
_LOGARITHMIC = ("train/score_norm", "critic", "train/student_gradient_norm")
_LOGARITHMIC += ("train/critic_gradient_norm",)


@dataclass(frozen=True, kw_only=True)
class HistoryGuided(SharedMemory):
    """The teacher's velocity with its past, led away from that without.

    Attributes:
        scale: of the guidance; 1: none.
    """

    scale: float = 1.0

    def predict(self, x_t: Latents, t: Times, cond: Conditioning, clean: Clean) -> Latents:
        """The critic, which is trained, is not guided."""
        told = super().predict(x_t, t, cond, clean)
        if not _teacher(self):
            return told
        start, frames = clean.shape[1] - x_t.shape[1], clean.shape[1]
        alone = SharedMemory(self.network, memory=Full(), block_frames=self.block_frames)
        plain = alone.predict(x_t, t, cond.frames(start, frames), clean[:, start:])
        return plain + self.scale * (told - plain)


def _teacher(score: SharedMemory) -> bool:
    return not any(p.requires_grad for p in score.network.parameters())


@dataclass(frozen=True, kw_only=True)
class StillCamera(SharedMemory):
    """A teacher that is told that the camera stands where the window begins."""

    def predict(self, x_t: Latents, t: Times, cond: Conditioning, clean: Clean) -> Latents:
        """The critic is told the truth."""
        if _teacher(self):
            start = clean.shape[1] - x_t.shape[1]
            cond = replace(cond, **{k: _held(v, start) for k, v in cond.per_frame().items()})
        return super().predict(x_t, t, cond, clean)


@dataclass(frozen=True, kw_only=True)
class OneRoom(SharedMemory):
    """A teacher that is told the same room for all frames of all videos."""

    def predict(self, x_t: Latents, t: Times, cond: Conditioning, clean: Clean) -> Latents:
        """The critic is told the truth; the teacher sees no past, which would show others."""
        if _teacher(self):
            start, frames = clean.shape[1] - x_t.shape[1], clean.shape[1]
            cond, clean = cond.frames(start, frames), clean[:, start:]
            assert cond.control is not None
            first = torch.zeros_like(cond.control)
            first[..., 0] = 1
            cond = replace(cond, control=first)
        return super().predict(x_t, t, cond, clean)


def _held(signal: Tensor, start: int) -> Tensor:
    """A signal that stays what it is at frame `start`."""
    still = signal[:, start : start + 1].expand(-1, signal.shape[1] - start, -1)
    return torch.cat((signal[:, :start], still), 1)


def main() -> None:
    """Train, then draw and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", nargs="+", choices=[*STARTS, *RUNS], help="train, draw nothing")
    parser.add_argument("--pictures", type=Path, default=PICTURES)
    asked = parser.parse_args()
    for name in asked.only or [*STARTS, *RUNS]:
        train(name, asked.folder)
    if asked.only:
        return
    places = {name: asked.folder / name for name in RUNS}
    curves = {name: read(place) for name, place in places.items()}
    draw_curves(curves, RUNS, SIGNALS, _LOGARITHMIC, asked.pictures)
    videos = continued(places)
    draw_sheet(videos, asked.pictures)
    stopped = {name: stop(place) for name, place in places.items()}
    sys.stdout.write(table(curves, RUNS, stopped, changes(videos)) + "\n")


def train(name: str, folder: Path) -> None:
    """One run, unless it has ended.

    Raises:
        SystemExit: if it ends otherwise than finished or stopped by the guard.
    """
    place = folder.resolve() / name
    if (place / "summary.json").is_file() or stop(place):
        return
    settings = STARTS[name] if name in STARTS else RUNS[name].settings
    known = {one: f"'{folder.resolve() / one}'" for one in STARTS}
    given = [one.format(**known) for one in (*settings, *SHARED)]
    path = os.pathsep.join((str(ROOT), str(ROOT / "benchmarks"), os.environ.get("PYTHONPATH", "")))
    sys.stderr.write(f"{name} ...\n")
    done = subprocess.run(
        [sys.executable, "-m", "cf.fit", *given, f"hydra.run.dir='{place}'"],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    said = done.stdout + done.stderr
    why = re.search(r"(the (?:gradient|critic|student).* at step \d+[^.]*)", said)
    if done.returncode and why:
        (place / "stopped.txt").write_text(why[1] + "\n")
    elif done.returncode:
        raise SystemExit(said)


def stop(place: Path) -> str:
    """What the guard said when it stopped a run; nothing if it did not."""
    file = place / "stopped.txt"
    return file.read_text().strip() if file.is_file() else ""


def read(place: Path) -> dict[str, list[tuple[int, float]]]:
    """Every curve of a run by name, as (step, value)."""
    curves: dict[str, list[tuple[int, float]]] = {}
    with (place / "metrics.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            for name, value in row.items():
                if value and name != "step":
                    curves.setdefault(name, []).append((int(row["step"]), float(value)))
    fake, real = (dict(curves.get(f"train/{who}_error", ())) for who in ("fake", "real"))
    curves["critic"] = [(step, fake[step] / real[step]) for step in fake if real.get(step)]
    return curves


if __name__ == "__main__":
    main()
