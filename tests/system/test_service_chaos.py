"""``dpem serve`` under load, killed, stopped, and its connections cut and held; then the proof.

Faults come when the applications have got some answers since the last one, so that load is there on
a machine of any speed. Afterwards the journal proves that whatever somebody was told is in it, that
no request was carried out twice, and that no pair was handed out twice.
"""

import os
import random
import signal
import threading
import time
from pathlib import Path

import pytest
from bad_line import BadLine
from served import Served, serving

from controller.security.keys import load_pair, new_key
from controller.service.checking import check
from quantum.errors import Code, DeviceTimeout, RequestError
from quantum.requests import encode_request

#: Faults of the long test; a thousand are ``make chaos``.
FAULTS = int(os.environ.get("DPEM_CHAOS_FAULTS", "30"))
KINDS = ("kill", "stop", "cut", "hold", "half open")
APPLICATIONS = 3
#: On a busy machine a service may take a minute to start: nobody's time is over by then, and
#: whoever asks again still gets the answer of before.
TERMS, DEADLINE_S = "most_s = 3600.0\ngrace_s = 3600.0", 3000.0


class Application(threading.Thread):
    """Asks for pairs until it is told to end; never gives a request up, and keeps what it heard."""

    def __init__(self, service: Served, number: int, seed: int) -> None:
        super().__init__(name=f"application {number}", daemon=True)
        self.line, self.over = BadLine(service.address), threading.Event()
        key = load_pair(service.folder / "keys" / f"app-{number}.key")
        self.client = service.client(key, self.line.address)
        self.heard: list[bytes] = []
        self.wrong = ""
        self._rng = random.Random(f"{seed} {number}")

    def run(self) -> None:
        try:
            while not self.over.is_set():
                self._ask()
        except BaseException as wrong:
            self.wrong = f"{type(wrong).__name__}: {wrong}"
            raise

    def _ask(self) -> None:
        rng = self._rng
        a, b = rng.sample("abcd", 2)
        rid, pairs = rng.randbytes(16), rng.randint(1, 2)
        first = self._answer(a, b, rid, pairs)
        self.heard.append(first)
        if rng.random() < 0.3:
            assert self._answer(a, b, rid, pairs) == first

    def _answer(self, a: str, b: str, rid: bytes, pairs: int) -> bytes:
        while True:
            try:
                return encode_request(
                    self.client.request(
                        a, b, rid=rid, pairs=pairs, minimum_fidelity=0.6, deadline_s=DEADLINE_S
                    )
                )
            except DeviceTimeout:
                continue  # nobody was there to open a session with
            except RequestError as wrong:
                # The client says TIMEOUT itself where it was told nothing.
                if wrong.code is not Code.TIMEOUT or "no answer from" not in wrong.detail:
                    raise

    def close(self) -> None:
        self.over.set()
        self.line.go_on()
        self.join()
        self.client.close()
        self.line.close()


def fault(kind: str, service: Served, line: BadLine, rng: random.Random) -> None:
    """Do one thing that should not be, and undo it where it does not undo itself."""
    if kind == "kill":
        service.end(signal.SIGKILL)
        service.start()
    elif kind == "stop":
        service.process.send_signal(signal.SIGSTOP)
        time.sleep(rng.uniform(0.0, 0.5))
        service.process.send_signal(signal.SIGCONT)
    elif kind == "cut":
        line.cut()
    elif kind == "hold":
        line.hold()
        time.sleep(rng.uniform(0.0, 0.5))
        line.go_on()
    else:
        # The service goes away behind a connection that looks as if it were open.
        line.hold()
        service.end(signal.SIGKILL)
        service.start()
        line.cut()


def chaos(folder: Path, kinds: list[str], seed: int) -> None:
    for number in range(APPLICATIONS):
        new_key(folder / "keys", f"app-{number}", "request")
    with serving(folder, TERMS) as service:
        heard = suffer(service, kinds, seed)
    proof = check(folder / "journal.db", heard)
    assert proof.heard == len(heard) and proof.granted >= len(heard)
    assert proof.starts == 1 + kinds.count("kill") + kinds.count("half open")


def suffer(service: Served, kinds: list[str], seed: int) -> list[bytes]:
    """Let applications ask while things go wrong; return what they heard."""
    rng = random.Random(seed)
    applications = [Application(service, number, seed) for number in range(APPLICATIONS)]

    def wait_for_answers(more: int) -> None:
        wanted = [len(app.heard) + more for app in applications]
        while any(len(app.heard) < n for app, n in zip(applications, wanted, strict=True)):
            assert not any(app.wrong for app in applications), [app.wrong for app in applications]
            time.sleep(0.005)

    try:
        for app in applications:
            app.start()
        for kind in kinds:
            wait_for_answers(rng.randint(0, 10))
            fault(kind, service, rng.choice(applications).line, rng)
        wait_for_answers(1)
    finally:
        for app in applications:
            app.close()
    assert service.end() == 0
    return [frame for app in applications for frame in app.heard]


def test_each_fault_once(tmp_path):
    chaos(tmp_path, ["stop", "cut", "hold", "half open"], seed=1)


@pytest.mark.long  # half of the faults start a service, which takes seconds
@pytest.mark.timeout(36000)
def test_many_faults(tmp_path):
    rng = random.Random(2)
    chaos(tmp_path, [rng.choice(KINDS) for _ in range(FAULTS)], seed=2)
