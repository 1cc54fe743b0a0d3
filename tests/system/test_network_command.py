"""``dpem network`` and a service as processes: changed while it runs, killed, and started again."""

import contextlib
import json
import signal
import threading
import time
import urllib.request

import pytest
from click.testing import CliRunner
from served import serving

from controller.client_network import Operator
from controller.commands.audit import command as audit
from controller.security.keys import load_pair, new_key
from controller.service.checking import check
from controller.service.config import load_config
from quantum.alterations import Fail, Join, NewLink, Part
from quantum.errors import Code, RequestError
from quantum.requests import encode_request

STATE = (0.97, 0.01, 0.01, 0.01)
NODE = Join("e", 40.0, 60.0, 16, 0.0, 0.0, (NewLink("d", 2.0, STATE), NewLink("a", 2.0, STATE)))


@contextlib.contextmanager
def operating(served, key="ops"):
    server, _ = load_config(str(served.config)).client_pair()
    pair = load_pair(served.folder / "keys" / f"{key}.key")
    with Operator(served.address, server, pair, hello_s=60.0) as operator:
        yield operator


def test_a_network_that_is_changed_stands_after_a_kill(tmp_path):
    for name, role in (("ops", "operate"), ("eye", "observe")):
        new_key(tmp_path / "keys", name, role)
    rid, why = b"r" * 16, list[RequestError]()
    with serving(tmp_path, 'most_s = 300.0\npace = "wall"') as served:
        with operating(served) as operator, served.client() as client:
            assert operator.stands(wait_s=60.0).change == 0
            first = operator.change((NODE,), wait_s=60.0, rid=rid)
            served.end(signal.SIGKILL)
            served.start()
            said = served.process.stdout.readline()
            assert said == "the network is that of the journal: 1 change; joined e\n"
            # The same operator, in a session that the new service does not know.
            assert operator.change((NODE,), wait_s=60.0, rid=rid) == first
            assert operator.terms.epoch == 2
            before = client.request("b", "e", pairs=2, deadline_s=120.0)
            operator.change((Fail("b", "c"), Fail("a", "b")), wait_s=60.0)

            def wait():
                """Ask for what cannot come: b is cut off, and its node leaves."""
                with served.client() as other, pytest.raises(RequestError) as wrong:
                    other.request("b", "d", deadline_s=250.0, pairs=64)
                why.append(wrong.value)

            thread = threading.Thread(target=wait)
            thread.start()
            while waiting(served) == 0 and thread.is_alive():
                time.sleep(0.02)
            done = operator.change((Part("b"),), wait_s=60.0)
            thread.join(60.0)
            assert done.denied == 1 == len(why)
            assert (why[0].code, why[0].detail) == (Code.NORES, "node b has left the network")
            with pytest.raises(RequestError, match="source 'b' has left network"):
                client.request("b", "e", deadline_s=60.0)
            while not operator.stands(wait_s=60.0).planned:
                time.sleep(0.02)
            after = client.request("a", "c", deadline_s=120.0)
            assert after.pairs[0].sequence > before.pairs[-1].sequence
            stands = operator.stands(wait_s=60.0)
            assert [node.name for node in stands.nodes] == ["a", "c", "d", "e"]
            assert {(link.a, link.b) for link in stands.links} == {
                ("a", "e"),
                ("c", "d"),
                ("d", "e"),
            }
        eye = ("--key", str(tmp_path / "keys" / "eye.key"))
        shown = served.dpem("network", "list", "--json", "-", "--quiet", *eye)
        assert shown.returncode == 0, shown.stderr
        told = json.loads(shown.stdout)
        assert (told["changes"], len(told["nodes"]), len(told["links"])) == (3, 4, 3)
        refused = served.dpem("network", "fail", "c", "d", *eye)
        assert refused.returncode == 1 and refused.stdout == ""
        assert refused.stderr == (
            "dpem: REJECTED: key eye has role observe; changing the network needs role operate\n"
        )
        # The only key of role operate in the folder.
        kept = tmp_path / "kept.json"
        words = ("network", "leave", "c", "--keep", str(kept), "--wait", "120")
        assert served.dpem(*words).stdout == "change 4 is made: 3 nodes, 2 links, 0 down\n"
        # Once more: it is refused, and the file still says what had left.
        assert "there is no node 'c'" in served.dpem(*words).stderr
        words = ("network", "join", "--file", str(kept), "--wait", "120", "--json", "-")
        assert json.loads(served.dpem(*words).stdout)["links"] == 3
        assert served.end() == 0
        events = [json.loads(line) for line in served.log.read_text().splitlines()]
    changed = [line for line in events if line["event"] == "network changed"]
    assert [line["change"] for line in changed] == [1, 2, 3, 4, 5]
    assert changed[2]["steps"] == ["leave b"] and changed[2]["client"] == "ops"
    frames = [encode_request(answer) for answer in (first, before, after, done)]
    proof = check(tmp_path / "journal.db", frames)
    assert (proof.starts, proof.changes, proof.heard) == (2, 5, 4)
    shown = CliRunner().invoke(audit, ["check", str(tmp_path / "journal.db")])
    assert shown.exit_code == 0 and "5 changes of the network" in shown.output


def waiting(served):
    """Return how many requests wait, as metrics tell it, once a second."""
    with urllib.request.urlopen(served.metrics) as answer:
        lines = dict(line.rsplit(" ", 1) for line in answer.read().decode().splitlines())
    return int(lines["dpem_waiting"])
