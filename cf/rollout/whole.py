"""The rollout of a network that was trained on whole videos: all frames at once, and then none."""

from dataclasses import dataclass, replace

from typing_extensions import override

from cf.models.base import Backbone
from cf.rollout.blockwise import Rollout
from cf.rollout.state import Noise, RolloutState
from cf.types import Conditioning, Latents


@dataclass(frozen=True)
class Whole(Rollout):
    """One block in which all frames see one another; nothing is remembered of it.

    For bases such as Wan2.1 (https://arxiv.org/abs/2503.20314), which is trained on 21 latent
    frames and makes them with guidance in some 50 steps.

    Attributes:
        block_frames: latent frames of the video.
        memory: not asked, since there is no second block.
    """

    block_frames: int = 21

    @override
    def check_length(self, blocks: int, given: int, seconds: float) -> None:
        if given:
            raise ValueError(
                f"rollout=whole makes all frames at once and cannot go on after {given} given "
                "latent frames; leave video and image out, or of a walk its first seconds "
                "(given_seconds=0), or choose another rollout"
            )
        if blocks > 1:
            raise ValueError(
                f"rollout=whole makes {self.block_frames} latent frames at once, {seconds:.4g} s; "
                f"give seconds={seconds:.4g} or less, or more rollout.block_frames if the network "
                "was trained on more"
            )

    def _advance(
        self,
        student: Backbone,
        noise: Noise,
        cond: Conditioning,
        state: RolloutState,
        exit_step: int | None = None,
        differentiable_past: bool = False,
        remembers: bool = True,
    ) -> tuple[Latents, RolloutState]:
        if state.context.start:
            raise ValueError(
                f"rollout=whole makes its {self.block_frames} latent frames at once and cannot go "
                "on after others; choose another rollout"
            )
        place = self.block_frames, differentiable_past, self.times
        reads = self._reads(student, cond, state, *place)
        x0 = self._denoise(student, noise, reads, self.times, exit_step)
        end = state.context.start + self.block_frames
        return x0, replace(state, context=replace(state.context, start=end))
