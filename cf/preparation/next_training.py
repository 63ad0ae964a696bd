"""What may be done with a folder that was prepared: a command that trains on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from cf.data.shard_index import ShardIndex
from cf.settings.build import Settings
from cf.settings.given import own_settings
from cf.system.shell import setting, shell_command

MODELS = {
    "doom": "videos",
    "trained": "videos",
    "wan": "wan_1_3b",
    "taehv": "wan_1_3b",
    "wan2_2": "wan2_2_5b",
}
"""The network that reads a codec's latents; the default one reads pixels."""
_WAN_TEXT = "umt5"


def training(
    index: ShardIndex,
    folder: Path,
    settings: Settings,
    choices: Mapping[str, str],
    given: Sequence[str],
) -> str:
    """What may be done now, and the command.

    Args:
        index: what was prepared.
        folder: where.
        settings: of the preparation.
        choices: its options, by group.
        given: settings that were typed, as they were typed; those of the codec are needed again.
    """
    place = setting("data.folder", folder)
    text = ["text=prepared"] if index.text_shape else []
    if not index.shape:
        data = ["data=prompts", place, *text]
        if choices.get("text") != _WAN_TEXT:
            return (
                f"train on it by a recipe (docs/distillation.md) whose networks read such texts: "
                f"{' '.join(data)}"
            )
        words = ["experiment=self_forcing", "scale=wan_1_3b"]
        roles = ["start.student.path=BASE", "start.teacher.path=TEACHER"]
        return f"train on it, from networks of yours: {_fit([*words, *data, *roles])}"
    words = ["data=latents", place, f"data.fps={settings['fps']:g}"]
    words += [f"data.size={_list(settings['size'])}", *_network(index, choices)]
    words += [
        setting(*override.split("=", 1)) for override in given if override.startswith("codec.")
    ]
    return f"train on it: {_fit([*words, *text])}"


def _network(index: ShardIndex, choices: Mapping[str, str]) -> list[str]:
    """The codec, and a network that reads its latents and the states of the texts."""
    codec, words = choices.get("codec", "pixels"), []
    if codec != "pixels":
        words += [f"codec={codec}"]
    model = MODELS.get(codec)
    if model is not None:
        words += [f"model={model}"]
    if model == "videos":
        words += [f"model.latent_shape={_list(index.shape[1:])}"]
        odd = any(side % 2 for side in index.shape[2:])
        words += ["model.patch_size=[1,1]"] * odd
    if index.text_shape and not str(model).startswith("wan"):
        tokens, width = index.text_shape
        words += [f"+model.text_dim={width}", f"+model.text_len={tokens}"]
    return words


def _list(value: Sequence[int]) -> str:
    return str(list(value)).replace(" ", "")


def _fit(words: Sequence[str]) -> str:
    return shell_command("cf.fit", [*own_settings(), *words])
