"""The crowd of the wire's bench: every client is heard, also by the raw hop, and nobody twice."""

import os
import time

import controller.wire_crowds as crowds
from controller.wire_bench import _asks, _raw
from quantum.requests import Leave, encode_request


def test_a_crowd_is_answered_by_the_raw_hop(monkeypatch):
    monkeypatch.setattr(crowds, "CLIENTS", 12)
    monkeypatch.setattr(crowds, "EACH", 7)
    with _raw() as (socket, pid, (address, server, own)):
        asked = []
        ask = _asks([("a", "b"), ("b", "c")], os.urandom(12), time.monotonic)
        door = address, server, own, lambda: asked.append(1) or ask()
        figures = crowds.crowds({"raw_": door})
        assert crowds.point(pid).cpu_s > 0.0
        socket.send(encode_request(Leave(b"")))
    assert figures["crowd_clients"] == 12
    assert figures["raw_crowd_answered_share"] == 1.0
    assert figures["raw_crowd_requests_per_s"] > 0.0
    assert len(asked) == crowds.TURNS * 12 * (7 + 1)
