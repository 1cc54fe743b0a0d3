"""``dpem serve`` under load, killed, stopped, and its connections cut and held; then the proof.

The same is done to its workers and their connections. Faults come when the applications have got
some answers since the last one, so that load is there on a machine of any speed. Afterwards the
journal proves that whatever somebody was told is in it, that no request was carried out twice, that
no pair was handed out twice, and that each was executed or has expired, once.
"""

import contextlib
import os
import random
import signal
import sys
import threading
import time
from pathlib import Path

import pytest
from bad_line import BadLine
from served import Served, Working, serving

from controller.security.keys import load_pair, new_key
from controller.service.checking import Proof, check
from quantum.errors import Code, DeviceTimeout, RequestError
from quantum.requests import Granted, decode_answer, encode_request

#: Faults of the long test; a thousand are ``make chaos``.
FAULTS = int(os.environ.get("DPEM_CHAOS_FAULTS", "30"))
KINDS = ("kill", "stop", "cut", "hold", "half open")
WORKER_KINDS = ("kill worker", "stop worker", "cut worker", "hold worker")
APPLICATIONS, WORKERS = 3, 2
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
        self.expired = 0
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
        for expired in self.client.expired():
            self.expired += len(expired.pairs)
            self.heard.append(encode_request(expired))

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


def worker_fault(kind: str, worker: Working, rng: random.Random) -> None:
    """Do one thing to a worker that should not be, and undo it where it does not undo itself."""
    if kind == "kill worker":
        worker.end()
        worker.start()
    elif kind == "stop worker":
        worker.process.send_signal(signal.SIGSTOP)
        time.sleep(rng.uniform(0.0, 0.5))
        worker.process.send_signal(signal.SIGCONT)
    elif kind == "cut worker":
        worker.line.cut()
    else:
        worker.line.hold()
        time.sleep(rng.uniform(0.0, 0.5))
        worker.line.go_on()


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


def chaos(folder: Path, kinds: list[str], seed: int, *, backend: str = "inline") -> Proof:
    for number in range(APPLICATIONS):
        new_key(folder / "keys", f"app-{number}", "request")
    with serving(folder, TERMS, backend=backend) as service, contextlib.ExitStack() as stack:
        workers = []
        if backend != "inline":
            for number in range(WORKERS):
                workers.append(Working(service, f"worker-{number}"))
                stack.callback(workers[-1].close)
        heard = suffer(service, workers, kinds, seed)
    proof = check(folder / "journal.db", heard)
    assert proof.heard == len(heard)
    assert proof.granted >= sum(isinstance(decode_answer(frame), Granted) for frame in heard)
    assert proof.starts == 1 + kinds.count("kill") + kinds.count("half open")
    assert proof.executed + proof.expired + proof.open == (proof.pairs if workers else 0)
    return proof


def suffer(service: Served, workers: list[Working], kinds: list[str], seed: int) -> list[bytes]:
    """Let applications ask while things go wrong; return what they heard."""
    rng = random.Random(seed)
    applications = [Application(service, number, seed) for number in range(APPLICATIONS)]

    def wait_for_answers(more: int) -> None:
        wanted = [len(app.heard) + more for app in applications]
        while any(len(app.heard) < n for app, n in zip(applications, wanted, strict=True)):
            assert not any(app.wrong for app in applications), [app.wrong for app in applications]
            assert all(worker.process.poll() is None for worker in workers)
            time.sleep(0.005)

    try:
        for app in applications:
            app.start()
        for kind in kinds:
            wait_for_answers(rng.randint(0, 10))
            if kind in WORKER_KINDS:
                worker_fault(kind, rng.choice(workers), rng)
            else:
                fault(kind, service, rng.choice(applications).line, rng)
        wait_for_answers(1)
    finally:
        for app in applications:
            app.close()
    assert service.end() == 0
    return [frame for app in applications for frame in app.heard]


def test_each_fault_once(tmp_path):
    chaos(tmp_path, ["stop", "cut", "hold", "half open"], seed=1)


def test_each_fault_of_workers_once(tmp_path):
    kinds = ["stop worker", "cut worker", "kill worker", "hold worker"]
    proof = chaos(tmp_path, kinds, seed=3, backend="analytic")
    assert proof.executed > 0 and proof.jobs > 0


@pytest.mark.long  # a third of the faults start a service or a worker, which takes seconds
@pytest.mark.timeout(36000)
def test_many_faults(tmp_path):
    rng = random.Random(2)
    kinds = [rng.choice(KINDS + WORKER_KINDS) for _ in range(FAULTS)]
    proof = chaos(tmp_path, kinds, seed=2, backend="analytic")
    sys.stdout.write(f"{FAULTS} faults: {proof}\n")
