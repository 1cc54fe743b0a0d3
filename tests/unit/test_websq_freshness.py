"""Counts of a WebSQ are never older than the call, however late the lines come."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from streams import Clock

from backends.drivers.websq_counts import CountLines, split_address
from quantum.errors import DeviceProtocol, DeviceTimeout, InputError

PERIOD_S = 0.1
EPOCH_S = 1.7e9


class Lines:
    """Lines of periods that end every 0.1 s; the count is the number of the period.

    ``lag_s`` says how late the line of a period comes.
    """

    address = "tcp://in.process:1"

    def __init__(self, clock: Clock, lag_s: Any, stamp_offset_s: float = 0.0) -> None:
        self._clock = clock
        self._lag_s = lag_s
        self._offset_s = stamp_offset_s
        self._next = round(clock.now_s / PERIOD_S)

    def send(self, data: bytes) -> None:
        raise AssertionError("nothing is sent to this port")

    def receive(self, timeout_s: float) -> bytes:
        end_s = self._clock.now_s + timeout_s
        number = self._next
        # TCP keeps the order: a late line holds up the next ones.
        comes_s = (number + 1) * PERIOD_S + self._lag_s(number)
        if comes_s > end_s:
            self._clock.now_s = end_s
            raise DeviceTimeout("nothing")
        self._clock.now_s = max(self._clock.now_s, comes_s)
        self._next += 1
        return f"{EPOCH_S + (number + 1) * PERIOD_S + self._offset_s:.6f},{number}\n".encode()

    def close(self) -> None:
        pass


def reader(clock: Clock, stream: Any) -> CountLines:
    return CountLines(
        "tcp://in.process:1", timeout_s=2.0, latency_s=0.01, stream=stream, clock=clock
    )


@given(
    st.lists(st.floats(0.0, 0.35), min_size=3, max_size=12),
    st.lists(st.floats(0.0, 0.5), min_size=1, max_size=6),
    st.sampled_from([0.0, -PERIOD_S, 1000.0]),
)
@settings(max_examples=200)
def test_no_line_is_of_a_period_that_began_before_the_call(
    lags: list[float], pauses: list[float], offset_s: float
) -> None:
    """The first line is quick, as the reader assumes of one; the others come as late as drawn."""
    clock = Clock()
    first = round(clock.now_s / PERIOD_S)

    def lag_s(number: int) -> float:
        return 0.005 if number == first else lags[number % len(lags)]

    lines = reader(clock, Lines(clock, lag_s, offset_s))
    for pause in [0.0, *pauses]:
        clock.sleep(pause)
        called_s = clock.now_s
        try:
            row, arrived_s = lines.fresh(1, PERIOD_S)
        except DeviceTimeout:
            return
        assert row.counts[0] * PERIOD_S >= called_s - 1e-9
        assert arrived_s >= called_s + PERIOD_S


def test_a_healthy_instrument_takes_two_to_three_periods() -> None:
    clock = Clock()
    lines = reader(clock, Lines(clock, lambda number: 0.002))
    for _ in range(20):
        called_s = clock.now_s
        _, arrived_s = lines.fresh(1, PERIOD_S)
        assert arrived_s - called_s <= 3.0 * PERIOD_S + 0.01
        clock.sleep(0.037)


def test_lines_that_are_always_one_second_late_are_refused() -> None:
    clock = Clock()
    first = round(clock.now_s / PERIOD_S)
    late = Lines(clock, lambda number: 0.0 if number < first + 3 else 10.0)
    lines = reader(clock, late)
    lines.fresh(1, PERIOD_S)
    clock.sleep(0.2)
    with pytest.raises(DeviceTimeout, match="no counts of a whole period"):
        lines.fresh(1, PERIOD_S)


def test_lines_of_another_period_are_refused() -> None:
    """The label says 40 ms, lines are 100 ms apart: dividing by the label would be wrong."""
    clock = Clock()
    with pytest.raises(DeviceTimeout, match=r"lines are 0\.1 s apart"):
        reader(clock, Lines(clock, lambda number: 0.0)).fresh(1, 0.04)


def test_a_clock_that_stands_is_an_error() -> None:
    clock = Clock()

    class Stands(Lines):
        def receive(self, timeout_s: float) -> bytes:
            super().receive(timeout_s)
            return b"1700000000.0,5\n"

    with pytest.raises(DeviceProtocol, match="stands"):
        reader(clock, Stands(clock, lambda number: 0.0)).fresh(1, PERIOD_S)


def test_addresses_of_two_ports() -> None:
    assert split_address("tcp://h:5,6") == ("tcp://h:5", "tcp://h:6")
    assert split_address("tcp://[::1]:12000") == ("tcp://[::1]:12000", "tcp://[::1]:12345")
    for wrong in ("h:5", "tcp://h", "tcp://h:5,6,7", "serial:///dev/ttyUSB0"):
        with pytest.raises(InputError, match="instrument address must be"):
            split_address(wrong)
