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
    alone = sum(average_of(candidate) is None for candidate in there) == 1
    weights = set(there[name])
    averages = []
    for candidate, names in there.items():
        if not (is_average(candidate, name, alone) or candidate == "ema"):
            continue
        if weights <= set(names) and not any(map(is_placed, set(names) - weights)):
            averages.append(candidate)
        elif len(names) >= len(weights):
            raise CheckpointError(
                f"{file} holds {candidate}, an average whose weights have other names than those "
                f"of {name or 'the network'}; say which to take, container={candidate} or "
                f"container={name or 'model'}"
            )
    if len(averages) > 1:
        raise CheckpointError(
            f"{file} holds several averages of one network, {some(averages)}; say which to take, "
            f"container={averages[0]}"
        )
    if not averages:
        return name
    log.info("%s: %s is taken, the average of %s", file, averages[0], name or "its weights")
    return averages[0]


def is_average(other: str, name: str, alone: bool) -> bool:
    """Whether one network is called an average of another.

    Args:
        other: what may be the average.
        name: of the network.
        alone: whether it is the only network, so that an average needs no name.
    """
    stem = "_".join(_words(name))
    return average_of(other) in ((stem, *_WHOLE) if alone else (stem,))


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
        entry
        for entry in sorted(path.parent.iterdir())
        if entry.is_dir() == folder
        and (folder or entry.suffix in _ENDINGS)
        and average_of(entry.stem) in meant
    ]


def _words(name: str) -> list[str]:
    return [word for word in re.split(r"[._]", name.lower()) if word]
