"""What is known of each frame of a drawn video, a row per frame, as measures of recall ask."""

import torch
from torch import Tensor

from cf.data.world.again import away
from cf.data.world.base import Drawn


def known(drawn: Drawn, sample: int, given: int, before: int = 0) -> dict[str, Tensor]:
    """The truth of one video of the batch, whose first `given` frames are a prompt.

    Rows are `given`, `place`, `camera`, `fresh`, `identity`, `instance`, what the world needs to
    read the video, the same in every row (`sky`), where things move their `kind`, `colour`
    and the share of each that is `visible`, and where the camera moves in space its `pose`, the
    `depth` of the picture, and the frames for which the view was `away` (`cf.data.world.again`).

    Args:
        drawn: the batch.
        sample: which video of it.
        given: how many of its frames are a prompt.
        before: given frames of the video that lie before these.

    >>> from cf.data.world.rooms import Rooms
    >>> rows = known(Rooms().draw(0, [7], 6), 0, given=3)
    >>> rows["given"].tolist(), rows["sky"].shape
    ([True, True, True, False, False, False], torch.Size([6, 2, 3]))
    """
    truth, frames = drawn.truth, drawn.video.shape[1]
    if not 0 <= given <= frames:
        raise ValueError(f"given={given} must lie between 0 and the video's {frames} frames")
    rows = {
        "given": torch.arange(frames) < given,
        **{name: getattr(truth, name)[sample] for name in ("place", "camera", "fresh")},
        "identity": truth.identity[sample],
        "instance": truth.instance[sample],
    }
    for name in ("pose", "depth"):
        if getattr(truth, name) is not None:
            rows[name] = getattr(truth, name)[sample]
    if drawn.path is not None:
        path = drawn.path[sample]
        rows["away"] = away(path, before + given, len(path) - frames)
    for name, numbers in drawn.scene.items():
        rows[name] = numbers[sample].expand(frames, *numbers.shape[1:])
    if truth.motion is not None:
        for name in ("kind", "colour"):
            numbers = getattr(truth.motion, name)[sample]
            rows[name] = numbers.expand(frames, *numbers.shape)
        rows["visible"] = truth.motion.visible[sample]
    return rows
