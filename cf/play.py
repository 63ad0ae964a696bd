"""`python -m cf.play`: a page on which a network makes video live."""

from __future__ import annotations

import logging
import secrets
import socket
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from cf.settings.build import Settings, to_settings
from cf.settings.command_line import command
from cf.settings.making import with_live_network

log = logging.getLogger("cf.play")
_NEEDED = ("starlette", "uvicorn", "websockets")


@command("play")
def main(cfg: DictConfig) -> None:
    """Serve as `cfg` says, until somebody ends it."""
    folder = Path(HydraConfig.get().runtime.output_dir)
    check_installed()
    settings = with_live_network(to_settings(cfg))
    # The settings of cf.memory_map are few, so that each option is composed at once.
    memories = {**options("memory", "memory_map"), **settings["memories"]}
    serve(settings, memories, options("switch", "play"), folder)


def check_installed() -> None:
    """Raise an ImportError with the line that installs what the page is served by."""
    lacking = [name for name in _NEEDED if find_spec(name) is None]
    if lacking:
        raise ImportError(
            f"cf.play needs {', '.join(lacking)}: pip install -e '.[play]' "
            f"(or pip install {' '.join(_NEEDED)})"
        )


def options(group: str, of: str) -> dict[str, Settings]:
    """What each option of a group says in the settings of a command."""
    names = GlobalHydra.instance().config_loader().get_group_options(group)
    composed = {name: hydra.compose(of, [f"{group}={name}"]) for name in names}
    return {name: to_settings(one)[group] for name, one in composed.items()}


def serve(
    settings: Settings, memories: dict[str, Any], switches: dict[str, Settings], folder: Path
) -> None:
    """Load the network, say where the page is, and answer until it is ended.

    Raises:
        ValueError: there is no memory of the name that is asked for, or the address is taken.
    """
    import uvicorn

    from cf.playing.hall import Hall, is_loopback
    from cf.playing.maker import Maker
    from cf.playing.messages import MOST_PICTURE
    from cf.playing.server import application
    from cf.runs.on_card import told_when_full

    host, against = settings["host"], settings["against"]
    listening = _bound(host, settings["port"])  # before anything is loaded
    with listening, told_when_full(settings):
        maker = Maker.loaded(settings, memories, switches)
        if against is not None and against not in maker.memories:
            raise ValueError(f"against={against}: there are {', '.join(maker.memories)}")
        token = settings["token"] or ("" if is_loopback(host) else secrets.token_urlsafe(18))
        defaults = {
            "memories": [name for name in ("own", against) if name],
            **{name: settings[name] for name in ("seed", "number")},
            "text": settings["prompt"],
        }
        bounds = (settings["sessions"], settings["seconds"], token)
        picture = _picture(settings["image"], maker)
        hall = Hall(maker, folder, *bounds, defaults=defaults, picture=picture)
        app = application(hall, host)
        config = uvicorn.Config(
            app,
            log_level="warning",
            ws="websockets-sansio",
            ws_max_size=MOST_PICTURE,
            server_header=False,
            timeout_graceful_shutdown=3,
        )
        port = listening.getsockname()[1]
        shown = socket.gethostname() if host in ("0.0.0.0", "::") else host
        log.info("open http://%s:%d/%s", shown, port, f"?token={token}" if token else "")
        log.info("sessions are saved in %s; Ctrl-C ends", folder)
        uvicorn.Server(config).run(sockets=[listening])


def _picture(image: str | None, maker: Any) -> Any:
    """The picture with which videos begin; None for none.

    Raises:
        ValueError: it cannot be read, or the network begins in a world.
    """
    if image is None:
        return None
    if maker.world is not None:
        raise ValueError(
            f"image={image}: this network walks through a world, which begins as it is"
        )
    from cf.video.reader import read_image
    from cf.video.writer import pictures_of

    return pictures_of(read_image(image, maker.generator.size))


def _bound(host: str, port: int) -> socket.socket:
    """A socket that listens there.

    Raises:
        ValueError: somebody else does, or there is no such address.
    """
    with ExitStack() as opened:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
            listening = opened.enter_context(socket.socket(found[0], socket.SOCK_STREAM))
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(found[4])
            # At once: until then a second server may take the same address, and a page that is
            # opened as soon as it is told is refused.
            listening.listen()
        except OSError as error:
            raise ValueError(
                f"host={host} port={port}: {error.strerror or error}; port=0 takes any that is free"
            ) from None
        opened.pop_all()
    return listening


if __name__ == "__main__":
    main()
