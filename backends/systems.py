"""Systems with closed answers, for judging backends: what to ask and what must come out."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quantum import bell, werner
from quantum.batch import Batch, Kind, Skeleton
from quantum.program import Gates, Memory, Protocol

__all__ = ["SYSTEMS", "System"]

Floats = NDArray[np.float64]
Step = tuple[Kind, int, int]
Formula = Callable[[Floats, Floats, Gates], tuple[Floats, Floats]]

_FIDELITIES = np.array([0.55, 0.8, 0.97])
_SKEWED = np.array([[0.8, 0.1, 0.07, 0.03], [0.6, 0.05, 0.05, 0.3], [0.9, 0.0, 0.1, 0.0]])
_MEMORY = Memory(t1_s=1.0, t2_s=0.7)
_GATES = Gates(success=0.9, gate_depolarizing=0.03, readout_error=0.02)


_PROTOCOLS: dict[Protocol, Formula] = {"dejmps": werner.dejmps, "bbpssw": werner.bbpssw}


@dataclass(frozen=True, eq=False)
class System:
    """A batch, and the populations ``(B, 4)`` and success ``(B,)`` that must come out."""

    name: str
    batch: Batch
    populations: Floats
    success: Floats


def _system(
    name: str,
    skeleton: Skeleton,
    fresh: list[Floats],
    signed: Floats,
    success: Floats | float = 1.0,
    waits_s: list[tuple[float, float]] | None = None,
    memory: Memory = _MEMORY,
    gates: Gates = _GATES,
) -> System:
    size = len(fresh[0])
    waits = np.array(waits_s or []).reshape(1, -1, 2)
    batch = Batch(skeleton, np.stack(fresh, axis=1), np.repeat(waits, size, axis=0), memory, gates)
    chance = np.broadcast_to(np.asarray(success, dtype=np.float64), (size,))
    return System(name, batch, bell.populations(signed), chance)


def _generate(count: int) -> list[Step]:
    return [("generate", pair, -1) for pair in range(count)]


def _pairs() -> list[System]:
    one: Skeleton = (("generate", 0, -1),)
    waiting: Skeleton = (("generate", 0, -1), ("wait", 0, -1))
    out = [_system("fresh pair", one, [_SKEWED], bell.correlators(_SKEWED))]
    for name, memory in (
        ("dephasing", Memory(t2_s=0.5)),
        ("relaxation", Memory(t1_s=0.5, t2_s=1.0)),
        ("both", _MEMORY),
    ):
        decayed = werner.wait(bell.correlators(_SKEWED), 0.3, 0.1, memory)
        out.append(
            _system(f"decay by {name}", waiting, [_SKEWED], decayed, 1.0, [(0.3, 0.1)], memory)
        )
    # Long after T1 both qubits are in |0>: zz certain, xx and yy even.
    ground = np.tile([0.0, 0.0, 1.0], (3, 1))
    out.append(_system("dark: decayed pair", waiting, [_SKEWED], ground, 1.0, [(1e6, 1e6)]))
    return out


def _chains() -> list[System]:
    out = []
    fresh = bell.werner(_FIDELITIES)
    for links in range(1, 6):
        steps: list[Step] = []
        for pair in range(links):
            steps += [("generate", pair, -1), ("wait", pair, -1)]
        steps += [("swap", 0, pair) for pair in range(1, links)]
        waits = [(0.02 * pair, 0.05) for pair in range(links)]
        signed = werner.wait(bell.correlators(fresh), *waits[0], _MEMORY)
        for wait in waits[1:]:
            link = werner.wait(bell.correlators(fresh), *wait, _MEMORY)
            signed = werner.swap(signed, link, _GATES)
        out.append(
            _system(
                f"chain of {links}",
                tuple(steps),
                [fresh] * links,
                signed,
                _GATES.success ** (links - 1),
                waits,
            )
        )
    dark = Gates(success=0.0)
    joined: Skeleton = (("generate", 0, -1), ("generate", 1, -1), ("swap", 0, 1))
    never = np.zeros((3, 3))
    out.append(_system("dark: swap without success", joined, [fresh] * 2, never, 0.0, gates=dark))
    mixing = Gates(gate_depolarizing=1.0)
    out.append(_system("dark: swap that mixes", joined, [fresh] * 2, never, 1.0, gates=mixing))
    return out


def _distillations() -> list[System]:
    out = []
    signed = bell.correlators(_SKEWED)
    once: Skeleton
    for gates, label in ((Gates(), "ideal"), (_GATES, "noisy")):
        for protocol, formula in _PROTOCOLS.items():
            once = (("generate", 0, -1), ("generate", 1, -1), (protocol, 0, 1))
            better, chance = formula(signed, signed[::-1], gates)
            out.append(
                _system(
                    f"{protocol}, {label}",
                    once,
                    [_SKEWED, _SKEWED[::-1]],
                    better,
                    chance,
                    gates=gates,
                )
            )
    for protocol, formula in _PROTOCOLS.items():
        twice: Skeleton = (
            *_generate(4),
            (protocol, 0, 1),
            (protocol, 2, 3),
            (protocol, 0, 2),
        )
        first, chance = formula(signed, signed, _GATES)
        better, again = formula(first, first, _GATES)
        fresh = [_SKEWED] * 4
        out.append(
            _system(f"{protocol}, two rounds", twice, fresh, better, chance * chance * again)
        )
    # The rotations of DEJMPS leave phi_plus and psi_plus as they are; those never show equal bits.
    plus, other = np.tile(np.eye(4)[0], (3, 1)), np.tile(np.eye(4)[2], (3, 1))
    once = (("generate", 0, -1), ("generate", 1, -1), ("dejmps", 0, 1))
    never = np.zeros((3, 3))
    out.append(_system("dark: no herald", once, [plus, other], never, 0.0, gates=Gates()))
    return out


#: All systems, simplest first.
SYSTEMS: tuple[System, ...] = (*_pairs(), *_chains(), *_distillations())
