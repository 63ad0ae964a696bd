"""Videos of texts: prompt lists as they are published, or of one's own, with switches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cf.bench.tasks.base import Sample, Task, VideoSpec
from cf.data.prompt_list import Prompt, prompts_of
from cf.files.counts import so_many


@dataclass(frozen=True)
class Prompts(Task):
    """Videos of the prompts in a file.

    The file is VBench's json (`prompt_en` or `prompt`), plain text (a prompt a line, without
    comments), csv or tsv (a column `prompt` or `text`, and perhaps `prompt_id`), or jsonl or yaml
    (`text`, or `segments` of `[seconds, text]`). A prompt that comes twice is taken once. `image`,
    a path seen from the list, is the picture with which the video of a prompt begins.

    Attributes:
        file: where the list is.
        count: how many are drawn from it, with a fixed seed; None: all.
        seeds: each prompt is made once for each.
        fps, size: that every contestant must have; None: that which they have in common.
    """

    file: str
    count: int | None = None
    draw_seed: int = 0
    seeds: Sequence[int] = (0,)
    fps: float | None = None
    size: Sequence[int] | None = None

    def __post_init__(self) -> None:
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"asked.seeds={list(self.seeds)} must name at least one, each once")
        if (self.fps is None) != (self.size is None):
            raise ValueError(
                f"asked.fps={self.fps} and asked.size={self.size}: give both, or neither"
            )
        if self.fps is not None and self.size is not None:
            sides = len(self.size) == 2 and min(self.size) > 0
            if not (sides and 0 < self.fps < float("inf")):
                raise ValueError(
                    f"asked.fps={self.fps} and asked.size={list(self.size)} must be a rate above 0 "
                    f"and a height and a width in pixels"
                )

    def items(self) -> list[Sample]:
        """Prompts in the order of the file, seeds within.

        Raises:
            ValueError: if the file holds fewer prompts than are asked for.
        """
        return [
            Sample(
                f"{prompt.name}-{seed}",
                prompt.name,
                seed,
                prompt.script,
                identity=prompt.identity,
                image=prompt.image,
            )
            for prompt in self.drawn()
            for seed in self.seeds
        ]

    def drawn(self) -> list[Prompt]:
        """The prompts of the file, or `count` of them, drawn with `draw_seed`.

        Raises:
            ValueError: if the file holds fewer.
        """
        prompts = prompts_of(self.file)
        if self.count is not None:
            if not 0 < self.count <= len(prompts):
                raise ValueError(
                    f"{self.file} holds {so_many(len(prompts), 'prompt')}, of which "
                    f"count={self.count} cannot be drawn; give a count between 1 and {len(prompts)}"
                )
            drawn = np.random.default_rng(self.draw_seed).choice(
                len(prompts), self.count, replace=False
            )
            prompts = [prompts[i] for i in sorted(drawn)]
        for prompt in prompts:
            if prompt.image and not Path(prompt.image).is_file():
                raise ValueError(
                    f"{prompt.where}: there is no picture {prompt.image}; a path is seen from the "
                    f"list"
                )
        return prompts

    def terms(self) -> VideoSpec | None:
        """As configured."""
        if self.fps is None or self.size is None:
            return None
        return VideoSpec(self.fps, (self.size[0], self.size[1]))
