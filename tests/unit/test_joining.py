"""Why a client is not let in: one line within about a second, for each thing that may be wrong."""

import contextlib
import http.server
import socket as net
import threading
import time

import pytest
import zmq
from gated import stage

from controller.security import Client, Gate, KeyFolder, Keyring, bound, dialled, new_keys
from controller.security.greeting import check_hello, welcome_to
from controller.security.keys import load_pair, new_key, revoke_key
from controller.security.limits import REQUEST
from controller.security.session import join
from quantum.egp import FEATURES, VERSION, Hello, Refuse, Welcome
from quantum.errors import Code, InputError, RequestError, WireError
from quantum.joining import Joining, Patience
from quantum.wire import decode, encode

HELLO = Hello(VERSION, "observe", "ada")


@pytest.fixture(scope="module")
def ada():
    return new_keys()


@pytest.fixture(scope="module")
def door(ada):
    """A broker that answers hellos, and nothing else."""
    old = new_keys()
    ring = Keyring([Client("ada", "observe", ada.public)], {old.public: "old"})
    with stage(ring) as there:
        there.old, there.over = old, threading.Event()

        def serve():
            while not there.over.is_set():
                if there.router.poll(20):
                    identity, frame = there.router.recv_multipart(copy=False)
                    # Who asked may be gone.
                    with contextlib.suppress(zmq.ZMQError):
                        there.router.send_multipart([identity, encode(there.answer(frame))])

        def answer(frame):
            try:
                hello = decode(frame.buffer)
                check_hello(hello, there.gate.who(frame), "observe")
                return welcome_to(hello, REQUEST, 0, time.time() + 5.0)
            except WireError as wrong:
                return Refuse(Code.CREATE, str(wrong))
            except RequestError as wrong:
                return Refuse(wrong.code, wrong.detail)

        there.answer = answer
        thread = threading.Thread(target=serve)
        thread.start()
        yield there
        there.over.set()
        thread.join()


def come(address, server_key, pair, hello=HELLO, patience_s=30.0):
    """Join, and return what came of it; patience is for slow machines, and for the silent."""
    with zmq.Context() as context:
        socket = dialled(context, zmq.DEALER, server_key, pair, max_bytes=REQUEST.max_bytes)
        try:
            patience = Patience(connect_s=patience_s, welcome_s=patience_s)
            session = join(socket, hello, address, patience)
            session.close()
            return session.joining
        finally:
            socket.close()


def test_who_is_welcome_is_told_what_he_may_do(door, ada):
    joined = come(door.address, door.server.public, ada)
    welcome = joined.welcome
    assert (welcome.v, welcome.features, welcome.credits) == (VERSION, FEATURES, REQUEST.credits)
    assert (welcome.max_bytes, welcome.rate_hz) == (65536, REQUEST.rate_hz)
    assert joined.offset_s == pytest.approx(5.0, abs=joined.doubt_s)


@pytest.mark.parametrize(
    ("who", "line"),
    [
        ("stranger", "does not know key ada: copy ada.pub into its key folder"),
        ("old", "key ada was revoked at the broker at .*: ask its operator for a new one"),
    ],
)
def test_a_key_that_is_not_admitted(door, who, line):
    pair = door.old if who == "old" else new_keys()
    with pytest.raises(InputError, match=line):
        come(door.address, door.server.public, pair)


def test_a_wrong_server_key(door, ada):
    with pytest.raises(InputError, match="does not have the key of server_key: compare it"):
        come(door.address, new_keys().public, ada)
    with pytest.raises(InputError, match="server_key must be the public key of the broker"):
        come(door.address, "short", ada)


@pytest.mark.parametrize(
    ("hello", "line"),
    [
        (Hello(VERSION - 1, "observe", "ada"), "version 0 is not .*update dpem at the client"),
        (Hello(VERSION + 1, "observe", "ada"), "version 2 is not .*update dpem at the broker"),
        (Hello(VERSION, "observe", "bob"), "this key belongs to ada, not to 'bob'"),
        (Hello(VERSION, "arm", "ada"), "key ada has role observe; what it says needs role arm"),
        (Hello(VERSION, "agent", "ada"), "key ada has role observe; .* needs role agent"),
    ],
)
def test_a_hello_that_is_refused(door, ada, hello, line):
    with pytest.raises(InputError, match=line):
        come(door.address, door.server.public, ada, hello)


def test_a_broker_of_another_version(door, ada, monkeypatch):
    monkeypatch.setattr(door, "answer", lambda _: Welcome(VERSION - 1, 0))
    with pytest.raises(InputError, match="speaks version 0, this is version 1: update dpem at the"):
        come(door.address, door.server.public, ada)


def test_a_port_where_nobody_listens(ada):
    with net.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(InputError, match=r"nothing listens at .*: start the broker, or check"):
        come(f"tcp://127.0.0.1:{port}", new_keys().public, ada, patience_s=5.0)


def test_a_port_of_something_silent(ada):
    with (
        net.create_server(("127.0.0.1", 0)) as silent,
        pytest.raises(InputError, match="does not speak ZeroMQ: check the port"),
    ):
        come(f"tcp://127.0.0.1:{silent.getsockname()[1]}", new_keys().public, ada, patience_s=3.0)


def test_a_port_of_a_web_server(ada):
    class Quiet(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            with pytest.raises(InputError, match="check the port"):
                come(
                    f"tcp://127.0.0.1:{server.server_port}", new_keys().public, ada, patience_s=5.0
                )
        finally:
            server.shutdown()
            thread.join()


def test_a_port_of_zeromq_without_keys(ada):
    with zmq.Context() as context, context.socket(zmq.ROUTER) as plain:
        port = plain.bind_to_random_port("tcp://127.0.0.1")
        # Who hangs up first, and so which line it is, is up to the two sides.
        with pytest.raises(
            InputError, match=r"(is no broker of DPEM|have the key).*check the port"
        ):
            come(f"tcp://127.0.0.1:{port}", new_keys().public, ada)


@pytest.mark.parametrize(
    "address",
    [
        *("here", "tcp://127.0.0.1", "tcp://127.0.0.1:", "tcp://127.0.0.1:65536", "tcp://:7411"),
        # libzmq would take the first digits for the port.
        *("tcp://127.0.0.1:74l1", "tcp://::1:7411", "ipc://x:1", "tcp://127.0.0.1:1 "),
    ],
)
def test_an_address_that_is_none(ada, address):
    with pytest.raises(InputError, match="it must be tcp://HOST:PORT"):
        come(address, new_keys().public, ada)
    with zmq.Context() as context:
        gate = Gate(context, Keyring())
        try:
            with pytest.raises(InputError, match="it must be tcp://HOST:PORT"):
                bound(context, zmq.ROUTER, address, new_keys(), gate, REQUEST)
        finally:
            gate.close()


def test_who_is_revoked_while_connected_learns_it(tmp_path):
    folder = tmp_path / "keys"
    new_key(folder, "ada", "observe")
    with stage(KeyFolder(folder)) as there, zmq.Context() as context:
        pair = load_pair(folder / "ada.key")
        socket = dialled(context, zmq.DEALER, there.server.public, pair, max_bytes=4096)
        done = threading.Event()

        def serve():
            identity, frame = there.router.recv_multipart(copy=False)
            there.gate.who(frame)
            there.router.send_multipart([identity, encode(Welcome(VERSION, 0))])
            done.set()

        thread = threading.Thread(target=serve)
        thread.start()
        session = join(socket, HELLO, there.address, Patience(30.0, 30.0))
        try:
            thread.join()
            revoke_key(folder, "ada")
            with pytest.raises(InputError, match="key ada was revoked"):
                list(session.messages())
        finally:
            session.close()


# The state machine by itself, with times of our own.


def joining(**patience):
    return Joining(HELLO, "tcp://h:1", now_s=0.0, patience=Patience(**patience))


def test_a_hello_is_due_after_each_handshake_and_after_a_silence():
    way = joining(again_s=10.0)
    assert way.greets(0.0, 0.0) is None
    way.event("HANDSHAKE_SUCCEEDED", 0, 1.0)
    assert way.greets(1.0, 77.0).sent_s == 77.0
    assert way.greets(1.1, 0.0) is None
    way.hear(Welcome(VERSION, 0), 2.0, 0.0)
    assert way.greets(11.5, 0.0) is None
    assert way.greets(12.0, 0.0) is not None
    way.event("DISCONNECTED", 9, 13.0)
    assert way.greets(60.0, 0.0) is None
    way.wait(1e6)  # whoever was in waits for as long as it takes
    way.event("HANDSHAKE_SUCCEEDED", 0, 61.0)
    way.hear(Welcome(VERSION, 0), 61.0, 0.0)  # of the lost connection
    assert way.greets(61.0, 0.0) is not None


def test_a_run_that_is_gone_does_not_come_back():
    way = joining(lost_s=60.0)
    way.event("HANDSHAKE_SUCCEEDED", 0, 0.0)
    way.hear(Welcome(VERSION, 0), 1.0, 0.0)
    way.wait(1e6)
    way.event("DISCONNECTED", 9, 1e6)
    way.wait(1e6 + 59.0)
    way.event("HANDSHAKE_SUCCEEDED", 0, 1e6 + 59.5)
    way.wait(2e6)  # it was only away
    way.event("DISCONNECTED", 9, 2e6)
    with pytest.raises(InputError, match="gone for 60 s: the run is over"):
        way.wait(2e6 + 61.0)


def test_a_busy_broker_is_asked_again_when_it_said():
    way = joining(again_s=10.0)
    way.event("HANDSHAKE_SUCCEEDED", 0, 0.0)
    way.greets(0.0, 0.0)
    way.hear(Refuse(Code.REJECTED, "BUSY", retry_s=3.0), 1.0, 0.0)
    assert way.greets(3.9, 0.0) is None
    assert way.greets(4.0, 0.0) is not None


@pytest.mark.parametrize(
    ("events", "line"),
    [
        ([], "does not answer: check the host and the firewalls"),
        (["CLOSED"], "nothing listens"),
        (["CONNECTED"], "does not speak ZeroMQ"),
        (["CONNECTED", "HANDSHAKE_FAILED_NO_DETAIL"], "does not have the key"),
        (["CONNECTED", "HANDSHAKE_SUCCEEDED"], "admits this key but does not answer"),
    ],
)
def test_patience_ends(events, line):
    way = joining(connect_s=1.0, welcome_s=1.0)
    for name in events:
        way.event(name, 0, 0.1)
    way.wait(0.9)
    with pytest.raises(InputError, match=line):
        way.wait(1.2)
