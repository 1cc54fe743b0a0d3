"""PC_RPC against the stub process, and against a peer that the documentation alone describes."""

import json
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from streams import control

from backends.drivers.capabilities import Light, Shutter
from backends.drivers.pc_rpc import PcRpc, RemoteError
from backends.drivers.pc_rpc_wire import Target
from backends.rack import StubProcess
from quantum.errors import DeviceError, DeviceLimit, DeviceProtocol, DeviceTimeout, InputError


@pytest.fixture(scope="module")
def shared() -> Iterator[StubProcess]:
    with StubProcess("pc_rpc", ["--seed", "5"]) as process:
        yield process


@pytest.fixture
def stub(shared: StubProcess) -> Iterator[StubProcess]:
    """Lend the shared stub as after power-on, and take its faults away."""
    assert control(shared.control, do="power_cycle")["ok"]
    yield shared
    assert control(shared.control, do="clear")["ok"]


@pytest.fixture
def driver(stub: StubProcess) -> Iterator[PcRpc]:
    device = PcRpc(stub.address, timeout_s=0.5)
    yield device
    device.close()
    device.close()


def test_it_is_a_light_and_a_shutter(driver: PcRpc) -> None:
    assert isinstance(driver, Light)
    assert isinstance(driver, Shutter)
    assert driver.identify().is_stub
    driver.ping()


def test_light_and_shutter(driver: PcRpc, stub: StubProcess) -> None:
    driver.set_open(True)
    assert driver.is_open()
    driver.set_power_dbm(3.0)
    assert driver.power_dbm() == -120.0
    driver.set_output(True)
    assert driver.power_dbm() == pytest.approx(3.0)
    driver.safe_state()
    settings = control(stub.control, do="state")["settings"]
    assert (settings["open"], settings["on"]) == (False, False)


def test_limits(driver: PcRpc, stub: StubProcess) -> None:
    for power in (10.1, -60.1, float("nan"), float("inf")):
        with pytest.raises(DeviceLimit, match="power_dbm must be from -60 to 10"):
            driver.set_power_dbm(power)
    assert control(stub.control, do="state")["settings"]["power_mw"] == 1.0
    with pytest.raises(InputError, match="power_limits_dbm must be rising"):
        PcRpc(stub.address, power_limits_dbm=(5.0, 1.0))


def test_the_interlock(driver: PcRpc, stub: StubProcess) -> None:
    driver.set_open(True)
    control(stub.control, do="fault", kind="interlock_open")
    time.sleep(0.05)
    assert not driver.is_open()
    assert not driver.interlock_closed()
    with pytest.raises(DeviceLimit, match="interlock is open"):
        driver.set_open(True)
    # Closing is always possible, and nothing opens by itself afterwards.
    driver.set_open(False)
    control(stub.control, do="clear")
    time.sleep(0.05)
    assert driver.interlock_closed()
    assert not driver.is_open()


def test_a_shutter_that_does_not_move(driver: PcRpc, stub: StubProcess) -> None:
    control(stub.control, do="fault", kind="stuck", left=1)
    with pytest.raises(DeviceProtocol, match="does not do what it is told"):
        driver.set_open(True)
    driver.set_open(True)


def test_safe_state_tries_both(driver: PcRpc, stub: StubProcess) -> None:
    driver.set_open(True)
    driver.set_output(True)
    control(stub.control, do="fault", kind="stuck", left=1)
    with pytest.raises(DeviceProtocol):
        driver.safe_state()
    settings = control(stub.control, do="state")["settings"]
    assert (settings["open"], settings["on"]) == (True, False)


def test_a_weak_laser_is_noticed(driver: PcRpc, stub: StubProcess) -> None:
    driver.set_output(True)
    control(stub.control, do="fault", kind="weak")
    with pytest.raises(DeviceProtocol, match=r"3 dBm was set, -0\.0"):
        driver.set_power_dbm(3.0)


def test_ping_that_answers_false(driver: PcRpc, stub: StubProcess) -> None:
    control(stub.control, do="fault", kind="ping_fails")
    with pytest.raises(DeviceError, match=r"ping\(\) is False"):
        driver.ping()


def test_remote_failures(driver: PcRpc, stub: StubProcess) -> None:
    with pytest.raises(RemoteError, match="TypeError: is_open must be true or false") as caught:
        driver.call("shutter", "set_open", 3)
    assert caught.value.remote_class == "TypeError"
    with pytest.raises(RemoteError, match="ValueError: power_mw must be from 0 to 50"):
        driver.call("laser", "set_power_mw", 1e6)
    with pytest.raises(RemoteError, match="argument"):
        driver.call("shutter", "is_open", is_open=True)
    control(stub.control, do="fault", kind="raises", left=1)
    with pytest.raises(RemoteError, match="RuntimeError: injected"):
        driver.is_open()
    with pytest.raises(InputError, match="no method 'fire'"):
        driver.call("laser", "fire")
    with pytest.raises(InputError, match="target 'door' is unknown; known: laser, shutter"):
        driver.call("door", "ping")
    driver.call("shutter", "set_open", is_open=True)
    assert driver.is_open()


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("garbage", DeviceProtocol),
        ("half", DeviceTimeout),
        ("silence", DeviceTimeout),
        ("endless", DeviceProtocol),
        ("reset", DeviceError),
        ("half_reset", DeviceError),
        ("hang_up", DeviceError),
        ("lose_byte", DeviceProtocol),
    ],
)
def test_answers_that_cannot_be(
    driver: PcRpc, stub: StubProcess, kind: str, error: type[DeviceError]
) -> None:
    size = 6 * 1024 * 1024 if kind == "endless" else 1
    control(stub.control, do="fault", kind=kind, left=1, match='"is_open"', size=size)
    with pytest.raises(error):
        driver.is_open()
    assert driver.is_open() is False


@pytest.mark.parametrize("kind", ["nan", "negative", "overflow"])
def test_powers_that_cannot_be(driver: PcRpc, stub: StubProcess, kind: str) -> None:
    driver.set_output(True)
    control(stub.control, do="fault", kind=kind, left=1, match="power_mw")
    with pytest.raises(DeviceProtocol, match="power_mw"):
        driver.power_dbm()


def test_a_timeout_in_a_call_drops_the_connection(driver: PcRpc, stub: StubProcess) -> None:
    """The late answer of is_open() must not become that of interlock_closed()."""
    control(stub.control, do="fault", kind="delay", left=1, late_s=0.7, match='"is_open"')
    with pytest.raises(DeviceTimeout, match="may have been carried out"):
        driver.is_open()
    time.sleep(0.3)
    assert driver.interlock_closed() is True


def test_a_stopped_controller_is_a_timeout_in_time(driver: PcRpc, stub: StubProcess) -> None:
    os.kill(stub.pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        with pytest.raises(DeviceTimeout):
            driver.ping()
        assert time.monotonic() - began < 2.0
    finally:
        os.kill(stub.pid, signal.SIGCONT)
    driver.ping()


def test_a_controller_that_restarts_is_found_again(driver: PcRpc, stub: StubProcess) -> None:
    driver.set_open(True)
    control(stub.control, do="power_cycle")
    assert driver.is_open() is False


# A peer from the documentation: blocking, a few lines, no code of ours or of sipyco's in it.


@contextmanager
def peer(lines: list[bytes], features: list[str]) -> Iterator[tuple[str, list[bytes]]]:
    """Greet, offer one target ``t``, then answer each request with the next of ``lines``."""
    heard: list[bytes] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        made, _ = listener.accept()
        with made, made.makefile("rwb") as stream:
            heard.append(stream.readline())
            hello = {"targets": ["t"], "description": "peer", "features": features}
            stream.write(json.dumps(hello).encode() + b"\n")
            stream.flush()
            for line in lines:
                heard.append(stream.readline())
                stream.write(line)
                stream.flush()
            heard.append(stream.readline())

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"tcp://127.0.0.1:{listener.getsockname()[1]}", heard
    finally:
        thread.join(timeout=10.0)
        listener.close()


def test_version_2_with_the_peer() -> None:
    lines = [
        b'{"__jsonclass__": ["set", [["get", "ping"]]]}\n',
        b'{"status": "ok", "ret": {"__jsonclass__": ["tuple", [[1, 2.5]]]}}\n',
        b'{"status": "failed", "exception": {"class": "GenericRemoteException", '
        b'"message": "artiq.X: no", "traceback": ["a"]}}\n',
    ]
    with peer(lines, ["pyon_v2"]) as (address, heard):
        target = Target(address, "t", timeout_s=2.0)
        assert target.call("get", (1, 2), x=1j) == (1, 2.5)
        with pytest.raises(RemoteError, match=r"artiq\.X: no"):
            target.call("ping")
        assert (target.targets, target.description) == (("t",), "peer")
        target.close()
    assert heard[:2] == [b"ARTIQ pc_rpc\n", b"t pyon_v2\n"]
    assert json.loads(heard[2]) == {
        "action": "call",
        "name": "get",
        "args": [{"__jsonclass__": ["tuple", [[1, 2]]]}],
        "kwargs": {"x": {"__jsonclass__": ["complex", [0.0, 1.0]]}},
    }


def test_version_1_with_the_peer() -> None:
    lines = [
        b'{"get", "ping"}\n',
        b'{"status": "ok", "ret": (1, nparray((2, ), "<i2", b"AQACAA=="))}\n',
    ]
    with peer(lines, []) as (address, heard):
        target = Target(address, "t", timeout_s=2.0)
        one, array = target.call("get", (1,), {2})
        assert (one, array.tolist()) == (1, [1, 2])
        target.close()
    assert heard[1] == b"t\n"
    assert heard[2] == (b'{"action": "call", "name": "get", "args": [(1, ), {2}], "kwargs": {}}\n')


@pytest.mark.parametrize(
    "line",
    [
        b'{"status": "failed", "exception": {"class": "Popen", "message": "x"}}\n',
        b'{"status": "failed", "exception": {"class": 3, "message": "x"}}\n',
        b'{"status": "failed"}\n',
        b'{"status": "maybe", "ret": 1}\n',
        b'{"ret": 1}\n',
        b"[1]\n",
        b'{"status": "ok", "ret": {"__jsonclass__": ["Popen", ["true"]]}}\n',
        b'{"status": "ok", "ret": "\xc3\xa9"}\n',
    ],
)
def test_answers_of_the_peer_that_cannot_be(line: bytes) -> None:
    with peer([b'{"__jsonclass__": ["set", [["ping"]]]}\n', line], ["pyon_v2"]) as (address, _):
        target = Target(address, "t", timeout_s=2.0)
        with pytest.raises(DeviceProtocol):
            target.call("ping")
        target.close()


def test_no_server_of_ours() -> None:
    with pytest.raises(InputError, match="target must be"):
        Target("tcp://127.0.0.1:1", "two words", timeout_s=1.0)
    with peer([], []) as (address, _), pytest.raises(InputError, match="target 'shutter' is unkn"):
        PcRpc(address, timeout_s=1.0)
