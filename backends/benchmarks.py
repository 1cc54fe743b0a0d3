"""How fast the Aer backend is, next to the naive ways of using Aer, measured in the same run.

Rates are per second of CPU time of this process, medians of several short runs, so that other work
on the machine disturbs them little. Every pair has its own waits: nothing can be cached. The work
includes drawing the waits, 300 shots of each program, and a fidelity with its exact interval.
"""

import resource
import sys
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backends.contract import RANDOM, Backend, Plan
from quantum import bell
from quantum.batch import Batch, Kind, Skeleton
from quantum.estimate import estimate_batch
from quantum.program import Gates, Memory
from quantum.seeding import generator

__all__ = ["aer"]

Floats = NDArray[np.float64]

#: The workload of the reference: Werner 0.96 links, waits up to T1/10, T2 = T1/2, 1 % gate and
#: readout errors, 300 shots for a fidelity with its interval.
_FIDELITY = 0.96
_WEIGHTS = bell.werner(_FIDELITY)
_MEMORY = Memory(t1_s=1.0, t2_s=0.5)
_GATES = Gates(gate_depolarizing=0.01, readout_error=0.01)
_LONGEST_WAIT_S = 0.1
_SHOTS = 300

_LINKS = 5
#: Runs of one and of two processes, one after the other.
_TURNS = 9

#: Programs after which memory must not have grown.
_MANY = 200_000


def aer() -> dict[str, Any]:
    """Measure programs per CPU second, the time of a batch of ten, memory, and two processes."""
    from backends.aer import AerBackend, naive

    rng = generator(0, "benchmark")
    backend = AerBackend()

    def rate(size: int, make: Callable[[int, np.random.Generator], Batch], runs: int) -> float:
        return _rate(lambda: _estimated(backend, make(size, rng), rng), size, runs=runs)

    def reference(ways: Callable[..., Floats], size: int, runs: int) -> float:
        waits = rng.uniform(0.0, _LONGEST_WAIT_S, (size, 2))
        each = _SHOTS // 3
        return _rate(lambda: ways(waits, _FIDELITY, _MEMORY, each, rng), size, runs=runs)

    try:
        pairs, ten = rate(3000, _pairs, 9), 10 / rate(10, _pairs, 401)
        results = {
            "pairs_per_cpu_s": pairs,
            "swaps_per_cpu_s": rate(600, _chains, 7) * (_LINKS - 1),
            "dejmps_per_cpu_s": rate(600, _dejmps, 7),
            "batch10_ms": ten * 1e3,
            "load_pairs_per_cpu_s": rate(3000, _loaded, 5),
            "epl_per_cpu_s": rate(600, _epl, 5),
            "ghz3_per_cpu_s": rate(600, _ghz3, 5),
            "two_process_speedup": _two_process_speedup(rng),
            "memory_growth_kb": _memory_growth_kb(backend, rng),
            "path": backend.path,
        }
    finally:
        backend.close()
    fresh = reference(naive.fresh_simulators, 2, 5)
    shared = reference(naive.shared_simulator, 10, 5)
    return {
        "name": "aer",
        "results": results,
        "reference": {
            "naive_pairs_per_cpu_s": fresh,
            "naive": "new AerSimulator (density matrix, one thread), transpile (level 0) and run "
            "for each circuit, 3 bases x 100 shots, no interval",
            "shared_pairs_per_cpu_s": shared,
            "shared": "the same with one simulator for all and without transpile",
            "two_process_speedup": f"wall time of {_LINKS}-link chains, best of {_TURNS} in turns; "
            "two cores must be idle",
            "memory_growth_kb": f"peak memory after {_MANY} programs less that after a first batch",
        },
        "ratio": {"pairs_vs_naive": pairs / fresh, "pairs_vs_shared": pairs / shared},
    }


def _rate(work: Callable[[], object], size: int, *, runs: int) -> float:
    """Return how many of ``size`` per CPU second, the median of some runs after a first one."""
    work()
    seconds = []
    for _ in range(runs):
        start = time.process_time()
        work()
        seconds.append(time.process_time() - start)
    return size / median(seconds)


def _two_process_speedup(rng: np.random.Generator) -> float:
    """Return by how much two processes are faster than one, in wall time."""
    from backends.aer import AerBackend

    batch = _chains(2400, rng)
    backends = [AerBackend(processes=processes) for processes in (1, 2)]
    best = [float("inf"), float("inf")]
    try:
        # In turns, so that a slow minute of the machine meets both.
        for number in range(_TURNS + 1):
            for each, backend in enumerate(backends):
                start = time.perf_counter()
                _estimated(backend, batch, rng)
                if number > 0:
                    best[each] = min(best[each], time.perf_counter() - start)
    finally:
        for backend in backends:
            backend.close()
    return best[0] / best[1]


def _memory_growth_kb(backend: Backend, rng: np.random.Generator) -> float:
    """Return how much the peak memory grows while many pairs are executed."""
    size = 4000
    _estimated(backend, _pairs(size, rng), rng)
    before = _peak_kb()
    for _ in range(_MANY // size):
        _estimated(backend, _pairs(size, rng), rng)
    return _peak_kb() - before


def _peak_kb() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1024 if sys.platform == "darwin" else float(peak)


def _estimated(backend: Backend, batch: Batch, rng: np.random.Generator) -> tuple[Floats, ...]:
    """Execute 300 shots of each program: fidelities with intervals, (low, best, high) ``(B,)``."""
    size = len(batch)
    plan = Plan(np.full(size, RANDOM), np.full(size, _SHOTS), np.full(size, np.nan))
    return estimate_batch(backend.run(batch, plan, rng).counts)


def _pairs(size: int, rng: np.random.Generator) -> Batch:
    return _batch(size, 1, rng)


def _chains(size: int, rng: np.random.Generator) -> Batch:
    swaps: list[tuple[Kind, int, int]] = [("swap", 0, pair) for pair in range(1, _LINKS)]
    return _batch(size, _LINKS, rng, *swaps)


def _dejmps(size: int, rng: np.random.Generator) -> Batch:
    return _batch(size, 2, rng, ("dejmps", 0, 1))


def _epl(size: int, rng: np.random.Generator) -> Batch:
    return _batch(size, 2, rng, ("epl", 0, 1), origin="load")


def _ghz3(size: int, rng: np.random.Generator) -> Batch:
    return _batch(size, 2, rng, ("merge_last", 0, 1))


def _loaded(size: int, rng: np.random.Generator) -> Batch:
    return _batch(size, 1, rng, origin="load")


def _batch(
    size: int,
    pairs: int,
    rng: np.random.Generator,
    *steps: tuple[Kind, int, int],
    origin: Kind = "generate",
) -> Batch:
    """Draw programs of pairs of which every qubit waits on its own, then further steps."""
    enter: list[tuple[Kind, int, int]] = []
    for pair in range(pairs):
        enter += [(origin, pair, -1), ("wait", pair, -1)]
    skeleton: Skeleton = (*enter, *steps)
    waits = rng.uniform(0.0, _LONGEST_WAIT_S, (size, pairs, 2))
    if origin == "generate":
        weights = np.empty((size, pairs, 4))
        weights[:] = _WEIGHTS
        return Batch(skeleton, weights, waits, _MEMORY, _GATES)
    # As of a single-click link: (1-a) phi_plus + a |10>, which is not Bell-diagonal.
    a = 1.0 - _FIDELITY
    tensor = np.diag([1.0, 1.0 - a, a - 1.0, 1.0 - 2.0 * a])
    tensor[3, 0], tensor[0, 3] = -a, a
    states = np.broadcast_to(tensor, (size, pairs, 4, 4))
    return Batch(skeleton, np.empty((size, 0, 4)), waits, _MEMORY, _GATES, states)
