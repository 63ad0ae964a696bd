"""One transformer of Wan's architecture out of what others publish, under Wan's own names."""

from collections.abc import Mapping
from pathlib import Path

from cf.models.averages import average_of, is_average, preferred
from cf.models.fused import unfused
from cf.models.kinds import not_a_transformer, refuse_other_transformer
from cf.models.names import is_diffusers, named, networks, only, to_wan_name
from cf.models.pickles import CONTAINERS
from cf.models.quantised import Make, unquantised
from cf.models.stored import CheckpointError, State, Stored, some
from cf.models.update_names import is_update, part_of
from cf.models.updates import Updates, read_updates


def published_weights(
    stored: Stored, path: str | Path, container: str | None, alpha: float | None
) -> tuple[State, dict[str, Make], Updates]:
    """The weights, how quantised ones are read, and the updates that PEFT saved within them.

    Args:
        stored: a file.
        path: as the user gave it, for messages.
        container: which network of the file; None: the one, or the customary one.
        alpha: of the updates within; None: as the file says.

    Raises:
        CheckpointError: if there is no such network, or one that is not read.
    """
    state, blocks = _network(stored, path, container)
    inner = {name: weight for name, weight in state.items() if is_update(name)}
    state = {part_of(name)[0]: weight for name, weight in state.items() if name not in inner}
    if "patch_embedding.weight" not in state:
        if inner:
            raise CheckpointError(
                f"{path} holds low-rank updates (LoRA) rather than weights; give it as "
                "weights.lora, beside the weights that it updates"
            )
        raise not_a_transformer(stored.state, path)
    inner = {name: blocks[name](x) if name in blocks else x for name, x in inner.items()}
    weights, makers = unquantised(stored, state)
    if makers.keys() & blocks.keys():
        raise CheckpointError(
            f"{path} holds 8-bit weights in a distributed checkpoint; make one file of it: python "
            f"-m torch.distributed.checkpoint.format_utils dcp_to_torch '{path}' model.pt"
        )
    makers |= {part_of(name)[0]: make for name, make in blocks.items() if name not in inner}
    weights, makers = unfused(weights, makers, path)
    if is_diffusers(weights):
        weights = {to_wan_name(name): weight for name, weight in weights.items()}
        makers = {to_wan_name(name): make for name, make in makers.items()}
    if weights["patch_embedding.weight"].ndim == 4:  # of pictures
        raise not_a_transformer(stored.state, path)
    refuse_other_transformer(weights, path)
    within = Stored(inner, stored.said, stored.file)
    return weights, makers, read_updates(within, weights, 1.0, alpha) if inner else {}


def _network(
    stored: Stored, path: str | Path, container: str | None
) -> tuple[State, dict[str, Make]]:
    """One network's tensors under bare names, where a file's names may have several."""
    names = networks(stored.state)
    called = _called(names, stored, path, container)
    bare_of = only(stored.state, "") if called is None else _only(stored, names, called)
    if container is None and average_of(called or "") is None:
        _refuse_joined(stored.state, bare_of, called or "", path)
    if len(set(bare_of.values())) != len(bare_of):
        raise CheckpointError(
            f"{path} holds some weights twice, under different prefixes; save one of each"
        )
    state = {bare: stored.state[name] for name, bare in bare_of.items()}
    return state, {bare: stored.made[name] for name, bare in bare_of.items() if name in stored.made}


def _refuse_joined(state: State, bare_of: Mapping[str, str], called: str, path: str | Path) -> None:
    """Refuse to pass over an average whose names have lost their dots, as latent diffusion's."""
    firsts = {name: name.partition(".")[0] for name in state if name not in bare_of}
    averages = [name for name, first in firsts.items() if is_average(first, called, alone=True)]
    if len(averages) >= len(bare_of):
        raise CheckpointError(
            f"{path} holds an average of the network under names that are not read, "
            f"{some(averages)}; save it under the network's own names, or say "
            f"container={called or 'model'} for the network itself"
        )


def _called(
    names: Mapping[str, str], stored: Stored, path: str | Path, container: str | None
) -> str | None:
    """What the network is called that is meant; None: there is none."""
    requested = None if stored.chosen else container
    wanted = CONTAINERS if requested is None else (requested,)
    called = next((match for choice in wanted if (match := named(names, choice)) is not None), None)
    plain = [name for name in names if average_of(name) is None]
    if called is None and len(names) > 1 and len(plain) == 1 and requested is None:
        called = plain[0]
    if called is None and len(names) > 1:
        labels = [name or prefix.strip(".") or "without prefix" for name, prefix in names.items()]
        raise CheckpointError(
            f"{path} holds the networks {some(labels)}; say which to take, "
            f"container={next(name for name in names if name)}"
        )
    if called is None and requested is not None:
        raise one_network(path, requested)
    if called is None or requested is not None:
        return next(iter(names), None) if called is None else called
    return preferred(called, {name: _only(stored, names, name).values() for name in names}, path)


def _only(stored: Stored, names: Mapping[str, str], called: str) -> dict[str, str]:
    return only(stored.state, names[called], [names[name] for name in names if name != called])


def one_network(path: str | Path, container: str) -> CheckpointError:
    """What to say where a container is named and there is but one network."""
    return CheckpointError(f"{path} holds one network, so leave container={container!r} out")
