"""Networks that are played in tests: one that walks through rooms, one that is told texts."""

from pathlib import Path
from typing import Any

import torch
import yaml
from tiny import memory, model
from torch import Tensor

from cf.models.checkpoints import save_export
from cf.models.codec import PixelCodec
from cf.playing.maker import Maker, Wish
from cf.rollout import Keep, Rollout
from cf.runs.generator import Generator

WORLD: dict[str, Any] = {
    "_target_": "cf.data.world.rooms.Rooms",
    "view_cells": 2,
    "room_cells": 4,
    "token": [8, 8],
}
MEMORIES: dict[str, Any] = {
    "window": {"_target_": "cf.memory.Sliding", "sink_frames": 0, "window_frames": 6},
    "full": {"_target_": "cf.memory.Full"},
}
SWITCHES: dict[str, Any] = {
    "keep": {"_target_": "cf.rollout.Keep"},
    "flush": {"_target_": "cf.rollout.Flush"},
    "recache": {"_target_": "cf.rollout.Recache"},
}
SIZES: dict[str, Any] = {
    "dim": 24,
    "num_heads": 2,
    "num_layers": 2,
    "ffn_dim": 32,
    "freq_dim": 8,
    "latent_shape": [3, 16, 16],
    "patch_size": [8, 8],
    "rope_axes": [4, 4, 4],
    "control_dim": 3,
}


DOOM: dict[str, Any] = {
    "_target_": "cf.data.world.doom.world.Doom",
    "grid": [1, 2],
    "control": {"_target_": "cf.data.world.camera_control.Rays"},
}
OF_DOOM: dict[str, Any] = {
    "latent_shape": [3, 24, 32],
    "patch_size": [6, 8],
    "control_dim": 16,
    "control_cells": [4, 4],
}


def run_of_rooms(folder: Path, **more: Any) -> Path:
    """The folder of a run as `cf.fit` leaves one: settings and a network that nobody trained."""
    return _run(folder, WORLD, {**SIZES, **more}, [16, 16])


def run_of_doom(folder: Path) -> Path:
    """The same, of a network that walks through an engine's rooms."""
    return _run(folder, DOOM, {**SIZES, **OF_DOOM}, [24, 32])


def _run(folder: Path, world: dict[str, Any], sizes: dict[str, Any], size: list[int]) -> Path:
    folder.mkdir(parents=True)
    network = model(torch.float32, **{**sizes, "text_dim": None})
    rollout = {"_target_": "cf.rollout.Rollout", "num_steps": 2, "memory": MEMORIES["full"]}
    config = {
        "model": {"_target_": "cf.models.transformer.VideoTransformer", **sizes},
        "codec": {"_target_": "cf.models.codec.PixelCodec"},
        "text": {"_target_": "cf.models.text.NoText"},
        "rollout": rollout,
        "fps": 8,
        "size": size,
    }
    save_export(folder / "network.safetensors", network.state_dict(), config)
    data = {
        "_target_": "cf.data.world.module.WorldData",
        "world": {**world, "_partial_": True},
        "size": size,
    }
    (folder / "config.yaml").write_text(yaml.safe_dump({"folder": ".", "data": data}))
    return folder


def settings_of(run: Path, **changed: Any) -> dict[str, Any]:
    """Those of `cf.play`, as far as a maker reads them."""
    nothing = dict.fromkeys(
        ("model", "codec", "text", "image_encoder", "rollout", "memory", "fps", "size", "threads")
    )
    sampling = dict.fromkeys(
        ("block_frames", "num_steps", "sampler", "context_noise", "recent_frames")
    )
    return {
        **nothing,
        "checkpoint": str(run),
        "switch": SWITCHES["keep"],
        "sampling": sampling,
        "weights": {"container": None, "lora": None, "lora_alpha": None},
        "prompt": "",
        "world_seed": 7,
        "given_seconds": 1.5,
        "device": "cpu",
        "dtype": "float32",
        "compile": "none",
        "offload": "none",
        "tile": None,
        "card_gb": None,
        **changed,
    }


def maker_of(run: Path, **changed: Any) -> Maker:
    """Of the network in a run's folder."""
    return Maker.loaded(settings_of(run, **changed), MEMORIES, SWITCHES)


class Spelled:
    """A text encoder whose states are the letters."""

    dim = 5

    def encode(self, prompts: list[str]) -> Tensor:
        codes = [[ord(letter) % 7 - 3.0 for letter in prompt[:4].ljust(4)] for prompt in prompts]
        return torch.tensor(codes)[..., None].expand(-1, -1, 5)


def told_maker() -> Maker:
    """Of a network that takes text and follows no camera."""
    network = model(torch.float32, control_dim=None, latent_shape=(3, 4, 4))
    rollout = Rollout(memory("sliding"), num_steps=2)
    parts: Any = (network, PixelCodec(), Spelled(), rollout, Keep())
    return Maker(Generator(*parts, 8.0, (4, 4)), {}, None, {"own": None, **MEMORIES}, SWITCHES)


__all__ = ["Wish", "maker_of", "run_of_doom", "run_of_rooms", "settings_of", "told_maker"]
