"""What `sampling` of `cf.generate` may be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from cf.settings.hints import Within


@dataclass(frozen=True)
class Sampling:
    """How `cf.generate` samples; null: as in training.

    Attributes:
        block_frames: latent frames denoised jointly.
        guidance: scale of classifier-free guidance; 1 is none.
        negative_prompt: what a guided video should not show.
    """

    block_frames: Annotated[int, Within(1, 2**31)] | None
    num_steps: Annotated[int, Within(1, 2**31)] | None
    sampler: Literal["renoise", "euler", "unipc", "dpm++"] | None
    context_noise: Annotated[float, Within(0, 1)] | None
    recent_frames: Annotated[int, Within(1, 2**31)] | None
    guidance: Annotated[float, Within(0, 1000)] | None
    negative_prompt: str
