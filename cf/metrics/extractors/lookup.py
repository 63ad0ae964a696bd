"""Where published weights may lie on this machine; nothing here reaches for the network."""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from cf.files.home import expanded
from cf.files.user_cache import cache_home
from cf.metrics.extractors.registry import PublishedWeights, entry

ROOT = "CF_WEIGHTS"
"""The environment variable that names the folder of weights."""


class MissingWeightsError(FileNotFoundError, ValueError):
    """Published weights are not on this machine; says where they were looked for, and the remedy.

    Attributes:
        name: of the weights.
    """

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name


class WeightsLocation(NamedTuple):
    """A file that may be there."""

    kind: str
    path: Path


@dataclass(frozen=True)
class Found:
    """A file of weights on this machine.

    Attributes:
        kind: of the place where it was found.
        sha256: of its content.
        verified: whether this is known to be the published file.
    """

    entry: PublishedWeights
    path: Path
    kind: str
    sha256: str
    verified: bool


def root() -> Path:
    """The folder of weights: $CF_WEIGHTS, or one in the user's cache."""
    return expanded(os.environ.get(ROOT) or Path.home() / ".cache" / "cf")


def places(name: str) -> Iterator[WeightsLocation]:
    """Every file that would do, best first."""
    published = entry(name)
    for file in published.files:
        yield WeightsLocation(
            f"${ROOT}" if os.environ.get(ROOT) else "cf cache", root() / name / file
        )
    if published.hugging_face is not None:
        for folder in _snapshots(published.hugging_face):
            for file in published.hugging_face_files:
                yield WeightsLocation("Hugging Face cache", folder / file)
    torch_home = os.environ.get("TORCH_HOME") or cache_home() / "torch"
    yield WeightsLocation(
        "torch hub", expanded(torch_home) / "hub" / "checkpoints" / published.file
    )
    if name.startswith("clip"):
        yield WeightsLocation("clip cache", Path.home() / ".cache" / "clip" / published.file)
    if published.package is not None and (inside := _inside(published.package)) is not None:
        yield WeightsLocation("package", inside / published.file)
    if published.vbench is not None:
        vbench = os.environ.get("VBENCH_CACHE_DIR") or Path.home() / ".cache" / "vbench"
        yield WeightsLocation("VBench cache", expanded(vbench) / published.vbench)


def find(name: str, weights: str | Path | None = None) -> Found:
    """The file of that name on this machine.

    Args:
        name: of an entry of the registry.
        weights: the file itself, or its folder; then nowhere else is looked.

    Raises:
        MissingWeightsError: if it is nowhere.
        ValueError: if a file of the published name is not the published file.
    """
    published = entry(name)
    candidates = list(places(name)) if weights is None else _given(published, expanded(weights))
    for kind, path in candidates:
        if path.is_file():
            digest = sha256(path)
            verified = is_published(published, digest)
            if (
                not verified
                and weights is None
                and path.name == published.file
                and published.sha256
            ):
                raise ValueError(
                    f"{path} is not the published {published.file}: its SHA-256 is {digest}, not "
                    f"{published.sha256}; delete it and run `{published.remedy}`, or give "
                    "it as weights= to use it all the same"
                )
            return Found(published, path, kind, digest, verified)
    looked = "\n  ".join(str(path) for _, path in candidates)
    raise MissingWeightsError(
        name,
        f"the weights {name} ({published.source}) are not on this machine. Looked for\n  {looked}\n"
        f"Run `{published.remedy}`, or set ${ROOT}, or give weights=<file>.",
    )


def is_published(one: PublishedWeights, digest: str) -> bool:
    """Whether a hash is that of the published file, as far as it is known."""
    return one.sha256 is not None and digest.startswith(one.sha256)


def sha256(path: Path) -> str:
    """Of a file, remembered while its size and time stay the same."""
    state = path.stat()
    return _sha256(str(path), state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=64)
def _sha256(path: str, size: int, time: int) -> str:
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _given(published: PublishedWeights, path: Path) -> list[WeightsLocation]:
    if path.is_dir():
        return [WeightsLocation("given", path / file) for file in published.files]
    return [WeightsLocation("given", path)]


def _inside(package: str) -> Path | None:
    """A folder of an installed package, none of whose code is run."""
    name, *rest = package.split("/")
    spec = find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0], *rest)


def _snapshots(repository: str) -> list[Path]:
    """Of a Hugging Face repository: that of its main branch, or the only one."""
    home = expanded(os.environ.get("HF_HOME") or cache_home() / "huggingface")
    hub = expanded(os.environ.get("HF_HUB_CACHE") or home / "hub")
    folder = hub / f"models--{repository.replace('/', '--')}"
    main = folder / "refs" / "main"
    if main.is_file():
        return [folder / "snapshots" / main.read_text().strip()]
    snapshots = sorted((folder / "snapshots").glob("*"))
    return snapshots if len(snapshots) == 1 else [folder / "snapshots" / "main"]
