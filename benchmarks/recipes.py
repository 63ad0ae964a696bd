"""Latent frames that networks read in a student step of a recipe, and the steps of one budget.

    python benchmarks/recipes.py [--budget 12000] [--steps 6] [NAME ...]

The calls of student, teacher and critic count alike: a frame of a sample once for each call that it
goes into. What a frame costs grows with what it attends, which is not counted. Nor are gradients,
the measurements of `train/conflict`, and what a start has read. A small network is trained for some
steps and its calls are counted. The steps in `configs/sweep/recipes.yaml` come from these numbers.
"""

from __future__ import annotations

import argparse
import copy
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hydra
import torch
from omegaconf import OmegaConf
from torch import nn
from torch.nn.modules.module import register_module_forward_pre_hook
from training_step import bare

from cf.fit import _hush_lightning
from cf.models.transformer import VideoTransformer
from cf.modules.distill import DistillModule
from cf.paths import CONFIG_DIR
from cf.settings.build import build, to_settings

SMALL = (
    "data.size=[16,16]",
    "data.world.view_cells=2",
    "data.world.room_cells=3",
    "data.batch_size=2",
    "model.latent_shape=[3,16,16]",
    "model.patch_size=[8,8]",
    "model.dim=24",
    "model.num_heads=2",
    "model.num_layers=1",
    "model.ffn_dim=48",
    "model.rope_axes=[4,4,4]",
)
"""A world of two cells across and a network of one layer."""


@dataclass
class Counted:
    """Latent frames of a sample that networks have read."""

    frames: int = 0


@contextmanager
def counted() -> Iterator[Counted]:
    """Counts while it lasts."""
    seen = Counted()

    def count(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        if isinstance(module, VideoTransformer):
            seen.frames += inputs[0].shape[1]

    handle = register_module_forward_pre_hook(count)
    try:
        yield seen
    finally:
        handle.remove()


def sweep() -> dict[str, Any]:
    """What `sweep=recipes` says."""
    file = OmegaConf.load(Path(CONFIG_DIR) / "sweep" / "recipes.yaml")
    told: Any = OmegaConf.to_container(file)
    return dict(told["sweep"])


def frames_per_step(settings: Sequence[str], steps: int = 6) -> float:
    """The mean over some student steps of a distillation, under a small network.

    Args:
        settings: of `cf.fit`.
        steps: how many are taken. Persistent videos end, and prefixes and exits are drawn, so that
            one step is not like the other.

    Returns:
        Latent frames of one sample.
    """
    own = ["start.teacher.path=none", "phases=null", "module.conflict_every_steps=0"]
    own += [*SMALL, f"trainer.max_steps={steps}"]
    with hydra.initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        cfg = hydra.compose("fit", [*settings, *own])
    cfg.folder = "."
    del cfg.resume
    told = to_settings(cfg)
    torch.manual_seed(0)
    network = build(told["model"], "model")
    with torch.no_grad():  # else all that an untrained network says is 0, and DMD divides by it
        network.head.head.weight.normal_(std=0.1)
    student, teacher, critic = (copy.deepcopy(network) for _ in range(3))
    module: DistillModule = build(
        *(told["module"], "module"), student=student, teacher=teacher, critic=lambda: critic
    )
    maker, size = build(told["data"], "data").maker(), told["data"]["batch_size"]
    count = steps * module.accumulate * (module.critic_steps + 1)
    batches = (maker([*range(size * n, size * (n + 1))]) for n in range(count))
    with counted() as seen, warnings.catch_warnings():
        _hush_lightning()
        bare(module, batches, steps)
    return seen.frames / steps


def main() -> None:
    """Print a line for each recipe of the sweep."""
    kind = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=kind)
    parser.add_argument("names", nargs="*", metavar="NAME", help="arms of sweep=recipes; all")
    parser.add_argument("--budget", type=int, help="latent frames; by default the sweep's")
    parser.add_argument("--steps", type=int, default=6, help="that are counted")
    asked = parser.parse_args()
    told = sweep()
    unknown = sorted({*asked.names} - {*told["arms"]})
    if unknown:
        raise SystemExit(f"{', '.join(unknown)}: not among {', '.join(told['arms'])}")
    budget = asked.budget or told["budget"]
    for name in asked.names or told["arms"]:
        frames = frames_per_step(unsized(told["arms"][name]), asked.steps)
        steps = max(round(budget / frames), 1)
        sys.stdout.write(f"{name}: {frames:.1f} frames a step, {steps} steps\n")
        sys.stdout.flush()


def unsized(settings: Sequence[str]) -> list[str]:
    """An arm's settings without the length and the start that its sweep gives it."""
    return [one for one in settings if not one.startswith(("trainer.max_steps=", "start."))]


if __name__ == "__main__":
    main()
