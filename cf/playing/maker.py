"""Makes sessions of one loaded network, and says how each was made."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cf.playing.record import Played, runs_of
from cf.runs.steered_world import world_settings
from cf.settings.build import Settings, build

if TYPE_CHECKING:
    from cf.playing.session import Pictures, Session
    from cf.runs.generator import Generator

log = logging.getLogger("cf.play")
OWN = "own"
"""The memory that a network was trained with, or that the command chose."""
_LOADING = (
    *("checkpoint", "model", "codec", "text", "image_encoder", "rollout", "memory", "switch"),
    *("sampling", "fps", "size", "weights", "dtype", "compile"),
)
"""Settings that decide a frame's numbers; how a device is spared is not among them."""


@dataclass(frozen=True)
class Wish:
    """What a page asks for.

    Attributes:
        memories: names, one or two.
        seed: of the noise.
        number: of the world's video.
        text: with which it begins.
        picture: with which it begins, where it walks through no world.
    """

    memories: tuple[str, ...]
    seed: int = 0
    number: int = 0
    text: str = ""
    picture: Pictures | None = None


@dataclass(frozen=True)
class Maker:
    """A network with the memories, switches and the world of its sessions.

    Attributes:
        network: settings of which `cf.runs.generator.load` made the generator.
        world: settings of the world; None where the network follows no camera.
        memories: settings by name; `OWN` is always there.
        switches: settings by name.
        world_seed: of the world's videos.
        given_seconds: of each, shown before anybody steers.
        sha256: of the weights.
        threads: of the CPU.
    """

    generator: Generator
    network: Settings
    world: Settings | None
    memories: Mapping[str, Settings | None]
    switches: Mapping[str, Settings]
    world_seed: int = 0
    given_seconds: float = 3.0
    sha256: str = ""
    threads: int = 1
    built: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def loaded(
        cls,
        settings: Settings,
        memories: Mapping[str, Settings | None],
        switches: Mapping[str, Settings],
    ) -> Maker:
        """With the network that the settings of `cf.play` name.

        Raises:
            ValueError: as `cf.runs.generator.load`; the network follows a camera through a world
                that is not known.
        """
        import torch

        from cf.models.start import fingerprint
        from cf.runs.generator import file_of, load
        from cf.runs.guidance import guide_of

        if settings["threads"] is not None:
            torch.set_num_threads(int(settings["threads"]))
        generator = load({**settings, "texts": [settings["prompt"]] if settings["prompt"] else []})
        network = {name: settings.get(name) for name in _LOADING}
        network["checkpoint"] = str(Path(settings["checkpoint"]).absolute())
        if (guide := guide_of(settings)) is not None:
            place = str(Path(guide).absolute())
            network["sampling"] = {**settings["sampling"], "guide": place}
            network["guide_sha256"] = fingerprint(file_of(guide))
        follows = getattr(generator.network, "control_dim", None) is not None
        weights = settings["weights"]
        maker = cls(
            generator,
            network,
            world_settings(settings["checkpoint"]) if follows else None,
            {OWN: None, **memories},
            switches,
            int(settings["world_seed"]),
            float(settings["given_seconds"]),
            fingerprint(
                file_of(settings["checkpoint"]), weights.get("lora"), weights.get("lora_alpha")
            ),
            torch.get_num_threads(),
        )
        return maker._usable()

    def session(self, wish: Wish) -> Session:
        """A session as a page asks for it, which has not begun.

        Raises:
            ValueError: there is no memory of such a name, or it does not fit the network.
        """
        from cf.playing.session import Begin, Session

        unknown = [name for name in wish.memories if name not in self.memories]
        if unknown:
            raise ValueError(f"there is no memory {unknown[0]!r}")
        block = self.generator.rollout.block_frames
        given_frames = round(self.given_seconds * self.generator.fps / block) * block
        memories = {name: self.memory(name) for name in wish.memories}
        begin = Begin(
            *(memories, wish.seed, self.world_seed, wish.number),
            *(given_frames if self.world else 0, wish.text, wish.picture),
        )
        return Session(self.generator, self._world(), begin)

    def memory(self, name: str) -> Any:
        """A memory, built once; None for the network's own."""
        settings = self.memories[name]
        if settings is not None and name not in self.built:
            self.built[name] = build(settings, f"memories.{name}")
        return self.built.get(name)

    def switch(self, name: str) -> Any:
        """A switch.

        Raises:
            ValueError: there is none of such a name.
        """
        if name not in self.switches:
            raise ValueError(f"there is no switch {name!r}")
        return build(self.switches[name], f"switches.{name}")

    def played(self, session: Session) -> Played:
        """How a session was made, up to now."""
        from cf.playing.pictures import as_png

        begin, used = session.begin, {name for _, _, name in session.texts}
        return Played(
            self.network,
            self.sha256,
            self.world if session.steers else None,
            {name: self.memories[name] for name in begin.memories},
            *(begin.seed, begin.world_seed, begin.number, begin.given, begin.text),
            None if begin.picture is None else as_png(begin.picture[0]),
            session.frames - session.given,
            runs_of(session.played),
            list(session.texts),
            {name: self.switches[name] for name in self.switches if name in used},
            self.generator.network.device.type,
            self.threads,
        )

    def _world(self) -> Any:
        return None if self.world is None else build(self.world, "world")

    def _usable(self) -> Maker:
        """Without the memories that do not take this network's blocks, or cannot be built."""
        fitting: dict[str, Settings | None] = {}
        for name, settings in self.memories.items():
            try:
                memory = self.memory(name)
                if memory is not None:
                    memory.check_block(self.generator.rollout.block_frames)
            except (ValueError, TypeError) as error:
                log.debug("memory %s is not offered: %s", name, error)
                continue
            fitting[name] = settings
        return Maker(**{**vars(self), "memories": fitting})
