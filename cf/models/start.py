"""A network that begins from weights on disk, told by their hash."""

import copy
import hashlib
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from cf.files.shipped import shipped
from cf.models.base import Backbone
from cf.models.checkpoints import load_weights
from cf.models.headers import other_orders
from cf.models.stored import CheckpointError, absent
from cf.models.update_scale import adapter_config
from cf.models.updates import Lora, LoraFile, lora_files
from cf.models.writer import filled_backbone

_SUFFIXES = (".safetensors", ".pt", ".pth", ".bin", ".gguf")
_AT_ONCE = 2**24


def with_weights(
    network: Backbone,
    path: str | None = None,
    sha256: str | None = None,
    container: str | None = None,
    lora: str | dict[str, Any] | Sequence[Any] | None = None,
    lora_alpha: float | None = None,
    required: bool = False,
) -> Backbone:
    """The network with the weights in `path`, or as it was built if there is none.

    Args:
        network: takes the weights.
        path: a run's folder, an export, published weights of Wan2.1's architecture, or a network
            of the package (`shipped:NAME`).
        sha256: what `fingerprint` said of them when the run began.
        container: which of the networks in a `.pt` file.
        lora: files of low-rank updates to merge, as `load_weights` takes them.
        lora_alpha: their alpha, where they have none of their own.
        required: refuse a missing path.

    Raises:
        ValueError: if a path is required and missing.
        CheckpointError: if they are missing, damaged, do not fit, or are others than they were.
    """
    if path is None:
        if required:
            raise ValueError("path must be given: a run's folder, or published weights")
        return network
    if sha256 is not None and not is_same(path, sha256, lora, lora_alpha):
        raise CheckpointError(
            f"{path} holds other weights than when this run began; put those back, or start a new "
            "run"
        )
    path, networks = shipped(path), list[Backbone]()

    def make() -> Backbone:
        networks.append(copy.deepcopy(network) if networks else network)
        return networks[-1]

    return filled_backbone(make, load_weights(path, container, lora, lora_alpha), path)


def fingerprint(path: str | Path, lora: Lora = None, lora_alpha: float | None = None) -> str:
    """SHA-256 of a file of weights, or of all such files in a folder, by name; of LoRAs as well.

    It also tells at what strength LoRAs are merged, and PEFT's settings beside them.

    Raises:
        CheckpointError: if there is nothing to tell.
    """
    digests = _digests(path)
    digests += sorted(map(fingerprint_of_update, lora_files(lora, lora_alpha)))
    return digests[0] if len(digests) == 1 else _hash("".join(digests))


def is_same(
    path: str | Path, sha256: str, lora: Lora = None, lora_alpha: float | None = None
) -> bool:
    """Whether weights are those of which `fingerprint` said this.

    In exports of earlier versions metadata stands in an order of chance, which does not count.

    Raises:
        CheckpointError: if there is nothing to tell.
    """
    if fingerprint(path, lora, lora_alpha) == sha256:
        return True
    files = _weights_of(path)
    updates = sorted(map(fingerprint_of_update, lora_files(lora, lora_alpha)))
    if len(files) != 1 or files[0].suffix != ".safetensors":
        return False
    for begin, at in other_orders(files[0]):
        with files[0].open("rb") as stream:
            stream.seek(at)
            digest = hashlib.sha256(begin)
            while part := stream.read(_AT_ONCE):
                digest.update(part)
        digests = [digest.hexdigest(), *updates]
        if sha256 == (digests[0] if len(digests) == 1 else _hash("".join(digests))):
            return True
    return False


def _digests(path: str | Path) -> list[str]:
    return [_digest(f, f.stat().st_mtime_ns, f.stat().st_size) for f in _weights_of(path)]


def fingerprint_of_update(file: LoraFile) -> str:
    """Of a file of updates and all else that decides what it does."""
    digests = _digests(file.path)
    config = adapter_config(Path(file.path))
    how = [] if file.strength == 1 else [f"strength {file.strength!r}"]
    how += [] if file.alpha is None else [f"alpha {file.alpha!r}"]
    how += [] if config is None else [hashlib.sha256(config.read_bytes()).hexdigest()]
    digests += how
    return digests[0] if len(digests) == 1 else _hash("".join(digests))


def _weights_of(path: str | Path) -> list[Path]:
    root = Path(shipped(str(path)))
    if not root.exists():
        raise absent(path)
    files = [root] if root.is_file() else sorted(root.rglob("*"))
    weights = [file for file in files if file.suffix in _SUFFIXES or file == root]
    files = [file for file in weights if file.is_file()]
    if not files:
        raise CheckpointError(f"{path} holds no weights; give a run's folder or a file of weights")
    if root.is_file() and root.suffix == ".json":  # an index: its shards lie beside it
        files += _weights_of(root.parent)
    return files


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@lru_cache(maxsize=64)
def _digest(file: Path, changed: int, size: int) -> str:
    """Of one file; teacher, critic and student often begin from the same large ones."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
