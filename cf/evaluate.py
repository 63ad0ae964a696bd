"""`python -m cf.evaluate`: metrics of videos that anybody made."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from cf.files.counts import so_many
from cf.files.output_folder import working
from cf.settings.build import Settings, to_settings
from cf.settings.command_line import command
from cf.settings.given import own_settings
from cf.system.shell import shell_command

if TYPE_CHECKING:
    from cf.evaluation.comparisons import Comparisons
    from cf.evaluation.measure import Measured
    from cf.evaluation.videos import Listed
    from cf.metrics.base import VideoMetric

log = logging.getLogger("cf.evaluate")
_OWN = ("metrics", "+metric", "~metric", "extractor", "hydra.", "resume=")
"""Settings that another evaluation of the same videos does not share."""


@command("evaluate")
def main(cfg: DictConfig) -> None:
    """Evaluate as `cfg` says."""
    folder = Path(HydraConfig.get().runtime.output_dir)
    states = folder / "states"
    with working("cf.evaluate", folder, lambda: _kept(states), resumes=states):
        evaluate(to_settings(cfg), folder, HydraConfig.get().overrides.task)


def evaluate(settings: Settings, folder: Path, typed: Sequence[str] = ()) -> None:
    """Measure the videos in one pass and leave tables, plots and a page in `folder`.

    Args:
        settings: of the command.
        folder: of the evaluation.
        typed: settings as they were given, for the command that may come next.
    """
    from cf.evaluation.comparisons import compare_all
    from cf.evaluation.gates import gates_of
    from cf.evaluation.headers import common_seconds, foreseen
    from cf.evaluation.made_of import check_made_of, forget_made_of
    from cf.evaluation.measure import measure
    from cf.evaluation.videos import list_videos

    _refuse(settings, folder)
    videos = list_videos(settings["videos"], settings["pattern"], settings["pictures_fps"])
    seconds = settings["seconds"]
    if seconds is None and len({video.contestant for video in videos}) > 1:
        of_beginnings = [
            metric for metric in settings["metrics"].values() if metric and "seconds" in metric
        ]
        windows = [float(metric.get("window") or 1) for metric in of_beginnings]
        seconds = common_seconds(videos, max(windows, default=0.0))
    by_key, unavailable = _metrics(_over(settings["metrics"], seconds), videos)
    metrics = [*by_key.values()]
    for warning in foreseen(videos, metrics, seconds):
        log.warning("%s", warning)
    check_made_of(folder, videos, settings)
    log.info("%s; if stopped, go on with: resume=%s", so_many(len(videos), "video"), folder)
    try:
        measured = measure(
            videos,
            metrics,
            folder / "states",
            piece_bytes=round(settings["piece_megabytes"] * 2**20),
            size=settings["size"],
            device=settings["device"],
        )
        if not measured.facts:
            names = {video.video_id: video.name for video in videos}
            video_id, reason = next(iter(measured.failures.items()))
            first = f"{names[video_id]}: {reason}"
            raise ValueError(f"none of {len(videos)} videos can be decoded; the first: {first}")
    finally:
        forget_made_of(folder)
    gates = gates_of(settings["gates"], {key: metric.name for key, metric in by_key.items()})
    measured = replace(measured, unavailable=unavailable)
    _show(measured, compare_all(measured, *gates), settings, folder)
    if (again := by_vbench(typed)) is not None:
        log.info("VBench's formulas next: %s", again)


def by_vbench(typed: Sequence[str]) -> str | None:
    """The command that measures the same videos by VBench's formulas; None where these were asked.

    Args:
        typed: settings as they were given.
    """
    if "metrics=vbench" in typed:
        return None
    kept = [*own_settings(), *(word for word in typed if not word.startswith(_OWN))]
    return shell_command("cf.evaluate", [*kept, "metrics=vbench"])


def _show(measured: Measured, compared: Comparisons, settings: Settings, folder: Path) -> None:
    """Write tables, plots and the page, and say what lies where and what it shows."""
    from cf.evaluation.provenance import versions
    from cf.evaluation.report import write_evaluation
    from cf.evaluation.summary import told_in_words
    from cf.report.evaluation_page import write_evaluation_page
    from cf.report.vbench import write_vbench

    libraries = versions()
    write_evaluation(measured, compared, libraries, folder)
    files = {
        name: {video.video_id: video.name for video in measured.videos if video.contestant == name}
        for name in measured.contestants
    }
    boards = write_vbench(measured.results, files, folder)
    write_evaluation_page(measured, compared, libraries, settings, folder)
    for what, name in (
        ("page", "index.html"),
        ("summary", "summary.md"),
        ("numbers", "summary.json"),
        ("LaTeX", "table.tex"),
        ("videos", "per_video.csv"),
        ("windows", "per_window.csv"),
        ("plot", "over_time.png"),
        ("plot", "over_time.svg"),
    ):
        if (folder / name).exists():
            log.info("%s: %s", what, folder / name)
    for path in boards:
        log.info("VBench's leaderboard: %s", path)
    if len(measured.contestants) > 1:
        rows = [
            (pair.metric, pair.first, pair.second, pair.corrected_p, pair.comparison.note)
            for pair in compared.pairs
        ]
        log.info("%s", told_in_words(rows))


def _over(metrics: Settings, seconds: float | None) -> Settings:
    """The metrics' settings, told of `seconds` where they ask for no beginning of their own."""
    length = {"seconds": seconds}
    return {
        name: {**metric, **length} if metric and metric.get("seconds", 0) is None else metric
        for name, metric in metrics.items()
    }


def _metrics(
    settings: Settings, videos: Sequence[Listed]
) -> tuple[dict[str, VideoMetric], dict[str, str]]:
    """The metrics that can be made, by key, and why the others cannot: their weights are not here.

    Raises:
        ValueError: if a setting is wrong, or no metric can be made.
    """
    from cf.evaluation.named_metrics import metrics_of, warn

    texts = {video.prompt_id: video.text for video in videos}
    metrics, unavailable = metrics_of(settings, texts, absent=(FileNotFoundError,))
    warn(log, unavailable)
    if not metrics and unavailable:
        raise ValueError(list(unavailable.values())[-1])
    if not metrics:
        raise ValueError("metrics must name at least one metric: metrics=default")
    return metrics, unavailable


def _kept(states: Path) -> str:
    return f"{len(list(states.glob('*.facts.json')))} of the videos are measured and kept"


def _refuse(settings: Settings, folder: Path) -> None:
    from cf.evaluation.gates import check_bounds

    check_bounds(settings["gates"])
    if settings["videos"] == "???":
        raise ValueError("videos must be given: videos=my_clips")
    if settings["piece_megabytes"] <= 0:
        raise ValueError(f"piece_megabytes={settings['piece_megabytes']} must be positive")
    if settings["resume"] != "???" and not (folder / "states").is_dir():
        raise ValueError(f"resume={folder} is not the folder of an evaluation (it has no states)")


if __name__ == "__main__":
    main()
