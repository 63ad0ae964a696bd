"""A network that begins from weights on disk, told by their hash."""

import hashlib
from functools import lru_cache
from pathlib import Path

from cf.models.base import Backbone
from cf.models.checkpoints import load_into, load_weights
from cf.models.weight_files import CheckpointError

_SUFFIXES = (".safetensors", ".pt", ".pth", ".bin")


def with_weights(
    network: Backbone,
    path: str | None = None,
    sha256: str | None = None,
    container: str | None = None,
    lora: str | None = None,
    required: bool = False,
) -> Backbone:
    """The network with the weights in `path`, or as it was built if there is none.

    Args:
        network: takes the weights.
        path: a run's folder, an export, or published weights of Wan2.1's architecture.
        sha256: what `fingerprint` said of them when the run began.
        container: which of the networks in a `.pt` file.
        lora: a file of low-rank updates to merge.
        required: refuse a missing path.

    Raises:
        ValueError: if a path is required and missing.
        CheckpointError: if they are missing, damaged, do not fit, or are others than they were.
    """
    if path is None:
        if required:
            raise ValueError(
                "start.teacher.path must be given: a run's folder or published weights"
            )
        return network
    if sha256 is not None and fingerprint(path, lora) != sha256:
        raise CheckpointError(
            f"{path} holds other weights than when this run began; put those back, or start a new "
            "run"
        )
    load_into(network, load_weights(path, container, lora), path)
    return network


def fingerprint(path: str | Path, lora: str | Path | None = None) -> str:
    """SHA-256 of a file of weights, or of all such files in a folder, by name; of a LoRA as well.

    Raises:
        CheckpointError: if there is nothing to tell.
    """
    root = Path(path)
    files = [root] if root.is_file() else sorted(root.rglob("*"))
    files = [file for file in files if file.is_file() and file.suffix in _SUFFIXES]
    if not files:
        raise CheckpointError(f"{path} holds no weights; give a run's folder or a file of weights")
    digests = [_digest(file, file.stat().st_mtime_ns, file.stat().st_size) for file in files]
    if lora is not None:
        digests.append(fingerprint(lora))
    return (
        digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()
    )


@lru_cache(maxsize=64)
def _digest(file: Path, changed: int, size: int) -> str:
    """Of one file; teacher, critic and student often begin from the same large ones."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
