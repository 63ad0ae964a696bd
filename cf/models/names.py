"""What published files call a Wan model's weights, and what we call them: Wan's own names."""

from collections.abc import Iterable, Mapping

_INSIDE = (
    "_fsdp_wrapped_module.",
    "_checkpoint_wrapped_module.",
    "_orig_mod.",
    "_forward_module.",
    "_fpw_module.",
)
_LEADING = (
    *("base_model.model.", "diffusion_model.", "transformer.", "model.", "module."),
    *("pipe.", "dit.", "net.", "network.", "unet."),
)
_ROOT = "patch_embedding.weight"

_ATTENTION = {"q": "to_q", "k": "to_k", "v": "to_v", "o": "to_out.0"} | {
    name: name for name in ("norm_q", "norm_k")
}
_IMAGE_ATTENTION = {"k_img": "add_k_proj", "v_img": "add_v_proj", "norm_k_img": "norm_added_k"}
_IN_BLOCK = {
    "modulation": "scale_shift_table",
    "norm3": "norm2",
    "norm2": "norm3",
    "ffn.0": "ffn.net.0.proj",
    "ffn.2": "ffn.net.2",
    **{f"self_attn.{wan}": f"attn1.{theirs}" for wan, theirs in _ATTENTION.items()},
    **{
        f"cross_attn.{wan}": f"attn2.{theirs}"
        for wan, theirs in (_ATTENTION | _IMAGE_ATTENTION).items()
    },
}
_OUTSIDE = {
    "time_embedding.0": "condition_embedder.time_embedder.linear_1",
    "time_embedding.2": "condition_embedder.time_embedder.linear_2",
    "time_projection.1": "condition_embedder.time_proj",
    "text_embedding.0": "condition_embedder.text_embedder.linear_1",
    "text_embedding.2": "condition_embedder.text_embedder.linear_2",
    "img_emb.proj.0": "condition_embedder.image_embedder.norm1",
    "img_emb.proj.1": "condition_embedder.image_embedder.ff.net.0.proj",
    "img_emb.proj.3": "condition_embedder.image_embedder.ff.net.2",
    "img_emb.proj.4": "condition_embedder.image_embedder.norm2",
    "head.modulation": "scale_shift_table",
    "head.head": "proj_out",
}
_FROM_DIFFUSERS = tuple({new: old for old, new in table.items()} for table in (_IN_BLOCK, _OUTSIDE))

_PLACES = {name.partition(".")[0] for table in _OUTSIDE.items() for name in table} | {
    "blocks",
    "patch_embedding",
    "control_embedding",
    "compressor",
}


def bare_name(name: str) -> str:
    """A name without what wrappers put before or into it.

    >>> bare_name("model._fsdp_wrapped_module.blocks.0._orig_mod.norm3.weight")
    'blocks.0.norm3.weight'
    """
    name = _unwrapped(name)
    for prefix in _LEADING:
        if name.startswith(prefix):
            return bare_name(name.removeprefix(prefix))
    return name


def is_placed(bare: str) -> bool:
    """Whether a bare name is one of a transformer's own.

    >>> is_placed("blocks.0.ffn.0.weight"), is_placed("n_averaged")
    (True, False)
    """
    return bare.partition(".")[0] in _PLACES


def prefix_of_all(names: Iterable[str]) -> str:
    """What stands before the places of a transformer in every bare name; empty if they differ.

    >>> prefix_of_all(["wan.dit.blocks.0.ffn.0", "wan.dit.head.head"])
    'wan.dit.'
    >>> prefix_of_all(["student.blocks.0.ffn.0", "critic.blocks.0.ffn.0"])
    ''
    """
    prefixes = set()
    for name in names:
        parts = name.split(".")
        at = next((i for i, part in enumerate(parts) if part in _PLACES), 0)
        prefixes.add("".join(f"{part}." for part in parts[:at]))
    return prefixes.pop() if len(prefixes) == 1 else ""


def bare_of_roots(names: Iterable[str], roots: Iterable[str]) -> dict[str, str]:
    """The names of one part of a file, and what they are without what wrappers put before them.

    Args:
        names: of the file.
        roots: what the part has one of; where it is found once, its prefix tells the part.

    >>> bare_of_roots(["vae.shared.weight", "vae.a.bias", "x.y"], ["shared.weight"])
    {'vae.shared.weight': 'shared.weight', 'vae.a.bias': 'a.bias'}
    """
    inner = {name: _unwrapped(name) for name in names}
    ends = tuple(f".{root}" for root in roots)
    prefixes = {key[: -len(end) + 1] for key in inner.values() for end in ends if key.endswith(end)}
    if len(prefixes) != 1 or not {end[1:] for end in ends}.isdisjoint(inner.values()):
        return inner
    prefix = prefixes.pop()
    return {name: key.removeprefix(prefix) for name, key in inner.items() if key.startswith(prefix)}


def networks(names: Iterable[str]) -> dict[str, str]:
    """The transformers among the names of a file: what each is called, and its prefix.

    >>> networks(["student.model.patch_embedding.weight", "critic.patch_embedding.weight", "step"])
    {'student': 'student.model.', 'critic': 'critic.'}
    """
    prefixes: dict[str, str] = {}
    for name in map(_unwrapped, names):
        if name.endswith(_ROOT) and (prefix := name.removesuffix(_ROOT))[-1:] in ("", "."):
            called = prefix
            while leading := next((lead for lead in _LEADING if called.endswith(lead)), ""):
                called = called.removesuffix(leading)
            prefixes[called.rstrip(".")] = prefix
    return prefixes


def named(there: Mapping[str, str], container: str) -> str | None:
    """What the network of this name is called among `networks`; None: there is none.

    One without a name of its own goes by its wrappers', and by "model".

    >>> named({"": "model.diffusion_model.", "ema": "ema."}, "model")
    ''
    """
    if container in there:
        return container
    unnamed = "" in there and container in ("model", *filter(None, there[""].split(".")))
    return "" if unnamed else None


def only(names: Iterable[str], prefix: str, others: Iterable[str] = ()) -> dict[str, str]:
    """The names of one network, and what they are without its prefix.

    What lies beside it under wrappers alone belongs to it; what has another prefix does not.

    Args:
        names: of a file.
        prefix: of the network.
        others: prefixes of the file's further networks.

    >>> only(["model.blocks.0.bias", "ema.blocks.0.bias"], "ema.", ["model."])
    {'ema.blocks.0.bias': 'blocks.0.bias'}
    """
    longer = tuple(p for p in others if p.startswith(prefix) and p != prefix)
    elsewhere = tuple(p for p in others if p and not p.startswith(prefix))
    alone = "" not in others
    bare_of = {}
    for name in names:
        inner = _unwrapped(name)
        if inner.startswith(longer):
            continue
        if inner.startswith(prefix):
            bare_of[name] = bare_name(inner.removeprefix(prefix))
        elif alone and not inner.startswith(elsewhere):
            bare = bare_name(inner)
            if is_placed(bare):
                bare_of[name] = bare
    return bare_of


def is_diffusers(names: Iterable[str]) -> bool:
    """Whether bare names are those of diffusers' `WanTransformer3DModel`."""
    marks = (".attn1.", ".attn2.", ".ffn.net.")
    first = ("condition_embedder.", "proj_out.")
    return any(name.startswith(first) or any(mark in name for mark in marks) for name in names)


def to_wan_name(name: str) -> str:
    """Wan's name of a weight that diffusers calls `name`.

    >>> to_wan_name("blocks.3.attn2.to_out.0.bias")
    'blocks.3.cross_attn.o.bias'
    """
    return _renamed(name, *_FROM_DIFFUSERS)


def to_diffusers_name(name: str) -> str:
    """What diffusers calls the weight of Wan's `name`.

    >>> to_diffusers_name("blocks.3.norm3.bias")
    'blocks.3.norm2.bias'
    """
    return _renamed(name, _IN_BLOCK, _OUTSIDE)


def _unwrapped(name: str) -> str:
    for wrapper in _INSIDE:
        name = name.replace(wrapper, "")
    return name


def _renamed(name: str, in_block: Mapping[str, str], outside: Mapping[str, str]) -> str:
    place, table = "", outside
    if name.startswith("blocks.") and name.count(".") > 1:
        _, index, name = name.split(".", 2)
        place, table = f"blocks.{index}.", in_block
    for old, new in table.items():
        if name == old or name.startswith(f"{old}."):
            return f"{place}{new}{name.removeprefix(old)}"
    return place + name


def renamed_part(name: str, table: Mapping[str, str]) -> str:
    """A name whose beginning, up to a dot, is in the table, with what the table has for it.

    >>> renamed_part("top.weight", {"top": "head"}), renamed_part("topmost.weight", {"top": "head"})
    ('head.weight', 'topmost.weight')
    """
    for old, new in table.items():
        if name.startswith(f"{old}."):
            return new + name.removeprefix(old)
    return name
