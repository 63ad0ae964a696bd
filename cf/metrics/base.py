"""The contract of all metrics: videos arrive in pieces, in any order, on any process."""

import math
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Self

import torch
from jaxtyping import Float
from torch import Tensor
from torchmetrics import Metric, MetricCollection

from cf.metrics.inputs import check_frames, rate_of, refuse_misfits, seen_of
from cf.metrics.measurement import Measurement, looked_at
from cf.metrics.result import Result
from cf.metrics.scored import Fault, Scored
from cf.metrics.stream import NO_PROMPT, Stream
from cf.metrics.table import Table, coalesced, stacked

_LOOSE = 32  # updates between two coalescences


class VideoMetric(Metric):
    """A metric of videos, whose frames may come in any chunks and any order, on any process.

    `update(frames, video_id, start_frame, fps=...)` takes the next piece of a video, `compute()`
    gives the headline as a float64 scalar, and `result()` all that it was made of. States are rows
    that are appended, never overwritten, so that chunking, order, `forward`, `merge_state` and
    processes change the answer by rounding only. Memory is a row per window and a few frames per
    video.

    Attributes:
        measurement: what is read off the frames.
        window: seconds over which numbers are summed; None keeps one row per sampled frame.
    """

    is_differentiable = False
    full_state_update = False
    higher_is_better: bool | None = None
    title: ClassVar[str | None] = None
    """Its name in tables; that of the class if None."""
    curve_shows: ClassVar[str] = ""
    """What its curve over time shows, if that is another quantity than the value."""
    depends_on: ClassVar[tuple[str, ...]] = ()
    """Attributes on which the value depends besides those of the bases; the provenance has them."""

    def __init__(self, measurement: Measurement, window: float | None = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if window is not None and not window > 0:
            raise ValueError(f"window={window} must be a positive number of seconds")
        self.measurement = measurement
        self.window = window
        self._stream = Stream(measurement, window)
        # States carry the measurement's digest, lest a MetricCollection takes two metrics for one.
        self._states = {
            name: f"{name}_{measurement.digest()}_{_code(window)}" for name in Table.names()
        }
        for name in self._states.values():
            self.add_state(name, default=[], dist_reduce_fx="cat")
        self._seed()

    @property
    def name(self) -> str:
        """The name in tables: the metric, and its extractor if it has one."""
        title = self.title or type(self).__name__
        by = self.measurement.provenance().get("by")
        return f"{title}[{by}]" if by else title

    def update(
        self,
        frames: Tensor,
        video_id: int,
        start_frame: int = 0,
        *,
        fps: float,
        prompt_id: int | None = None,
        seed: int | None = None,
        boundaries: Sequence[int] | None = None,
        reference: Tensor | None = None,
        truth: Mapping[str, Tensor] | None = None,
    ) -> None:
        """Take in the next piece of a video.

        Args:
            frames: (t, 3, h, w), floats in [0, 1] or bytes.
            video_id: any whole number that tells this video from the others.
            start_frame: index in the video of the first of `frames`.
            fps: the video's frames per second.
            prompt_id: videos of one prompt are not compared as if they were unrelated; without it
                every video has a prompt of its own.
            seed: for tables.
            boundaries: frames, counted in the video, at which a block of the generator begins.
            reference: the true frames at the same times.
            truth: what is known of each frame, a row per frame; which, says each metric.

        Raises:
            ValueError: frames of a wrong shape, range or dtype, or delivered twice; nothing is
                taken in then.
        """
        check_frames(frames, "frames")
        rate = rate_of(fps)
        if start_frame < 0:
            raise ValueError(f"start_frame={start_frame} must be at least 0")
        stop = start_frame + len(frames)
        size = list(frames.shape[-2:])
        states = getattr(self, self._states["runs"]), getattr(self, self._states["segments"])
        refuse_misfits(states, video_id, start_frame, stop, rate, size)
        stride = self._stream.clock(rate).stride
        sampled = slice(-start_frame % stride, None, stride)
        piece = seen_of(self.name, self.measurement, frames, reference, truth or {}, sampled)
        prompt, seed_number = (NO_PROMPT if x is None else x for x in (prompt_id, seed))
        faults = []
        finite = torch.isfinite(frames).flatten(1).all(1) if frames.is_floating_point() else None
        if finite is not None and not finite.all():
            frame = start_frame + int((~finite).nonzero()[0])
            faults = [[video_id, frame, int(Fault.NOT_FINITE)]]
        marks = [[video_id, mark] for mark in boundaries or () if start_frame <= mark < stop]
        with torch.no_grad():
            rows = looked_at(self.measurement, piece)
        described = {
            "segments": torch.tensor([[video_id, start_frame, stop, prompt, seed_number, *size]]),
            "marks": torch.tensor(marks, dtype=torch.long).view(-1, 2),
            "faults": torch.tensor(faults, dtype=torch.long).view(-1, 3),
        }
        measured = self._stream.measured(video_id, start_frame, stop, rate, rows)
        self._append(replace(measured, **described))

    def fail(self, video_id: int, frame: int = 0, fault: Fault = Fault.UNDECODABLE) -> None:
        """Note that a video ends in a fault at a frame: its value is NaN, others keep theirs."""
        self._append(self._stream.fault(video_id, frame, fault))
        self._update_count += 1
        self._computed = None

    def settle(self) -> None:
        """Free what only further frames would need; no video seen so far may go on.

        Keeps states of many finished videos small: a row per window, and no picture.
        """
        self._replace(self._coalesced(edges=False))

    def take_over(self, other: "VideoMetric") -> None:
        """Replace the state by that of a metric with an equal measurement.

        Raises:
            ValueError: if its measurement is another.
        """
        if self._states != other._states:
            raise ValueError(f"{other.name} measures otherwise than {self.name}")
        self._replace(other._table())
        self._computed = None

    def compute(self) -> Float[Tensor, ""]:
        """The value over all videos; NaN where there is none (`result` says why)."""
        return torch.tensor(self._result().value, dtype=torch.float64)

    def result(self) -> Result:
        """The value with all that it depends on, over all processes."""
        with self.sync_context(should_sync=self._to_sync, should_unsync=self._should_unsync):
            return self._result()

    @abstractmethod
    def score(self, videos: list[Scored]) -> Result:
        """Compute the result from the numbers of all videos without a fault."""

    def answer(
        self,
        value: float,
        per_video: Mapping[int, float],
        **parts: Any,
    ) -> Result:
        """A `Result` under this metric's name and provenance."""
        described = self.provenance()
        parts = {"curve_shows": self.curve_shows, "provenance": described, **parts}
        return Result(self.name, value, self.higher_is_better, per_video, **parts)

    def provenance(self) -> dict[str, Any]:
        """All that the value depends on besides the videos."""
        kinds = reversed(type(self).__mro__)
        names = [name for kind in kinds for name in vars(kind).get("depends_on", ())]
        metric = {"metric": type(self).__name__, "window": self.window}
        settings = {name: getattr(self, name) for name in names}
        return {**metric, **self.measurement.provenance(), **settings}

    def reset(self) -> None:
        """Forget all videos."""
        super().reset()
        self._seed()

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Update with a piece and return the value of that piece alone."""
        value = super().forward(*args, **kwargs)
        self._tighten()
        return value

    def merge_state(self, incoming_state: "dict[str, Any] | Metric") -> None:
        """Add the states of another metric of this kind."""
        super().merge_state(incoming_state)
        self._computed = None
        self._tighten()

    def set_dtype(self, dst_type: str | torch.dtype) -> "VideoMetric":
        """Do nothing: results are exact only if states keep their dtypes."""
        return self

    def _apply(self, fn: Callable[[Tensor], Tensor], exclude_state: Sequence[str] = "") -> Self:
        """Move states between devices, without a change of dtype."""

        def moved(tensor: Tensor) -> Tensor:
            return tensor.to(fn(tensor).device)

        super()._apply(moved, exclude_state)
        return self

    def _seed(self) -> None:
        """Processes without a video must still bring tensors of the right shape."""
        empty = self._stream.empty
        for name, state in self._states.items():
            setattr(self, state, [getattr(empty, name)])

    def _table(self) -> Table:
        states = {name: getattr(self, state) for name, state in self._states.items()}
        return Table(
            **{k: (x if isinstance(x, Tensor) else stacked(x)).cpu() for k, x in states.items()}
        )

    def _coalesced(self, edges: bool) -> Table:
        states = {name: getattr(self, state) for name, state in self._states.items()}
        if any(isinstance(value, Tensor) for value in states.values()):  # of all processes
            return coalesced([self._table()], self._stream.stitch, edges)
        parts = zip(*states.values(), strict=True)
        tables = [
            Table(**{name: x.cpu() for name, x in zip(states, part, strict=True)}) for part in parts
        ]
        return coalesced(tables, self._stream.stitch, edges)

    def _append(self, table: Table) -> None:
        for name, state in self._states.items():
            getattr(self, state).append(getattr(table, name).to(self.device))
        self._tighten()

    def _tighten(self) -> None:
        if len(getattr(self, self._states["keys"])) > _LOOSE:
            self._replace(self._coalesced(edges=True))

    def _replace(self, table: Table) -> None:
        for name, state in self._states.items():
            setattr(self, state, [getattr(table, name).to(self.device)])

    def _result(self) -> Result:
        table = self._coalesced(edges=False)
        videos = list(self._stream.scored(table))
        bad: dict[int | None, str] = {
            video.video_id: video.reason for video in videos if video.reason
        }
        result = self.score([video for video in videos if not video.reason])
        nothing = {video.video_id: math.nan for video in videos if video.reason}
        return replace(
            result,
            per_video={**result.per_video, **nothing},
            reasons={**result.reasons, **bad},
        )


def groups(metrics: Iterable[VideoMetric]) -> list[list[VideoMetric]]:
    """Group metrics by measurement; feed the first of a group for all of it.

    Raises:
        ValueError: if two metrics have one name.
    """
    grouped: dict[str, list[VideoMetric]] = {}
    names: set[str] = set()
    for metric in metrics:
        if metric.name in names:
            raise ValueError(f"two metrics are named {metric.name}; give each once")
        names.add(metric.name)
        grouped.setdefault(metric._states["keys"], []).append(metric)
    return list(grouped.values())


def together(metrics: Sequence[VideoMetric]) -> MetricCollection:
    """A collection that takes equal measurements once.

    Raises:
        ValueError: if two metrics have one name.
    """
    shared = [[metric.name for metric in group] for group in groups(metrics)]
    named: dict[str, Metric | MetricCollection] = {metric.name: metric for metric in metrics}
    return MetricCollection(named, compute_groups=shared)


def _code(window: float | None) -> str:
    return "frames" if window is None else f"{round(window * 1000)}ms"
