"""The page's server: HTTP and WebSockets on loopback, for those who hold a token.

Nothing is served without a token but the refusal. The page loads nothing from elsewhere, and its
Content-Security-Policy lets the browser enforce that. Slow readers get fewer, larger differences:
what a browser has not taken is never queued.
"""

import asyncio
import contextlib
import sys
from collections.abc import Awaitable, Callable, Coroutine
from importlib.resources import files
from typing import Any

import msgspec
from aiohttp import WSCloseCode, web

from controller.dashboard.access import Tokens
from controller.dashboard.guard import cookie_of, guard, role_of
from controller.dashboard.page_state import Page
from controller.dashboard.reader import Reader
from quantum.errors import DpemError, InputError
from quantum.roles import Role, allows

__all__ = ["application", "serve", "serve_application", "shell"]

_MOST_READERS = 64
#: Pages that do not say goodbye are left.
_FAREWELL_S = 1.0
_MOST_BODY, _MOST_MESSAGE = 4096, 1024
_TYPES = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}


#: Serves one open page over its socket, for somebody of a role.
Serve = Callable[[web.WebSocketResponse, Role], Awaitable[None]]


class _Stop(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A wish to stop, with a reason for the record."""

    reason: str
    what: str


def shell(tokens: Tokens, index: str, reader: Serve) -> web.Application:
    """Return what all pages have behind the guard: ``index``, assets, and a stream."""
    app = web.Application(client_max_size=_MOST_BODY, middlewares=[guard(tokens)])
    readers: set[web.WebSocketResponse] = set()
    shown = {path.name: path.read_bytes() for path in (files(__package__) / "page").iterdir()}

    async def asset(request: web.Request) -> web.StreamResponse:
        name = request.match_info.get("name", index)
        data = shown.get(name)
        kind = _TYPES.get(name[name.rfind(".") :])
        if data is None or kind is None:
            raise web.HTTPNotFound
        return web.Response(body=data, content_type=kind, charset="utf-8")

    async def enter(request: web.Request) -> web.StreamResponse:
        if "token" not in request.query:
            return await asset(request)
        # The token goes into a cookie that no script can read, and out of the address.
        answer = web.Response(status=303, headers={"Location": "/"})
        answer.set_cookie(
            cookie_of(request),
            request.query["token"],
            httponly=True,
            samesite="Strict",
            path="/",
        )
        return answer

    async def stream(request: web.Request) -> web.StreamResponse:
        if len(readers) >= _MOST_READERS:
            raise web.HTTPServiceUnavailable(text=f"{_MOST_READERS} pages are open already\n")
        socket = web.WebSocketResponse(
            max_msg_size=_MOST_MESSAGE, heartbeat=20.0, timeout=_FAREWELL_S
        )
        await socket.prepare(request)
        readers.add(socket)
        try:
            await reader(socket, role_of(tokens, request) or "observe")
        finally:
            readers.discard(socket)
        return socket

    async def leave(_: web.Application) -> None:
        for socket in list(readers):
            await socket.close(code=WSCloseCode.GOING_AWAY)

    app.on_shutdown.append(leave)
    app.router.add_get("/", enter)
    app.router.add_get("/assets/{name}", asset)
    app.router.add_get("/stream", stream)
    return app


def application(page: Page) -> web.Application:
    """Return the routes of a run's page."""

    async def read(socket: web.WebSocketResponse, role: Role) -> None:
        await Reader(page, socket, role).run()

    app = shell(page.tokens, "index.html", read)

    async def state(request: web.Request) -> web.StreamResponse:
        wanted = request.query.get("slot")
        if wanted is not None and not (wanted.isascii() and wanted.isdigit() and len(wanted) < 16):
            raise web.HTTPBadRequest(text="slot must be a whole number >= 0\n")
        try:
            frame = await page.at(None if wanted is None else int(wanted))
        except DpemError as wrong:
            raise web.HTTPConflict(text=f"{wrong}\n") from wrong
        return web.Response(body=msgspec.json.encode(frame), content_type="application/json")

    async def stop(request: web.Request) -> web.StreamResponse:
        role = role_of(page.tokens, request)
        if role is None or not allows(role, "operate"):
            raise web.HTTPForbidden(text="this token may observe; stopping needs role operate\n")
        try:
            wish = msgspec.json.decode(await request.read(), type=_Stop)
            if not 1 <= len(wish.reason.strip()) <= 200:
                raise InputError("reason must have 1 to 200 characters")
            said = await page.controls.stop(wish.what, wish.reason.strip(), page.watch.status.state)
        except msgspec.DecodeError as wrong:
            raise web.HTTPBadRequest(text=f"body: {wrong}\n") from wrong
        except DpemError as wrong:
            raise web.HTTPConflict(text=f"{wrong}\n") from wrong
        return web.Response(body=msgspec.json.encode(said), content_type="application/json")

    app.router.add_get("/state", state)
    app.router.add_post("/stop", stop)
    return app


async def serve(page: Page, host: str, port: int, told: Callable[[int], None]) -> None:
    """Serve a run's page until cancelled; ``told`` hears the port."""
    await serve_application(application(page), page.follow(), host, port, told)


async def serve_application(
    app: web.Application,
    follow: Coroutine[Any, Any, None],
    host: str,
    port: int,
    told: Callable[[int], None],
) -> None:
    """Serve routes until cancelled, and ``follow`` beside them; ``told`` hears the port."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=_FAREWELL_S)
    await runner.setup()
    site = web.TCPSite(runner, host, port)
    try:
        await site.start()
    except OSError as wrong:
        follow.close()
        await runner.cleanup()
        raise InputError(f"cannot listen on {host} port {port}: {wrong.strerror}") from wrong
    follower = asyncio.ensure_future(follow)
    try:
        told(runner.addresses[0][1])
        sys.stdout.flush()
        await follower
    finally:
        follower.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await follower
        await runner.cleanup()
