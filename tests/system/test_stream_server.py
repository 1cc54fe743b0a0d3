"""The server of streaming stubs: faults of the port, clients that misbehave, addresses, events."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from streams import control

from backends.drivers.opening import open_stream
from backends.drivers.polatis import Polatis
from backends.drivers.tcp import TcpStream
from backends.rack import StubProcess
from firmware_stubs.commands import command as stub_command
from quantum.errors import DeviceError, DeviceTimeout, InputError

IDN = b"Polatis,N-VST-16x16-LU1-DMHNV-801,STUB-1,6.5.1.7\n"


@pytest.fixture(scope="module")
def shared() -> Iterator[StubProcess]:
    with StubProcess("polatis", []) as process:
        yield process


@pytest.fixture
def stub(shared: StubProcess) -> Iterator[StubProcess]:
    yield shared
    assert control(shared.control, do="clear")["ok"]
    assert control(shared.control, do="power_cycle")["ok"]


@pytest.fixture
def wire(stub: StubProcess) -> Iterator[TcpStream]:
    with TcpStream(stub.address, timeout_s=2.0) as stream:
        yield stream


def ask(wire: TcpStream, data: bytes = b"*idn?\n", size: int = len(IDN)) -> bytes:
    wire.send(data)
    heard = b""
    while len(heard) < size:
        heard += wire.receive(2.0)
    return heard


def again_and_again(send: Callable[[bytes], None], data: bytes, times: int) -> None:
    for _ in range(times):
        send(data)


def test_refused_connections(stub: StubProcess, wire: TcpStream) -> None:
    assert ask(wire) == IDN
    control(stub.control, do="fault", kind="refuse")
    time.sleep(0.1)
    with pytest.raises(DeviceError):
        ask(wire)
    with pytest.raises(DeviceError, match="refused"):
        TcpStream(stub.address, timeout_s=1.0)
    control(stub.control, do="clear")
    time.sleep(0.1)
    with TcpStream(stub.address, timeout_s=1.0) as again:
        assert ask(again) == IDN


def test_half_open_connections(stub: StubProcess, wire: TcpStream) -> None:
    control(stub.control, do="fault", kind="half_open")
    wire.send(b"*idn?\n")
    with pytest.raises(DeviceTimeout):
        wire.receive(0.2)
    # The kernel still takes connections, as that of a machine does whose program hangs.
    with TcpStream(stub.address, timeout_s=1.0) as another:
        another.send(b"*idn?\n")
        with pytest.raises(DeviceTimeout):
            another.receive(0.1)
    control(stub.control, do="clear")
    assert wire.receive(2.0) == IDN


def test_a_power_cut_lasts_as_long_as_it_was_told(stub: StubProcess, wire: TcpStream) -> None:
    control(stub.control, do="power_cycle", off_s=0.4)
    with pytest.raises(DeviceError):
        ask(wire)
    time.sleep(0.1)
    with pytest.raises(DeviceError, match="refused"):
        TcpStream(stub.address, timeout_s=1.0)
    time.sleep(0.5)
    with TcpStream(stub.address, timeout_s=1.0) as again:
        assert ask(again) == IDN


def test_pieces_keep_their_order(stub: StubProcess, wire: TcpStream) -> None:
    control(stub.control, do="fault", kind="chunks", size=5, late_s=0.002, left=1)
    assert ask(wire) == IDN


def test_faults_wait_for_their_command_and_are_counted(stub: StubProcess, wire: TcpStream) -> None:
    control(stub.control, do="fault", kind="silence", match="SIZE?", left=1)
    assert ask(wire) == IDN
    wire.send(b":oxc:swit:size?\n")
    with pytest.raises(DeviceTimeout):
        wire.receive(0.1)
    assert ask(wire, b":oxc:swit:size?\n", 6) == b"16,16\n"
    assert control(stub.control, do="state")["faults"] == []


def test_a_client_that_never_reads_is_dropped_and_nobody_else(
    stub: StubProcess, wire: TcpStream
) -> None:
    """Ten million answers for a client that reads none would be 490 MB."""
    question = b"*idn?\n" * 5000
    host, port = stub.address.removeprefix("tcp://").split(":")
    with socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.connect((host, int(port)))
        deaf.settimeout(10.0)
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            again_and_again(deaf.sendall, question, 2000)
        assert ask(wire) == IDN


def test_a_line_that_never_ends_eats_no_memory(stub: StubProcess, wire: TcpStream) -> None:
    for _ in range(64):
        wire.send(b"x" * 65536)
    wire.send(b"\n")
    assert ask(wire) == IDN
    assert int(Path(f"/proc/{stub.pid}/statm").read_text().split()[1]) * 4096 < 400e6
    errors = control(stub.control, do="state")["settings"]["errors"]
    assert '-363,"Input buffer overrun"' in errors


def test_more_clients_than_there_may_be(stub: StubProcess) -> None:
    streams = [TcpStream(stub.address, timeout_s=1.0) for _ in range(8)]
    for stream in streams:
        assert ask(stream) == IDN
    with closing(TcpStream(stub.address, timeout_s=1.0)) as ninth, pytest.raises(DeviceError):
        ask(ninth)
    streams.pop().close()
    time.sleep(0.1)
    streams.append(TcpStream(stub.address, timeout_s=1.0))
    assert ask(streams[-1]) == IDN
    for stream in streams:
        stream.close()


def test_control_says_what_is_wrong(stub: StubProcess) -> None:
    for message, said in (
        ({"do": "fault", "kind": "dance"}, "fault 'dance' is unknown; known: silence"),
        ({"do": "fault", "kind": "half", "left": 0}, "left"),
        ({"do": "fault", "kind": "half", "late_s": -1.0}, "late_s"),
        ({"do": "fault", "kind": "chunks", "size": 0}, "fault.size"),
        ({"do": "drift", "step": 0.1}, "no source of light"),
        ({"do": "dance"}, "control message"),
    ):
        answer = control(stub.control, **message)  # type: ignore[arg-type]
        assert answer["ok"] is False
        assert said in answer["error"]


def test_no_descriptor_is_left(stub: StubProcess) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        driver = Polatis(stub.address, timeout_s=0.2)
        control(stub.control, do="fault", kind="silence", left=1)
        with pytest.raises(DeviceTimeout):
            driver.ping()
        driver.ping()
        driver.close()
    assert len(os.listdir("/proc/self/fd")) == before
    time.sleep(0.1)
    assert len(os.listdir(f"/proc/{stub.pid}/fd")) < 40


@pytest.mark.parametrize(
    ("options", "match"),
    [
        (["polatis", "--bind", "0.0.0.0:0"], "--bind 0.0.0.0:0 is not a loopback address"),
        (["websq", "--control", "0.0.0.0:0"], "--control 0.0.0.0:0 is not a loopback"),
        (["id900", "--datalink", "0.0.0.0:0"], "--datalink 0.0.0.0:0 is not a loopback"),
        (["id900", "--bind", "[::]:0"], "is not a loopback address"),
        (["polatis", "--bind", "example.org:0"], "is not a loopback address"),
        (["polatis", "--bind", "127.0.0.1:1,2"], "cannot bind"),
        (["polatis", "--bind", "127.0.0.1:99999"], "cannot bind"),
        (["websq", "--bind", "nowhere"], "cannot bind"),
        (["harp"], "stub 'harp' is unknown; known: "),
    ],
)
def test_bad_options_are_one_line(options: list[str], match: str) -> None:
    with pytest.raises(InputError, match=match.replace("[", r"\[")) as caught:
        stub_command.main(options, standalone_mode=False)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("[switches]\ndance = 1\n", "scenario switches: .*dance"),
        ('[switches]\nidn = "Polatis,N-VST,1,1"\n', "switches.idn must name a size"),
        ('[[event]]\nat_s = 0.0\nmessage = {do = "fault", kind = "x"}\n', "fault 'x' is unknown"),
        ('[[event]]\nat_s = 0.0\nmessage = {do = "skew", step_ps = 1.0}\n', "no source of light"),
    ],
)
def test_bad_scenarios_are_refused_at_the_start(tmp_path: Path, text: str, match: str) -> None:
    scenario = tmp_path / "bad.toml"
    scenario.write_text(text)
    with pytest.raises(InputError, match=match):
        stub_command.main(["polatis", "--scenario", str(scenario)], standalone_mode=False)


def test_elsewhere_only_with_a_warning_and_signals_end_it() -> None:
    command = [sys.executable, "-m", "firmware_stubs", "polatis", "--bind", "0.0.0.0:0"]
    with subprocess.Popen(
        [*command, "--allow-remote"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("polatis tcp://0.0.0.0:")
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=240)
    assert process.returncode == 130
    assert err.startswith("warning: --bind 0.0.0.0:0 can be reached by other machines")
    assert err.count("\n") == 1


def test_events_and_switches_of_a_scenario(tmp_path: Path) -> None:
    scenario = tmp_path / "scenario.toml"
    scenario.write_text(
        '[switches]\nidn = "Polatis,I-OST-24x8-LU1,STUB-{seed},6"\nsettle_s = 0.0\n'
        '[[event]]\nat_s = 0.0\nmessage = {do = "fault", kind = "port_failed", number = 25}\n'
    )
    with StubProcess("polatis", ["--scenario", str(scenario), "--seed", "9"]) as process:
        driver = Polatis(process.address, timeout_s=0.3)
        assert (driver.inputs, driver.outputs) == (24, 8)
        assert driver.identify().serial == "STUB-9"
        assert driver.port_states((25,)) == ("F",)
        # This model has no power monitor: it answers nothing at all.
        with pytest.raises(DeviceTimeout):
            driver.powers_dbm((1,))
        driver.close()


def test_streams_are_opened_by_their_scheme(stub: StubProcess) -> None:
    stream = open_stream(stub.address, 1.0)
    stream.send(b"*idn?\n")
    assert stream.receive(1.0) == IDN
    stream.close()
    stream.close()
    with pytest.raises(DeviceError, match="closed"):
        stream.send(b"x")
    with pytest.raises(InputError, match="instrument address must begin with"):
        open_stream("gopher://x", 1.0)
    with pytest.raises(InputError, match="timeout_s"):
        TcpStream(stub.address, timeout_s=float("nan"))


def test_sending_to_a_peer_that_does_not_read_is_a_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"tcp://127.0.0.1:{listener.getsockname()[1]}"
        with (
            TcpStream(address, timeout_s=0.2) as stream,
            pytest.raises(DeviceTimeout, match="taken"),
        ):
            again_and_again(stream.send, b"x" * 65536, 1000)
