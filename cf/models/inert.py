"""Stand-ins for the plain objects that training scripts save beside tensors: none runs anything."""

import struct
from _codecs import encode
from argparse import Namespace
from collections import OrderedDict
from typing import Any

_LETTERS = {"f2": "e", "f4": "f", "f8": "d", "i1": "b", "i2": "h", "i4": "i", "i8": "q"}
_LETTERS |= {"u1": "B", "u2": "H", "u4": "I", "u8": "Q", "b1": "?"}


class _Settings:
    """Stands for an object of settings that lies beside tensors; it is not looked into."""

    def __init__(self, *_: Any) -> None:
        """Take whatever the file says."""

    def __setstate__(self, state: Any) -> None:
        """Forget it."""


def _mapping(*_: Any) -> OrderedDict[Any, Any]:
    """Stands for a dict with defaults, and holds what the file puts into it."""
    return OrderedDict()


def _sequence(*_: Any) -> list[Any]:
    """Stands for a queue."""
    return []


class _Kind:
    """Of a NumPy number."""

    def __init__(self, name: Any = "", *_: Any) -> None:
        self.letters = "<" + _LETTERS.get(str(name), "")

    def __setstate__(self, state: Any) -> None:
        """Take the order of bytes."""
        if isinstance(state, tuple) and ">" in state[1:2]:
            self.letters = ">" + self.letters[1:]


def _number(kind: Any = None, data: Any = b"", *_: Any) -> Any:
    """The number that a NumPy scalar is, for it may be an alpha."""
    try:
        return struct.unpack(kind.letters, data)[0]
    except (AttributeError, TypeError, struct.error, IndexError):
        return _Settings()


_PLAIN = (
    "types.SimpleNamespace",
    *(f"pathlib{of}Path" for of in (".Posix", ".Windows", "._local.Posix", "._local.Windows")),
    *("pathlib.PurePosixPath", "pathlib.PureWindowsPath"),
    *("omegaconf.dictconfig.DictConfig", "omegaconf.listconfig.ListConfig"),
    *("omegaconf.base.ContainerMetadata", "omegaconf.base.Metadata", "omegaconf.nodes.AnyNode"),
    *("datetime.datetime", "datetime.date", "datetime.time", "datetime.timedelta"),
    *("datetime.timezone", "decimal.Decimal", "uuid.UUID"),
    *("numpy.ndarray", "numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct"),
    *(
        f"{module}.{name}"
        for module in ("builtins", "__builtin__")  # as Python 2 called it, and pickles still do
        for name in ("int", "float", "str", "list", "dict", "frozenset", "slice")
    ),
    *("builtins.range", "__builtin__.xrange", "__builtin__.unicode", "__builtin__.long"),
)
_DICTS = ("easydict.EasyDict", "addict.addict.Dict", "munch.Munch", "yacs.config.CfgNode")
_NUMBERS = ("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar")
INERT: list[Any] = [
    Namespace,
    *((_Settings, name) for name in _PLAIN),
    *((OrderedDict, name) for name in _DICTS),
    (_mapping, "collections.defaultdict"),
    (_sequence, "collections.deque"),
    *((_number, name) for name in _NUMBERS),
    (_Kind, "numpy.dtype"),
    (encode, "_codecs.encode"),  # PyTorch's own, by Latin-1 alone: `load_tensors` looks after it
]
"""What a pickle may name besides tensors, and what is made in its place."""
