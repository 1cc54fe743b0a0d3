"""Serial lines: strict addresses, no hang, no bytes of somebody else."""

import os
import pty
import tty
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lines import faster_than

from backends.drivers.opening import open_stream
from backends.drivers.serial_line import Line, SerialLine, parse_line
from firmware_stubs.pty_line import PtyCarrier
from quantum.errors import DeviceError, DeviceTimeout, InputError


@pytest.mark.parametrize(
    ("address", "line"),
    [
        ("serial:///dev/ttyUSB0", Line("/dev/ttyUSB0")),
        ("serial:///dev/ttyUSB0?baud=9600", Line("/dev/ttyUSB0", 9600)),
        ("serial:///dev/pts/3?rtscts=1&baud=115200", Line("/dev/pts/3", 115200, True)),
        ("serial:///dev/serial/by-id/usb-A_B-if00", Line("/dev/serial/by-id/usb-A_B-if00")),
    ],
)
def test_addresses(address: str, line: Line) -> None:
    assert parse_line(address) == line


@pytest.mark.parametrize(
    "address",
    [
        "serial://ttyUSB0",
        "serial:///dev/../etc/passwd",
        "serial:///dev/tty USB0",
        "serial:///dev/ttyUSB0?",
        "serial:///dev/ttyUSB0?baud=9601",
        "serial:///dev/ttyUSB0?baud=09600",
        "serial:///dev/ttyUSB0?baud=9600&baud=9600",
        "serial:///dev/ttyUSB0?rtscts=yes",
        "serial:///dev/ttyUSB0?parity=n",
        "serial:///dev/ttyUSB0?baud",
        "serial:///dev/ttyUSB0?baud=9600\n",
        "/dev/ttyUSB0",
    ],
)
def test_addresses_are_strict(address: str) -> None:
    with pytest.raises(InputError) as wrong:
        parse_line(address)
    assert "\n" not in str(wrong.value)


@given(st.text(max_size=40))
def test_any_text_is_a_line_or_wrong_input(text: str) -> None:
    for address in (text, f"serial:///dev/{text}", f"serial:///dev/tty?{text}"):
        try:
            assert parse_line(address).device.startswith("/")
        except InputError:
            continue


@pytest.fixture
def carrier() -> Iterator[PtyCarrier]:
    made = PtyCarrier()
    yield made
    made.close()
    made.close()


def test_bytes_pass_both_ways_as_they_are(carrier: PtyCarrier) -> None:
    every = bytes(range(256))
    line = open_stream(carrier.address, 1.0)
    line.send(every)
    assert carrier.read(4096) == every
    assert carrier.read(4096) is None
    assert carrier.write(every) == 256
    seen = b""
    while len(seen) < 256:
        seen += line.receive(1.0)
    assert seen == every
    line.close()


def test_silence_is_a_timeout_and_zero_does_not_wait(carrier: PtyCarrier) -> None:
    line = SerialLine(carrier.address, timeout_s=1.0)
    for timeout_s in (0.0, 0.05, -1.0):
        with faster_than(0.5), pytest.raises(DeviceTimeout, match="nothing arrived"):
            line.receive(timeout_s)
    line.close()
    line.close()
    with pytest.raises(DeviceError, match="connection is closed"):
        line.receive(0.0)
    with pytest.raises(DeviceError, match="connection is closed"):
        line.send(b"x")


def test_what_an_earlier_client_left_is_not_ours(carrier: PtyCarrier) -> None:
    SerialLine(carrier.address, timeout_s=1.0).close()
    carrier.write(b"an answer that nobody waited for")
    line = SerialLine(carrier.address, timeout_s=1.0)
    with pytest.raises(DeviceTimeout):
        line.receive(0.05)
    line.close()


def test_a_line_belongs_to_one_driver(carrier: PtyCarrier) -> None:
    line = SerialLine(carrier.address, timeout_s=1.0)
    with pytest.raises(DeviceError, match="cannot open the line"):
        SerialLine(carrier.address, timeout_s=1.0)
    line.close()
    SerialLine(carrier.address, timeout_s=1.0).close()


def test_an_unplugged_line_is_an_error_whatever_is_done(carrier: PtyCarrier) -> None:
    line = SerialLine(carrier.address, timeout_s=0.5)
    carrier.close()
    with faster_than(1.0), pytest.raises(DeviceError, match="the line is gone"):
        line.receive(5.0)
    with faster_than(1.0), pytest.raises(DeviceError, match="the line is gone"):
        line.send(b"x" * 10)
    line.close()
    with pytest.raises(DeviceError, match="cannot open the line"):
        SerialLine(carrier.address, timeout_s=0.5)


def test_a_line_that_takes_nothing_is_a_timeout() -> None:
    ours, theirs = pty.openpty()
    tty.setraw(theirs)
    line = SerialLine(f"serial://{os.ttyname(theirs)}", timeout_s=0.2)
    with faster_than(3.0), pytest.raises(DeviceTimeout, match="took no bytes"):
        line.send(bytes(1 << 20))
    line.close()
    os.close(ours)
    os.close(theirs)


@pytest.mark.parametrize("timeout_s", [0.0, -1.0, float("nan"), 1e9])
def test_timeouts_are_checked(timeout_s: float) -> None:
    with pytest.raises(InputError, match="timeout_s must be"):
        SerialLine("serial:///dev/no-such-line", timeout_s=timeout_s)


def test_a_stub_that_nobody_reads_does_not_stop(carrier: PtyCarrier) -> None:
    for _ in range(100):
        assert carrier.write(bytes(4096)) > 0
