"""Texts encoded before the network is loaded, and kept on disk, so that encoders need no room."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812  (its usual name)
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from cf.files.atomic import replacing
from cf.files.home import expanded
from cf.files.user_cache import user_cache
from cf.models.text import TextEncoder
from cf.settings.build import Settings, build

log = logging.getLogger("cf")
CACHE_BYTES = 10**9
UNBOUNDED = 2**63
_LISTED = 2000  # files of an encoder that are looked at
_OTHER_PARTS = ("transformer", "vae", "scheduler", "assets", "examples")


class TextCache:
    """States of texts in the user's cache, one file each, the least used let go first.

    Attributes:
        folder: where they lie; None: `cf/texts` in the user's cache.
        most: bytes of all files together.
    """

    def __init__(self, folder: Path | None = None, most: int = CACHE_BYTES) -> None:
        self.folder = folder or user_cache("texts")
        self.most = most

    def read(self, key: str) -> Tensor | None:
        """States of one text; None if there are none, or none that can be read."""
        file = self.folder / f"{key}.safetensors"
        try:
            with safe_open(file, "pt") as stored:
                length = int((stored.metadata() or {})["length"])
                states: Tensor = stored.get_tensor("states")
            if states.ndim != 2 or not states.shape[0] <= length <= 2**16:
                raise ValueError(f"states of shape {tuple(states.shape)}")
        except FileNotFoundError:
            return None
        except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
            log.warning("%s is damaged (%s) and made anew", file, str(error)[:100])
            return None
        with suppress(OSError):
            os.utime(file)
        return _whole(states, length)

    def has(self, key: str) -> bool:
        """Whether there are states of a text."""
        return (self.folder / f"{key}.safetensors").is_file()

    def write(self, key: str, states: Tensor) -> None:
        """Keep states of one text, without the zeros at their end."""
        tensors = {"states": _used(states).contiguous()}
        try:
            with replacing(self.folder / f"{key}.safetensors") as temporary:
                save_file(tensors, temporary, {"length": str(len(states))})
            self._bound()
        except OSError as error:
            log.warning("%s; the text is encoded again next time", error)

    def _bound(self) -> None:
        files = [(file.stat().st_mtime, file) for file in self.folder.glob("*.safetensors")]
        sizes = {file: file.stat().st_size for _, file in files}
        total = sum(sizes.values())
        for _, file in sorted(files):
            if total <= self.most:
                return
            file.unlink(missing_ok=True)
            total -= sizes[file]


class CachedText(TextEncoder):
    """An encoder that is built when a text is new to it, and let go of again.

    Each text is encoded alone, so that its states are the same whatever else is made.

    Attributes:
        settings: of the encoder.
        device: where texts are encoded until `release`; after it, on the CPU.
        dim: width of the states, as the network expects them.
    """

    def __init__(
        self, settings: Settings, device: torch.device, dim: int, cache: TextCache | None = None
    ) -> None:
        super().__init__()
        self.settings, self.place, self.dim = settings, device, dim
        self.cache = TextCache() if cache is None else cache
        self._kinds = [device.type]
        self._known: dict[str, tuple[Tensor, int]] = {}  # without the zeros at their end
        self._encoder: TextEncoder | None = None
        self._identity = identity(settings)

    def encode(self, prompts: Sequence[str]) -> Tensor:
        """States of each prompt, on the CPU."""
        return torch.cat([self._one(prompt)[None] for prompt in prompts])

    def lacking(self, prompts: Sequence[str]) -> list[str]:
        """Those that are not in the cache, each once."""
        cache = self.cache
        return [x for x in dict.fromkeys(prompts) if not any(map(cache.has, self._keys(x)))]

    @property
    def key(self) -> str:
        """Tells encoders apart."""
        return json.dumps([self._identity, self.dim])

    def keep(self, prompt: str) -> None:
        """Have the states of a prompt in the cache, and nowhere else."""
        if self.lacking([prompt]):
            self.cache.write(self._key(prompt, self.place.type), self._encoded(prompt))

    def release(self) -> None:
        """Let go of the encoder; a text that is new later is encoded on the CPU."""
        self._encoder, self.place = None, torch.device("cpu")
        self._kinds = list(dict.fromkeys([*self._kinds, "cpu"]))
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _one(self, prompt: str) -> Tensor:
        if prompt not in self._known:
            candidates = (self.cache.read(key) for key in self._keys(prompt))
            states = next((x for x in candidates if x is not None and x.shape[1] == self.dim), None)
            if states is None:
                states = self._encoded(prompt)
                self.cache.write(self._key(prompt, self.place.type), states)
            self._known[prompt] = _used(states).clone(), len(states)
        return _whole(*self._known[prompt])

    def _encoded(self, prompt: str) -> Tensor:
        if self._encoder is None:
            self._encoder = build(self.settings, "text").to(self.place)
        states = self._encoder.encode([prompt])
        assert states is not None
        return states[0].cpu()

    def _keys(self, prompt: str) -> list[str]:
        """Of what the first device made of it, and of what the CPU did after `release`."""
        return [self._key(prompt, kind) for kind in self._kinds]

    def _key(self, prompt: str, kind: str) -> str:
        return hashlib.sha256(json.dumps([self._identity, kind, prompt]).encode()).hexdigest()


def _used(states: Tensor) -> Tensor:
    """States without the zeros at their end."""
    used = states.abs().amax(1).nonzero()
    return states[: int(used[-1]) + 1 if len(used) else 1]


def _whole(states: Tensor, length: int) -> Tensor:
    return F.pad(states, (0, 0, 0, length - states.shape[0]))


def identity(settings: Settings) -> list[Any]:
    """What tells one encoder from another: its settings, and its files' names, sizes and times."""
    plain = {name: value for name, value in settings.items() if name != "folder"}
    return [json.dumps(plain, sort_keys=True, default=str), *_files(settings)]


def _files(settings: Settings) -> Iterator[list[Any]]:
    for value in settings.values():
        for place in value if isinstance(value, list | tuple) else [value]:
            root = expanded(place) if isinstance(place, str) else None
            if root is None or not root.exists():
                continue
            for file in [root] if root.is_file() else sorted(_own(root)):
                stat = file.stat()
                yield [str(file.relative_to(root.parent)), stat.st_size, stat.st_mtime_ns]


def _own(root: Path) -> list[Path]:
    """Files of a model's folder that may be an encoder's."""
    files = []
    for file in root.rglob("*"):
        if file.relative_to(root).parts[0] not in _OTHER_PARTS and file.is_file():
            files.append(file)
        if len(files) >= _LISTED:
            break
    return files
