"""`python -m cf.evaluate`: metrics of videos that anybody made."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from cf.files.output_folder import alone, working
from cf.settings.build import Settings, exit_on_user_error, to_settings
from cf.settings.command_line import command

if TYPE_CHECKING:
    from cf.evaluation.videos import Listed
    from cf.metrics.base import VideoMetric

log = logging.getLogger("cf.evaluate")


@command("evaluate")
def main(cfg: DictConfig) -> None:
    """Evaluate as `cfg` says."""
    folder = Path(HydraConfig.get().runtime.output_dir)
    states = folder / "states"
    with (
        exit_on_user_error("cf.evaluate"),
        working("cf.evaluate", folder, lambda: _kept(states), resumes=states),
        alone("cf.evaluate", folder, states),
    ):
        evaluate(to_settings(cfg), folder)


def evaluate(settings: Settings, folder: Path) -> None:
    """Measure the videos in one pass and leave tables and plots in `folder`."""
    from cf.evaluation.headers import foreseen
    from cf.evaluation.made_of import check_made_of, forget_made_of
    from cf.evaluation.measure import measure
    from cf.evaluation.report import report
    from cf.evaluation.videos import list_videos

    _refuse(settings, folder)
    videos = list_videos(settings["videos"], settings["pattern"])
    metrics, unavailable = _metrics(settings["metrics"], videos)
    for one in foreseen(videos, metrics):
        log.warning("%s", one)
    check_made_of(folder, videos, settings)
    log.info("%d videos; if stopped, go on with: resume=%s", len(videos), folder)
    try:
        done = measure(
            videos,
            metrics,
            folder / "states",
            piece_bytes=round(settings["piece_megabytes"] * 2**20),
            size=settings["size"],
            device=settings["device"],
        )
        if not done.facts:
            names = {video.video_id: video.name for video in videos}
            first = "{}: {}".format(*next((names[one], why) for one, why in done.failures.items()))
            raise ValueError(f"none of {len(videos)} videos can be decoded; the first: {first}")
    finally:
        forget_made_of(folder)
    report(replace(done, unavailable=unavailable), folder)


def _metrics(
    settings: Settings, videos: Sequence[Listed]
) -> tuple[list[VideoMetric], dict[str, str]]:
    """The metrics that can be made, and why the others cannot: their weights are not here.

    Raises:
        ValueError: if a setting is wrong, or no metric can be made.
    """
    from cf.evaluation.named_metrics import metrics_of, warn

    texts = {video.prompt_id: video.text for video in videos}
    made, unavailable = metrics_of(settings, texts, absent=(FileNotFoundError,))
    warn(log, unavailable)
    if not made and unavailable:
        raise ValueError(list(unavailable.values())[-1])
    if not made:
        raise ValueError("metrics must name at least one metric: metrics=default")
    return list(made.values()), unavailable


def _kept(states: Path) -> str:
    return f"{len(list(states.glob('*.facts.json')))} of the videos are measured and kept"


def _refuse(settings: Settings, folder: Path) -> None:
    if settings["videos"] == "???":
        raise ValueError("videos must be given: videos=my_clips")
    if settings["piece_megabytes"] <= 0:
        raise ValueError(f"piece_megabytes={settings['piece_megabytes']} must be positive")
    if settings["resume"] != "???" and not (folder / "states").is_dir():
        raise ValueError(f"resume={folder} is not the folder of an evaluation (it has no states)")


if __name__ == "__main__":
    main()
