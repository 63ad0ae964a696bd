"""The warping error of EvalCrafter."""

from cf.metrics.motion.temporal_flicker import TemporalFlicker


class WarpingError(TemporalFlicker):
    r"""Mean squared difference of frames along trajectories; down, in [0, 1].

    .. math:: \text{mean}_{t}\ \text{mean}_{x \in V_t} |I_{t+1}(x + v_t(x)) - I_t(x)|^2

    over the pixels :math:`V_t` that are not occluded by the test of flow forth and back, colours in
    [0, 1] (Liu et al. 2024, EvalCrafter, arXiv 2310.11440, after Lai et al. 2018). EvalCrafter
    uses RAFT at the videos' own rate and size: take `flow="raft-things", rate=None` and `side`
    as large as the frames for its definition; cuts, which it counts, are left out here.

    Blind spots: those of `TemporalFlicker`; squares let a few edges outweigh the rest.

    >>> import torch
    >>> metric = WarpingError(flow="farneback")
    >>> metric.update(torch.full((8, 3, 32, 32), 0.5), video_id=0, fps=8)
    >>> metric.name, float(metric.compute())
    ('WarpingError[farneback]', 0.0)
    """

    column = "squared"
