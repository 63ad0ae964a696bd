"""Bytes that a training holds from its first step to its last, by what they are for."""

from __future__ import annotations

from typing import Any

from cf.settings.build import Settings

_MASTER = 4  # bytes of a weight that is trained


def shards_weights(settings: Settings) -> bool:
    """Whether the trainer spreads weights over cards (FSDP)."""
    strategy = settings["trainer"].get("strategy")
    named = strategy.get("_target_", "") if isinstance(strategy, dict) else str(strategy)
    return any(word in named.lower() for word in ("fsdp", "fullyshard", "modelparallel"))


def role_bytes(settings: Settings, module: Any, shards: int) -> dict[str, int]:
    """Bytes of weights, gradients and states, and of what a strategy holds for itself."""
    from cf.models.adapters import shared_networks
    from cf.models.allocated import bytes_of
    from cf.models.low_rank import is_factor
    from cf.modules.optim_8bit import makers_of

    networks = {"student": getattr(module, "trained", None)}
    networks["critic"] = getattr(module, "critic", None)
    makers = makers_of(module)
    roles: dict[str, int] = {}
    trained: list[int] = []
    for (name, network), maker in zip(networks.items(), (*makers, makers[-1]), strict=False):
        if network is None:
            continue
        size = sum(p.nbytes for p in network.parameters() if p.requires_grad)
        trained.append(size)
        roles[f"{name}: weights"] = bytes_of(network) // shards
        roles[f"{name}: gradients"] = size // shards
        roles[f"{name}: optimiser"] = _states(network, maker) // shards
    if module.average is not None:
        roles["average of weights"] = bytes_of(module.average.network) // shards
    real = getattr(module, "networks", None) and module.networks.real
    real = real or (getattr(module, "roles", None) and module.roles.teacher)
    teacher = real and real.network
    every = [network for network in (*networks.values(), teacher) if network is not None]
    shared = shared_networks(every)
    half = 2 if _is_half(settings) else 1  # of what is frozen, and so stored as it is read
    stored = half if shards_weights(settings) else 1
    if teacher is not None and all(network is not teacher for network in shared):
        roles["teacher: weights"] = bytes_of(teacher) // shards // stored
    if real and real.guide is not None:
        every.append(real.guide.network)
        roles["guide: weights"] = bytes_of(real.guide.network) // shards // stored
    weights = (
        p for network in shared for name, p in network.named_parameters() if not is_factor(name)
    )
    roles["shared networks: weights"] = sum(p.nbytes for p in weights) // shards // half
    every = [network for network in every if not shared_networks([network])] + shared
    every = list({id(network): network for network in every}.values())
    return roles | _strategy(settings, every, trained, shards)


def _is_half(settings: Settings) -> bool:
    precision = str(settings["trainer"].get("precision", "32-true"))
    return precision.startswith(("bf16-mixed", "16-mixed"))


def _states(network: Any, maker: Any) -> int:
    """Bytes of an optimiser's states, found by a step on shapes."""
    import torch

    from cf.models.allocated import Allocated
    from cf.modules.optim_8bit import bytes_of_8bit_states, is_8bit

    if is_8bit(maker):  # whose library need not be there to plan with
        return bytes_of_8bit_states(p for p in network.parameters() if p.requires_grad)

    for parameter in network.parameters():
        if parameter.requires_grad:
            parameter.grad = torch.empty_like(parameter)
    optimizer = maker(network)
    tensors = [x for p in network.parameters() for x in (p, p.grad) if x is not None]
    with Allocated(held=tensors) as count:
        before = count.now
        optimizer.step()
        states = count.now - before
    for parameter in network.parameters():
        parameter.grad = None
    return states


def _strategy(
    settings: Settings, networks: list[Any], trained: list[int], shards: int
) -> dict[str, int]:
    """What a strategy and a precision hold besides, by estimate."""
    trainer = settings["trainer"]
    half = _is_half(settings)
    read = 2 if half else _MASTER
    if not shards_weights(settings):
        roles = {"casts of trained weights": max(trained) // 2} if half else {}
        if "ddp" in str(trainer.get("strategy")):
            roles["DDP's buckets"] = sum(trained)
        return roles
    if shards == 1:
        return {}
    from cf.models.wrapped import blocks_of

    block_lists = [blocks_of(network) for network in networks]
    blocks = [sum(p.numel() for p in block_list[0].parameters()) for block_list in block_lists]
    wholes = [sum(p.numel() for p in network.parameters()) for network in networks]
    roots = [
        total - block * len(block_list)
        for total, block, block_list in zip(wholes, blocks, block_lists, strict=True)
    ]
    gathered = 2 * max(blocks) * (read + read + _MASTER)  # two blocks, their gradients, reduced
    roles = {"gathered blocks": gathered, "gathered ends of networks": sum(roots) * read}
    strategy = trainer.get("strategy") if isinstance(trainer.get("strategy"), dict) else {}
    accumulates = int(settings["module"].get("accumulate") or 1) > 1
    if accumulates and not strategy.get("sync_while_accumulating", False):
        roles["gradients of batches"] = max(trained)
    return roles
