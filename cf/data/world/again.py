"""Which views of a camera's path were shown before, and for how long they were out of sight."""

from __future__ import annotations

import torch
from jaxtyping import Int
from torch import Tensor

from cf.data.world.doom.walking import TURN

REACH = 32.0
"""Map units within which two cameras stand in one place."""
DEGREES = 10.0
"""Within which they look the same way."""
UNKNOWN, NOVEL = -1, -2


def away(path: Int[Tensor, "t 3"], given: int, start: int = 0) -> Int[Tensor, " n"]:
    """Frames for which the view of each frame from `start` on had been out of sight.

    Two poses that are near each other (`REACH`, `DEGREES`) show one view. A view that was shown in
    a given frame, left, and came back counts from the frame that showed it last to the one with
    which it came back. It is 0 for given frames and where the view has been in sight ever since,
    `UNKNOWN` where it was shown before but in no given frame, so that its truth is told nowhere,
    and `NOVEL` where no frame had shown it.

    Args:
        path: `WorldTruth.pose` of every frame from the first on.
        given: frames at the beginning that were handed to the model.
        start: the first frame that is asked for.

    >>> there, off = [0, 0, 0], [0, 0, 512]
    >>> away(torch.tensor([there, there, off, off, there, there]), given=2).tolist()
    [0, 0, -2, -1, 3, 3]
    """
    frames = len(path)
    apart = (path[start:, None, :2] - path[None, :, :2]).double().norm(dim=-1)
    turned = (path[start:, None, 2] - path[None, :, 2] + TURN // 2) % TURN - TURN // 2
    near = (apart <= REACH) & (turned.abs() * 360 / TURN <= DEGREES)
    at, now = torch.arange(frames), torch.arange(start, frames)
    near &= at < now[:, None]
    # A view came into sight behind the last earlier frame that did not show it.
    hidden = torch.where(~near & (at < now[:, None]), at, -1).amax(1)
    last = torch.where(near & (at <= hidden[:, None]), at, -1).amax(1)
    lag = torch.where(last >= 0, hidden + 1 - last, 0)
    lag = torch.where((near & (at < given)).any(1), lag, UNKNOWN)
    lag = torch.where(near.any(1), lag, NOVEL)
    return torch.where(now < given, 0, lag)
