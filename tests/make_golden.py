"""The project's own frozen rollouts: `python tests/make_golden.py` writes them anew."""

from pathlib import Path

import torch
from safetensors.torch import save_file
from tiny import conditioning, draw, memory, model
from torch import Tensor

from cf.memory.slow_fast import SlowFast
from cf.rollout.blockwise import Rollout

GOLDEN = Path(__file__).parent / "golden" / "rollout.safetensors"
MEMORIES = {
    **{name: memory(name) for name in ("full", "sliding", "infinity_rope")},
    "slow_fast": SlowFast(1, 3, 5, threshold=0.52, novelty="kept", interval=1),
}


def noise(start: int, step: int) -> Tensor:
    """Numbers that no version of torch changes."""
    return draw(2, 3, 2, 4, 4, seed=100 * start + step).float()


def rollouts() -> dict[str, Tensor]:
    """Eight blocks of two samples in float32, under each memory."""
    network, cond = model(torch.float32), conditioning(2, 24, dtype=torch.float32)
    return {
        name: Rollout(policy)(network, noise, cond, frames=24).past
        for name, policy in MEMORIES.items()
    }


if __name__ == "__main__":
    GOLDEN.parent.mkdir(exist_ok=True)
    save_file(rollouts(), GOLDEN)
