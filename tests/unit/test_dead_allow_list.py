"""Whose allow list has died admits nobody, and is noticed: the list is opened again.

libzmq asks nobody for a key once no one answers ZAP, unless a socket enforces its domain. Here the
thread that answers dies of the first key that it is asked about, as by a mistake in its code.
"""

import contextlib
import signal
import socket as net
import subprocess
import sys
import threading
import time
from pathlib import Path

import msgspec
import numpy as np
import pytest
import zmq
from broker_stage import play
from gated import PATIENCE_MS, event
from guests import ring_of
from one_link_rack import one_link
from service_stage import desk_on

from backends.rack import StubProcess
from backends.supervisor import keys as rack
from backends.supervisor.allow_list import AllowList
from backends.supervisor.guard import SIGNAL
from backends.supervisor.process import Supervisor, SupervisorConfig
from backends.supervisor.wire import bound
from controller.broker import Broker
from controller.client import Client as ServiceClient
from controller.pulse import PulseConfig
from controller.qkd.pairs import Bench
from controller.security import Client, Gate, Keyring, new_keys
from controller.service.journal import Journal
from controller.service.loop import Loop
from controller.service.terms import Terms
from quantum.egp import Beat, Pulse
from quantum.errors import DpemError
from quantum.program import Generate, Program
from quantum.wire import decode, encode

ROOT = Path(__file__).parents[2]
IN, OUT = zmq.EVENT_HANDSHAKE_SUCCEEDED, zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL


@pytest.fixture(autouse=True)
def _impatient_doors(monkeypatch):
    """Whose question died with the thread is dropped and comes again; sooner than in seconds."""
    for where in ("controller.security.sockets", "backends.supervisor.wire"):
        monkeypatch.setattr(f"{where}._HANDSHAKE_MS", 1000)


@contextlib.contextmanager
def guest(address, server, pair):
    """Come to a door with a key, and say something; again and again while it is shut."""
    context = zmq.Context()
    try:
        wire = context.socket(zmq.DEALER)
        wire.curve_serverkey = server.encode()
        wire.curve_publickey, wire.curve_secretkey = pair.public.encode(), pair.secret.encode()
        wire.get_monitor_socket()
        wire.connect(address)
        wire.send(b"let me in")
        yield wire
    finally:
        context.destroy(linger=0)


def deadly(kind, monkeypatch, times=1):
    """Let the thread of a gate or a list die of its first questions; returns how often it did."""
    right, deaths = kind._answer, []

    def answer(self, frames):
        if len(deaths) < times:
            deaths.append(threading.current_thread())
            raise RuntimeError("a mistake")
        return right(self, frames)

    monkeypatch.setattr(kind, "_answer", answer)
    return deaths


def nobody_comes_in(socket, address, server, *pairs):
    for pair in pairs:
        with guest(address, server, pair) as wire:
            assert event(wire, IN, OUT)[0] == OUT
            # It comes again by itself, and is turned away again.
            assert event(wire, IN, OUT)[0] == OUT
        assert not socket.poll(0)


def comes_in(socket, address, server, pair):
    with guest(address, server, pair) as wire:
        assert event(wire, IN)[0] == IN
        assert socket.poll(PATIENCE_MS)
        assert socket.recv_multipart()[-1] == b"let me in"


def test_a_broker_whose_gate_died_hears_nobody_until_it_is_opened_again(monkeypatch):
    server, invited = new_keys(), new_keys()
    broker = Broker(server, ring_of([invited]))
    doors = (
        (broker._agents.socket, broker.endpoints.agents),
        (broker._workers.socket, broker.endpoints.workers),
    )
    try:
        deadly(Gate, monkeypatch)
        for socket, address in doors:
            nobody_comes_in(socket, address, server.public, invited, new_keys())
        assert not broker._gate._thread.is_alive()
        (line,) = broker._gate.news()
        assert "opened again: RuntimeError: a mistake" in line
        for socket, address in doors:
            comes_in(socket, address, server.public, invited)
    finally:
        broker.close()


def test_a_run_goes_on_when_its_gate_has_died(monkeypatch, capfd):
    deaths = deadly(Gate, monkeypatch)
    play(lambda *_: None, invited=False)
    assert len(deaths) == 1 and "opened again" in capfd.readouterr().err


def test_a_service_opens_its_gate_again(monkeypatch, tmp_path):
    server, ada = new_keys(), new_keys()
    ring = Keyring([Client("ada", "request", ada.public)])
    journal = Journal(tmp_path / "j.db")
    loop = Loop(desk_on(journal, Terms(), ring=ring), "tcp://127.0.0.1:0", server, ring)
    over, told = threading.Event(), []
    thread = threading.Thread(target=loop.run, args=(over.is_set,), kwargs={"tell": told.append})
    deaths = deadly(Gate, monkeypatch)
    thread.start()
    try:
        with ServiceClient(loop.address, server.public, ada, hello_s=60.0) as client:
            assert client.terms.network
    finally:
        over.set()
        thread.join(30.0)
        loop.close()
        journal.close()
    assert len(deaths) == 1 and "opened again" in told[0]


def test_a_bench_of_pairs_opens_its_gate_again(monkeypatch, capfd):
    pair = Program((Generate(0, (1.0, 0.0, 0.0, 0.0)),))
    deaths = deadly(Gate, monkeypatch)
    with Bench("analytic", workers=1, seed=1) as bench:
        assert bench.errors(pair, np.array([0, 1]), np.array([0.5, 0.5])).tolist() == [0, 0]
    assert len(deaths) == 1 and "opened again" in capfd.readouterr().err


_PULSE = """
from controller.pulse import main
from controller.security import Gate
from controller.security import sockets
right, deaths, sockets._HANDSHAKE_MS = Gate._answer, [], 1000
def answer(self, frames):
    if not deaths:
        deaths.append(1)
        raise RuntimeError("a mistake")
    return right(self, frames)
Gate._answer = answer
main()
"""


def test_the_process_of_pulses_opens_its_gate_again():
    server, worker = new_keys(), new_keys()
    config = PulseConfig(
        public=server.public,
        secret=server.secret,
        agents={},
        workers={worker.public: "worker-0"},
        silence_s=60.0,
    )
    with subprocess.Popen(
        [sys.executable, "-c", _PULSE], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        process.stdin.write(msgspec.json.encode(config) + b"\n")
        process.stdin.flush()
        address = process.stdout.readline().strip().decode()
        with guest(address, server.public, worker) as wire:
            event(wire, IN)
            wire.send(encode(Beat()))
            assert wire.poll(PATIENCE_MS)
            assert isinstance(decode(wire.recv()), Pulse)
        process.stdin.close()
        assert process.wait(30.0) == 0


def test_a_supervisor_whose_list_died_hears_nobody_until_it_is_opened_again(tmp_path, monkeypatch):
    pair, invited = rack.new_key(tmp_path / "server.key"), new_keys()
    with zmq.Context() as context:
        allow = AllowList(context, {invited.public})
        socket, address = bound(context, pair)
        try:
            deadly(AllowList, monkeypatch)
            nobody_comes_in(socket, address, pair.public, invited, new_keys())
            assert "opened again: RuntimeError: a mistake" in allow.look()
            assert allow.look() == ""
            comes_in(socket, address, pair.public, invited)
            with guest(address, pair.public, new_keys()) as stranger:
                failed = zmq.EVENT_HANDSHAKE_FAILED_AUTH
                assert event(stranger, IN, failed) == (failed, 400)
        finally:
            allow.close()
            socket.close(linger=0)


_RACK = one_link("r")


@contextlib.contextmanager
def supervised(folder):
    """A supervisor in this process, with a rack of one stub; nobody steps its loops but us."""
    (folder / "rack.toml").write_text(_RACK)
    (folder / "place").mkdir()
    ours, theirs = net.socketpair()
    heard = signal.getsignal(SIGNAL)
    with ours, StubProcess("id900", []) as stub:
        supervisor = Supervisor(
            SupervisorConfig(
                rack=str(folder / "rack.toml"),
                mode="sim",
                place=str(folder / "place"),
                guardian_fd=theirs.detach(),
                stubs={"tagger": stub.address},
            )
        )
        try:
            yield supervisor
        finally:
            signal.signal(SIGNAL, heard)
            while supervisor._breaker.busy:
                time.sleep(0.01)
            supervisor.rig.close()
            supervisor._notes.close()
            supervisor._commands.close()
            supervisor._context.destroy(linger=0)
            supervisor._pipe.end.close()


def test_a_supervisor_whose_list_dies_again_and_again_is_tripped(tmp_path, monkeypatch):
    monkeypatch.setenv("DPEM_STATE", str(tmp_path / "state"))
    with supervised(tmp_path) as supervisor:
        deadly(AllowList, monkeypatch, times=1_000_000)
        with guest(supervisor._commands.address, supervisor._pair.public, new_keys()):
            for _ in range(4):
                assert not supervisor._desk.latched
                supervisor._allow._thread.join(PATIENCE_MS * 1e-3)
                supervisor._tick(0.0)
        assert "the allow list died often" in supervisor._desk.latched
        with pytest.raises(DpemError, match="nobody is let in"):
            supervisor._allow.look()
    log = (tmp_path / "place" / "audit.jsonl").read_text()
    assert log.count("the allow list was opened again: RuntimeError: a mistake") == 3


def test_every_socket_with_a_domain_enforces_it() -> None:
    found = 0
    for room in ("controller", "backends", "firmware_stubs", "quantum"):
        for path in sorted((ROOT / room).rglob("*.py")):
            text = path.read_text(encoding="utf-8")
            domains = text.count(".zap_domain")
            assert domains == text.count("zmq.ZAP_ENFORCE_DOMAIN"), path
            found += domains
    assert found >= 2
