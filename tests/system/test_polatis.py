"""The Polatis driver against the stub process: real sockets, real faults, no shared code."""

import os
import signal
import time
from collections.abc import Iterator

import pytest
from streams import control

from backends.drivers.capabilities import OpticalSwitch
from backends.drivers.polatis import Polatis
from backends.rack import StubProcess
from quantum.errors import DeviceError, DeviceLimit, DeviceProtocol, DeviceTimeout, InputError


@pytest.fixture(scope="module")
def shared() -> Iterator[StubProcess]:
    with StubProcess("polatis", ["--seed", "7"]) as process:
        yield process


@pytest.fixture
def stub(shared: StubProcess) -> Iterator[StubProcess]:
    """Lend the shared stub, parked; take its faults away afterwards."""
    with_nothing = Polatis(shared.address)
    with_nothing.safe_state()
    with_nothing.close()
    yield shared
    assert control(shared.control, do="clear")["ok"]
    assert control(shared.control, do="power_cycle")["ok"]


@pytest.fixture
def driver(stub: StubProcess) -> Iterator[Polatis]:
    device = Polatis(stub.address, timeout_s=0.4)
    yield device
    device.close()
    device.close()


def test_it_is_an_optical_switch(driver: Polatis) -> None:
    assert isinstance(driver, OpticalSwitch)
    assert driver.identify().is_stub
    assert driver.identify().serial == "STUB-7"
    assert (driver.inputs, driver.outputs) == (16, 16)


def test_connections_carry_light_when_connect_returns(driver: Polatis, stub: StubProcess) -> None:
    driver.connect({1: 20, 2: 17})
    assert driver.connections() == {1: 20, 2: 17}
    assert control(stub.control, do="truth")["carrying"] == {"1": 20, "2": 17}
    bright, dark = driver.powers_dbm((20, 21))
    assert bright > -20.0
    assert dark == -90.0
    driver.connect({2: 20})
    assert driver.connections() == {2: 20}


def test_safe_state_parks_whoever_connected(driver: Polatis, stub: StubProcess) -> None:
    other = Polatis(stub.address)
    other.connect({5: 30})
    driver.safe_state()
    assert driver.connections() == {}
    assert control(stub.control, do="truth")["carrying"] == {}
    other.close()


@pytest.mark.parametrize(
    ("outputs", "match"),
    [
        ({0: 17}, "input must be from 1 to 16"),
        ({17: 18}, "input must be from 1 to 16"),
        ({1: 16}, "output must be from 17 to 32"),
        ({1: 33}, "output must be from 17 to 32"),
        ({1: 17, 2: 17}, "outputs must differ"),
        ({3: 17}, "port 3 is not among"),
    ],
)
def test_limits(stub: StubProcess, outputs: dict[int, int], match: str) -> None:
    driver = Polatis(stub.address, ports=(0, 1, 2, 16, 17, 18, 33))
    with pytest.raises(DeviceLimit, match=match):
        driver.connect(outputs)
    assert control(stub.control, do="state")["settings"]["connections"] == {}
    with pytest.raises(DeviceLimit, match="ports must be"):
        driver.powers_dbm((0,))
    driver.close()


def test_accepted_but_not_made(driver: Polatis, stub: StubProcess) -> None:
    control(stub.control, do="fault", kind="not_made", left=1)
    with pytest.raises(DeviceProtocol, match="asked for 1-17, but the switch is at no connection"):
        driver.connect({1: 17})
    driver.connect({1: 17})


def test_made_to_the_wrong_port(driver: Polatis, stub: StubProcess) -> None:
    control(stub.control, do="fault", kind="wrong_port", left=1)
    with pytest.raises(DeviceProtocol, match="asked for 1-18, but the switch is at 1-17"):
        driver.connect({1: 18})


def test_made_but_dark_is_seen_by_light_alone(stub: StubProcess) -> None:
    control(stub.control, do="fault", kind="dark")
    believing, proving = Polatis(stub.address), Polatis(stub.address, least_power_dbm=-20.0)
    believing.connect({1: 17})
    with pytest.raises(DeviceError, match="output 17 shows -90 dBm"):
        proving.connect({1: 17})
    control(stub.control, do="clear")
    proving.connect({1: 17})
    believing.close()
    proving.close()


def test_three_decibels_are_seen(driver: Polatis, stub: StubProcess) -> None:
    driver.connect({1: 17})
    (before,) = driver.powers_dbm((17,))
    control(stub.control, do="fault", kind="power_drop", number=17)
    (after,) = driver.powers_dbm((17,))
    assert before - after == pytest.approx(3.0, abs=0.011)


def test_failed_and_disabled_ports(driver: Polatis, stub: StubProcess) -> None:
    control(stub.control, do="fault", kind="port_failed", number=18)
    assert driver.port_states((17, 18)) == ("E", "F")
    with pytest.raises(DeviceError, match=r"refused.*-221"):
        driver.connect({1: 18})
    driver.connect({1: 17})
    control(stub.control, do="fault", kind="port_failed", number=17)
    assert driver.port_states((17,)) == ("F",)
    assert control(stub.control, do="truth")["carrying"] == {}


def test_another_controller_is_noticed(driver: Polatis, stub: StubProcess) -> None:
    driver.connect({1: 17})
    other = Polatis(stub.address)
    other.connect({2: 18})
    with pytest.raises(DeviceError, match=r"another controller or restarted.*made 1-17.*at 2-18"):
        driver.verify()
    other.connect({})
    driver.connect({1: 17})
    other.close()
    third = Polatis(stub.address)
    third.connect({3: 19})
    with pytest.raises(DeviceError, match="another controller"):
        driver.connect({1: 17})
    # Told once, it takes the switch over.
    driver.connect({1: 17})
    with pytest.raises(DeviceError, match="another controller"):
        third.connect({4: 20})
    third.close()


def test_a_power_cycle_is_noticed_and_mended(driver: Polatis, stub: StubProcess) -> None:
    driver.connect({1: 17})
    control(stub.control, do="power_cycle")
    with pytest.raises(DeviceError, match="restarted"):
        driver.verify()
    driver.connect({1: 17})
    assert driver.connections() == {1: 17}


def test_a_power_cycle_does_not_stop_the_next_connect(driver: Polatis, stub: StubProcess) -> None:
    driver.connect({1: 17})
    control(stub.control, do="power_cycle")
    driver.connect({1: 18})
    assert driver.connections() == {1: 18}


def test_reset_in_the_middle_of_a_list(driver: Polatis, stub: StubProcess) -> None:
    driver.connect({1: 17, 2: 18})
    control(stub.control, do="fault", kind="half_reset", left=1, match="stat?")
    with pytest.raises(DeviceError):
        driver.connections()
    assert driver.connections() == {1: 17, 2: 18}


@pytest.mark.parametrize(
    ("kind", "match", "error"),
    [
        ("nan", ":pmon:pow?", DeviceProtocol),
        ("overflow", ":pmon:pow?", DeviceProtocol),
        ("negative", ":oxc:swit:conn:stat?", DeviceProtocol),
        ("overflow", ":oxc:swit:conn:stat?", DeviceProtocol),
        ("garbage", ":oxc:swit:conn:stat?", DeviceProtocol),
        ("half", ":oxc:swit:conn:stat?", DeviceTimeout),
        ("silence", ":pmon:pow?", DeviceTimeout),
        ("endless", ":pmon:pow?", DeviceProtocol),
        ("hang_up", ":pmon:pow?", DeviceError),
        ("reset", ":pmon:pow?", DeviceError),
    ],
)
def test_answers_that_cannot_be(
    driver: Polatis, stub: StubProcess, kind: str, match: str, error: type[DeviceError]
) -> None:
    driver.connect({1: 17})
    control(stub.control, do="fault", kind=kind, left=1, match=match, size=300_000)
    with pytest.raises(error) as caught:
        driver.connections() if "conn" in match else driver.powers_dbm((17,))
    assert stub.address in str(caught.value)
    # And then all is well: the connection was made anew.
    assert driver.connections() == {1: 17}


def test_a_late_answer_is_not_taken_for_the_next(driver: Polatis, stub: StubProcess) -> None:
    driver.connect({1: 17})
    control(stub.control, do="fault", kind="delay", left=1, late_s=0.6, match="stat?")
    with pytest.raises(DeviceTimeout):
        driver.connections()
    other = Polatis(stub.address)
    other.safe_state()
    other.close()
    time.sleep(0.3)
    assert driver.connections() == {}


def test_a_stopped_switch_is_a_timeout_in_time(stub: StubProcess) -> None:
    driver = Polatis(stub.address, timeout_s=0.3)
    os.kill(stub.pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        with pytest.raises(DeviceTimeout):
            driver.connections()
        assert time.monotonic() - began < 1.5
    finally:
        os.kill(stub.pid, signal.SIGCONT)
    assert driver.connections() == {}
    driver.close()


def test_closed_is_closed(stub: StubProcess) -> None:
    driver = Polatis(stub.address)
    driver.close()
    with pytest.raises(DeviceError, match="closed"):
        driver.connections()


@pytest.mark.parametrize("address", ["ftp://x:1", "x:1", "", "tcp://x", "tcp://x:0"])
def test_addresses(address: str) -> None:
    with pytest.raises(InputError, match="instrument address must"):
        Polatis(address)


@pytest.mark.parametrize("settings", [{"timeout_s": 0.0}, {"settle_s": -1.0}])
def test_settings_are_checked(settings: dict[str, float]) -> None:
    with pytest.raises(InputError, match="_s must be"):
        Polatis("tcp://127.0.0.1:1", **settings)  # type: ignore[arg-type]


def test_nobody_there() -> None:
    with pytest.raises(DeviceError, match="refused"):
        Polatis("tcp://127.0.0.1:1")
