"""A folder of real videos as an endless stream of clips that a resumed run continues exactly."""

import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader

from cf.data.captions import uncaptioned
from cf.data.clips import ClipBatch, Clips, collate
from cf.data.sources import Cuts, Source, listing, split, survey
from cf.data.stream import EndlessData
from cf.files.counts import so_many


class VideoFolder(EndlessData):
    """Clips of the videos in a folder and the folders inside it.

    Training never ends; each clip follows from its number and the seed. Validation takes other
    files, split by name, and the same clips every time, whatever the seed.

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
        cuts: "split" finds cuts (TransNetV2, extra `cuts`) and keeps clips within shots; "keep"
            takes videos as they are.
        pictures_fps: frames per second of folders of numbered pictures, each of which is a video;
            None: none is expected.
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
        cuts: Cuts = "keep",
        pictures_fps: float | None = None,
    ) -> None:
        super().__init__(num_workers)
        if min(clip_frames, fps, batch_size, val_clips, *size) <= 0 or len(size) != 2:
            raise ValueError(
                "clip_frames, fps, batch_size, val_clips and both sides of size are positive; got "
                f"{clip_frames}, {fps}, {batch_size}, {val_clips} and {tuple(size)}"
            )
        if not 0 <= val_fraction < 1:
            raise ValueError(f"val_fraction lies in [0, 1); got {val_fraction}")
        if pictures_fps is not None and not 0 < pictures_fps <= 1000:
            raise ValueError(f"pictures_fps lies in (0, 1000]; got {pictures_fps}")
        if not str(folder):
            raise ValueError("data.folder must be a path, got ''")
        self.folder = Path(folder)
        self.clip_frames, self.fps, self.size = clip_frames, fps, (size[0], size[1])
        self.batch_size, self.seed = batch_size, seed
        self.val_fraction, self.val_clips, self.cache_bytes = val_fraction, val_clips, cache_bytes
        self.cuts, self.pictures_fps = cuts, pictures_fps
        self.train_sources: list[Source] = []
        self.val_sources: list[Source] = []
        self._unusable: dict[str, str] = {}
        self._damaged: dict[str, str] = {}

    def prepare_data(self) -> None:
        """The first process of each machine measures files; the others read what it found."""
        self.setup()

    def setup(self, stage: str | None = None) -> None:
        """Look at every file once.

        Raises:
            ValueError: the folder is missing or nothing in it can be used; says what to do.
            ImportError: cuts are to be found and TransNetV2 is not installed.
        """
        if self.train_sources:
            return
        sources, self._unusable = survey(
            self.folder,
            self.clip_frames,
            self.fps,
            progress=self._rank == 0,
            cuts=self.cuts,
            pictures_fps=self.pictures_fps,
        )
        self.train_sources, self.val_sources = split(sources, self.val_fraction)
        if self.train_sources == self.val_sources:
            warnings.warn(
                f"{self.folder} holds one usable video, {sources[0].name}: validation uses the "
                "file that is trained on and cannot show overfitting; add a second video",
                stacklevel=2,
            )

    @property
    def uncaptioned(self) -> str:
        """That videos lack captions, for networks that read text; empty if none does."""
        return uncaptioned({source.name: source.prompt for source in self.train_sources})

    def maker(self) -> Callable[[list[int]], ClipBatch]:
        """Reads the clips of training."""
        return partial(_batch, self._clips(self.train_sources, self.seed))

    def identity(self) -> object:
        """Files and how they are sampled."""
        files = [(source.name, source.pictures, *source.shots) for source in self.train_sources]
        return files, self.seed, self.fps, self.clip_frames

    def val_dataloader(self) -> DataLoader[ClipBatch] | list[Any]:
        """The same clips every time."""
        if not self.val_sources:
            return []
        clips = self._clips(self.val_sources, seed=0)
        return self.validated(partial(_batch, clips), self.val_clips)

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Bytes as pixels in [0, 1]; damaged files are noted, wherever a worker met them."""
        if isinstance(batch, dict):
            if batch["video"].dtype == torch.uint8:
                batch = {**batch, "video": batch["video"].float() / 255}
            self._damaged.update(batch.get("failures", {}))
        return batch

    def teardown(self, stage: str | None = None) -> None:
        """Warn once of every file that was not used or only in part."""
        failures = {**(self._unusable if self._rank == 0 else {}), **self._damaged}
        self._unusable, self._damaged = {}, {}
        if failures:
            count = so_many(len(failures), "video")
            warnings.warn(
                f"{count} of {self.folder} left out or used only in part:\n{listing(failures)}",
                stacklevel=2,
            )

    def _clips(self, sources: Sequence[Source], seed: int) -> Clips:
        share = self.cache_bytes // max(1, self.num_workers)
        return Clips(sources, self.clip_frames, self.fps, self.size, seed, share)


def _batch(clips: Clips, numbers: list[int]) -> ClipBatch:
    return collate([clips[number] for number in numbers])
