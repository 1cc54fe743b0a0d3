"""Sheets served by a thread of a test, and comparisons whose units a test hands out one by one."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from controller.arena.facts import Facts
from controller.arena.folder import Folder
from controller.arena.unit import Figures, Unit
from controller.dashboard.access import Tokens, new_tokens
from controller.dashboard.server import serve_application
from controller.dashboard.sheet import Source
from controller.dashboard.sheet_page import SheetPage, sheet_application
from quantum.presets import cells

__all__ = ["NAMES", "ServedSheet", "facts", "played", "playing"]

NAMES = ("dpem", "mean-rate", "on-demand")


class ServedSheet:
    """The page of a source, served by a thread of this process on a free port."""

    def __init__(self, source: Source) -> None:
        self.tokens: Tokens = new_tokens()
        self.page = SheetPage(source, self.tokens)
        self.port = 0
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))

    async def _serve(self) -> None:
        def told(port: int) -> None:
            self.port = port
            self._ready.set()

        self._loop = asyncio.get_running_loop()
        app = sheet_application(self.page)
        work = serve_application(app, self.page.follow(), "127.0.0.1", 0, told)
        self._task = asyncio.ensure_future(work)
        try:
            await self._task
        except asyncio.CancelledError:
            return

    @property
    def address(self) -> str:
        """Where the page is, for who may watch."""
        return f"http://127.0.0.1:{self.port}/?token={self.tokens.observe}"

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(60.0)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._loop.call_soon_threadsafe(self._task.cancel)
        self._thread.join(60.0)
        assert not self._thread.is_alive()


def facts(number: int = 3, seeds: int = 2) -> Facts:
    """A comparison of some cells of a preset, by versions that nobody has."""
    return Facts(
        cells=list(cells("paper")[:number]),
        seeds=list(range(seeds)),
        allocators={name: {"code": name} for name in NAMES},
        seconds=5.0,
        warmup_s=1.0,
        versions={"dpem": "0"},
        sources="none",
        files={},
    )


def played(what: Facts, number: int, note: str | None = None) -> Unit:
    """The unit of a number; figures of allocators differ by ten points, units a little."""
    cell, seed = what.cells[number % len(what.cells)], what.seeds[number // len(what.cells)]
    of = {
        name: Figures(
            delivery_rate=0.6 - 0.1 * k + 0.01 * (number % 3),
            fraction_of_bound=0.8 - 0.1 * k + 0.01 * (number % 3),
            contention=0.05,
            contention_loss=0.01,
            pairs_delivered=100.0,
            fidelity=0.9,
            latency_ms=120.0,
        )
        for k, name in enumerate(what.allocators)
    }
    return Unit(
        cell=cell,
        seed=seed,
        network=seed,
        load_hz=60.0,
        requests=50,
        pairs_requested=100,
        bound=90.0,
        allocators=of,
        nodes=100,
        note=note,
    )


@contextmanager
def playing(path: Path, what: Facts) -> Iterator[Folder]:
    """A comparison that plays in a folder, as far as others can see."""
    with Folder(path, what) as folder:
        yield folder
