"""The processes of one run: when one of them ends by mischance, the others end too.

Each holds a connection to the first, which the system closes when a process ends in any way. Where
a machine goes, keepalive finds out.
"""

from __future__ import annotations

import os
import secrets
import select
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

_BYE, _FAILED, _TOLD = b"b", b"f", b"t"
"""What a process says last: it ends as it should, by an error, or it has told why all do."""
_PATIENCE = 60.0  # seconds in which all have to connect
_TOKEN = 16  # bytes
_KEEPALIVE = (("TCP_KEEPIDLE", 10), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 4))  # 30 seconds


@dataclass
class Peers:
    """The watch of one process over the others.

    Attributes:
        rank: of this process, the first being 0.
        count: of all processes.
        tells: whether this process says why all end, if it is the first that does.
        say: says it.
    """

    rank: int
    count: int
    tells: bool
    say: Callable[[str], None]
    _links: dict[int, socket.socket] = field(default_factory=dict)
    _over: threading.Event = field(default_factory=threading.Event)
    _server: socket.socket | None = None
    _token: bytes = b""

    def open(self) -> tuple[int, str]:
        """Wait for the others, in the first process.

        Returns:
            The port and a secret, which the others are given.
        """
        self._server = socket.create_server(("", 0), backlog=self.count)
        self._token = secrets.token_bytes(_TOKEN)
        port: int = self._server.getsockname()[1]
        return port, self._token.hex()

    def begin(self, host: str, port: int, secret: str) -> None:
        """Connect, and watch from now on.

        Raises:
            TimeoutError: somebody did not come.
        """
        limit = time.monotonic() + _PATIENCE
        if self._server is None:
            link = socket.create_connection((host, port), _PATIENCE)
            link.sendall(bytes.fromhex(secret) + self.rank.to_bytes(4, "big"))
            self._take(0, link)
        else:
            while len(self._links) < self.count - 1:
                self._server.settimeout(max(limit - time.monotonic(), 0.01))
                self._admit(self._server.accept()[0])
            self._server.close()
        threading.Thread(target=self._watch, daemon=True, name="watch over peers").start()

    def leave(self) -> None:
        """End as it should be: nobody minds."""
        self._over.set()
        self._send(_BYE)

    def fail(self) -> None:
        """End by an error of this process: all others end, unless another's end was its cause."""
        if not self._over.wait(2.0):  # the watch ends this process before, if a peer has gone
            self._over.set()
            self._send(_FAILED)

    def _admit(self, link: socket.socket) -> None:
        link.settimeout(5.0)
        greeting = b""
        with suppress(OSError):
            while len(greeting) < _TOKEN + 4 and (part := link.recv(_TOKEN + 4 - len(greeting))):
                greeting += part
        rank = int.from_bytes(greeting[_TOKEN:], "big")
        if secrets.compare_digest(greeting[:_TOKEN], self._token) and rank not in self._links:
            self._take(rank, link)
        else:
            link.close()

    def _take(self, rank: int, link: socket.socket) -> None:
        link.settimeout(None)
        link.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _KEEPALIVE:
            if hasattr(socket, name):
                link.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
        self._links[rank] = link

    def _watch(self) -> None:
        watched = dict(self._links)
        while watched and not self._over.is_set():
            ready, _, _ = select.select(list(watched.values()), [], [], 1.0)
            for rank, link in list(watched.items()):
                if link in ready:
                    self._hear(rank, link)
                    del watched[rank]

    def _hear(self, rank: int, link: socket.socket) -> None:
        """Read what a peer says last; nothing, if it was killed."""
        try:
            last = link.recv(1)
        except OSError:
            last = b""
        if last == _BYE or self._over.is_set():
            return
        if last != _TOLD and (self.rank == 0 or self.tells):
            how = "ended by an error" if last == _FAILED else "was killed, or its machine is gone"
            self.say(f"process {rank} of {self.count} {how}")
        self._send(_TOLD)
        os._exit(1)

    def _send(self, last: bytes) -> None:
        for link in self._links.values():
            with suppress(OSError):
                link.sendall(last)
