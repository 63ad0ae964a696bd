"""How many bytes of tensors live at once, told without a device by running the code on shapes."""

import weakref
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self

import torch
import torch.nn.functional as F  # noqa: N812  (its usual name)
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Allocated(TorchDispatchMode):
    """Counts the storages of one kind of device that are made within it, until they are let go.

    On the meta device tensors have shapes and no memory, so that a network of any size runs in
    moments. What kernels take for themselves is not seen; attention counts as the fused kernels of
    GPUs do, which never hold all scores at once.

    Attributes:
        now, peak: bytes, at present and at most since `restart`, of what is made and of `held`.
    """

    def __init__(self, kind: str = "meta", held: Iterable[Tensor] = ()) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.kind, self.now, self.peak = kind, 0, 0
        self._known: set[int] = set()
        self._attention = _FusedAttention()
        for x in held:
            self._count(x)

    def __enter__(self) -> Self:
        if self.kind == "meta":
            self._attention.__enter__()
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *raised: Any) -> None:
        super().__exit__(*raised)  # type: ignore[no-untyped-call]
        if self.kind == "meta":
            self._attention.__exit__(*raised)

    def restart(self) -> None:
        """Measure the peak from here on."""
        self.peak = self.now

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run an operation and count the storage of what comes out."""
        result = func(*args, **(kwargs or {}))
        for x in tree_leaves(result):
            if isinstance(x, Tensor) and x.device.type == self.kind:
                self._count(x)
        return result

    def _count(self, x: Tensor) -> None:
        storage = x.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key in self._known:
            return
        self._known.add(key)
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._gone, key, size)

    def _gone(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.now -= size


class _FusedAttention:
    """Attention on shapes as a fused kernel allocates it, also where a backward pass recomputes it.

    A backward pass runs no function modes, so that the function itself is exchanged.
    """

    def __enter__(self) -> None:
        self._real = F.scaled_dot_product_attention
        F.scaled_dot_product_attention = self  # type: ignore[assignment]

    def __exit__(self, *raised: Any) -> None:
        F.scaled_dot_product_attention = self._real

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, *args: Any, **kwargs: Any) -> Any:
        return _Fused.apply(q, k, v) if q.is_meta else self._real(q, k, v, *args, **kwargs)


class _Fused(torch.autograd.Function):
    """What a fused kernel keeps for its backward pass: inputs, output and a number for each row."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        out = q.new_empty(*q.shape[:-1], v.shape[-1])
        rows = q.new_empty(q.shape[:-1], dtype=torch.float32)
        ctx.save_for_backward(q, k, v, out, rows)
        return out

    @staticmethod
    def backward(ctx: Any, *grad: Any) -> tuple[Tensor, Tensor, Tensor]:
        q, k, v, _, _ = ctx.saved_tensors
        return torch.empty_like(q), torch.empty_like(k), torch.empty_like(v)


def bytes_of(module: torch.nn.Module) -> int:
    """Of all parameters and buffers."""
    return sum(x.nbytes for x in [*module.parameters(), *module.buffers()])
