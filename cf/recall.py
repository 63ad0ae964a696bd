"""`python -m cf.recall`: what networks remember of worlds whose every cell is known."""

from __future__ import annotations

import logging
import os
import time
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from cf.files.output_folder import working
from cf.settings.build import Settings, build, to_settings
from cf.settings.command_line import command
from cf.system.processes import Died, spread

if TYPE_CHECKING:
    from cf.data.world.module import WorldData
    from cf.metrics.recall.room_recall import RoomRecall
    from cf.recall_report import Outcome
    from cf.rollout.influence import Influence
    from cf.runs.generator import Generator

log = logging.getLogger("cf.recall")


@command("recall")
def main(cfg: DictConfig) -> None:
    """Measure as `cfg` says."""
    folder = Path(HydraConfig.get().runtime.output_dir)
    with working("cf.recall", folder, lambda: _kept(folder)):
        measure_recall(to_settings(cfg), folder)


@dataclass(frozen=True)
class MeasuredNetwork:
    """A network under a memory; None leaves the memory that it was trained with."""

    name: str
    memory: str | None
    settings: Settings

    @property
    def label(self) -> str:
        """For files and tables."""
        return self.name if self.memory is None else f"{self.name}, {self.memory}"


def measure_recall(settings: Settings, folder: Path) -> None:
    """Continue the same worlds with every network and memory; leave a table, a plot and videos."""
    from cf.recall_report import write_recall_report
    from cf.runs.outline import read_checkpoint
    from cf.system.progress import progress

    contestants = _contestants(settings)
    data = _world(settings)
    for network in contestants:  # before worlds are drawn and processes started
        _check_tokens(network, read_checkpoint(network.settings)[0], data)
    outcomes = {"truth": _truth(settings, data)}
    doing = partial(continue_worlds, settings=settings)
    outcome_of: dict[str, Outcome | Died] = {}
    with (
        progress(len(contestants), "recall", "networks") as bar,
        closing(spread(doing, contestants, settings["workers"])) as answers,
    ):
        for network, outcome in answers:
            outcome_of[network.label] = outcome
            bar.update()
    failed: dict[str, str] = {}
    for label in (network.label for network in contestants):
        outcome = outcome_of[label]
        if isinstance(outcome, Died):
            failed[label] = f"its process died three times ({outcome.reason})"
        else:
            outcomes[label] = outcome
    if len(outcomes) > 1:
        write_recall_report(outcomes, settings, folder)
    if failed:
        reasons = "; ".join(f"{label}: {reason}" for label, reason in failed.items())
        raise ValueError(f"not measured: {reasons}. What is written is of the others")


def _kept(folder: Path) -> str:
    is_written = (folder / "recall.csv").is_file()
    return "recall.csv is kept" if is_written else "nothing was written yet"


def continue_worlds(contestant: MeasuredNetwork, settings: Settings) -> Outcome:
    """Continue every world, on one thread of a process of its own."""
    os.environ["OMP_NUM_THREADS"] = "1"
    import torch

    from cf.data.world.known import known
    from cf.recall_report import Outcome
    from cf.runs.generator import load

    if settings["device"] == "cpu":
        torch.set_num_threads(1)
    generator = load(contestant.settings)
    data, given, frames = _world(settings), settings["given"], settings["frames"]
    world: Any = data.world
    counted, seconds = _counted(settings, world, data.fps), 0.0
    for first in range(0, settings["worlds"], settings["batch_size"]):
        numbers = range(first, min(first + settings["batch_size"], settings["worlds"]))
        drawn = data.world.draw(settings["seed"], numbers, frames)
        began = time.perf_counter()
        with torch.inference_mode():
            video = generator.follow(drawn, given, settings["seed"], numbers)
        seconds += time.perf_counter() - began
        counted.update(video.clone(), [known(drawn, i, given) for i in range(len(numbers))])
    with torch.inference_mode():
        numbers = range(settings["shown"])
        drawn = data.world.draw(settings["seed"], numbers, settings["shown_frames"])
        shown = generator.follow(drawn, given, settings["seed"], numbers)
    speed = settings["worlds"] * (frames - given) / seconds
    attended = generator.rollout.memory.max_frames
    return Outcome(counted.pooled(), speed, attended, shown, _influence(generator, data, settings))


def _check_tokens(contestant: MeasuredNetwork, parts: Settings, data: WorldData) -> None:
    """Raise a ValueError if a network's tokens are no cells of the world."""
    from cf.runs.outline import codec_outline

    world: Any = data.world
    stride = codec_outline(parts["codec"], contestant.settings).space_stride
    token = [side * stride for side in parts["model"].get("patch_size", (2, 2))]
    if token != list(world.token):
        raise ValueError(
            f"tokens of {contestant.settings['checkpoint']} are {token} pixels, those of the world "
            f"{list(world.token)}; give model.patch_size={token}"
        )


def _influence(generator: Generator, data: WorldData, settings: Settings) -> Influence | str | None:
    """How far back the shown worlds' next block is influenced; why not, in words."""
    import torch

    lags, numbers = settings["influence"], range(settings["shown"])
    if not lags or not numbers:
        return None
    film = data.world.film(settings["seed"], numbers, settings["frames"])
    try:
        with torch.inference_mode():
            return generator.influence(film, settings["given"], settings["seed"], numbers, lags)
    except ValueError as error:  # a memory of merged frames: the others are measured
        return str(error)


def _contestants(settings: Settings) -> list[MeasuredNetwork]:
    """Every student under every memory, and the oracle under its own."""
    if not settings["students"] and not settings["oracle"]:
        raise ValueError("students must be given: students='{name: RUN, other: RUN}'")
    networks = []
    memories = {key: value for key, value in settings["memories"].items() if value is not None}
    if settings["students"] and not memories:
        raise ValueError("memories names none: leave one in, or give +memory_set@memories=rooms")
    for name, path in (settings["students"] or {}).items():
        for memory, choice in memories.items():
            networks.append(MeasuredNetwork(name, memory, _loading(settings, path, choice)))
    if settings["oracle"]:
        oracle = _loading(settings, settings["oracle"], None)
        networks.append(MeasuredNetwork("oracle", None, oracle))
    return networks


def _loading(settings: Settings, path: str, memory: Settings | None) -> Settings:
    """As `cf.runs.generator.load` takes it."""
    sampling = {"num_steps": None, "sampler": None, "context_noise": None}
    return {
        "checkpoint": path,
        "model": None,
        "memory": memory,
        "switch": {"_target_": "cf.rollout.Keep"},
        "sampling": sampling,
        "device": settings["device"],
        "dtype": "float32",
        "compile": settings["compile"],
    }


def _world(settings: Settings) -> WorldData:
    from cf.data.world.rooms import Rooms

    data: Any = build(settings["data"], "data")
    if not isinstance(getattr(data, "world", None), Rooms):
        raise ValueError("recall is measured on rooms, whose cells are known: data=rooms")
    if not 0 < settings["given"] < settings["frames"]:
        raise ValueError(
            f"given={settings['given']} must lie between 1 and frames={settings['frames']} less one"
        )
    world: WorldData = data
    return world


def _truth(settings: Settings, data: WorldData) -> Outcome:
    from cf.data.world.known import known
    from cf.recall_report import Outcome

    world: Any = data.world
    drawn = world.draw(settings["seed"], range(settings["worlds"]), settings["frames"])
    counted = _counted(settings, world, data.fps)
    counted.update(
        drawn.video, [known(drawn, i, settings["given"]) for i in range(settings["worlds"])]
    )
    shown = world.draw(settings["seed"], range(settings["shown"]), settings["shown_frames"])
    return Outcome(counted.pooled(), float("nan"), None, shown.video, None, shown.truth.place)


def _counted(settings: Settings, world: Any, fps: float) -> RoomRecall:
    """Nothing yet."""
    from cf.metrics.recall.room_recall import RoomRecall

    return RoomRecall(world, settings["lags"], settings["frames"], fps)


if __name__ == "__main__":
    main()
