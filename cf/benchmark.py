"""`python -m cf.benchmark`: contestants make the same long videos, measured as they are made."""

from __future__ import annotations

import logging
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from cf.command_line import command
from cf.entry import plain, told

log = logging.getLogger("cf.benchmark")


@command("benchmark")
def main(cfg: DictConfig) -> None:
    """Compare as `cfg` says."""
    with told("cf.benchmark"):
        from cf.bench.contest import hold
        from cf.bench.tables import write_tables

        settings, folder = plain(cfg), Path(HydraConfig.get().runtime.output_dir)
        overrides = HydraConfig.get().overrides.task
        typed = {one.lstrip("+~").partition("=")[0].partition("@")[0] for one in overrides}
        contest = hold(settings, folder, typed)
        write_tables(contest, folder)
        if settings["report"]:
            from cf.bench.report import write_report

            log.info("report: %s", write_report(contest, folder))
        if settings["export_vbench"]:
            from cf.bench.imported import export_vbench
            from cf.bench.results import files_of

            for name, videos in files_of(contest.jobs, folder).items():
                count = export_vbench(videos, Path(settings["export_vbench"]) / name)
                log.info("%d videos of %s under VBench's names", count, name)
        if settings["tensorboard"]:
            from cf.bench.board import write_board

            log.info("tensorboard --logdir %s", write_board(contest, folder))


if __name__ == "__main__":
    main()
