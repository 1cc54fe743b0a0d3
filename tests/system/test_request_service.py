"""``dpem serve`` as a process: asked, killed, started again; who may not come is told why."""

import json
import signal
import subprocess
import sys
import time
import urllib.request

import pytest
from hosts6 import by_ipv6
from served import MAIN, serving

from controller.client import Client
from controller.security.checks import check_endpoint
from controller.security.keys import load_pair, new_key, new_keys, revoke_key
from controller.service.checking import check
from controller.service.config import load_config
from quantum.commands.findings import Endpoint
from quantum.errors import Code, DeviceTimeout, RequestError
from quantum.requests import encode_request


@pytest.fixture
def served(tmp_path):
    with serving(tmp_path, "most_s = 300.0") as service:
        yield service


def test_a_service_is_asked_killed_and_asked_again(served):
    rid = bytes(16)
    with served.client() as client:
        first = client.request("a", "d", pairs=2, minimum_fidelity=0.7, deadline_s=120.0, rid=rid)
        with pytest.raises(RequestError) as wrong:
            client.request("a", "nowhere", deadline_s=60.0)
        assert wrong.value.code is Code.CREATE
        served.end(signal.SIGKILL)
        served.start()
        # The same client, in a session that the new service does not know.
        again = client.request("a", "d", pairs=2, minimum_fidelity=0.7, deadline_s=120.0, rid=rid)
        assert again == first and client.terms.epoch == 2
        more = client.request("a", "b", deadline_s=120.0)
        session = client.session
        assert more.pairs[0].sequence > max(pair.sequence for pair in first.pairs)
    shown = served.dpem("request", "a", "c", "--deadline", "120", "--json", "-")
    assert shown.returncode == 0, shown.stderr
    assert json.loads(shown.stdout)["pairs"][0]["id"][:2] == ["a", "c"]
    told = ""
    while "dpem_granted_total 2\n" not in told:  # the page is made once a second
        time.sleep(0.05)
        with urllib.request.urlopen(served.metrics) as answer:
            told = answer.read().decode()
    # A client that waits long for its first answer repeats by itself.
    assert "dpem_repeated_total 0\n" not in told and "dpem_ready 1\n" in told
    refused = served.dpem("request", "a", "a", "--deadline", "120")
    assert refused.returncode == 2 and refused.stderr.count("\n") == 1
    # A key that nobody knows, and a server that is somebody else.
    server, own = load_config(str(served.config)).client_pair()
    with pytest.raises(RequestError, match="does not know this key"):
        Client(served.address, server, new_keys(), hello_s=60.0)
    why = "is the server's key the right one|no service answers"
    with pytest.raises((RequestError, DeviceTimeout), match=why):
        Client(served.address, new_keys().public, own)
    assert served.end() == 0
    proof = check(served.folder / "journal.db", [encode_request(first), encode_request(more)])
    assert (proof.starts, proof.heard) == (2, 2)
    # The log has it all and no secret.
    text = served.log.read_text()
    events = [(line["event"], line["level"]) for line in map(json.loads, text.splitlines())]
    assert events.count(("serving", "info")) == 2 and events[-1] == ("ended", "info")
    answered = [line for line in map(json.loads, text.splitlines()) if line["event"] == "answered"]
    assert answered[0]["rid"] == rid.hex() and answered[0]["client"] == "local"
    assert [line["code"] for line in answered].count("OK") == 3
    kept = load_pair(served.folder / "keys" / "service.key")
    for secret in (own.secret, kept.secret, session.hex(), repr(session)[2:-1]):
        assert secret not in text


def ask_on(client):
    """Ask until there is no answer."""
    while True:
        client.request("a", "b", deadline_s=120.0)


def test_keys_that_change_while_their_sessions_are_open(tmp_path):
    """A role that is lowered, a key that is revoked, the doctor; by IPv6 where there is one."""
    host = "[::1]" if by_ipv6() else "127.0.0.1"
    folder = tmp_path / "keys"
    for name in ("ada", "bob"):
        new_key(folder, name, "request")
    with serving(tmp_path, "most_s = 300.0", host=host) as served:
        keys = {name: folder / f"{name}.key" for name in ("ada", "bob")}
        with served.client(load_pair(keys["ada"])) as ada, served.client() as local:
            bob = served.client(load_pair(keys["bob"]))
            for client in (ada, bob, local):
                client.request("a", "b", deadline_s=120.0)
            # A key that may only look on from now on; its session stood before.
            known = json.loads((folder / "ada.pub").read_text())
            (folder / "ada.new").write_text(json.dumps({**known, "role": "observe"}))
            (folder / "ada.new").replace(folder / "ada.pub")
            with pytest.raises(RequestError, match="key ada has role observe; requests need"):
                ask_on(ada)
            revoke_key(folder, "bob")
            # Over his connection, or because he finds none any more.
            with pytest.raises(RequestError, match=r"bob (was|is admitted)|this key was revoked"):
                ask_on(bob)
            # Once more: there is no connection now on which he could be told.
            with pytest.raises(RequestError, match="does not let us in: this key was revoked"):
                ask_on(bob)
            bob.close()
            assert local.request("a", "b", deadline_s=120.0).pairs
            server = served.address, load_config(str(served.config)).client_pair()[0]
            told = {}
            for name in ("local", "ada", "bob"):
                end = Endpoint(server[0], server_key=server[1], key=folder / f"{name}.key")
                told[name] = list(check_endpoint(end))
            assert [c.status for c in told["local"]] == ["ok", "ok"]
            assert "lets local ask for pairs of" in told["local"][0].detail
            for name, why in (("ada", "key ada has role observe"), ("bob", "revoked")):
                assert [c.status for c in told[name]] == ["fail"] and why in told[name][0].detail
        for pairs, node in (("1" + "0" * 25, "b"), ("1", "\udcff")):
            refused = served.dpem("request", "a", node, "--pairs", pairs)
            assert refused.returncode == 2 and refused.stderr.count("\n") == 1
        assert served.end() == 0
        # A service that cannot be reached everywhere does not say that it serves.
        text = served.config.read_text()
        served.config.write_text(text.replace(f'metrics = "{host}:0"', 'metrics = "9464"'))
        refused = served.dpem("serve")
        assert (refused.returncode, refused.stdout) == (2, "")
        assert refused.stderr == "dpem: metrics must be HOST:PORT, got '9464'\n"


def test_a_worker_that_is_told_to_end_says_what_it_did(tmp_path):
    new_key(tmp_path / "keys", "service", "broker")
    new_key(tmp_path / "keys", "w", "worker")
    (tmp_path / "site.toml").write_text('keys = "keys"\nbackend = "analytic"\n')
    words = ["worker", "--config", str(tmp_path / "site.toml"), "--json", str(tmp_path / "w.json")]
    with subprocess.Popen(
        [sys.executable, "-c", MAIN, *words, "--wait", "600"], stdout=subprocess.PIPE, text=True
    ) as worker:
        assert worker.stdout.readline().startswith("worker w on analytic")
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(60.0) == 0
    assert json.loads((tmp_path / "w.json").read_text())["jobs"] == 0
