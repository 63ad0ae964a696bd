"""A folder of real videos as an endless stream of clips that a resumed run continues exactly."""

import hashlib
import warnings
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any

from lightning import LightningDataModule
from torch.utils.data import DataLoader, Dataset, IterableDataset, get_worker_info

from cf.data.clips import Batch, Clip, Clips, Source, collate, listing, split, survey


class VideoFolder(LightningDataModule):
    """Clips of the videos in a folder and the folders inside it.

    Training never ends: batch `n` on rank `r` of `w` holds the samples from (n w + r) x batch_size
    on, and each follows from its number and the seed. So the number of workers does not change
    what is seen, and a run that was killed continues with the very next sample. Validation takes
    other files, split by name, and the same clips every time, whatever the seed.

    Files that cannot be used are left out; one warning at the end names them with the reason.

    Attributes:
        folder: where the videos are; a .txt file beside a video, of the same name, is its prompt.
        clip_frames: frames of a clip.
        fps: frames per second of a clip, whatever the file's own rate.
        size: height and width in pixels, which frames are scaled to cover and cropped to.
        val_fraction: part of the files kept for validation, at least one; 0 for none.
        val_clips: clips of a validation pass.
        cache_bytes: decoded frames that training, and likewise validation, may keep in memory per
            process; 0 decodes every time.
    """

    def __init__(
        self,
        folder: str | Path,
        clip_frames: int = 24,
        fps: float = 8.0,
        size: Sequence[int] = (32, 32),
        batch_size: int = 8,
        num_workers: int = 0,
        val_fraction: float = 0.1,
        val_clips: int = 16,
        seed: int = 0,
        cache_bytes: int = 2**29,
    ) -> None:
        super().__init__()
        if min(clip_frames, fps, batch_size, val_clips, *size) <= 0 or len(size) != 2:
            raise ValueError(
                "clip_frames, fps, batch_size, val_clips and both sides of size are positive; got "
                f"{clip_frames}, {fps}, {batch_size}, {val_clips} and {tuple(size)}"
            )
        if not 0 <= val_fraction < 1:
            raise ValueError(f"val_fraction lies in [0, 1); got {val_fraction}")
        self.folder = Path(folder)
        self.clip_frames, self.fps, self.size = clip_frames, fps, (size[0], size[1])
        self.batch_size, self.num_workers, self.seed = batch_size, num_workers, seed
        self.val_fraction, self.val_clips, self.cache_bytes = val_fraction, val_clips, cache_bytes
        self.train_sources: list[Source] = []
        self.val_sources: list[Source] = []
        self._unusable: dict[str, str] = {}
        self._damaged: dict[str, str] = {}
        self._resume: dict[str, Any] | None = None
        self._offset = 0

    def setup(self, stage: str | None = None) -> None:
        """Look at every file once.

        Raises:
            ValueError: the folder is missing or nothing in it can be used; says what to do.
        """
        if self.train_sources:
            return
        sources, self._unusable = survey(
            self.folder, self.clip_frames, self.fps, progress=self._rank == 0
        )
        self.train_sources, self.val_sources = split(sources, self.val_fraction)
        if self.train_sources == self.val_sources:
            warnings.warn(
                f"{self.folder} holds one usable video, {sources[0].name}: validation uses the "
                "file that is trained on and cannot show overfitting; add a second video",
                stacklevel=2,
            )

    def train_dataloader(self) -> DataLoader[Batch]:
        """Batches without end, from the first one that no training step has consumed."""
        clips = self._clips(self.train_sources, self.seed)
        stream = _Stream(clips, self.batch_size, self._rank, self._ranks)
        return _StreamLoader(stream, self._consumed, self.num_workers)

    def val_dataloader(self) -> DataLoader[Clip] | list[Any]:
        """The same clips every time."""
        if not self.val_sources:
            return []
        clips = _Fixed(self._clips(self.val_sources, seed=0), self.val_clips)
        return DataLoader(clips, self.batch_size, num_workers=self.num_workers, collate_fn=collate)

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Note the files that turned out to be damaged, wherever a worker met them."""
        if isinstance(batch, dict):
            self._damaged.update(batch.get("failures", {}))
        return batch

    def teardown(self, stage: str | None = None) -> None:
        """Warn once of every file that was not used or only in part."""
        failures = {**(self._unusable if self._rank == 0 else {}), **self._damaged}
        self._unusable, self._damaged = {}, {}
        if failures:
            warnings.warn(
                f"{len(failures)} videos in {self.folder} were left out or used only in part:\n"
                f"{listing(failures)}",
                stacklevel=2,
            )

    def state_dict(self) -> dict[str, Any]:
        """How many batches each process has trained on, and of which files."""
        return {"batches": self._consumed(), "files": self._fingerprint()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue after the batches of a checkpoint."""
        self._resume = dict(state_dict)

    def _consumed(self) -> int:
        """Batches that training has finished with; what workers hold ready does not count."""
        processed = 0
        if self.trainer is not None:
            progress: Any = self.trainer.fit_loop.epoch_loop.batch_progress
            processed = progress.total.processed
        if self._resume is not None:
            self._offset = int(self._resume["batches"]) - processed
            if self._resume["files"] != self._fingerprint():
                warnings.warn(
                    f"the videos in {self.folder} or the way they are sampled have changed since "
                    "the checkpoint; the run goes on, with other clips than it would have seen",
                    stacklevel=2,
                )
            self._resume = None
        return processed + self._offset

    def _fingerprint(self) -> str:
        """Equal where the same number means the same clip."""
        files = [(source.name, source.pictures) for source in self.train_sources]
        sampling = (self.seed, self.fps, self.clip_frames, self.batch_size, self._ranks)
        return hashlib.sha256(repr((files, sampling)).encode()).hexdigest()

    def _clips(self, sources: Sequence[Source], seed: int) -> Clips:
        share = self.cache_bytes // max(1, self.num_workers)
        return Clips(sources, self.clip_frames, self.fps, self.size, seed, share)

    @property
    def _rank(self) -> int:
        return 0 if self.trainer is None else self.trainer.global_rank

    @property
    def _ranks(self) -> int:
        return 1 if self.trainer is None else self.trainer.world_size


class _Stream(IterableDataset[Batch]):
    """Whole batches from batch `first` on; each worker makes every `num_workers`-th of them."""

    def __init__(self, clips: Clips, batch_size: int, rank: int, ranks: int) -> None:
        self.clips, self.batch_size, self.rank, self.ranks = clips, batch_size, rank, ranks
        self.first = 0

    def __iter__(self) -> Iterator[Batch]:
        worker = get_worker_info()
        offset, step = (0, 1) if worker is None else (worker.id, worker.num_workers)
        for batch in count(self.first + offset, step):
            number = (batch * self.ranks + self.rank) * self.batch_size
            yield collate([self.clips[number + j] for j in range(self.batch_size)])


class _StreamLoader(DataLoader[Batch]):
    """Starts at the batch that is due when it is asked to, not when it is made."""

    def __init__(self, stream: _Stream, due: Callable[[], int], num_workers: int) -> None:
        super().__init__(stream, batch_size=None, num_workers=num_workers)
        self.stream, self.due = stream, due

    def __iter__(self) -> Any:
        self.stream.first = self.due()
        return super().__iter__()


class _Fixed(Dataset[Clip]):
    """The first `length` clips; Lightning shares them among processes."""

    def __init__(self, clips: Clips, length: int) -> None:
        self.clips, self.length = clips, length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Clip:
        return self.clips[index]
