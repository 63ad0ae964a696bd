"""How many bytes of tensors are alive, now and at most."""

import weakref
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of live tensors, as the CUDA allocator does by itself.

    Exact, and blind to whatever else the process or the machine holds; what one operator
    allocates and frees within itself is not seen.

    Attributes:
        now, peak: bytes of the tensors in `held` and of all that were made since and still live.
    """

    def __init__(self, held: Iterable[Any]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.peak = 0
        self._known: set[int] = set()
        for one in held:
            self._see(one)

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run an operator and look at what it returns."""
        out = func(*args, **(kwargs or {}))
        for one in tree_leaves(out):
            self._see(one)
        return out

    def _see(self, one: Any) -> None:
        if not isinstance(one, Tensor) or one.untyped_storage()._cdata in self._known:
            return
        storage = one.untyped_storage()
        self._known.add(storage._cdata)
        self.now += storage.nbytes()
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._gone, storage._cdata, storage.nbytes())

    def _gone(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.now -= size
