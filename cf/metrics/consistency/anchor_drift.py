"""How much of what tells a video from other prompts' videos is lost since its first window."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from scipy import stats
from torch import Tensor

from cf.metrics.bootstrap import bootstrap
from cf.metrics.grid import Grid

IDENTIFIABLE = 0.15  # what a set's anchors must have above chance, on average
IDENTIFIABLE_ALONE = 0.2  # the same for one video
HALF = 0.5
_SLOPES = 600  # windows at most, for a slope
SINGLE = "its first window holds one frame; take a higher rate or longer windows"


@dataclass(frozen=True)
class AnchorDrift:
    """Likeness to the anchor, the first window, above chance.

    Attributes:
        own: of the anchor's frames to one another.
        kept: of each window to the anchor; `own` for the anchor.
    """

    grid: Grid
    own: Float[Tensor, " v"]
    kept: Float[Tensor, "v k"]

    @staticmethod
    def of(grid: Grid, kappa: float | None = None) -> "AnchorDrift":
        """Chance is the likeness to other prompts' videos at the same time, or `kappa`."""
        anchor = grid.means[:, 0]
        chance = torch.full(grid.count.shape, kappa or 0.0, dtype=torch.double)
        if kappa is None:
            chance = grid.to_others(anchor)
        above = torch.einsum("vd,vkd->vk", anchor, grid.means) - chance
        above[:, 0] = grid.within()[:, 0] - chance[:, 0]
        return AnchorDrift(grid, above[:, 0], above)

    @property
    def last(self) -> int:
        """Windows in the last quarter."""
        return -(-self.grid.windows // 4)

    @property
    def identifiable(self) -> Bool[Tensor, " v"]:
        """Whether a video's own drift can be told."""
        return self.own >= IDENTIFIABLE_ALONE

    def lost(self) -> Float[Tensor, "v k"]:
        """D(w): 0 as at the start, 1 no closer to it than another prompt's video; NaN untold."""
        share = 1 - self.kept / self.own[:, None]
        return share.where(self.identifiable[:, None], math.nan)

    def lost_by_all(self) -> Float[Tensor, " k"]:
        """The same of the set: a ratio of sums over prompts."""
        return 1 - self.grid.mean(self.kept) / self.grid.mean(self.own)

    def at_the_end(self) -> tuple[float, tuple[float, float]]:
        """Of the set, in the last quarter, with its interval over prompts."""
        end = self.grid.by_prompt(self.kept[:, -self.last :].mean(1))
        start = self.grid.by_prompt(self.own)
        value = float(1 - end.sum() / start.sum())
        if self.grid.prompts < 2:
            return value, (math.nan, math.nan)
        return value, bootstrap(
            self.grid.prompts, lambda counts: 1 - (counts @ end) / (counts @ start)
        )

    def refusal(self) -> str:
        """Why the set's drift cannot be told; empty if it can."""
        if bool(self.own.isnan().any()):
            return SINGLE
        start = self.grid.by_prompt(self.own)
        mean = float(start.mean())
        if mean < IDENTIFIABLE:
            return (
                f"anchor not identifiable: first windows are {mean:.3g} above chance on average, "
                f"below {IDENTIFIABLE}; drift counts as complete"
            )
        if self.grid.prompts > 1:
            prompts = self.grid.prompts
            low, _ = bootstrap(prompts, lambda counts: counts @ start / prompts)
            if low <= 0:
                return (
                    f"anchor not identifiable: the interval of the first windows' likeness above "
                    f"chance reaches {low:.3g}; drift counts as complete"
                )
        return ""

    def smooth(self) -> Float[Tensor, "v n"]:
        """Medians of D over three windows, from the second window to the last but one."""
        lost = self.lost()
        if self.grid.windows < 3:
            return lost[:, :0]
        return lost.unfold(1, 3, 1).median(-1).values

    def most(self) -> Float[Tensor, " v"]:
        """Highest median of D over three windows; NaN for fewer."""
        smooth = self.smooth()
        return smooth.amax(1) if smooth.shape[1] else self.own * math.nan

    def slope(self) -> Float[Tensor, " v"]:
        """Theil and Sen's median slope of D, per 10 s.

        Of longer videos than 600 windows every n-th is taken: pairs grow with the square.
        """
        step = -(-self.grid.windows // _SLOPES)
        seconds = torch.arange(0, self.grid.windows, step) * self.grid.window
        slopes = [
            10 * float(stats.theilslopes(row.numpy(), seconds.numpy())[0])
            if not row.isnan().any()
            else math.nan
            for row in self.lost()[:, ::step]
        ]
        return torch.tensor(slopes, dtype=torch.double)

    def half_lost(self) -> tuple[Float[Tensor, " v"], Bool[Tensor, " v"]]:
        """Seconds until the median of D over three windows exceeds one half, and whether it does.

        Where it does not, the time is that of the end. A video whose anchor is not identifiable has
        lost it in the first window: were it left out, collapsing at once would be a way to win.
        """
        step, end = self.grid.window, self.grid.windows * self.grid.window
        times = torch.full_like(self.own, end)
        beyond = self.smooth() > HALF
        happened = beyond.any(1) if beyond.shape[1] else torch.zeros_like(self.identifiable)
        if beyond.shape[1]:
            first = (beyond.int().argmax(1) + 1).double() * step
            times = torch.where(happened, first, times)
        times = torch.where(self.identifiable, times, step)
        return times, happened | ~self.identifiable
