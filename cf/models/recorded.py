"""Passes through a transformer recorded as CUDA graphs, and replayed where nothing has moved."""

from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from functools import cache
from typing import Any, NamedTuple
from weakref import ref

import torch
from torch import Tensor

from cf.models.attention import Remembered
from cf.models.base import Prepared
from cf.models.blocks import BlockInputs
from cf.types import LayerKV

Run = Callable[[], list[Tensor]]
Replayed = tuple[list[Tensor], Callable[[], None]]
"""The outputs of a recorded run, and what makes them anew from what its inputs hold then."""


class Pass(NamedTuple):
    """All that tokens meet on their way through the blocks."""

    x: Tensor
    time: Tensor
    modulation: Tensor
    reads: BlockInputs
    past: Prepared
    ids: Tensor


class Passed(NamedTuple):
    """The patches that come out, and what each layer's own tokens are."""

    patches: Tensor
    layers: tuple[LayerKV, ...]
    queries: tuple[Tensor, ...]


Through = Callable[[Pass], Passed]


def on_cuda(run: Run) -> Replayed:
    """A CUDA graph of a run; https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs.

    Raises:
        RuntimeError: something in it waits for the device.
    """
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(2):  # what libraries allocate and choose at first
            run()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    try:
        with torch.cuda.graph(graph, pool=_pool()):
            outputs = run()
    except RuntimeError as error:
        raise RuntimeError(
            f"compile=graphs: this pass cannot be recorded ({error}); give compile=blocks"
        ) from error
    return outputs, graph.replay


@cache
def _pool() -> Any:
    """One for all graphs, as none needs anything of another's: each clones what it returns."""
    return torch.cuda.graph_pool_handle()


class _Graph:
    """A recorded pass with the storage of what is given to it anew each time."""

    def __init__(self, through: Through, inputs: Pass, record: Callable[[Run], Replayed]) -> None:
        self._moving = [x.clone() for x in _moving(inputs)]
        self._given = [ref(x) for x in _moving(inputs)]
        static = _with_moving(inputs, self._moving)
        self._outputs, self._replay = record(lambda: _outputs(through(static)))

    def __call__(self, inputs: Pass) -> Passed:
        for i, (buffer, x) in enumerate(zip(self._moving, _moving(inputs), strict=True)):
            if self._given[i]() is not x:  # texts and places stay for all passes of a block
                buffer.copy_(x)
                self._given[i] = ref(x)
        self._replay()
        patches, *rest = [x.clone() for x in self._outputs]  # which the next replay overwrites
        layers, queries = [], []
        per_layer = 3 if inputs.past.queries else 2
        for i in range(0, len(rest), per_layer):
            layers.append(LayerKV(rest[i], rest[i + 1], inputs.ids))
            queries += rest[i + 2 : i + per_layer]
        return Passed(patches, tuple(layers), tuple(queries))


class Recorder:
    """Replays a pass whose past lies where it lay when the pass was recorded; runs others.

    What is remembered is read where it lies, so that nothing of it is copied; a memory that writes
    in place (`cf.memory.room`) leaves it there once its window is full. One that grows or moves is
    never recorded. What changes with every pass is copied into storage of the graph's own.

    Attributes:
        after: times that a pass is run before it is recorded: more than a block has, so that what
            is met only while a window fills is not.
        most: graphs that are held at once; the one that was replayed longest ago goes first.
        recorded, replayed: passes so far.
    """

    def __init__(
        self, record: Callable[[Run], Replayed] = on_cuda, after: int = 8, most: int = 8
    ) -> None:
        self._record, self.after, self.most = record, after, most
        self._met: Counter[Hashable] = Counter()
        self._held: OrderedDict[Hashable, _Graph] = OrderedDict()
        self.recorded = self.replayed = 0

    def __call__(self, through: Through, given: Pass) -> Passed:
        """What `through` makes of it."""
        if not torch.is_inference_mode_enabled() or not _still(given):
            return through(given)
        key = _key(given)
        graph = self._held.get(key)
        if graph is None:
            if len(self._met) > 16 * self.most:
                self._met.clear()
            self._met[key] += 1
            if self._met[key] <= self.after:
                return through(given)
            if len(self._held) == self.most:
                self._held.popitem(last=False)
            graph = self._held[key] = _Graph(through, given, self._record)
            self.recorded += 1
        self._held.move_to_end(key)
        self.replayed += 1
        return graph(given)


def _still(inputs: Pass) -> bool:
    """Whether a graph can read it: no mask, which changes, and no callback in the middle."""
    masked = inputs.reads.mask is not None or any(x.mask is not None for x in inputs.past.layers)
    return inputs.past.live is None and not masked


def _key(inputs: Pass) -> Hashable:
    moving = tuple((x.shape, x.dtype) for x in _moving(inputs))
    standing = tuple(
        (x.data_ptr(), x.shape, x.stride(), x.dtype)
        for layer in inputs.past.layers
        for x in (layer.k, layer.v)
    )
    rooms = tuple(layer.room for layer in inputs.past.layers)
    return moving, standing, rooms, inputs.past.queries, inputs.past.returns


def _moving(inputs: Pass) -> list[Tensor]:
    texts = [x for layer in inputs.past.text or () for x in layer]
    return [inputs.x, inputs.time, inputs.modulation, *inputs.reads.place, *texts]


def _with_moving(inputs: Pass, moving: Sequence[Tensor]) -> Pass:
    x, time, modulation, query, key, *texts = moving
    text = None
    if inputs.past.text is not None:
        parts = iter(texts)
        text = tuple(tuple(next(parts) for _ in layer) for layer in inputs.past.text)
    layers = tuple(Remembered(*layer) for layer in inputs.past.layers)
    past = replace(inputs.past, text=text, layers=layers, held=None, times=())
    return Pass(x, time, modulation, inputs.reads._replace(place=(query, key)), past, inputs.ids)


def _outputs(passed: Passed) -> list[Tensor]:
    tensors = [passed.patches]
    for i, layer in enumerate(passed.layers):
        tensors += [layer.k, layer.v, *passed.queries[i : i + 1]]
    return tensors
