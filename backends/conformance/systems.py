"""Systems of pairs with closed answers, for judging backends: what to ask, what must come out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quantum import bell, ghz, werner
from quantum.batch import Batch, Kind, Skeleton
from quantum.noise import decay
from quantum.program import Gates, Memory, Protocol

__all__ = ["GATES", "MEMORY", "PAIRS", "SKEWED", "Step", "System", "system"]

Floats = NDArray[np.float64]
Step = tuple[Kind, int, int]
Formula = Callable[[Floats, Floats, Gates], tuple[Floats, Floats]]

#: Populations of three different pairs, some of them 0.
SKEWED = np.array([[0.8, 0.1, 0.07, 0.03], [0.6, 0.05, 0.05, 0.3], [0.9, 0.0, 0.1, 0.0]])
MEMORY = Memory(t1_s=1.0, t2_s=0.7)
GATES = Gates(success=0.9, gate_depolarizing=0.03, readout_error=0.02)

_FIDELITIES = np.array([0.55, 0.8, 0.97])
_PROTOCOLS: dict[Protocol, Formula] = {
    "dejmps": werner.dejmps,
    "bbpssw": werner.bbpssw,
    "epl": werner.epl,
}
_IDEAL = np.diag([1.0, 1.0, -1.0, 1.0])


@dataclass(frozen=True, eq=False)
class System:
    """A batch, and the populations ``(B, 2^n)`` and success ``(B,)`` that must come out."""

    name: str
    batch: Batch
    populations: Floats
    success: Floats


def system(
    name: str,
    skeleton: Sequence[Step],
    signed: Floats,
    success: Floats | float = 1.0,
    *,
    fresh: Sequence[Floats] = (),
    states: Sequence[Floats] = (),
    waits_s: Sequence[tuple[float, float]] = (),
    attempts: Sequence[tuple[float, float]] = (),
    memory: Memory = MEMORY,
    gates: Gates = GATES,
) -> System:
    """Return a system that must end in the correlators ``signed``.

    ``fresh`` are the populations ``(B, 4)`` and ``states`` the expectations ``(B, 4, 4)`` of each
    pair; waits and attempts are the same for all programs.
    """
    size = len(signed)
    waits = np.tile(np.reshape(waits_s, (1, -1, 2)), (size, 1, 1)).astype(np.float64)
    counted = np.tile(np.reshape(attempts, (1, -1, 2)), (size, 1, 1)).astype(np.float64)
    batch = Batch(
        tuple(skeleton),
        np.stack(fresh, axis=1) if fresh else np.empty((size, 0, 4)),
        waits,
        memory,
        gates,
        np.stack(states, axis=1) if states else np.empty((size, 0, 4, 4)),
        counted if attempts else np.zeros_like(waits),
    )
    chance = np.broadcast_to(np.asarray(success, dtype=np.float64), (size,))
    return System(name, batch, ghz.populations(signed), chance)


def _two(source: Kind, last: Kind) -> Skeleton:
    return ((source, 0, -1), (source, 1, -1), (last, 0, 1))


def _fresh_pairs() -> list[System]:
    one: Skeleton = (("generate", 0, -1),)
    waiting: Skeleton = (*one, ("wait", 0, -1))
    signed = bell.correlators(SKEWED)
    out = [system("fresh pair", one, signed, fresh=[SKEWED])]
    for name, memory in (
        ("dephasing", Memory(t2_s=0.5)),
        ("relaxation", Memory(t1_s=0.5, t2_s=1.0)),
        ("both", MEMORY),
    ):
        decayed = werner.wait(signed, 0.3, 0.1, memory)
        waits = [(0.3, 0.1)]
        out.append(
            system(
                f"decay by {name}", waiting, decayed, fresh=[SKEWED], waits_s=waits, memory=memory
            )
        )
    disturbed = Memory(t1_s=1.0, t2_s=0.7, attempts_1e=40.0)
    out.append(
        system(
            "decay by attempts",
            waiting,
            werner.wait(signed, 0.1, 0.2, disturbed, 17.0),
            fresh=[SKEWED],
            waits_s=[(0.1, 0.2)],
            attempts=[(5.0, 12.0)],
            memory=disturbed,
        )
    )
    # Long after T1 both qubits are in |0>: zz certain, xx and yy even.
    ground = np.tile([0.0, 0.0, 1.0], (3, 1))
    waits = [(1e6, 1e6)]
    out.append(system("dark: decayed pair", waiting, ground, fresh=[SKEWED], waits_s=waits))
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
        signed = werner.wait(bell.correlators(fresh), *waits[0], MEMORY)
        for wait in waits[1:]:
            link = werner.wait(bell.correlators(fresh), *wait, MEMORY)
            signed = werner.swap(signed, link, GATES)
        chance = GATES.success ** (links - 1)
        name = f"chain of {links}"
        out.append(system(name, steps, signed, chance, fresh=[fresh] * links, waits_s=waits))
    both, never = [fresh] * 2, np.zeros((3, 3))
    joined = _two("generate", "swap")
    dark = Gates(success=0.0)
    out.append(system("dark: swap without success", joined, never, 0.0, fresh=both, gates=dark))
    mixing = Gates(gate_depolarizing=1.0)
    out.append(system("dark: swap that mixes", joined, never, fresh=both, gates=mixing))
    return out


def _distillations() -> list[System]:
    out = []
    signed = bell.correlators(SKEWED)
    for gates, label in ((Gates(), "ideal"), (GATES, "noisy")):
        for protocol, formula in _PROTOCOLS.items():
            steps = _two("generate", protocol)
            better, chance = formula(signed, signed[::-1], gates)
            fresh = [SKEWED, SKEWED[::-1]]
            name = f"{protocol}, {label}"
            out.append(system(name, steps, better, chance, fresh=fresh, gates=gates))
    for protocol, formula in _PROTOCOLS.items():
        twice: list[Step] = [("generate", pair, -1) for pair in range(4)]
        twice += [(protocol, 0, 1), (protocol, 2, 3), (protocol, 0, 2)]
        first, chance = formula(signed, signed, GATES)
        better, again = formula(first, first, GATES)
        joint = chance * chance * again
        out.append(system(f"{protocol}, two rounds", twice, better, joint, fresh=[SKEWED] * 4))
    # The rotations of DEJMPS leave phi_plus and psi_plus as they are; those never show equal bits.
    plus, other = np.tile(np.eye(4)[0], (3, 1)), np.tile(np.eye(4)[2], (3, 1))
    steps, never = _two("generate", "dejmps"), np.zeros((3, 3))
    ideal = Gates()
    out.append(system("dark: no herald", steps, never, 0.0, fresh=[plus, other], gates=ideal))
    return out


def _tilted() -> Floats:
    """Return mixtures of phi_plus with product states, whose qubits have Bloch vectors."""
    left = np.array([[1, 0.6, 0, 0.8], [1, 0, 0, -1], [1, 0.48, 0.6, -0.64]])
    right = np.array([[1, 0, 0.6, -0.8], [1, 0, 0, 1], [1, 0.6, -0.48, 0.64]])
    weight = np.array([0.3, 0.5, 0.2])[:, None, None]
    states: Floats = (1.0 - weight) * _IDEAL + weight * left[:, :, None] * right[:, None, :]
    return states


def _single_click(dark: Floats) -> Floats:
    """Return (1-a) phi_plus + a |10> for the chances a that a photon was lost."""
    lost = np.outer([1, 0, 0, -1], [1, 0, 0, 1])
    states: Floats = (1.0 - dark)[:, None, None] * _IDEAL + dark[:, None, None] * lost
    return states


def _loaded() -> list[System]:
    one: Skeleton = (("load", 0, -1),)
    states = _tilted()
    signed = np.stack([states[:, 1, 1], -states[:, 2, 2], states[:, 3, 3]], axis=-1)
    out = [system("loaded pair", one, signed, states=[states])]
    memory = Memory(t1_s=0.5, t2_s=0.4)
    (g_left, g_right), (c_left, c_right) = decay([0.3, 0.1], memory)
    longitudinal = (
        (1 - g_left) * (1 - g_right) * states[:, 3, 3]
        + (1 - g_left) * g_right * states[:, 3, 0]
        + g_left * (1 - g_right) * states[:, 0, 3]
        + g_left * g_right
    )
    relaxed = np.stack([*(c_left * c_right * signed[:, :2].T), longitudinal], axis=-1)
    out.append(
        system(
            "loaded pair relaxes",
            (*one, ("wait", 0, -1)),
            relaxed,
            states=[states],
            waits_s=[(0.3, 0.1)],
            memory=memory,
        )
    )
    other = states[::-1]
    both = [states, other]
    joined = werner.swap(signed, signed[::-1], GATES)
    out.append(system("loaded pairs, swap", _two("load", "swap"), joined, 0.9, states=both))
    for protocol in ("dejmps", "bbpssw"):
        better, chance = _PROTOCOLS[protocol](signed, signed[::-1], GATES)
        steps = _two("load", protocol)
        out.append(system(f"loaded pairs, {protocol}", steps, better, chance, states=both))
    # Campbell and Benjamin, PRL 101, 130502 (2008): what a lost photon did is removed altogether.
    dark = np.array([0.1, 0.3, 0.6])
    states = _single_click(dark)
    out.append(
        system(
            "loaded pairs, epl of single clicks",
            _two("load", "epl"),
            np.ones((3, 3)),
            (1.0 - dark) ** 2 / 2.0,
            states=[states, states],
            gates=Gates(),
        )
    )
    return out


#: All systems of pairs, simplest first.
PAIRS: tuple[System, ...] = (*_fresh_pairs(), *_chains(), *_distillations(), *_loaded())
