"""One open page: where in time it is, and what it has been sent."""

import asyncio
import contextlib
from typing import Any

import msgspec
from aiohttp import WSMsgType, web

from controller.dashboard.frame import Frame, difference, greeting_of
from controller.dashboard.page_state import Page
from quantum.errors import DpemError
from quantum.roles import Role

__all__ = ["Reader"]

#: At most ten updates a second.
_BEAT_S = 0.1


class _Seek(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a browser asks: a slot to look at, or None to follow the run."""

    at: int | None


class Reader:
    """One open page: where in time it is, and what it has been sent."""

    def __init__(self, page: Page, socket: web.WebSocketResponse, role: Role) -> None:
        self._page, self._socket, self._role = page, socket, role
        self._at: int | None = None
        self._shown: int | None = None
        self._asked = asyncio.Event()
        self._greeted = False
        self._sent: Frame | None = None

    async def run(self) -> None:
        """Serve the page until it goes."""
        teller = asyncio.ensure_future(self._tell())
        try:
            async for message in self._socket:
                if message.type is not WSMsgType.TEXT:
                    break
                try:
                    self._at = msgspec.json.decode(message.data, type=_Seek).at
                except msgspec.DecodeError:
                    break
                self._asked.set()
        finally:
            teller.cancel()
            with contextlib.suppress(asyncio.CancelledError, ConnectionError):
                await teller

    async def _tell(self) -> None:
        page, clock = self._page, asyncio.get_running_loop()
        due = 0.0
        while True:
            await asyncio.sleep(max(0.0, due - clock.time()))
            due = clock.time() + _BEAT_S
            newest = page.frame
            self._asked.clear()
            if newest is not None:
                await self._send(await self._moment())
            asked = asyncio.ensure_future(self._asked.wait())
            news = asyncio.ensure_future(page.changed(newest))
            try:
                await asyncio.wait({asked, news}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in (asked, news):
                    task.cancel()

    async def _moment(self) -> Frame:
        """Return what to show; the past is worked out once and then only brought up to date."""
        if self._at is not None and self._at == self._shown and self._sent is not None:
            return self._sent | self._page.standing()
        try:
            frame = await self._page.at(self._at)
        except DpemError:
            # The record cannot be read any more, which the status says; what is known is shown.
            self._at = None
            frame = await self._page.at(None)
        self._shown = self._at
        return frame

    async def _send(self, frame: Frame) -> None:
        story = self._page.watch.story
        message: dict[str, Any] = {}
        if not self._greeted and story is not None:
            self._greeted = True
            message["greeting"] = greeting_of(story) | {
                "folder": self._page.watch.folder.name,
                "role": self._role,
            }
        message["frame"] = difference(self._sent, frame)
        message["live"] = self._at is None
        self._sent = frame
        await self._socket.send_str(msgspec.json.encode(message).decode())
