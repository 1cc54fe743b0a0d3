"""The gate on real sockets: who comes in, who spoke, who is cut."""

import socket as net

import pytest
import zmq
from gated import PATIENCE_MS, event, stage

from controller.security import Client, Gate, KeyFolder, Keyring, new_keys
from controller.security.cutting import cut
from controller.security.keys import load_pair, new_key, revoke_key
from quantum.errors import DpemError, RequestError


def ring_of(**pairs):
    return Keyring(Client(name, "request", pair.public) for name, pair in pairs.items())


def test_a_frame_is_attributed_by_its_key_whatever_its_routing_id():
    ada, bob = new_keys(), new_keys()
    with stage(ring_of(ada=ada, bob=bob)) as there:
        for name, pair in (("ada", ada), ("bob", bob)):
            client = there.client(pair)
            client.send(b"I am ada")
            _, frame = there.heard()
            assert there.gate.who(frame) == Client(name, "request", pair.public)


def test_strangers_and_revoked_keys_are_told_apart_at_the_door():
    ada, eve, old = new_keys(), new_keys(), new_keys()
    ring = Keyring([Client("ada", "request", ada.public)], {old.public: "old"})
    with stage(ring) as there:
        failed = zmq.EVENT_HANDSHAKE_FAILED_AUTH
        assert event(there.client(eve), failed) == (failed, 400)
        assert event(there.client(old), failed) == (failed, 500)
        event(there.client(ada), zmq.EVENT_HANDSHAKE_SUCCEEDED)


def test_nobody_comes_in_while_the_gate_is_dead_and_it_is_opened_again(monkeypatch):
    ada = new_keys()
    with stage(ring_of(ada=ada)) as there:
        inside = there.client(ada)
        inside.send(b"before")
        there.heard()
        monkeypatch.setattr(there.gate, "_answer", None)
        there.client(ada)  # kills it
        there.gate._thread.join(10.0)
        late = there.client(ada)
        late.send(b"let me in")
        event(late, zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL)
        inside.send(b"still here")
        assert there.heard()[1].bytes == b"still here"
        assert not there.router.poll(0)
        monkeypatch.undo()
        (line,) = there.gate.news()
        assert "opened again" in line and "TypeError" in line
        assert there.heard()[1].bytes == b"let me in"


def test_a_gate_that_dies_again_and_again_ends_the_broker(monkeypatch):
    with stage(Keyring()) as there:
        monkeypatch.setattr(Gate, "look", None)
        monkeypatch.setattr("controller.security.gate._LOOK_MS", 1)
        for _ in range(3):
            there.gate._thread.join(10.0)
            there.gate.news()
        there.gate._thread.join(10.0)
        with pytest.raises(DpemError, match="again and again"):
            there.gate.news()


def test_revoking_a_key_cuts_its_connections_and_no_others(tmp_path):
    folder = tmp_path / "keys"
    for name in ("ada", "bob"):
        new_key(folder, name, "request")
    pairs = {name: load_pair(folder / f"{name}.key") for name in ("ada", "bob")}
    with stage(KeyFolder(folder)) as there:
        ada, bob = (there.client(pair) for pair in pairs.values())
        quiet = there.client(pairs["bob"])
        event(quiet, zmq.EVENT_HANDSHAKE_SUCCEEDED)
        for client in (ada, bob):
            client.send(b"hello")
            there.gate.who(there.heard()[1])
        event(bob, zmq.EVENT_HANDSHAKE_SUCCEEDED)
        revoke_key(folder, "bob")
        # The gate's own thread notices; nobody calls it.
        for client in (bob, quiet):
            event(client, zmq.EVENT_DISCONNECTED)
            failed = zmq.EVENT_HANDSHAKE_FAILED_AUTH
            assert event(client, failed) == (failed, 500)
        assert "key bob is admitted no longer" in there.gate.news()
        event(ada, zmq.EVENT_HANDSHAKE_SUCCEEDED)
        ada.send(b"still here")
        assert there.gate.who(there.heard()[1]).name == "ada"
        while ada.get_monitor_socket().poll(0):
            raise AssertionError("ada's connection saw something")


def test_what_a_revoked_key_said_before_it_was_cut_is_refused():
    ada = new_keys()
    with stage(ring_of(ada=ada)) as there:
        client = there.client(ada)
        client.send(b"one")
        client.send(b"two")
        there.gate.who(there.heard()[1])
        there.gate.use(Keyring([], {ada.public: "ada"}))
        with pytest.raises(RequestError, match="key ada was revoked; ask the operator"):
            there.gate.who(there.heard()[1])


def test_a_subscriber_is_known_and_cut_too():
    ada = new_keys()
    with stage(ring_of(ada=ada)) as there:
        publisher, address = there.bind(zmq.XPUB)
        client = there.client(ada, zmq.SUB, address)
        client.subscribe(b"")
        assert publisher.poll(PATIENCE_MS)
        assert there.gate.who(publisher.recv(copy=False)).name == "ada"
        there.gate.use(Keyring([], {ada.public: "ada"}))
        event(client, zmq.EVENT_DISCONNECTED)


def test_a_new_key_in_the_folder_is_admitted(tmp_path):
    folder = tmp_path / "keys"
    new_key(folder, "ada", "request")
    with stage(KeyFolder(folder)) as there:
        new_key(folder, "bob", "observe")
        client = there.client(load_pair(folder / "bob.key"))
        while (
            event(client, zmq.EVENT_HANDSHAKE_SUCCEEDED, zmq.EVENT_HANDSHAKE_FAILED_AUTH)[0]
            != zmq.EVENT_HANDSHAKE_SUCCEEDED
        ):
            client = there.client(load_pair(folder / "bob.key"))
        client.send(b"hello")
        assert there.gate.who(there.heard()[1])[:2] == ("bob", "observe")


def test_a_folder_that_others_may_enter_admits_nobody_new(tmp_path):
    folder = tmp_path / "keys"
    new_key(folder, "ada", "request")
    pair = load_pair(folder / "ada.key")
    with stage(KeyFolder(folder)) as there:
        client = there.client(pair)
        client.send(b"hello")
        there.gate.who(there.heard()[1])
        folder.chmod(0o755)
        there.gate.look()
        assert there.gate.admit(pair.public) == 300
        (line,) = there.gate.news()
        assert "nobody new is admitted" in line and "chmod 700" in line
        client.send(b"still here")
        assert there.gate.who(there.heard()[1]).name == "ada"
        folder.chmod(0o700)
        there.gate.look()
        assert there.gate.admit(pair.public) == 200


def test_only_connections_of_our_ports_are_cut(tmp_path):
    with (
        net.create_server(("127.0.0.1", 0)) as listener,
        net.create_connection(listener.getsockname()) as client,
        listener.accept()[0] as accepted,
        (tmp_path / "file").open("w") as file,
    ):
        port = listener.getsockname()[1]
        speaker = {accepted.fileno(): "k", file.fileno(): "k", listener.fileno(): "k"}
        assert cut({port + 1}, speaker, {"k"}) == 0
        assert cut({port}, speaker, {"other"}, silent=False) == 0
        accepted.send(b"x")
        assert client.recv(1) == b"x"
        assert cut({port}, speaker, {"k"}) == 1
        assert client.recv(1) == b""
        file.write("still open")
