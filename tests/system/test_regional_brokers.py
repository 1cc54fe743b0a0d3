"""Brokers of two regions as real processes: killed under load, and on two hosts with a partition.

The second needs root, for network namespaces.
"""

import json
import signal
import subprocess
import sys
import threading
import time

import hosts
import pytest
from regional import Regional

from controller.client import Client
from controller.regions import wire
from controller.regions.config import load_regions
from controller.security.keys import new_keys
from quantum.errors import Code, DpemError, RequestError

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

WAYS = [("n0", "n4"), ("n1", "n3"), ("n4", "n1"), ("n5", "n2"), ("n0", "n2"), ("n3", "n5")]


@pytest.fixture
def regional(tmp_path):
    made = []

    def make(**given):
        made.append(Regional(tmp_path, **given))
        return made[-1]

    yield make
    for one in made:
        one.close()


class Applications(threading.Thread):
    """Ask for pairs one after the other until told to stop; remember what was heard."""

    def __init__(self, regional, way, number):
        super().__init__(daemon=True)
        self.source, self.destination = way
        self.region = load_regions(str(regional.file)).region_of(self.source)
        self._regional, self._number = regional, number
        self.over = threading.Event()
        self.granted, self.denied, self.trouble = {}, [], None

    def run(self):
        try:
            self._ask_all()
        except DpemError as wrong:
            self.trouble = wrong

    def _ask_all(self):
        count = 0
        with self._regional.client(self.region) as client:
            while not self.over.is_set():
                count += 1
                rid = self._number.to_bytes(8, "big") + count.to_bytes(8, "big")
                try:
                    got = client.request(self.source, self.destination, deadline_s=20.0, rid=rid)
                    self.granted[rid] = got
                    # Asked again it is the same.
                    assert (
                        client.request(
                            self.source, self.destination, deadline_s=20.0, rid=rid
                        ).pairs
                        == got.pairs
                    )
                except RequestError as wrong:
                    self.denied.append(wrong)


def test_brokers_killed_under_load_lose_nothing_and_double_nothing(regional):
    one = regional(terms="grace_s = 30.0")
    one.start("east", "west")
    asking = [Applications(one, way, number) for number, way in enumerate(WAYS)]
    for application in asking:
        application.start()

    def served(more):
        """Wait until every way that crosses was served so often again."""
        before = [len(application.granted) for application in asking]
        while any(
            len(application.granted) < count + more
            for application, count in zip(asking, before, strict=True)
        ):
            assert not any(application.trouble for application in asking)
            time.sleep(0.02)

    served(3)
    for name in ("west", "east", "west"):
        one.end(name, signal.SIGKILL)
        one.start(name)
        served(3)
    for application in asking:
        application.over.set()
    for application in asking:
        application.join(60.0)
        assert not application.is_alive() and application.trouble is None
        # While a region was away requests waited; none was refused for good.
        assert all(wrong.code is Code.TIMEOUT for wrong in application.denied)
    for name in ("east", "west"):
        assert one.end(name, signal.SIGTERM) == 0
    proof = one.proof()
    heard = [got for application in asking[:4] for got in application.granted.values()]
    named = [(p.source, p.destination, p.sequence) for got in heard for p in got.pairs]
    assert len(set(named)) == len(named)
    assert proof.granted >= len(heard) >= 4 * 12
    assert proof.pairs >= proof.granted
    audit = subprocess.run(
        one.line("east", "audit", "regions", str(one.folder / "journals"), "--json", "-"),
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(audit.stdout)["granted"] == proof.granted
    sys.stdout.write(f"{proof}\n")


def test_who_has_no_key_and_who_is_no_region_gets_nothing(regional):
    one = regional()
    one.start("east", "west")
    config = load_regions(str(one.file))
    server, _ = config.client_pair("east")
    with pytest.raises(RequestError, match="does not know this key"):
        Client(config.region("east").address, server, new_keys(), hello_s=60.0)
    leg = bytes(range(16))
    with one.client("east") as client:
        # An application that speaks as if it were a region is not heard.
        client.socket.send(wire.encode(wire.Reserve(leg, "n0", "n1", 1, 0.5, 5.0, joined=False)))
        assert client.request("n0", "n1", deadline_s=20.0).pairs
        with pytest.raises(RequestError, match="source n4 is in region west: ask its broker"):
            client.request("n4", "n0", deadline_s=20.0)
    for name in ("east", "west"):
        assert one.end(name, signal.SIGTERM) == 0
    assert one.proof().legs == 0


@pytest.mark.skipif(bool(hosts.why_not()), reason=hosts.why_not() or "there are hosts")
def test_a_partition_between_regions(regional, record_property):
    with hosts.Hosts(["west"], delay_s=0.005, loss=0.01) as made:
        space = made.namespace("west")
        one = regional(
            addresses={"east": f"tcp://{made.address}:7421", "west": "tcp://10.213.0.2:7421"},
            through={"east": hosts.inside(made.hub, []), "west": hosts.inside(space, [])},
            terms="grace_s = 30.0",
        )
        one.start("east", "west")

        def granted(process):
            out, said = process.communicate(timeout=200)
            assert process.returncode == 0, said
            return json.loads(out)["pairs"]

        assert granted(one.request("east", "n0", "n4", "--deadline", "30"))
        assert granted(one.request("west", "n4", "n1", "--deadline", "30"))
        link = made.links["west"]
        link.cut.set()
        # Local requests go on, on both sides of the partition.
        waits = one.request("east", "n1", "n4", "--deadline", "55")
        ends = one.request("west", "n5", "n1", "--deadline", "3")
        assert granted(one.request("east", "n0", "n2", "--deadline", "30"))
        assert granted(one.request("west", "n3", "n5", "--deadline", "30"))
        _, said = ends.communicate(timeout=200)
        assert ends.returncode == 1
        assert said == "dpem: TIMEOUT: the deadline has passed; region east did not answer\n"
        assert waits.poll() is None and link.lost > 0
        link.cut.clear()
        healed_s = time.monotonic()
        assert granted(waits)
        recovery_s = time.monotonic() - healed_s
        record_property("recovery_s", round(recovery_s, 2))
        sys.stdout.write(f"{link.lost} packets lost, served {recovery_s:.2f} s after healing\n")
        for name in ("east", "west"):
            assert one.end(name, signal.SIGTERM) == 0
        proof = one.proof()
        assert proof.granted == 3 and proof.held == 0
        sys.stdout.write(f"{proof}\n")
    assert not hosts.spaces_left()
