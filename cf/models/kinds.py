"""Which model's weights a file holds, where they are not those of a transformer that is read."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from torch import Tensor

from cf.models.stored import CheckpointError, some

_GIVE = "give the weights of a text-to-video model, such as Wan2.1-T2V-1.3B"
_OR_GIVE = "give the weights of a text- or image-to-video model, or run it by its authors' code"
_TRANSFORMERS = (  # the first mark that begins a name, or a part of one, tells
    ("vace_", "a VACE model, which takes reference videos beside its text"),
    ("control_adapter.", "a Fun-Control model that is steered by a camera"),
    ("ref_conv.", "a Fun-Control model, which takes a reference picture"),
    ("face_adapter.", "Wan-Animate, which takes a face"),
    ("face_encoder.", "Wan-Animate, which takes a face"),
    ("motion_encoder.", "Wan-Animate, which takes motion"),
    ("pose_patch_embedding.", "Wan-Animate, which takes poses"),
    ("casual_audio_encoder.", "a speech-to-video model (S2V), which takes sound"),
    ("audio_injector.", "a speech-to-video model (S2V), which takes sound"),
    ("audio_proj.", "an audio-driven model, which takes sound"),
    ("audio_cross_attn.", "an audio-driven model, which takes sound"),
    ("img_emb.emb_pos", "a first-and-last-frame model (FLF2V), which takes two pictures"),
    ("condition_embedder.image_embedder.pos_embed", "a first-and-last-frame model (FLF2V)"),
    ("fps_embedding.", "SkyReels-V2, which is told its frame rate"),
    ("cam_encoder.", "a model that is steered by a camera (ReCamMaster)"),
)
_MASK = 4
_OTHERS = (
    (("token_embedding.", "shared.", "encoder.block.", "text_model."), "a text encoder", "text"),
    (("encoder.", "decoder."), "a video codec (VAE)", "codec.folder"),
    (("visual.", "vision_model."), "an image encoder (CLIP)", ""),
    (("double_blocks.", "transformer_blocks.", "input_blocks.", "joint_blocks."), "", ""),
)


def refuse_other_transformer(state: Mapping[str, Tensor], source: str | Path) -> None:
    """Refuse transformers of Wan's family that take more than text, noise and one picture.

    Args:
        state: under Wan's names.
        source: for the message.

    Raises:
        CheckpointError: names the kind of model.
    """
    for mark, kind in _TRANSFORMERS:
        if marked := [name for name in state if name.startswith(mark) or f".{mark}" in name]:
            raise CheckpointError(f"{source} is {kind} (it holds {some(marked)}); {_OR_GIVE}")
    takes, makes = channels(state)
    if takes not in (makes, 2 * makes + _MASK):
        raise CheckpointError(
            f"{source} is a control model (such as Fun-Control) or of another kind: it takes "
            f"{takes} channels to make {makes}; {_OR_GIVE}"
        )


def channels(state: Mapping[str, Tensor]) -> tuple[int, int]:
    """How many channels a transformer takes and makes; equal where its head does not say."""
    patches, head = state["patch_embedding.weight"], state.get("head.head.weight")
    takes = patches.shape[1] if patches.ndim > 1 else 0
    if head is None or head.ndim != 2 or patches.ndim != 5 or not patches.numel():
        return takes, takes
    return takes, len(head) // patches[0, 0].numel()


def not_a_transformer(names: Iterable[str], source: str | Path) -> CheckpointError:
    """What to say of a file without a transformer of Wan's architecture."""
    names = list(names)
    if any("_flat_param" in name for name in names):
        return CheckpointError(
            f"{source} holds weights that FSDP flattened; save it with a full state dict "
            "(torch.distributed.checkpoint.state_dict, full_state_dict=True)"
        )
    for marks, kind, group in _OTHERS:
        if any(mark in f".{name}" for mark in (f".{entry}" for entry in marks) for name in names):
            kind = kind or "a transformer of another architecture than Wan's"
            hint = f"; it belongs to {group}" if group else ""
            return CheckpointError(f"{source} is {kind} (it holds {some(names)}){hint}; {_GIVE}")
    return CheckpointError(
        f"{source} holds no transformer of Wan's architecture: patch_embedding.weight is not among "
        f"its {len(names)} tensors ({some(names) or 'none'}); {_GIVE}"
    )
