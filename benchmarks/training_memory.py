"""What a training step holds at most, counted on shapes and measured by PyTorch's allocator.

python benchmarks/training_memory.py
"""

from __future__ import annotations

import sys
from typing import Any

import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from torch.profiler import ProfilerActivity, profile

from cf.modules.trial import tried
from cf.paths import CONFIG_DIR
from cf.runs.outline import codec_outline
from cf.runs.training_plan import module_of
from cf.settings.build import Settings, to_settings
from cf.settings.composition import hydra_of

SMALL = ("model.dim=96", "model.num_layers=3", "data.batch_size=2", "data.clip_frames=18")
CASES = {
    "pretrain": ("data=rooms", "model=rooms", *SMALL),
    "pretrain, recomputed": (
        *("data=rooms", "model=rooms", "model.activation_checkpointing=true"),
        *SMALL,
    ),
    "self_forcing": ("experiment=self_forcing", *SMALL),
    "self_forcing, recomputed": (
        *("experiment=self_forcing", "model.activation_checkpointing=true"),
        *SMALL,
    ),
    "self_forcing, gradient through the past": (
        *("experiment=self_forcing", "gradient=through_past"),
        *SMALL,
    ),
    "self_forcing, student and critic are LoRA": (
        *("experiment=self_forcing", "adapters=student_critic", "adapters.student.r=8"),
        *("adapters.critic.r=8", *SMALL),
    ),
    "start by consistency": ("experiment=rooms_start", *SMALL),
    "start by regression": ("experiment=rooms_start", "start=ode", *SMALL),
    "context_forcing_released": ("experiment=context_forcing_released", *SMALL),
}


def settings_of(*typed: str) -> Settings:
    """The settings of a run of `cf.fit`."""
    with initialize_config_dir(version_base="1.3", config_dir=CONFIG_DIR):
        cfg = compose("fit", [*typed], return_hydra_config=True)
    with hydra_of(cfg):
        return to_settings(OmegaConf.masked_copy(cfg, [key for key in cfg if key != "hydra"]))


def counted(settings: Settings) -> int:
    """The most bytes of activations, on shapes."""
    return max(_tried(settings, "meta").values())


def measured(settings: Settings) -> int:
    """The same as the CPU's allocator has it."""
    _tried(settings, "cpu")  # what is made once
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as found:
        module, now, peak = _module(settings, "cpu"), 0, 0
        for parameter in module.parameters():  # gradients are counted by themselves
            if parameter.requires_grad:
                parameter.grad = torch.zeros_like(parameter)
        with torch.profiler.record_function("step"):
            _step(module, settings)
    events: Any = found.profiler.kineto_results.events()  # type: ignore[union-attr]
    began = next(e.start_ns() for e in events if e.name() == "step")
    for event in sorted(events, key=lambda one: one.start_ns()):
        if event.name() == "[memory]" and event.start_ns() >= began:
            now += event.nbytes()
            peak = max(peak, now)
    return peak


def _module(settings: Settings, device: str) -> Any:
    codec = codec_outline(settings["codec"], {})
    return module_of(settings, None, torch.float32, codec, device)


def _tried(settings: Settings, device: str) -> dict[str, int]:
    return _step(_module(settings, device), settings)


def _step(module: Any, settings: Settings) -> dict[str, int]:
    data = settings["data"]
    last = int(settings["trainer"]["max_steps"]) - 1
    return tried(module, int(data["batch_size"]), int(data["clip_frames"]), last)


def main() -> None:
    """Print the table."""
    sys.stdout.write("| training | counted, MB | measured, MB | ratio |\n|---|---|---|---|\n")
    for name, typed in CASES.items():
        settings = settings_of(*typed)
        shapes, real = counted(settings), measured(settings)
        line = f"| {name} | {shapes / 1e6:.1f} | {real / 1e6:.1f} | {shapes / real:.2f} |\n"
        sys.stdout.write(line)


if __name__ == "__main__":
    main()
