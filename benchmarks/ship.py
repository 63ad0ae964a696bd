"""Makes the networks that come with the package (cf/shipped) of finished runs.

python benchmarks/ship.py codec=RUN base=RUN teacher=RUN student=RUN

Each becomes a folder: its weights in float16, what they are built of, and the world that they walk
through. The codec is then named `shipped:codec`, wherever the package is installed.
"""

import sys
from pathlib import Path

import torch
import yaml

from cf.models.checkpoints import read_export, save_export
from cf.settings.build import Settings

FOLDER = Path(__file__).parent.parent / "cf" / "shipped"
MOST_MEGABYTES = 20
PATH = {
    "_target_": "cf.data.world.doom.path.Return",
    "lags": [2, 4, 8, 16, 32],
    "look": 2.0,
    "speed": 240.0,
    "turn_degrees": 180.0,
    "headings": 16,
}
"""Where the camera goes if nobody steers: configs/camera_path/return_steps.yaml."""


def main() -> None:
    """Ship what is named."""
    for name, run in (one.split("=", 1) for one in sys.argv[1:]):
        ship(name, Path(run))
    size = sum(file.stat().st_size for file in FOLDER.rglob("*") if file.is_file()) / 1e6
    sys.stdout.write(f"{FOLDER}: {size:.1f} MB" + "\n")
    if size > MOST_MEGABYTES:
        raise SystemExit(f"more than {MOST_MEGABYTES} MB")


def ship(name: str, run: Path) -> None:
    """One network.

    Args:
        name: of its folder.
        run: of its training.
    """
    config, state = read_export(run)
    halves = {key: one.half() if one.is_floating_point() else one for key, one in state.items()}
    if "model" in config:
        config["codec"] = {**config["codec"], "file": "shipped:codec"}
    lost = max(float((halves[key].float() - state[key].float()).abs().max()) for key in state)
    save_export(FOLDER / name / "network.safetensors", halves, config)
    if "model" in config:
        data = of_shipped(yaml.safe_load((run / "config.yaml").read_text())["data"])
        said = yaml.safe_dump({"folder": ".", "data": data}, sort_keys=False)
        (FOLDER / name / "config.yaml").write_text(said)
    sys.stdout.write(
        f"{name}: {sum(map(torch.Tensor.numel, state.values())):,} numbers, off by {lost:.1e}"
        + "\n"
    )


def of_shipped(data: Settings) -> Settings:
    """The data of a run on whose world nobody trains any more.

    Args:
        data: as the run was trained on it.
    """
    return {**data, "world": {**data["world"], "path": PATH}, "num_workers": 0}


if __name__ == "__main__":
    main()
