"""What a training takes of each card's memory, counted on shapes before anything is loaded."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cf.runs.plan import GB, RESERVED, in_gb
from cf.runs.roles import role_networks
from cf.runs.training_roles import role_bytes, shards_weights
from cf.settings.build import Settings, build

if TYPE_CHECKING:
    import torch

_LAYERS = (2, 3)  # run; the others are alike


@dataclass(frozen=True)
class TrainingPlan:
    """Bytes of one card.

    Attributes:
        roles: what is there for the whole training, by what it is for.
        activations: the most that each part of a step takes besides; `held` is what a rollout
            leaves for its gradient.
        shards: cards that weights, gradients and states are spread over.
    """

    roles: dict[str, int]
    activations: dict[str, int] = field(default_factory=dict)
    shards: int = 1

    @property
    def peak(self) -> int:
        """The most at any time, with what is reserved."""
        return sum(self.roles.values()) + max(self.activations.values(), default=0) + RESERVED

    def shown(self) -> str:
        """As a person reads it, in decimal gigabytes; a role a line."""
        lines = [f"memory of a card in GB, weights over {self.shards} card(s):"]
        lines += [f"  {name:28} {in_gb(size):>6}" for name, size in self.roles.items() if size]
        lines += [
            f"  while at {name:19} {in_gb(size):>6}" for name, size in self.activations.items()
        ]
        lines += [
            f"  {'in reserve':28} {in_gb(RESERVED):>6}",
            f"  {'at most':28} {in_gb(self.peak):>6}",
        ]
        return "\n".join(lines)


def planned_training(settings: Settings, cards: int = 1) -> TrainingPlan:
    """What a run of `cf.fit` will take of each card.

    Args:
        settings: of the run.
        cards: that it runs on; where its strategy shards, they share the weights.

    Raises:
        ValueError: a training that cannot be counted.
    """
    import torch

    from cf.models.allocated import bytes_of
    from cf.runs.outline import codec_outline, eyes_outline, text_outline

    if not any(
        "network" in (settings["module"].get(role) or {}) for role in ("network", "student")
    ):
        raise ValueError(
            "memory is counted of module=distill, pretrain and start; a codec takes little"
        )
    shards = cards if shards_weights(settings) else 1
    codec = codec_outline(settings["codec"], {})
    with torch.random.fork_rng(devices=[]):
        module = module_of(settings, None, torch.float32, codec)
        roles = role_bytes(settings, module, shards)
        activations = _activations(settings, codec)
    roles["codec"] = bytes_of(codec)
    roles["text encoder"] = bytes_of(text_outline(settings["text"]))
    if eyes := settings["module"].get("image_encoder"):
        roles["image encoder"] = bytes_of(eyes_outline(eyes))
    return TrainingPlan(roles, activations, shards)


def check_training(plan: TrainingPlan, card: int, settings: Settings, cards: int) -> str:
    """What is told of a card with so many bytes: that it fits, or with which settings it would."""
    if plan.peak <= card:
        return f"it fits a card of {in_gb(card)} GB"
    cures: list[str] = []
    changed, smaller = settings, plan
    for words, change in _cures(settings, plan, cards):
        changed = change(changed)
        cures.append(words)
        smaller = planned_training(changed, cards)
        if smaller.peak <= card:
            return (
                f"it takes {in_gb(plan.peak)} GB and the card has {in_gb(card)}: with "
                f"{' '.join(cures)} it takes {in_gb(smaller.peak)}"
            )
    more = f"; with {' '.join(cures)} it would still take {in_gb(smaller.peak)}" if cures else ""
    return (
        f"it takes {in_gb(plan.peak)} GB and the card has {in_gb(card)}{more}: more cards, a "
        "smaller window (module.window_frames), memory or model take less"
    )


def _cures(settings: Settings, plan: TrainingPlan, cards: int) -> list[tuple[str, Any]]:
    """Settings that save memory, those that cost least first, and what each changes."""
    cures: list[tuple[str, Any]] = []
    if plan.roles.get("text encoder"):
        none = {"_target_": "cf.models.prepared_text.PreparedText.from_folder", "folder": None}
        cures.append(("text=prepared", lambda s: {**s, "text": none}))
    if cards > 1 and not shards_weights(settings):
        strategy = {"_target_": "cf.modules.fully_shard.FullyShard"}
        trainer = {**settings["trainer"], "strategy": strategy}
        cures.append(("trainer=fsdp2", lambda s: {**s, "trainer": trainer}))
    if not settings["model"].get("activation_checkpointing", True):
        cures.append(("model.activation_checkpointing=true", _checkpointed))
    if narrow := _wide_states(settings, plan):
        words = " ".join(f"{name}=adamw_8bit" for name in narrow.values())
        cures.append((words, lambda s: _in_8_bits(s, [*narrow])))
    if int(settings["data"].get("batch_size") or 1) > 1:
        cures.append(("data.batch_size=1", lambda s: {**s, "data": {**s["data"], "batch_size": 1}}))
    return cures


def _wide_states(settings: Settings, plan: TrainingPlan) -> dict[str, str]:
    """Optimisers of the module whose states could be narrower, and how each is chosen."""
    options = {"optimizer": "optimizer", "critic_optimizer": "optimizer@critic_optimizer"}
    return {
        name: words
        for name, words in options.items()
        if str((settings["module"].get(name) or {}).get("_target_")) == "cf.modules.optim.adamw"
        and (name == "optimizer" or "critic: optimiser" in plan.roles)
    }


def _in_8_bits(settings: Settings, names: list[str]) -> Settings:
    """The settings, in which these optimisers are `AdamWIn8Bit`."""
    target = {"_target_": "cf.modules.optim_8bit.AdamWIn8Bit"}
    module = settings["module"]
    narrow = {name: {**module[name], **target} for name in names}
    return {**settings, "module": {**module, **narrow}}


def _checkpointed(settings: Any) -> Any:
    """The settings, in which every network recomputes its blocks."""
    if isinstance(settings, dict):
        changed = {name: _checkpointed(value) for name, value in settings.items()}
        return {**changed, "activation_checkpointing": True} if "num_layers" in changed else changed
    return [_checkpointed(item) for item in settings] if isinstance(settings, list) else settings


def module_of(
    settings: Settings, layers: int | None, dtype: torch.dtype, codec: Any, device: str = "meta"
) -> Any:
    """The module, by default on the meta device; no weight is read.

    Args:
        settings: of the run.
        layers: of its networks, at most; None: as the settings say.
        dtype: of its networks.
        codec: its codec.
        device: its own.
    """
    from cf.models.text import NoText

    group = dict(settings["module"])
    roles = role_networks(group, lambda _, role: _network(role, layers, dtype, device))
    first = roles.get("student", roles.get("network"))
    text = NoText()
    text.dim = getattr(first, "text_dim", None)
    if group.get("image_encoder") is not None:
        group["image_encoder"] = None  # counted by itself
    return build(group, "module", codec=codec, text=text, **roles)


def _network(role: Settings, layers: int | None, dtype: torch.dtype, device: str) -> Any:
    import torch

    model = role["network"]
    if layers is not None:
        model = {**model, "num_layers": min(layers, int(model["num_layers"]))}
    with torch.device(device):
        return build(model, "model").to(dtype)


def _activations(settings: Settings, codec: Any) -> dict[str, int]:
    """The most that each part of a step takes besides what is there for the whole training.

    All layers are alike: what two and three of them take tells what more do.
    """
    import torch

    from cf.modules.trial import tried

    half = str(settings["trainer"].get("precision", "32-true"))
    dtype = torch.bfloat16 if half.startswith("bf16") else torch.float32
    dtype = torch.float16 if half.startswith("16") else dtype
    data, last = settings["data"], int(settings["trainer"]["max_steps"])
    frames = _frames(data, codec)
    size = int(data["batch_size"])
    layers = int(settings["model"]["num_layers"])
    trials = []
    for few in _LAYERS if layers > max(_LAYERS) else (layers,):
        module = module_of(settings, few, dtype, codec)
        trials.append(tried(module, size, frames, max(last - 1, 0)))
    peaks = trials[-1]
    if len(trials) > 1:
        peaks = {k: a + (trials[1][k] - a) * (layers - _LAYERS[0]) for k, a in trials[0].items()}
    if half.endswith("-mixed") and dtype is not torch.float32:
        wide = _wide_tokens(module, size, layers)
        peaks = {
            k: n + wide * k.endswith(("held", "scoring", "backward")) for k, n in peaks.items()
        }
    encoded = int(data["clip_frames"]) if frames and "VideoFolder" in str(data["_target_"]) else 0
    if settings["model"].get("reference_channels"):  # a picture, and grey after it
        encoded = max(encoded, 1 + codec.time_stride)
    if encoded and sum(1 for _ in codec.parameters()):
        peaks["encoding"] = _encoding(codec, (size, encoded, 3, *data["size"]))
    return peaks


def _frames(data: Settings, codec: Any) -> int:
    """Latent frames of a clip; 0 where data has none.

    Raises:
        ValueError: prepared clips are taken whole, and are not there to be asked how long they are.
    """
    if wanted := data.get("clip_frames"):
        return int(codec.covering(int(wanted)))
    if "LatentFolder" not in str(data["_target_"]):
        return 0
    try:
        return int(build(data, "data").frames)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"data.clip_frames is null, and how long prepared clips are is not known: {error}; "
            "give data.clip_frames to plan without them"
        ) from None


def _wide_tokens(module: Any, size: int, layers: int) -> int:
    """Bytes by which tokens between blocks are wider than the rest, in mixed precision.

    They are summed in float32, and one set of them is held for each block of a network.
    """
    from cf.models.wrapped import blocks_of

    network = getattr(module, "trained", None)
    windows = getattr(module, "windows", None)
    frames = 0 if windows is None else windows.training_rollout.window_frames
    if network is None or not frames:
        return 0
    _, height, width = network.latent_shape
    rows, columns = network.patch_size
    tokens = size * frames * (height // rows) * (width // columns)
    block: Any = blocks_of(network)[0]
    return int(tokens * block.modulation.shape[-1] * 2 * layers)


def _encoding(codec: Any, shape: tuple[int, ...]) -> int:
    """Bytes of the codec while it encodes a batch of such a shape."""
    import torch

    from cf.models.allocated import Allocated

    with torch.no_grad(), Allocated() as count:
        codec.encode(torch.empty(shape, device="meta"))
        return count.peak


def told_training(settings: Settings, cards: int | None, card_gb: float | None) -> str:
    """The plan of a run, and whether it fits the cards that are given or found."""
    import torch

    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    cards = cards or gpus or 1
    plan = planned_training(settings, cards)
    if card_gb is None and not gpus:
        return f"{plan.shown()}\ngive card_gb=80 (and cards=8) to learn whether it fits"
    card = int(card_gb * GB) if card_gb is not None else torch.cuda.mem_get_info()[1]
    return f"{plan.shown()}\n{check_training(plan, card, settings, cards)}"
