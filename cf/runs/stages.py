"""A sweep in stages: what methods start from, the methods on every seed, and their benchmark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cf.settings.literal import quoted


@dataclass(frozen=True)
class StageRun:
    """A training of a sweep.

    Attributes:
        settings: overrides of `cf.fit`, without the folder.
        needs: folders of the runs that it starts from.
    """

    folder: Path
    settings: Sequence[str]
    needs: Sequence[Path] = ()

    def overrides(self, root: Path) -> list[str]:
        """As Hydra launches it, in its folder below `root`."""
        subdir = self.folder.relative_to(root)
        return [
            *self.settings,
            f"hydra.sweep.dir={quoted(str(root))}",
            f"hydra.sweep.subdir={quoted(str(subdir))}",
        ]


@dataclass(frozen=True)
class Stages:
    """Methods that differ in the settings named here and in nothing else.

    On every seed they start from the same runs and see the same data, so that they can be compared
    seed by seed. Where one start serves all seeds, what differs from seed to seed is the noise and
    the order of data alone, and intervals tell nothing of other starts.

    Attributes:
        name: of the sweep, and of the folder of its benchmark.
        root: folder of all sweeps from the same starts; a method that two of them name is trained
            once, if its settings are the same in both.
        seeds: of training; the unit of statistics.
        start: name -> settings of a run that methods start from; it may itself start from those
            named before it. `{name}` in any settings below stands for the folder of such a run.
        student: settings of every method's training.
        arms: method -> its own settings.
        measured: further contestants of the benchmark: name -> {run: a method or a start, memory:
            an option of that group instead of the run's own, memory.NAME: a setting of it}.
        benchmark: settings of `cf.benchmark`; None: it is left to you.
        shared: settings that the user gave for all trainings.
        start_seed: of the one training of each start, which all seeds share; None: one per seed.
    """

    name: str
    root: Path
    seeds: Sequence[int]
    start: Mapping[str, Sequence[str]]
    student: Sequence[str]
    arms: Mapping[str, Sequence[str]]
    measured: Mapping[str, Mapping[str, str | int | float | bool | None]]
    benchmark: Sequence[str] | None
    shared: Sequence[str] = ()
    start_seed: int | None = None

    def __post_init__(self) -> None:
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"sweep.seeds={list(self.seeds)} must name seeds, each once")
        if not self.arms:
            raise ValueError("sweep.arms is empty; name at least one method and its settings")
        shared = self.start.keys() & self.arms.keys()
        if shared:
            raise ValueError(f"sweep.start and sweep.arms both name {', '.join(sorted(shared))}")
        for name, choice in self.measured.items():
            keys = {key for key in choice if not ("memory" in choice and key.startswith("memory."))}
            if choice.get("run") not in {*self.start, *self.arms} or not keys <= {"run", "memory"}:
                names = ", ".join((*self.start, *self.arms))
                raise ValueError(
                    f"sweep.measured.{name} must be {{run: ..., memory: ..., memory.NAME: ...}}, "
                    f"memory or not, with a run out of {names}; got {dict(choice)}"
                )

    @property
    def folder(self) -> Path:
        """Of its benchmark."""
        return self.root / self.name

    def stages(self) -> list[list[StageRun]]:
        """Trainings that may run at once, stage after stage."""
        stages, before = [], list[str]()
        seeds = self.seeds if self.start_seed is None else [self.start_seed]
        for name, settings in self.start.items():
            stages.append([self._run(name, settings, seed, before) for seed in seeds])
            before.append(name)
        # Seed by seed, so that what is finished early can be compared early.
        arms = [
            self._run(name, [*self.student, *settings], seed, before)
            for seed in self.seeds
            for name, settings in self.arms.items()
        ]
        return [*_joined(stages), arms]

    def measuring(self) -> list[str]:
        """Arguments of `cf.benchmark` for all that was trained."""
        assert self.benchmark is not None
        arguments = [f"networks={{{','.join(self._named(name) for name in self.arms)}}}"]
        for name, choice in self.measured.items():
            key = f"contestants.{name}"
            arguments.append(f"+contestant@{key}=trained")
            arguments.append(f"{key}.checkpoint=[{self._runs(str(choice['run']))}]")
            if "memory" in choice:
                arguments.append(f"+memory@{key}.memory={choice['memory']}")
            arguments += [f"{key}.{at}={choice[at]}" for at in choice if at.startswith("memory.")]
        arguments.append("absent=list")  # whose training failed does not stop the others
        return [*arguments, *self.benchmark, f"hydra.run.dir={quoted(str(self.folder))}"]

    def _named(self, name: str) -> str:
        return f"{name}:[{self._runs(name)}]"

    def _runs(self, name: str) -> str:
        places = dict.fromkeys(self._place(name, seed) for seed in self.seeds)
        return ",".join(quoted(str(place)) for place in places)

    def _run(
        self, name: str, settings: Sequence[str], seed: int, before: Sequence[str]
    ) -> StageRun:
        places = {earlier: self._place(earlier, seed) for earlier in before}
        filled, needs = [], list[Path]()
        for setting in settings:
            for earlier, place in places.items():
                if f"{{{earlier}}}" in setting:
                    setting = setting.replace(f"'{{{earlier}}}'", quoted(str(place)))
                    setting = setting.replace(f"{{{earlier}}}", str(place))
                    needs += [place] if place not in needs else []
            filled.append(setting)
        return StageRun(self._place(name, seed), [*filled, *self.shared, f"seed={seed}"], needs)

    def _place(self, name: str, seed: int) -> Path:
        if name not in self.start:
            return self.root / "arms" / name / f"seed_{seed}"
        start_seed = seed if self.start_seed is None else self.start_seed
        return self.root / "start" / name / f"seed_{start_seed}"


def _joined(stages: Sequence[list[StageRun]]) -> list[list[StageRun]]:
    """Fewer and larger stages: those next to each other that do not need one another."""
    joined: list[list[StageRun]] = []
    for stage in stages:
        folders = {run.folder for run in joined[-1]} if joined else set[Path]()
        if joined and not any(folders & set(run.needs) for run in stage):
            joined[-1].extend(stage)
        else:
            joined.append(list(stage))
    return joined
