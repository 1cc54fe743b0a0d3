"""What all readers of a page share: the watched folder, and its newest frame."""

import asyncio

from controller.dashboard.access import Tokens
from controller.dashboard.controls import Controls
from controller.dashboard.frame import Frame, frame_of
from controller.dashboard.story import Story
from controller.dashboard.watch import Watch

__all__ = ["Page"]

#: The folder is looked at so often.
_LOOK_S = 0.05


class Page:
    """What all readers of a server share: the watched folder and the newest frame."""

    def __init__(self, watch: Watch, controls: Controls, tokens: Tokens) -> None:
        self.watch, self.controls, self.tokens = watch, controls, tokens
        self.frame: Frame | None = None
        self._news = asyncio.Condition()
        self._version = (-1, -1)
        # States are shared between the reader of the file and those who go back.
        self._turn = asyncio.Lock()

    async def follow(self) -> None:
        """Read on for ever; to be cancelled."""
        while True:
            self.controls.look()
            async with self._turn:
                more = await asyncio.to_thread(self.watch.step)
            if not more or self.frame is None:
                version = (self.watch.version, self.controls.version)
                if version != self._version:
                    self._version = version
                    self.frame = self._frame(self.watch.story)
                    async with self._news:
                        self._news.notify_all()
                await asyncio.sleep(_LOOK_S)

    def _frame(self, story: Story | None) -> Frame:
        return (frame_of(story) if story is not None else {}) | self.standing()

    def standing(self) -> Frame:
        """Return the sections that are of now, whatever moment is looked at."""
        status, story = self.watch.status, self.watch.story
        return {
            "status": {"state": status.state, "word": status.word},
            "results": self.watch.results,
            "instruments": self.controls.instruments,
            "controls": self.controls.offered(status.state),
            "reach": {"slot": 0 if story is None else story.slot},
        }

    async def at(self, slot: int | None) -> Frame:
        """Return the frame of a moment, or the newest one."""
        if slot is None or self.watch.story is None or slot >= self.watch.story.slot:
            return self.frame or self._frame(None)
        async with self._turn:
            story = await asyncio.to_thread(self.watch.at, max(0, slot))
        return self._frame(story)

    async def changed(self, since: Frame | None) -> None:
        """Wait until the newest frame is another one."""
        async with self._news:
            await self._news.wait_for(lambda: self.frame is not since)
