"""Prompts alone, without video: what a distillation on rollouts from noise is trained with."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NotRequired, TypedDict

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from cf.bounds import check_above
from cf.data.order import ShuffledOrder
from cf.data.prompt_list import prompts_of
from cf.data.shard_index import TEXTS
from cf.data.shards import ShardFolder, padded_states
from cf.data.stream import EndlessData


class PromptBatch(TypedDict):
    """What a step receives where there is no video.

    Attributes:
        text: states of the prompts, zero beyond the last token; left out where the training
            encodes them.
        number: each prompt's place in the sequence, counted over all processes.
    """

    prompt: list[str]
    text: NotRequired[Float[Tensor, "b s d"]]
    number: Int[Tensor, " b"]


class PromptData(EndlessData):
    """Prompts of a list, or of a folder in which `python -m cf.prepare` has encoded them.

    Every prompt comes once in an epoch, however many processes and workers there are.

    Attributes:
        file: a list of prompts (txt, csv, tsv, json, jsonl, yaml), which the training encodes; each
            text of one with several counts.
        folder: in its place, a prepared folder, or the address of one in an object store.
        clip_frames, fps, size: of the videos that the network makes, as other data have them.
        cache_gb: of an object store, gigabytes that are kept on this machine.
    """

    def __init__(
        self,
        file: str | None = None,
        folder: str | None = None,
        clip_frames: int = 24,
        fps: float = 8.0,
        size: Sequence[int] = (32, 32),
        batch_size: int = 8,
        num_workers: int = 0,
        cache_gb: float = 64.0,
        seed: int = 0,
    ) -> None:
        super().__init__(num_workers)
        if (file is None) == (folder is None):
            raise ValueError(
                "one of two must be given: data.file=LIST, whose prompts the training encodes, or "
                "data.folder=FOLDER, in which python -m cf.prepare has encoded them"
            )
        check_above(0, batch_size=batch_size, clip_frames=clip_frames, fps=fps)
        self.file, self.folder, self.cache_bytes = file, folder, int(cache_gb * 1e9)
        self.clip_frames, self.fps, self.size = clip_frames, fps, (size[0], size[1])
        self.batch_size, self.seed = batch_size, seed
        self._prompts: list[str] = []
        self._shards: ShardFolder | None = None

    def setup(self, stage: str | None = None) -> None:
        """Read the list.

        Raises:
            ValueError: it cannot be read, or holds no prompt.
        """
        if self._prompts:
            return
        if self.file is not None:
            self._prompts = read_texts(self.file, "data.file")
            return
        assert self.folder is not None
        self._shards = ShardFolder(self.folder, self.cache_bytes)
        self._prompts = [""] * int(self._shards.index.made.get("prompts", 0))
        if not self._prompts or not self._shards.count(TEXTS):
            raise ValueError(
                f"{self.folder} holds no encoded prompts; prepare it with text=umt5 and a list "
                "(prompts_file=LIST), or give data.file=LIST"
            )

    def maker(self) -> Callable[[list[int]], PromptBatch]:
        """Takes the prompts of training."""
        order = ShuffledOrder([np.arange(len(self._prompts))], self.seed)
        return _PromptReader(order, self._prompts, self._shards)

    def identity(self) -> object:
        """The prompts and how they are sampled."""
        content = self._prompts if self._shards is None else self._shards.index.texts
        return hashlib.sha256(repr(content).encode()).hexdigest(), len(self._prompts), self.seed

    def val_dataloader(self) -> list[Any]:
        """None: there is no video to compare with."""
        return []


def read_texts(file: str, setting: str) -> list[str]:
    """The texts of a list of prompts in their order, each once.

    Args:
        file: the list.
        setting: that names it, for messages.

    Raises:
        ValueError: it cannot be read, or holds no prompt.
    """
    return list(
        dict.fromkeys(text for prompt in prompts_of(file, setting) for _, text in prompt.script)
    )


@dataclass
class _PromptReader:
    """Makes batches of the prompts with given numbers."""

    order: ShuffledOrder
    prompts: list[str] = field(repr=False)
    shards: ShardFolder | None

    def __call__(self, numbers: list[int]) -> PromptBatch:
        places = [self.order.place(number) for number in numbers]
        if self.shards is None:
            return PromptBatch(
                prompt=[self.prompts[place] for place in places], number=torch.tensor(numbers)
            )
        texts = [self.shards.text(place) for place in places]
        return PromptBatch(
            prompt=[text.prompt for text in texts],
            text=padded_states([text.states for text in texts], self.shards.index.text_shape),
            number=torch.tensor(numbers),
        )
