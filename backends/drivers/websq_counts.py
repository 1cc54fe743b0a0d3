"""The counts socket of a WebSQ: lines ``<unix time>,<ch1>,<ch2>,...``, one a period.

A line does not say when its period began by our clock, and it may have waited on the way. So the
reader learns how far the two clocks are apart: of the lines of the last half minute, the one with
the smallest (arrival - stamp) was on its way for the shortest time. A line belongs to a period
that began after a moment if its own stamp, moved by that least lag, says so. What is assumed is
that the fastest line needed no more than ``latency_s``; it is taken off as a margin.
"""

import math
import re
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from backends.drivers.connection import Connection
from backends.drivers.streams import Stream
from quantum.errors import DeviceError, DeviceProtocol, DeviceTimeout, InputError

__all__ = ["CountLines", "Row", "parse_row", "split_address"]

_COUNTS_PORT = 12345
_TWO_PORTS = re.compile(r"(tcp://.+):([0-9]{1,5})(?:,([0-9]{1,5}))?\Z")
_LINE_BYTES = 8 * 1024
_STAMP = re.compile(rb"[0-9]{1,12}(\.[0-9]{1,12})?\Z")
_COUNT = re.compile(rb"[0-9]{1,10}(\.0{1,6})?\Z")
_LARGEST_COUNT = 2**31 - 1
#: Lines that were not read for this long are thrown away with the connection.
_IDLE_S = 0.5
#: How far the distance of two stamps may be from the period, as a share of it.
_SPACING = 0.25
_LAGS = 256
_LAG_MEMORY_S = 30.0


def split_address(address: str) -> tuple[str, str]:
    """Return the addresses of both sockets from ``tcp://HOST:PORT[,COUNTS_PORT]``.

    >>> split_address("tcp://10.0.0.5:12000")
    ('tcp://10.0.0.5:12000', 'tcp://10.0.0.5:12345')
    """
    found = _TWO_PORTS.match(address)
    if found is None:
        raise InputError(
            f"instrument address must be tcp://HOST:PORT or tcp://HOST:PORT,PORT, got {address!r}"
        )
    host, control, counts = found.groups()
    return f"{host}:{control}", f"{host}:{counts or _COUNTS_PORT}"


class Row(NamedTuple):
    """One line: the instrument's own time in seconds, and its counts."""

    stamp_s: float
    counts: tuple[int, ...]


def parse_row(address: str, line: bytes, detectors: int) -> Row:
    """Read one line, or raise :class:`DeviceProtocol`.

    >>> parse_row("tcp://x", b"1700000000.5,12,0", 2)
    Row(stamp_s=1700000000.5, counts=(12, 0))
    """
    stamp, *counts = line.strip().split(b",")
    if (
        not _STAMP.match(stamp)
        or len(counts) != detectors
        or not all(_COUNT.match(c) and float(c) <= _LARGEST_COUNT for c in counts)
    ):
        raise DeviceProtocol(
            f"{address}: a line of counts must be a time and {detectors} counts from 0 to 2^31-1, "
            f"got {line[:80]!r}"
        )
    return Row(float(stamp), tuple(int(float(c)) for c in counts))


class CountLines:
    """Reads lines; not for use by two threads."""

    def __init__(
        self,
        address: str,
        *,
        timeout_s: float,
        latency_s: float,
        stream: Stream | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.address = address
        self._latency_s = latency_s
        self._timeout_s = timeout_s
        self._clock = clock
        self._replaceable = stream is None
        self._line = Connection(
            address, timeout_s=timeout_s, limit_bytes=_LINE_BYTES, stream=stream, clock=clock
        )
        self._opened = 0
        self._read_s = -math.inf
        self._lags: deque[tuple[float, float]] = deque(maxlen=_LAGS)
        self._last_s: float | None = None

    def fresh(self, detectors: int, period_s: float) -> tuple[Row, float]:
        """Wait for the line of a period that began after this call; return it and its arrival.

        Raises :class:`DeviceTimeout` where none comes within four periods and ``timeout_s``.
        """
        called_s = self._clock()
        if called_s - self._read_s > max(_IDLE_S, 4.0 * period_s) and self._replaceable:
            self._line.drop()
        try:
            # The instrument may have closed it meanwhile.
            self._line.renew()
            self._clear(detectors)
        except DeviceProtocol:
            raise
        except DeviceError:
            self._line.drop()
        deadline_s = called_s + 4.0 * period_s + self._timeout_s
        heard, why = 0, "no line came"
        while True:
            try:
                row, apart_s = self._next(detectors, deadline_s)
            except DeviceTimeout as wrong:
                raise DeviceTimeout(
                    f"{self.address}: no counts of a whole period of {period_s:g} s: {why}"
                ) from wrong
            arrived_s = self._clock()
            heard += 1
            least_lag_s = min(lag for _, lag in self._lags)
            began_s = row.stamp_s + least_lag_s - self._latency_s - period_s
            if apart_s is None or abs(apart_s - period_s) > _SPACING * period_s:
                why = f"lines are {'not yet' if apart_s is None else f'{apart_s:.4g} s'} apart"
            elif heard < 2 or began_s < called_s or arrived_s < called_s + period_s:
                why = "lines are of periods that began before"
            else:
                return row, arrived_s
            if arrived_s > deadline_s:
                self._line.drop()
                raise DeviceTimeout(
                    f"{self.address}: no counts of a whole period of {period_s:g} s: {why}"
                )

    def drop(self) -> None:
        """Throw the connection away with the lines that are on their way."""
        self._line.drop()

    def close(self) -> None:
        """Close for good; safe to call twice."""
        self._line.close()

    def _clear(self, detectors: int) -> None:
        """Read what has arrived; it is old, but it tells of the clocks."""
        for line in self._line.waiting():
            self._learn(line, detectors)

    def _next(self, detectors: int, deadline_s: float) -> tuple[Row, float | None]:
        return self._learn(self._line.frame(deadline_s), detectors)

    def _learn(self, line: bytes, detectors: int) -> tuple[Row, float | None]:
        """Read a line; return it and how long after the one before it was stamped."""
        if self._line.opened != self._opened:
            self._opened = self._line.opened
            self._last_s = None
            self._lags.clear()
        self._read_s = self._clock()
        try:
            row = parse_row(self.address, line, detectors)
            apart_s = None if self._last_s is None else row.stamp_s - self._last_s
            if apart_s is not None and apart_s <= 0.0:
                raise DeviceProtocol(
                    f"{self.address}: the clock of the counts stands or runs backwards"
                )
        except DeviceProtocol:
            self._line.drop()
            raise
        self._last_s = row.stamp_s
        self._lags.append((self._read_s, self._read_s - row.stamp_s))
        # Clocks drift apart: what was learned long ago is not true for ever.
        while self._lags[0][0] < self._read_s - _LAG_MEMORY_S:
            self._lags.popleft()
        return row, apart_s
