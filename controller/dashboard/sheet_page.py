"""The server of a sheet: one source that is followed, and the pages that show it."""

import asyncio
import contextlib

import msgspec
from aiohttp import WSMsgType, web

from controller.dashboard.access import Tokens
from controller.dashboard.server import shell
from controller.dashboard.sheet import Sheet, Source
from quantum.roles import Role

__all__ = ["SheetPage", "sheet_application"]

#: Files are looked at so often, and pages are told of changes at most so often.
_LOOK_S, _BEAT_S = 0.2, 0.5


class SheetPage:
    """What all readers share: the source, and its newest sheet as JSON."""

    def __init__(self, source: Source, tokens: Tokens) -> None:
        self.source, self.tokens = source, tokens
        self.sheet: Sheet | None = None
        self.data = ""
        self._version = -1
        self._news = asyncio.Condition()

    async def follow(self) -> None:
        """Read on for ever; to be cancelled."""
        while True:
            more = await asyncio.to_thread(self.source.step)
            # A long journal is shown while it is read.
            if self.source.version != self._version:
                self._version = self.source.version
                self.sheet = await asyncio.to_thread(self.source.sheet)
                data = msgspec.json.encode(self.sheet).decode()
                if data != self.data:
                    self.data = data
                    async with self._news:
                        self._news.notify_all()
            if not more:
                await asyncio.sleep(_LOOK_S)

    async def changed(self, since: str) -> str:
        """Wait for another sheet than ``since``, and return it."""
        async with self._news:
            await self._news.wait_for(lambda: self.data != since)
        return self.data


def sheet_application(page: SheetPage) -> web.Application:
    """Return the routes of a sheet: it can be watched, and nothing can be stopped from it."""

    async def tell(socket: web.WebSocketResponse) -> None:
        sent = ""
        while True:
            sent = await page.changed(sent)
            await socket.send_str(sent)
            await asyncio.sleep(_BEAT_S)

    async def read(socket: web.WebSocketResponse, _: Role) -> None:
        teller = asyncio.ensure_future(tell(socket))
        try:
            async for message in socket:
                # A page of this kind has nothing to say.
                if message.type is WSMsgType.TEXT or message.type is WSMsgType.BINARY:
                    break
        finally:
            teller.cancel()
            with contextlib.suppress(asyncio.CancelledError, ConnectionError):
                await teller

    app = shell(page.tokens, "sheet.html", read)

    async def state(_: web.Request) -> web.StreamResponse:
        # Who asks before anything was read waits for it.
        data = page.data or await page.changed("")
        return web.Response(body=data.encode(), content_type="application/json")

    app.router.add_get("/state", state)
    return app
