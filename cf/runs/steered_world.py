"""The world through which a trained network walks, as its run's folder says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cf.runs.run_folder import RunFolder
from cf.settings.build import Settings, build
from cf.settings.targets import class_of
from cf.settings.trusted import Vetting, bound

if TYPE_CHECKING:
    from cf.data.world.steered import SteeredWorld
    from cf.runs.generator import Generator


def world_settings(checkpoint: str) -> Settings | None:
    """Settings of the world on which a run was trained; None of a run of videos, or of no run.

    The folder may be anybody's: what it asks for is vetted, and only a world can be built of it.

    Raises:
        ValueError: its config.yaml cannot be read, or asks for what it may not.
    """
    from cf.data.world.base import World
    from cf.data.world.steered import SteeredWorld

    folder = RunFolder.of(checkpoint)
    if not folder.config.is_file():
        return None
    data = folder.settings([]).get("data")
    world = data.get("world") if isinstance(data, dict) else None
    if not isinstance(data, dict) or not isinstance(world, dict):
        return None
    settings = {**world, "size": data.get("size", [32, 32])}
    settings.pop("_partial_", None)
    source = f"the run {folder.path.name}"
    bound(settings, source, 10**6)
    cls = class_of(str(settings.get("_target_")))
    if isinstance(cls, type) and issubclass(cls, World) and not issubclass(cls, SteeredWorld):
        raise ValueError(
            f"{source} walks through {cls.__name__}, whose camera nobody steers yet; a network "
            "of data=rooms or data=doom is steered"
        )
    Vetting(source, ()).vet(settings, SteeredWorld, "world")
    build(settings, "world")  # says what is wrong with it
    return settings


def steered(generator: Generator, world: SteeredWorld | None) -> SteeredWorld | None:
    """The world through which a network is steered; None of one that is told of no camera.

    Args:
        generator: of the network.
        world: that of its run; None: it is not known.

    Raises:
        ValueError: it is told of a camera, and its world is not known, or is another one's.
    """
    if getattr(generator.network, "control_dim", None) is None:
        return None
    if world is None:
        raise ValueError(
            "this network follows a camera through a drawn world, and its file does not say which: "
            "give the folder of its run, checkpoint=outputs/fit/DATE/TIME"
        )
    if tuple(world.size) != generator.size:
        raise ValueError(
            f"the network makes pictures of {list(generator.size)} and its world of "
            f"{list(world.size)}; leave size out"
        )
    return world
