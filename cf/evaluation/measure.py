"""One pass over video files for all metrics, each video's states kept as soon as it is done."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from cf.evaluation.decoding import DecodedFrames, Ended, decode, seconds_of
from cf.evaluation.store import Facts, MeasurementStore
from cf.evaluation.videos import Listed
from cf.metrics.base import VideoMetric, groups
from cf.metrics.result import Result
from cf.system.progress import progress
from cf.video.naming import shown

log = logging.getLogger("cf.evaluate")


@dataclass(frozen=True)
class Measured:
    """The results of all metrics, and why some are missing.

    Attributes:
        facts: of each video that could be decoded to its end, by its id.
        failures: why the others could not.
        results: contestant -> metric's name -> result.
        common: the same over the prompts that all contestants have, for metrics whose values
            depend on the set of prompts and whose sets differ.
        unavailable: metrics that could not be made, and why.
    """

    videos: Sequence[Listed]
    facts: Mapping[int, Facts]
    failures: Mapping[int, str]
    results: Mapping[str, Mapping[str, Result]]
    common: Mapping[str, Mapping[str, Result]] = field(default_factory=dict)
    unavailable: Mapping[str, str] = field(default_factory=dict)

    @property
    def contestants(self) -> list[str]:
        """In the order given."""
        return list(self.results)


def measure(
    videos: Sequence[Listed],
    metrics: Sequence[VideoMetric],
    folder: Path,
    piece_bytes: int = 2**25,
    size: Sequence[int] | None = None,
    device: str = "cpu",
) -> Measured:
    """Measure every video that `folder` does not yet know, and score all of them.

    Args:
        videos: the files.
        metrics: fed with every video.
        folder: where states are kept, so that a second run measures new videos only.
        piece_bytes: decoded frames that are held at a time, in bytes.
        size: height and width in pixels that videos are scaled to cover; None leaves them.
        device: to which frames are moved, as torch names it.
    """
    _refuse_unanswerable(metrics)
    one_pass = _Pass(videos, metrics, MeasurementStore(folder, size), device)
    todo = one_pass.pending()
    if len(todo) < len(videos):
        log.info("%d of %d videos have been measured before", len(videos) - len(todo), len(videos))
    total = round(sum(map(seconds_of, todo)), 1)
    with progress(total, "measuring", "s of video", disable=not todo) as bar:
        for item in decode(todo, piece_bytes, size):
            if isinstance(item, DecodedFrames):
                bar.set_postfix_str(item.video.name, refresh=False)
                one_pass.take(item)
                bar.update(min(len(item.frames) / item.fps, max(total - bar.n, 0)))
            else:
                one_pass.end(item)
    return one_pass.scored()


def _refuse_unanswerable(metrics: Sequence[VideoMetric]) -> None:
    for metric in metrics:
        unknown = [need for need in metric.measurement.needs if need != "reference"]
        if unknown:
            raise ValueError(
                f"{metric.name} needs to know {', '.join(unknown)} of every frame, which video "
                f"files do not tell; leave it out"
            )


@dataclass
class _Pass:
    """All videos under all metrics, those of equal measurements updated as one."""

    videos: Sequence[Listed]
    metrics: Sequence[VideoMetric]
    store: MeasurementStore
    device: str
    failures: dict[int, str] = field(default_factory=dict)
    refused: dict[tuple[int, tuple[str, ...]], str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        leaders = [group[0] for group in groups(self.metrics)]
        self.leaders = {tuple(metric.metric_state): metric for metric in leaders}

    def pending(self) -> list[Listed]:
        """Videos that some metric has not measured."""
        return [
            video
            for video in self.videos
            if self.store.facts(video) is None or any(self._active(video))
        ]

    def _active(self, video: Listed) -> Iterator[tuple[tuple[str, ...], VideoMetric]]:
        """Measurements that the video still needs and that have not refused it."""
        for key, metric in self.leaders.items():
            if "reference" in metric.measurement.needs and video.reference is None:
                self.refused[video.video_id, key] = "no reference was given"
            elif (video.video_id, key) not in self.refused and not self.store.has(video, metric):
                yield key, metric

    def take(self, piece: DecodedFrames) -> None:
        """Hand over the next frames of a video; what a metric refuses is noted for that video."""
        video = piece.video
        frames = piece.frames.to(self.device)
        reference = None if piece.reference is None else piece.reference.to(self.device)
        for key, metric in self._active(video):
            if not piece.start:
                metric.reset()
            try:
                metric.update(
                    frames,
                    video.video_id,
                    piece.start,
                    fps=piece.fps,
                    prompt_id=video.prompt_id,
                    seed=video.seed,
                    boundaries=video.boundaries,
                    reference=reference,
                )
            except ValueError as error:
                self.refused[video.video_id, key] = str(error)

    def end(self, ended: Ended) -> None:
        """Keep the states of a video if it was read to its end."""
        video = ended.video
        if ended.failure:
            self.failures[video.video_id] = ended.failure
            log.warning("%s: %s", shown(video.path), ended.failure)
            return
        for _, metric in self._active(video):
            metric.settle()
            self.store.keep(video, metric)
        self.store.keep_facts(video, Facts(ended.frames, ended.fps, *ended.size, ended.note))

    def scored(self) -> Measured:
        """Every metric over every contestant's videos."""
        results: dict[str, dict[str, Result]] = {}
        for contestant in dict.fromkeys(video.contestant for video in self.videos):
            videos = [video for video in self.videos if video.contestant == contestant]
            results[contestant] = {
                metric.name: self._result(metric, videos) for metric in self.metrics
            }
        facts = {video.video_id: self.store.facts(video) for video in self.videos}
        readable = {
            video_id: fact
            for video_id, fact in facts.items()
            if fact and video_id not in self.failures
        }
        return Measured(self.videos, readable, self.failures, results, self._common(results))

    def _common(self, results: Mapping[str, Mapping[str, Result]]) -> dict[str, dict[str, Result]]:
        """Metrics whose provenance differs between contestants, on the prompts of all of them."""
        prompts = {
            contestant: {
                (video.prompt, video.seed)
                for video in self.videos
                if video.contestant == contestant and video.video_id not in self.failures
            }
            for contestant in results
        }
        shared = set.intersection(*prompts.values())
        again: dict[str, dict[str, Result]] = {contestant: {} for contestant in results}
        for metric in self.metrics:
            codes = {results[c][metric.name].digest() for c in results}
            for contestant in results if len(codes) > 1 and shared else ():
                videos = [
                    video
                    for video in self.videos
                    if video.contestant == contestant and (video.prompt, video.seed) in shared
                ]
                again[contestant][metric.name] = self._result(metric, videos)
        return again

    def _result(self, metric: VideoMetric, videos: Sequence[Listed]) -> Result:
        metric.reset()
        key = tuple(metric.metric_state)
        reasons: dict[int | None, str] = {}
        states: dict[str, list[object]] = {name: [] for name in key}
        for video in videos:
            failure = self.failures.get(video.video_id) or self.refused.get((video.video_id, key))
            if failure:
                reasons[video.video_id] = failure
                metric.fail(video.video_id)
                continue
            for name, rows in self.store.state(video, metric).items():
                states[name].append(rows.to(metric.device))
        metric.merge_state(states)
        result = metric.result()
        metric.reset()
        return replace(result, reasons={**result.reasons, **reasons})
