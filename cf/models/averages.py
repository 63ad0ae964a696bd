"""Moving averages (EMA) of a training's weights, which lie beside the weights that they are of."""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Mapping
from pathlib import Path

from cf.models.names import is_placed
from cf.models.stored import CheckpointError, some

log = logging.getLogger("cf")

_WHOLE = ("", "model", "network", "net", "module", "params", "weights")
"""What an average may be said to be of where it is of the only network."""

_MARKS = ("ema", "emas", "swa", "averaged", "average", "avg", "polyak")
_BESIDE = (*_MARKS, "shadow", "callbacks")
"""Words that do not tell whose average it is."""

_ENDINGS = (".safetensors", ".pt", ".pth", ".bin", ".ckpt")


def average_of(name: str) -> str | None:
    """What a network's name says that it is an average of; None: it is none.

    >>> average_of("generator_ema"), average_of("ema.shadow"), average_of("model")
    ('generator', '', None)
    """
    words = _words(name)
    if not set(words) & set(_MARKS):
        return None
    return "_".join(word for word in words if word not in _BESIDE and not word.isdigit())


def preferred(name: str, there: Mapping[str, Collection[str]], file: object) -> str:
    """The average of a network where it lies beside it, for videos are made with it; else itself.

    An average of a part of the network is none; numbers of the averaging itself may lie in it.

    Args:
        name: of the network that is meant.
        there: networks of a file, and what each calls its weights.
        file: for messages.

    Raises:
        CheckpointError: if there are several averages of it, or one whose weights have other names.
    """
    if average_of(name) is not None:
        return name
    alone = sum(average_of(other) is None for other in there) == 1
    weights = set(there[name])
    found = []
    for other, held in there.items():
        if not (is_average(other, name, alone) or other == "ema"):
            continue
        if weights <= set(held) and not any(map(is_placed, set(held) - weights)):
            found.append(other)
        elif len(held) >= len(weights):
            raise CheckpointError(
                f"{file} holds {other}, an average whose weights have other names than those of "
                f"{name or 'the network'}; say which to take, container={other} or "
                f"container={name or 'model'}"
            )
    if len(found) > 1:
        raise CheckpointError(
            f"{file} holds several averages of one network, {some(found)}; say which to take, "
            f"container={found[0]}"
        )
    if not found:
        return name
    log.info("%s: %s is taken, the average of %s", file, found[0], name or "its weights")
    return found[0]


def is_average(other: str, name: str, alone: bool) -> bool:
    """Whether one network is called an average of another.

    Args:
        other: what may be the average.
        name: of the network.
        alone: whether it is the only network, so that an average needs no name.
    """
    own = "_".join(_words(name))
    return average_of(other) in ((own, *_WHOLE) if alone else (own,))


def averages_beside(path: Path) -> list[Path]:
    """What lies beside a network's file or folder and is called an average of it.

    Args:
        path: `model.safetensors`, beside which may be `model_ema.safetensors`, or `transformer`,
            beside which may be `transformer_ema`.
    """
    if average_of(path.stem) is not None:
        return []
    folder, meant = path.is_dir(), ("_".join(_words(path.stem)), *_WHOLE)
    return [
        one
        for one in sorted(path.parent.iterdir())
        if one.is_dir() == folder
        and (folder or one.suffix in _ENDINGS)
        and average_of(one.stem) in meant
    ]


def _words(name: str) -> list[str]:
    return [word for word in re.split(r"[._]", name.lower()) if word]
