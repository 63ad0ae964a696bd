"""Roles on one frozen network: each is the network, and low-rank factors of its own (LoRA)."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn
from typing_extensions import override

from cf.models.adapter_files import begin_with
from cf.models.base import NOTHING, Backbone, Prepared
from cf.models.low_rank import ActiveRole, RoleLinear, is_factor
from cf.models.masks import Mask
from cf.models.transformer import VideoTransformer
from cf.models.updates import Update, updated
from cf.models.wrapped import WrappedBackbone
from cf.types import Conditioning, Latents, Past, Prediction, Times

TARGETS = ("q", "k", "v", "o", "ffn.0", "ffn.2")
"""Of a block, all that is a matrix."""


@dataclass(frozen=True)
class Adapter:
    """What a role adds to the network that it begins with, which stays as it is.

    Names are PEFT's.

    Attributes:
        r: rank of the difference that each layer is given.
        lora_alpha: the difference is lora_alpha / r times B A; None: B A itself.
        target_modules: ends of names of the linear layers that are changed.
        path: a LoRA's folder or file to begin with; None: no difference.
        sha256: what `fingerprint` said of it when the run began.
    """

    r: int = 64
    lora_alpha: float | None = None
    target_modules: Sequence[str] = TARGETS
    path: str | None = None
    sha256: str | None = None

    def __post_init__(self) -> None:
        alpha = 1.0 if self.lora_alpha is None else self.lora_alpha
        if self.r < 1 or not 0 < alpha < math.inf:
            raise ValueError(
                f"adapters: r={self.r} must be at least 1 and lora_alpha={self.lora_alpha} positive"
            )

    @property
    def scale(self) -> float:
        """By which B A is multiplied."""
        return 1.0 if self.lora_alpha is None else self.lora_alpha / self.r

    def on(self, network: Backbone, role: str) -> AdaptedBackbone:
        """The role: the network, whose linear layers add the role's difference where it is active.

        Args:
            network: from now on frozen, and shared by all roles that are put on it.
            role: its name, as in the settings.

        Raises:
            ValueError: the network has no such layers, or not of such a rank.
            CheckpointError: the LoRA to begin with does not fit.
        """
        if not isinstance(network, VideoTransformer):
            raise ValueError(
                f"adapters.{role} goes on one transformer, and {type(network).__name__} is none; "
                "start from another network, or leave the role's adapter out (null)"
            )
        adapted = AdaptedBackbone(network, role, self, self._layers(network, role))
        if self.path is not None and network.device.type != "meta":
            begin_with(adapted, self.path, self.sha256)
        return adapted

    def _layers(self, network: VideoTransformer, role: str) -> list[str]:
        names = [
            name
            for name, layer in network.named_modules()
            if isinstance(layer, nn.Linear) and not re.search(r"lora_[AB]\b|^compressor\.", name)
        ]
        layers = [
            name for name in names if any(_ends(name, target) for target in self.target_modules)
        ]
        unknown = [
            end for end in self.target_modules if not any(_ends(name, end) for name in names)
        ]
        if unknown or not layers:
            available = dict.fromkeys(re.sub(r"^blocks\.\d+\.", "", name) for name in names)
            raise ValueError(
                f"adapters.{role}.target_modules={list(self.target_modules)}: no linear layer is "
                f"called {', '.join(unknown) or 'so'}; there are {', '.join(available)}"
            )
        narrow = min(min(network.get_parameter(f"{name}.weight").shape) for name in layers)
        if self.r > narrow:
            raise ValueError(
                f"adapters.{role}.r={self.r} must lie in 1 to {narrow}, the narrowest side of the "
                "layers that it is to change"
            )
        return layers


class AdaptedBackbone(WrappedBackbone):
    """A role of a shared network: its own parameters are its factors and nothing else.

    The shared network is no submodule: it is in no role's parameters, optimiser or checkpoint, and
    is held, moved and sharded once. One network with the factors of all roles in its layers, rather
    than a network for each role that shares weights, since FSDP2 shards a parameter in one module.
    The layers are written here and not PEFT's, whose `set_adapter` freezes all others on the way:
    gradients of a role would be dropped in a step that calls another before its backward pass.

    Attributes:
        network: the shared one.
        role: whose factors these are.
        settings: how they were made.
        layers: names of the layers that they change.
        factors: `blocks.0.self_attn.q.lora_A.weight` and so on: the same as within the network.
    """

    network: VideoTransformer

    def __init__(
        self, network: VideoTransformer, role: str, settings: Adapter, layers: Sequence[str]
    ) -> None:
        super().__init__(network)
        del self._modules["network"]
        self.__dict__["network"] = network  # which nn.Module would make a submodule
        self.role, self.settings, self.layers = role, settings, tuple(layers)
        if network.active is None:
            network.active = ActiveRole()
            network.requires_grad_(False)
        self.factors = nn.Module()
        for name in self.layers:
            layer = _role_linear(network, name, network.active)
            if role in layer.scales:
                raise ValueError(f"the network has the role {role} already; give it another name")
            _put(self.factors, name, layer.add(role, settings.r, settings.scale))

    def forward(
        self,
        x_t: Latents,
        t: Times,
        cond: Conditioning,
        past: Prepared = NOTHING,
        mask: Mask | None = None,
    ) -> Prediction:
        """The shared network's, with this role's difference."""
        with self._active():
            prediction: Prediction = self.network(x_t, t, cond, past, mask)
        return prediction

    @override
    def prepare(self, past: Past, cond: Conditioning, times: Sequence[float] = ()) -> Prepared:
        with self._active():
            return self.network.prepare(past, cond, times)

    def merged(self, own: Mapping[str, Tensor], factors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The weights of a network that needs no factors, as reading it with its LoRA makes them.

        They are float32 at least: in bfloat16 most of the difference would be lost.

        Args:
            own: the shared network's state dict; roles' factors in it are passed over.
            factors: this role's state dict.
        """
        weights = {
            name: weight.to(torch.promote_types(weight.dtype, torch.float32))
            for name, weight in own.items()
            if not is_factor(name)
        }
        for layer in self.layers:
            weight = weights[f"{layer}.weight"]
            a, b = (factors[f"factors.{layer}.lora_{x}.weight"].to(weight.device) for x in "AB")
            update = Update(1.0, self.settings.scale, down=a, up=b)
            weights[f"{layer}.weight"] = updated(weight, [update])
        return weights

    def __getattr__(self, name: str) -> Any:
        """Sizes and the like are the shared network's."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name == "network":  # not there yet
                raise
            return getattr(self.network, name)

    def __deepcopy__(self, memo: dict[int, Any]) -> AdaptedBackbone:
        """Another role of the same network, which begins as this one: its average, for example."""
        names = (f"{self.role}_{number}" for number in range(2, 1000))
        first = _role_linear(self.network, self.layers[0], self._role)
        role = next(name for name in names if name not in first.scales)
        adapted = AdaptedBackbone(self.network, role, self.settings, self.layers)
        with torch.no_grad():
            for target, source in zip(adapted.parameters(), self.parameters(), strict=True):
                target.copy_(source)
        return adapted

    def _apply(self, fn: Any, recurse: bool = True) -> Self:
        """Moves and casts are of the shared network, within which the factors are."""
        self.network._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return self

    @property
    def _role(self) -> ActiveRole:
        assert self.network.active is not None
        return self.network.active

    def _active(self) -> AbstractContextManager[None]:
        return self._role.of(self.role)


def shared_networks(networks: Iterable[nn.Module | None]) -> list[VideoTransformer]:
    """What roles among these and within them are around, each once."""
    parts = (part for network in networks if network is not None for part in network.modules())
    shared = (part.network for part in parts if isinstance(part, AdaptedBackbone))
    return list({id(network): network for network in shared}.values())


def parts_with_shared(module: nn.Module) -> Iterator[nn.Module]:
    """All parts of a module, and those of networks that roles within it share."""
    yield from module.modules()
    for network in shared_networks([module]):
        yield from network.modules()


def exported_size(network: nn.Module) -> int:
    """Numbers of a network's weights; of a role, those of the network that it is merged into."""
    base = network.network if isinstance(network, AdaptedBackbone) else network
    return sum(p.numel() for name, p in base.named_parameters() if not is_factor(name))


def freeze(network: nn.Module, dtype: torch.dtype | None = None) -> None:
    """Freeze a network as it is; factors of roles within it are left to the roles.

    Args:
        network: in place.
        dtype: of what is frozen, from now on; None: as it is.
    """
    for part in network.eval().modules():
        if isinstance(part, RoleLinear):
            part.lora_A.train()
            part.lora_B.train()
    for name, parameter in network.named_parameters():
        if not is_factor(name):
            parameter.requires_grad_(False)
            if dtype is not None:
                parameter.data = parameter.data.to(dtype)


def store_as_read(network: nn.Module, dtype: torch.dtype) -> None:
    """Keep the frozen layers that roles change in the type in which autocast reads them.

    What comes out is the same: autocast would cast them anew in every call, and a graph would hold
    each call's cast, since it keeps none of what wants no gradient.

    Args:
        network: in place.
        dtype: of mixed precision.
    """
    for part in network.modules():
        if isinstance(part, RoleLinear):
            for parameter in part.parameters(recurse=False):
                parameter.data = parameter.data.to(dtype)


def _ends(name: str, target: str) -> bool:
    return name == target or name.endswith(f".{target}")


def _role_linear(network: nn.Module, name: str, active: ActiveRole) -> RoleLinear:
    """A layer of the network, which from now on knows roles."""
    above, _, last = name.rpartition(".")
    parent = network.get_submodule(above)
    layer = getattr(parent, last)
    if not isinstance(layer, RoleLinear):
        layer = RoleLinear(layer, active)
        setattr(parent, last, layer)
    return layer


def _put(tree: nn.Module, name: str, leaf: nn.Module) -> None:
    """Put a module where its name says, with what lies between."""
    *above, last = name.split(".")
    for part in above:
        if not hasattr(tree, part):
            tree.add_module(part, nn.Module())
        tree = tree.get_submodule(part)
    tree.add_module(last, leaf)
