"""A step of distillation as a ratio to a plain loop of the same maths, in one process.

    python benchmarks/training_step.py [--rounds 15] [--critic-steps 2] [--model tiny]

A round is one update of the student by contextual DMD and the critic's updates before it, at the
sizes of `experiment=rooms_dmd`. `plain_distillation.py` does the same with the same weights,
batches and lengths: its losses are compared first, on the same random numbers. Then both take
turns, batch by batch, on one thread; ratios are of processor time within a round, median (least to
greatest):

- step: Lightning runs the module alone, on batches that are there already.
- run: what `python -m cf.fit` does between two checkpoints, samples and exports: the world is
  drawn, metrics.csv and TensorBoard are written, callbacks are called.

Beside a run stands its overhead: what framework, data, logs and callbacks take, in per cent of what
the module's own step takes in the same batches.
"""

from __future__ import annotations

import argparse
import copy
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from statistics import median
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

import hydra
import lightning
import torch
from plain_distillation import Loop, Network

from cf.callbacks.table import MetricsTable
from cf.callbacks.throughput import Throughput
from cf.fit import _hush_lightning
from cf.modules.distill import DistillModule
from cf.paths import CONFIG_DIR
from cf.seeding import SampleRandom
from cf.settings.build import Settings, build, to_settings

_WARM_UP = 2  # rounds that are not counted


class Race:
    """A module that Lightning trains, and the plain loop, batch by batch in turn.

    Attributes:
        mine, plain: processor time of each batch, in seconds.
        inside: of it, the time within the module's own step, batch by batch.
        same: whether the plain loop takes the very random numbers that ours draws.
        losses: the plain loop's, of each batch.
    """

    def __init__(self, settings: Settings, same: bool = False) -> None:
        torch.manual_seed(settings["seed"])
        network = build(settings["model"], "model")
        with torch.no_grad():  # else everything that an untrained network says is 0
            network.head.head.weight.normal_(std=0.1)
        copies: list[Any] = [copy.deepcopy(network) for _ in range(3)]
        student, teacher, critic = copies
        self.module: DistillModule = build(
            *(settings["module"], "module"), student=student, teacher=teacher, critic=lambda: critic
        )
        self.mine: list[float] = []
        self.inside: list[float] = []
        self.plain: list[float] = []
        self.losses: list[float] = []
        self.same = same
        made = self.module.windows.training_rollout
        frames, window = made.length.most, made.window_frames
        assert window is not None
        rest = [Network(settings["model"]) for _ in range(4)]
        for one in rest:
            one.load_state_dict(network.state_dict())
        optimizers: Any = [
            build(settings[name], name)(one)
            for name, one in (("optimizer", rest[0]), ("critic_optimizer", rest[2]))
        ]
        self.loop = Loop(*rest, optimizers, made.rollout.times, frames, window)
        own = self.module.training_step

        def timed(*given: Any) -> Any:
            began = time.process_time()
            loss = own(*given)
            self.inside.append(time.process_time() - began)
            return loss

        self.module.training_step = timed  # type: ignore[method-assign]

    def plain_step(self, batch: Any, number: int) -> torch.Tensor:
        """The plain loop's step on a batch."""
        module, made, loop = self.module, self.module.windows.training_rollout, self.loop
        video, told = 2 * batch["video"] - 1, (batch["control"], batch["origin"])
        size, given = len(video), made.prefix_blocks[0] * loop.block
        shape = size, loop.block, *video.shape[2:]
        exit_step = made.rollout.random_exit(made.seed, 2, number)
        uniform, eps = torch.rand(size, 1), torch.randn(size, loop.window, *video.shape[2:])
        if self.same:
            samples = tuple(range(number * size, (number + 1) * size))
            random = SampleRandom((module.seed, 1), samples)
            uniform = random.purpose(0).uniform(1)
            eps = random.purpose(1).normal(loop.window, *video.shape[2:])
            noise: Any = made.rollout.noise(module.trained, made.seed, samples)
        else:
            noise = lambda block, step: torch.randn(shape)  # noqa: E731
        critic = bool((number + 1) % (module.critic_steps + 1))
        return loop.step(video[:, :given], *told, exit_step, noise, uniform, eps, critic)


class Turns:
    """Batches of which the plain loop has its step before Lightning is given them."""

    def __init__(self, race: Race, batches: Any, count: int) -> None:
        self._race, self._batches, self._count = race, batches, count

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Any]:
        race, given = self._race, iter(self._batches)
        began = time.process_time()
        for number in range(self._count):
            batch = next(given)
            if number:
                race.mine.append(time.process_time() - began)
            before = time.process_time()
            loss = race.plain_step(batch, number)
            race.plain.append(time.process_time() - before)
            race.losses.append(float(loss))
            began = time.process_time()
            yield batch


def compose(args: argparse.Namespace) -> Settings:
    """Settings of `experiment=rooms_dmd` in which every batch of a kind is the same work."""
    frames, own = 3 * args.given, ["start.teacher.path=none", *args.set]
    with hydra.initialize_config_dir(CONFIG_DIR, version_base="1.3"):
        given = [
            "experiment=rooms_dmd",
            f"module.prefix_blocks=[{args.given},{args.given}]",
            f"module.critic_steps={args.critic_steps}",
            "module.conflict_every_steps=0",
            "module.warmup_steps=0",
            "trainer.enable_progress_bar=false",
            f"module.length.least={max(24, frames + 12)}",
            *own,
        ]
        cfg = hydra.compose("fit", given)
        cfg.folder = "."
        del cfg.resume
        return to_settings(cfg)


def compared(settings: Settings, batches: Sequence[Any]) -> list[tuple[float, float]]:
    """The losses of both on the same random numbers, batch by batch of one round."""
    race = Race(settings, same=True)
    bare(race.module, Turns(race, batches, len(batches)), 1)
    noted = race.module._notes.values
    mine = [*noted.get("train/critic_loss", []), *noted["train/student_loss"]]
    return [(float(a), b) for a, b in zip(mine, race.losses, strict=True)]


def bare(module: DistillModule, batches: Any, steps: int) -> None:
    """Lightning trains the module, and does nothing else."""
    trainer = lightning.Trainer(
        accelerator="cpu",
        max_steps=steps,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=10,
    )
    trainer.fit(module, batches)


def whole(race: Race, settings: Settings, count: int, steps: int) -> None:
    """Lightning trains the module as `cf.fit` does, up to a checkpoint."""
    data = build(settings["data"], "data")
    own = data.train_dataloader
    data.train_dataloader = lambda: Turns(race, own(), count)
    with tempfile.TemporaryDirectory() as folder:
        board = build(settings["tensorboard"], "tensorboard", save_dir=folder)
        trainer = build(
            settings["trainer"] | {"max_steps": steps},
            "trainer",
            callbacks=[Throughput()],
            logger=[board, MetricsTable(folder)],
            default_root_dir=folder,
            enable_checkpointing=False,
        )
        trainer.fit(race.module, data)


def ratios(race: Race, batches: int) -> list[float]:
    """Of each round but the first ones, ours to the plain loop's."""
    mine, plain = (
        [sum(taken[i : i + batches]) for i in range(0, len(taken) - batches + 1, batches)]
        for taken in (race.mine, race.plain)
    )
    return [a / b for a, b in zip(mine, plain, strict=False)][_WARM_UP:]


def overhead(race: Race, batches: int) -> list[float]:
    """Of each round but the first ones, what is beside the module's step, in per cent of it."""
    count = min(len(race.mine), len(race.inside)) // batches
    rounds = [slice(n * batches, (n + 1) * batches) for n in range(_WARM_UP, count)]
    return [100 * (sum(race.mine[n]) / sum(race.inside[n]) - 1) for n in rounds]


def main(given: Sequence[str] | None = None) -> None:
    """Print what was measured."""
    kind = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=kind)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--critic-steps", type=int, default=2, help="updates of the critic a round")
    parser.add_argument(
        "--given", type=int, default=4, help="blocks of real video before a rollout"
    )
    parser.add_argument("--set", nargs="*", default=[], help="further settings, as of cf.fit")
    args = parser.parse_args(given)
    torch.set_num_threads(1)
    _hush_lightning()
    warnings.filterwarnings("ignore")
    settings, each = compose(args), args.critic_steps + 1
    maker = build(settings["data"], "data").maker()
    size = settings["data"]["batch_size"]
    batches = [maker([size * n + i for i in range(size)]) for n in range(each)]
    losses = compared(settings, batches)
    _say("losses, ours and the plain loop's: " + ", ".join(f"{a:.7g} {b:.7g}" for a, b in losses))
    steps = args.rounds + _WARM_UP
    for name in ("step", "run"):
        race, count = Race(settings), each * (steps + 1)
        if name == "step":
            bare(race.module, Turns(race, batches * (steps + 1), count), steps)
        else:
            whole(race, settings, count, steps)
        found = ratios(race, each)
        plain = median(race.plain) * 1e3
        _say(
            f"{name}: {median(found):.3f} ({min(found):.3f} to {max(found):.3f}) over "
            f"{len(found)} rounds; the plain loop's batch takes {plain:.1f} ms"
        )
    beside = overhead(race, each)
    _say(f"overhead: {median(beside):.1f} % ({min(beside):.1f} to {max(beside):.1f}) of a step")


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
