"""Trajectories of a teacher on disk: each sample a file, made once, checked whenever it is read."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from cf.distillation.start import RealClips
from cf.files.atomic import replacing, write_text
from cf.files.text import read_json_file
from cf.types import Conditioning

Solve = Callable[[RealClips], tuple[RealClips, Tensor]]
"""Samples -> these as they are to be seen, and their states, (b, states, f, c, h, w)."""
_ABOUT = "about.json"
_HEADER = 2**16
"""Bytes of a file besides its tensors' own, at most."""


@dataclass(frozen=True)
class Trajectories:
    """The first `count` samples of the data, with the states of a teacher's ODE.

    A file holds all that training needs of a sample, so that any run of the same teacher, data and
    steps may take it up, in batches of any size, on any number of processes.

    Attributes:
        folder: holds them, and what they are of.
        most_gb: of all together.
    """

    folder: str
    count: int
    most_gb: float

    def prepare(self, about: dict[str, Any]) -> None:
        """Say what they are of, or see that they are of the same.

        Raises:
            ValueError: if they are of another teacher, other data or other steps, or after rollouts
                of another student.
        """
        file = Path(self.folder) / _ABOUT
        if file.is_file() and read_json_file(file) != json.loads(json.dumps(about)):
            raise ValueError(
                f"{self.folder} holds trajectories of another teacher or student, other data or "
                "other steps; give another start.by.dirpath, or delete it"
            )
        if not file.is_file():
            write_text(file, json.dumps(about))

    def of(self, clips: RealClips, states: int, solve: Solve) -> tuple[RealClips, Tensor]:
        """A batch's samples with their states: kept ones, or those that are due to be made.

        Args:
            clips: a batch of the data; beyond the first `count` samples others take their place.
            states: how many a trajectory has.
            solve: makes them of some samples.

        Raises:
            ValueError: if a file is damaged or gone, or all of them would be too large.
        """
        numbers = [number % self.count for number in clips.samples]
        due = [
            i
            for i, number in enumerate(numbers)
            if number == clips.samples[i] and not self._file(number).is_file()
        ]
        # All samples of a step are of this number or above: beyond `count` nobody need be asked.
        first = clips.number * len(clips.samples)
        if first < self.count and _on_any_process(bool(due), clips.latents.device):
            self._check_size(clips, states)
            # Shards are gathered by all processes together: those that need none solve as well.
            some, solved = solve(clips.only(due or [0]))
            for at, i in enumerate(due):
                self._write(numbers[i], {**_tensors(some, at), "states": solved[at]})
            _on_any_process(False, clips.latents.device)  # what others wrote is about to be read
        device = clips.latents.device
        read = [self._read(number, clips, states) for number in numbers]
        batch = {name: torch.stack([row[name] for row in read]).to(device) for name in read[0]}
        solutions, latents = batch.pop("states"), batch.pop("latents")
        return clips._replace(latents=latents, cond=Conditioning(**batch)), solutions

    def _file(self, number: int) -> Path:
        return Path(self.folder) / f"{number:08d}.safetensors"

    def _check_size(self, clips: RealClips, states: int) -> None:
        size = self.count * (_bytes(clips, states) + _HEADER)
        if size > self.most_gb * 1e9:
            raise ValueError(
                f"start.by.count={self.count} trajectories take {size / 1e9:.3g} GB, more than "
                f"start.by.most_gb={self.most_gb:g}; lower the first or raise the second"
            )

    def _write(self, number: int, tensors: dict[str, Tensor]) -> None:
        stored = {name: x.detach().cpu().contiguous() for name, x in tensors.items()}
        with replacing(self._file(number)) as path:
            save_file(stored, path, {"sha256": _digest(stored)})

    def _read(self, number: int, clips: RealClips, states: int) -> dict[str, Tensor]:
        """A sample's tensors, none larger than those of the batch at hand."""
        file = self._file(number)
        again = f"delete {self.folder}, and train anew"
        if not file.is_file():
            raise ValueError(f"{file} is gone, and its sample is long past; {again}")
        if file.stat().st_size > _bytes(clips, states) + _HEADER:
            raise ValueError(f"{file} is larger than a trajectory of these clips; {again}")
        try:
            with safe_open(file, "pt") as opened:
                metadata = opened.metadata() or {}
                tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            raise ValueError(f"{file} cannot be read ({error}); {again}") from None
        wanted = {"states", *_tensors(clips, 0)}
        if metadata.get("sha256") != _digest(tensors) or set(tensors) != wanted:
            raise ValueError(f"{file} is damaged: it is not what was written; {again}")
        return tensors


def _on_any_process(flag: bool, device: torch.device) -> bool:
    """Whether it is so in this process or in another of the training."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return flag
    total = torch.tensor(int(flag), device=device)
    torch.distributed.all_reduce(total, torch.distributed.ReduceOp.MAX)
    return bool(total)


def _tensors(clips: RealClips, sample: int) -> dict[str, Tensor]:
    """What is kept of a sample besides its states."""
    conditions = {name: x[sample] for name, x in vars(clips.cond).items() if x is not None}
    return {"latents": clips.latents[sample], **conditions}


def _bytes(clips: RealClips, states: int) -> int:
    """Of the tensors of one sample."""
    sizes = {name: x.nbytes for name, x in _tensors(clips, 0).items()}
    return sum(sizes.values()) + states * sizes["latents"]


def _digest(tensors: dict[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        x = tensors[name].contiguous()
        digest.update(f"{name} {x.dtype} {tuple(x.shape)}".encode())
        digest.update(x.flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
