"""A service that is watched from outside: its journal, its folder of keys, and its metrics.

Nothing is asked of the service but the page that Prometheus asks for; a page that is open takes
nothing from applications. All of it is read as the user who looks may read it.
"""

import http.client
import time
import urllib.error
import urllib.request
from collections import deque
from pathlib import Path

from controller.dashboard.journal_tail import JournalTail
from controller.dashboard.service_sheet import Owner, Standing, service_sheet
from controller.dashboard.service_story import ServiceStory
from controller.dashboard.sheet import Sheet, State
from controller.security.keyring import read_folder
from controller.service.config import ServiceConfig
from quantum.errors import InputError, RecordError
from quantum.locks import is_held

__all__ = ["ServiceWatch", "read_gauges"]

#: How often metrics are asked for and the folder of keys is looked at.
_ASK_S = 1.0
_PATIENCE_S = 1.0
_MOST_BYTES = 256 * 1024
#: Points of stock and load that are remembered.
_POINTS = 600
#: What counts as a request for the load.
_REQUESTS = ("granted_total", "denied_total", "busy_total", "timed_out_total")


class ServiceWatch:
    """Follows one service; a :class:`controller.dashboard.sheet.Source`."""

    def __init__(self, config: ServiceConfig, metrics: str | None = None) -> None:
        self._config = config
        self._journal = config.journal_path
        self._tail = JournalTail(self._journal)
        self._metrics = _address(metrics or config.metrics)
        self._story = ServiceStory()
        self._owners: tuple[Owner, ...] = ()
        self._gauges: dict[str, float] = {}
        self._stock: deque[tuple[float, float]] = deque(maxlen=_POINTS)
        self._load: deque[tuple[float, float]] = deque(maxlen=_POINTS)
        self._before: tuple[float, float] | None = None
        self._trouble = 'not configured: metrics = "HOST:PORT" in its file turns them on'
        self._state: State = "waiting"
        self._word = ""
        self._asked_s = -_ASK_S
        self._version = 0
        self._damage = ""

    @property
    def version(self) -> int:
        """Grows with every change."""
        return self._version

    def step(self) -> bool:
        """Read on in the journal; ask for metrics where it is time."""
        more = False
        if not self._damage:
            try:
                entries, more = self._tail.look()
                if self._tail.restarted:
                    self._story = ServiceStory()
                self._story.take(entries)
                self._version += bool(entries)
            except RecordError as wrong:
                self._damage = " ".join(str(wrong).split())[:300]
        now_s = time.monotonic()
        if not more and now_s - self._asked_s >= _ASK_S:
            self._asked_s = now_s
            self._look_around()
        self._stand()
        return more

    def _look_around(self) -> None:
        """Ask for metrics and look at keys."""
        try:
            found, _ = read_folder(self._config.folder)
        except (InputError, OSError):
            found = []
        self._owners = tuple(Owner(k.name, k.role, k.public, bool(k.revoked)) for k in found)
        self._gauges = {}
        if self._metrics:
            try:
                self._gauges = read_gauges(self._metrics)
                self._trouble = ""
            except (OSError, ValueError, http.client.HTTPException) as wrong:
                self._trouble = f"no answer: {_short(wrong)}"
        if self._gauges:
            at_s = self._age_s()
            total = sum(self._gauges.get(name, 0.0) for name in _REQUESTS)
            self._stock.append((at_s, self._gauges.get("stored", 0.0)))
            if self._before is not None and self._before[0] < at_s and total >= self._before[1]:
                self._load.append((at_s, (total - self._before[1]) / (at_s - self._before[0])))
            if self._before is not None and total < self._before[1]:
                # A new start counts anew.
                self._stock.clear()
                self._load.clear()
            self._before = (at_s, total)
        else:
            self._before = None
        self._version += 1

    def _age_s(self) -> float:
        """Return the seconds since the service's latest start, by this machine's clock."""
        started = self._story.started
        return 0.0 if started is None else max(0.0, time.time() - started.utc_s)

    def _stand(self) -> None:
        running = is_held(Path(f"{self._journal}.lock"))
        state: State
        if self._damage:
            state, word = "damaged", f"The journal is damaged: {self._damage}"
        elif running:
            state, word = "running", "Running"
            if self._gauges.get("ready") == 0.0:
                word = "Running, and takes nobody new in: it ends, or its journal is full"
        elif self._story.started is None:
            state, word = "waiting", f"Waiting for a service on {self._journal}"
        else:
            state, word = "finished", "Not running; this is what its journal tells"
        if not running:
            # What it said last is not what is.
            self._gauges, self._before = {}, None
        if (state, word) != (self._state, self._word):
            self._state, self._word = state, word
            self._version += 1

    def sheet(self) -> Sheet:
        """Return what is to be shown now."""
        said = self._metrics if self._metrics and not self._trouble else self._trouble
        if self._metrics and self._trouble:
            said = f"{self._metrics}: {self._trouble}"
        standing = Standing(
            state=self._state,
            word=self._word,
            address=self._config.address,
            journal=str(self._journal),
            metrics=said,
            network=Path(self._config.network.topology).name,
            owners=self._owners,
            gauges=self._gauges,
            stock=tuple(self._stock),
            load=tuple(self._load),
            now_s=self._age_s() if self._state == "running" else 0.0,
        )
        return service_sheet(self._story, standing)


def read_gauges(url: str) -> dict[str, float]:
    """Ask for metrics; return the numbers of ``dpem_`` names, without that.

    Raises :class:`OSError`, or :class:`ValueError` where the page is none of a service.
    """
    # Never a proxy: the address is this machine's or its neighbour's.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=_PATIENCE_S) as answer:
            text = answer.read(_MOST_BYTES).decode("utf-8")
    except urllib.error.HTTPError as refused:
        refused.close()
        raise ValueError(f"HTTP status {refused.code}") from refused
    found = {}
    for line in text.splitlines():
        name, _, value = line.partition(" ")
        if name.startswith("dpem_"):
            found[name.removeprefix("dpem_")] = float(value)
    if "granted_total" not in found:
        raise ValueError("this page is not a service's")
    return found


def _address(metrics: str | None) -> str | None:
    """Return the address of the metrics in a configuration; any free port is not known."""
    if metrics is None or metrics.endswith(":0"):
        return None
    host, _, port = metrics.rpartition(":")
    if not host or not port.isdecimal():
        raise InputError(f"metrics must be HOST:PORT, got {metrics!r}")
    return f"http://{'127.0.0.1' if host in ('0.0.0.0', '') else host}:{port}/metrics"


def _short(wrong: Exception) -> str:
    if isinstance(wrong, urllib.error.URLError):
        return " ".join(str(wrong.reason).split())[:120]
    return " ".join(str(wrong).split())[:120]
