"""What trains bases and teachers, against closed forms: Gaussian frames given earlier ones."""

from typing import Any

import pytest
import tiny
import torch
from test_objectives import Unused
from test_teachers import recycled
from torch import Tensor, nn

from cf.models.base import Prepared
from cf.models.masks import Mask
from cf.objectives.forcing import DiffusionForcingLoss, ForcingLoss, TeacherForcingLoss
from cf.schedule import FlowSchedule
from cf.seeding import seeded
from cf.types import Block, Conditioning, Latents, Prediction, Times

SPREAD = 0.6
SEEN = [[], [], [0, 1], [0, 1], [0, 3, 2], [0, 3, 2]]
"""Earlier frames that each of six sees: blocks of two, a window of four, a sink of one."""


def velocity(x_t: Tensor, at: Tensor, centre: Tensor) -> Tensor:
    """The exact one of frames drawn from N(centre, SPREAD^2), by the sum of two precisions."""
    precision = 1 / SPREAD**2 + (1 - at) ** 2 / at**2
    return (x_t - (centre / SPREAD**2 + (1 - at) * x_t / at**2) / precision) / at


class Masked(Unused):
    """Frames around own[0] + own[1] * the mean of rows of earlier frames that a mask shows."""

    def __init__(self) -> None:
        super().__init__()
        self.own = nn.Parameter(torch.tensor([0.3, 0.7], dtype=torch.float64))

    def forward(  # type: ignore[override]
        self, x_t: Latents, t: Times, cond: Conditioning, past: Prepared, mask: Mask
    ) -> Prediction:
        row = torch.arange(x_t.shape[1])
        frame, seen = mask.frames(len(row)), mask.allowed(row[:, None], row[None], len(row))
        seen = seen & (mask.end(frame)[None] < mask.end(frame)[:, None])
        share = seen.double() / seen.sum(1, keepdim=True).clamp(min=1)
        centre = self.own[0] + self.own[1] * torch.einsum("qk,bkchw->bqchw", share, x_t)
        told = velocity(x_t, t.clamp(min=1e-3)[..., None, None, None], centre)
        return Prediction(told, Block((), x_t.shape[1], (2, 2)))


@pytest.mark.parametrize("kind", [TeacherForcingLoss, DiffusionForcingLoss])
def test_the_gradient_of_forcing_is_that_of_flow_matching_on_what_is_seen(
    kind: type[ForcingLoss],
) -> None:
    clean = kind is TeacherForcingLoss
    more: dict[str, Any] = {"context_noise": 0.2} if clean else {}
    objective = kind(FlowSchedule(3.0), 2, window_frames=4, sink_frames=1, **more)
    network, x0 = Masked(), tiny.latents(4, 6, seed=1)
    loss = objective(network, x0, Conditioning(), seeded(7))
    (given,) = torch.autograd.grad(loss.value, network.own)

    drawn = seeded(7)
    eps, raw = torch.randn(x0.shape, generator=drawn).double(), torch.rand(4, 3, generator=drawn)
    at = (3 * raw.double() / (1 + 2 * raw.double())).repeat_interleave(2, 1)[..., None, None, None]
    x_t = (1 - at) * x0 + at * eps
    past = x_t
    if clean:
        little = 0.2 * torch.rand(4, 3, generator=drawn).double()
        little = little.repeat_interleave(2, 1)[..., None, None, None]
        past = (1 - little) * x0 + little * torch.randn(x0.shape, generator=drawn).double()
    own = network.own.detach().clone().requires_grad_()
    means = [past[:, seen].mean(1) if seen else torch.zeros_like(past[:, 0]) for seen in SEEN]
    told = velocity(x_t, at, own[0] + own[1] * torch.stack(means, 1))
    expected = (told - (eps - x0)).square().mean()
    (truth,) = torch.autograd.grad(expected, own)
    torch.testing.assert_close(loss.value, expected, rtol=1e-9, atol=0)
    torch.testing.assert_close(given, truth, rtol=1e-9, atol=0)


def test_the_gradient_on_recycled_errors_leads_to_the_clean_frames() -> None:
    """A bank of one error: 100 on frames and past, 1000 on noise."""
    recycling, _ = recycled(clean=0.0, noise=1.0, latent=1.0, context=1.0)
    x0, eps = tiny.latents(6, 8, seed=1), tiny.latents(6, 3, seed=2)
    t = torch.linspace(0.1, 0.9, 6).double()[:, None].expand(-1, 3)
    own = torch.tensor([0.3, 0.7], dtype=torch.float64, requires_grad=True)

    def predict(network: Any, clean: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        centre = own[0] + own[1] * clean[:, 4:5]
        return velocity(x_t, t[..., None, None, None], centre)

    class Network(Unused):
        def target(self, x0: Latents, eps: Latents, t: Times) -> Latents:
            return eps - x0

    loss = recycling.loss(predict, Network(), x0, 2, eps, t, seeded(3))
    (given,) = torch.autograd.grad(loss.value, own)
    at = t[..., None, None, None]
    x_t = (1 - at) * (x0[:, 5:] + 100) + at * (eps + 1000)
    told = velocity(x_t, at, own[0] + own[1] * (x0[:, 4:5] + 100))
    expected = (told - (x_t - x0[:, 5:]) / at).square().mean()
    (truth,) = torch.autograd.grad(expected, own)
    torch.testing.assert_close(loss.value, expected, rtol=1e-9, atol=0)
    torch.testing.assert_close(given, truth, rtol=1e-9, atol=0)
