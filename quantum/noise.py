"""The only room that converts other people's noise conventions into ours.

Ours: depolarising ``p`` replaces the qubits of a gate by the fully mixed state with probability
``p`` (rho -> (1-p) rho + p I/d, as in Qiskit Aer), T2 is the decay time of one qubit's coherence
and includes T1, fidelities are squared. Everything else that is called "p", "error" or "T2"
elsewhere enters through a function of this module.
"""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from quantum.errors import InputError
from quantum.program import Memory

__all__ = [
    "decay",
    "depolarizing_from_gate_fidelity",
    "depolarizing_from_stim",
    "depolarizing_to_stim",
    "fidelity_from_depolarizing",
    "memory_of",
    "t2_from_pure_dephasing",
]

Floats = NDArray[np.float64]


def decay(seconds: ArrayLike, memory: Memory, attempts: ArrayLike = 0.0) -> tuple[Floats, Floats]:
    """Return (damping g, coherence c) of one qubit after a wait, each shaped like ``seconds``.

    The excited state survives with 1 - g = exp(-t/T1), the off-diagonal element shrinks by
    c = exp(-t/T2 - n/n_1e) after n attempts of a neighbouring qubit (amplitude and phase damping
    of Nielsen and Chuang, chapter 8, as one channel).

    >>> g, c = decay([0.0, 2.0], Memory(t1_s=1.0, t2_s=1.0))
    >>> g.round(4).tolist(), c.round(4).tolist()
    ([0.0, 0.8647], [1.0, 0.1353])
    """
    t = np.asarray(seconds, dtype=np.float64)
    with np.errstate(over="ignore"):  # what is too large for a float has decayed
        disturbed = np.asarray(attempts, dtype=np.float64) / memory.attempts_1e
        return -np.expm1(-t / memory.t1_s), np.exp(-t / memory.t2_s - disturbed)


def memory_of(t1_s: float | None, t2_s: float | None, attempts_1e: float | None = None) -> Memory:
    """Fill in the relaxation time that was not given.

    Without T1 there is no relaxation (T1 = inf, pure dephasing); without T2 there is no dephasing
    beyond what relaxation causes (T2 = 2 T1).

    >>> memory_of(1.0, None)
    Memory(t1_s=1.0, t2_s=2.0, attempts_1e=inf)
    """
    t1 = math.inf if t1_s is None else t1_s
    return Memory(
        t1_s=t1,
        t2_s=2.0 * t1 if t2_s is None else t2_s,
        attempts_1e=math.inf if attempts_1e is None else attempts_1e,
    ).check()


def t2_from_pure_dephasing(t1_s: float, t_phi_s: float) -> float:
    """Return T2 from T1 and the pure dephasing time: 1/T2 = 1/(2 T1) + 1/T_phi.

    >>> t2_from_pure_dephasing(1.0, 2.0)
    1.0
    """
    for name, value in (("t1_s", t1_s), ("t_phi_s", t_phi_s)):
        if not value > 0.0:
            raise InputError(f"{name} must be > 0 seconds, got {value}")
    rate = 0.5 / t1_s + 1.0 / t_phi_s
    return math.inf if rate == 0.0 else 1.0 / rate


def depolarizing_from_stim(probability: float, qubits: int) -> float:
    """Turn the chance of a non-identity Pauli (Stim, SeQUeNCe) into our weight of I/d.

    ``p * 4**n / (4**n - 1)``: two qubits are fully mixed at 15/16.

    >>> round(depolarizing_from_stim(15 / 16, 2), 12)
    1.0
    """
    most = _largest_pauli_chance(qubits)
    if not 0.0 <= probability <= most:
        raise InputError(f"depolarising chance must be between 0 and {most:g}, got {probability}")
    return min(1.0, probability / most)


def depolarizing_to_stim(weight: float, qubits: int) -> float:
    """Turn our weight of I/d into the chance of a non-identity Pauli (Stim, SeQUeNCe).

    >>> depolarizing_to_stim(1.0, 1)
    0.75
    """
    return _probability("depolarising weight", weight) * _largest_pauli_chance(qubits)


def depolarizing_from_gate_fidelity(average_fidelity: float, qubits: int) -> float:
    """Turn a gate's average fidelity (randomised benchmarking) into our weight of I/d.

    F_avg = 1 - p (d - 1) / d (Nielsen, Phys. Lett. A 303, 249, 2002).

    >>> round(depolarizing_from_gate_fidelity(0.9925, 2), 12)
    0.01
    """
    dimension = _dimension(qubits)
    if not 1.0 / dimension <= average_fidelity <= 1.0:
        raise InputError(
            f"average gate fidelity of {qubits} qubits must be between {1 / dimension:g} and 1, "
            f"got {average_fidelity}"
        )
    return (1.0 - average_fidelity) * dimension / (dimension - 1)


def fidelity_from_depolarizing(weight: float) -> float:
    """Return the fidelity of a link (1-q) phi_plus + q I/4, SquidASM's ``depolarise`` link.

    >>> fidelity_from_depolarizing(0.04)
    0.97
    """
    return 1.0 - 0.75 * _probability("depolarising weight", weight)


def _largest_pauli_chance(qubits: int) -> float:
    dimension = _dimension(qubits)
    return 1.0 - 1.0 / dimension**2


def _dimension(qubits: int) -> int:
    if qubits < 1:
        raise InputError(f"qubits must be >= 1, got {qubits}")
    dimension: int = 2**qubits
    return dimension


def _probability(name: str, value: float) -> float:
    if not 0.0 <= value <= 1.0:
        raise InputError(f"{name} must be between 0 and 1, got {value}")
    return value
