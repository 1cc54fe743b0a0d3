"""Systems of registers with closed answers: GHZ states made by merging, whole and decaying."""

import numpy as np
from numpy.typing import NDArray

from backends.conformance.systems import GATES, SKEWED, Step, System, system
from quantum import bell, ghz
from quantum.batch import Kind
from quantum.noise import decay
from quantum.program import End, Gates, Memory

__all__ = ["REGISTERS"]

Floats = NDArray[np.float64]

_SIGNED = bell.correlators(SKEWED)
_DEPHASING = Memory(t2_s=0.7, attempts_1e=40.0)


def _merged(name: str, links: int, at: End, gates: Gates, programs: int = 3) -> System:
    """Merge links one by one into a chain (at the last qubit) or a star (at the first)."""
    fresh = [np.roll(SKEWED, pair, axis=0)[:programs] for pair in range(links)]
    signed = bell.correlators(fresh[0])
    for link in fresh[1:]:
        signed = ghz.merge(signed, bell.correlators(link), gates, at)
    chance = gates.success ** (links - 1)
    steps = _merging(links, at)
    return system(name, steps, signed, chance, fresh=fresh, memory=_DEPHASING, gates=gates)


def _merging(links: int, at: End) -> list[Step]:
    kind: Kind = "merge_first" if at == "first" else "merge_last"
    made: list[Step] = [("generate", pair, -1) for pair in range(links)]
    return [*made, *((kind, 0, pair) for pair in range(1, links))]


def _halves() -> System:
    """Two registers of three meet, after they have dephased."""
    steps: list[Step] = [("generate", pair, -1) for pair in range(4)]
    steps += [("merge_first", 0, 1), ("wait", 0, -1), ("merge_last", 2, 3)]
    steps += [("merge_last", 0, 2), ("wait", 0, -1)]
    one = ghz.merge(_SIGNED, _SIGNED[::-1], GATES, "first")
    one = ghz.wait(one, 0.1, 0.2, _DEPHASING, 3.0, 0.0)
    two = ghz.merge(_SIGNED, _SIGNED, GATES, "last")
    signed = ghz.wait(ghz.merge(one, two, GATES, "last"), 0.05, 0.02, _DEPHASING, 0.0, 2.0)
    return system(
        "ghz of 5 from two halves",
        steps,
        signed,
        GATES.success**3,
        fresh=[SKEWED, SKEWED[::-1], SKEWED, SKEWED],
        waits_s=[(0.1, 0.2), (0.05, 0.02)],
        attempts=[(3.0, 0.0), (0.0, 2.0)],
        memory=_DEPHASING,
    )


def _relaxing(qubits: int) -> System:
    """Let a perfect state relax.

    Of |0...0> every Z stays 1, of |1...1> each becomes 1 - 2 exp(-t/T1); coherences multiply.
    """
    memory = Memory(t1_s=0.5, t2_s=0.4)
    wait = (0.3, 0.1)
    g, c = decay([wait[0], *[wait[1]] * (qubits - 1)], memory)
    signed = [
        c.prod()
        if set(name) <= {"x", "y"}
        else (1.0 + np.prod([2.0 * g[at] - 1.0 for at, z in enumerate(name) if z == "z"])) / 2.0
        for name in ghz.labels(qubits)
    ]
    links = qubits - 1
    return system(
        f"ghz of {qubits} relaxes",
        [*_merging(links, "last"), ("wait", 0, -1)],
        np.array([signed]),
        fresh=[np.eye(4)[:1]] * links,
        waits_s=[wait],
        memory=memory,
        gates=Gates(),
    )


def _dark() -> System:
    dark, never = Gates(success=0.0), np.zeros((3, 7))
    steps, fresh = _merging(2, "last"), [SKEWED, SKEWED]
    return system("dark: merge without success", steps, never, 0.0, fresh=fresh, gates=dark)


#: All systems of registers, simplest first.
REGISTERS: tuple[System, ...] = (
    _merged("ghz of 3, ideal", 2, "last", Gates()),
    _merged("ghz of 3", 2, "last", GATES),
    _merged("ghz of 5, a chain", 4, "last", GATES),
    _merged("ghz of 5, a star", 4, "first", GATES),
    _merged("ghz of 8", 7, "last", GATES, programs=1),
    _halves(),
    _relaxing(3),
    _relaxing(5),
    _dark(),
)
