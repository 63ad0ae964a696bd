"""A network that was never trained, as a contestant that others must beat."""

from __future__ import annotations

import torch

from cf.models.compiled import check_compile, compile_blocks
from cf.runs.generator import Generator
from cf.runs.guide import guide_model
from cf.runs.on_card import guide_on, text_on
from cf.runs.outline import way_of
from cf.settings.build import Settings, build


def untrained(settings: Settings, seed: int) -> Generator:
    """A generator whose weights are drawn.

    Args:
        settings: as `cf.runs.generator.load` takes them, with all parts of their own.
        seed: of the weights.

    Raises:
        ValueError: a part is missing, which no checkpoint gives here.
    """
    for name in ("model", "codec", "text", "rollout", "memory", "fps", "size"):
        if settings[name] is None:
            raise ValueError(f"an untrained network has no {name} of its own; give {name}")
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = build(settings["model"], "model")
    network.to(settings["device"]).eval().requires_grad_(False)
    check_compile(settings["compile"], network.device)
    compile_blocks(network, settings["compile"])
    eyes = settings["image_encoder"] and build(settings["image_encoder"], "image_encoder")
    way, codec = way_of(settings, settings), build(settings["codec"], "codec")
    device = torch.device(settings["device"])
    guide = guide_on(device, settings, way, guide_model(way, settings, codec))
    return Generator(
        way.guided(network, guide),
        codec,
        text_on(device, settings, settings, way),
        way.rollout,
        way.switch,
        float(settings["fps"]),
        (settings["size"][0], settings["size"][1]),
        eyes,
        negative=way.negative,
    )
