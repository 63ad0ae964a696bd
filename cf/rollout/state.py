"""What a rollout carries from block to block, and what it makes for training."""

from collections.abc import Callable
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from cf.memory.base import fork
from cf.models.base import Backbone
from cf.types import Context, Latents, LayerKV

Noise = Callable[[int, int], Latents]
"""(index of a block's first frame, denoising step) -> that block's noise, float32 on the CPU."""


@dataclass(frozen=True)
class RolloutState:
    """All that a stream needs to go on, besides its noise and conditioning.

    Attributes:
        recent: the last latent frames, clean, from which a context can be computed anew.
        begin: RoPE time at which the next block stands, if not where the memory would put it.
        window, passes: unfinished frames that come next, for a rollout that denoises several
            blocks at once, and how many passes the first of these has had.
    """

    context: Context = field(default_factory=Context)
    recent: Float[Tensor, "b recent c h w"] | None = None
    begin: float | None = None
    window: Float[Tensor, "b coming c h w"] | None = None
    passes: int = 0

    def fork(self) -> "RolloutState":
        """A state that survives when streaming on from this one consumes it; costs nothing."""
        return replace(self, context=fork(self.context))

    def detached(self) -> "RolloutState":
        """The same numbers, as constants."""
        detached = _detached(self, {})
        assert isinstance(detached, RolloutState)
        return detached


START = RolloutState()
_SAVED: dict[str, type] = {cls.__name__: cls for cls in (RolloutState, Context, LayerKV)}

_HOST = "on the CPU"
"""A tensor that stays there, wherever the network is."""


def plain(value: Any) -> Any:
    """A state, or a part of one, as lists, tuples, mappings and tensors, which files can hold.

    The tensors are the same ones; what is shared stays shared. Between two blocks nothing changes
    them.

    Raises:
        TypeError: it holds something else.
    """
    if isinstance(value, Tensor):
        return {"kind": _HOST, "held": value} if value.device.type == "cpu" else value
    if value is None or isinstance(value, bool | int | float | str):
        return value
    names = _names(value)
    if names:
        members = {name: plain(getattr(value, name)) for name in names}
        return {"kind": type(value).__name__, "held": members}
    if isinstance(value, list | tuple):
        # Free room behind a context's layers is not saved: whoever goes on makes its own.
        return (list if isinstance(value, list) else tuple)(plain(item) for item in value)
    raise TypeError(f"a rollout's state holds a {type(value).__name__}, which cannot be saved")


def rebuilt(value: Any, device: torch.device) -> Any:
    """What `plain` was given, with its tensors on a device.

    Raises:
        KeyError, TypeError: `plain` has not made this.
    """
    return _rebuilt(value, device, {})


def _detached(value: Any, tensors: dict[int, Tensor]) -> Any:
    """A part of a state without gradient; what is shared stays shared."""
    if isinstance(value, Tensor):
        return tensors.setdefault(id(value), value.detach())
    if names := _names(value):
        return type(value)(**{name: _detached(getattr(value, name), tensors) for name in names})
    if isinstance(value, list | tuple):
        return tuple(_detached(item, tensors) for item in value)
    return value


def _names(value: Any) -> list[str]:
    if type(value) not in _SAVED.values():
        return []
    if is_dataclass(value):
        return [member.name for member in fields(value)]
    return list(value._fields)


def _rebuilt(value: Any, device: torch.device, moved: dict[int, Tensor]) -> Any:
    if isinstance(value, Tensor):
        return moved.setdefault(id(value), value.to(device))
    if isinstance(value, dict) and value["kind"] == _HOST:
        return value["held"]
    if isinstance(value, dict):
        members = {name: _rebuilt(member, device, moved) for name, member in value["held"].items()}
        return _SAVED[value["kind"]](**members)
    if isinstance(value, list | tuple):
        return type(value)(_rebuilt(item, device, moved) for item in value)
    return value


class Rolled(NamedTuple):
    """A rollout for training.

    Attributes:
        past: clean, detached frames before the window; may be empty.
        window: the frames that are scored; they carry gradient.
        exit_t: the time at which the window's frames left the denoising.
        state: after the last block; without it, where the rollout was not to go on.
    """

    past: Latents
    window: Latents
    exit_t: Float[Tensor, ""]
    state: RolloutState


def last_of(state: RolloutState, x0: Tensor, count: int) -> Tensor | None:
    """The last `count` latent frames, `x0` behind those that the state holds; None if 0."""
    if not count:
        return None
    before = [] if state.recent is None else [state.recent]
    return torch.cat([*before, x0.detach()], 1)[:, -count:]


def state_dtype(student: Backbone) -> torch.dtype:
    """Of latents on their way through a rollout."""
    return torch.promote_types(student.dtype, torch.float32)
