"""``dpem serve`` under load, killed, stopped, and its connections cut and held; then the proof.

The same is done to its workers, to the applications and to their connections. Faults come when the
applications have got some answers since the last one, so that load is there on a machine of any
speed. Afterwards the journal proves that whatever somebody was told is in it, that no request was
carried out twice, that no pair was handed out twice, and that each was executed or has expired,
once.
"""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import asking
import pytest
from bad_line import BadLine
from served import Served, Working, serving

from controller.security.keys import new_key
from controller.service.checking import Proof, check
from quantum.requests import Granted, decode_answer

#: Faults of the long test; a thousand are ``make chaos``.
FAULTS = int(os.environ.get("DPEM_CHAOS_FAULTS", "30"))
KINDS = ("kill", "stop", "cut", "hold", "half open")
WORKER_KINDS = ("kill worker", "stop worker", "cut worker", "hold worker")
AGENT_KINDS = ("kill agent", "stop agent")
APPLICATIONS, WORKERS = 3, 2
#: Longer than any deadline, see ``asking``.
TERMS = "most_s = 3600.0\ngrace_s = 3600.0"


class Application:
    """An application as a process, over a line that can be cut; ``heard`` is what it was told."""

    def __init__(self, service: Served, number: int, seed: int) -> None:
        self.line, self._folder = BadLine(service.address), service.folder
        self._file = service.folder / f"app-{number}.heard"
        self._words = [str(service.config), str(service.folder / "keys" / f"app-{number}.key")]
        self._seed, self._starts = f"{seed} {number}", 0
        self.start()

    def start(self) -> None:
        self._starts += 1
        words = [*self._words, self.line.address, str(self._file), f"{self._seed} {self._starts}"]
        self.process = subprocess.Popen([sys.executable, asking.__file__, *words])

    def heard(self) -> list[bytes]:
        lines = self._file.read_bytes().split(b"\n") if self._file.exists() else [b""]
        return [bytes.fromhex(line.decode()) for line in lines[:-1]]

    def count(self) -> int:
        return self._file.read_bytes().count(b"\n") if self._file.exists() else 0

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        self.line.go_on()
        self.process.terminate()
        try:
            assert self.process.wait(300.0) == 0
        finally:
            self.kill()
            self.line.close()


def pause(process: subprocess.Popen[str] | subprocess.Popen[bytes], rng: random.Random) -> None:
    """Let a process stand still for a moment."""
    process.send_signal(signal.SIGSTOP)
    time.sleep(rng.uniform(0.0, 0.5))
    process.send_signal(signal.SIGCONT)


def agent_fault(kind: str, app: Application, rng: random.Random) -> None:
    """Do one thing to an application that should not be."""
    if kind == "kill agent":
        app.kill()
        app.start()
    else:
        pause(app.process, rng)


def worker_fault(kind: str, worker: Working, rng: random.Random) -> None:
    """Do one thing to a worker that should not be, and undo it where it does not undo itself."""
    if kind == "kill worker":
        worker.end()
        worker.start()
    elif kind == "stop worker":
        pause(worker.process, rng)
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
        pause(service.process, rng)
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
    # Who was killed may have asked again for what he had written down.
    assert proof.granted >= sum(isinstance(decode_answer(frame), Granted) for frame in set(heard))
    assert proof.starts == 1 + kinds.count("kill") + kinds.count("half open")
    assert proof.executed + proof.expired + proof.open == (proof.pairs if workers else 0)
    return proof


def suffer(service: Served, workers: list[Working], kinds: list[str], seed: int) -> list[bytes]:
    """Let applications ask while things go wrong; return what they heard."""
    rng = random.Random(seed)
    applications = [Application(service, number, seed) for number in range(APPLICATIONS)]

    def wait_for_answers(more: int) -> None:
        wanted = [app.count() + more for app in applications]
        while any(app.count() < n for app, n in zip(applications, wanted, strict=True)):
            assert all(app.process.poll() is None for app in applications)
            assert all(worker.process.poll() is None for worker in workers)
            time.sleep(0.005)

    try:
        for kind in kinds:
            wait_for_answers(rng.randint(0, 10))
            if kind in WORKER_KINDS:
                worker_fault(kind, rng.choice(workers), rng)
            elif kind in AGENT_KINDS:
                agent_fault(kind, rng.choice(applications), rng)
            else:
                fault(kind, service, rng.choice(applications).line, rng)
        wait_for_answers(1)
    finally:
        for app in applications:
            app.close()
    assert service.end() == 0
    return [frame for app in applications for frame in app.heard()]


def test_each_fault_once(tmp_path):
    chaos(tmp_path, ["stop", "cut", "kill agent", "hold", "stop agent", "half open"], seed=1)


def test_each_fault_of_workers_once(tmp_path):
    kinds = ["stop worker", "cut worker", "kill worker", "hold worker"]
    proof = chaos(tmp_path, kinds, seed=3, backend="analytic")
    assert proof.executed > 0 and proof.jobs > 0


@pytest.mark.long  # a third of the faults start a service or a worker, which takes seconds
@pytest.mark.timeout(36000)
def test_many_faults(tmp_path):
    rng = random.Random(2)
    kinds = [rng.choice(KINDS + WORKER_KINDS + AGENT_KINDS) for _ in range(FAULTS)]
    proof = chaos(tmp_path, kinds, seed=2, backend="analytic")
    sys.stdout.write(f"{FAULTS} faults: {proof}\n")
