"""The watch over a training run: it stops before a step that would spoil the weights."""

import torch
from torch import Tensor, nn

from cf.bounds import check_above, check_least
from cf.types import Diverged

_WHO = ("network", "student", "critic")


class Guard(nn.Module):
    """Remembers what gradients and the critic's error used to be; travels in the checkpoint.

    Attributes:
        explode: how many times the median of its last norms a gradient's norm may be.
        collapse: how many times the teacher's error on the student's frames the critic's may be,
            averaged over about `patience` steps. A critic that tracks the student has less error
            than the teacher.
        patience: norms from which the median is taken, and steps before anything is judged.
    """

    norms: Tensor
    seen: Tensor
    judged: Tensor
    ratio: Tensor

    def __init__(self, explode: float = 100.0, collapse: float = 10.0, patience: int = 20) -> None:
        super().__init__()
        check_above(1, explode=explode, collapse=collapse)
        check_least(1, patience=patience)
        self.explode, self.collapse, self.patience = explode, collapse, patience
        self.register_buffer("norms", torch.zeros(len(_WHO), patience, dtype=torch.double))
        self.register_buffer("seen", torch.zeros(len(_WHO), dtype=torch.long))
        self.register_buffer("judged", torch.zeros((), dtype=torch.long))
        self.register_buffer("ratio", torch.ones((), dtype=torch.double))

    def check_gradient(self, norm: Tensor, who: str, step: int) -> None:
        """Take note of a gradient's norm; each network is compared with itself alone.

        Raises:
            Diverged: if it is not finite, far above what it used to be, or used to be 0, as that of
                a network whose predictions have left its `x0_limit`.
        """
        row = _WHO.index(who)
        count = int(self.seen[row])
        if not torch.isfinite(norm):
            raise Diverged(_advice(f"the gradient of the {who} is not finite", who, step))
        if count >= self.patience:
            usual = float(self.norms[row].median())
            if usual == 0:
                what = f"the {who} learns nothing: most of its last {self.patience} gradients are 0"
                raise Diverged(_advice(what, who, step))
            if float(norm) > self.explode * usual:
                what = f"the gradient of the {who} exploded: its norm is {float(norm):.3g}, was "
                raise Diverged(_advice(f"{what}{usual:.3g}", who, step))
        self.norms[row, count % self.patience] = norm.double()
        self.seen[row] += 1

    def check_critic(self, fake_error: Tensor, real_error: Tensor, step: int) -> None:
        """Take note of how well critic and teacher tell the student's frames.

        Raises:
            Diverged: if the critic has lost the student for a while.
        """
        now = fake_error.double() / real_error.double().clamp(min=1e-12)
        ratio = torch.lerp(self.ratio, now.to(self.ratio), 1 / self.patience)
        if int(self.judged) + 1 >= self.patience and float(ratio) > self.collapse:
            raise Diverged(
                f"the critic has collapsed at step {step}: its error on the student's frames is "
                f"{float(ratio):.3g} times the teacher's. Look at train/critic_loss and "
                f"train/fake_error. Go on with a lower critic_optimizer.lr, or start anew "
                f"with more critic_steps"
            )
        self.ratio.copy_(ratio)
        self.judged += 1


def _advice(what: str, who: str, step: int) -> str:
    curve = "train/gradient_norm" if who == "network" else f"train/{who}_gradient_norm"
    rate = "critic_optimizer" if who == "critic" else "optimizer"
    return (
        f"{what} at step {step}. Look at {curve} and at the data. Go on with a lower "
        f"{rate}.lr or a wider trainer.precision"
    )
