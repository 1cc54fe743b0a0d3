"""The SCPI driver through PyVISA against its stub process: faults, interlock, words, limits."""

import os
import signal
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lines import DeviceStream, control, faster_than, turns

from backends.drivers.capabilities import Light
from backends.drivers.scpi import ROLES, ScpiLight
from backends.drivers.visa import VisaStream, resource_of
from backends.rack import StubProcess
from backends.supervisor.safing import all_safe
from firmware_stubs.lone_ports import LoneLight
from firmware_stubs.scpi_light import Conversation, ScpiLightSource
from quantum.errors import DeviceError, DeviceLimit, DeviceProtocol, DeviceTimeout, InputError
from quantum.rack_safety import SafeEntry


@pytest.fixture(scope="module")
def shared() -> Iterator[StubProcess]:
    with StubProcess("scpi", ["--seed", "1"]) as process:
        # The first use loads PyVISA, which keeps its resource manager.
        ScpiLight(process.address).close()
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
def laser(stub: StubProcess) -> Iterator[ScpiLight]:
    device = ScpiLight(stub.address, timeout_s=0.3)
    try:
        device.safe_state()
        yield device
    finally:
        device.close()
        device.close()


def power_mw(stub: StubProcess) -> float:
    return float(control(stub.control, do="truth")["power_mw"])


def test_power_and_output_reach_the_light(laser: ScpiLight, stub: StubProcess) -> None:
    assert isinstance(laser, Light)
    assert laser.identify().is_stub
    laser.set_power_dbm(3.0)
    assert power_mw(stub) == 0.0
    laser.set_output(True)
    assert laser.output() and laser.power_dbm() == 3.0
    # 3 dBm are 10 ** 0.3 mW.
    assert power_mw(stub) == pytest.approx(10.0**0.3, rel=1e-3)
    laser.safe_state()
    assert not laser.output() and power_mw(stub) == 0.0


def test_resource_names_of_visa_are_addresses(stub: StubProcess) -> None:
    host, port = stub.address.removeprefix("tcp://").split(":")
    for address in (f"TCPIP::{host}::{port}::SOCKET", f"visa://TCPIP0::{host}::{port}::SOCKET"):
        device = ScpiLight(address)
        device.ping()
        device.close()


def test_an_attenuator_turns_power_into_loss(stub: StubProcess, laser: ScpiLight) -> None:
    laser.set_power_dbm(6.0)
    laser.close()
    device = ScpiLight(stub.address, role="attenuator", input_dbm=6.0)
    device.set_output(True)
    device.set_power_dbm(-4.0)
    assert device.power_dbm() == pytest.approx(-4.0)
    assert power_mw(stub) == pytest.approx(10.0**-0.4, rel=1e-3)
    with pytest.raises(DeviceLimit, match="at most input_dbm = 6"):
        device.set_power_dbm(6.5)
    device.set_power_dbm(6.0)
    device.safe_state()
    device.close()


def test_a_meter_reads_and_sets_nothing(stub: StubProcess, laser: ScpiLight) -> None:
    laser.set_power_dbm(-3.0)
    laser.set_output(True)
    laser.close()
    meter = ScpiLight(stub.address, role="meter")
    assert meter.power_dbm() == pytest.approx(-3.0, abs=2e-3)
    for act in (lambda: meter.set_output(True), lambda: meter.set_power_dbm(0.0), meter.output):
        with pytest.raises(DeviceError, match="this instrument"):
            act()
    meter.safe_state()
    # Made safe by a supervisor it is only asked whether it is there.
    done = all_safe(meter, SafeEntry())
    assert (done.safe, done.read_back) == (True, "safe state confirmed by the driver")
    meter.close()


def test_an_open_interlock_keeps_light_off_until_somebody_switches_it_on(
    laser: ScpiLight, stub: StubProcess
) -> None:
    laser.set_output(True)
    control(stub.control, do="fault", kind="interlock")
    assert laser.tripped() and not laser.output() and power_mw(stub) == 0.0
    with pytest.raises(DeviceError, match="interlock is open"):
        laser.set_output(True)
    control(stub.control, do="clear")
    assert not laser.output(), "light came back by itself"
    laser.set_output(True)
    assert laser.output()


def test_a_refused_setting_is_known_by_the_error_queue(stub: StubProcess) -> None:
    laser = ScpiLight(stub.address, high_dbm=40.0)
    with pytest.raises(DeviceError, match=r"was refused: -222 Data out of range"):
        laser.set_power_dbm(20.0)
    # The queue is empty again: the next setting is not blamed for the last.
    laser.set_power_dbm(1.0)
    laser.close()


def test_an_interlock_that_is_not_asked_for_is_known_by_the_error_queue(stub: StubProcess) -> None:
    laser = ScpiLight(stub.address, words={"tripped_query": ""})
    control(stub.control, do="fault", kind="interlock")
    with pytest.raises(DeviceError, match="interlock open"):
        laser.set_output(True)
    laser.close()


def test_errors_of_an_earlier_client_are_not_ours(stub: StubProcess) -> None:
    raw = VisaStream(_visa(stub), timeout_s=1.0)
    raw.send(b"NO:SUCH\nOUTP SIDEWAYS\n*OPC?\n")
    assert raw.receive(2.0) == b"1\n"
    raw.close()
    laser = ScpiLight(stub.address)
    laser.set_power_dbm(0.0)
    laser.close()


def _visa(stub: StubProcess) -> str:
    host, port = stub.address.removeprefix("tcp://").split(":")
    return f"visa://TCPIP::{host}::{port}::SOCKET"


def test_accepted_and_not_done_is_seen_by_reading_back(laser: ScpiLight, stub: StubProcess) -> None:
    for act in (lambda: laser.set_output(True), lambda: laser.set_power_dbm(-7.0)):
        control(stub.control, do="fault", kind="ignores", left=1)
        with pytest.raises(DeviceProtocol, match="reads"):
            act()


@pytest.mark.parametrize(
    "kind", ["silence", "half", "garbage", "nan", "overflow", "reset", "half_reset", "hang_up"]
)
def test_a_damaged_answer_is_an_error_and_never_a_power(
    laser: ScpiLight, stub: StubProcess, kind: str
) -> None:
    laser.set_power_dbm(2.0)
    control(stub.control, do="fault", kind=kind, left=1)
    with faster_than(3.0), pytest.raises(DeviceError):
        laser.power_dbm()
    assert laser.power_dbm() == 2.0


def test_a_late_answer_is_not_that_of_the_next_question(
    laser: ScpiLight, stub: StubProcess
) -> None:
    laser.set_power_dbm(2.0)
    control(stub.control, do="fault", kind="delay", left=1, late_s=0.5)
    with pytest.raises(DeviceTimeout):
        laser.power_dbm()
    laser.set_power_dbm(-5.0)
    assert laser.power_dbm() == -5.0


def test_a_restarted_instrument_is_dark(laser: ScpiLight, stub: StubProcess) -> None:
    laser.set_output(True)
    control(stub.control, do="power_cycle")
    with pytest.raises(DeviceError):
        laser.output()
    assert not laser.output()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_a_dead_or_hanging_instrument_is_an_error_and_no_hang(how: signal.Signals) -> None:
    with StubProcess("scpi", []) as stub:
        laser = ScpiLight(stub.address, timeout_s=0.2)
        os.kill(stub.pid, how)
        try:
            for act in (laser.power_dbm, laser.safe_state):
                with faster_than(3.0), pytest.raises(DeviceError):
                    act()
        finally:
            laser.close()
            if how == signal.SIGSTOP:
                os.kill(stub.pid, signal.SIGCONT)


def test_a_peer_that_takes_nothing_is_a_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        port = deaf.getsockname()[1]
        stream = VisaStream(f"visa://TCPIP::127.0.0.1::{port}::SOCKET", timeout_s=0.2)
        with faster_than(10.0), pytest.raises(DeviceTimeout, match="nothing was taken"):
            stream.send(bytes(1 << 24))
        stream.close()


def test_nobody_there_is_an_error_at_once() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with faster_than(2.0), pytest.raises(DeviceError, match="nobody answers"):
        ScpiLight(f"tcp://127.0.0.1:{port}")
    with faster_than(5.0), pytest.raises(DeviceError, match="cannot find the host"):
        ScpiLight("TCPIP::no-such-host.invalid::5025::SOCKET")


def test_the_network_is_never_searched(stub: StubProcess, monkeypatch: Any) -> None:
    import pyvisa_py.highlevel
    import pyvisa_py.sessions

    def searched(*_: object, **__: object) -> None:
        raise AssertionError("resources were listed")

    monkeypatch.setattr(pyvisa_py.highlevel.PyVisaLibrary, "list_resources", searched)
    for kind in pyvisa_py.sessions.Session.iter_valid_session_classes():
        monkeypatch.setattr(kind[1], "list_resources", staticmethod(searched))
    laser = ScpiLight(stub.address)
    laser.set_power_dbm(0.0)
    laser.close()


@pytest.mark.parametrize(
    "address",
    [
        "TCPIP::host::0::SOCKET",
        "TCPIP::host::70000::SOCKET",
        "TCPIP::ho st::5025::SOCKET",
        "ASRL1::INSTR",
        "?*",
        "TCPIP::host::5025::SOCKET::more",
        "visa://",
    ],
)
def test_addresses_are_strict(address: str) -> None:
    with pytest.raises(InputError, match="a VISA address must be"):
        resource_of(address)


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"role": "lamp"}, "role must be one of laser, attenuator, meter"),
        ({"words": {"shout": "LOUD"}}, "words: "),
        ({"words": {"power_set": "POW"}}, "must hold {value} once"),
        ({"words": {"power_query": "POW? {value}"}}, "must not hold"),
        ({"words": {"power_query": "POW?\nOUTP ON"}}, "printable ASCII"),
        ({"words": {"output_query": ""}}, "needs a query to read it back"),
        ({"role": "attenuator"}, "input_dbm must be"),
        ({"low_dbm": 5.0, "high_dbm": 1.0}, "in order"),
        ({"tolerance_db": 0.0}, "tolerance_db must be"),
    ],
)
def test_settings_are_checked(settings: dict[str, Any], word: str) -> None:
    with pytest.raises(InputError, match=word):
        ScpiLight("tcp://127.0.0.1:9", **settings)


@pytest.mark.parametrize("power", [10.1, -60.1, float("nan"), float("inf")])
def test_limits_are_kept_before_anything_is_sent(laser: ScpiLight, power: float) -> None:
    with pytest.raises(DeviceLimit, match="power_dbm must be from -60 to 10"):
        laser.set_power_dbm(power)


# --------------------------------------------------------------------------- without a process


@given(st.lists(st.integers(1, 40), max_size=200))
def test_the_driver_does_not_depend_on_the_pieces(pieces: list[int]) -> None:
    port, sizes = LoneLight(), iter(pieces)
    stream = DeviceStream(ScpiLightSource(port), lambda: next(sizes, 1 << 20))
    laser = ScpiLight("tcp://127.0.0.1:9", stream=stream, clock=stream.clock)
    laser.set_power_dbm(-3.0)
    laser.set_output(True)
    assert laser.power_dbm() == -3.0 and laser.output()
    assert port.power_mw(0.0) == pytest.approx(10.0**-0.3, rel=1e-3)


@given(st.one_of(st.binary(max_size=60), st.floats().map(lambda x: f"{x:g}".encode())))
def test_impossible_answers_are_never_a_power(noise: bytes) -> None:
    class Says(Conversation):
        def received(self, data: bytes, now_s: float) -> bytes:
            return b"" if data.startswith(b"*CLS") else noise + b"\n"

    stream = DeviceStream(Says(ScpiLightSource(LoneLight())))
    meter = ScpiLight("tcp://127.0.0.1:9", stream=stream, role="meter", clock=stream.clock)
    try:
        power = meter.power_dbm()
    except DeviceError:
        return
    assert -150.0 <= power <= 60.0 and power == float(noise.decode().split("d")[0])


@given(st.lists(st.integers(1, 60), max_size=60))
def test_the_stub_does_not_depend_on_the_pieces(sizes: list[int]) -> None:
    said = b"\xff\x00?\n" + b"".join(turn.said for turn in turns("scpi", "stub"))
    expected = ScpiLightSource(LoneLight()).connection().received(said, 0.0)
    cut, answers, rest = ScpiLightSource(LoneLight()).connection(), b"", said
    for size in sizes:
        answers += cut.received(rest[:size], 0.0)
        rest = rest[size:]
    assert answers + cut.received(rest, 0.0) == expected


def test_an_error_queue_without_end_is_an_error() -> None:
    class Broken(Conversation):
        def received(self, data: bytes, now_s: float) -> bytes:
            return b'-100,"again"\n' if b"ERR?" in data else b""

    stream = DeviceStream(Broken(ScpiLightSource(LoneLight())))
    laser = ScpiLight("tcp://127.0.0.1:9", stream=stream, clock=stream.clock)
    with pytest.raises(DeviceProtocol, match="error queue does not end"):
        laser.set_power_dbm(0.0)


def test_every_role_has_words_that_can_be_spoken() -> None:
    for words in ROLES.values():
        assert words.check() is words
