"""Every contestant under configs/ makes a few frames, with a tiny network in place of weights."""

from functools import cache, partial
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir

from cf.bench.contestants.base import Contestant
from cf.bench.tasks.base import Request
from cf.bench.tasks.worlds import Worlds
from cf.data.world.module import WorldData
from cf.data.world.rooms import Rooms
from cf.paths import CONFIG_DIR
from cf.settings.build import build, to_settings
from cf.video.writer import VideoWriter

NAMES = sorted(
    file.stem
    for file in (Path(CONFIG_DIR) / "contestant").glob("*.yaml")
    if "absent.Absent" not in file.read_text()  # they are listed, and cannot play
    and file.stem not in ("wan_base", "wan_i2v")  # they make one block, and cannot go on
)
OWN = {
    "memory": {"_target_": "cf.memory.full.Full"},
    "rollout": {"_target_": "cf.rollout.Rollout", "num_steps": 1},
}
"""Of a network trained here, which otherwise knows them from its checkpoint."""
TINY = {
    "checkpoint": None,
    "needs": [],
    "weights": {},
    "model": {
        "_target_": "cf.models.transformer.VideoTransformer",
        "dim": 24,
        "num_heads": 2,
        "num_layers": 1,
        "ffn_dim": 24,
        "freq_dim": 8,
        "latent_shape": [3, 16, 16],
        "patch_size": [8, 8],
        "control_dim": 3,
    },
    "codec": {"_target_": "cf.models.codec.PixelCodec"},
    "text": {"_target_": "cf.models.text.NoText"},
    "fps": 8,
    "size": [16, 16],
    "dtype": "float32",
}


@cache
def entered() -> dict[str, dict[str, Any]]:
    """Their settings in one benchmark, each under its own name."""
    with initialize_config_dir(CONFIG_DIR, version_base="1.3"):
        chosen = (f"+contestant@contestants.{name}={name}" for name in NAMES)
        cfg = compose("benchmark", ["contestants=none", *chosen])
    found: dict[str, dict[str, Any]] = to_settings(cfg)["contestants"]
    return found


def settings(name: str, folder: Path) -> dict[str, Any]:
    own = entered()[name]
    if "folder" in own:
        return {**own, "folder": str(folder)}
    if own["_target_"].endswith(".Network"):
        given = {key: value for key, value in own.items() if value is not None}
        return {**OWN, **given, **TINY}
    return own


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.whole
def test_a_contestant_makes_frames_after_those_that_are_given(name: str, tmp_path: Path) -> None:
    world = partial(Rooms, view_cells=2, room_cells=3, token=(8, 8))
    asked = Worlds(WorldData(world, size=(16, 16)), worlds=1, given_seconds=1)
    (item,) = asked.items()
    given, frames = asked.given_frames(asked.items()[0], 8.0), 40
    take = Request(item, asked.terms(), frames, given, asked.film(item, frames + 32), (item,))
    with VideoWriter(tmp_path / f"{item.prompt}-{item.seed}.mp4", 8, (16, 16)) as writer:
        writer.write(asked.film(item, frames).part(0, frames).video[0])
    one: Contestant = build({**settings(name, tmp_path), "_recursive_": False}, name)
    assert one.missing() == ""
    one.check([item], name)
    assert one.available(take) == ""
    assert tuple(one.terms(asked.terms()).size) == (16, 16)
    made = torch.cat(list(islice(one.play(take, "cpu"), 6)))
    assert made.shape[1:] == (3, 16, 16)
    assert made.isfinite().all()
    assert len(made) > given
