"""Whether networks that are shown the same latents were trained on those of one codec."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_OF_WAN = ("WanVAE", "TAEHV")
"""Two codecs of one kind of latents; which of Wan's versions, their channels tell."""


def refuse_other_latents(path: str, codec: Any, name: str) -> None:
    """Raise a ValueError if an export was trained on the latents of another codec than is used.

    Nothing is told of published weights, which do not say their codec, nor where a codec's file is
    not there.

    Args:
        path: of a network, as its setting has it.
        codec: settings of the codec whose latents it is to be shown.
        name: of the setting.
    """
    from cf.files.shipped import shipped
    from cf.models.checkpoints import exported_config
    from cf.models.weight_files import read_stored
    from cf.runs.outline import file_of

    source = file_of(shipped(path))
    if source.suffix != ".safetensors" or not source.is_file():
        return
    trained = exported_config(read_stored(source, None, ()).said).get("codec")
    theirs, ours = (_latents_of(part) for part in (trained, codec))
    if theirs and ours and theirs != ours:
        raise ValueError(
            f"{name}={path} was trained on latents of {_told(trained)}, and is to be shown those "
            f"of {_told(codec)}: give a network of the same codec"
        )


def _latents_of(codec: Any) -> str:
    """What tells the latents of a codec from those of others; empty if nothing does."""
    from cf.files.home import expanded
    from cf.models.start import fingerprint
    from cf.models.stored import CheckpointError

    if not isinstance(codec, Mapping):  # of a file that says what it likes, or none
        return ""
    names = [part for part in str(codec.get("_target_")).split(".") if part[:1].isupper()]
    if not names or names[0] in _OF_WAN:
        return "Wan" if names else ""
    if "file" not in codec:
        return names[0]
    try:
        return fingerprint(expanded(str(codec["file"])))
    except (CheckpointError, ValueError, OSError):
        return ""


def _told(codec: Any) -> str:
    what = str(codec["_target_"]).removesuffix(".from_file").rpartition(".")[2]
    return f"codec.file={codec['file']}" if "file" in codec else what
