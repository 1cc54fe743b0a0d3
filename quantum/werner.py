"""Closed forms for pairs: the oracle against which every simulator is judged.

All functions work on *correlators* ``(..., 3)`` as in :mod:`quantum.bell`, vectorised over leading
axes, and are exact for Bell-diagonal states (Werner states among them). Where amplitude damping has
made a state that is not Bell-diagonal, its correlators still multiply exactly in a swap whose
outcome is averaged, because the Bell measurement reads nothing else, and those that DEJMPS and
BBPSSW make depend on nothing else either; but a second wait, and EPL, then need the local Bloch
vectors too, which only full states carry.

Fidelity is the squared one, and never a product: ``F = (1 + c_xx + c_yy + c_zz) / 4``.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from quantum.noise import decay
from quantum.program import Gates, Memory

__all__ = [
    "IMPOSSIBLE",
    "PERFECT",
    "bbpssw",
    "bilateral_cnot",
    "dejmps",
    "distill_factors",
    "epl",
    "fidelity",
    "swap",
    "swap_factors",
    "twirl",
    "wait",
]

Floats = NDArray[np.float64]

PERFECT = Gates()

#: A herald less likely than this is rounding: it never happens.
IMPOSSIBLE = 1e-12


def fidelity(correlators: ArrayLike) -> Floats:
    """Return the fidelity to phi_plus of correlators ``(..., 3)``, for any two-qubit state.

    >>> fidelity([1.0, 1.0, 1.0]).item()
    1.0
    """
    total: Floats = (1.0 + np.asarray(correlators, dtype=np.float64).sum(axis=-1)) / 4.0
    return total


def wait(
    correlators: ArrayLike,
    left_s: ArrayLike,
    right_s: ArrayLike,
    memory: Memory,
    attempts: ArrayLike = 0.0,
) -> Floats:
    """Let both qubits of fresh Bell-diagonal pairs decay; seconds broadcast against ``(...)``.

    ``attempts`` are those of both qubits' neighbours together: they only cost coherence.

    Transverse correlators fall with T2. The longitudinal one becomes
    (1-ga)(1-gb) c_zz + ga gb: two damped qubits end in |00>, which is a perfect zz correlation.

    >>> wait([1.0, 1.0, 1.0], 1e9, 1e9, Memory(t1_s=1.0, t2_s=1.0)).tolist()
    [0.0, 0.0, 1.0]
    """
    c = np.asarray(correlators, dtype=np.float64)
    g_left, c_left = decay(left_s, memory, attempts)
    g_right, c_right = decay(right_s, memory)
    coherence = c_left * c_right
    longitudinal = (1.0 - g_left) * (1.0 - g_right) * c[..., 2] + g_left * g_right
    return np.stack(
        np.broadcast_arrays(coherence * c[..., 0], coherence * c[..., 1], longitudinal), axis=-1
    )


def swap_factors(gates: Gates) -> Floats:
    """Return what an imperfect Bell measurement leaves of (c_xx, c_yy, c_zz), shape ``(3,)``.

    Depolarising weight p takes (1-p) of each. One of the two bits decides the X and the other the Z
    correction; a flip (chance e) of one turns the sign of two correlators: xx and zz keep (1-2e),
    yy depends on both bits and keeps (1-2e)^2.

    >>> swap_factors(Gates(readout_error=0.25)).tolist()
    [0.5, 0.25, 0.5]
    """
    flip = 1.0 - 2.0 * gates.readout_error
    return (1.0 - gates.gate_depolarizing) * np.array([flip, flip * flip, flip])


def swap(left: ArrayLike, right: ArrayLike, gates: Gates = PERFECT) -> Floats:
    """Return the correlators of two joined pairs: they multiply (Briegel et al., PRL 81, 5932).

    >>> c = swap([0.96, 0.96, 0.96], [0.96, 0.96, 0.96])
    >>> round(fidelity(c).item(), 6)
    0.9412
    """
    joined: Floats = (
        np.asarray(left, dtype=np.float64)
        * np.asarray(right, dtype=np.float64)
        * swap_factors(gates)
    )
    return joined


def distill_factors(gates: Gates) -> tuple[float, float, float]:
    """Return the weights (1-p), (1-p)^2 and (1-2e)^2 of imperfect distillation.

    p is the depolarising weight of each of the two CNOTs and e flips each of the two bits compared.
    """
    gate = 1.0 - gates.gate_depolarizing
    flip = 1.0 - 2.0 * gates.readout_error
    return gate, gate * gate, flip * flip


def bilateral_cnot(keep: ArrayLike, spend: ArrayLike, gates: Gates) -> tuple[Floats, Floats]:
    """Return (correlators given equal bits, chance of equal bits) of one recurrence step.

    A Pauli product on the kept pair pulls back through both CNOTs to one on each pair; the
    projector on equal bits adds its product with ZZ. This is the step that BBPSSW and DEJMPS share.
    Where equal bits never occur both results are 0.
    """
    k = np.asarray(keep, dtype=np.float64)
    s = np.asarray(spend, dtype=np.float64)
    _, both, flips = distill_factors(gates)
    equal = (1.0 + both * flips * s[..., 2] * k[..., 2]) / 2.0
    xx = both * (k[..., 0] * s[..., 0] + flips * k[..., 1] * s[..., 1]) / 2.0
    yy = both * (k[..., 1] * s[..., 0] + flips * k[..., 0] * s[..., 1]) / 2.0
    zz = both * (k[..., 2] + flips * s[..., 2]) / 2.0
    possible = equal > IMPOSSIBLE
    given = np.stack([xx, yy, zz], axis=-1) / np.where(possible, equal, 1.0)[..., None]
    return np.where(possible[..., None], given, 0.0), np.where(possible, equal, 0.0)


def dejmps(keep: ArrayLike, spend: ArrayLike, gates: Gates = PERFECT) -> tuple[Floats, Floats]:
    """Distil Bell-diagonal pairs with DEJMPS: (correlators ``(..., 3)``, success ``(...)``).

    Rotations about x by +90 degrees on the left and -90 degrees on the right qubits exchange
    phi_minus and psi_minus, so that phi_plus is paired with psi_minus (Deutsch et al., PRL 77,
    2818, 1996).

    >>> c, p = dejmps([0.8, 0.8, 0.8], [0.8, 0.8, 0.8])
    >>> round(fidelity(c).item(), 4), round(p.item(), 4)
    (0.8841, 0.82)
    """
    turned = [np.asarray(c, dtype=np.float64)[..., [0, 2, 1]] for c in (keep, spend)]
    return bilateral_cnot(turned[0], turned[1], gates)


def epl(keep: ArrayLike, spend: ArrayLike, gates: Gates = PERFECT) -> tuple[Floats, Floats]:
    """Distil Bell-diagonal pairs with EPL: (correlators ``(..., 3)``, success ``(...)``).

    Extreme photon loss (Campbell and Benjamin, PRL 101, 130502, 2008) accepts only the outcome
    where both bits read 1, which for Bell-diagonal pairs is half of the cases of equal bits. It is
    made for the states of single-click links, which are not Bell-diagonal: those it purifies
    completely, (1-a) phi_plus + a |10> with success (1-a)^2 / 2.

    >>> c, p = epl([0.6, 0.6, 0.6], [0.6, 0.6, 0.6])
    >>> round(fidelity(c).item(), 6), round(p.item(), 6)
    (0.735294, 0.34)
    """
    better, equal = bilateral_cnot(keep, spend, gates)
    return better, equal / 2.0


def twirl(correlators: ArrayLike) -> Floats:
    """Return the Werner state of the same fidelity, as correlators ``(..., 3)``.

    >>> twirl([1.0, 1.0, 0.4]).round(6).tolist()
    [0.8, 0.8, 0.8]
    """
    c = np.asarray(correlators, dtype=np.float64)
    return np.repeat(c.mean(axis=-1, keepdims=True), 3, axis=-1)


def bbpssw(keep: ArrayLike, spend: ArrayLike, gates: Gates = PERFECT) -> tuple[Floats, Floats]:
    """Distil pairs with BBPSSW: (correlators ``(..., 3)``, success ``(...)``), any states.

    Both inputs are twirled to Werner states first, the output is not (Bennett et al., PRL 76, 722,
    1996).

    >>> c, p = bbpssw([0.6, 0.6, 0.6], [0.6, 0.6, 0.6])
    >>> round(fidelity(c).item(), 6), round(p.item(), 6)  # F = 0.7
    (0.735294, 0.68)
    """
    return bilateral_cnot(twirl(keep), twirl(spend), gates)
