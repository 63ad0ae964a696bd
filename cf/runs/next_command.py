"""What may be done with a network that is trained: a command that works for its data."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cf.settings.build import Settings
from cf.settings.given import own_settings
from cf.settings.literal import quoted
from cf.system.shell import setting, word

if TYPE_CHECKING:
    from cf.models.codec import Codec


def following(
    settings: Settings, run: Path, made: Any, own: Mapping[str, str] | None = None
) -> str:
    """What a finished run of `cf.fit` says: what may be done now, and the command.

    Args:
        settings: the run's.
        run: its folder.
        made: what it trained: a network or a codec.
        own: options of the run whose classes are no part of cf, by group; a command that opens
            the run is given them again.
    """
    from cf.models.codec import Codec

    own = own or {}
    if isinstance(made, Codec):
        return on_latents(settings, run, made)
    if getattr(made, "control_dim", None) is not None:  # a drawn world's camera steers it
        return f"see what it recalls: {measuring(settings, run, own)}"
    arguments = [setting("checkpoint", run), "seconds=20"]
    arguments += [setting("memory", own["memory"])] if "memory" in own else []
    return f"stream a video: python -m cf.generate {' '.join([*_flags(own), *arguments])}"


def _flags(options: Mapping[str, str]) -> list[str]:
    return [word(text) for text in own_settings()] if options else []


def on_latents(settings: Settings, run: Path, codec: Codec) -> str:
    """Of a codec: how a network is trained on its latents; of an engine's rooms, the command."""
    data, file = settings["data"], setting("codec.file", run)
    options = f"codec=trained {file}"
    if "world" in data and str(data["world"]["_target_"]).endswith(".Doom"):
        options = f"experiment=doom_teacher {options}"
        return f"train on its latents: python -m cf.fit {options}"
    shape = _list(list(codec.latent_shape(*data["size"])))
    of = f"model.latent_shape={shape} model.patch_size=[1,1] model.prediction=velocity"
    of += " model.x0_limit=null"  # nothing bounds latents
    return f"train on its latents by these settings of cf.fit: {options} {of}"


_PLAIN = re.compile(r"[\w\[\],.+-]*")
_NOT_SHOWN = ("cut", "stay_blocks", "token", "block_frames")
"""Of a world, how the camera moves, which is the suite's to say, and what networks say."""
_CONTROLS = {"Rays": "rays", "PoseFeatures": "pose", "Action": "action"}
"""The option of `camera_control` that makes a class; one's own is taken to be called as it is."""


def measuring(settings: Settings, run: Path, own: Mapping[str, str] | None = None) -> str:
    """Of a network that a drawn world's camera steers: what measures it on worlds like its own.

    Args:
        settings: the run's.
        run: its folder.
        own: options of the run whose classes are no part of cf, by group.
    """
    data = settings["data"]
    world = data["world"]
    kind, of = str(world["_target_"]).rpartition(".")[2], quoted(str(run))
    if kind == "Rooms":
        return f"python -m cf.recall {word(f'students={{mine: {of}}}')}"
    suite = ["suite=recall", "world=doom"] if kind == "Doom" else ["suite=world"]
    if kind == "Doom":
        path = _measured(world["path"])
        option = str(path["_target_"]).rpartition(".")[2].lower()
        suite += [f"camera_path@asked.data.world.path={option}"]
        suite += _numbers("asked.data.world.path", path)
        control = world["control"]
        name = str(control["_target_"]).rpartition(".")[2]
        suite += [f"camera_control@asked.data.world.control={_CONTROLS.get(name, name)}"]
        suite += _numbers("asked.data.world.control", control)
        suite += [f"asked.data.world.{key}={_list(world[key])}" for key in ("grid", "things")]
    else:
        if own and "data" in own:
            suite = [*_flags(own), *suite, setting("data@asked.data", own["data"])]
        suite += [f"model.patch_size={_list(settings['model']['patch_size'])}"]
        if kind == "Walk" or (own and "data" in own):
            shown = {key: value for key, value in world.items() if key not in _NOT_SHOWN}
            suite += _numbers("++asked.data.world", shown)  # an option need not name them all
    suite += [f"asked.data.size={_list(data['size'])}", f"asked.data.fps={data['fps']}"]
    return f"python -m cf.benchmark {' '.join(suite)} {word(f'networks={{mine: {of}}}')}"


def _numbers(place: str, of: Settings) -> list[str]:
    """Settings of an object that are told again; a folder may be anybody's, so names are words."""
    values = {
        key: value
        for key, value in of.items()
        if value is not None and re.fullmatch(r"[a-z]\w*", key)
    }
    return [f"{place}.{key}={_list(value)}" for key, value in values.items()]


def _measured(path: Settings) -> Settings:
    """The camera's path on which a network is measured: of several, the last, which tells most."""
    while "paths" in path:
        path = path["paths"][-1]
    return path


def _list(value: object) -> str:
    """A value as a shell takes it, quoted if a folder of somebody else's says more than numbers."""
    text = str(value).replace(" ", "")
    return text if _PLAIN.fullmatch(text) else word(text)
