"""Past frames found by where the camera was, or by any control signal."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from cf.memory.base import Query
from cf.memory.retrieval import Retrieval, best, copied_frames, indices
from cf.memory.views import gaussian, plane, space
from cf.types import Block, Context


@dataclass(frozen=True)
class RetrievePose(Retrieval):
    """Reads the frames that saw most of what the coming block will see.

    WorldMem (https://arxiv.org/abs/2504.12369) scores a past frame by the share of points in the
    coming view that it saw, less `age_penalty` times its age as a share of the video; takes the
    best, removes the points that it covers, and goes on. Context-as-Memory
    (https://arxiv.org/abs/2506.03141, at second hand) takes frames of most overlap that are not
    neighbours: `greedy=false age_penalty=0 apart_frames=2`. WorldMem's rule is the default, its
    code being public. Both look frames up in the whole past (`bank_frames=null`) and train a
    network for it; here the keys and values of the frames are read as any others.

    Attributes:
        view: what a frame saw: "origin", the plane of tokens shifted by `Conditioning.origin`
            (which is at rest where there is none), or "camera", the first five numbers of the
            control signal: x, y, z, pitch, yaw in degrees. None: the control signal alone decides.
        control_width: if set, overlap is multiplied by exp(-|c - c'|**2 / (2 control_width**2)) of
            the mean control of the coming block and the control of the frame.
        greedy: do not count again what a frame already taken has covered.
        age_penalty: taken from the score of the oldest frame.
        radius, half_angles, points: of "camera": the ball around it, degrees across and up, and
            how many points are drawn (WorldMem: 30, 52.5 and 37.5, 10000).
    """

    view: Literal["origin", "camera"] | None = "origin"
    control_width: float | None = None
    greedy: bool = True
    age_penalty: float = 0.2
    radius: float = 30.0
    half_angles: Sequence[float] = (52.5, 37.5)
    points: int = 2000

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.view not in ("origin", "camera", None):
            raise ValueError(f"view must be origin, camera or null, got {self.view!r}")
        if self.view is None and self.control_width is None:
            raise ValueError("view=null needs control_width: there is nothing else to find by")
        if self.control_width is not None and self.control_width <= 0:
            raise ValueError(f"control_width must be above 0, got {self.control_width}")
        object.__setattr__(self, "half_angles", tuple(float(x) for x in self.half_angles))

    def note(self, block: Block) -> tuple[Tensor, ...]:
        """The control signal, if it is needed; where the view lies can be told from positions."""
        if not self._needs_control:
            return ()
        if block.control is None:
            raise ValueError(
                "retrieve_pose was set to find frames by their control signal, and the model has "
                "none: give one (model.control_dim), or set view=origin and control_width=null"
            )
        return (block.control,)

    def find(
        self, context: Context, query: Query, bank: Sequence[int], count: int
    ) -> list[Int[Tensor, "b count"]]:
        """One choice for all layers."""
        relevance, times = self._relevance(context, query, bank), self.times(context, bank)
        places = best(relevance, times, count, self.apart_frames)
        return [indices(bank, places.device)[places]]

    @property
    def _needs_control(self) -> bool:
        return self.view == "camera" or self.control_width is not None

    def _relevance(
        self, context: Context, query: Query, bank: Sequence[int]
    ) -> Callable[[Sequence[Tensor]], Float[Tensor, "b f"]]:
        like = context.layers[0].ids
        start = context.start - context.first
        age = 1 - (self.times(context, bank) - context.first) / start
        near = like.new_ones(like.shape[0], len(bank))
        if self.control_width is not None:
            ahead = self._control(query).mean(1, keepdim=True)
            near = gaussian(
                (copied_frames(context.state[0], bank) - ahead).to(like), self.control_width
            )
        if self.view is None:
            return lambda earlier: near - self.age_penalty * age
        visible, counts = self._views(context, query, bank)
        visible = visible.expand(like.shape[0], -1, -1)
        rows = torch.arange(like.shape[0], device=like.device)

        def relevance(earlier: Sequence[Tensor]) -> Float[Tensor, "b f"]:
            unseen = counts.expand(like.shape[0], -1)
            for place in earlier if self.greedy else ():
                unseen = unseen & ~visible[rows, place]
            share = (visible & unseen[:, None]).sum(-1) / counts.sum(-1, keepdim=True).clamp(min=1)
            return share * near - self.age_penalty * age

        return relevance

    def _views(
        self, context: Context, query: Query, bank: Sequence[int]
    ) -> tuple[Bool[Tensor, "b f points"], Bool[Tensor, "b points"]]:
        if self.view == "origin":
            past = copied_frames(context.layers[0].ids[:, :: context.tokens_per_frame, 1:], bank)
            ahead = query.cond.origin
            if ahead is None:
                ahead = past.new_zeros(past.shape[0], query.frames, 2)
            return plane(ahead.to(past).expand(past.shape[0], -1, -1), past, context.grid)
        control = self._control(query)
        past = copied_frames(context.state[0], bank)
        if control.shape[-1] < 5:
            raise ValueError(
                f"view=camera reads x, y, z, pitch, yaw from the control signal, which has only "
                f"{control.shape[-1]} channels"
            )
        middle = control[:, query.frames // 2, :5].expand(past.shape[0], -1)
        return space(
            middle,
            past[..., :5],
            radius=self.radius,
            half_angles=(self.half_angles[0], self.half_angles[1]),
            points=self.points,
        )

    def _control(self, query: Query) -> Float[Tensor, "b f k"]:
        if query.cond.control is None:
            raise ValueError("retrieve_pose needs the control signal of the coming block")
        return query.cond.control
