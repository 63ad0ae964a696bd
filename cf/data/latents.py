"""Clips of latents that `cf.prepare` made, as an endless stream that a resumed run continues."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, NotRequired, TypedDict

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor
from torch.utils.data import DataLoader

from cf.bounds import check_least
from cf.data.order import ShuffledOrder, held_out
from cf.data.shards import DamagedSample, ShardFolder, StoredClip, padded_states
from cf.data.sources import listing
from cf.data.stream import EndlessData
from cf.types import Latents

_ATTEMPTS = 20
_FPS_ERROR = 1e-6


class LatentBatch(TypedDict):
    """What a step receives in place of a `cf.data.clips.ClipBatch`.

    Attributes:
        text: states of the prompts, zero beyond the last token; left out where none were made.
        picture: with which each clip begins, as bytes; left out where none were kept.
        name: the video of each clip.
        start: seconds at which each clip begins in it.
        number: each clip's place in the sequence, counted over all processes.
        failures: samples that turned out to be damaged, with the reason.
    """

    latents: Latents
    text: NotRequired[Float[Tensor, "b s d"]]
    picture: NotRequired[UInt8[Tensor, "b 3 h w"]]
    name: list[str]
    start: Float[Tensor, " b"]
    prompt: list[str]
    number: Int[Tensor, " b"]
    failures: dict[str, str]


class _Read(NamedTuple):
    clip: StoredClip
    states: Float[Tensor, "s d"] | None
    failures: dict[str, str]


class LatentFolder(EndlessData):
    """Clips of a folder that `python -m cf.prepare` made.

    Every clip of training comes once in an epoch, however many processes and workers there are.
    Validation takes the clips of other videos, split by name as `cf.data.videos` splits them, and
    the same ones every time. A sample whose numbers are damaged is replaced by another, chosen by
    its number; one warning at the end names it.

    Attributes:
        folder: a path, or the address of an object store (`s3://...`), of which files are kept in
            the user's cache.
        clip_frames: pixel frames of a clip, at most those that were prepared; None: all.
        fps: frames per second, as they were prepared; None: whatever that was.
        size: height and width in pixels, likewise.
        latent_shape: channels, height and width that the network takes; None: not compared.
        mix_shards: files whose clips are shuffled together, which bounds how many are needed at a
            time; 0: all.
        cache_gb: of an object store, gigabytes that are kept on this machine.
        val_fraction: part of the videos kept for validation, at least one; 0 for none.
        val_clips: clips of a validation pass.
    """

    def __init__(
        self,
        folder: str,
        clip_frames: int | None = None,
        fps: float | None = None,
        size: Sequence[int] | None = None,
        latent_shape: Sequence[int] | None = None,
        batch_size: int = 8,
        num_workers: int = 0,
        mix_shards: int = 0,
        cache_gb: float = 64.0,
        val_fraction: float = 0.1,
        val_clips: int = 16,
        seed: int = 0,
    ) -> None:
        super().__init__(num_workers)
        check_least(1, clip_frames=clip_frames, batch_size=batch_size, val_clips=val_clips)
        check_least(0, mix_shards=mix_shards, cache_gb=cache_gb)
        if not 0 <= val_fraction < 1:
            raise ValueError(f"val_fraction lies in [0, 1); got {val_fraction}")
        self.folder, self.clip_frames, self.fps, self.size = str(folder), clip_frames, fps, size
        self.latent_shape, self.batch_size, self.seed = latent_shape, batch_size, seed
        self.mix_shards, self.cache_bytes = mix_shards, int(cache_gb * 1e9)
        self.val_fraction, self.val_clips = val_fraction, val_clips
        self._damaged: dict[str, str] = {}
        self._shards: ShardFolder | None = None
        self._train: list[Any] = []
        self._val: Any = np.zeros(0, np.int64)

    @property
    def shards(self) -> ShardFolder:
        """The folder, opened.

        Raises:
            ValueError: it is no prepared folder, or one of other clips than the settings say.
        """
        if self._shards is None:
            self._shards = ShardFolder(self.folder, self.cache_bytes)
            self._compare(self._shards.index.made, self._shards.index.shape)
        return self._shards

    @property
    def frames(self) -> int:
        """Latent frames of a clip."""
        spec = self.shards.index.made
        stride = int(spec["time_stride"])
        return 1 + (int(self.clip_frames or spec["clip_frames"]) - 1) // stride

    def setup(self, stage: str | None = None) -> None:
        """Read the index and split training from validation.

        Raises:
            ValueError: it is no prepared folder, or one of other clips than the settings say.
        """
        if self._train:
            return
        names = self.shards.sources()
        train_names, out = held_out(sorted(set(names)), self.val_fraction)
        if train_names == out:
            warnings.warn(
                f"{self.folder} holds clips of one video, {names[0]}: validation uses what is "
                "trained on and cannot show overfitting; prepare a second video",
                stacklevel=2,
            )
        first = 0
        for shard in self.shards.index.latents:
            places = np.arange(first, first + shard.count)
            first += shard.count
            self._train.append(places[[names[i] in train_names for i in places]])
        self._val = np.array([i for i, name in enumerate(names) if name in out], np.int64)

    def maker(self) -> Callable[[list[int]], LatentBatch]:
        """Reads the clips of training."""
        return _Reader(
            self.shards, ShuffledOrder(self._train, self.seed, self.mix_shards), self.frames
        )

    def identity(self) -> object:
        """The files and how they are sampled."""
        hashes = [(shard.sha256, shard.count) for shard in self.shards.index.latents]
        return hashes, self.seed, self.mix_shards, self.val_fraction, self.frames

    def val_dataloader(self) -> DataLoader[LatentBatch] | list[Any]:
        """The same clips every time."""
        if not len(self._val):
            return []
        reader = _Reader(self.shards, ShuffledOrder([self._val]), self.frames)
        return self.validated(reader, self.val_clips)

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Latents in float32; damaged samples are noted, wherever a worker met them."""
        if isinstance(batch, dict):
            batch = {**batch, "latents": batch["latents"].float()}
            self._damaged.update(batch.get("failures", {}))
        return batch

    def teardown(self, stage: str | None = None) -> None:
        """Warn once of every sample that was damaged."""
        damaged, self._damaged = self._damaged, {}
        if damaged:
            warnings.warn(
                f"{len(damaged)} samples of {self.folder} were damaged and others were taken:\n"
                f"{listing(damaged)}\nMend them by the command that made the folder, with "
                "verify=true",
                stacklevel=2,
            )

    def _compare(self, spec: dict[str, Any], shape: tuple[int, ...]) -> None:
        """Raise a ValueError unless the folder holds what the settings say."""
        if not shape:
            raise ValueError(f"{self.folder} holds prompts alone; give data=prompts")
        wanted = self.clip_frames
        if wanted is not None and (
            wanted > int(spec["clip_frames"]) or (wanted - 1) % int(spec["time_stride"])
        ):
            raise ValueError(
                f"data.clip_frames={wanted}: the clips of {self.folder} were prepared with "
                f"clip_frames={spec['clip_frames']}, of which the first 1 + n x "
                f"{spec['time_stride']} can be taken; null takes all"
            )
        if self.fps is not None and abs(self.fps - float(spec["fps"])) > _FPS_ERROR:
            raise ValueError(
                f"data.fps={self.fps:g}: {self.folder} was prepared with fps={spec['fps']:g}"
            )
        if self.size is not None and list(self.size) != list(spec["size"]):
            raise ValueError(
                f"data.size={list(self.size)}: {self.folder} was prepared with size={spec['size']}"
            )
        if self.latent_shape is not None and tuple(self.latent_shape) != shape[1:]:
            raise ValueError(
                f"model.latent_shape={list(self.latent_shape)}: the latents of {self.folder} are "
                f"{list(shape[1:])}; give that shape, or prepare with the network's codec and size"
            )


@dataclass
class _Reader:
    """Makes batches of the samples with given numbers."""

    shards: ShardFolder
    order: ShuffledOrder
    frames: int

    def __call__(self, numbers: list[int]) -> LatentBatch:
        samples = [self.read(number) for number in numbers]
        clips = [sample.clip for sample in samples]
        batch = LatentBatch(
            latents=torch.stack([clip.latents for clip in clips]),
            name=[clip.source for clip in clips],
            start=torch.tensor([clip.start for clip in clips]),
            prompt=[clip.prompt for clip in clips],
            number=torch.tensor(numbers),
            failures={name: why for sample in samples for name, why in sample.failures.items()},
        )
        states = [sample.states for sample in samples if sample.states is not None]
        if states:
            batch["text"] = padded_states(states, self.shards.index.text_shape)
        if pictures := [clip.picture for clip in clips if clip.picture is not None]:
            batch["picture"] = torch.stack(pictures)
        return batch

    def read(self, number: int) -> _Read:
        """Sample `number`; another one, chosen by the same number, where that is damaged."""
        failures: dict[str, str] = {}
        for attempt in range(_ATTEMPTS):
            try:
                clip = self.shards.clip(self.order.place(number, attempt), self.frames)
                states = None if clip.text is None else self.shards.text(clip.text).states
                return _Read(clip, states, failures)
            except DamagedSample as error:
                failures[error.name] = error.reason
        raise ValueError(
            f"{_ATTEMPTS} samples in a row of {self.shards.folder} could not be read:\n"
            f"{listing(failures)}\nCheck that the folder is still there; the command that made it "
            f"mends it, with verify=true"
        )
