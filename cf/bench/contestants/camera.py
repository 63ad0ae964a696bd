"""Whether a network follows the camera of the videos that a task asks for."""

from __future__ import annotations

import math
from pathlib import Path

from cf.runs.next_command import measuring
from cf.runs.run_folder import RunFolder
from cf.settings.build import Settings


def check_camera(model: Settings | None, told: int | None, checkpoint: str | None = None) -> None:
    """Refuse a network that cannot be told of the camera as a task tells of it, or needs to be.

    Args:
        model: of the network; None: it is not known before the weights are read.
        told: the task's numbers of the camera in each frame; None: it has no camera.
        checkpoint: of the network; its run says how it was told in training.

    Raises:
        ValueError: one of them has a camera and the other none, or their signals differ in width.
    """
    if model is None:
        return
    cells = model.get("control_cells") or (1, 1)
    width = model.get("control_dim") and math.prod(cells) * model["control_dim"]
    if width == told:
        return
    if width is None:
        raise ValueError(
            "it follows no camera, and the videos of this task do: train it with "
            f"model.control_dim={told}, or compare it on prompts (suite=vbench asked.file=...)"
        )
    if told is None:
        raise ValueError(
            "it follows a camera, and the videos of this task have none: compare it in a world "
            "(suite=recall)"
        )
    raise ValueError(
        f"it takes {width} numbers of the camera in each frame and the world tells {told}: "
        + (_remedy(checkpoint) if checkpoint else f"give its model control_dim={told}")
    )


def _remedy(checkpoint: str) -> str:
    run = RunFolder.of(checkpoint)
    settings = run.settings([]) if run.config.is_file() else {}
    data = settings.get("data")
    if not isinstance(data, dict) or not isinstance(data.get("world"), dict):  # none, or of videos
        return "choose the signal of its training by camera_control@asked.data.world.control"
    return f"measure it in a world like its own, {measuring(settings, Path(checkpoint))}"
