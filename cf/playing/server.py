"""The page, its files and its socket, and who may come in."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.resources import files

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from cf.playing.hall import Hall, is_loopback
from cf.playing.visit import Visit

_KINDS = {
    "play.html": "text/html; charset=utf-8",
    "play.css": "text/css; charset=utf-8",
    "play.js": "text/javascript; charset=utf-8",
}
_SAFE = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}


def application(hall: Hall, host: str = "127.0.0.1") -> Starlette:
    """The page, its files and its socket.

    Args:
        hall: where pages sit.
        host: the address on which the server listens.
    """

    async def asset(request: Request) -> Response:
        name = request.url.path.removeprefix("/") or "play.html"
        if name == "play.html" and not hall.allows(request.query_params.get("token", "")):
            text = "This page asks for a token: open the whole address that cf.play printed."
            return PlainTextResponse(text, 403, _SAFE)
        data = (files("cf.playing") / "assets" / name).read_bytes()
        return Response(data, headers=_SAFE, media_type=_KINDS[name])

    async def saved(request: Request) -> Response:
        seat = hall.seats.get(request.path_params["seat"])
        file = None if seat is None else seat.files.get(request.path_params["file"])
        if file is None or not hall.allows(request.query_params.get("token", "")):
            return PlainTextResponse("There is no such file.", 404, _SAFE)
        name = f"{file.parent.name}-{file.name}"
        return FileResponse(file, headers=_SAFE, filename=name)

    async def icon(_: Request) -> Response:
        return Response(status_code=204, headers=_SAFE)

    async def socket(ws: WebSocket) -> None:
        await Visit(hall, ws).run()

    @asynccontextmanager
    async def life(_: Starlette) -> AsyncIterator[None]:
        yield
        for seat in hall.seats.values():
            seat.running = False
        hall.worker.shutdown(wait=True)
        for seat in hall.seats.values():
            seat.write()

    routes = [
        *(Route(path, asset) for path in ("/", "/play.js", "/play.css")),
        Route("/favicon.ico", icon),
        Route("/saved/{seat}/{file:path}", saved),
        WebSocketRoute("/socket", socket),
    ]
    # Another site's name that leads here (DNS rebinding) is not ours.
    hosts = ["localhost", "127.0.0.1", host] if is_loopback(host) else ["*"]
    guard = Middleware(TrustedHostMiddleware, allowed_hosts=hosts, www_redirect=False)
    return Starlette(routes=routes, middleware=[guard], lifespan=life)
