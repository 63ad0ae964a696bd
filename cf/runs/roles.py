"""A training's module, in which roles that begin with one network are given one."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from cf.files.shipped import shipped
from cf.runs.same_latents import refuse_other_latents
from cf.settings.build import Settings, build
from cf.system.memory import computer_bytes, refuse_beyond_computer

_ROLES = {"network": "student", "student": "student", "teacher": "teacher", "critic": "critic"}
"""The module's settings of networks, and which role each has."""
_SHOWN = ("teacher", "guide")
"""Roles that are shown latents and learn nothing of them."""
_ASIDE = ("_partial_", "required")
"""What is said of a role and makes no other network of it."""
_LARGE = 16
"""Networks of less than this part of the computer's memory are not looked at beforehand."""


def built_module(settings: Settings) -> Any:
    """The module of a training as its settings say.

    Raises:
        ValueError: an unknown setting, a missing one, or a value of the wrong kind; adapters on
            nothing; a teacher or a guide of the latents of another codec.
    """
    group = settings["module"]
    for name in (*_ROLES, "guide"):
        role = _role(group, name)
        _refuse_before_it_is_made(name, role)
        if name in _SHOWN and role and role.get("path") is not None:
            refuse_other_latents(str(role["path"]), group.get("codec"), f"start.{name}.path")
    try:
        return _built(group)
    except ValueError as error:
        raise _as_typed(error, settings) from None


def _as_typed(error: ValueError, settings: Settings) -> ValueError:
    """A mistake in a part of the module that is typed as a group of its own, under that name."""
    part = re.match(r"module\.(\w+)", str(error))
    typed = None if part is None else settings.get(part[1])
    if type(error) is not ValueError or part is None or typed is None:
        return error
    is_own = typed == settings["module"].get(part[1])
    return ValueError(str(error).removeprefix("module.")) if is_own else error


def _built(group: Settings) -> Any:
    if not group.get("adapters"):
        return build(group, "module")

    def begun(name: str, role: Settings) -> Any:
        adapted = _ROLES.get(name)  # a guide never is
        if role["path"] is None and group["adapters"].get(adapted):
            raise ValueError(
                f"an adapter changes a network that is trained already; give start.{adapted}.path"
            )
        return build(role, f"module.{name}")

    return build(group, "module", **role_networks(group, begun))


def _role(group: Settings, name: str) -> Settings | None:
    """The settings of a role's network; a guide's stand within those of its view of the past."""
    role: Settings | None = group.get(name)
    return role["network"] if role and name == "guide" else role


def _refuse_before_it_is_made(name: str, role: Settings | None) -> None:
    """Look at a large network before memory is taken for it.

    Raises:
        ValueError: it is larger than the computer's memory, its weights are of another network, or
            it begins with weights and none are given.
    """
    from cf.models.checkpoints import load_weights
    from cf.models.writer import refuse_other_network
    from cf.runs.outline import outlined

    if not role or "network" not in role:
        return
    if role.get("required") and role.get("path") is None:
        raise ValueError(f"start.{name}.path must be given: a run's folder, or published weights")
    network = outlined(role["network"], "float32")
    needed = sum(x.numel() * x.element_size() for x in network.parameters())
    if needed < computer_bytes() / _LARGE:
        return
    if role["path"] is not None:
        updates = (role.get("container"), role.get("lora"), role.get("lora_alpha"))
        path = shipped(str(role["path"]))
        refuse_other_network(network, load_weights(path, *updates), path)
    refuse_beyond_computer(needed, f"the network of module.{name} in float32")


def role_networks(group: Settings, make: Callable[[str, Settings], Any]) -> dict[str, Any]:
    """What a module's roles begin with; a critic's is made when it is asked for.

    Roles that are not trained whole are given one network where their settings are alike, and each
    of the others one of its own.

    Args:
        group: the module's settings.
        make: of a setting's name and the settings of a role's network, which say how it begins.
    """
    adapters = group.get("adapters") or {}
    shared: list[tuple[Settings, Any]] = []

    def given(name: str) -> Any:
        role = {key: value for key, value in group[name].items() if key != "_partial_"}
        if not (adapters.get(_ROLES[name]) or (adapters and name == "teacher")):
            return make(name, role)
        alike = {key: value for key, value in role.items() if key not in _ASIDE}
        for other, network in shared:
            if other == alike:
                return network
        shared.append((alike, make(name, role)))
        return shared[-1][1]

    networks = {name: given(name) for name in _ROLES if name in group and name != "critic"}
    if (guide := _role(group, "guide")) is not None:
        view = {name: value for name, value in group["guide"].items() if name != "network"}
        score = build({**view, "_partial_": True}, "module.guide")
        networks["guide"] = score(make("guide", guide))
    return networks | ({"critic": lambda: given("critic")} if "critic" in group else {})
