"""Rolling windows by turns with ordinary rollouts (Rolling Forcing)."""

from dataclasses import dataclass, fields, replace

from cf.distillation.base import Batch, Stretch
from cf.distillation.fresh import Fresh
from cf.models.base import Backbone
from cf.rollout.blockwise import Rollout
from cf.rollout.rolling import Rolling
from cf.seeding import seeded


@dataclass
class RollingWindows(Fresh):
    """A rolling rollout, or one block by block, which is drawn for every batch.

    Rolling Forcing (https://arxiv.org/abs/2509.25161) trains a student on both, so that blocks are
    denoised well alone and in a window of neighbours that are behind them. Of a rolling rollout,
    frames leave on every num_steps-th pass over the window (`cf.rollout.rolling.Rolling`).

    Attributes:
        share: of the batches, those that are rolled out in windows (released code: half).
    """

    share: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.rollout, Rolling):
            raise ValueError(
                f"training_rollout=rolling trains on windows, and {type(self.rollout).__name__} "
                "rolls none; give rollout=rolling_few_steps"
            )
        if not 0 < self.share <= 1:
            raise ValueError(f"training_rollout.share={self.share} must lie in (0, 1]")

    def begin(self, student: Backbone, batch: Batch, step: int, exits: bool) -> Stretch:
        """As of a fresh rollout, of one kind or the other."""
        import torch

        stretch = super().begin(student, batch, step, exits)
        draw = float(torch.rand((), generator=seeded(self.seed, 5, batch.number)))
        return stretch if draw < self.share else replace(stretch, rollout=self._plain())

    def _plain(self) -> Rollout:
        """The same steps, block after block."""
        return Rollout(**{f.name: getattr(self.rollout, f.name) for f in fields(Rollout)})
