"""Network benchmarking of a program's path on a simulator: sequences, survivals, the fit."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from backends import bouncing
from backends.bouncing import IDEAL_ENDS, Hop, Spam
from backends.contract import Truth
from quantum import bell
from quantum.batch import Batch
from quantum.errors import Code, InputError, RequestError
from quantum.estimation.benchmarking import (
    Sequences,
    average_fidelity,
    check_lengths,
    draw_sequences,
    entanglement_fidelity,
    fit,
)
from quantum.program import Program
from quantum.seeding import generator

__all__ = ["DEFAULT_LENGTHS", "SIMULATORS", "Simulator", "open_simulator", "run"]

Floats = NDArray[np.float64]

#: Without a bounce only preparation and readout are left, which helps to tell them from the link.
DEFAULT_LENGTHS = (0, 1, 2, 4, 8, 16, 32)
SIMULATORS = ("analytic", "aer")

#: Cliffords in memory at once.
_MOST_CLIFFORDS = 20_000_000


class Survival(Protocol):
    """Executes sequences over a route exactly: the chance of the outcome wanted, ``(N,)``."""

    def __call__(self, route: Sequence[Hop], sequences: Sequences, spam: Spam, /) -> Floats: ...


@dataclass(frozen=True)
class Simulator:
    """A way to execute exactly: programs of pairs, and qubits that bounce."""

    name: str
    exact: Callable[[Batch], Truth]
    survival: Survival


def open_simulator(name: str) -> Simulator:
    """Open ``analytic`` or ``aer``."""
    if name == "analytic":
        from backends import analytic

        return Simulator(name, analytic.exact, bouncing.survival)
    if name == "aer":
        from backends.aer import AerBackend
        from backends.aer.bouncing import survival
        from backends.aer.opening import open_path

        pairs, (path, _) = AerBackend(), open_path()
        return Simulator(name, pairs.exact, partial(survival, path))
    raise InputError(f"backend must be {' or '.join(SIMULATORS)}, got {name!r}")


def run(
    program: Program,
    simulator: Simulator,
    *,
    lengths: Sequence[int] = DEFAULT_LENGTHS,
    sequences: int = 100,
    shots: int = 100,
    seed: int = 0,
    spam: Spam = IDEAL_ENDS,
    confidence: float = 0.95,
    progress: Callable[[int], None] = lambda hops: None,
) -> dict[str, Any]:
    """Benchmark the path of a program; the keys are those of ``dpem netbench --json``.

    ``shots`` are those of each of the ``sequences`` of every length; ``progress`` is told how many
    hops were just executed.
    """
    if program.photonic:
        raise RequestError(Code.UNSUPP, "a photonic link cannot hold a qubit, nothing can bounce")
    known = check_lengths(lengths)
    if sequences < 2 or shots < 1:
        raise InputError(f"sequences must be >= 2 and shots >= 1, got {sequences} and {shots}")
    if program.gates.success == 0.0:
        raise InputError("swap.success must be > 0: Bell measurements that fail end a bounce")
    hops = bouncing.hops_of(program, simulator.exact)
    if 2 * len(hops) * known[-1] * sequences > _MOST_CLIFFORDS:
        raise InputError(
            f"lengths must come to at most {_MOST_CLIFFORDS} passages of a link, "
            f"{sequences} sequences of {known[-1]} bounces over {len(hops)} links are more"
        )
    survived = []
    for bounces in known:
        route = bouncing.round_trips(hops, bounces)
        drawn = draw_sequences(seed, bounces, len(route), sequences)
        chance = simulator.survival(route, drawn, spam)
        survived.append(generator(seed, "netbench", "shots", bounces).binomial(shots, chance))
        progress(len(route) * sequences)
    table = np.array(survived, dtype=np.int64)
    found = fit(known, table, shots, confidence=confidence)
    f = bouncing.passage_f(hops)
    means = table.mean(axis=1) / shots
    expected = 0.5 + 0.5 * spam.amplitude * f ** (2.0 * np.array(known))
    one_way = simulator.survival(hops, draw_sequences(seed, "one way", len(hops), sequences), spam)
    seen = generator(seed, "netbench", "shots", "one way").binomial(shots, one_way)
    return {
        "backend": simulator.name,
        "source": "sim",
        "seed": seed,
        "links": len(hops),
        "sequences": sequences,
        "shots": shots,
        "estimate": found,
        "exact": {
            "f": f,
            "average_fidelity": average_fidelity(f),
            "link_fidelity": entanglement_fidelity(f),
            "amplitude": spam.amplitude,
            "pair_fidelity": [_pair_fidelity(hop) for hop in hops],
            "bounce_success_probability": float(program.gates.success) ** (2 * len(hops)),
        },
        "survival": [
            {"bounces": m, "mean": float(mean), "exact": float(right)}
            for m, mean, right in zip(known, means, expected, strict=True)
        ],
        "one_passage_uncorrected": float(seen.mean() / shots),
    }


def _pair_fidelity(hop: Hop) -> float:
    signed = np.diagonal(hop.expectations)[1:] * np.array([1.0, -1.0, 1.0])
    return float(bell.fidelity(bell.populations(signed)))
