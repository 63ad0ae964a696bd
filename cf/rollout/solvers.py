"""Multistep solvers of the flow, those of diffusers, over the times of a rollout."""

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any

import torch

from cf.types import Latents

SOLVERS = {"unipc": "UniPCMultistepScheduler", "dpm++": "DPMSolverMultistepScheduler"}
"""UniPC (https://arxiv.org/abs/2302.04867), DPM-Solver++ (https://arxiv.org/abs/2211.01095)."""
_NOT_QUITE = 1 - 1e-6
"""At time 1 nothing of the data is left, and its logarithm is no number; diffusers has this too."""

Step = Callable[[Latents, Latents], Latents]
"""(velocity, latents) of one step after the other -> the latents of the next."""


def check_solver(name: str) -> None:
    """Refuse an unknown sampler (ValueError), and a solver without its library (ImportError)."""
    if name not in (names := ("renoise", "euler", *SOLVERS)):
        raise ValueError(f"sampler must be one of {', '.join(names)}, got {name!r}")
    if name in SOLVERS and find_spec("diffusers") is None:
        raise ImportError(
            f"sampler={name} needs diffusers: install this package with its extra 'wan', or take "
            "sampler=euler"
        )


def solver(name: str, times: Sequence[float]) -> Step:
    """The steps of one block, of which the last one ends at time 0.

    Args:
        name: one of `SOLVERS`.
        times: falling times of all steps.
    """
    import diffusers

    kind: Any = getattr(diffusers, SOLVERS[name])
    scheduler = kind(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=1.0)
    scheduler.set_timesteps(len(times))
    scheduler.sigmas = torch.tensor([min(times[0], _NOT_QUITE), *times[1:], 0.0])
    scheduler.set_begin_index(0)

    def step(velocity: Latents, x: Latents) -> Latents:
        after: Latents = scheduler.step(velocity, None, x, return_dict=False)[0]
        return after

    return step
