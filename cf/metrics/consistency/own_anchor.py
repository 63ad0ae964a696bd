"""Whether a video is still told by its own beginning, among the beginnings of other prompts."""

import torch
from jaxtyping import Float
from torch import Tensor
from typing_extensions import override

from cf.metrics.grid import Grid
from cf.metrics.result import Result
from cf.metrics.set_metric import SetMetric

_TIE = 1e-9


class OwnAnchorAUC(SetMetric):
    r"""How often a late window is closer to its own start than to another prompt's; up, in [0, 1].

    .. math:: P\left(\cos(S_w, S_A) > \cos(S_w, S_A^u)\right)

    over other prompts' videos :math:`u` and the windows of the last quarter; ties count half, the
    start :math:`A` is the first window (1 s). 1 is always, ½ chance. Twin of `SemanticDrift` that
    has no scale: no chance likeness, no ratio. A definition of this project. `curves` has it over
    time, with the share in which the own start is the closest of all (`top1`); `extras` has `top1`
    of the last quarter. Needs 4 prompts of equal duration.

    Blind spots: 1 for a frozen video; insensitive to drift that leaves prompts distinct; with few
    prompts, or very different ones, it is 1 for almost anything.

    >>> import torch
    >>> from cf.metrics.extractors.mean_colour import MeanColour
    >>> metric = OwnAnchorAUC(MeanColour())
    >>> for number in range(4):
    ...     video = torch.full((32, 3, 8, 8), 0.1 * number)
    ...     video[:, number % 3] = 1
    ...     metric.update(video, video_id=number, fps=8)
    >>> metric.compute()
    tensor(1., dtype=torch.float64)
    """

    higher_is_better = True
    least_prompts = 4
    least_windows = 2

    @override
    def compare(self, grid: Grid) -> Result:
        closer, closest = _recognised(grid)
        last = -(-grid.windows // 4)
        late = closer[:, -last:].mean(1)
        per_window, windows = grid.over_time(closer)
        return self.answer(
            float(grid.mean(late)),
            grid.by_video(late),
            per_window=per_window,
            windows=windows,
            curves={"auc": grid.mean(closer), "top1": grid.mean(closest)},
            extras={
                "top1": float(grid.mean(closest[:, -last:].mean(1))),
                "num_prompts": float(grid.prompts),
            },
        )


def _recognised(grid: Grid) -> tuple[Float[Tensor, "v k"], Float[Tensor, "v k"]]:
    """Share of others' starts that are farther than the own one, and whether all are."""
    anchors = torch.nn.functional.normalize(grid.means[:, 0], dim=-1)
    unrelated = grid.unrelated()
    closer, closest = [], []
    for number, windows in enumerate(grid.means):
        likeness = windows @ anchors.T
        own = likeness[:, number : number + 1]
        others = likeness[:, unrelated[number]]
        tied = (others - own).abs() <= _TIE
        nearer = (others < own - _TIE).double() + 0.5 * tied
        closer.append(nearer.mean(1))
        beaten = (others > own + _TIE).any(1)
        closest.append((~beaten).double() / (1 + tied.sum(1)))
    return torch.stack(closer), torch.stack(closest)
