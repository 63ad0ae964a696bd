"""A rollout that goes on from step to step, up to a length, under prompts that change."""

from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from cf.distillation.base import Batch, Stretch, TrainingRollout
from cf.distillation.rollout_length import drawn
from cf.models.base import Backbone
from cf.rollout.state import Rolled, RolloutState, plain, rebuilt
from cf.rollout.switch import PromptChange, Switch
from cf.types import Conditioning, Latents


@dataclass
class Video:
    """A video that is being made, between two steps.

    Attributes:
        cond, samples: of the batch that it began with; a later prompt takes the text's place.
        past: its frames so far.
        state: what the student remembers of them, as the weights of then wrote it.
        switch_at: the frame from which it follows another prompt; None: it keeps its own.
    """

    cond: Conditioning
    samples: tuple[int, ...]
    past: Latents
    state: RolloutState
    switch_at: int | None


@dataclass
class Persistent(TrainingRollout):
    """LongLive's streaming long tuning (https://arxiv.org/abs/2509.22622).

    The first step of a video makes `window_frames` frames (21), every later one adds as many less
    `overlap_frames` (18), over a past that is a constant, and scores the last `window_frames`. A
    video ends where the next step would lead beyond `length`: 21, 39, ... 237 of 240. Updates of
    the critic take it further as those of the student do.

    Attributes:
        overlap_frames: of a later window, those that the step before made; they carry no gradient.
        first_gradient: whether the first window of a video is trained on, or made alone.
        switch: what becomes of the memory at a new prompt; None: a video keeps its prompt. With
            it, each video takes the text of a later batch once, at the start of a window that at
            least one more follows.
    """

    keeps = True

    overlap_frames: int = 3
    switch: Switch | None = None
    _video: Video | None = field(default=None, init=False, repr=False)
    _loaded: dict[str, Any] = field(default_factory=dict, init=False, repr=False)
    _coming: Video | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        block, window = self.rollout.block_frames, self.window_frames
        if window is None:
            raise ValueError(
                "training_rollout=persistent scores windows of one length; give "
                "module.window_frames (LongLive: 21)"
            )
        if not 0 <= self.overlap_frames < window or self.overlap_frames % block:
            raise ValueError(
                f"training_rollout.overlap_frames={self.overlap_frames} must be whole blocks of "
                f"{block} frames and fewer than module.window_frames={window}"
            )
        first, self.first_gradient = self.first_gradient, True
        super().__post_init__()
        self.first_gradient = first
        if self.switch is not None:
            least = self.lead + self.prefix_blocks[0] * block
            self.switch.check(self.rollout, self.lengths(least, self.longest)[:-2])

    @property
    def more(self) -> int:
        """Frames that a later step adds."""
        assert self.window_frames is not None
        return self.window_frames - self.overlap_frames

    def lengths(self, given: int, most: int) -> range:
        """A video's lengths after each of its steps.

        >>> from cf.distillation.rollout_length import Length
        >>> from cf.memory import Full
        >>> from cf.rollout.blockwise import Rollout
        >>> made = Persistent(Rollout(Full()), Length(240, 240), 21, [0, 0])
        >>> list(made.lengths(0, 240))[::4]
        [21, 93, 165, 237]
        """
        first = given + (self.window_frames or 0)
        return range(first, max(most, first) + 1, self.more)

    @override
    def begin(self, student: Backbone, batch: Batch, step: int, exits: bool) -> Stretch:
        if self._loaded:
            self._resumed(self._loaded, student.device)
            self._loaded = {}
        video, most = self._video, self.lead + self.length.bound(step)
        fresh = video is None or video.past.shape[1] + self.more > most
        if video is None or fresh:
            video = self._begun(student, batch, most)
            if not self.first_gradient:
                video, fresh = self._led(student, video), False
        if not fresh:
            video = self._switched(student, video, batch)
        assert self.window_frames is not None
        frames = self.window_frames if fresh else self.more
        self._coming = video
        uncond = batch.uncond and replace(video.cond, text=batch.uncond.text)
        return Stretch(
            self.rollout,
            self.rollout.noise(student, self.seed, video.samples),
            *(video.cond, uncond, batch.samples, video.past, video.state),
            *(frames, self.window_frames, frames),
            self.exit_step(batch, exits),
            seen=0 if fresh else video.past.shape[1],
        )

    @override
    def finish(self, stretch: Stretch, rolled: Rolled) -> None:
        assert self._coming is not None
        self._video = _longer(self._coming, rolled)

    @override
    def state_dict(self) -> dict[str, Any]:
        if self._video is None:
            return self._loaded
        cond = dict(vars(self._video.cond))
        return {**vars(self._video), "cond": cond, "state": plain(self._video.state)}

    @override
    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._loaded = state  # where the student will be is not known yet

    def _resumed(self, state: dict[str, Any], device: torch.device) -> None:
        values = {name: _moved(value, device) for name, value in state.items()}
        values |= {"cond": Conditioning(**values["cond"]), "state": rebuilt(state["state"], device)}
        self._video = Video(**values)

    def _begun(self, student: Backbone, batch: Batch, most: int) -> Video:
        self.check(batch)
        if self.switch is not None and batch.cond.text is None:
            raise ValueError(
                "training_rollout.switch changes prompts, and there is no text here; set it to null"
            )
        noise = self.rollout.noise(student, self.seed, batch.samples)
        prefix = self.given(most, batch)
        # The last one that is followed by another, and before it: 21, 39, ... 201 of 240 frames.
        places = self.lengths(prefix, most)[:-2]
        at = None
        if self.switch is not None and places:
            at = places[drawn(len(places), self.seed, 3, batch.number)]
        past, state = self.remembered(student, batch, noise, prefix)
        return Video(batch.cond, batch.samples, past, state, at)

    @torch.no_grad()
    def _led(self, student: Backbone, video: Video) -> Video:
        """The video with its first window, every step taken."""
        noise = self.rollout.noise(student, self.seed, video.samples)
        frames = self.window_frames or 0
        rolled = self.rollout(student, noise, video.cond, frames=frames, state=video.state)
        return _longer(video, rolled)

    @torch.no_grad()
    def _switched(self, student: Backbone, video: Video, batch: Batch) -> Video:
        """The video under the prompt that is due."""
        if video.switch_at is None or video.past.shape[1] < video.switch_at:
            return video
        assert self.switch is not None
        cond = replace(video.cond, text=batch.cond.text)
        noise = self.rollout.noise(student, self.seed, video.samples)
        change = PromptChange(self.rollout, student, noise, cond, video.state)
        return replace(video, cond=cond, state=self.switch(change), switch_at=None)


def _longer(video: Video, rolled: Rolled) -> Video:
    frames = torch.cat((rolled.past, rolled.window), 1).detach()
    return replace(video, past=torch.cat((video.past, frames), 1), state=rolled.state.detached())


def _moved(value: Any, device: torch.device) -> Any:
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, dict):
        return {name: _moved(item, device) for name, item in value.items()}
    return tuple(value) if isinstance(value, list) else value
