"""Moving pictures of a codec's run: fixed clips, beside what is left of them."""

from typing import Any

import lightning as L  # noqa: N812  (its usual name)
import torch
from torch import Tensor
from typing_extensions import override

from cf.callbacks.samples import Samples, enlarged


class Reconstructions(Samples):
    """Each picture has the clips above and the codec's below, side by side."""

    @override
    def _continued(self, trainer: L.Trainer, module: Any) -> tuple[Tensor, list[str]]:
        truth = self._fixed_clips(trainer, module)["video"]
        codec = module.student
        again = codec.decode(codec.encode(truth))
        videos = torch.cat(list(enlarged(torch.cat((truth, again), -2))), -1).cpu()
        return videos, ["truth", "decoded"]
