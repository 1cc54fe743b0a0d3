"""How fast the Aer backend is, next to the naive way of using Aer, measured in the same run.

Rates are per second of CPU time of this process, medians of several short runs, so that other work
on the machine disturbs them little. Every pair has its own waits: nothing can be cached.
"""

import time
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backends.contract import RANDOM, Backend, Plan
from quantum import bell
from quantum.batch import Batch, Kind, Skeleton
from quantum.program import Gates, Memory
from quantum.seeding import generator

__all__ = ["aer", "naive_pairs"]

Floats = NDArray[np.float64]

#: The workload of the reference: Werner 0.96 links, waits up to T1/10, T2 = T1/2, 1 % gate and
#: readout errors, 300 shots for a fidelity with its standard error.
_FIDELITY = 0.96
_MEMORY = Memory(t1_s=1.0, t2_s=0.5)
_GATES = Gates(gate_depolarizing=0.01, readout_error=0.01)
_LONGEST_WAIT_S = 0.1
_SHOTS = 300

_LINKS = 5


def aer() -> dict[str, Any]:
    """Measure pairs, swaps and distillations per CPU second and the time of a batch of ten."""
    from backends.aer import AerBackend

    backend = AerBackend()
    rng = generator(0, "benchmark")
    try:
        pairs = _rate(lambda: _estimated(backend, _chains(3000, 1, rng), rng), 3000, runs=9)
        chains = _rate(lambda: _estimated(backend, _chains(600, _LINKS, rng), rng), 600, runs=7)
        dejmps = _rate(lambda: _estimated(backend, _dejmps(600, rng), rng), 600, runs=7)
        ten = 10 / _rate(lambda: _estimated(backend, _chains(10, 1, rng), rng), 10, runs=201)
    finally:
        backend.close()
    naive = _rate(lambda: naive_pairs(2, rng), 2, runs=3)
    return {
        "name": "aer",
        "results": {
            "pairs_per_cpu_s": pairs,
            "swaps_per_cpu_s": chains * (_LINKS - 1),
            "dejmps_per_cpu_s": dejmps,
            "batch10_ms": ten * 1e3,
            "path": backend.path,
        },
        "reference": {
            "naive_pairs_per_cpu_s": naive,
            "naive": "new AerSimulator, transpile (level 0) and run (one thread) per circuit, "
            "3 bases x 100 shots",
        },
        "ratio": {"pairs_vs_naive": pairs / naive},
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


def _estimated(backend: Backend, batch: Batch, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Execute 300 shots of each program: fidelities and standard errors, ``(B,)`` each."""
    size = len(batch)
    plan = Plan(np.full(size, RANDOM), np.full(size, _SHOTS), np.full(size, np.nan))
    share = backend.run(batch, plan, rng).counts[:, :, 0].sum(axis=1) / _SHOTS
    return (3.0 * share - 1.0) / 2.0, 1.5 * np.sqrt(share * (1.0 - share) / _SHOTS)


def _chains(size: int, links: int, rng: np.random.Generator) -> Batch:
    """Draw chains (one link is a pair) of which every qubit waits on its own."""
    made: list[tuple[Kind, int, int]] = []
    for pair in range(links):
        made += [("generate", pair, -1), ("wait", pair, -1)]
    made += [("swap", 0, pair) for pair in range(1, links)]
    return _batch(tuple(made), size, links, rng)


def _dejmps(size: int, rng: np.random.Generator) -> Batch:
    made: list[tuple[Kind, int, int]] = []
    for pair in range(2):
        made += [("generate", pair, -1), ("wait", pair, -1)]
    return _batch((*made, ("dejmps", 0, 1)), size, 2, rng)


def _batch(skeleton: Skeleton, size: int, pairs: int, rng: np.random.Generator) -> Batch:
    waits = rng.uniform(0.0, _LONGEST_WAIT_S, (size, pairs, 2))
    return Batch(skeleton, bell.werner(np.full((size, pairs), _FIDELITY)), waits, _MEMORY, _GATES)


def naive_pairs(size: int, rng: np.random.Generator) -> Floats:
    """Estimate pair fidelities as a tutorial would: a circuit and a simulator for each basis.

    Transpiling at level 0 and one thread are the cheapest settings, in favour of the reference.
    """
    from qiskit import QuantumCircuit, transpile
    from qiskit_aer import AerSimulator
    from qiskit_aer.noise import pauli_error, thermal_relaxation_error

    rest = (1.0 - _FIDELITY) / 3.0
    source = pauli_error([("I", _FIDELITY), ("X", rest), ("Y", rest), ("Z", rest)])
    shots = _SHOTS // 3
    out = np.empty(size)
    for pair in range(size):
        left_s, right_s = rng.uniform(0.0, _LONGEST_WAIT_S, 2).tolist()
        total = 1.0
        for basis in bell.BASES:
            circuit = QuantumCircuit(2, 2)
            circuit.h(0)
            circuit.cx(0, 1)
            circuit.append(source, [1])
            for qubit, seconds in ((0, left_s), (1, right_s)):
                relax = thermal_relaxation_error(_MEMORY.t1_s, _MEMORY.t2_s, seconds)
                circuit.append(relax, [qubit])
                if basis == "yy":
                    circuit.sdg(qubit)
                if basis != "zz":
                    circuit.h(qubit)
            circuit.measure([0, 1], [0, 1])
            simulator = AerSimulator(
                seed_simulator=int(rng.integers(2**31)), max_parallel_threads=1
            )
            ready = transpile(circuit, simulator, optimization_level=0)
            result = simulator.run(ready, shots=shots).result()
            counts = result.get_counts()
            even = sum(counts.get(key, 0) for key in ("00", "11"))
            signed = 2.0 * even / shots - 1.0
            total += -signed if basis == "yy" else signed
        out[pair] = total / 4.0
    return out
