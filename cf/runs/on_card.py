"""What is on the card, and when: the plan is told, texts come first, the codec waits elsewhere."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cf.settings.build import Settings, build

if TYPE_CHECKING:
    import torch

    from cf.models.base import Backbone
    from cf.models.codec import Codec
    from cf.models.text import TextEncoder
    from cf.runs.outline import Way

log = logging.getLogger("cf.generate")


def check_memory(settings: Settings, parts: Settings, device: torch.device) -> None:
    """Tell what will be taken of a card, and refuse what it does not have.

    On the CPU nothing is counted, unless `settings["card_gb"]` says what there is.

    Raises:
        ValueError: it does not fit; says with which settings it would.
    """
    from cf.runs.plan import GB, plan_generation, refuse_too_large

    card = _card(settings, device)
    if card is None or "card_gb" not in settings:  # other commands than cf.generate
        return
    plan = plan_generation(settings, parts)
    log.info("%s; the card has %.1f", plan.shown(), card / GB)
    refuse_too_large(plan, card, settings, parts)


def show_plan(settings: Settings) -> str:
    """What a generation would take, and whether it fits; nothing is loaded.

    Raises:
        ValueError: it does not fit; says with which settings it would.
    """
    import torch

    from cf.runs.outline import device_of, parts_of
    from cf.runs.plan import plan_generation, refuse_too_large

    parts = parts_of(settings)
    plan = plan_generation(settings, parts)
    card = _card(settings, torch.device(device_of(settings["device"])))
    if card is not None:
        refuse_too_large(plan, card, settings, parts)
    return plan.shown()


def text_on(device: torch.device, settings: Settings, parts: Settings, way: Way) -> TextEncoder:
    """The text encoder; where one is used, all texts that are known are encoded already."""
    from cf.runs.texts import UNBOUNDED, CachedText, TextCache

    place = settings.get("offload")
    if place is None or untold(parts["text"]):
        encoder: TextEncoder = build(parts["text"], "text").to(device)
        return encoder
    import torch

    where = torch.device("cpu") if place == "all" else device
    cache = (
        TextCache(most=UNBOUNDED) if settings.get("texts") is None else None
    )  # see cf.bench.texts
    cached = CachedText(parts["text"], where, parts["model"].get("text_dim"), cache)
    texts = list(settings.get("texts") or ())
    if texts:
        cached.encode([*texts, *([] if way.negative is None else [way.negative])])
    if place in ("text", "all"):
        cached.release()
    return cached


def network_on(
    device: torch.device, settings: Settings, model: Settings, source: str, weights: Settings
) -> Backbone:
    """A network with its weights, in the number format and with the blocks that are asked for.

    Args:
        device: where it lies.
        settings: of `cf.generate`.
        model: what it is built of.
        source: the file or folder of its weights.
        weights: which of the file's, and updates to merge, as `load_weights` takes them.

    Raises:
        CheckpointError: they cannot be read, or are of another network.
    """
    from cf.models.checkpoints import load_weights
    from cf.models.compiled import compile_blocks
    from cf.models.writer import filled_backbone
    from cf.runs.outline import check_filled, outlined

    state = load_weights(source, **weights)
    network = filled_backbone(lambda: outlined(model, settings["dtype"]), state, source, device)
    check_filled(network)
    compile_blocks(network, settings.get("compile") or "none")
    return network


def guide_on(
    device: torch.device, settings: Settings, way: Way, model: Settings | None
) -> Backbone | None:
    """A guide with its weights, for `Way.guided`.

    Args:
        device: where it lies.
        settings: of `cf.generate`.
        way: how the network is sampled.
        model: what `cf.runs.guide.guide_model` said.

    Raises:
        CheckpointError: its weights cannot be read, or are of another network.
    """
    from cf.runs.outline import file_of

    if model is None:
        return None
    return network_on(device, settings, model, str(file_of(str(way.guide))), {})


def untold(text: Settings) -> bool:
    """Whether these are the settings of a network that is told no text."""
    return str(text.get("_target_", "")).endswith("NoText")


def codec_on(device: torch.device, settings: Settings, parts: Settings) -> Codec:
    """The codec, in tiles and off the card where that is asked for."""
    from cf.models.offloaded import Offloaded
    from cf.models.tiled import Tiled

    codec: Codec = build(parts["codec"], "codec").to(device)
    if settings.get("offload") in ("codec", "all") and device.type != "cpu":
        codec = Offloaded(codec, device)  # within the tiles, so that each waits by itself
    return codec if settings.get("tile") is None else Tiled(codec, int(settings["tile"]))


@contextmanager
def told_when_full(settings: Settings) -> Iterator[None]:
    """Turn an allocation that fails into a message with the remedy.

    Raises:
        ValueError: the memory of the card, or of the computer, is used up.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        what = used_up(error)
        if not what:
            raise
        raise ValueError(
            f"{what}; offload=all, tile=256, "
            f"dtype=bfloat16, a smaller size, batch or memory take less, and plan=true counts it "
            f"(now offload={settings.get('offload')}, dtype={settings['dtype']})"
        ) from None


def used_up(error: Exception) -> str:
    """Which memory an error says is used up, in words; empty if it says something else."""
    import torch

    card = isinstance(error, torch.OutOfMemoryError)
    plain = isinstance(error, MemoryError) or "allocate memory" in str(error)
    if not card and not (plain and isinstance(error, MemoryError | RuntimeError)):
        return ""
    what = "the card's memory" if card else "the computer's memory"
    return f"{what} is used up ({' '.join(str(error).split())[:160]})"


def _card(settings: Settings, device: torch.device) -> int | None:
    """Bytes of the card; None: there is none."""
    import torch

    from cf.runs.plan import GB

    if settings.get("card_gb") is not None:
        return int(float(settings["card_gb"]) * GB)
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else None
