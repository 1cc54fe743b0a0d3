"""The doctor asks brokers: keys, ports, clocks, versions; one line each with what to do."""

import contextlib
import json
import socket as net
import threading
import time
from functools import partial

import pytest
import zmq
from click.testing import CliRunner
from gated import stage

from controller.security import KeyFolder
from controller.security import checks as asked
from controller.security.checks import check_endpoint, check_folder, check_port, checks
from controller.security.greeting import check_hello, welcome_to
from controller.security.greeting_probe import mechanism_of
from controller.security.keys import load_public, new_key, revoke_key
from controller.security.limits import REQUEST
from controller.security.session import join
from quantum.commands import doctor
from quantum.commands.doctor import command
from quantum.commands.findings import Endpoint, endpoints_of
from quantum.egp import Refuse
from quantum.errors import Code, InputError, RequestError, WireError
from quantum.joining import Patience
from quantum.wire import decode, encode


@pytest.fixture(autouse=True)
def _patient(monkeypatch):
    """The broker is a thread of this process, and the machine may be slow."""
    monkeypatch.setattr(asked, "join", partial(join, patience=Patience(30.0, 30.0)))
    monkeypatch.setattr(asked, "mechanism_of", partial(mechanism_of, patience_s=20.0))


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A key folder, and a broker with it whose clock is two seconds ahead."""
    folder = tmp_path_factory.mktemp("doctor") / "keys"
    for name, role in (("ada", "operate"), ("old", "observe")):
        new_key(folder, name, role)
    revoke_key(folder, "old")
    over = threading.Event()
    with stage(KeyFolder(folder)) as there:

        def serve():
            while not over.is_set():
                if there.router.poll(20):
                    identity, frame = there.router.recv_multipart(copy=False)
                    try:
                        hello = decode(frame.buffer)
                        check_hello(hello, there.gate.who(frame), "observe")
                        answer = welcome_to(hello, REQUEST, 0, time.time() + there.ahead_s)
                    except (RequestError, WireError) as wrong:
                        answer = Refuse(Code.REJECTED, str(wrong))
                    # Who asked may be gone.
                    with contextlib.suppress(zmq.ZMQError):
                        there.router.send_multipart([identity, encode(answer)])

        there.ahead_s, there.folder = 2.0, folder
        thread = threading.Thread(target=serve)
        thread.start()
        yield there
        over.set()
        thread.join()


def ask(place, **changes):
    given = {
        "address": place.address,
        "server_key": place.server.public,
        "key": place.folder / "ada.key",
    }
    return list(check_endpoint(Endpoint(**(given | changes))))


def test_a_broker_that_is_well_but_for_its_clock(place):
    broker, clock = ask(place)
    assert broker.status == "ok" and "admits ada as observe, version 1" in broker.detail
    assert clock.status == "warn" and "synchronise both clocks" in clock.advice
    assert "the broker's clock is +2" in clock.detail or "the broker's clock is +1" in clock.detail


def test_a_good_clock(place, monkeypatch):
    monkeypatch.setattr(place, "ahead_s", 0.0)
    _, clock = ask(place)
    assert (clock.status, clock.advice) == ("ok", "")


def test_keys_that_do_not_fit(place, tmp_path):
    (wrong,) = ask(place, server_key=load_public(place.folder / "ada.pub").public)
    assert wrong.status == "fail" and "compare it" in wrong.advice
    other = tmp_path / "keys"
    new_key(other, "eve", "observe")
    (stranger,) = ask(place, key=other / "eve.key")
    assert "does not know key eve" in stranger.detail
    assert stranger.advice == "copy eve.pub into its key folder"
    (gone,) = ask(place, key=place.folder / "old.key")
    assert "key old was revoked" in gone.detail and "ask its operator" in gone.advice
    (role,) = ask(place, role="arm")
    assert "key ada has role operate; what it says needs role arm" in role.detail
    (none,) = ask(place, key=tmp_path / "none.key")
    assert none.status == "fail" and "none.key" in none.detail
    (unasked,) = ask(place, key=None)
    assert unasked.status == "warn" and "--key" in unasked.advice


def test_what_cannot_be_reached(place, monkeypatch):
    monkeypatch.setattr(asked, "mechanism_of", mechanism_of)  # the silent are waited for
    with net.create_server(("127.0.0.1", 0)) as silent:
        where = f"tcp://127.0.0.1:{silent.getsockname()[1]}"
        (finding,) = ask(place, address=where)
        assert "does not speak ZeroMQ" in finding.detail and finding.advice == "check the port"
    (finding,) = ask(place, address=where)
    assert finding.detail == "nothing listens there" and "start the broker" in finding.advice
    for bad in ("here", "tcp://host", "ipc:///x", "tcp://host:99999"):
        (finding,) = ask(place, address=bad)
        assert finding.status == "fail" and "is not tcp://HOST:PORT" in finding.detail


def test_ports(place):
    taken = check_port(place.address)
    assert taken.status == "warn" and taken.detail == "the port is in use"
    with net.create_server(("127.0.0.1", 0)) as server:
        free = f"tcp://127.0.0.1:{server.getsockname()[1]}"
    assert check_port(free).status == "ok"
    assert check_port("tcp://203.0.113.1:7411").status == "fail"


def test_folders(tmp_path):
    folder = tmp_path / "keys"
    new_key(folder, "ada", "observe")
    (fine,) = check_folder(folder)
    assert (fine.status, fine.detail) == ("ok", "1 keys, 0 revoked")
    (folder / "ada.key").chmod(0o644)
    (loose,) = check_folder(folder)
    assert loose.status == "fail" and loose.advice == f"chmod 600 {folder / 'ada.key'}"
    folder.chmod(0o755)
    (loose,) = check_folder(folder)
    assert loose.status == "fail" and loose.advice == f"chmod 700 {folder}"
    (missing,) = check_folder(tmp_path / "none")
    assert missing.status == "fail" and missing.advice


def test_the_users_own_keys_are_looked_at_mildly(tmp_path, monkeypatch):
    monkeypatch.setenv("DPEM_STATE", str(tmp_path))
    assert list(checks([])) == []
    new_key(tmp_path / "keys", "ada", "observe")
    (tmp_path / "keys").chmod(0o750)
    (finding,) = checks([])
    assert finding.status == "warn" and "chmod 700" in finding.advice


def test_a_file_names_what_is_to_be_looked_at(place, tmp_path):
    config = tmp_path / "service.toml"
    config.write_text(
        f'address = "{place.address}"\nkey = "ada.key"\nserver_key = "broker.pub"\n'
        '[more]\nlisten = "tcp://127.0.0.1:0"\n[other]\naddress = 3\n'
    )
    one, two = endpoints_of(config)
    assert (one.key, one.server_key) == (tmp_path / "ada.key", str(tmp_path / "broker.pub"))
    assert two.listen == "tcp://127.0.0.1:0"
    for text, line in (
        ("a = 1", "no table has"),
        ("a = ", "Invalid"),
        ('role = "x"\nkeys = ""', "one of"),
    ):
        config.write_text(text)
        with pytest.raises(InputError, match=line):
            endpoints_of(config)


def test_the_keys_of_a_folder_are_used_where_none_are_named(place, tmp_path):
    """As a service keeps them: its own key, and that of its user."""
    folder = tmp_path / "keys"
    new_key(folder, "service", "broker")
    new_key(folder, "local", "request")
    (finding,) = ask(place, keys=folder, server_key="", key=None)
    # Another broker's keys: what was found was used, and did not fit.
    assert "does not have the key of server_key" in finding.detail


def test_the_command(place, monkeypatch, tmp_path):
    monkeypatch.setattr(doctor, "CHECKS", ())
    monkeypatch.setenv("DPEM_STATE", str(tmp_path))
    words = ["--address", place.address, "--server-key", place.server.public]
    key = ["--key", str(place.folder / "ada.key")]
    done = CliRunner().invoke(command, [*words, *key, "--json", "-"])
    found = json.loads(done.stdout)
    assert (done.exit_code, found["ok"], len(found["checks"])) == (0, True, 2)
    done = CliRunner().invoke(command, [*words, "--key", str(place.folder / "old.key")])
    assert done.exit_code == 1 and "revoked" in done.stdout
    done = CliRunner().invoke(command, words[2:])
    assert isinstance(done.exception, InputError) and "--address" in str(done.exception)
