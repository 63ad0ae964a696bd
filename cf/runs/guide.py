"""The network that guidance leads another one away from, where it samples."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cf.runs.guidance import ITSELF
from cf.runs.outline import (
    Way,
    exported_parts,
    file_of,
    outlined,
    sized,
)
from cf.runs.same_latents import refuse_other_latents
from cf.settings.build import Settings

if TYPE_CHECKING:
    from cf.models.codec import Codec

_NAMES = ("guide", "network", "sampling.guide")
_ASIDE = ("codec", "text", "rollout", "memory", "fps", "size")
"""What an export says besides its network; a guide sees what the network that it guides makes."""


def guide_model(way: Way, parts: Settings, codec: Codec) -> Settings | None:
    """What a guide's network is built of; None: nothing guides the network, or it does so itself.

    Args:
        way: how the network is sampled.
        parts: what it is built of. A guide that was not exported here is of the same model.
        codec: whose latents both see.

    Raises:
        ValueError: the guide's file cannot be read, or is of a network that takes other latents or
            another conditioning, or was trained on those of another codec.
    """
    from cf.models.checkpoints import exported_config
    from cf.models.pickles import CONTAINERS
    from cf.models.weight_files import read_stored
    from cf.objectives.teacher import check_teacher

    if way.guide in (None, ITSELF):
        return None
    refuse_other_latents(str(way.guide), parts["codec"], "sampling.guide")
    source, model = file_of(str(way.guide)), parts["model"]
    if exported_config(read_stored(source, None, CONTAINERS).said):
        config = exported_parts(source, _ASIDE)
        if "model" not in config:
            raise ValueError(f"{source} does not say its model; give another sampling.guide=...")
        model = config["model"]
    check_teacher(outlined(parts["model"], "float32"), outlined(model, "float32"), _NAMES)
    return sized(model, parts["size"], codec)
