"""The WebSQ driver against the stub process: two sockets, real faults, no shared code."""

import contextlib
import time
from collections.abc import Iterator

import pytest
from streams import control

from backends.drivers.capabilities import DetectorBias
from backends.drivers.websq import WebSQ
from backends.rack import StubProcess
from quantum.errors import DeviceError, DeviceLimit, DeviceProtocol, DeviceTimeout, InputError

PERIOD_S = 0.02
BIAS_UA = (18.0, 18.0, 18.0, 18.0)


@pytest.fixture(scope="module")
def shared() -> Iterator[StubProcess]:
    with StubProcess("websq", ["--seed", "3"]) as process:
        yield process


@pytest.fixture
def stub(shared: StubProcess) -> Iterator[StubProcess]:
    """Lend the shared stub as after power-on, and take its faults away."""
    assert control(shared.control, do="power_cycle")["ok"]
    yield shared
    assert control(shared.control, do="clear")["ok"]


@pytest.fixture
def driver(stub: StubProcess) -> Iterator[WebSQ]:
    device = WebSQ(stub.address, timeout_s=0.5, recover_s=0.02)
    device.set_period_s(PERIOD_S)
    device.set_bias_ua(BIAS_UA)
    yield device
    device.close()
    device.close()


def test_it_drives_detectors(driver: WebSQ) -> None:
    assert isinstance(driver, DetectorBias)
    assert driver.identify().is_stub
    assert driver.detectors == 4
    assert driver.bias_ua() == BIAS_UA
    assert max(driver.bias_voltages_mv()) < 1.0


def test_rates_are_those_of_the_bias(driver: WebSQ) -> None:
    """50 kHz of light at 0.9 efficiency on the plateau, and 100 Hz of dark counts."""
    asked = time.monotonic()
    rates = driver.rates()
    assert asked <= rates.not_before_s <= rates.not_after_s <= time.monotonic()
    assert rates.not_after_s - rates.not_before_s >= PERIOD_S
    assert rates.period_s == PERIOD_S
    # 885 counts a period: five standard deviations are 150 counts, 7.5 kHz.
    assert all(abs(hz - 44_285.0) < 7_500.0 for hz in rates.hz)
    driver.set_bias_ua((18.0, 0.0, 4.0, 18.0))
    hz = driver.rates().hz
    assert hz[1] == 0.0
    assert hz[2] < 0.2 * hz[0]


def test_rates_begin_after_the_call(driver: WebSQ) -> None:
    """A change just before the call is in all of the period that is returned."""
    for _ in range(5):
        driver.set_bias_ua((0.0,) * 4)
        assert driver.rates().hz == (0.0,) * 4
        driver.set_bias_ua(BIAS_UA)
        assert min(driver.rates().hz) > 30_000.0


def test_safe_state_takes_the_bias_away(driver: WebSQ, stub: StubProcess) -> None:
    driver.safe_state()
    assert control(stub.control, do="state")["settings"]["BiasCurrent"] == [0.0] * 4


@pytest.mark.parametrize("bias", [(1.0,), (36.0,) * 4, (-0.1,) * 4, (float("nan"),) * 4])
def test_bias_limits(driver: WebSQ, stub: StubProcess, bias: tuple[float, ...]) -> None:
    with pytest.raises(DeviceLimit, match="bias_ua must be"):
        driver.set_bias_ua(bias)
    assert control(stub.control, do="state")["settings"]["BiasCurrent"] == list(BIAS_UA)


def test_what_the_instrument_refuses_is_said(stub: StubProcess) -> None:
    driver = WebSQ(stub.address, bias_limits_ua=(0.0, 100.0))
    with pytest.raises(DeviceError, match=r"SetAllBiasCurrents was refused.*BiasCurrent must be"):
        driver.set_bias_ua((60.0,) * 4)
    driver.close()


def test_a_bias_that_is_not_reached_is_a_timeout(driver: WebSQ, stub: StubProcess) -> None:
    control(stub.control, do="fault", kind="bias_ignored", left=1)
    with pytest.raises(DeviceTimeout, match=r"BiasCurrent was set to .* but reads"):
        driver.set_bias_ua((10.0,) * 4)
    driver.set_bias_ua((10.0,) * 4)


def test_a_latched_detector_recovers(driver: WebSQ, stub: StubProcess) -> None:
    control(stub.control, do="fault", kind="latch", number=2, left=1)
    assert driver.latched() == (2,)
    assert driver.rates().hz[1] == 0.0
    driver.recover(2)
    assert driver.latched() == ()
    assert driver.bias_ua() == BIAS_UA
    assert driver.rates().hz[1] > 30_000.0


def test_a_detector_that_latches_again_is_said(driver: WebSQ, stub: StubProcess) -> None:
    control(stub.control, do="fault", kind="latch", number=3)
    assert driver.latched() == (3,)
    with pytest.raises(DeviceError, match="detector 3 latched again"):
        driver.recover(3)
    with pytest.raises(DeviceLimit, match="detector must be from 1 to 4"):
        driver.recover(0)


def test_ten_times_the_dark_counts(driver: WebSQ, stub: StubProcess) -> None:
    """At 1 uA the light is hardly seen: what is left are dark counts, 100 Hz or 1 kHz."""
    driver.set_bias_ua((1.0,) * 4)
    driver.set_period_s(0.2)
    before = driver.rates().hz[0]
    control(stub.control, do="fault", kind="dark_counts", number=1)
    hz = driver.rates().hz
    # 900 Hz more: 180 counts in 0.2 s, against a standard deviation below 30.
    assert 600.0 < hz[0] - before < 1200.0
    assert abs(hz[1] - before) < 300.0


def test_warm_detectors_do_not_count(driver: WebSQ, stub: StubProcess) -> None:
    careful = WebSQ(stub.address, max_temperature_k=3.0)
    careful.rates()
    control(stub.control, do="fault", kind="warm")
    with pytest.raises(DeviceLimit, match="4 K is above max_temperature_k 3"):
        careful.rates()
    careful.close()


def test_lines_that_stop_are_a_timeout(driver: WebSQ, stub: StubProcess) -> None:
    driver.rates()
    control(stub.control, do="fault", kind="counts_stop")
    began = time.monotonic()
    with pytest.raises(DeviceTimeout, match="no counts of a whole period"):
        driver.rates()
    assert time.monotonic() - began < 2.0
    control(stub.control, do="clear")
    driver.rates()


def test_lines_that_come_late_are_not_believed(driver: WebSQ, stub: StubProcess) -> None:
    """Every line comes 0.3 s late, with the counts of before the change."""
    driver.rates()
    control(stub.control, do="fault", kind="delay", late_s=0.3, line=1)
    driver.set_bias_ua((0.0,) * 4)
    with contextlib.suppress(DeviceTimeout):
        assert driver.rates().hz == (0.0,) * 4
    control(stub.control, do="clear")


def test_somebody_else_changes_the_bias(driver: WebSQ, stub: StubProcess) -> None:
    control(stub.control, do="fault", kind="foreign_bias", number=12)
    time.sleep(0.05)
    with pytest.raises(DeviceError, match="another controller"):
        driver.rates()
    assert driver.bias_ua() == (12.0,) * 4


def test_a_power_cycle_is_noticed(driver: WebSQ, stub: StubProcess) -> None:
    control(stub.control, do="power_cycle")
    with pytest.raises(DeviceError, match="restarted"):
        driver.rates()
    driver.set_period_s(PERIOD_S)
    driver.set_bias_ua(BIAS_UA)
    assert min(driver.rates().hz) > 30_000.0


def test_automatic_bias(driver: WebSQ) -> None:
    with pytest.raises(DeviceLimit, match="darkness"):
        driver.calibrate_bias((100.0,) * 4, is_dark=False)
    assert driver.calibrate_bias((100.0,) * 4, is_dark=True) == (18.0,) * 4
    assert min(driver.rates().hz) > 0.0


def test_automatic_bias_beyond_the_limits_is_taken_away(stub: StubProcess) -> None:
    driver = WebSQ(stub.address, bias_limits_ua=(0.0, 15.0))
    with pytest.raises(DeviceLimit, match="AutoIV found"):
        driver.calibrate_bias((100.0,) * 4, is_dark=True)
    assert driver.bias_ua() == (0.0,) * 4
    driver.close()


@pytest.mark.parametrize("size", [1, 7])
def test_pieces_of_messages_and_lines(driver: WebSQ, stub: StubProcess, size: int) -> None:
    """ETBs, objects and lines are split over reads, on both sockets."""
    control(stub.control, do="fault", kind="chunks", size=size, late_s=0.0)
    assert driver.bias_ua() == BIAS_UA
    assert min(driver.rates().hz) > 30_000.0


def three_rates(driver: WebSQ) -> None:
    """An answer that was on its way already may still be whole."""
    for _ in range(3):
        driver.rates()


@pytest.mark.parametrize("line", [0, 1], ids=["control", "counts"])
@pytest.mark.parametrize(
    "kind", ["garbage", "endless", "half", "silence", "reset", "half_reset", "hang_up"]
)
def test_answers_that_cannot_be(driver: WebSQ, stub: StubProcess, kind: str, line: int) -> None:
    driver.rates()
    control(stub.control, do="fault", kind=kind, line=line, size=400_000)
    with pytest.raises(DeviceError):
        three_rates(driver)
    control(stub.control, do="clear")
    assert min(driver.rates().hz) > 30_000.0


@pytest.mark.parametrize("kind", ["negative", "nan"])
@pytest.mark.parametrize("line", [0, 1], ids=["control", "counts"])
def test_numbers_that_cannot_be(driver: WebSQ, stub: StubProcess, kind: str, line: int) -> None:
    """On the control socket the first number of an answer is the number of detectors."""
    driver.rates()
    control(stub.control, do="fault", kind=kind, line=line)
    with pytest.raises(DeviceProtocol):
        WebSQ(stub.address, timeout_s=0.5) if line == 0 else three_rates(driver)


def test_settings_are_checked(stub: StubProcess) -> None:
    for bad in ((1.0, 2.0), (-1.0, -0.5), (0.0, 1e9), (0.0, float("nan"))):
        with pytest.raises(InputError, match="bias_limits_ua must enclose 0"):
            WebSQ(stub.address, bias_limits_ua=bad)
    with pytest.raises(InputError, match="latency_s"):
        WebSQ(stub.address, latency_s=-1.0)
