"""A run that a test plays step by step, told to its record as a live run does, and its page."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec
import numpy as np

from controller.broker import TELEMETRY_SLOTS, telemetry_of
from controller.chronicle import Chronicle
from controller.dashboard.access import Tokens, new_tokens
from controller.dashboard.controls import Controls
from controller.dashboard.page_state import Page
from controller.dashboard.server import serve
from controller.dashboard.watch import Watch
from controller.dispatch import Dispatch
from controller.game import prepare
from controller.live import live_rules
from controller.mind import Mind
from controller.series import Series
from controller.setting import Setting, scenario_of
from controller.summary import summarise
from quantum.record import RecordWriter
from quantum.topology import to_json

__all__ = ["Served", "play", "write"]


def play(folder: Path, setting: Setting, *, seal: bool = True) -> Iterator[Dispatch]:
    """Play a run without sockets; yields after every telemetry, when its events are in the file."""
    scenario = scenario_of(setting)
    game = prepare(scenario)
    header = {
        "setting": msgspec.to_builtins(setting),
        "dpem": "0",
        "slots": scenario.slots,
        "warmup_slots": scenario.warmup_slots,
        "horizon": game.world.horizon,
    }
    record = RecordWriter(folder, header)
    with record:
        record.write_file("network.json", to_json(scenario.network))
        rules = live_rules(setting, game)
        dispatch = Dispatch(rules, record.append)
        series = Series(dispatch)
        chronicle = Chronicle(dispatch, series, game.bound)
        minds = [
            Mind(game.world, rules.rule, np.array(group), seed=setting.seed, learn=rules.learn)
            for group in rules.groups
        ]
        record.append(chronicle.begun())

        def tell() -> None:
            telemetry = telemetry_of(dispatch)
            series.note(telemetry)
            record.append(chronicle.seen(telemetry))
            record.flush()

        while not dispatch.finished:
            for group, look in enumerate(dispatch.open()):
                dispatch.hear(group, minds[group].speak(look))
            job = dispatch.close()
            if job is not None:
                dispatch.settle(dispatch.results.by_closed_form(job.job))
            if dispatch.slot % TELEMETRY_SLOTS == 0:
                tell()
                yield dispatch
        dispatch.results.count(dispatch.slot)
        tell()
        yield dispatch
        if seal:
            record.close(summarise(setting, game, dispatch, wall_s=1.0))


def write(folder: Path, setting: Setting) -> Dispatch:
    """Play a run to its end; return what it came to."""
    *_, last = play(folder, setting)
    return last


class Served:
    """The page of a folder, served by a thread of this process on a free port."""

    def __init__(self, folder: Path) -> None:
        self.tokens: Tokens = new_tokens()
        self.watch = Watch(folder)
        self.controls = Controls(folder, lambda: self.watch.rack)
        self.port = 0
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        def told(port: int) -> None:
            self.port = port
            self._ready.set()

        self._loop = asyncio.get_running_loop()
        page = Page(self.watch, self.controls, self.tokens)
        self._task = asyncio.ensure_future(serve(page, "127.0.0.1", 0, told))
        try:
            await self._task
        except asyncio.CancelledError:
            return

    def address(self, token: str) -> str:
        """Where the page is, for the holder of a token."""
        return f"http://127.0.0.1:{self.port}/?token={token}"

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
