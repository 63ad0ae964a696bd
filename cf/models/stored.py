"""What is read of a file of weights: tensors by name, and what the file says beside them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from cf.files.downloads import to_fetch

State = dict[str, Tensor]

_LONGEST = 120


class CheckpointError(ValueError):
    """A file of weights cannot be used; the message names it and the remedy."""


@dataclass(frozen=True)
class Stored:
    """Tensors of one network as they lie on disk.

    Attributes:
        state: under the names that the file has for them.
        said: a header's metadata, or the plain values beside the tensors of a pickle.
        file: where they are from; of shards, their index.
        chosen: whether the container that was asked for is taken out already.
        made: how tensors become float32 that stand in `state` by their shape alone, on "meta".
    """

    state: State
    said: dict[str, Any]
    file: Path
    chosen: bool = False
    made: Mapping[str, Callable[[Tensor], Tensor]] = field(default_factory=dict)


def absent(path: str | Path) -> CheckpointError:
    """What to say of a path at which nothing is."""
    got = to_fetch(path) or "; give a file of weights, or its folder"
    return CheckpointError(f"{path} does not exist{got}")


def some(names: Sequence[str]) -> str:
    """The first few names, and how many more there are.

    >>> some(["a", "b", "c", "d"])
    'a, b, c and 1 more'
    """
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(map(shown_key, names[:3])) + more


def shown_shape(weight: Tensor) -> str:
    """The shape of a weight in messages."""
    return " x ".join(map(str, weight.shape)) or "a number"


def shown_key(name: str) -> str:
    r"""A name out of a stranger's file as a message can hold it.

    >>> shown_key("a" * 200)[-10:], shown_key("a\nb")
    ('aaaaaaa...', 'a\\nb')
    """
    clear = "".join(x if x.isprintable() else repr(x)[1:-1] for x in name[:_LONGEST])
    return clear + ("..." if len(name) > _LONGEST else "")
