"""What is measured: a stream and training steps with one memory, in a process of their own."""

import copy
import resource
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves
from tqdm import tqdm

from cf.memory.base import Memory, Query
from cf.memory.full import Full
from cf.memory.sliding import Sliding
from cf.models.allocated import Allocated
from cf.models.base import NOTHING, Backbone
from cf.objectives.forcing import ForcingLoss
from cf.rollout.blockwise import Rollout
from cf.rollout.state import START, RolloutState
from cf.settings.build import Settings, build
from cf.types import Block, Context

Task = tuple[str, int | str]
"""("block", its number from 1) or ("train_step", "forcing" or "rollout")."""
Facts = dict[str, Any]


class Subject:
    """One memory with a network of its own, brought to where it is to be timed.

    Attributes:
        settings: the resolved configuration, with one `memory` and its `name`.
    """

    def __init__(self, settings: Settings) -> None:
        torch.manual_seed(settings["seed"])
        if settings["threads"]:
            torch.set_num_threads(settings["threads"])
        self.settings = settings
        self.device = _device(settings["device"])
        self.dtype = _dtype(settings["dtype"])
        self.rollout: Rollout = build(settings["rollout"], "rollout")
        self.network = self._network(self.dtype).eval().requires_grad_(False)
        frames = self.rollout.block_frames * (max(settings["blocks"]) + settings["span"] + 1)
        self.cond = self.network.fake_conditioning(settings["samples"], frames)
        self.noise = self.rollout.noise(self.network, settings["seed"], range(settings["samples"]))
        self._state, self._copied = START, 0
        self._runs: dict[Task, tuple[Callable[[], None], int]] = {}
        with torch.inference_mode():
            x, t, cond = self.network.fake_inputs(settings["samples"], self.rollout.block_frames)
            asked = replace(NOTHING, queries=self.rollout.memory.needs_queries)
            self._pattern: Block = self.network(x, t, cond, asked).block
            self._latents = x

    def machine(self) -> Facts:
        """Where this runs."""
        cuda = self.device.type == "cuda"
        return {
            "device": torch.cuda.get_device_name(self.device) if cuda else _processor(),
            "timed_by": "seconds" if cuda else "processor_seconds",
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
            "parameters": sum(p.numel() for p in self.network.parameters()),
        }

    def prepare(self, task: Task) -> Facts:
        """Get ready to time a task: what it holds and needs at its peak, or why it is skipped."""
        what, which = task
        try:
            facts = self._at_block(int(which)) if what == "block" else self._training(str(which))
        except torch.OutOfMemoryError as error:
            return {"skipped": f"out of memory: {error}".splitlines()[0]}
        return facts | {"rss_bytes": _rss()}

    def seconds(self, task: Task) -> tuple[float, float]:
        """Seconds by the clock and of the processor, of runs that follow one that is not timed."""
        run, parts = self._runs[task]
        run()
        self._synchronize()
        start, worked, runs, passed = time.perf_counter(), time.process_time(), 0, 0.0
        while runs == 0 or passed < self.settings["least_seconds"]:
            run()
            self._synchronize()
            runs, passed = runs + parts, time.perf_counter() - start
        return passed / runs, (time.process_time() - worked) / runs

    @torch.inference_mode()
    def _at_block(self, block: int) -> Facts:
        size = _bytes(_tensors(self._pattern.layers)) * (block - 1)
        if self.rollout.memory.max_frames is None and size > self.settings["budget_gib"] * 2**30:
            limit = f"budget_gib={self.settings['budget_gib']}"
            return {"skipped": f"a context of {size / 2**30:.1f} GiB is above {limit}"}
        self._reach(block)
        held = _held(self._state.context)
        context_bytes = _bytes(held)
        base, span = copy.deepcopy(self._state), self.settings["span"]
        self._copied += context_bytes
        attended = self._attended() / self._pattern.tokens_per_frame + self.rollout.block_frames
        peak = self._peak(self._advance, [*self.network.parameters(), *held], self._copied)
        self._runs["block", block] = (lambda: self._stream(base, span), span)
        return {
            "peak_bytes": peak,
            "context_bytes": context_bytes,
            "attended_frames": attended,
            "frames": self.rollout.block_frames * self.settings["samples"],
        }

    def _attended(self) -> int:
        """Tokens of the past that the coming block reads, which may be fewer than are held."""
        context, frames = self._state.context, self.rollout.block_frames
        query = Query(frames, self.cond.frames(context.start, context.start + frames))
        past = self.rollout.memory.read(context, query)
        return sum(x.k.shape[1] for x in (context if past.live else past).layers[:1])

    def _reach(self, block: int) -> None:
        """Bring the state to the start of a block, the first being number 1."""
        done = self._state.context.start // self.rollout.block_frames
        go_on = {"stream": self._advance, "fill": self._fill}[self.settings["reach"]]
        title = f"{self.settings['name']} to block {block}"
        for _ in tqdm(range(done, block - 1), title, position=1, leave=False, delay=2):
            go_on()

    def _advance(self) -> None:
        stream = self.rollout.stream(self.network, self.noise, self.cond, self._state)
        _, self._state = next(stream)

    def _fill(self) -> None:
        """Remember the keys and values of noise, without running the network."""
        recent = self.rollout.recent(self._state, self._latents)
        context = self.rollout.memory.update(self._state.context, self._pattern)
        self._state = RolloutState(context, recent)

    @torch.inference_mode()
    def _stream(self, base: RolloutState, blocks: int) -> None:
        stream = self.rollout.stream(self.network, self.noise, self.cond, base.fork())
        for _, _ in zip(range(blocks), stream, strict=False):
            pass

    def _training(self, which: str) -> Facts:
        objective = _as_seen(self.rollout.memory, build(self.settings["objective"], "objective"))
        if which == "forcing" and objective is None:
            return {"skipped": "no attention mask stands for what this memory selects"}
        before = torch.cuda.memory_allocated(self.device) if self.device.type == "cuda" else 0
        network = self._network(torch.float32).train()
        optimizer = build(self.settings["optimizer"], "optimizer")(network)
        if which == "forcing" and objective is not None:
            loss = self._forcing_loss(network, objective)
        else:
            loss = self._rollout_loss(network)

        def step() -> None:
            with torch.autocast(self.device.type, torch.bfloat16, self.dtype != torch.float32):
                value = loss()
            value.backward()
            optimizer.step()
            optimizer.zero_grad()

        step()
        held = [*network.parameters(), *tree_leaves([*optimizer.state.values()])]
        self._runs["train_step", which] = (step, 1)
        frames = self.settings["train"]["blocks"] * self.rollout.block_frames
        return {
            "peak_bytes": self._peak(step, held, before),
            "frames": frames * self.settings["train"]["samples"],
        }

    def _forcing_loss(self, network: Backbone, objective: ForcingLoss) -> Callable[[], Tensor]:
        frames = self.settings["train"]["blocks"] * objective.block_frames
        x0, _, cond = network.fake_inputs(self.settings["train"]["samples"], frames)
        generator = torch.Generator().manual_seed(self.settings["seed"])
        return lambda: objective(network, x0, cond, generator).value

    def _rollout_loss(self, network: Backbone) -> Callable[[], Tensor]:
        """A rollout that carries gradient in every block, under a stand-in for its loss."""
        samples, rollout = self.settings["train"]["samples"], self.rollout
        frames = self.settings["train"]["blocks"] * rollout.block_frames
        cond = network.fake_conditioning(samples, frames)
        noise = rollout.noise(network, self.settings["seed"], range(samples))

        def loss() -> Tensor:
            rolled = rollout(network, noise, cond, frames=frames, window_frames=frames)
            return rolled.window.square().mean()

        return loss

    def _network(self, dtype: torch.dtype) -> Backbone:
        network: Backbone = build(self.settings["model"], "model")
        return network.to(self.device, dtype)

    def _peak(self, run: Callable[[], None], held: Iterable[Any], beside: int) -> int:
        """Bytes of live tensors at most; on a GPU less `beside`, which is held for other tasks."""
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
            run()
            return torch.cuda.max_memory_allocated(self.device) - beside
        live = Allocated("cpu", held)
        with live:
            run()
        return live.peak

    def _synchronize(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def _as_seen(memory: Memory, objective: ForcingLoss) -> ForcingLoss | None:
    """The objective under the mask that hides what `memory` forgets; None if there is no such."""
    if isinstance(memory, Full):
        return replace(objective, window_frames=None, sink_frames=0)
    if isinstance(memory, Sliding):
        window, sink = memory.window_frames, memory.sink_frames
        return replace(objective, window_frames=window, sink_frames=sink)
    return None


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def _held(context: Context) -> list[Tensor]:
    return _tensors([*context.layers, *context.state])


def _bytes(tensors: Iterable[Tensor]) -> int:
    """Bytes of the storages of some tensors, each storage counted once and whole."""
    storages = {one.untyped_storage()._cdata: one.untyped_storage().nbytes() for one in tensors}
    return sum(storages.values())


def _rss() -> int:
    """The most that this process has ever had in main memory."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError(f"device={name}, but torch sees no GPU here")
    return torch.device(name)


def _dtype(name: str) -> torch.dtype:
    dtypes = {"float32": torch.float32, "bfloat16": torch.bfloat16}
    if name not in dtypes:
        raise ValueError(f"dtype must be one of {', '.join(dtypes)}, got {name!r}")
    return dtypes[name]


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else "CPU"
