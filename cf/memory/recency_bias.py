"""An attention bias against what lies further back, on top of any memory."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from cf.memory.base import Query
from cf.memory.wrapper import Wrapper
from cf.types import Context, Past


@dataclass(frozen=True)
class RecencyBias(Wrapper):
    """Remembers as `memory` does and lowers the logits of its history by distance.

    The temporal response bias of Recency Forcing (https://arxiv.org/abs/2609.19729): a remembered
    token gets -beta * D ** gamma, D being its distance in RoPE time from the recent frames, divided
    by that of the farthest history token. Sink and recent frames are spared, as in its layout of
    3 global, 12 history, 3 recent and 3 current frames. Its gamma depends on the time of the
    denoising; here it is a list with one value per step. The numbers of beta and gamma, and what
    the distance is divided by, were not at hand: those here are ours. It needs no change to the
    network; a dense bias costs what a masked attention costs.

    Attributes:
        beta: logit taken from the farthest token of the history; 0 changes nothing.
        gammas: exponent at each denoising step; the last goes on and serves the commit pass.
        recent_frames: newest remembered frames without bias.
        spare_sink: leave the sink of the memory within without bias.
        commit: bias the commit pass too.
    """

    beta: float = 1.0
    gammas: Sequence[float] = (1.0,)
    recent_frames: int = 3
    spare_sink: bool = True
    commit: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.gammas or min(self.gammas) < 0 or self.beta < 0 or self.recent_frames < 0:
            raise ValueError(
                f"beta={self.beta}, gammas={list(self.gammas)} and "
                f"recent_frames={self.recent_frames} must not be negative, gammas not empty"
            )
        object.__setattr__(self, "gammas", tuple(float(gamma) for gamma in self.gammas))

    def read(self, context: Context, query: Query) -> Past:
        """What the memory within shows, biased."""
        past, gamma = self.memory.read(context, query), self._gamma(query)
        if past.live is not None:
            raise ValueError(
                "recency_bias cannot bias a memory whose reads depend on the keys of each pass "
                "(ports of peers' code do); set its as_released option to false"
            )
        if gamma is None or not past.layers:
            return past
        distance = past.start - past.layers[0].ids[..., 0] - self.recent_frames
        if self.spare_sink:
            first = context.first + self.memory.sink_frames
            sink = sum(frame < first for frame in context.frames) * context.tokens_per_frame
            distance = distance.clone()
            distance[:, :sink] = 0
        distance = distance.clamp(min=0)
        farthest = distance.amax(1, keepdim=True).clamp(min=1)
        bias = (distance > 0) * -self.beta * (distance / farthest) ** gamma
        return past._replace(bias=bias if past.bias is None else bias + past.bias)

    def read_key(self, query: Query) -> Hashable:
        """Reads with one exponent are one."""
        return self.memory.read_key(query), self._gamma(query)

    def _gamma(self, query: Query) -> float | None:
        if query.phase == "commit":
            return self.gammas[-1] if self.commit else None
        return self.gammas[min(query.step, len(self.gammas) - 1)]
