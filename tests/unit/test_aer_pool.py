"""Batches of the Aer backend in worker processes: the same bits, clear failures, nothing left."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from backends.aer import AerBackend, backend
from backends.contract import RANDOM, Plan
from quantum.batch import Batch
from quantum.errors import DeviceError, InputError
from quantum.program import Gates, Memory
from quantum.seeding import generator

SIZE = 40


def chains(size=SIZE):
    rng = generator(3, "pool-test")
    steps = [("generate", 0, -1), ("generate", 1, -1), ("wait", 0, -1), ("wait", 1, -1)]
    steps += [("swap", 0, 1), ("wait", 0, -1)]
    weights, waits = rng.dirichlet([9, 1, 1, 1], (size, 2)), rng.uniform(0, 0.5, (size, 3, 2))
    return Batch(tuple(steps), weights, waits, Memory(1.0, 0.7), Gates(0.9, 0.05, 0.01))


@pytest.fixture(scope="module")
def workers():
    opened = AerBackend(processes=2)
    yield opened
    opened.close()


@pytest.fixture(autouse=True)
def _everything_is_worth_sending(monkeypatch):
    monkeypatch.setattr(backend, "_WORTH_SENDING_S", 0.0)


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_results_do_not_depend_on_the_number_of_processes(workers):
    batch = chains()
    plan = Plan(np.full(SIZE, RANDOM), np.full(SIZE, 200), np.full(SIZE, np.nan))
    several = workers.run(batch, plan, generator(1, "test"))
    assert len(workers._pool.pids) == 2
    alone = AerBackend().run(batch, plan, generator(1, "test"))
    assert np.array_equal(several.counts, alone.counts)
    assert np.array_equal(several.truth.populations, alone.truth.populations)
    assert np.array_equal(several.truth.success, alone.truth.success)


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_small_batches_leave_nobody_waiting(workers, size):
    batch = chains().part(0, size)
    assert np.array_equal(workers.exact(batch).populations, AerBackend().exact(batch).populations)


def test_a_killed_worker_is_an_error_and_the_next_batch_starts_anew(workers):
    workers.exact(chains())
    first = workers._pool.pids
    os.kill(first[0], signal.SIGKILL)
    with pytest.raises(DeviceError, match="-9"):
        workers.exact(chains())
    assert workers._pool.pids == []
    assert not any(alive(pid) for pid in first)
    assert len(workers.exact(chains()).success) == SIZE


def test_a_failure_inside_a_worker_is_the_same_failure_here(workers):
    batch = chains()
    batch.populations[7] = np.nan
    distilled = (*batch.skeleton[:4], ("dejmps", 0, 1))
    wrong = Batch(distilled, batch.populations, batch.waits_s[:, :2], batch.memory, batch.gates)
    for opened in (workers, AerBackend()):
        with pytest.raises(RuntimeError, match="numbers that are none"):
            opened.exact(wrong)
    assert len(workers.exact(chains()).success) == SIZE


def test_workers_start_late_and_end_with_close(monkeypatch):
    monkeypatch.setattr(backend, "_WORTH_SENDING_S", 1e-3)
    opened = AerBackend(processes=2)
    opened.exact(chains(2))
    assert opened._pool.pids == []
    opened.exact(chains(60))
    pids = opened._pool.pids
    assert all(alive(pid) for pid in pids)
    opened.close()
    opened.close()
    assert not any(alive(pid) for pid in pids)


@pytest.mark.parametrize("processes", [0, -1, 257])
def test_impossible_numbers_of_processes_are_refused(processes):
    with pytest.raises(InputError, match="processes"):
        AerBackend(processes=processes)


SCRIPT = """
import os, signal, sys
sys.path.insert(0, {folder!r})
import test_aer_pool
from backends.aer import AerBackend, backend
if __name__ == "__main__":
    backend._WORTH_SENDING_S = 0.0
    opened = AerBackend(processes=2)
    opened.exact(test_aer_pool.chains())
    print(*opened._pool.pids, flush=True)
    {end}
"""


@pytest.mark.parametrize(
    "end", ["pass", "raise ValueError('wrong')", "os.kill(os.getpid(), signal.SIGKILL)"]
)
def test_no_worker_outlives_its_parent(tmp_path, end):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(folder=os.path.dirname(__file__), end=end))
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=240, check=False
    )
    pids = [int(pid) for pid in done.stdout.split()]
    assert len(pids) == 2, done.stderr
    for _ in range(200):
        if not any(alive(pid) for pid in pids):
            return
        time.sleep(0.05)
    pytest.fail("workers were left running")
