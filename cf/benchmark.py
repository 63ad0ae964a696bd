"""`python -m cf.benchmark`: contestants make the same long videos, measured as they are made."""

from __future__ import annotations

import logging
from collections.abc import Set
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from cf.files.counts import so_many
from cf.files.output_folder import working
from cf.settings.build import Settings, to_settings
from cf.settings.command_line import command

log = logging.getLogger("cf.benchmark")


@command("benchmark")
def main(cfg: DictConfig) -> None:
    """Compare as `cfg` says."""
    folder = Path(HydraConfig.get().runtime.output_dir)
    with working("cf.benchmark", folder, lambda: _kept(folder)):
        overrides = HydraConfig.get().overrides.task
        typed = {word.lstrip("+~").partition("=")[0].partition("@")[0] for word in overrides}
        compare_contestants(to_settings(cfg), folder, typed)


def compare_contestants(settings: Settings, folder: Path, typed: Set[str]) -> None:
    """Run the benchmark and write its results; `typed` names the settings given."""
    from cf.bench.contest import run_benchmark
    from cf.evaluation.summary import told_in_words
    from cf.report.tables import write_tables
    from cf.report.vbench import write_vbench

    contest = run_benchmark(settings, folder, typed)
    tables = write_tables(contest, folder)
    files = {
        name: {job.item.video_id: f"{job.item.key}.mp4" for job in results.jobs}
        for name, results in contest.made.items()
    }
    longest = {name: results.longest for name, results in contest.made.items()}
    for path in write_vbench(longest, files, folder):
        log.info("VBench's leaderboard: %s", path)
    if settings["report"]:
        from cf.report.page import write_report

        log.info("report: %s", write_report(contest, tables, folder))
    if settings["export_vbench"]:
        from cf.bench.contestants.imported import export_vbench
        from cf.bench.results import kept_videos

        for name, videos in kept_videos(contest.jobs, folder).items():
            count = export_vbench(videos, Path(settings["export_vbench"]) / name)
            log.info("%s of %s under VBench's names", so_many(count, "video"), name)
    if settings["tensorboard"]:
        from cf.report.board import write_benchmark_board

        log.info(
            "python -m tensorboard.main --logdir %s", write_benchmark_board(contest, tables, folder)
        )
    pairs = contest.last.versus
    rows = [
        (pair["metric"], pair["first"], pair["second"], pair["p_holm"], pair["note"])
        for pair in pairs
    ]
    if summary := told_in_words(rows):
        log.info("%s", summary)


def _kept(folder: Path) -> str:
    count = len(list(folder.glob("videos/*/*/row.json")))
    return f"{so_many(count, 'video')} {'is' if count == 1 else 'are'} kept"


if __name__ == "__main__":
    main()
