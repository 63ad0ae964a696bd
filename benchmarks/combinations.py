"""Trains two steps of settings that were drawn at random, and counts what comes of them.

    python benchmarks/combinations.py --runs 200 --seed 0
    python benchmarks/combinations.py --again 17        the seventeenth draw alone, its log shown

A draw takes one option of each of some groups of `cf.fit`, or leaves a group as it is. Right is a
run to its end with finite losses, or one message that says what does not go together, with nothing
but that message and a status that is not 0. A traceback, a loss that is no number, and a run that
does not end are counted as broken, and printed with their command line.
"""

from __future__ import annotations

import argparse
import random
import shlex
import sys
import tempfile
from collections import Counter
from pathlib import Path

import pandas as pd
from warm import Command, begin, run

from cf.paths import CONFIG_DIR

_SECONDS = 120.0  # that a run of two steps takes at most
_TINY = (
    *("data=rooms", "model=rooms", "model.num_layers=1", "model.dim=64", "model.ffn_dim=128"),
    *("model.num_heads=2", "data.batch_size=2", "data.clip_frames=12", "data.num_workers=0"),
    *("data.val_clips=2", "callbacks.samples.every_steps=2", "callbacks.samples.count=1"),
    *("trainer.val_check_interval=2", "trainer.enable_progress_bar=false"),
)
_SHORT = ("trainer.max_steps=2", "+trainer.limit_val_batches=1", "trainer.log_every_n_steps=1")
_LENGTH = ("module.length.least=12", "module.length.most=12", "module.critic_steps=1")
_MODULES = {
    "pretrain": ("objective", "rollout", "memory", "optimizer", "adapters", "schedule"),
    "distill": (
        *("objective", "rollout", "training_rollout", "memory", "gradient", "score", "optimizer"),
        *("adapters", "teacher", "critic_optimizer"),
    ),
    "start": ("start", "rollout", "memory", "score", "optimizer", "adapters"),
}
_USUAL = {
    "pretrain": ("objective=teacher_forcing",),
    "distill": ("objective=dmd", "trainer.gradient_clip_val=null"),
    "start": ("start=consistency",),
}


def options(group: str) -> list[str]:
    """Of a group of settings."""
    folder = Path(CONFIG_DIR) / group.replace("critic_optimizer", "optimizer")
    return sorted(path.stem for path in folder.glob("*.yaml"))


def drawn(chance: random.Random, teacher: Path) -> list[str]:
    """Settings of a run.

    Args:
        chance: draws them.
        teacher: a run whose network students start from and learn against.
    """
    module = chance.choice([*_MODULES, "distill"])
    told = [f"module={module}"]
    told += _USUAL[module]
    for group in _MODULES[module]:
        if chance.random() < 0.4:
            told = [one for one in told if not one.startswith(f"{group}=")]
            name = "optimizer@critic_optimizer" if group == "critic_optimizer" else group
            told.append(f"{name}={chance.choice(options(group))}")
    if module != "pretrain":
        told += [f"start.{role}.path='{teacher}'" for role in ("student", "teacher")]
    if module == "distill":
        told += [*_LENGTH, f"module.real_share={chance.choice([0.0, 0.5])}"]
    return [*told, f"seed={chance.randrange(100)}"]


def outcome(given: Command, folder: Path) -> tuple[str, str]:
    """What came of a command, in a word, and what it said."""
    with begin(given, folder / "log") as running:
        status = running.ended(_SECONDS)
    said = (folder / "log").read_text(errors="replace")
    if status is None:
        return "does not end", said
    if "Traceback (most recent call last)" in said:
        return "traceback", said
    if status:
        message = [line for line in said.splitlines() if line.startswith("cf.fit: ")]
        return "refused" if len(message) == 1 else "refused without a message", said
    losses = pd.read_csv(folder / "run" / "metrics.csv").filter(regex="^train/.*loss$")
    lost = losses.notna().sum().sum() == 0 or not losses.stack().abs().lt(float("inf")).all()
    return ("loss is no number" if lost else "trains"), said


def main() -> None:
    """Draw, run and count."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--again", type=int, default=None, help="this draw alone")
    asked = parser.parse_args()
    counted: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        teacher = work / "teacher"
        run(("cf.fit", [*_TINY, *_SHORT, "memory=full", f"hydra.run.dir='{teacher}'"]), work)
        for number in range(asked.runs) if asked.again is None else [asked.again]:
            settings = drawn(random.Random(f"{asked.seed} {number}"), teacher)
            folder = work / str(number)
            folder.mkdir()
            typed = [*_TINY, *settings, *_SHORT, f"hydra.run.dir='{folder / 'run'}'"]
            found, said = outcome(("cf.fit", typed), folder)
            counted[found] += 1
            if asked.again is not None or found not in ("trains", "refused"):
                sys.stdout.write(f"{number}: {found}: {shlex.join(settings)}\n{said[-1500:]}\n")
            elif found == "refused":
                message = next(one for one in said.splitlines() if one.startswith("cf.fit: "))
                sys.stdout.write(f"{number}: {shlex.join(settings)}\n    {message}\n")
            sys.stdout.flush()
    sys.stdout.write(", ".join(f"{kind}: {n}" for kind, n in counted.most_common()) + "\n")
    sys.exit(any(kind not in ("trains", "refused") for kind in counted))


if __name__ == "__main__":
    main()
