"""Downloads of published weights, on demand only: whole and checked, or not there at all."""

import hashlib
import os
import tempfile
import urllib.error
import urllib.request
from http.client import HTTPException
from pathlib import Path
from typing import BinaryIO

from tqdm import tqdm

from cf.metrics.extractors.lookup import ROOT, is_published, root, sha256
from cf.metrics.extractors.registry import entry

_CHUNK = 1 << 20


class FetchError(OSError):
    """Weights could not be fetched; nothing was left behind."""


def fetch_extractor(name: str, timeout: float = 30.0) -> Path:
    """Bring the weights of that name into the folder of weights, unless they are there.

    They come into a partial file, which gets its name only when all of it has come and its hash is
    the published one, where that is known.

    Raises:
        FetchError: if the transfer breaks, the hash is wrong, the folder cannot be written to, or
            the file lies in a package.
    """
    weights = entry(name)
    target = root() / name / weights.file
    if target.is_file() and (weights.sha256 is None or is_published(weights, sha256(target))):
        return target
    if weights.url is None:
        raise FetchError(f"{name} lies in a package: {weights.remedy}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, partial = tempfile.mkstemp(".part", f"{weights.file}.", target.parent)
    except OSError as error:
        raise FetchError(
            f"{target.parent} cannot be written to ({error}); set ${ROOT} to a folder that can"
        ) from error
    try:
        with os.fdopen(handle, "wb") as file:
            digest = _transfer(weights.url, file, timeout)
        if weights.sha256 is not None and not is_published(weights, digest):
            raise FetchError(
                f"{weights.url} sent a file whose SHA-256 is {digest}, not {weights.sha256}; it "
                "was thrown away. Try again, or get the file elsewhere"
            )
        Path(partial).chmod(0o644)
        Path(partial).replace(target)
    finally:
        Path(partial).unlink(missing_ok=True)
    return target


def _transfer(url: str, file: BinaryIO, timeout: float) -> str:
    digest, came, name = hashlib.sha256(), 0, Path(url).name
    try:
        with urllib.request.urlopen(url, timeout=timeout) as answer:
            size = int(answer.headers.get("Content-Length") or 0)
            bar = tqdm(total=size or None, desc=name, unit="B", unit_scale=True, leave=False)
            with bar:
                while chunk := answer.read(_CHUNK):
                    file.write(chunk)
                    digest.update(chunk)
                    came += len(chunk)
                    bar.update(len(chunk))
    except (urllib.error.URLError, HTTPException, TimeoutError, ConnectionError) as error:
        raise FetchError(f"{url} could not be fetched ({error}); try again") from error
    except OSError as error:
        raise FetchError(f"{name} could not be written ({error})") from error
    if size and came != size:
        raise FetchError(f"{url} broke off after {came} of {size} bytes; try again")
    return digest.hexdigest()
