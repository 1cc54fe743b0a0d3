"""The ID900 driver against the stub process: real sockets, real faults, no shared code."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import zmq

from backends.drivers.capabilities import BasisSwitch, CoincidenceCounter, Instrument
from backends.drivers.id900 import ID900
from backends.rack import StubProcess
from firmware_stubs.commands import command as stub_command
from quantum.errors import (
    DeviceError,
    DeviceLimit,
    DeviceProtocol,
    DeviceTimeout,
    InputError,
)

#: Bench time runs 20 times faster, so that a window of 5 ms holds 320 pairs.
FAST = ["--seed", "1", "--speed", "20"]
WINDOW_S = 0.005


def control(address: str, **message: Any) -> dict[str, Any]:
    with zmq.Context() as context, context.socket(zmq.REQ) as wire:
        wire.setsockopt(zmq.LINGER, 0)
        wire.connect(address)
        wire.send(msgspec.json.encode(message))
        assert wire.poll(10_000), "the control socket does not answer"
        answer: dict[str, Any] = msgspec.json.decode(wire.recv())
        return answer


@pytest.fixture(scope="module")
def shared() -> Iterator[StubProcess]:
    with StubProcess("id900", [*FAST, "--fidelity", "1.0"]) as process:
        yield process


@pytest.fixture(autouse=True)
def no_leak(shared: StubProcess) -> Iterator[None]:
    """Fail a test that leaves a file descriptor open: sockets are descriptors."""
    before = set(os.listdir("/proc/self/fd"))
    yield
    assert len(os.listdir("/proc/self/fd")) <= len(before), "a test left descriptors open"


@pytest.fixture
def stub(shared: StubProcess) -> Iterator[StubProcess]:
    """Lend the shared stub and take its faults away afterwards."""
    yield shared
    assert control(shared.control, do="clear")["ok"]


@pytest.fixture
def driver(stub: StubProcess) -> Iterator[ID900]:
    device = ID900(stub.address, timeout_s=1.0, settle_s=0.004)
    try:
        yield device
    finally:
        device.close()
        device.close()


def odd_share(driver: ID900, basis: str, windows: int = 1) -> float:
    driver.set_basis(basis)
    seen = [driver.coincidences(WINDOW_S) for _ in range(windows)]
    even, odd = sum(s.even for s in seen), sum(s.odd for s in seen)
    # 320 pairs a window are expected; five standard deviations down are 230.
    assert even + odd > 230 * windows
    return odd / (even + odd)


def test_driver_has_its_capabilities(driver: ID900) -> None:
    assert isinstance(driver, Instrument)
    assert isinstance(driver, BasisSwitch)
    assert isinstance(driver, CoincidenceCounter)
    assert driver.identify().is_stub
    driver.ping()


def test_counts_come_from_the_asked_basis(driver: ID900) -> None:
    driver.configure(WINDOW_S)
    for basis, odd in (("xx", 0.0), ("yy", 1.0), ("zz", 0.0), ("yy", 1.0)):
        asked = time.monotonic()
        # A perfect phi_plus: only accidentals, below one per mille here, have the wrong parity.
        assert odd_share(driver, basis) == pytest.approx(odd, abs=0.01)
        last = driver.coincidences(WINDOW_S)
        assert asked < last.not_before_s < last.not_after_s - WINDOW_S
        assert min(last.singles) > max(max(row) for row in last.pairs)


def test_counters_of_the_previous_cycle_are_not_believed(driver: ID900, stub: StubProcess) -> None:
    driver.configure(WINDOW_S)
    control(stub.control, do="fault", kind="previous_cycle")
    for basis, odd in (("xx", 0.0), ("yy", 1.0)) * 4:
        assert odd_share(driver, basis) == pytest.approx(odd, abs=0.01)


def test_frozen_counters_are_an_error(driver: ID900, stub: StubProcess) -> None:
    driver.configure(WINDOW_S)
    driver.set_basis("zz")
    driver.coincidences(WINDOW_S)
    control(stub.control, do="fault", kind="frozen")
    with pytest.raises(DeviceTimeout, match="no fresh window"):
        driver.coincidences(WINDOW_S)
    control(stub.control, do="clear")
    driver.coincidences(WINDOW_S)


def test_counters_with_clocks_of_their_own(tmp_path: Path) -> None:
    scenario = tmp_path / "own.toml"
    scenario.write_text('[bench]\nfidelity = 1.0\n[switches]\ncounter_phase = "own"\n')
    with StubProcess("id900", [*FAST, "--scenario", str(scenario)]) as process:
        driver = ID900(process.address, settle_s=0.004)
        try:
            driver.configure(WINDOW_S)
            for basis, odd in (("xx", 0.0), ("yy", 1.0)) * 4:
                assert odd_share(driver, basis) == pytest.approx(odd, abs=0.01)
        finally:
            driver.close()


def test_the_wrong_integration_unit_is_noticed(stub: StubProcess) -> None:
    """The stub counts in ms: 5 ms said in ns are beyond its range, 1 ms becomes 1000 s."""
    driver = ID900(stub.address, settle_s=0.0, integration_unit="ns")
    try:
        with pytest.raises(DeviceProtocol, match="COUN:INTE was set to"):
            driver.configure(WINDOW_S)
        driver.configure(0.001)
        driver.set_basis("zz")
        with pytest.raises(DeviceTimeout, match="is integration_unit right"):
            driver.coincidences(0.001)
    finally:
        driver.close()


@pytest.mark.parametrize(
    ("kind", "match"),
    [
        ("nan", "must answer a count"),
        ("negative", "must answer a count"),
        ("overflow", "must answer a count"),
        ("garbage", "answers to 9"),
        ("two_frames", "2 frames"),
        ("not_text", "not UTF-8"),
        ("short_chain", "8 answers to 9"),
    ],
)
def test_answers_that_cannot_be(driver: ID900, stub: StubProcess, kind: str, match: str) -> None:
    driver.configure(WINDOW_S)
    driver.set_basis("zz")
    control(stub.control, do="fault", kind=kind, left=1, match="COUN?")
    with pytest.raises(DeviceProtocol, match=match) as caught:
        driver.coincidences(WINDOW_S)
    assert stub.address in str(caught.value)
    assert "\n" not in str(caught.value)
    driver.coincidences(WINDOW_S)


def test_a_missing_suffix_does_not_matter(driver: ID900, stub: StubProcess) -> None:
    control(stub.control, do="fault", kind="missing_tb")
    driver.configure(WINDOW_S)
    driver.set_basis("zz")
    assert driver.coincidences(WINDOW_S).even > 0


def test_silence_is_a_timeout_and_then_all_is_well(driver: ID900, stub: StubProcess) -> None:
    control(stub.control, do="fault", kind="no_reply", left=1)
    began = time.monotonic()
    with pytest.raises(DeviceTimeout, match="within 1 s"):
        driver.ping()
    # The timeout is 1 s; the rest is room for a busy machine.
    assert 0.9 < time.monotonic() - began < 5.0
    driver.ping()


def test_a_late_answer_is_not_taken_for_the_next(stub: StubProcess) -> None:
    driver = ID900(stub.address, timeout_s=0.3)
    try:
        control(stub.control, do="fault", kind="late_reply", left=1, late_s=0.5)
        with pytest.raises(DeviceTimeout):
            driver.ping()
        time.sleep(0.4)
        with pytest.raises(DeviceLimit):
            driver.configure(1e-9)
        driver.configure(WINDOW_S)
        assert driver.identify().model == "ID900"
    finally:
        driver.close()


def test_order_and_limits(driver: ID900) -> None:
    with pytest.raises(DeviceError, match="set_basis"):
        driver.coincidences(WINDOW_S)
    with pytest.raises(DeviceError, match="configure"):
        driver.set_basis("xx")
    driver.configure(WINDOW_S)
    with pytest.raises(InputError, match="basis"):
        driver.set_basis("xy")
    driver.set_basis("xx")
    for value in (0.0, -1.0, float("nan"), 1e4):
        with pytest.raises(DeviceLimit, match="integration_s"):
            driver.coincidences(value)
    driver.safe_state()
    with pytest.raises(DeviceError, match="set_basis"):
        driver.coincidences(WINDOW_S)


def test_safe_state_reaches_the_instrument(driver: ID900, stub: StubProcess) -> None:
    driver.configure(WINDOW_S)
    driver.set_basis("xx")
    assert control(stub.control, do="state")["settings"]["OUTP1:ENAB"] == "ON"
    driver.safe_state()
    settings = control(stub.control, do="state")["settings"]
    for key in ("INPU1", "INPU4", "OUTP1", "OUTP2", "GENE1", "GENE3"):
        assert settings[f"{key}:ENAB"] == "OFF"


def test_closed_is_closed(stub: StubProcess) -> None:
    driver = ID900(stub.address)
    driver.close()
    driver.close()
    with pytest.raises(DeviceError, match="closed"):
        driver.ping()


def test_nobody_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(DeviceError, match=f"127.0.0.1:{port}"):
        ID900(f"tcp://127.0.0.1:{port}", timeout_s=0.5)


@pytest.mark.parametrize(
    "address", ["", "tcp://", "tcp://h:0", "tcp://h:99999", "h:5555", "tcp://a b:1"]
)
def test_addresses_that_are_none(address: str) -> None:
    with pytest.raises(InputError, match="tcp://HOST:PORT"):
        ID900(address)


def test_too_much_light(tmp_path: Path) -> None:
    scenario = tmp_path / "bright.toml"
    scenario.write_text("[bench]\nrate_hz = 4e7\n")
    with StubProcess("id900", ["--scenario", str(scenario)]) as process:
        driver = ID900(process.address, settle_s=0.004)
        try:
            driver.configure(WINDOW_S)
            driver.set_basis("zz")
            with pytest.raises(DeviceLimit, match="counts are lost"):
                driver.coincidences(WINDOW_S)
        finally:
            driver.close()


def test_stopped_killed_and_restarted() -> None:
    with StubProcess("id900", FAST) as process:
        bind = process.address.removeprefix("tcp://")
        driver = ID900(process.address, timeout_s=0.3, settle_s=0.004)
        try:
            driver.configure(WINDOW_S)
            driver.set_basis("zz")
            os.kill(process.pid, signal.SIGSTOP)
            with pytest.raises(DeviceTimeout):
                driver.coincidences(WINDOW_S)
            os.kill(process.pid, signal.SIGCONT)
            driver.coincidences(WINDOW_S)
            os.kill(process.pid, signal.SIGKILL)
            began = time.monotonic()
            with pytest.raises(DeviceError):
                driver.coincidences(WINDOW_S)
            with pytest.raises(DeviceError):
                driver.ping()
            assert time.monotonic() - began < 5.0
            with StubProcess("id900", [*FAST, "--bind", bind]):
                # Nothing tells the driver that power-on settings are back, but the witness is gone.
                driver.ping()
                with pytest.raises(DeviceTimeout, match="no fresh window"):
                    driver.coincidences(WINDOW_S)
                driver.configure(WINDOW_S)
                driver.set_basis("zz")
                assert driver.coincidences(WINDOW_S).even > 0
        finally:
            driver.close()


def run_stub(*options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "firmware_stubs", "id900", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_port_in_use_is_one_line(stub: StubProcess) -> None:
    with run_stub("--bind", stub.address.removeprefix("tcp://")) as process:
        out, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert out == ""
    assert len(err.splitlines()) == 1
    assert "cannot bind 127.0.0.1" in err


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_signals_end_the_stub(number: signal.Signals, code: int) -> None:
    with run_stub() as process:
        assert process.stdout is not None
        line = process.stdout.readline().split()
        assert line[0] == "id900"
        assert line[1].startswith("tcp://127.0.0.1:")
        assert line[2] == "control"
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
    assert process.returncode == code
    assert err == ""


@pytest.mark.parametrize(
    ("options", "match"),
    [
        (["--fidelity", "nan"], "bench.fidelity"),
        (["--fidelity", "1.5"], "bench.fidelity"),
        (["--rate-hz", "inf"], "bench.rate_hz"),
        (["--speed", "0"], "--speed"),
        (["--scenario", "/nonexistent.toml"], "cannot read scenario"),
        (["--bind", "nowhere"], "cannot bind"),
    ],
)
def test_bad_options_are_one_line(options: list[str], match: str) -> None:
    with pytest.raises(InputError, match=match) as caught:
        stub_command.main(["id900", *options], standalone_mode=False)
    assert "\n" not in str(caught.value)


def test_control_refuses_nonsense(stub: StubProcess) -> None:
    for message in ({"do": "dance"}, {"do": "fault", "kind": "x"}, {"do": "drift", "step": 9}, {}):
        answer = control(stub.control, **message)
        assert answer["ok"] is False
        assert "control message" in answer["error"]


def test_scenario_events_happen(tmp_path: Path) -> None:
    scenario = tmp_path / "step.toml"
    scenario.write_text(
        "[bench]\nfidelity = 0.9\n"
        '[[event]]\nat_s = 0.3\nmessage = {do = "drift", step = -0.2}\n'
        '[[event]]\nat_s = 0.0\nmessage = {do = "skew", step_ps = 250.0}\n'
    )
    with StubProcess("id900", ["--scenario", str(scenario)]) as process:
        deadline = time.monotonic() + 60.0
        truth = control(process.control, do="truth")
        while truth["fidelity"] > 0.75 and time.monotonic() < deadline:
            truth = control(process.control, do="truth")
        assert truth["fidelity"] == pytest.approx(0.7)
        assert truth["skew_ps"] == 250.0
