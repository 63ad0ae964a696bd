"""What `sampling` of `cf.generate` may be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from cf.settings.hints import Form, Within
from cf.settings.kinds import FileOrFolder

_Time = Annotated[float, Within(0, 1)]


@dataclass(frozen=True)
class Sampling:
    """How `cf.generate` samples; null: as in training.

    Attributes:
        block_frames: latent frames denoised jointly.
        guidance: velocity = other + guidance (own - other), of which the other is that under
            `negative_prompt`, or the guide's; 1 is none.
        guidance_times: least and most time at which it is guided.
        guide: weights of the network to lead away from, which sees no past; own: the network's.
        negative_prompt: what a guided video should not show.
    """

    block_frames: Annotated[int, Within(1, 2**31)] | None
    num_steps: Annotated[int, Within(1, 2**31)] | None
    sampler: Literal["renoise", "euler", "unipc", "dpm++"] | None
    context_noise: Annotated[float, Within(0, 1)] | None
    recent_frames: Annotated[int, Within(1, 2**31)] | None
    guidance: Annotated[float, Within(0, 1000)] | None
    guidance_times: (
        Annotated[tuple[_Time, _Time], Form("[least,most], times from 0 to 1, as in [0.6,1]")]
        | None
    )
    guide: FileOrFolder | Literal["own"] | None
    negative_prompt: str
