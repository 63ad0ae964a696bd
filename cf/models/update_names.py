"""What published files call the parts of a low-rank update, and which weight they update."""

import re
from collections.abc import Iterable, Mapping

from cf.models.fused import is_piece
from cf.models.names import bare_name, is_diffusers, prefix_of_all, to_diffusers_name, to_wan_name
from cf.models.stored import CheckpointError, shown_key

_ADAPTER = r"(?:\.(?!(?:weight|bias)$)([^.]+))?"
_DOWN = r"\.(?:lora_A|lora_down|lora\.down|lora_linear_layer\.down)" + _ADAPTER
_UP = r"\.(?:lora_B|lora_up|lora\.up|lora_linear_layer\.up)" + _ADAPTER
_PARTS = tuple(
    (part, re.compile(pattern if "(?=" in pattern else pattern + "$"))
    for part, pattern in (
        ("down", _DOWN + r"(?:\.weight)?"),
        ("up", _UP + r"(?:\.weight)?"),
        ("up_bias", _UP + r"\.bias"),
        ("magnitude", r"\.lora_magnitude_vector" + _ADAPTER + r"(?:\.weight)?"),
        ("magnitude", r"\.dora_scale"),
        ("alpha", r"\.(?:lora_)?alpha"),
        ("add", r"\.(?:diff|w_norm)"),
        ("add_bias", r"\.(?:diff_b|b_norm)"),
        ("add_modulation", r"\.diff_m"),
        ("set", r"\.set_weight"),
        ("set", r"\.modules_to_save" + _ADAPTER + r"(?=\.(?:weight|bias)$)"),
    )
)
_ENDINGS = {
    "up_bias": (".bias",),
    "add_bias": (".bias",),
    "add_modulation": (".modulation", ""),
}
_REFUSED = (
    ("hada_", "LoHa (LyCORIS)"),
    ("lokr_", "LoKr (LyCORIS)"),
    ("oft_", "OFT"),
    ("boft_", "BOFT"),
    ("lora_mid", "LoCon with a core (lora_mid)"),
    ("lora_embedding_", "LoRA of an embedding"),
    ("vera_lambda", "VeRA"),
    ("lora_E", "AdaLoRA"),
    ("ia3_l", "(IA)3"),
    ("lora_A_log", "a state space model"),
    ("glora_", "GLoRA"),
)
_ELSEWHERE = (
    (("lora_te", "text_encoder", "text_encoders", "t5", "umt5"), "the text encoder"),
    (("clip", "image_encoder", "lora_image"), "the image encoder (CLIP)"),
)
_IMAGE = ("k_img", "v_img", "img_emb", "add_k_proj", "add_v_proj", "image_embedder")
_FLAT = ("lora_unet__", "lora_unet_", "lora_transformer_", "lycoris_", "lora_")


def part_of(name: str) -> tuple[str, str, str | None]:
    """What a tensor is called by its file: its module, which part it is, and of which adapter.

    The part of a weight itself is "": it replaces the weight.

    >>> part_of("blocks.0.self_attn.q.lora_A.default.weight")
    ('blocks.0.self_attn.q', 'down', 'default')
    >>> part_of("blocks.0.attn1.processor.to_out_lora.up.weight")
    ('blocks.0.attn1.to_out.0', 'up', None)
    """
    name = re.sub(r"\.processor\.(to_\w+?)_lora\.", r".\1.lora.", name)
    name = name.replace(".to_out.lora.", ".to_out.0.lora.")
    for part, pattern in _PARTS:
        if match := pattern.search(name):
            rest = name[: match.start()] + name[match.end() :]
            return rest, part, match[1] if pattern.groups else None
    return re.sub(r"\.(?:base_layer|original_module)\.", ".", name), "", None


def is_update(name: str) -> bool:
    """Whether a tensor is part of an update rather than a weight."""
    return part_of(name)[1] != "" or any(f".{mark}" in name for mark, _ in _REFUSED)


class Targets:
    """The weights of a model, found by what files of updates call their modules.

    Args:
        weights: the model's own names, which are Wan's.
        names: all names of the file, which tell whether they are diffusers'.
        source: the file, for messages.
    """

    def __init__(self, weights: Iterable[str], names: Iterable[str], source: object) -> None:
        self._weights = set(weights)
        self._source = source
        bare = [bare_name(name) for name in names]
        prefix = prefix_of_all(bare)  # as in files of weights, whose one network may have any
        self._prefix = "" if _elsewhere(prefix) else prefix
        self._diffusers = is_diffusers(self._own(name) for name in bare)
        self._flat: dict[str, set[str]] = {}
        for weight in self._weights:
            module = weight.rpartition(".")[0]
            for spelt in (weight, module, to_diffusers_name(module), to_diffusers_name(weight)):
                self._flat.setdefault(spelt.replace(".", "_"), set()).add(
                    weight if spelt in (weight, to_diffusers_name(weight)) else module
                )

    def find(self, name: str, module: str, part: str) -> str:
        """The weight that a part of an update belongs to.

        Raises:
            CheckpointError: if there is none, or not one alone; says what it is instead, if known.
        """
        for mark, kind in _REFUSED:
            if f".{mark}" in name:
                raise CheckpointError(
                    f"{self._source} holds {shown_key(name)}, which is {kind} and is not read "
                    "here; merge it by the tool that made it, or give a LoRA of lora_A and lora_B"
                )
        endings = _ENDINGS.get(part, (".weight", "") if part else ("",))
        for spelt in self._spellings(module):
            for ending in endings:
                if spelt + ending in self._weights:
                    return spelt + ending
        raise CheckpointError(
            f"{self._source} holds {shown_key(name)}, which updates nothing in these weights"
            f"{_why(name)}; give the LoRA that belongs to this model"
        )

    def _own(self, bare: str) -> str:
        return bare_name(bare.removeprefix(self._prefix))

    def _spellings(self, module: str) -> list[str]:
        bare = self._own(bare_name(module))
        flat = next((bare.removeprefix(one) for one in _FLAT if bare.startswith(one)), None)
        if flat is not None:
            found = self._flat.get(flat, set())
            if len(found) > 1:
                either = " or ".join(sorted(found))
                raise CheckpointError(
                    f"{self._source} holds {shown_key(module)}, which may be {either}; give names "
                    "with dots"
                )
            return list(found)
        if self._diffusers:
            return [to_wan_name(bare)]
        return [bare]


def adapters(parts: Mapping[str, tuple[str, str, str | None]], source: object, fused: bool) -> None:
    """Refuse a file that holds several adapters of PEFT.

    Args:
        parts: of its tensors.
        source: the file, for messages.
        fused: whether numbers may be those of fused projections.

    Raises:
        CheckpointError: names them.
    """
    names = sorted(
        {
            adapter
            for module, _, adapter in parts.values()
            if adapter and not (fused and is_piece(module, adapter))
        }
    )
    if len(names) > 1:
        raise CheckpointError(
            f"{source} holds the adapters {', '.join(names)}; save the one that is meant"
        )


def _elsewhere(bare: str) -> str:
    """Which other model a bare name belongs to; empty: none that is known."""
    first = bare.partition(".")[0]
    return next((what for marks, what in _ELSEWHERE if first.startswith(marks)), "")


def _why(name: str) -> str:
    if what := _elsewhere(bare_name(name)):
        return f": it belongs to {what}, to which no update is made here"
    if any(one in name for one in _IMAGE):
        return ": it belongs to the image branch of an image-to-video model"
    return ""
