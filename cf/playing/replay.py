"""A recorded session made again: `python -m cf.generate script=session.json`."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cf.playing.maker import Maker
from cf.playing.record import Played, read_played
from cf.settings.build import Settings, build

if TYPE_CHECKING:
    from cf.playing.session import Moment, Session

log = logging.getLogger("cf")


def replay(settings: Settings, folder: Path) -> list[Path]:
    """Write the videos of a session, and the session itself beside them.

    Args:
        settings: of `cf.generate`: which session, and on what device it is made again.
        folder: of the results.

    Raises:
        ValueError: the session cannot be read, or its network is not the one that made it.
    """
    import torch

    from cf.generation.files import VideoFiles
    from cf.playing.session import TRUTH
    from cf.system.progress import progress

    played = read_played(settings["script"])
    maker = _maker(settings, played)
    session = maker_session(maker, played)
    begun = session.start()
    names = session.names
    memories = [name for name in names if name != TRUTH]
    paths = [folder / f"memory_{'ab'[i]}.mp4" for i in range(len(memories))]
    paths += [folder / "truth.mp4"] * (TRUTH in names)
    total = session.given + played.frames
    if not total:
        raise ValueError(f"script={settings['script']} holds no frame")
    shape = (paths, session.fps, session.size, total, session.given)
    with VideoFiles(*shape) as files, progress(total, "replaying", "frames") as bar:

        def show(moment: Moment) -> None:
            bar.update(files.add(torch.stack([moment.pictures[name] for name in names])))

        if begun is not None:
            show(begun)
        for moment in moments(session, maker, played):
            show(moment)
        files.write_sheets()
    played.write(folder / "session.json")
    for name, path in zip(memories, paths, strict=False):
        log.info("memory %s: %s", name, path.name)
    return paths


def moments(session: Session, maker: Maker, played: Played) -> Any:
    """What a session that has started shows after what was given, block by block."""
    keys, texts = played.held(), {at: (text, name) for at, text, name in played.texts}
    while (frame := session.frames - session.given) < played.frames:
        if session.frames in texts:
            text, name = texts[session.frames]
            session.say(text, name, maker.switch(name))
        yield session.step(keys[frame:] or [()])


def maker_session(maker: Maker, played: Played) -> Session:
    """The session that was recorded, which has not begun."""
    from cf.playing.pictures import decoded
    from cf.playing.session import Begin, Session

    size = maker.generator.size
    begin = Begin(
        {name: maker.memory(name) for name in played.memories},
        *(played.seed, played.world_seed, played.number, played.given, played.text),
        None if played.picture is None else decoded(played.picture, size),
    )
    world = None if played.world is None else build(played.world, "world")
    return Session(maker.generator, world, begin)


def _maker(settings: Settings, played: Played) -> Maker:
    """The network that made a session, on the device that is asked for, or on its own."""
    import torch

    from cf.models.start import is_same
    from cf.runs.generator import file_of, load
    from cf.runs.guidance import guide_of

    network, device = dict(played.network), settings["device"]
    if settings["checkpoint"] is not None:  # it may lie elsewhere by now
        network["checkpoint"] = settings["checkpoint"]
    if device == "auto" and (played.device == "cpu" or torch.cuda.is_available()):
        device = played.device
    if device.partition(":")[0] != played.device:
        log.warning(
            "the session was made on %s and is made again on %s, whose last bits differ",
            *(played.device, device),
        )
    weights = network.get("weights") or {}
    updates = weights.get("lora"), weights.get("lora_alpha")
    source = file_of(network["checkpoint"])
    if not is_same(source, played.weights_sha256, *updates):
        raise ValueError(f"{source} holds other weights than those that made the session")
    if (guide := guide_of(network)) is not None:
        guide = guide_of(settings) or guide  # likewise
        network["sampling"] = {**network["sampling"], "guide": guide}
        if not is_same(file_of(guide), str(network.get("guide_sha256"))):
            raise ValueError(f"{guide} holds other weights than those that guided the session")
    if device == "cpu":
        torch.set_num_threads(max(min(played.threads, 1024), 1))
    how = {name: settings[name] for name in ("offload", "tile", "card_gb")}
    texts = sorted({played.text, *(text for _, text, _ in played.texts)} - {""})
    generator = load({**network, **how, "device": device, "plan": False, "texts": texts})
    return Maker(generator, network, played.world, played.memories, played.switches)
