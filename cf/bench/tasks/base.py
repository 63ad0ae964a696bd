"""The contract of tasks: the videos that every contestant makes, from prompts or worlds."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

from torch import Tensor

from cf.files.naming import number_of

if TYPE_CHECKING:
    from cf.data.world.base import Film

SLACK = 32
"""Frames for which control is drawn beyond the last, so that the end is as any other place."""


@dataclass(frozen=True)
class Sample:
    """A video that every contestant makes.

    Attributes:
        key: its name in files and tables; never a prompt, which may be too long for a file.
        prompt: which prompt or world; the unit of statistics. Seeds of one are averaged.
        script: seconds and the text that holds from then on; the first is 0.
        world: number of the drawn world, None if the text is all there is.
        training: which of a method's trainings makes it; None: it was trained once.
        identity: from which its numbers, and so its noise, follow; empty: its names.
        seconds: at which it ends, if before the longest duration that is asked for.
        image: file of the picture with which it begins; empty: it begins with nothing.
    """

    key: str
    prompt: str
    seed: int
    script: tuple[tuple[float, str], ...]
    world: int | None = None
    training: int | None = field(default=None, compare=False)
    identity: str = ""
    seconds: float | None = None
    image: str = ""

    def by(self, training: int | None) -> Sample:
        """The same, as one of a method's trainings makes it.

        What the first of them makes has the plain name, so that it stands beside all others.
        """
        key = f"{self.key}+{training}" if training else self.key
        return replace(self, key=key, training=training)

    @property
    def video_id(self) -> int:
        """A whole number for metrics, the same for all contestants."""
        if not self.identity:
            return number_of(self.key)
        return number_of(
            f"{self.identity}-{self.seed}" + (f"+{self.training}" * bool(self.training))
        )

    @property
    def prompt_id(self) -> int:
        """Likewise, of the prompt."""
        return number_of(self.identity or self.prompt)

    def acts(self) -> list[PromptSegment]:
        """The script as metrics are told it: a text that is the first has the prompt's number."""
        first = self.script[0][1]
        return [
            PromptSegment(at, self.prompt_id if text == first else number_of(f"text\n{text}"), text)
            for at, text in self.script
        ]


class PromptSegment(NamedTuple):
    """A text, the seconds from which it holds, and its number for metrics."""

    seconds: float
    prompt_id: int
    text: str


@dataclass(frozen=True)
class VideoSpec:
    """Frame rate and size of a video; contestants are compared on equal ones.

    Attributes:
        block_frames: pixel frames that come at once; None: not known.
        attended: latent frames that are attended, the own block included; None: not known, or all.
    """

    fps: float
    size: tuple[int, int]
    block_frames: int | None = None
    attended: int | None = None


@dataclass(frozen=True)
class Request:
    """One video to be made, with all that a contestant may know.

    Attributes:
        frames: in all, the given ones included.
        given: real frames at the beginning.
        film: the world as it really is, for its control and its first frames; contestants that
            are no oracle look at nothing else of it. Whoever wants pictures paints them, so that
            an hour of them is never held.
        others: all videos that are asked for, this one among them; empty: not known.
    """

    item: Sample
    terms: VideoSpec
    frames: int
    given: int = 0
    film: Film | None = None
    others: tuple[Sample, ...] = ()

    def script(self) -> list[tuple[int, str]]:
        """The texts and the frames from which they hold, of those that begin before the end."""
        begins = [(round(seconds * self.terms.fps), text) for seconds, text in self.item.script]
        return [(at, text) for at, text in begins if at < self.frames]


@dataclass(frozen=True)
class Known:
    """What is known of some frames of a take: for metrics that compare with the truth."""

    reference: Tensor | None = None
    truth: dict[str, Tensor] = field(default_factory=dict)


class Task(ABC):
    """Which videos are asked for."""

    @abstractmethod
    def items(self) -> list[Sample]:
        """All of them, in order."""

    def terms(self) -> VideoSpec | None:
        """Frame rate and size that are asked for; None leaves them to the contestants."""
        return None

    @property
    def control_width(self) -> int | None:
        """Numbers by which the camera is told of in each frame; None: there is none."""
        return None

    def given_frames(self, item: Sample, fps: float) -> int:
        """Real frames at the beginning of a video."""
        return 0

    def film(self, item: Sample, frames: int) -> Film | None:
        """The true video and its control, if there is one."""
        return None

    def known(self, film: Film | None, given: int, start: int, stop: int) -> Known:
        """What is known of the frames from `start` to `stop`; the first `given` were shown."""
        return Known()

    def known_names(self) -> list[str]:
        """What is known of each frame: the truths' names, and the true frames if they are known."""
        first = self.items()[0]
        facts = self.known(self.film(first, 1 + SLACK), 1, 0, 1)
        return [*facts.truth, *(["reference"] if facts.reference is not None else [])]


def texts_by_prompt(items: Iterable[Sample]) -> dict[int, str]:
    """Every text that a video is made for, by its prompt's number."""
    return {act.prompt_id: act.text for item in items for act in item.acts() if act.text}
