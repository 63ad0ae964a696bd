"""What a process of a preparation does: encodes the clips or texts of a file, and writes it."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from cf.data.shards import file_hash, tensor_hash, write_shard
from cf.files.atomic import write_text
from cf.models.pretrained import parse_dtype
from cf.preparation.planned import PlannedClip, PlannedFile
from cf.settings.build import Settings, build
from cf.video.reader import UnreadableVideo, read_frames

if TYPE_CHECKING:
    from jaxtyping import UInt8
    from torch import Tensor

    from cf.models.codec import Codec
    from cf.models.text import TextEncoder

_maker: ShardMaker | None = None


def begin(
    settings: Settings, folder: Path, devices: Sequence[str], threads: int, number: int
) -> None:
    """Get ready in a process of its own; nothing is loaded before it is needed."""
    global _maker
    torch.set_num_threads(threads)
    _maker = ShardMaker(settings, folder, devices[number % len(devices)])


def make(planned: PlannedFile) -> dict[str, Any]:
    """Make a file in a process that has begun."""
    assert _maker is not None
    return _maker.make(planned)


@dataclass
class ShardMaker:
    """Encodes and writes files; one of its networks is loaded at a time.

    A file and its receipt (`NAME.json`) follow from the plan alone, so that it is equal whoever
    makes it. The receipt is written last: a file without one is made anew.

    Attributes:
        settings: of `cf.prepare`.
        folder: to write into.
    """

    settings: Settings
    folder: Path
    device: str
    _loaded: tuple[str, Any, str] = field(default=("", None, ""), init=False, repr=False)

    def make(self, planned: PlannedFile) -> dict[str, Any]:
        """Make a file; what its receipt says."""
        with torch.inference_mode():
            work = self._texts if planned.kind == "texts" else self._latents
            receipt = {**work(planned), "kind": planned.kind}
        write_text(self.folder / f"{planned.name}.json", json.dumps(receipt, ensure_ascii=False))
        return receipt

    def _network(self, group: str) -> tuple[Any, str]:
        """The codec or the text encoder, and the hash of its weights."""
        if self._loaded[0] != group:
            self._loaded = "", None, ""  # the other leaves the memory first
            network = build(self.settings[group], group).requires_grad_(False).eval()
            if group == "text":
                network.cut = True  # as in training; the receipt tells of each that was cut
            self._loaded = group, network.to(self.device), parameters_hash(network)
        return self._loaded[1:]

    def _texts(self, planned: PlannedFile) -> dict[str, Any]:
        encoder: TextEncoder
        encoder, weights = self._network("text")
        tensors, samples, left_out, shape = {}, [], dict[str, str](), (0, 0)
        for place, text in enumerate(planned.work):
            with warnings.catch_warnings(record=True) as said:
                warnings.simplefilter("always")
                states = encoder.encode([text])
            assert states is not None
            shape = (int(states.shape[1]), int(states.shape[2]))
            filled = states[0].ne(0).any(-1).nonzero()
            text_state = states[0, : int(filled.max()) + 1 if len(filled) else 0].cpu().contiguous()
            tensors[str(place)] = text_state
            left_out |= {f"prompt {text[:60]!r}": str(warning.message) for warning in said}
            samples.append({"prompt": text, "sha256": tensor_hash(text_state)})
        written = self._written(planned, tensors, samples)
        return {**written, "weights": weights, "shape": shape, "left_out": left_out}

    def _latents(self, planned: PlannedFile) -> dict[str, Any]:
        codec: Codec
        codec, weights = self._network("codec")
        number = parse_dtype(self.settings["dtype"])
        latents, samples, left_out = [], [], dict[str, str]()
        pictures: list[Tensor] = []
        for clip, frames in self._read(planned.work):
            at = clip.first / self.settings["fps"]
            if isinstance(frames, str):
                left_out.setdefault(clip.source, f"from {at:.2f} s: {frames}")
                continue
            video = frames[None].to(self.device).float() / 255
            latents.append(codec.encode(video)[0].to(number).cpu())
            details = {"source": clip.source, "start": at, "prompt": clip.prompt, "text": clip.text}
            samples.append({**details, "sha256": tensor_hash(latents[-1])})
            if self.settings["pictures"]:
                pictures.append(frames[0])
                samples[-1]["picture_sha256"] = tensor_hash(frames[0])
        tensors = {"latents": torch.stack(latents)} if latents else {}
        tensors |= {"pictures": torch.stack(pictures)} if pictures else {}
        sources = [
            (name, len(list(clips)))
            for name, clips in groupby(sample["source"] for sample in samples)
        ]
        receipt = {**self._written(planned, tensors, samples), "sources": sources}
        shape = list(latents[0].shape) if latents else []
        summary = {"weights": weights, "shape": shape, "left_out": left_out}
        return {**receipt, **summary, "time_stride": codec.time_stride}

    def _read(
        self, clips: Sequence[PlannedClip]
    ) -> Iterator[tuple[PlannedClip, UInt8[Tensor, "t 3 h w"] | str]]:
        """Pictures of clips, or why there are none; the next are read while these are encoded."""
        with ThreadPoolExecutor(1) as pool:
            waiting = [pool.submit(self._pictures, clip) for clip in clips[:1]]
            for at, clip in enumerate(clips):
                waiting += [
                    pool.submit(self._pictures, following) for following in clips[at + 1 : at + 2]
                ]
                yield clip, waiting.pop(0).result()

    def _pictures(self, clip: PlannedClip) -> UInt8[Tensor, "t 3 h w"] | str:
        frames, fps = self.settings["clip_frames"], self.settings["fps"]
        height, width = self.settings["size"]
        try:
            return read_frames(clip.path, clip.first / fps, frames, fps, (height, width))
        except UnreadableVideo as error:
            return error.reason

    def _written(
        self, planned: PlannedFile, tensors: dict[str, Tensor], samples: list[dict[str, Any]]
    ) -> dict[str, Any]:
        if not samples:
            return {"file": "", "count": 0, "size": 0, "sha256": "", "sources": []}
        file = f"{planned.name}.safetensors"
        size, sha256 = write_shard(self.folder / file, tensors, samples)
        receipt = {"file": file, "count": len(samples), "size": size, "sha256": sha256}
        return {**receipt, "sources": []}


def parameters_hash(network: torch.nn.Module) -> str:
    """SHA-256 of all parameters and buffers by name, on whichever device."""
    digest = hashlib.sha256()
    for name, weight in sorted(network.state_dict().items()):
        digest.update(f"{name} {tuple(weight.shape)} {weight.dtype}".encode())
        numbers = weight.detach().cpu().contiguous().flatten()
        digest.update(numbers.view(torch.uint8).numpy().data)
    return digest.hexdigest()


def receipt_of(folder: Path, name: str, verify: bool) -> dict[str, Any] | None:
    """What a file's receipt says; None if the file has to be made.

    Args:
        folder: of the preparation.
        name: of the file, without its suffix.
        verify: compare the file's hash, not its size alone.
    """
    try:
        said: dict[str, Any] = json.loads((folder / f"{name}.json").read_text("utf-8"))
        if not said["count"]:
            return said
        path = folder / f"{name}.safetensors"
        complete = path.stat().st_size == said["size"]
        return said if complete and (not verify or file_hash(path) == said["sha256"]) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
