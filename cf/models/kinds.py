"""Which model's weights a file holds, where they are not those of a text-to-video transformer."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from torch import Tensor

from cf.models.stored import CheckpointError, some

_GIVE = "give the weights of a text-to-video model, such as Wan2.1-T2V-1.3B"
_TRANSFORMERS = (  # the first name that is found tells
    ("vace_", "a VACE model, which takes reference videos beside its text"),
    ("control_adapter.", "a Fun-Control model that is steered by a camera"),
    ("ref_conv.", "a Fun-Control model, which takes a reference picture"),
    ("face_adapter.", "Wan-Animate, which takes a face"),
    ("motion_encoder.", "Wan-Animate, which takes motion"),
    ("casual_audio_encoder.", "a speech-to-video model, which takes sound"),
    ("audio_proj.", "an audio-driven model, which takes sound"),
    ("img_emb.", "an image-to-video model, which takes a picture's embedding"),
)
_OTHERS = (
    (("token_embedding.", "shared.", "encoder.block.", "text_model."), "a text encoder", "text"),
    (("encoder.", "decoder."), "a video codec (VAE)", "codec.folder"),
    (("visual.", "vision_model."), "an image encoder (CLIP)", ""),
    (("double_blocks.", "transformer_blocks.", "input_blocks.", "joint_blocks."), "", ""),
)


def refuse_other_transformer(state: Mapping[str, Tensor], source: str | Path) -> None:
    """Refuse transformers of Wan's family that take more than text and noise.

    Args:
        state: under Wan's names.
        source: for the message.

    Raises:
        CheckpointError: names the kind of model.
    """
    for mark, kind in _TRANSFORMERS:
        if found := [name for name in state if name.startswith(mark)]:
            raise CheckpointError(f"{source} is {kind} (it holds {some(found)}); {_GIVE}")
    if found := [name for name in state if name.endswith("k_img.weight")]:
        kind = "an image-to-video model, which takes a picture's embedding"
        raise CheckpointError(f"{source} is {kind} (it holds {some(found)}); {_GIVE}")
    patches, head = state["patch_embedding.weight"], state.get("head.head.weight")
    if head is None or head.ndim != 2 or patches.ndim != 5 or not patches.numel():
        return
    takes, makes = patches.shape[1], len(head) // patches[0, 0].numel()
    if takes != makes:
        raise CheckpointError(
            f"{source} is an image-to-video or control model: it takes {takes} channels to make "
            f"{makes}; {_GIVE}"
        )


def not_a_transformer(names: Iterable[str], source: str | Path) -> CheckpointError:
    """What to say of a file without a transformer of Wan's architecture."""
    names = list(names)
    if any("_flat_param" in name for name in names):
        return CheckpointError(
            f"{source} holds weights that FSDP flattened; save it with a full state dict "
            "(torch.distributed.checkpoint.state_dict, full_state_dict=True)"
        )
    for marks, kind, group in _OTHERS:
        if any(mark in f".{name}" for mark in (f".{one}" for one in marks) for name in names):
            kind = kind or "a transformer of another architecture than Wan's"
            there = f"; it belongs to {group}" if group else ""
            return CheckpointError(f"{source} is {kind} (it holds {some(names)}){there}; {_GIVE}")
    return CheckpointError(
        f"{source} holds no transformer of Wan's architecture: patch_embedding.weight is not among "
        f"its {len(names)} tensors ({some(names) or 'none'}); {_GIVE}"
    )
