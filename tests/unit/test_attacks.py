"""Who means ill, with a key or without: he is refused, and the run goes on as if he were away.

``play`` compares the digest of the run with that of a run without sockets.
"""

import contextlib
import random
import socket as net
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import zmq
from broker_stage import play, setup
from frames import FRAMES, mutate
from gated import PATIENCE_MS, event, stage
from guests import hear

from controller.security import Client, KeyFolder, Keyring, dialled, new_keys
from controller.security.keys import new_key, revoke_key
from controller.security.limits import AGENT
from quantum.egp import VERSION, Beat, Done, Hello, Refuse, Speak, Telemetry, Welcome
from quantum.errors import Code
from quantum.wire import encode

GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x01" + b"CURVE".ljust(20, b"\0") + bytes(32)


def port_of(address):
    return ("127.0.0.1", int(address.rpartition(":")[2]))


def test_a_key_of_another_role_is_refused_by_name():
    def intruder(agent, worker):
        out = []
        for socket in (agent, worker):
            for message in (Hello(VERSION, "worker", "eve"), Done(0, (1,)), Speak(0)):
                socket.send(encode(message))
                out.append(hear(socket, PATIENCE_MS))
        return out

    answers = play(intruder, invited=True, swapped=True)
    assert len(answers) == 6
    for answer, own, needed in zip(answers, "a" * 3 + "w" * 3, "w" * 3 + "a" * 3, strict=True):
        assert isinstance(answer, Refuse) and answer.code is Code.REJECTED
        roles = {"a": "agent", "w": "worker"}
        assert f"key eve has role {roles[own]}; this socket is for role {roles[needed]}" in (
            answer.detail
        )


def test_a_name_that_is_not_the_keys_is_refused():
    def intruder(agents, workers):
        agents.send(encode(Hello(VERSION, "agent", "a", setup()[1].groups[0])))
        workers.send(encode(Hello(VERSION, "worker", "w")))
        return hear(agents, PATIENCE_MS), hear(workers, PATIENCE_MS)

    for answer, name in zip(play(intruder, invited=True), "aw", strict=True):
        assert answer == Refuse(Code.REJECTED, f"this key belongs to eve, not to '{name}'")


def test_a_flood_is_told_to_wait_once_and_others_are_not_kept_waiting():
    frame = encode(Speak(0))

    def intruder(agents, workers, come, over):
        sent, heard = 0, []
        while not over.wait(0.001):
            # The others come when a flood is under way, and was told to wait.
            if come and sent > 1000 and any(m.retry_s > 0.0 for m in heard):
                come = come()
            for socket in (agents, workers):
                with contextlib.suppress(zmq.Again):
                    for _ in range(50):
                        socket.send(frame, zmq.DONTWAIT)
                        sent += 1
                while socket.poll(0):
                    heard.append(hear(socket, 0))
        return sent, heard

    sent, heard = play(intruder, invited=True, during=True)
    busy = [m for m in heard if m.retry_s > 0.0]
    assert sent > 200 and busy
    assert all(m.code is Code.REJECTED and m.detail.startswith("BUSY") for m in busy)
    assert len(heard) < sent / 2 + 200


def test_handshakes_that_do_not_end_are_dropped_and_others_come_in(monkeypatch):
    monkeypatch.setattr("controller.security.sockets._HANDSHAKE_MS", 1000)
    ada = new_keys()
    with stage(Keyring([Client("ada", "request", ada.public)])) as there:
        lines = [net.create_connection(port_of(there.address)) for _ in range(100)]
        for number, line in enumerate(lines):
            line.settimeout(PATIENCE_MS * 1e-3)
            # Some say nothing, some a byte, some all of the greeting and no more.
            line.sendall(GREETING[: (0, 1, 12, 64)[number % 4]])
        client = there.client(ada)
        client.send(b"hello")
        assert there.gate.who(there.heard()[1]).name == "ada"
        for line in lines:
            # The other side ends it: what it said before is read, and then the end.
            with contextlib.suppress(ConnectionResetError):
                while line.recv(4096):
                    pass
            line.close()
        client.send(b"still here")
        assert there.heard()[1].bytes == b"still here"


class Wiretap:
    """A line between a client and a broker that keeps what the client said.

    The bit ``flip`` of what he says, counted from the beginning, is changed on the way.
    """

    def __init__(self, address, flip=-1):
        self._to, self._flip = port_of(address), flip
        self._listener = net.create_server(("127.0.0.1", 0))
        self.address = f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"
        self.heard = b""
        self._threads = [threading.Thread(target=self._serve)]
        self._threads[0].start()

    def _serve(self):
        near, _ = self._listener.accept()
        far = net.create_connection(self._to)
        for ends in ((near, far, True), (far, near, False)):
            self._threads.append(threading.Thread(target=self._pump, args=ends))
            self._threads[-1].start()

    def _pump(self, source, drain, keep):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if keep:
                    before, self.heard = len(self.heard), self.heard + data
                    data = self._spoilt(data, self._flip // 8 - before)
                drain.sendall(data)
        for end in (source, drain):
            with contextlib.suppress(OSError):
                end.shutdown(net.SHUT_RDWR)
            end.close()

    def _spoilt(self, data, at):
        if not 0 <= at < len(data):
            return data
        return data[:at] + bytes([data[at] ^ 1 << self._flip % 8]) + data[at + 1 :]

    @property
    def over(self):
        """Whether both ends have hung up."""
        return len(self._threads) == 3 and not any(t.is_alive() for t in self._threads)

    def close(self):
        self._listener.close()
        for thread in self._threads:
            thread.join()


def test_a_connection_played_again_says_nothing():
    ada = new_keys()
    with stage(Keyring([Client("ada", "request", ada.public)])) as there:
        tap = Wiretap(there.address)
        client = there.client(ada, address=tap.address)
        client.send(b"open the shutter")
        assert there.heard()[1].bytes == b"open the shutter"
        assert len(tap.heard) > 300 and b"shutter" not in tap.heard
        client.get_monitor_socket().close()
        client.close()
        with net.create_connection(port_of(there.address)) as line:
            line.settimeout(PATIENCE_MS * 1e-3)
            line.sendall(tap.heard)
            with contextlib.suppress(ConnectionResetError):
                while line.recv(65536):
                    pass
        assert not there.router.poll(0)
        tap.close()


def test_what_is_changed_on_the_way_says_nothing(monkeypatch):
    """A bit of a handshake or of a message: what was said before it is heard, and no more."""
    monkeypatch.setattr("controller.security.sockets._HANDSHAKE_MS", 500)
    ada, said = new_keys(), [b"message %d" % number for number in range(20)]
    with stage(Keyring([Client("ada", "request", ada.public)])) as there:

        def talk(flip):
            tap = Wiretap(there.address, flip)
            client = dialled(there.guests, zmq.DEALER, there.server.public, ada, max_bytes=4096)
            client.linger = 0
            client.connect(tap.address)
            for message in said:
                client.send(message)
            heard = []
            while len(heard) < len(said) and not (tap.over and not there.router.poll(0)):
                if there.router.poll(5):
                    heard.append(there.heard()[1].bytes)
            client.close()
            tap.close()
            return heard, len(tap.heard)

        whole, length = talk(-1)
        assert whole == said
        draw, spoilt = random.Random(7), 0
        each = 33 + 2 + len(said[0])
        # Not the last messages: of a length that grew, the rest has to come.
        flips = [draw.randrange(8 * (length - 10 * each)) for _ in range(60)]
        for flip in flips:
            heard, _ = talk(flip)
            assert heard == said[: len(heard)]
            spoilt += heard != said
        # Some bits of the greeting stand for nothing.
        assert spoilt > 40


def test_a_message_that_is_too_long_ends_its_connection_only():
    ada, bob = new_keys(), new_keys()
    ring = Keyring(Client(n, "request", k.public) for n, k in (("ada", ada), ("bob", bob)))
    with stage(ring) as there:
        one, two = there.client(ada), there.client(bob)
        for client in (one, two):
            client.send(b"x" * 65536)
            assert len(there.heard()[1].bytes) == 65536
        one.send(b"x" * 65537)
        event(one, zmq.EVENT_DISCONNECTED)
        event(two, zmq.EVENT_HANDSHAKE_SUCCEEDED)
        two.send(b"still here")
        assert there.heard()[1].bytes == b"still here"
        assert not two.get_monitor_socket().poll(0)


def test_mutated_frames_change_nothing(monkeypatch):
    """What is sent to a broker goes through its whole intake, from a key that may speak."""
    plenty = AGENT._replace(rate_hz=1e9, burst=1e9)
    monkeypatch.setattr("controller.broker.AGENT", plenty)
    monkeypatch.setattr("controller.broker.WORKER", plenty)
    draw, frames = random.Random(1), [bytes.fromhex(text) for text in FRAMES.values()]

    def intruder(agents, workers, come, over):
        for number in range(3000):
            if number == 1000:
                come()
            if over.is_set():
                break
            for socket in (agents, workers):
                with contextlib.suppress(zmq.Again):
                    parts = [mutate(draw.choice(frames), draw, frames)]
                    if draw.random() < 0.05:
                        parts *= draw.randrange(2, 5)
                    socket.send_multipart(parts, zmq.DONTWAIT)
                while socket.poll(0):
                    assert isinstance(hear(socket, 0), Refuse)

    play(intruder, invited=True, during=True)


@pytest.mark.parametrize("role", ["observe", "agent"])
def test_telemetry_is_for_observers(role):
    from controller.broker import Broker
    from controller.dispatch import Dispatch
    from quantum.wire import decode

    server, key = new_keys(), new_keys()
    broker = Broker(server, Keyring([Client("ada", role, key.public)]))
    try:
        with zmq.Context() as context, context.socket(zmq.SUB) as client:
            client.linger = 0
            client.curve_serverkey = server.public.encode()
            client.curve_publickey, client.curve_secretkey = (
                key.public.encode(),
                key.secret.encode(),
            )
            client.connect(broker.endpoints.telemetry)
            client.subscribe(b"")
            dispatch = Dispatch(setup()[1], lambda _: None)
            assert broker._publisher.poll(PATIENCE_MS)
            broker._step(dispatch)
            broker._publish(dispatch, lambda _: None)
            if role == "observe":
                assert client.poll(PATIENCE_MS)
                assert isinstance(decode(client.recv()), Telemetry)
            else:
                assert not client.poll(300)
    finally:
        broker.close()


CHILD = """
import sys, time
from pathlib import Path
import zmq
from controller.security import dialled
from controller.security.keys import load_pair
from controller.security.session import join
from quantum.egp import VERSION, Beat, Hello
from quantum.errors import DpemError
from quantum.joining import Patience
from quantum.wire import encode

path, server, address = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
context = zmq.Context()
socket = dialled(context, zmq.DEALER, server, load_pair(path), max_bytes=4096)
session = join(socket, Hello(VERSION, "request", path.stem), address, Patience(60.0, 60.0))
try:
    while True:
        session.step(20)
        session.send(encode(Beat()))
except DpemError as wrong:
    print(wrong, flush=True)
finally:
    session.close()
    context.destroy(linger=0)
"""


def test_a_revoked_process_is_cut_while_it_speaks_and_another_is_not(tmp_path):
    folder = tmp_path / "keys"
    for name in ("ada", "bob"):
        new_key(folder, name, "request")
    with stage(KeyFolder(folder)) as there:
        processes = {
            name: subprocess.Popen(
                [
                    sys.executable,
                    "-c",
                    CHILD,
                    str(folder / f"{name}.key"),
                    there.server.public,
                    there.address,
                ],
                stdout=subprocess.PIPE,
                text=True,
                cwd=Path(__file__).parents[2],
            )
            for name in ("ada", "bob")
        }
        try:
            hellos = {}
            serve(there, hellos, until=lambda: len(hellos) == 2)
            revoke_key(folder, "ada")
            serve(there, hellos, until=lambda: processes["ada"].poll() is not None)
            said = processes["ada"].stdout.read()
            assert "key ada was revoked" in said and "ask its operator for a new one" in said
            heard = serve(there, hellos, until=lambda: True, least=20)
            assert set(heard) == {"bob"}
            # He was not even cut: a lost connection would have greeted again.
            assert hellos == {"ada": 1, "bob": 1}
            assert processes["bob"].poll() is None
        finally:
            for process in processes.values():
                process.kill()
                process.communicate()


def serve(there, hellos, *, until, least=0):
    """Answer hellos until something is so; return who spoke."""
    from quantum.errors import RequestError
    from quantum.wire import decode

    heard = []
    while not until() or len(heard) < least:
        if not there.router.poll(50):
            continue
        identity, frame = there.router.recv_multipart(copy=False)
        with contextlib.suppress(RequestError):
            name = there.gate.who(frame).name
            message = decode(frame.buffer)
            if isinstance(message, Hello):
                hellos[name] = hellos.get(name, 0) + 1
                with contextlib.suppress(zmq.ZMQError):
                    there.router.send_multipart([identity, encode(Welcome(VERSION, 0))])
            else:
                assert isinstance(message, Beat)
                heard.append(name)
    return heard
