"""The rotator's driver against its stub process on a pty: faults of the line and of the axis."""

import os
import signal
import threading
import time
from collections.abc import Iterator

import pytest
from lines import control, faster_than

from backends.drivers.apt import Apt
from backends.drivers.capabilities import Interruptible, Rotator
from backends.rack import StubProcess
from quantum.errors import DeviceError, DeviceLimit, DeviceTimeout, InputError

#: A turn of 90 degrees takes 4.6 s at 25 deg/s; here 23 ms.
FAST = ["--seed", "3", "--speed", "200"]
QUICK = {"timeout_s": 0.25, "move_timeout_s": 0.6}


@pytest.fixture(scope="module")
def shared() -> Iterator[StubProcess]:
    with StubProcess("apt", FAST) as process:
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
def homed(stub: StubProcess) -> Iterator[Apt]:
    driver = Apt(stub.address, **QUICK)
    try:
        driver.home()
        yield driver
    finally:
        driver.close()
        driver.close()


def plate_deg(stub: StubProcess) -> float:
    return float(control(stub.control, do="truth")["plate_deg"])


def test_it_is_a_rotator_and_says_that_it_is_a_stub(homed: Apt) -> None:
    assert isinstance(homed, Rotator)
    who = homed.identify()
    assert (who.maker, who.model, who.serial) == ("Thorlabs", "KDC101", "STUB-3")
    assert who.is_stub


@pytest.mark.parametrize("angle", [0.0, 22.5, 45.0, 359.999, 0.001])
def test_the_plate_stands_where_the_driver_says(
    homed: Apt, stub: StubProcess, angle: float
) -> None:
    homed.move_deg(angle)
    # One count of a PRM1-Z8 is 0.52 mdeg.
    assert plate_deg(stub) == pytest.approx(angle, abs=3e-4)
    assert homed.position_deg() == pytest.approx(angle, abs=3e-4)


@pytest.mark.parametrize("angle", [-0.1, 360.1, float("nan"), float("inf")])
def test_limits_are_kept_before_anything_is_sent(
    homed: Apt, stub: StubProcess, angle: float
) -> None:
    with pytest.raises(DeviceLimit, match="angle_deg must be from 0 to 360"):
        homed.move_deg(angle)
    assert plate_deg(stub) == pytest.approx(0.0, abs=3e-4)


def test_an_axis_that_lost_power_is_not_moved_and_has_no_angle(
    homed: Apt, stub: StubProcess
) -> None:
    homed.move_deg(30.0)
    control(stub.control, do="power_cycle")
    for act in (homed.position_deg, lambda: homed.move_deg(10.0)):
        with pytest.raises(DeviceError, match=r"home\(\) first"):
            act()
    # The plate did not move, whatever the counts mean now.
    assert plate_deg(stub) == pytest.approx(30.0, abs=3e-4)
    homed.home()
    homed.move_deg(10.0)
    assert plate_deg(stub) == pytest.approx(10.0, abs=3e-4)


def test_a_unit_without_power_is_silent_and_comes_back_without_its_zero(
    homed: Apt, stub: StubProcess
) -> None:
    control(stub.control, do="power_cycle", off_s=1.5)
    with faster_than(3.0), pytest.raises(DeviceTimeout):
        homed.ping()
    homed.home()
    homed.move_deg(5.0)
    assert plate_deg(stub) == pytest.approx(5.0, abs=3e-4)


def test_a_plug_that_is_pulled_is_an_error() -> None:
    with StubProcess("apt", FAST) as stub:
        driver = Apt(stub.address, **QUICK)
        control(stub.control, do="fault", kind="hang_up", left=1)
        with faster_than(3.0), pytest.raises(DeviceError, match="line"):
            driver.ping()
        with faster_than(3.0), pytest.raises(DeviceError, match="cannot open the line"):
            driver.safe_state()
        driver.close()


def test_a_move_that_never_ends_is_stopped_and_reported(homed: Apt, stub: StubProcess) -> None:
    control(stub.control, do="fault", kind="stuck", left=1)
    with (
        faster_than(5.0),
        pytest.raises(DeviceTimeout, match=r"did not end within .* stopped"),
    ):
        homed.move_deg(90.0)
    assert not control(stub.control, do="state")["settings"]["moving"]
    homed.move_deg(90.0)


def test_a_move_whose_end_is_not_reported_is_seen_to_end(homed: Apt, stub: StubProcess) -> None:
    control(stub.control, do="fault", kind="unreported")
    homed.move_deg(12.0)
    homed.home()
    assert homed.position_deg() == 0.0


def test_a_motion_error_is_reported(homed: Apt, stub: StubProcess) -> None:
    control(stub.control, do="fault", kind="motion_error", left=1)
    with pytest.raises(DeviceError, match="failed: status 0x"):
        homed.move_deg(90.0)
    homed.move_deg(90.0)


def test_messages_between_question_and_answer_are_no_answers(homed: Apt, stub: StubProcess) -> None:
    control(stub.control, do="fault", kind="unsolicited")
    homed.move_deg(17.0)
    assert homed.position_deg() == pytest.approx(17.0, abs=3e-4)
    assert homed.identify().model == "KDC101"


@pytest.mark.parametrize("kind", ["lose_byte", "garbage", "half", "silence", "chunks"])
def test_a_damaged_answer_is_asked_for_again(homed: Apt, stub: StubProcess, kind: str) -> None:
    homed.move_deg(45.0)
    control(stub.control, do="fault", kind=kind, left=1, late_s=0.002)
    with faster_than(3.0):
        assert homed.position_deg() == pytest.approx(45.0, abs=3e-4)


def test_a_line_that_is_always_damaged_is_an_error(homed: Apt, stub: StubProcess) -> None:
    control(stub.control, do="fault", kind="lose_byte")
    with faster_than(5.0), pytest.raises(DeviceError, match="was asked 3 times"):
        homed.position_deg()
    control(stub.control, do="clear")
    assert homed.position_deg() == 0.0


def test_a_late_answer_is_not_that_of_the_next_question(homed: Apt, stub: StubProcess) -> None:
    homed.move_deg(45.0)
    control(stub.control, do="fault", kind="delay", left=1, late_s=0.4)
    with faster_than(5.0):
        assert homed.position_deg() == pytest.approx(45.0, abs=3e-4)
    homed.move_deg(50.0)
    assert homed.position_deg() == pytest.approx(50.0, abs=3e-4)


def test_safe_state_stops_a_moving_axis(stub: StubProcess) -> None:
    # A client that moves and dies; the next one finds the axis moving and stops it.
    driver = Apt(stub.address, **QUICK)
    driver.home()
    control(stub.control, do="fault", kind="stuck", left=1)
    with pytest.raises(DeviceTimeout):
        driver.move_deg(350.0)
    driver.safe_state()
    assert not control(stub.control, do="state")["settings"]["moving"]
    driver.close()
    with pytest.raises(DeviceError, match="connection is closed"):
        driver.ping()


def test_another_thread_interrupts_a_move(homed: Apt, stub: StubProcess) -> None:
    assert isinstance(homed, Interruptible)
    control(stub.control, do="fault", kind="stuck", left=1)
    seen: list[str] = []

    def move() -> None:
        try:
            homed.move_deg(350.0)
        except DeviceError as wrong:
            seen.append(str(wrong))

    thread = threading.Thread(target=move)
    thread.start()
    while not control(stub.control, do="state")["settings"]["moving"]:
        assert thread.is_alive()
    began = time.monotonic()
    assert homed.interrupt() - began < 0.02
    thread.join(0.3)
    assert not thread.is_alive(), "before its own patience of 0.6 s is over"
    assert "stopped by another thread" in seen[0]
    with pytest.raises(DeviceError, match="stopped by another thread"):
        homed.move_deg(10.0)
    homed.strike()
    homed.safe_state()
    assert not control(stub.control, do="state")["settings"]["moving"]
    homed.move_deg(10.0)


def test_a_client_that_comes_back_finds_the_instrument_as_it_was(
    homed: Apt, stub: StubProcess
) -> None:
    homed.move_deg(33.0)
    homed.close()
    again = Apt(stub.address, **QUICK)
    assert again.position_deg() == pytest.approx(33.0, abs=3e-4)
    with pytest.raises(DeviceError, match="cannot open the line"):
        Apt(stub.address)
    again.close()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_an_unplugged_or_hanging_unit_is_an_error_and_no_hang(how: signal.Signals) -> None:
    with StubProcess("apt", FAST) as stub:
        driver = Apt(stub.address, timeout_s=0.2)
        os.kill(stub.pid, how)
        try:
            with faster_than(5.0), pytest.raises(DeviceError):
                driver.position_deg()
            with faster_than(5.0), pytest.raises(DeviceError):
                driver.safe_state()
        finally:
            driver.close()
            if how == signal.SIGSTOP:
                os.kill(stub.pid, signal.SIGCONT)


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"mount": "prm2"}, "mount must be one of prm1-z8, k10cr1"),
        ({"counts_per_deg": 0.0}, "counts_per_deg must be from 1 to"),
        ({"low_deg": 10.0, "high_deg": 5.0}, "high_deg must be from 10"),
        ({"timeout_s": 0.0}, "timeout_s must be > 0"),
        ({"tolerance_deg": float("nan")}, "tolerance_deg must be"),
    ],
)
def test_settings_are_checked_before_the_line_is_opened(
    settings: dict[str, object], word: str
) -> None:
    with pytest.raises(InputError, match=word):
        Apt("serial:///dev/no-such-line", **settings)  # type: ignore[arg-type]
