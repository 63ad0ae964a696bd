"""The umT5 encoder as Wan's authors and llama.cpp store it, under the names of `transformers`."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor

from cf.models.names import renamed_part
from cf.models.stored import CheckpointError

_ATTENTION, _FEED = "layer.0.SelfAttention", "layer.1.DenseReluDense"
_IN_BLOCK = {
    "norm1": "layer.0.layer_norm",
    "attn.q": f"{_ATTENTION}.q",
    "attn.k": f"{_ATTENTION}.k",
    "attn.v": f"{_ATTENTION}.v",
    "attn.o": f"{_ATTENTION}.o",
    "pos_embedding.embedding": f"{_ATTENTION}.relative_attention_bias",
    "norm2": "layer.1.layer_norm",
    "ffn.gate.0": f"{_FEED}.wi_0",
    "ffn.fc1": f"{_FEED}.wi_1",
    "ffn.fc2": f"{_FEED}.wo",
}
_TOP = {"token_embedding": "shared", "norm": "encoder.final_layer_norm"}
_LLAMA = {
    "attn_norm": "norm1",
    "attn_q": "attn.q",
    "attn_k": "attn.k",
    "attn_v": "attn.v",
    "attn_o": "attn.o",
    "attn_rel_b": "pos_embedding.embedding",
    "ffn_norm": "norm2",
    "ffn_gate": "ffn.gate.0",
    "ffn_up": "ffn.fc1",
    "ffn_down": "ffn.fc2",
}
_LLAMA_TOP = {"token_embd": "token_embedding", "enc.output_norm": "norm"}
_TIED = "encoder.embed_tokens.weight"


def is_original_text(names: Iterable[str]) -> bool:
    """Whether these are the authors' names of an umT5's weights."""
    names = set(names)
    return "token_embedding.weight" in names and "blocks.0.ffn.gate.0.weight" in names


def is_text(names: Iterable[str]) -> bool:
    """Whether these are the weights of an umT5 encoder, in one of the three spellings."""
    names = set(names)
    return is_original_text(names) or "shared.weight" in names or "token_embd.weight" in names


def to_transformers_text(name: str) -> str:
    """What `UMT5EncoderModel` of transformers calls a weight of umT5.

    >>> to_transformers_text("blocks.3.ffn.gate.0.weight")
    'encoder.block.3.layer.1.DenseReluDense.wi_0.weight'
    >>> to_transformers_text("enc.blk.3.attn_q.weight")
    'encoder.block.3.layer.0.SelfAttention.q.weight'
    """
    name = renamed_part(name, _LLAMA_TOP)
    if match := re.fullmatch(r"enc\.blk\.(\d+)\.(.+)", name):
        name = f"blocks.{match[1]}.{renamed_part(match[2], _LLAMA)}"
    if match := re.fullmatch(r"blocks\.(\d+)\.(.+)", name):
        return f"encoder.block.{match[1]}.{renamed_part(match[2], _IN_BLOCK)}"
    return renamed_part(name, _TOP)


def to_original_text(name: str) -> str | None:
    """What Wan's authors call a weight of `UMT5EncoderModel`; None of one that they lack.

    >>> to_original_text("encoder.block.3.layer.1.DenseReluDense.wi_0.weight")
    'blocks.3.ffn.gate.0.weight'
    """
    if name == _TIED:
        return None
    if match := re.fullmatch(r"encoder\.block\.(\d+)\.(.+)", name):
        return f"blocks.{match[1]}.{renamed_part(match[2], {v: k for k, v in _IN_BLOCK.items()})}"
    return renamed_part(name, {v: k for k, v in _TOP.items()})


def text_config(state: Mapping[str, Tensor], source: object) -> dict[str, Any]:
    """The settings of `UMT5Config` that make an encoder of these weights.

    Args:
        state: under the names of transformers.
        source: for messages.

    Raises:
        CheckpointError: if weights that tell a size are missing.
    """
    try:
        words, gate = state["shared.weight"], state[f"encoder.block.0.{_FEED}.wi_0.weight"]
        places = state[f"encoder.block.0.{_ATTENTION}.relative_attention_bias.weight"]
        queries = state[f"encoder.block.0.{_ATTENTION}.q.weight"]
    except KeyError as error:
        raise CheckpointError(
            f"{source} is no umT5 encoder: it lacks {error.args[0]}; give "
            "models_t5_umt5-xxl-enc-bf16.pth, or the folder text_encoder in diffusers' layout"
        ) from None
    layers = {name.split(".")[2] for name in state if name.startswith("encoder.block.")}
    return {
        "vocab_size": words.shape[0],
        "d_model": words.shape[1],
        "d_kv": queries.shape[0] // places.shape[1],
        "d_ff": gate.shape[0],
        "num_layers": len(layers),
        "num_heads": places.shape[1],
        "relative_attention_num_buckets": places.shape[0],
        "relative_attention_max_distance": 128,
        "feed_forward_proj": "gated-gelu",
        "tie_word_embeddings": False,
    }


def with_tied(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights, with those of the words under both names that transformers has for them."""
    tied = dict(state)
    if "shared.weight" in tied:
        tied.setdefault(_TIED, tied["shared.weight"])
    elif _TIED in tied:
        tied["shared.weight"] = tied[_TIED]
    return tied
