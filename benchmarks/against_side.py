"""One side of `against.py`: streams with what its PYTHONPATH holds; names that old commits have."""

import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf

SIZES: dict[str, dict[str, Any]] = {
    "tiny": {
        "dim": 96,
        "num_heads": 3,
        "num_layers": 3,
        "ffn_dim": 384,
        "freq_dim": 64,
        "latent_shape": [3, 32, 32],
        "patch_size": [8, 8],
        "rope_axes": [8, 12, 12],
        "prediction": "x0",
        "x0_limit": 1.2,
        "qk_bias": 2.0,
        "qk_gain": 2.0,
    },
    "wide": {
        "dim": 1536,
        "num_heads": 12,
        "num_layers": 2,
        "ffn_dim": 8960,
        "latent_shape": [16, 10, 16],
        "text_dim": 64,
        "text_len": 64,
        "zero_head": False,
    },
}
"""`configs/model/tiny.yaml`, and Wan2.1-1.3B's width with 40 tokens in a frame."""
NOVEL: dict[str, dict[str, float]] = {"slow_fast": {"threshold": 1.1}}
"""Keys of random weights hardly differ: so every candidate enters, which is the costliest case."""


def stream(tree: Path, size: str, name: str, block: int) -> Any:
    """Blocks from number `block` on, for ever."""
    from cf.models.transformer import VideoTransformer
    from cf.rollout import Rollout

    torch.manual_seed(0)
    network = VideoTransformer(**SIZES[size]).eval().requires_grad_(False)
    torch.nn.init.normal_(network.head.head.weight, std=0.02)
    config = OmegaConf.load(tree / "configs" / "memory" / f"{name}.yaml")
    memory = instantiate(OmegaConf.merge(config, NOVEL.get(name) or {}))
    rollout = Rollout(memory)
    cond = network.fake_conditioning(1, 0)
    if name == "retrieve_pose":
        raise SystemExit("retrieve_pose needs poses, which these networks do not take")
    running = rollout.stream(network, rollout.noise(network, 0, [0]), cond)
    for _ in range(block - 1):
        next(running)
    return running


@torch.inference_mode()
def main() -> None:
    """Answer on the standard output until the input ends."""
    torch.set_num_threads(1)
    tree, size, name, block = sys.argv[1:]
    running = stream(Path(tree), size, name, int(block))
    for line in sys.stdin:
        blocks, start = int(line), time.process_time()
        x0 = torch.zeros(1)
        for _ in range(blocks):
            x0, _ = next(running)
        answer = {
            "seconds": (time.process_time() - start) / max(blocks, 1),
            "last": x0.flatten()[:64].tolist(),
            "rss": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        }
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
