"""The page for Prometheus, asked for over real connections, and by those who mean ill."""

import contextlib
import socket as net
import threading
import urllib.request
from http.client import HTTPException
from urllib.error import HTTPError, URLError

import pytest
from hosts6 import by_ipv6

from controller.service.metrics import Metrics, page
from controller.service.terms import Counts
from quantum.errors import InputError

COUNTS = Counts(*range(1, 19))


@pytest.fixture
def metrics():
    served = Metrics("127.0.0.1:0")
    yield served
    served.close()


def values(text):
    """Read the page as Prometheus does: what it says of each name."""
    out, kinds = {}, {}
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            kinds[name] = kind
        elif not line.startswith("# HELP "):
            name, value = line.split(" ")
            assert name in kinds and (kinds[name] == "counter") == name.endswith("_total")
            assert name not in out
            out[name] = float(value)
    return out


def asked(metrics):
    """Ask until there is an answer: on a slow machine we may be dropped for slowness ourselves."""
    for _ in range(100):
        with (
            contextlib.suppress(ConnectionError, HTTPException, URLError),
            urllib.request.urlopen(metrics.address) as answer,
        ):
            assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
            return values(answer.read().decode())
    raise AssertionError("nobody answers")


def test_every_count_is_on_the_page_by_its_kind():
    told = values(page(COUNTS, ready=False))
    assert sorted(told.values()) == [0.0, *map(float, range(1, 19))]
    assert told["dpem_granted_total"] == 1.0 and told["dpem_waiting"] == 8.0
    assert told["dpem_ready"] == 0.0


def test_the_page_is_what_was_shown_last(metrics):
    assert metrics.due()
    metrics.show(COUNTS, ready=True)
    assert asked(metrics)["dpem_pairs_total"] == 2.0
    metrics.show(COUNTS._replace(pairs=77), ready=True)
    assert asked(metrics)["dpem_pairs_total"] == 77.0
    with pytest.raises(HTTPError, match="404") as wrong:
        urllib.request.urlopen(metrics.address.replace("metrics", "etc"))
    wrong.value.close()


@pytest.mark.parametrize("said", [b"", b"GET /met", bytes(70_000)])
def test_whoever_does_not_finish_his_question_is_dropped(metrics, said):
    metrics.show(COUNTS, ready=True)
    port = int(metrics.address.split(":")[2].partition("/")[0])
    with net.create_connection(("127.0.0.1", port)) as line:
        with contextlib.suppress(ConnectionError):
            line.sendall(said)
        assert asked(metrics)["dpem_pairs_total"] == 2.0


def test_whoever_deals_his_question_out_slowly_is_dropped_too(metrics, monkeypatch):
    monkeypatch.setattr("controller.service.scrapes.PATIENCE_S", 0.3)
    metrics.show(COUNTS, ready=True)
    over = threading.Event()

    def deal():
        port = int(metrics.address.split(":")[2].partition("/")[0])
        with net.create_connection(("127.0.0.1", port)) as line, contextlib.suppress(OSError):
            while not over.wait(0.05):
                line.sendall(b"G")

    thread = threading.Thread(target=deal)
    thread.start()
    try:
        assert asked(metrics)["dpem_pairs_total"] == 2.0
    finally:
        over.set()
        thread.join()


def test_many_who_say_nothing_keep_nobody_waiting(metrics, monkeypatch):
    """None of them is dropped for his slowness, so each of many would have to be waited for."""
    monkeypatch.setattr("controller.service.scrapes.PATIENCE_S", 3600.0)
    metrics.show(COUNTS, ready=True)
    port = int(metrics.address.split(":")[2].partition("/")[0])
    with contextlib.ExitStack() as lines:
        silent = [
            lines.enter_context(net.create_connection(("127.0.0.1", port))) for _ in range(200)
        ]
        for line in silent[::2]:
            with contextlib.suppress(OSError):
                line.sendall(b"GET /met")
        assert asked(metrics)["dpem_pairs_total"] == 2.0
        told = []
        threads = [threading.Thread(target=lambda: told.append(asked(metrics))) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(told) == 20
        # Of those who are too many the oldest were dropped, whatever they had said.
        silent[0].settimeout(30.0)
        with contextlib.suppress(ConnectionError):
            assert silent[0].recv(1) == b""


@pytest.mark.skipif(not by_ipv6(), reason="this machine has no IPv6")
def test_a_page_by_ipv6():
    served = Metrics("[::1]:0")
    try:
        served.show(COUNTS, ready=True)
        assert served.address.startswith("http://[::1]:")
        assert asked(served)["dpem_pairs_total"] == 2.0
    finally:
        served.close()


@pytest.mark.parametrize("where", ["9464", ":9464", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:65536"])
def test_where_it_cannot_listen_is_told(where):
    with pytest.raises(InputError, match="metrics must be HOST:PORT"):
        Metrics(where)


def test_a_port_that_is_taken_is_told(metrics):
    where = metrics.address.removeprefix("http://").removesuffix("/metrics")
    with pytest.raises(InputError, match=f"metrics: cannot listen on {where}: Address already"):
        Metrics(where)
