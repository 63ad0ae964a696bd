"""How far the two ways by which gradient reaches a student pull in different directions.

It flows through the calls that made the frames of a window, and through those that wrote what these
read of the past. Self Gradient Forcing Plus (https://arxiv.org/abs/2610.10429) finds the two at 104
to 106 degrees, and trains two networks.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from cf.distillation.scoring import scored
from cf.distillation.windows import ScoredRollout, Windows
from cf.models.base import Backbone
from cf.models.sharding import is_sharded, local
from cf.objectives.base import Networks
from cf.objectives.plan import Part
from cf.objectives.score import SharedMemory

Gradients = Mapping[str, Tensor]
"""By the name of a parameter; those that get none are left out."""


def gradients_of(loss: Tensor, network: nn.Module, reduce: Callable[[Tensor], Tensor]) -> Gradients:
    """The gradient of a loss, by `reduce` the mean over all processes; `.grad` stays as it is."""
    if is_sharded(network):
        return _left_by_backward(loss, network)
    named = [(name, p) for name, p in network.named_parameters() if p.requires_grad]
    grads = torch.autograd.grad(loss, [p for _, p in named], allow_unused=True)
    pairs = zip(named, grads, strict=True)
    return {name: reduce(torch.zeros_like(p) if g is None else g) for (name, p), g in pairs}


def _left_by_backward(loss: Tensor, network: nn.Module) -> Gradients:
    """The shards of a gradient, which FSDP2 reduces into `.grad` and knows no other place for."""
    loss.backward()
    named = network.named_parameters()  # before that, some are gathered and no shards
    return {n: torch.zeros_like(p) if p.grad is None else p.grad for n, p in named}


@contextmanager
def _set_aside(network: nn.Module) -> Iterator[None]:
    """Within, `.grad` is free for another gradient, if it has to be."""
    saved = [(p, p.grad) for p in network.parameters()] if is_sharded(network) else []
    for parameter, _ in saved:
        parameter.grad = None
    try:
        yield
    finally:
        for parameter, grad in saved:
            parameter.grad = grad


def held_gradients(network: nn.Module, scale: float) -> Gradients:
    """What `.grad` holds, times a number."""
    named = network.named_parameters()
    return {name: p.grad * scale for name, p in named if p.grad is not None}


def conflict(
    held: Gradients,
    windows: Windows,
    made: ScoredRollout,
    parts: Sequence[Part],
    networks: Networks,
    student: Backbone,
    seed: int,
    reduce: Callable[[Tensor], Tensor],
) -> Tensor:
    """The cosine of a step, whose windows are made and scored once more, in the other way.

    Args:
        held: the gradient of the step as it is trained.
        windows: makes them again.
        made: the step's rollout.
        parts: the objectives that count.
        networks: those of the step.
        student: the network that is trained.
        seed: of the run.
        reduce: the mean over all processes.

    Returns:
        See `cosine`.
    """
    gradient = windows.gradient
    other, view = gradient.counterpart, networks.student
    assert isinstance(view, SharedMemory)
    with _set_aside(student):
        with torch.set_grad_enabled(any(part.objective.needs_gradient for part in parts)):
            again = windows.again(student, made, other)
        networks = networks._replace(student=replace(view, differentiable_past=other.through_past))
        loss = scored(parts, again, networks, False, seed).value
        second = gradients_of(loss, student, reduce)
    own, whole = (second, held) if gradient.through_past else (held, second)
    return gradient_cosine(own, whole, gradient.alias)


def gradient_cosine(
    own: Gradients, whole: Gradients, alias: Callable[[str], str] = lambda name: name
) -> Tensor:
    """The cosine between the gradient of a window's own calls and that of its past, the rest.

    Args:
        own: where nothing flows through the past.
        whole: where all flows.
        alias: the name under which a parameter of one network is compared with another's.

    Returns:
        A number in [-1, 1]; NaN where one of the two gradients is zero.
    """
    ours, rests = dict[str, Tensor](), dict[str, Tensor]()
    sharded = any(isinstance(grad, DTensor) for grad in whole.values())
    own, whole = ({name: local(grad) for name, grad in some.items()} for some in (own, whole))
    for name in sorted({*own, *whole}):
        some = own[name] if name in own else whole[name]
        direct = own.get(name, torch.zeros_like(some)).double()
        rest = whole.get(name, torch.zeros_like(some)).double() - direct
        at = alias(name)
        ours[at] = ours[at] + direct if at in ours else direct
        rests[at] = rests[at] + rest if at in rests else rest
    products = next(iter(ours.values())).new_zeros(3)
    for name, direct in ours.items():
        a, b = direct.flatten(), rests[name].flatten()
        products += torch.stack((a @ b, a @ a, b @ b)).to(products)
    if sharded:  # where shards have copies, all three are as many times too large
        torch.distributed.all_reduce(products)
    products = products.cpu()
    return products[0] / (products[1] * products[2]).sqrt()
