"""Where pages sit while they play: who has a seat, and the one thread that makes frames."""

from __future__ import annotations

import asyncio
import ipaddress
import secrets
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from cf.playing.maker import Maker
from cf.playing.seat import Seat
from cf.playing.session import TRUTH

T = TypeVar("T")
TAKEN, FULL, MALFORMED, FORBIDDEN = 4001, 4002, 4003, 4004
"""Why a socket is closed."""


def is_loopback(host: str) -> bool:
    """Whether nobody but this machine reaches an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@dataclass
class Hall:
    """All seats of a server.

    Attributes:
        most: how many pages may play at once.
        seconds: longest video of a session.
        token: that an address must hold; empty: none.
        defaults: with which a page begins.
        picture: with which a video begins where a page gives none; None for none.
        leaving: what tells a page that its seat is taken; held so that it comes to its end.
    """

    maker: Maker
    folder: Path
    most: int = 1
    seconds: float = 600.0
    token: str = ""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    picture: Any = None
    leaving: Any = None
    seats: dict[str, Seat] = field(default_factory=dict)
    worker: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1))

    def allows(self, token: str) -> bool:
        """Whether who says this may come in."""
        return not self.token or secrets.compare_digest(token.encode(), self.token.encode())

    def seat(self, name: str, take: bool) -> Seat | None:
        """The seat of a page that comes back, or a free one; None where all are taken.

        A seat that nobody sits on counts as free, the one that was left first before others.

        Args:
            name: of the seat that the page had; empty for none.
            take: take a seat from another page if there is no free one.
        """
        if name in self.seats:
            return self.seats[name]
        if len(self.seats) >= self.most:
            seats = list(self.seats.values())
            free = [seat for seat in seats if seat.connection is None] or (seats if take else [])
            if not free:
                return None
            self._clear(min(free, key=lambda seat: seat.left))
        frames = max(round(self.seconds * self.maker.generator.fps), 1)
        seat = Seat(self.maker, self.folder, frames)
        self.seats[seat.name] = seat
        return seat

    def _clear(self, seat: Seat) -> None:
        """Take a seat away from whoever sits there."""
        del self.seats[seat.name]
        sits, seat.connection, seat.running = seat.connection, None, False
        self.worker.submit(seat.write)
        if sits is not None:
            self.leaving = asyncio.ensure_future(sits.leave(TAKEN))

    async def work(self, task: Callable[[], T]) -> T:
        """Do something in the one thread that makes frames: seats take turns."""
        return await asyncio.get_running_loop().run_in_executor(self.worker, task)

    def about(self) -> dict[str, Any]:
        """What a page must know of the network before it begins."""
        world, generator = self.maker.world, self.maker.generator
        built: Any = None if world is None else self.maker._world()
        return {
            "fps": generator.fps,
            "size": list(generator.size),
            "memories": list(self.maker.memories),
            "switches": list(self.maker.switches),
            "text": generator.text.dim is not None,
            "keys": {} if built is None else dict(built.told),
            "truth": TRUTH if world is not None else "",
            "picture": world is None,
            "needs_picture": bool(getattr(generator.network, "reference_channels", 0)),
            "network": Path(self.maker.network.get("checkpoint", "")).name,
            "folder": str(self.folder),
            "defaults": dict(self.defaults),
        }
