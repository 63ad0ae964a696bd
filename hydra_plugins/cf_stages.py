"""`python -m cf.fit -m sweep=...`: sweeps in stages. Hydra looks for its plugins in this folder."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator, Sequence, Set
from contextlib import contextmanager
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from omegaconf import DictConfig, OmegaConf

from cf.system.processes import end_with_parent
from cf.system.shell import shell_command
from cf.system.signals import Stopped, passed_on, run

if TYPE_CHECKING:
    from hydra.types import HydraContext, TaskFunction

    from cf.runs.stages import StageRun, Stages

log = logging.getLogger("cf.fit")

_OWN = ("sweep", "hydra")  # settings that are the sweep's, not its trainings'


_NODE = {"_target_": "hydra_plugins.cf_stages.StagesSweeper"}
ConfigStore.instance().store(group="hydra/sweeper", name="stages", node=_NODE, provider="cf")


class StagesSweeper(Sweeper):
    """Launches one stage after the other, whatever the launcher, then the benchmark.

    A training that is finished is left as it is, one that died goes on; both decide so themselves,
    once they have found that their folder holds a run of the same settings.
    """

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """See `Sweeper.setup`."""
        self.config, self.hydra_context = config, hydra_context
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context,
            task_function=partial(_kept, task_function),
            config=config,
        )
        if hasattr(self.launcher, "joblib"):  # those that were given no training yet end as well
            self.launcher.joblib["initializer"] = end_with_parent

    def sweep(self, arguments: list[str]) -> Any:
        """Everything; exit status 1 if a training or the benchmark did not finish."""
        from cf.settings.mistakes import exit_on_user_error

        with exit_on_user_error("cf.fit"):
            stages = self._stages(arguments)
            _check_benchmark(stages)
            failed: list[StageRun] = []
            for stage in stages.stages():
                failed += self._launch(stage, stages.root, {run.folder for run in failed})
            for run in failed:
                log.error("not finished: %s (its message stands above)", run.folder)
            measured = _measured(stages)
            if failed or not measured:
                raise ValueError("something did not finish; the same command goes on from there")

    def _stages(self, arguments: Sequence[str]) -> Stages:
        """What `sweep` in the configuration says.

        Raises:
            ValueError: if there is none, or a value is missing or of the wrong kind.
        """
        from cf.runs.stages import Stages
        from cf.settings.build import check

        assert self.config is not None
        if not self.config.get("sweep"):
            raise ValueError("the sweeper `stages` wants a sweep: sweep=seed_ablation")
        names = ((one, one.lstrip("+~").split("=")[0]) for one in arguments)
        owners = ((one, name.split(".")[0].split("/")[0]) for one, name in names)
        for key in self.config.sweep:
            if OmegaConf.is_missing(self.config.sweep, key):
                raise ValueError(f"sweep.{key} must be given: sweep.{key}=...")
        chosen: Any = OmegaConf.to_container(self.config.sweep, resolve=True)
        read = {field.name for field in fields(Stages)}  # the others are for settings to refer to
        chosen = {name: value for name, value in chosen.items() if name in read}
        check({"_target_": "cf.runs.stages.Stages", **chosen}, "sweep")
        name = self.config.hydra.runtime.choices["sweep"]
        root = Path(self.config.hydra.sweep.dir).absolute()
        shared = [one for one, owner in owners if owner not in _OWN]
        chosen["shared"] = [*chosen["shared"], *shared]
        return Stages(name, root, **chosen)

    def _same_launcher(self) -> list[str]:
        """Trainings are not told of the sweep, but of the launcher that it chose."""
        assert self.config is not None
        if any(one.startswith("hydra/launcher=") for one in self.config.hydra.overrides.hydra):
            return []
        return [f"hydra/launcher={self.config.hydra.runtime.choices['hydra/launcher']}"]

    def _launch(self, runs: Sequence[StageRun], root: Path, failed: Set[Path]) -> list[StageRun]:
        """Those that did not finish; what would start from a failed one is not begun."""
        from cf.runs.watching import watched_runs

        assert self.launcher is not None
        ready = [run for run in runs if not failed & set(run.needs)]
        batch = [[*self._same_launcher(), *run.overrides(root)] for run in ready]
        self.validate_batch_is_legal(batch)
        done: list[StageRun] = []
        for again in (True, False):
            if not batch:
                break
            try:
                with passed_on(), watched_runs([run.folder for run in ready], root.name):
                    returned = self.launcher.launch(batch, initial_job_idx=0)
            except Exception as error:  # a process died, and the launcher gave up the others
                log.error("a training was killed: %s", str(error).splitlines()[0])
                log.info("those that died go on" if again else "killed twice: is there memory?")
                continue
            told = zip(ready, returned, strict=True)
            done = [run for run, one in told if not one.return_value and _finished(run)]
            break
        return [run for run in runs if run not in done]


def _finished(run: StageRun) -> bool:
    from cf.runs.run_folder import RunFolder

    return RunFolder(run.folder).finished()


def _kept(task: Callable[[DictConfig], Any], cfg: DictConfig) -> Any:
    """What befalls a training is no reason to give up the others: its exit status.

    Only if the sweep itself is asked to end, it does.
    """
    try:
        return task(cfg)
    except Stopped:
        raise
    except SystemExit as exit:  # it has told why
        return exit.code
    except Exception:
        log.exception("a training broke")
        return 1


def _check_benchmark(stages: Stages) -> None:
    """What its settings get wrong is told before the trainings, not after hours of them.

    Raises:
        ValueError: what `cf.benchmark` would say.
    """
    if stages.benchmark is None:
        return
    from hydra import compose, initialize_config_dir

    from cf.bench.contest import check_contest
    from cf.paths import CONFIG_DIR
    from cf.settings.build import to_settings
    from cf.settings.command_line import prepared

    given = [one for one in stages.measuring() if not one.startswith("hydra.")]
    try:
        with _hydra_set_aside():
            read = prepared(given, "benchmark")
            with initialize_config_dir(CONFIG_DIR, version_base="1.3"):
                settings = to_settings(compose("benchmark", read))
        check_contest(settings)
    except ValueError as error:
        raise ValueError(f"sweep.benchmark: {error}") from error


@contextmanager
def _hydra_set_aside() -> Iterator[None]:
    """Within, another command's settings can be composed: Hydra has one state in a process."""
    state = GlobalHydra.instance()
    mine = state.hydra
    assert mine is not None
    state.clear()
    try:
        yield
    finally:
        state.clear()
        state.initialize(mine)


def _measured(stages: Stages) -> bool:
    """Whether the benchmark came to its end, or is not wanted."""
    if stages.benchmark is None:
        return True
    command = ["cf.benchmark", *stages.measuring()]
    log.info("%s", shell_command("cf.benchmark", command[1:]))
    done = run([sys.executable, "-m", *command]) == 0
    if done:
        log.info("table: %s", stages.folder / "results.md")
    return done
