"""What a generation takes of a card's memory, counted before anything is loaded."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from cf.settings.build import Settings

if TYPE_CHECKING:
    from cf.models.base import Backbone
    from cf.models.codec import Codec
    from cf.rollout.blockwise import Rollout
    from cf.runs.outline import Way

GB = 10**9
RESERVED = 10**9
"""Bytes for what cannot be counted: the driver's own, kernels' workspaces, gaps. An estimate."""
OFFLOADS = ("none", "text", "codec", "all")
_BLOCKS = 10  # run to see what is held grow; what goes on growing is extrapolated


@dataclass(frozen=True)
class MemoryPlan:
    """Bytes of one card.

    Attributes:
        network, text, codec: of weights; the network's with its guide's, if another guides it.
        held: of the context, between two blocks.
        denoise: at most, context included, while a block is denoised.
        stream: what the decoder holds between two blocks.
        decode: at most, its stream included, while a block is decoded.
        offload: what is off the card while it is not in use; one of `OFFLOADS`.
        note: how it was counted, if not by running the very memory that was chosen.
        codec_dtype: number format of the codec; empty: it has none to choose.
    """

    network: int
    text: int
    codec: int
    held: int
    denoise: int
    stream: int
    decode: int
    offload: str
    note: str = ""
    codec_dtype: str = ""

    @property
    def phases(self) -> dict[str, int]:
        """What each part of the work takes."""
        stays = self.text if self.offload in ("none", "codec") else 0
        codec_bytes = 0 if self.offload in ("codec", "all") else self.codec + self.stream
        reading = {"none": self.network + self.codec + self.text, "all": 0}
        return {
            "text": reading.get(self.offload, self.text),
            "denoise": self.network + stays + codec_bytes + self.denoise,
            "decode": self.network + stays + self.held + self.codec + self.decode,
        }

    @property
    def peak(self) -> int:
        """The most at any time, with what is reserved."""
        return max(self.phases.values()) + RESERVED

    def shown(self) -> str:
        """As a person reads it, in decimal gigabytes."""
        sizes = {
            "network": self.network,
            "text encoder": self.text,
            f"codec{f' ({self.codec_dtype})' * bool(self.codec_dtype)}": self.codec,
            "context": self.held,
        }
        weights = ", ".join(f"{name} {in_gb(size)}" for name, size in sizes.items())
        phases = ", ".join(f"{name} {in_gb(size)}" for name, size in self.phases.items())
        return (
            f"memory in GB: {weights}; while in use: {phases}; at most {in_gb(self.peak)} with "
            f"{in_gb(RESERVED)} in reserve (offload={self.offload}){self.note}"
        )


def plan_generation(settings: Settings, parts: Settings) -> MemoryPlan:
    """What `cf.runs.generator.load` and the videos after it will take.

    Args:
        settings: of `cf.generate`.
        parts: what the network is built of, the settings' size among them.
    """
    import torch

    from cf.models.allocated import bytes_of
    from cf.runs.guide import guide_model
    from cf.runs.outline import codec_outline, outlined, sized, text_outline, way_of

    way, codec = way_of(settings, parts), codec_outline(parts["codec"], settings)
    model = sized(parts["model"], parts["size"], codec)
    weaker = guide_model(way, parts, codec)
    guide = None if weaker is None else outlined(weaker, settings["dtype"])
    batch = int(settings.get("batch") or settings["samples"])
    frames = max(round(float(settings["seconds"]) * float(parts["fps"])), 1)
    blocks = -(-codec.covering(frames) // way.rollout.block_frames)
    with torch.inference_mode():
        held, denoise, note = _denoising(model, settings["dtype"], way, guide, batch, blocks)
        latents = min(way.rollout.block_frames, codec.covering(frames))
        shape = list(model["latent_shape"])
        if settings.get("tile") is not None and settings["offload"] in ("codec", "all"):
            side = int(settings["tile"]) // codec.space_stride  # one tile at a time is on the card
            shape = [shape[0], *(min(length, side) for length in shape[1:])]
        stream, decode = _decoding(codec, shape, batch, latents)
    networks = bytes_of(outlined(model, settings["dtype"])) + (
        0 if guide is None else bytes_of(guide)
    )
    text = bytes_of(text_outline(parts["text"]))
    sizes = (networks, text, bytes_of(codec), held, denoise, stream, decode)
    return MemoryPlan(*sizes, settings["offload"], note, parts["codec"].get("dtype", ""))


def refuse_too_large(plan: MemoryPlan, card: int, settings: Settings, parts: Settings) -> None:
    """Refuse what does not fit into so many bytes, with the fewest settings with which it would.

    Raises:
        ValueError: it does not fit.
    """
    if plan.peak <= card:
        return
    cures = _cures(plan, settings, parts)
    tries = [[cure] for cure in cures] + [cures[: i + 1] for i in range(1, len(cures))]
    smaller, words = plan, ""
    for attempt in tries:
        smaller = plan_generation(*_with(settings, parts, attempt))
        words = " ".join(f"{name}={value}" for name, value in dict(attempt).items())
        if smaller.peak <= card:
            raise ValueError(
                f"this takes {in_gb(plan.peak)} GB and the card has {in_gb(card)}: give {words}, "
                f"with which it takes {in_gb(smaller.peak)}. {plan.shown()}"
            )
    still = f"; with {words} it would still take {in_gb(smaller.peak)}" if words else ""
    raise ValueError(
        f"this takes {in_gb(plan.peak)} GB and the card has {in_gb(card)}{still}: choose a smaller "
        f"model, size or memory. {plan.shown()}"
    )


def _cures(plan: MemoryPlan, settings: Settings, parts: Settings) -> list[tuple[str, Any]]:
    """Settings that save memory, those that cost least first."""
    cures: list[tuple[str, Any]] = []
    if settings["offload"] in ("none", "codec"):
        cures.append(("offload", "text"))
    if "dtype" in parts["codec"] and parts["codec"]["dtype"] == "float32":
        cures.append(("codec.dtype", "bfloat16"))
    if settings["dtype"] == "float32":
        cures.append(("dtype", "bfloat16"))
    if settings["offload"] != "all":
        cures.append(("offload", "all"))
    if settings.get("tile") is None and plan.codec:  # a codec without weights gains nothing
        cures.append(("tile", 256))
    if (settings.get("batch") or settings["samples"]) > 1:
        cures.append(("batch", 1))
    return cures


def _with(
    settings: Settings, parts: Settings, cures: list[tuple[str, Any]]
) -> tuple[Settings, Settings]:
    settings, parts = dict(settings), dict(parts)
    for name, value in cures:
        if name == "codec.dtype":
            parts["codec"] = {**parts["codec"], "dtype": value}
        else:
            settings[name] = value
    return settings, parts


def _denoising(
    model: Settings, dtype: str, way: Way, guide: Backbone | None, batch: int, blocks: int
) -> tuple[int, int, str]:
    """Bytes held between blocks, the most within one, and how that was found.

    All layers are alike: what two and three of them take tells what more do.
    """
    from cf.memory.sliding import Sliding
    from cf.runs.outline import outlined

    layers = int(model.get("num_layers", 0))
    way = replace(way, guidance_times=(0.0, 1.0))  # the steps that are run are few

    def run(rollout: Rollout) -> tuple[int, int]:
        if layers <= 3:
            return of(model, rollout)
        few = [of({**model, "num_layers": n}, rollout) for n in (2, 3)]
        held, most = (a + (b - a) * (layers - 2) for a, b in zip(*few, strict=True))
        return held, most

    def of(part: Settings, rollout: Rollout) -> tuple[int, int]:
        return _blocks(way.guided(outlined(part, dtype), guide), rollout, batch, blocks)

    try:
        return *run(way.rollout), ""
    except (NotImplementedError, RuntimeError):  # a memory that looks at numbers; here are none
        window = _read_frames(model, way, blocks) + way.rollout.block_frames
        stand_in = replace(way.rollout, memory=Sliding(sink_frames=0, window_frames=window))
        return *run(stand_in), f"; memory was run on a small network, and read {window} frames"


def _read_frames(model: Settings, way: Way, blocks: int) -> int:
    """How many frames' worth of tokens a memory reads at most, found on a small random network."""
    import math

    import torch

    from cf.settings.build import build

    patch = model.get("patch_size", (2, 2))
    shape = [model["latent_shape"][0], *(4 * side for side in patch)]
    small = {**model, "dim": 48, "num_heads": 2, "num_layers": 2, "ffn_dim": 32, "freq_dim": 8}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = build({**small, "latent_shape": shape, "rope_axes": None}, "model").eval()
    rollout, most = way.rollout, 0
    few = min(blocks, max(_BLOCKS, -(-(rollout.memory.max_frames or 0) // rollout.block_frames)))
    cond = network.fake_conditioning(1, few * rollout.block_frames)
    stream = rollout.stream(network, rollout.noise(network, 0, (0,)), cond)
    grown = []
    for _ in range(few):
        _, state = next(stream)
        layers = [layer.k.shape[1] for layer in state.context.layers]
        grown.append(math.ceil(max(layers, default=0) / max(state.context.tokens_per_frame, 1)))
        most = max(most, grown[-1])
    more = max(grown[-1] - grown[-2], 0) if len(grown) > 1 else 0
    return most + more * (blocks - few)


def _blocks(network: Backbone, rollout: Rollout, batch: int, blocks: int) -> tuple[int, int]:
    """Bytes held after the last block, and the most within one."""
    from cf.models.allocated import Allocated
    from cf.rollout.blockwise import Rollout as Blockwise
    from cf.rollout.whole import Whole

    if type(rollout) in (Blockwise, Whole):  # every step takes as much
        times = rollout.times[:2]
        rollout = replace(rollout, timesteps=times, num_steps=len(times), sampler="euler")
    limit = rollout.memory.max_frames
    full = blocks if limit is None else min(blocks, -(-limit // rollout.block_frames) + 2)
    few = min(full, _BLOCKS)
    counts: list[tuple[int, int]] = []
    cond = network.fake_conditioning(batch, few * rollout.block_frames)
    stream = rollout.stream(network, rollout.noise(network, 0, range(batch)), cond)
    with Allocated() as count:
        for _ in range(few):
            count.restart()
            next(stream)
            counts.append((count.now, count.peak))
    more = full - few
    held, most = (
        max(column) + more * max(column[-1] - column[-2], 0) if more else max(column)
        for column in zip(*counts, strict=True)
    )
    return held, most


def _decoding(codec: Codec, shape: list[int], batch: int, latents: int) -> tuple[int, int]:
    """Bytes that the decoder's stream holds, and the most while it decodes a block."""
    import torch

    from cf.models.allocated import Allocated

    with Allocated() as count:
        decoder = codec.decoder()
        block = torch.empty(batch, latents, *shape, device="meta")
        for _ in range(2):  # the first block is shorter in time than those after it
            decoder(block)
        return count.now - block.nbytes, count.peak - block.nbytes


def in_gb(size: float) -> str:
    """Bytes in decimal gigabytes, as a person reads them."""
    return f"{size / GB:.2f}" if size < 10 * GB else f"{size / GB:.1f}"
