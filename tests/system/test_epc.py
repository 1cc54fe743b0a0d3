"""The polarisation controller's driver against its stub process on a pty, fault by fault."""

import os
import signal
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lines import DeviceStream, control, faster_than, turns

from backends.drivers.capabilities import PolarisationController
from backends.drivers.epc import Epc
from backends.rack import StubProcess
from firmware_stubs.blind_ports import BlindSqueezer
from firmware_stubs.epc import Epc as Instrument
from firmware_stubs.epc import Switches
from quantum.errors import DeviceError, DeviceLimit, DeviceProtocol, DeviceTimeout, InputError

VOLTAGES = (1000.0, -2000.0, 4999.0, 0.0)
ZERO = (0.0, 0.0, 0.0, 0.0)


@pytest.fixture(scope="module")
def shared() -> Iterator[StubProcess]:
    with StubProcess("epc", ["--seed", "1"]) as process:
        yield process


@pytest.fixture(autouse=True)
def no_leak(shared: StubProcess) -> Iterator[None]:
    before = set(os.listdir("/proc/self/fd"))
    yield
    assert len(os.listdir("/proc/self/fd")) <= len(before), "a test left descriptors open"


@pytest.fixture
def stub(shared: StubProcess) -> Iterator[StubProcess]:
    yield shared
    control(shared.control, do="clear")


@pytest.fixture
def driver(stub: StubProcess) -> Iterator[Epc]:
    device = Epc(stub.address, timeout_s=0.2)
    try:
        yield device
    finally:
        device.close()
        device.close()


def truth(stub: StubProcess) -> tuple[tuple[float, ...], bool]:
    seen = control(stub.control, do="truth")
    return tuple(seen["voltages_mv"]), seen["scrambling"]


def test_what_is_set_is_what_the_fibre_feels(driver: Epc, stub: StubProcess) -> None:
    assert isinstance(driver, PolarisationController)
    driver.set_voltages_mv(VOLTAGES)
    assert driver.voltages_mv() == VOLTAGES
    assert truth(stub) == (VOLTAGES, False)
    assert driver.identify().maker == "OZ Optics"


def test_scrambling_is_found_and_ended(driver: Epc, stub: StubProcess) -> None:
    # Somebody left it so: with the instrument's own command, on the same line.
    driver._ask("MAC")
    assert truth(stub)[1] and driver.is_scrambling()
    assert driver.end_scrambling()
    assert not truth(stub)[1]
    assert not driver.end_scrambling()
    driver._ask("MAC")
    driver.set_voltages_mv(VOLTAGES)
    assert truth(stub) == (VOLTAGES, False)


def test_scrambling_that_does_not_end_is_an_error(driver: Epc, stub: StubProcess) -> None:
    driver._ask("MAC")
    control(stub.control, do="fault", kind="stays_scrambling")
    for act in (lambda: driver.set_voltages_mv(VOLTAGES), driver.safe_state):
        with pytest.raises(DeviceError, match="scrambles and does not stop"):
            act()
    control(stub.control, do="clear")
    driver.safe_state()
    assert truth(stub) == (ZERO, False)


def test_scrambling_from_power_on() -> None:
    port = BlindSqueezer()
    stream = DeviceStream(Instrument(port, switches=Switches(scrambling_at_power_on=True)))
    safe_mv = (100.0, 200.0, -300.0, 0.0)
    driver = Epc("stream", stream=stream, safe_mv=safe_mv, clock=stream.clock)
    assert driver.is_scrambling() and port.scrambling
    driver.safe_state()
    assert port.voltages_mv == safe_mv and not port.scrambling


def test_a_missing_done_is_a_timeout_and_then_all_is_well(driver: Epc, stub: StubProcess) -> None:
    control(stub.control, do="fault", kind="no_done", left=1)
    with faster_than(2.0), pytest.raises(DeviceTimeout, match="no whole answer"):
        driver.voltages_mv()
    driver.set_voltages_mv(VOLTAGES)
    assert driver.voltages_mv() == VOLTAGES


def test_a_channel_at_the_rail_is_reported(driver: Epc, stub: StubProcess) -> None:
    driver.set_voltages_mv((5000.0, -5000.0, 0.0, 4999.0))
    assert driver.at_rail() == (1, 2)
    control(stub.control, do="fault", kind="at_rail", number=3)
    with pytest.raises(DeviceProtocol, match=r"but read .*; at the rail: \(3,\)"):
        driver.set_voltages_mv(ZERO)
    control(stub.control, do="clear")


def test_a_digit_that_is_lost_does_not_make_a_voltage(driver: Epc, stub: StubProcess) -> None:
    driver.set_voltages_mv(VOLTAGES)
    # The byte in the middle is a digit of the second channel: -2000 arrives as -200.
    control(stub.control, do="fault", kind="lose_byte", left=1)
    assert driver.voltages_mv() == VOLTAGES


@pytest.mark.parametrize("kind", ["silence", "half", "garbage", "nan", "overflow"])
def test_a_damaged_answer_is_an_error_and_never_a_voltage(
    driver: Epc, stub: StubProcess, kind: str
) -> None:
    driver.set_voltages_mv(VOLTAGES)
    control(stub.control, do="fault", kind=kind, left=1)
    with faster_than(2.0), pytest.raises(DeviceError):
        driver.voltages_mv()
    assert driver.voltages_mv() == VOLTAGES


def test_pieces_and_delays_change_nothing(driver: Epc, stub: StubProcess) -> None:
    control(stub.control, do="fault", kind="chunks", size=3, late_s=0.002)
    driver.set_voltages_mv(VOLTAGES)
    assert driver.voltages_mv() == VOLTAGES


def test_a_late_answer_is_not_that_of_the_next_question(driver: Epc, stub: StubProcess) -> None:
    driver.set_voltages_mv(ZERO)
    control(stub.control, do="fault", kind="delay", left=1, late_s=0.3)
    with pytest.raises(DeviceTimeout):
        driver.voltages_mv()
    driver.set_voltages_mv(VOLTAGES)
    assert driver.voltages_mv() == VOLTAGES


def test_a_reset_unit_starts_from_what_was_saved(driver: Epc, stub: StubProcess) -> None:
    driver.set_voltages_mv(VOLTAGES)
    driver.save()
    driver.set_voltages_mv(ZERO)
    control(stub.control, do="power_cycle")
    assert driver.voltages_mv() == VOLTAGES
    # Set again, and proved.
    driver.set_voltages_mv(ZERO)
    assert truth(stub) == (ZERO, False)


def test_saving_is_rationed(driver: Epc, stub: StubProcess) -> None:
    before = control(stub.control, do="state")["settings"]["saves"]
    driver.save()
    with pytest.raises(DeviceLimit, match="allowed once in 60 s: the memory wears out"):
        driver.save()
    assert control(stub.control, do="state")["settings"]["saves"] == before + 1


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_an_unplugged_or_hanging_unit_is_an_error_and_no_hang(how: signal.Signals) -> None:
    with StubProcess("epc", []) as stub:
        driver = Epc(stub.address, timeout_s=0.2)
        driver.ping()
        os.kill(stub.pid, how)
        try:
            for act in (driver.voltages_mv, driver.safe_state):
                with faster_than(3.0), pytest.raises(DeviceError):
                    act()
        finally:
            driver.close()
            if how == signal.SIGSTOP:
                os.kill(stub.pid, signal.SIGCONT)


def test_a_closed_driver_answers_nothing(driver: Epc) -> None:
    driver.close()
    with pytest.raises(DeviceError, match="connection is closed"):
        driver.ping()


@pytest.mark.parametrize(
    "values", [(1.0, 2.0, 3.0), (5001.0, 0.0, 0.0, 0.0), (float("nan"), 0.0, 0.0, 0.0)]
)
def test_limits(driver: Epc, values: tuple[float, ...]) -> None:
    with pytest.raises(DeviceLimit, match="voltages_mv must be four values from -5000 to 5000"):
        driver.set_voltages_mv(values)  # type: ignore[arg-type]


def test_settings_are_checked() -> None:
    with pytest.raises(InputError, match="limit_mv must be"):
        Epc("serial:///dev/no-such-line", limit_mv=6000.0)
    with pytest.raises(DeviceLimit, match="safe_mv must be four values from -100 to 100"):
        Epc("serial:///dev/no-such-line", limit_mv=100.0, safe_mv=(101.0, 0.0, 0.0, 0.0))


# --------------------------------------------------------------------------- without a process


@given(st.lists(st.integers(1, 60), max_size=300))
def test_the_driver_does_not_depend_on_the_pieces(pieces: list[int]) -> None:
    port, sizes = BlindSqueezer(), iter(pieces)
    stream = DeviceStream(Instrument(port), lambda: next(sizes, 1 << 20))
    driver = Epc("stream", stream=stream, clock=stream.clock)
    driver.set_voltages_mv(VOLTAGES)
    assert driver.voltages_mv() == port.voltages_mv == VOLTAGES


@given(st.binary(max_size=120), st.booleans())
def test_impossible_answers_are_never_voltages(noise: bytes, with_done: bool) -> None:
    class Says(Instrument):
        def received(self, data: bytes, now_s: float) -> bytes:
            return noise + (b"\r\nDone\r\n" if with_done else b"")

    stream = DeviceStream(Says(BlindSqueezer()))
    driver = Epc("stream", stream=stream, clock=stream.clock)
    with pytest.raises(DeviceError):
        driver.voltages_mv()


@given(st.lists(st.integers(1, 60), max_size=60))
def test_the_stub_does_not_depend_on_the_pieces(sizes: list[int]) -> None:
    said = b"\xff\x00?\r\n" + b"".join(turn.said for turn in turns("epc", "stub"))
    expected = Instrument(BlindSqueezer()).received(said, 0.0)
    cut, answers, rest = Instrument(BlindSqueezer()), b"", said
    for size in sizes:
        answers += cut.received(rest[:size], 0.0)
        rest = rest[size:]
    assert answers + cut.received(rest, 0.0) == expected


def test_a_line_without_an_end_does_not_eat_memory() -> None:
    device = Instrument(BlindSqueezer())
    for _ in range(100):
        assert device.received(b"V" * 1000, 0.0) == b""
    assert device.received(b"\r\nM?\r\n", 0.0).endswith(b"Done\r\n")
