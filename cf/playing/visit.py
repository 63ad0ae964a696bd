"""One connection of a page: what it asks for, and when the next block is made for it."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from starlette.websockets import WebSocket, WebSocketDisconnect

from cf.playing.hall import FORBIDDEN, FULL, MALFORMED, TAKEN, Hall
from cf.playing.maker import Wish
from cf.playing.messages import MOST_PICTURE, MalformedMessageError, PageMessage, read_message
from cf.playing.pictures import decoded
from cf.playing.seat import Seat

log = logging.getLogger("cf.play")
_BEHIND = 0.5
"""Blocks by which time may fall behind and be made up for; what is later is lost."""


class Visit:
    """One connection of a page, from its first message to its last."""

    def __init__(self, hall: Hall, ws: WebSocket) -> None:
        self._hall, self._ws = hall, ws
        self._seat: Seat | None = None
        self._woken, self._sending = asyncio.Event(), asyncio.Lock()
        self._wish: dict[str, Any] | None = None

    async def run(self) -> None:
        """Talk until either side hangs up."""
        query, headers = self._ws.query_params, self._ws.headers
        same = urlsplit(headers.get("origin", "")).netloc == headers.get("host", "")
        await self._ws.accept()
        if not headers.get("host") or not same or not self._hall.allows(query.get("token", "")):
            await self._ws.close(FORBIDDEN)
            return
        seat = self._hall.seat(query.get("seat", "")[:100], query.get("take") == "1")
        if seat is None:
            await self._ws.close(FULL)
            return
        before, seat.connection = seat.connection, self
        self._seat = seat
        seat.seen(seat.frames)  # what was on its way to the page before is asked for, if at all
        if before is not None:
            await before.leave(TAKEN)
        player = asyncio.create_task(self._play(seat))
        try:
            await self._greet(seat)
            await self._listen(seat)
        except (WebSocketDisconnect, RuntimeError):  # RuntimeError: closed while we were sending
            pass
        finally:
            player.cancel()
            with suppress(asyncio.CancelledError, WebSocketDisconnect, RuntimeError):
                await player
            if seat.connection is self:
                seat.connection, seat.running, seat.left = None, False, time.monotonic()
                seat.held = seat.tapped = ()
                await self._hall.work(seat.write)

    async def leave(self, code: int) -> None:
        """Another page sits here now."""
        self._seat = None
        self._woken.set()
        with suppress(RuntimeError, WebSocketDisconnect):
            await self._ws.close(code)

    async def _greet(self, seat: Seat) -> None:
        greeting = {"about": self._hall.about(), "seat": seat.name}
        if seat.session is not None:
            greeting["back"] = {**seat.history(), "begin": _begun(seat), "ended": seat.ended}
        await self._tell(**greeting)

    async def _listen(self, seat: Seat) -> None:
        while seat.connection is self:
            message = await self._ws.receive()
            if message["type"] == "websocket.disconnect":
                return
            data = message.get("bytes")
            try:
                if data is not None:
                    await self._picture(seat, data)
                else:
                    await self._hear(seat, read_message(message.get("text") or ""))
            except MalformedMessageError as error:
                log.warning("a page sent what no page of ours sends (%s)", error)
                await self._ws.close(MALFORMED)
                return
            except ValueError as error:
                await self._tell(fault=str(error))
            self._woken.set()

    async def _hear(self, seat: Seat, message: PageMessage) -> None:
        values = message.values
        match message.what:
            case "begin" if values["picture"]:
                self._wish = dict(values)  # the picture is the next message
            case "begin":
                await self._begin(seat, values, self._hall.picture)
            case "keys":
                seat.keys(values["held"], values["tapped"], values["at"])
            case "run":
                seat.running = bool(values["on"])
                if not seat.running:
                    seat.held = seat.tapped = ()
                    await self._hall.work(seat.write)
            case "say":
                await self._hall.work(lambda: _say(seat, values["text"], values["switch"]))
                seat.early = True
            case "frames":
                await self._send(seat.again(values["wanted"]))
            case "seen":
                seat.seen(values["frame"])
            case "save":
                saved = await self._hall.work(seat.save)
                place = next(iter(saved.values())).parent
                names = [f"{place.name}/{name}" for name in saved]
                await self._tell(saved={"folder": str(place), "files": names})

    async def _picture(self, seat: Seat, data: bytes) -> None:
        wish, self._wish = self._wish, None
        if wish is None or len(data) > MOST_PICTURE:
            raise MalformedMessageError("a picture that was not announced, or too large")
        size = self._hall.maker.generator.size
        await self._begin(seat, wish, decoded(data, size))

    async def _begin(self, seat: Seat, values: Mapping[str, Any], picture: Any) -> None:
        seat.running = False
        names = tuple(values["memories"])
        wish = Wish(names, values["seed"], values["number"], values["text"].strip(), picture)
        sent = await self._hall.work(lambda: seat.begin(wish))
        await self._tell(begun=_begun(seat))
        for data in sent:
            await self._send(data)
        seat.running = True

    async def _play(self, seat: Seat) -> None:
        """Make a block whenever one is due, or a key asks for it, and the page keeps up."""
        due = 0.0
        while seat.connection is self:
            now = time.monotonic()
            idle = not seat.running or seat.session is None or bool(seat.ended) or seat.waits
            if idle or (now < due and not seat.early):
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._woken.wait(), None if idle else due - now)
                self._woken.clear()
                continue
            early, before = seat.early and now < due, seat.frames
            try:
                data = await self._hall.work(seat.step)
            except ValueError as error:
                seat.running = False
                await self._tell(fault=str(error))
                continue
            lasts = (seat.frames - before) / self._hall.maker.generator.fps
            due = now + lasts if early else max(due, now - _BEHIND * lasts) + lasts
            await self._send(data)
            if seat.ended:
                await self._tell(ended=seat.ended)

    async def _tell(self, **message: Any) -> None:
        async with self._sending:
            await self._ws.send_text(json.dumps(message))

    async def _send(self, data: bytes) -> None:
        """Waits for a page that is slow: nothing is made meanwhile, so that no queue grows."""
        async with self._sending:
            await self._ws.send_bytes(data)


def _say(seat: Seat, text: str, switch: str) -> None:
    if seat.session is None:
        raise ValueError("nothing plays yet")
    seat.session.say(text, switch, seat.maker.switch(switch))


def _begun(seat: Seat) -> dict[str, Any]:
    """Of a session, for its page."""
    assert seat.session is not None
    begin = seat.session.begin
    return {
        "names": seat.session.names,
        "memories": list(begin.memories),
        "given": seat.session.given,
        "seed": begin.seed,
        "number": begin.number,
        "text": begin.text,
    }
