"""Low-rank and other updates of weights: read in every spelling, and summed in float32."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from cf.files.home import expanded
from cf.models.fused import any_fused, split_update
from cf.models.names import bare_name
from cf.models.stored import CheckpointError, State, Stored, shown_key, shown_shape, some
from cf.models.update_names import Targets, adapters, is_update, part_of
from cf.models.update_scale import scale_of

Lora = str | Path | Mapping[str, Any] | Sequence[Any] | None
_KNOWN = ("path", "strength", "alpha")


@dataclass(frozen=True)
class LoraFile:
    """A file of updates as a user gives it.

    Attributes:
        path: the file, or a folder with one.
        strength: the difference that it makes is multiplied by this.
        alpha: None: as its file says.
    """

    path: str
    strength: float = 1.0
    alpha: float | None = None


def lora_files(lora: Lora, alpha: float | None = None) -> list[LoraFile]:
    """The files of updates that a setting names, in an order that is not the setting's.

    Args:
        lora: a path, {path, strength, alpha}, or a list of these; None: none.
        alpha: of those that have none of their own.

    Raises:
        ValueError: if it is neither; shows it.
    """
    if lora is None:
        return []
    given = [lora] if isinstance(lora, str | Path | Mapping) else list(lora)
    files = []
    for one in given:
        said: Any = {"path": one} if isinstance(one, str | Path) else one
        known = isinstance(said, Mapping) and "path" in said and not set(said) - set(_KNOWN)
        if not known or not isinstance(said["path"], str | Path):
            raise ValueError(
                f"lora must be a path, {{path: ..., strength: ...}} or a list of these, got {one!r}"
            )
        strength, own = said.get("strength", 1.0), said.get("alpha")
        for name, value in (("strength", strength), ("alpha", 1.0 if own is None else own)):
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise ValueError(f"lora's {name} must be a number, got {value!r}")
            if not math.isfinite(value):
                raise ValueError(f"lora's {name} must be finite, got {value!r}")
        files.append(
            LoraFile(str(expanded(said["path"])), float(strength), alpha if own is None else own)
        )
    # By what a moved folder does not change: the sum's last bits hang on the order.
    return sorted(files, key=lambda f: (Path(f.path).name, f.strength, f.alpha or 0, f.path))


@dataclass
class Update:
    """What one file does to one weight.

    Attributes:
        strength: the difference is multiplied by this.
        down, up: factors; the update is scale * up @ down.
        magnitude: of DoRA (https://arxiv.org/abs/2402.09353), each row's or column's norm.
        up_bias: of a bias: scale times this is added.
        add, value: a difference, and what takes the weight's place.
    """

    strength: float
    scale: float = 1.0
    down: Tensor | None = None
    up: Tensor | None = None
    magnitude: Tensor | None = None
    up_bias: Tensor | None = None
    add: Tensor | None = None
    value: Tensor | None = None

    def difference(self, weight: Tensor) -> Tensor:
        """What is to be added to a weight, in float32."""
        changed = weight if self.value is None else self.value.float().view_as(weight)
        if self.down is not None and self.up is not None:
            full = self.up.float().flatten(1) @ self.down.float().flatten(1)
            changed = changed + self.scale * full.reshape(weight.shape)
        if self.magnitude is not None:
            changed = _with_norms(changed, self.magnitude.float())
        if self.up_bias is not None:
            changed = changed + self.scale * self.up_bias.float().view_as(weight)
        if self.add is not None:
            changed = changed + self.add.float().view_as(weight)
        return self.strength * (changed - weight)

    def replaces(self) -> bool:
        """Whether it does nothing but put another weight in place."""
        others = (self.down, self.up, self.magnitude, self.up_bias, self.add)
        return self.value is not None and all(x is None for x in others)

    def fits(self, weight: Tensor) -> bool:
        """Whether the result has the weight's shape."""
        whole = all(
            x is None or x.squeeze().shape == weight.squeeze().shape
            for x in (self.up_bias, self.add, self.value)
        )
        if self.down is None and self.up is None:
            held = (self.magnitude, self.up_bias, self.add, self.value)
            return whole and self.magnitude is None and any(x is not None for x in held)
        if self.down is None or self.up is None:
            return False
        if min(x.ndim for x in (self.down, self.up, weight)) < 2 or not self.down.numel():
            return False
        inner = self.down[0].squeeze().shape
        if self.down.ndim > 2 and inner != weight[0].squeeze().shape:
            return False
        up, down = self.up.flatten(1).shape, self.down.flatten(1).shape
        size = up[0] == len(weight) and up[0] * down[1] == weight.numel()
        norms = self.magnitude is None or self.magnitude.numel() in (up[0], weight[0].numel())
        return whole and norms and up[1] == down[0] and size


def _with_norms(weight: Tensor, magnitude: Tensor) -> Tensor:
    """The weight with these norms of its rows or, where they lie so, of its columns."""
    by_row = magnitude.numel() == len(weight) and not (
        magnitude.ndim == 2 and len(magnitude) == 1 and len(weight) > 1
    )
    flat = weight.flatten(1)
    norms = flat.norm(dim=1 if by_row else 0, keepdim=True)
    changed: Tensor = flat * (magnitude.view_as(norms) / norms)
    return changed.view_as(weight)


Updates = dict[str, list[Update]]


def read_updates(
    stored: Stored, weights: Mapping[str, Tensor], strength: float, alpha: float | None
) -> Updates:
    """What a file does to each weight of a model.

    Args:
        stored: the file.
        weights: the model's, under Wan's names; only their shapes are looked at.
        strength: the differences are multiplied by this.
        alpha: outweighs what the file says.

    Raises:
        CheckpointError: if any tensor of the file has no place, or no such shape.
    """
    if not stored.state:
        raise CheckpointError(f"{stored.file} holds no tensors; give a LoRA")
    if stored.made:
        raise CheckpointError(
            f"{stored.file} is no file of updates (GGUF, or a distributed checkpoint); give the "
            "LoRA as safetensors or .pt"
        )
    scale = scale_of(stored, alpha)  # whose settings may say that it is no LoRA
    parts = {name: part_of(name) for name in stored.state}
    if not any(part for _, part, _ in parts.values()) and not any(map(is_update, parts)):
        raise CheckpointError(
            f"{stored.file} holds whole weights, {some(list(parts))}, and no update of any; give a "
            "LoRA, or give this file in the place of the weights"
        )
    found, alphas, called = _collected(stored, parts, weights, strength)
    for weight, one in found.items():
        if not one.fits(weights[weight]):
            raise CheckpointError(
                f"{stored.file} updates {weight} by factors that do not make its shape "
                f"{shown_shape(weights[weight])}; give the file that belongs to these weights"
            )
        if one.down is not None and one.magnitude is None and scale.with_norms:
            raise CheckpointError(
                f"{stored.file} holds no norms of {weight}, though the settings with it say "
                "use_dora=true; save it again by PEFT, or put its own adapter_config.json beside it"
            )
        if one.down is not None:
            names = sorted(called[weight])
            one.scale = scale.of(names, len(one.down), alphas.get(weight))
    for weight, one in found.items():
        if one.up_bias is not None and (
            factors := found.get(f"{weight.removesuffix('.bias')}.weight")
        ):
            one.scale = factors.scale
    _refuse_numbers(
        {name: x for name, x in stored.state.items() if parts[name][1] != "alpha"}, stored.file
    )
    return {weight: [one] for weight, one in found.items()}


def _collected(
    stored: Stored,
    parts: Mapping[str, tuple[str, str, str | None]],
    weights: Mapping[str, Tensor],
    strength: float,
) -> tuple[dict[str, Update], State, dict[str, set[str]]]:
    """By weight: its update, its own alpha, and what its module is called for PEFT's patterns."""
    fused = not any_fused(weights)  # unless the model's own projections are
    adapters(parts, stored.file, fused)
    targets = Targets(weights, stored.state, stored.file)
    found: dict[str, Update] = {}
    alphas: State = {}
    called: dict[str, set[str]] = {}
    for name, (module, part, adapter) in parts.items():
        whole = ((module, stored.state[name]),)
        split = split_update(name, module, part, adapter, stored.state[name], stored.file)
        for own, value in split if fused else whole:
            weight = targets.find(name, own, part)
            one = found.setdefault(weight, Update(strength))
            called.setdefault(weight, {weight.rpartition(".")[0]}).add(bare_name(module))
            if part == "alpha":
                alphas[weight] = value
            else:
                _put(one, part, value, name, stored.file)
    return found, alphas, called


def _refuse_numbers(tensors: State, file: Path) -> None:
    """Whole numbers, which are quantised, and what is not finite."""
    if whole := [name for name, x in tensors.items() if not x.is_floating_point()]:
        raise CheckpointError(
            f"{file} holds {some(whole)} as {tensors[whole[0]].dtype}, which are no numbers "
            "of an update; give the LoRA in bfloat16, float16 or float32"
        )
    if broken := [name for name, x in tensors.items() if not x.float().isfinite().all()]:
        raise CheckpointError(
            f"{file} holds NaN or infinite numbers in {some(broken)}; give another file"
        )


def joined_updates(several: Sequence[Updates]) -> Updates:
    """The updates of several files, those of one weight together."""
    together: Updates = {}
    for updates in several:
        for name, ones in updates.items():
            together.setdefault(name, []).extend(ones)
    return together


def updated(weight: Tensor, updates: Sequence[Update]) -> Tensor:
    """A weight with all its updates, computed in float32; each is of the weight as it was."""
    only = updates[0]
    if len(updates) == 1 and only.strength == 1 and only.replaces():
        assert only.value is not None
        return only.value.float().view_as(weight).to(weight.dtype)
    base = weight.float()
    changed = base.clone()
    for one in updates:
        changed += one.difference(base)
    return changed.to(weight.dtype)


def _put(one: Update, part: str, value: Tensor, name: str, source: Path) -> None:
    place = {"": "value", "set": "value"}.get(part, part)
    place = "add" if place.startswith("add") else place
    if getattr(one, place) is not None:
        raise CheckpointError(
            f"{source} holds {shown_key(name)} twice, under several names; save one of each"
        )
    setattr(one, place, value)
