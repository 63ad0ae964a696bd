"""Packed histories: the earlier frames that stand before a target in training and scoring."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812  (its usual name)
from torch import Tensor
from typing_extensions import override

from cf.bounds import check_least
from cf.models.base import Backbone
from cf.objectives.error_bank import ErrorRecycling
from cf.objectives.forcing import PretrainLoss
from cf.objectives.score import Clean, ScoreNetwork, after_clean
from cf.schedule import FlowSchedule
from cf.types import Conditioning, Latents, Loss, Times, wide


@dataclass(frozen=True)
class PackedLayout:
    """[sink | sparse | recent]: the clean frames that stand before a target, in latent frames.

    The defaults are those of Context Forcing's teacher (https://arxiv.org/abs/2602.06028, released
    code): 3 first frames, up to 12 of which each stands for 6, the 6 just before the target. With
    `growth` above 1 the distance between sparse frames grows with their age, as FramePack's history
    does (https://arxiv.org/abs/2504.12626), whose older frames are merged rather than left out.

    >>> PackedLayout().frames(start=60)
    (0, 1, 2, 6, 12, 18, 24, 30, 36, 42, 48, 54, 55, 56, 57, 58, 59)

    Attributes:
        sink_frames: first frames of the video.
        sparse_frames: most frames between these and the recent ones.
        recent_frames: frames just before the target.
        spacing: frames from one sparse frame to the next, and from the last to the recent ones.
        growth: a distance between sparse frames over the one after it.
    """

    sink_frames: int = 3
    sparse_frames: int = 12
    recent_frames: int = 6
    spacing: int = 6
    growth: float = 1.0

    def __post_init__(self) -> None:
        check_least(0, sink_frames=self.sink_frames, sparse_frames=self.sparse_frames)
        check_least(0, recent_frames=self.recent_frames)
        check_least(1, spacing=self.spacing, growth=self.growth)

    def frames(self, start: int) -> tuple[int, ...]:
        """The frames before a target that begins at frame `start`, each once, in order."""
        recent = max(start - self.recent_frames, 0)
        sink = min(self.sink_frames, recent)
        sparse, at, gap = list[int](), float(recent), float(self.spacing)
        while len(sparse) < self.sparse_frames and round(at - gap) >= sink:
            at, gap = at - gap, gap * self.growth
            sparse.append(round(at))
        return *range(sink), *sparse[::-1], *range(recent, start)


@dataclass(frozen=True, kw_only=True)
class Packed(ScoreNetwork):
    """Sees a packed history as a clean prefix, in one bidirectional forward (`score=packed`).

    What Context Forcing's text says of its second stage: the teacher reads the same layout there
    as it was trained on. Frames stand at consecutive positions from 0 on.

    Attributes:
        layout: which frames of the past.
        tell_clean: their own time is 0 rather than that of the window's first frame.
    """

    layout: PackedLayout
    tell_clean: bool = False

    @override
    def predict(self, x_t: Latents, t: Times, cond: Conditioning, clean: Clean) -> Latents:
        index = self.layout.frames(clean.shape[1] - x_t.shape[1])
        return after_clean(self.network, index, x_t, t, cond, clean, self.tell_clean)


@dataclass(frozen=True)
class PackedForcing(PretrainLoss):
    """Flow matching of a target given a packed history: what makes a long-context teacher.

    A target begins at a frame drawn evenly, so that the network meets histories of all lengths; the
    time is one for the whole target. With `recycling`, the network's own errors are added to what
    it reads, and it learns to lead back to the clean frames.

    Attributes:
        layout: of the history.
        target_frames: frames of the target (21: five seconds of Wan2.1).
        context: least and most frames before it; null: as the clip has them, least 0.
        tell_clean: see `Packed`.
        recycling: errors to train with; None for none.
    """

    layout: PackedLayout = field(default_factory=PackedLayout)
    schedule: FlowSchedule = field(default_factory=FlowSchedule)
    target_frames: int = 21
    context: Sequence[int] | None = None
    tell_clean: bool = False
    recycling: ErrorRecycling | None = None

    def __post_init__(self) -> None:
        least, most = self.context or (0, 0)
        if self.target_frames < 1 or not 0 <= least <= most:
            raise ValueError(
                f"target_frames={self.target_frames} must be at least 1, and "
                f"context={self.context} be [least, most] with 0 <= least <= most"
            )

    @override
    def __call__(
        self, network: Backbone, x0: Latents, cond: Conditioning, generator: torch.Generator
    ) -> Loss:
        start = self._start(x0.shape[1], generator)
        frames = x0[:, start : start + self.target_frames]
        eps = torch.randn(frames.shape, generator=generator).to(frames)
        drawn = torch.rand(len(x0), 1, generator=generator)
        t = self.schedule.warp(drawn).expand(-1, self.target_frames).to(frames)
        clean = x0[:, : start + self.target_frames]
        if self.recycling is not None:
            recent = min(self.layout.recent_frames, start)
            predict = self._predicted(cond)
            return self.recycling.loss(predict, network, clean, recent, eps, t, generator)
        x_t = self.schedule.add_noise(frames, eps, t)
        velocity = self._predicted(cond)(network, clean, x_t, t)
        return Loss(F.mse_loss(wide(velocity), wide(network.target(frames, eps, t))))

    @override
    def measured(
        self, network: Backbone, x0: Latents, cond: Conditioning, generator: torch.Generator
    ) -> Loss:
        return replace(self, recycling=None)(network, x0, cond, generator)

    @override
    def longest(self, frames: int) -> "PackedForcing":
        room = frames - self.target_frames
        most = room if self.context is None else min(self.context[1], room)
        return replace(self, recycling=None, context=(most, most))

    @override
    def state_dict(self) -> dict[str, Any]:
        return {} if self.recycling is None else self.recycling.bank.state_dict()

    @override
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        if self.recycling is not None:
            self.recycling.bank.load_state_dict(state)

    def _predicted(self, cond: Conditioning) -> Any:
        def predicted(network: Backbone, clean: Clean, x_t: Latents, t: Times) -> Tensor:
            index = self.layout.frames(clean.shape[1] - x_t.shape[1])
            return after_clean(network, index, x_t, t, cond, clean, self.tell_clean)

        return predicted

    def _start(self, frames: int, generator: torch.Generator) -> int:
        room = frames - self.target_frames
        least, most = self.context or (0, room)
        most = min(most, room)
        if least > most:
            raise ValueError(
                f"a clip of {frames} latent frames does not hold a history of {least} and a target "
                f"of target_frames={self.target_frames}; raise data.clip_frames"
            )
        return least + int(torch.randint(most - least + 1, (), generator=generator))
