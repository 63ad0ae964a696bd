"""Parts of a published model: where they lie, in which layout, and how their modules are filled."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cf.files.home import expanded
from cf.models.checkpoints import refuse_not_finite
from cf.models.merged import Weights
from cf.models.names import bare_of_roots
from cf.models.quantised import unquantised
from cf.models.stored import CheckpointError, some
from cf.models.weight_files import read_json, read_stored

_OF_COMFYUI = "spiece_model"
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class ModelPart:
    """What one part of a published model is called.

    Attributes:
        name: of its subfolder in diffusers' layout.
        kinds: what its config.json says of it.
        files: patterns of the file of the authors' own layout.
        example: such a file, for messages.
        roots: weights of which it has one, whatever stands before their names.
    """

    name: str
    kinds: tuple[str, ...]
    files: tuple[str, ...] = ()
    example: str = ""
    roots: tuple[str, ...] = ()


VAE = ModelPart(
    "vae",
    ("AutoencoderKLWan",),
    ("Wan2*_VAE.*", "Wan2*_VAE_*", "wan_2*_vae*.safetensors", "wan2*_vae*.safetensors"),
    "Wan2.1_VAE.pth",
    ("encoder.conv1.weight", "encoder.conv_in.weight"),
)
TEXT = ModelPart(
    "text_encoder",
    ("UMT5EncoderModel",),
    ("models_t5_umt5*", "umt5*xxl*"),
    "models_t5_umt5-xxl-enc-bf16.pth",
    ("shared.weight", "token_embedding.weight", "token_embd.weight"),
)
IMAGE = ModelPart(
    "image_encoder",
    ("CLIPVisionModel", "CLIPVisionModelWithProjection", "CLIPModel"),
    ("models_clip_open-clip*",),
    "models_clip_open-clip-xlm-roberta-large-vit-huge-14.pth",
    ("visual.patch_embedding.weight", "vision_model.embeddings.patch_embedding.weight"),
)


def first_there(folder: str | Sequence[str], marks: Sequence[str]) -> str:
    """The folder; of several, the first that has one of the marks, else the first that exists.

    Args:
        folder: one, or several in which a published model may lie.
        marks: patterns of files of which a folder with the wanted part has one.

    >>> first_there(["absent/a", "absent/b"], ["vae"])
    'absent/a'
    """
    if isinstance(folder, str):
        return folder
    existing = [path for path in folder if expanded(path).exists()]
    marked = [path for path in existing if any(any(expanded(path).glob(m)) for m in marks)]
    return [*marked, *existing, *folder][0]


def find_part(folder: str, part: ModelPart) -> Path:
    """The folder of one part in diffusers' layout, or its file in the authors' own.

    Args:
        folder: a published model's folder, that of the part alone, or the part's file.
        part: what is looked for.

    Raises:
        FileNotFoundError: if there is none; says where it looked and what to put there.
        ValueError: if several files may be meant.
    """
    root = expanded(folder).absolute()
    if root.is_file():
        return root.parent if root.name == "config.json" else root
    for place in (root / part.name, root):
        said = model_class(place)
        named = place.name == part.name and (place / "config.json").is_file()
        if said in part.kinds or (said is None and named):
            return place
    files = {
        file
        for pattern in part.files
        for file in root.glob(pattern)
        if file.suffix in (".pth", ".pt", ".bin", ".safetensors", ".gguf")
    }
    if len(files) > 1:
        names = some(sorted(file.name for file in files))
        raise ValueError(f"{root} holds several of these: {names}; give the one that is meant")
    if files:
        return files.pop()
    kind = model_class(root)
    hint = f" ({root / 'config.json'} is of {kind})" if kind else ""
    also = f", or {part.example} of the original one" if part.example else ""
    raise FileNotFoundError(
        f"no {part.name} found: looked for config.json in {root / part.name} and in {root}{hint}"
        f"{also}; put the folder {part.name!r} of a Wan model in diffusers layout (such as "
        f"Wan2.1-T2V-1.3B-Diffusers) there{also}, or point folder at it"
    )


def model_class(place: Path) -> str | None:
    """What class of model the config.json of a folder describes."""
    config = read_json(place / "config.json") if (place / "config.json").is_file() else None
    if not isinstance(config, dict):
        return None
    listed = config.get("architectures")
    said = config.get("_class_name") or (listed[0] if isinstance(listed, list) and listed else None)
    return said if isinstance(said, str) else None


def find_files(folder: str, places: Iterable[str], patterns: Iterable[str], what: str) -> Path:
    """The first of some folders, or a model's folder itself, that holds one of some files.

    Args:
        folder: a published model's folder, or a file within it.
        places: subfolders to look in first.
        patterns: of the files that tell it.
        what: it is, for the message.

    Raises:
        FileNotFoundError: if there is none; says where it looked.
    """
    root = expanded(folder).absolute()
    root = root.parent if root.is_file() else root
    looked = [*(root / place for place in places), root]
    for place in looked:
        if any(any(place.glob(pattern)) for pattern in patterns):
            return place
    raise FileNotFoundError(
        f"no {what} found: looked for {' or '.join(patterns)} in {', '.join(map(str, looked))}; "
        f"put the folder {next(iter(places))!r} of a published Wan model there, or say where it is"
    )


def read_part(place: Path, *parts: ModelPart) -> Weights:
    """The weights of a part, from a file or a folder in any format that is read.

    Args:
        place: the file or folder, which may hold other parts as well.
        parts: those that it may be.
    """
    stored = read_stored(place, None, ("state_dict", "model", "model_state"))
    bare = bare_of_roots(stored.state, [root for part in parts for root in part.roots])
    tensors = {key: stored.state[name] for name, key in bare.items() if key != _OF_COMFYUI}
    raw, makers = unquantised(stored, tensors)
    makers |= {bare[name]: make for name, make in stored.made.items() if name in bare}
    return Weights(raw, makers, {})


def fill(
    build: Callable[[], nn.Module], state: Mapping[str, Tensor], source: Path, dtype: str
) -> Any:
    """A frozen module that holds these weights, all of them and no others.

    It is built on the device "meta", so that no memory is taken twice.

    Args:
        build: makes the module.
        state: under the module's own names.
        source: for messages.
        dtype: what it runs in.

    Raises:
        CheckpointError: if weights are missing, left over, of other shapes, or not finite.
    """
    with torch.device("meta"):
        module = build()
    weights = module.state_dict()
    check_fits(weights, state, source)
    wanted = parse_dtype(dtype)
    wide = tuple(getattr(module, "_keep_in_fp32_modules", None) or ())
    filled: dict[str, Tensor] = {}
    for name in weights:
        keeps = wanted == torch.float16 and any(part in wide for part in name.split("."))
        kind = torch.float32 if keeps else wanted
        refuse_not_finite({name: (weight := state[name])}, str(source))
        filled[name] = weight.to(kind, copy=True)  # not the file's own pages
        if kind == torch.float16 and not filled[name].isfinite().all():
            raise CheckpointError(
                f"{source} holds numbers in {name} that float16 cannot hold; give dtype=bfloat16"
            )
    module.load_state_dict(filled, assign=True)
    tie: Any = getattr(module, "tie_weights", None)
    if tie is not None:
        tie()
    return module.requires_grad_(False).eval()


def check_fits(own: Mapping[str, Tensor], state: Mapping[str, Tensor], source: Path) -> None:
    """Refuse a part that is not all of a module, or more than it.

    Args:
        own: the module's weights, on any device.
        state: under the module's own names; only shapes are looked at.
        source: for messages.

    Raises:
        CheckpointError: if weights are missing, left over, or of other shapes.
    """
    check_complete(source, own.keys() - state.keys())
    if extra := sorted(state.keys() - own.keys()):
        raise CheckpointError(
            f"{source} holds {some(extra)}, for which this model has no place; give the file that "
            "was published"
        )
    wrong = [name for name in own if own[name].shape != tuple(state[name].shape)]
    if wrong:
        raise CheckpointError(
            f"{source} has other shapes of {some(wrong)} than its configuration says; copy the "
            "whole folder again"
        )


def check_whole(kind: str, config: Any, state: Mapping[str, Tensor], path: Path) -> None:
    """Refuse a codec or a text encoder that is not all of diffusers' or transformers' module.

    Args:
        kind: AutoencoderKLWan or UMT5EncoderModel.
        config: its settings.
        state: under that module's names; only shapes are looked at.
        path: for messages.

    Raises:
        CheckpointError: if weights are missing, left over, or of other shapes.
        ImportError: if the extra `wan` is not installed.
    """
    try:
        from diffusers import AutoencoderKLWan
        from transformers import UMT5Config, UMT5EncoderModel
    except ImportError as error:
        raise ImportError(
            "codecs and text encoders are compared with diffusers' and transformers' own: install "
            "this package with its extra 'wan'"
        ) from error
    codec: Any = AutoencoderKLWan
    encoder: Any = UMT5EncoderModel
    with torch.device("meta"):
        is_codec = kind == "AutoencoderKLWan"
        module = codec.from_config(config) if is_codec else encoder(UMT5Config(**config))
    check_fits(module.state_dict(), state, path)


def check_complete(place: Path, missing: Iterable[str]) -> None:
    """Refuse a part that would run with random weights.

    Raises:
        CheckpointError: if any weight is missing; names the first.
    """
    names = sorted(missing)
    if names:
        raise CheckpointError(
            f"{place} lacks {len(names)} of the weights, such as {names[0]}; copy the whole "
            "folder again"
        )


def parse_dtype(name: str) -> torch.dtype:
    """The torch type of a configured name; "auto", where nobody has chosen, is float32.

    Raises:
        ValueError: if it is not a name that models run in.

    >>> parse_dtype("bfloat16")
    torch.bfloat16
    """
    if name == "auto":
        return torch.float32
    if name not in _DTYPES:
        raise ValueError(f"dtype must be auto or one of {', '.join(_DTYPES)}, got {name!r}")
    return _DTYPES[name]
