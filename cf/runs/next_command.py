"""What may be done with a network that is trained: a command that works for its data."""

import shlex
from pathlib import Path

from cf.settings.build import Settings
from cf.settings.literal import quoted

_CONTROLS = {"Rays": "rays", "PoseFeatures": "pose", "Action": "action"}
"""The option of `camera_control` that makes a class; one's own is taken to be called as it is."""


def measuring(settings: Settings, run: Path) -> str:
    """Of a network that a drawn world's camera steers: what measures it on worlds like its own."""
    data = settings["data"]
    world = data["world"]
    kind, of = str(world["_target_"]).rpartition(".")[2], quoted(str(run))
    if kind == "Rooms":
        return f"python -m cf.recall {shlex.quote(f'students={{mine: {of}}}')}"
    suite = ["suite=recall", "world=doom"] if kind == "Doom" else ["suite=world"]
    if kind == "Doom":
        path = str(world["path"]["_target_"]).rpartition(".")[2].lower()
        suite += [f"camera_path@asked.data.world.path={path}"]
        control = world["control"]
        told = str(control["_target_"]).rpartition(".")[2]
        suite += [f"camera_control@asked.data.world.control={_CONTROLS.get(told, told)}"]
        numbers = {key: value for key, value in control.items() if key != "_target_"}
        suite += [f"asked.data.world.control.{key}={_list(one)}" for key, one in numbers.items()]
        suite += [f"asked.data.world.{key}={_list(world[key])}" for key in ("grid", "things")]
    else:
        suite += [f"model.patch_size={_list(settings['model']['patch_size'])}"]
    suite += [f"asked.data.size={_list(data['size'])}", f"asked.data.fps={data['fps']}"]
    return f"python -m cf.benchmark {' '.join(suite)} {shlex.quote(f'networks={{mine: {of}}}')}"


def _list(value: object) -> str:
    return str(value).replace(" ", "")
