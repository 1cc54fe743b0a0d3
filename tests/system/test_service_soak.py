"""``dpem serve`` at half of what it can do, for a while: memory and open files stay flat, no error.

Half a minute by default; ``make soak`` lasts half an hour. Clients come and go meanwhile, one
without a key among them, and somebody reads the metrics.
"""

import contextlib
import itertools
import json
import os
import random
import sys
import time
import urllib.request
from pathlib import Path
from typing import NamedTuple

import pytest
import zmq
from served import serving

from controller.client import Client
from controller.security.keys import new_keys
from controller.service.chain import read
from quantum.errors import Code, DeviceTimeout, RequestError
from quantum.requests import Ask, Denied, Granted, decode_answer, encode_request

SOAK_S = float(os.environ.get("DPEM_SOAK_S", "30"))
#: The most that is under way at once, and how long the peak is looked for.
WINDOW, PEAK_S = 128, 5.0
#: Answers are forgotten after seconds, so that what is remembered is steady soon.
DEADLINE_S = 2.0
TERMS = "most_s = 3.0\ngrace_s = 1.0\nrate_hz = 1e6\nburst = 100000\nremembered = 1000000"
#: What memory may grow by over a third of the time, after the first third.
GROWTH, GROWTH_MB = 0.05, 8.0
#: A gibibyte of rows, a quarter of one of log, and what comes until either is looked at again.
JOURNAL_MB = 1.4 * 1024.0


class State(NamedTuple):
    """What a process holds."""

    memory_mb: float
    files: int
    journal_mb: float


def state_of(pid: int, folder: Path) -> State:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            memory_mb = float(line.split()[1]) / 1024.0
    files = len(os.listdir(f"/proc/{pid}/fd"))
    size = sum(path.stat().st_size for path in folder.glob("journal.db*"))
    return State(memory_mb, files, size / 1e6)


class Load:
    """Asks over one session, at a rate or as fast as ``WINDOW`` allows; counts the answers.

    ``other`` are answers that should not be.
    """

    def __init__(self, client: Client) -> None:
        self.client, self.under_way, self.granted, self.late = client, 0, 0, 0
        self.other: list[object] = []
        self._number, self._run = itertools.count(), os.urandom(8)
        self._rng = random.Random(1)

    def play(self, seconds: float, rate_hz: float) -> int:
        """Ask for so long, and return how many requests were granted."""
        began_s, sent, before = time.monotonic(), 0, self.granted
        while (past_s := time.monotonic() - began_s) < seconds:
            while sent < past_s * rate_hz and self.under_way < WINDOW:
                self._ask()
                sent += 1
            self._hear(1)
        return self.granted - before

    def finish(self) -> None:
        """Wait for the answers that are still to come."""
        while self.under_way:
            assert self._hear(60_000), f"{self.under_way} requests were never answered"

    def _ask(self) -> None:
        a, b = self._rng.sample("abcd", 2)
        rid = self._run + next(self._number).to_bytes(8, "little")
        deadline_s = self.client.now() + DEADLINE_S
        ask = Ask(rid, self.client.session, a, b, deadline_s, 1, 0.6)
        self.client.socket.send(encode_request(ask))
        self.under_way += 1

    def _hear(self, wait_ms: int) -> bool:
        heard = bool(self.client.socket.poll(wait_ms))
        with contextlib.suppress(zmq.Again):
            while True:
                answer = decode_answer(self.client.socket.recv(zmq.NOBLOCK))
                self.under_way -= 1
                if isinstance(answer, Granted):
                    self.granted += 1
                elif isinstance(answer, Denied) and answer.code is Code.TIMEOUT:
                    # The network had no pair in time: an answer, as when its memories are empty.
                    self.late += 1
                else:
                    self.other.append(answer)
        return heard


def visit(service) -> None:
    """Come and go: with a key, with one that nobody knows, and for the metrics."""
    with service.client() as guest:
        assert guest.request("a", "b", deadline_s=DEADLINE_S).pairs
    with pytest.raises((RequestError, DeviceTimeout)):
        Client(service.address, guest.server_key, new_keys(), hello_s=0.5)
    with urllib.request.urlopen(service.metrics) as page:
        assert b"dpem_ready 1" in page.read()


@pytest.mark.long  # half a minute, or as long as it is told to
@pytest.mark.timeout(4 * SOAK_S + 600.0)
def test_memory_and_files_stay_flat_at_half_the_load(tmp_path):
    states: list[State] = []
    with serving(tmp_path, TERMS, level="info") as service, service.client() as client:
        load = Load(client)
        load.play(PEAK_S, 1e9)  # kernels, caches, and the first connections
        peak_hz = load.play(PEAK_S, 1e9) / PEAK_S
        load.finish()
        until_s = time.monotonic() + SOAK_S
        while time.monotonic() < until_s:
            load.play(1.0, peak_hz / 2.0)
            visit(service)
            states.append(state_of(service.process.pid, tmp_path))
        load.finish()
        assert service.end() == 0
    third = len(states) // 3
    early, late = states[third : 2 * third], states[2 * third :]
    sys.stdout.write(
        f"\n{load.granted} requests in {SOAK_S:g} s at half of {peak_hz:.0f} a second; memory "
        f"{states[0].memory_mb:.0f}, {early[0].memory_mb:.0f}, {late[-1].memory_mb:.0f} MB; files "
        f"{states[0].files}, {early[0].files}, {late[-1].files}; "
        f"journal {early[0].journal_mb:.1f}, {late[-1].journal_mb:.1f} MB; "
        f"{load.late} timed out, {len(load.other)} otherwise\n"
    )
    # Guests on their way out are there for a moment.
    assert max(s.files for s in late) <= max(s.files for s in early) + 4
    before, after = (max(state.memory_mb for state in part) for part in (early, late))
    assert after <= before * (1.0 + GROWTH) + GROWTH_MB
    # The journal is kept for audits up to a gibibyte, and then its oldest rows go.
    assert max(state.journal_mb for state in late) < JOURNAL_MB
    assert load.other == [] and load.late < 0.01 * load.granted
    lines = [json.loads(line) for line in service.log.read_text().splitlines()]
    assert [line for line in lines if line["level"] in ("warning", "error")] == []
    assert sum(1 for _ in read(tmp_path / "journal.db")) > 0  # every link of the chain holds
