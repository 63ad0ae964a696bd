"""Videos of a prompt that another one interrupts: what comes back when the prompt does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cf.bench.tasks.base import Sample
from cf.bench.tasks.prompts import Prompts

LAGS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)


@dataclass(frozen=True)
class PromptReturns(Prompts):
    """Texts A, B and A again: A is each prompt of a list, B the one after it.

    The last prompt is followed by the first. All videos of a prompt and seed have the same noise,
    so that they begin alike and differ in how long B lasts. Each ends when A is over.

    Attributes:
        seeds: two or more, since what other seeds make of A is what a video is compared with.
        before, after: seconds of A, before B and again.
        lags: seconds of B, one video for each.
    """

    seeds: Sequence[int] = (0, 1)
    before: float = 8.0
    after: float = 6.0
    lags: Sequence[float] = LAGS

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.seeds) < 2:
            raise ValueError(
                f"asked.seeds={list(self.seeds)}: give two or more, since a prompt's videos of "
                f"other seeds say how alike its text alone makes them"
            )
        if min(self.before, self.after, *self.lags, 1.0) <= 0 or not self.lags:
            raise ValueError(
                f"asked.before={self.before}, asked.after={self.after} and asked.lags="
                f"{list(self.lags)} must be seconds above 0"
            )
        if len(set(self.lags)) < len(self.lags):
            raise ValueError(f"asked.lags={list(self.lags)} must name each once")

    def items(self) -> list[Sample]:
        """Prompts in the order of the file, seeds and then lags within.

        Raises:
            ValueError: if there are fewer than two texts.
        """
        prompts = self.drawn()
        if len({prompt.script[0][1] for prompt in prompts}) < 2:
            raise ValueError(f"{self.file}: a prompt needs another one to interrupt it; give two")
        samples = []
        for i, prompt in enumerate(prompts):
            prompt_text = prompt.script[0][1]
            later = (prompts[(i + j) % len(prompts)].script[0][1] for j in range(1, len(prompts)))
            interruption = next(text for text in later if text != prompt_text)
            for seed in self.seeds:
                for lag in self.lags:
                    back = self.before + lag
                    script = ((0.0, prompt_text), (self.before, interruption), (back, prompt_text))
                    name, end = f"{prompt.name}-{lag:g}s-{seed}", back + self.after
                    samples.append(Sample(name, prompt.name, seed, script, seconds=end))
        return samples
