"""Downloads of published weights by name: resumed where they broke off, and checked by hash."""

import logging
import shutil
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

from cf.metrics.extractors import fetch as extractors
from cf.metrics.extractors.fetch import FetchError
from cf.metrics.extractors.lookup import sha256
from cf.models.releases import gigabytes
from cf.models.repositories import RELEASES, ROOT, Release
from cf.weights.presets import needs_of, preset_names
from cf.weights.status import wanted_files

log = logging.getLogger("cf.weights")
_SPARE = 2**28  # bytes that a disk keeps


class Remote(NamedTuple):
    """A file of a repository.

    Attributes:
        sha256: of its content; empty where the repository does not say it.
    """

    path: str
    size: int
    sha256: str


def fetch_weights(name: str) -> list[Path]:
    """Bring the weights of a preset, a repository or an extractor to where they are looked for.

    Of a preset, what is there already stays.

    Raises:
        FetchError: if the transfer breaks, a hash is wrong, or the disk is too small.
        ImportError: if the extra `wan` is not installed.
        ValueError: if nothing has that name.
    """
    if name in RELEASES:
        release = RELEASES[name]
        return from_hub(release, [file.path for file in release.files])
    if name not in preset_names():
        return [extractors.fetch_extractor(name)]
    lacking = [need for need in needs_of(name)[name] if not need.there]
    wanted = wanted_files(lacking)
    return [path for release, files in wanted.items() for path in from_hub(release, files)]


def from_hub(release: Release, files: Sequence[str]) -> list[Path]:
    """Download files of a repository into `weights/`, each whole and of its published hash.

    Raises:
        FetchError: see `fetch`; what came before stands, and the same command goes on.
        ImportError: if `huggingface_hub` is not installed.
    """
    hub, folder = _hub(), Path(ROOT, release.folder)
    remote = _listed(hub, release, files)
    missing = sum(file.size for file in remote if not _whole(folder / file.path, file))
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if missing + _SPARE > free:
        raise FetchError(
            f"{release.repository} wants {gigabytes(missing)} more in {folder}, and "
            f"{gigabytes(free)} are free there; make room, or let {ROOT} be a link to a larger disk"
        )
    return [_one(hub, release, folder, file) for file in remote]


def _listed(hub: Any, release: Release, files: Sequence[str]) -> list[Remote]:
    """What the repository says of the files."""
    try:
        tree = list(hub.HfApi().list_repo_tree(release.repository, recursive=True))
    except (OSError, ValueError) as error:
        raise _broken(release, error) from error
    entries = [entry for entry in tree if getattr(entry, "size", None) is not None]
    for pattern in files:
        if not any(fnmatchcase(entry.path, pattern) for entry in entries):
            raise FetchError(
                f"{release.repository} has no file {pattern} any more; see what became of it at "
                f"https://huggingface.co/{release.repository}/tree/main"
            )
    matches = [
        entry for entry in entries if any(fnmatchcase(entry.path, pattern) for pattern in files)
    ]
    return [Remote(x.path, x.size, x.lfs.sha256 if x.lfs else "") for x in matches]


def _one(hub: Any, release: Release, folder: Path, remote: Remote) -> Path:
    published = release.file(remote.path).sha256 or ""
    wanted = remote.sha256 or published
    path = folder / remote.path
    if not _whole(path, remote):
        try:
            hub.hf_hub_download(release.repository, remote.path, local_dir=str(folder))
        except (OSError, ValueError) as error:
            raise _broken(release, error) from error
    digest = sha256(path) if wanted or published else ""
    if digest != wanted:
        path.unlink()
        raise FetchError(
            f"{release.repository} sent a {remote.path} whose SHA-256 is {digest}, not {wanted}; "
            "it was thrown away. Try again"
        )
    if published and digest != published:
        log.warning("%s is newer than the one that was known here (%s)", path, published[:12])
    return path


def _whole(path: Path, remote: Remote) -> bool:
    if not path.is_file() or path.stat().st_size != remote.size:
        return False
    return not remote.sha256 or sha256(path) == remote.sha256


def _broken(release: Release, error: Exception) -> FetchError:
    said = " ".join(str(error).split())[:300]
    return FetchError(
        f"{release.repository} could not be fetched ({said}); the same command goes on where it "
        "broke off. Where it asks for an account: hf auth login"
    )


def _hub() -> Any:
    try:
        import huggingface_hub
    except ImportError as error:
        raise ImportError(
            "downloads need huggingface_hub: pip install -e '.[wan]', or run the commands that "
            "`python -m cf.weights status` prints"
        ) from error
    return huggingface_hub
