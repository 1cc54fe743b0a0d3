"""Closed forms of millions of Bell-diagonal pairs: decay, swaps along a chain, fidelity.

The formulas are those of :mod:`quantum.werner`, to rounding; here they are compiled, and the
exponentials, which are nearly all of the cost, are written so that several are computed at once.
Exact for fresh Bell-diagonal pairs that wait once and are then swapped, with the outcomes of swaps
averaged: amplitude damping included, because the Bell measurement reads correlators only.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from quantum.errors import InputError
from quantum.kernels import kernel, small
from quantum.program import Gates, Memory
from quantum.werner import PERFECT, swap_factors

__all__ = ["chain", "chain_block", "decay", "decayed_fidelity", "exponential", "rates"]

Floats = NDArray[np.float64]

_BLOCK = 128
_LOG2_E = 1.4426950408889634
#: ln 2 in two parts (Cody and Waite, 1980), and 1.5 * 2^52, to which a sum is rounded whole.
_LN2_HIGH, _LN2_LOW = 0.6931471803691238, 1.9082149292705877e-10
_WHOLE = 6755399441055744.0


@small
def exponential(x: float) -> float:
    """Return e^x for x <= 0 to a unit in the last place; below e^-708 it stays there.

    Without branches or calls, so that loops over it use vector instructions: 2^n times a Taylor
    polynomial of degree 13 on half of ln 2 around 0, where its remainder is under 5e-18.
    """
    x = max(x, -708.0)
    shifted = x * _LOG2_E + _WHOLE
    whole = shifted - _WHOLE
    r = (x - whole * _LN2_HIGH) - whole * _LN2_LOW
    p = 1.0 / 6227020800.0
    p = p * r + 1.0 / 479001600.0
    p = p * r + 1.0 / 39916800.0
    p = p * r + 1.0 / 3628800.0
    p = p * r + 1.0 / 362880.0
    p = p * r + 1.0 / 40320.0
    p = p * r + 1.0 / 5040.0
    p = p * r + 1.0 / 720.0
    p = p * r + 1.0 / 120.0
    p = p * r + 1.0 / 24.0
    p = p * r + 1.0 / 6.0
    p = p * r + 0.5
    p = p * r + 1.0
    p = p * r + 1.0
    exponent = np.float64(shifted).view(np.int64) + 1023  # its last bits hold the whole number
    return p * np.int64(exponent << 52).view(np.float64)


def rates(memory: Memory) -> Floats:
    """Return 1/T1, 1/T2 and 1/attempts_1e, shape ``(3,)``; 0 for what does not decay."""
    memory.check()
    return 1.0 / np.array([memory.t1_s, memory.t2_s, memory.attempts_1e])


def decay(
    correlators: ArrayLike, waits_s: ArrayLike, memory: Memory, attempts: ArrayLike | None = None
) -> Floats:
    """Let fresh pairs ``(N, 3)`` wait ``(N, 2)`` seconds; return their correlators ``(N, 3)``.

    ``attempts`` ``(N, 2)`` are those of the neighbours of each qubit. :func:`quantum.werner.wait`.

    >>> decay([[1.0, 1.0, 1.0]], [[0.0, 1e9]], Memory(t1_s=1.0, t2_s=1.0)).round(9).tolist()
    [[0.0, 0.0, 0.0]]
    """
    fresh, waits, meanwhile = _pairs(correlators, waits_s, attempts)
    out = np.empty_like(fresh)
    _decay(fresh.ravel(), waits.ravel(), meanwhile.ravel(), rates(memory), out.ravel())
    return out


def decayed_fidelity(
    correlators: ArrayLike, waits_s: ArrayLike, memory: Memory, attempts: ArrayLike | None = None
) -> Floats:
    """Return the fidelity ``(N,)`` of pairs as in :func:`decay`, without writing their states.

    >>> decayed_fidelity([[0.96, 0.96, 0.96]], [[0.0, 0.0]], Memory()).round(9).tolist()
    [0.97]
    """
    fresh, waits, meanwhile = _pairs(correlators, waits_s, attempts)
    out = np.empty(len(fresh))
    _fidelity(fresh.ravel(), waits.ravel(), meanwhile.ravel(), rates(memory), out)
    return out


def chain(
    correlators: ArrayLike,
    waits_s: ArrayLike,
    memory: Memory,
    gates: Gates = PERFECT,
    attempts: ArrayLike | None = None,
) -> Floats:
    """Return the correlators ``(N, 3)`` of N chains of k pairs that wait and are then swapped.

    ``correlators`` are those of fresh pairs, ``(N, k, 3)`` or ``(k, 3)`` for all chains alike,
    ``waits_s`` and ``attempts`` are ``(N, k, 2)``. Corrections are kept as Pauli frames until the
    end. The success probability of the gates is not used: these swaps have succeeded.

    >>> c = chain([[0.96, 0.96, 0.96]] * 2, np.zeros((1, 2, 2)), Memory())
    >>> c.round(6).tolist()
    [[0.9216, 0.9216, 0.9216]]
    """
    waits = _array("waits_s", waits_s)
    fresh = _array("correlators", correlators)
    if waits.ndim != 3 or waits.shape[1] < 1 or waits.shape[2] != 2:
        raise InputError(f"waits_s must have shape (N, k, 2), got {waits.shape}")
    size, links = waits.shape[:2]
    if fresh.shape not in ((links, 3), (size, links, 3)):
        raise InputError(
            f"correlators must have shape ({links}, 3) or ({size}, {links}, 3), got {fresh.shape}"
        )
    meanwhile = _attempts(attempts, waits)
    _check(fresh, waits, meanwhile)
    out = np.empty((size, 3))
    chain_block(
        fresh.ravel(),
        waits.ravel(),
        meanwhile.ravel(),
        links,
        rates(memory),
        swap_factors(gates.check()) ** (links - 1),
        np.empty(2 * links * _BLOCK),
        out.ravel(),
    )
    return out


def _pairs(
    correlators: ArrayLike, waits_s: ArrayLike, attempts: ArrayLike | None
) -> tuple[Floats, Floats, Floats]:
    fresh, waits = _array("correlators", correlators), _array("waits_s", waits_s)
    if fresh.ndim != 2 or fresh.shape[1] != 3:
        raise InputError(f"correlators must have shape (N, 3), got {fresh.shape}")
    if waits.shape != (len(fresh), 2):
        raise InputError(f"waits_s must have shape ({len(fresh)}, 2), got {waits.shape}")
    meanwhile = _attempts(attempts, waits)
    _check(fresh, waits, meanwhile)
    return fresh, waits, meanwhile


def _array(name: str, values: ArrayLike) -> Floats:
    try:
        return np.ascontiguousarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError(f"{name} must be an array of numbers") from None


def _attempts(attempts: ArrayLike | None, waits: Floats) -> Floats:
    """Return attempts shaped like the waits; an empty array stands for none."""
    if attempts is None:
        return np.empty(0)
    meanwhile = _array("attempts", attempts)
    if meanwhile.shape != waits.shape:
        raise InputError(f"attempts must have shape {waits.shape}, got {meanwhile.shape}")
    return meanwhile


def _check(fresh: Floats, waits: Floats, meanwhile: Floats) -> None:
    if not _physical(fresh.ravel()):
        raise InputError("correlators must be those of states: populations >= 0")
    for name, values in (("waits_s", waits), ("attempts", meanwhile)):
        if not _within(values.ravel(), 0.0, 1e300):
            raise InputError(f"{name} must be finite and >= 0")


@kernel
def _physical(correlators: Floats) -> bool:
    """Whether all populations are >= 0, to 1e-9; not where there is a NaN."""
    bad = 0
    for i in range(len(correlators) // 3):
        xx, yy, zz = correlators[3 * i], correlators[3 * i + 1], correlators[3 * i + 2]
        even = 1.0 + zz >= abs(xx + yy) - 4e-9
        odd = 1.0 - zz >= abs(xx - yy) - 4e-9
        bad += 0 if even and odd else 1
    return bad == 0


@kernel
def _within(values: Floats, low: float, high: float) -> bool:
    bad = 0
    for i in range(len(values)):
        bad += 0 if low <= values[i] <= high else 1
    return bad == 0


@small
def _longitudinal(fresh: float, left: float, right: float) -> float:
    """Return zz of a fresh pair whose excited states survive with these probabilities."""
    return left * right * fresh + (1.0 - left) * (1.0 - right)


@kernel
def _decay(fresh: Floats, waits: Floats, attempts: Floats, rate: Floats, out: Floats) -> None:
    damping, dephasing, disturbing = rate[0], rate[1], rate[2]
    disturbed = len(attempts) > 0 and disturbing > 0.0
    for i in range(len(fresh) // 3):
        left, right = waits[2 * i], waits[2 * i + 1]
        coherence = exponential(-dephasing * (left + right))
        out[3 * i] = coherence * fresh[3 * i]
        out[3 * i + 1] = coherence * fresh[3 * i + 1]
        out[3 * i + 2] = _longitudinal(
            fresh[3 * i + 2], exponential(-damping * left), exponential(-damping * right)
        )
    if disturbed:
        for i in range(len(fresh) // 3):
            left_alone = exponential(-disturbing * (attempts[2 * i] + attempts[2 * i + 1]))
            out[3 * i] *= left_alone
            out[3 * i + 1] *= left_alone


@kernel
def _fidelity(fresh: Floats, waits: Floats, attempts: Floats, rate: Floats, out: Floats) -> None:
    damping, dephasing, disturbing = rate[0], rate[1], rate[2]
    if len(attempts) == 0 or disturbing == 0.0:
        for i in range(len(out)):
            left, right = waits[2 * i], waits[2 * i + 1]
            coherence = exponential(-dephasing * (left + right))
            zz = _longitudinal(
                fresh[3 * i + 2], exponential(-damping * left), exponential(-damping * right)
            )
            out[i] = (1.0 + coherence * (fresh[3 * i] + fresh[3 * i + 1]) + zz) / 4.0
        return
    for i in range(len(out)):
        left, right = waits[2 * i], waits[2 * i + 1]
        disturbance = disturbing * (attempts[2 * i] + attempts[2 * i + 1])
        coherence = exponential(-dephasing * (left + right) - disturbance)
        zz = _longitudinal(
            fresh[3 * i + 2], exponential(-damping * left), exponential(-damping * right)
        )
        out[i] = (1.0 + coherence * (fresh[3 * i] + fresh[3 * i + 1]) + zz) / 4.0


@kernel
def chain_block(
    fresh: Floats,
    waits: Floats,
    attempts: Floats,
    links: int,
    rate: Floats,
    factors: Floats,
    survival: Floats,
    out: Floats,
) -> None:
    """Write correlators of chains, all arrays flat; :func:`chain` says of what.

    ``rate`` is that of :func:`rates`, ``factors`` what all swaps leave of the correlators, and
    ``survival`` room for the exponentials of some chains at a time.
    """
    size = len(out) // 3
    step = len(survival) // (2 * links)
    shared = len(fresh) == 3 * links
    disturbed = len(attempts) > 0 and rate[2] > 0.0
    for begin in range(0, size, step):
        end = min(size, begin + step)
        if rate[0] > 0.0:
            offset = 2 * links * begin
            for i in range(2 * links * (end - begin)):
                survival[i] = exponential(-rate[0] * waits[offset + i])
        for chain in range(begin, end):
            state = 0 if shared else 3 * links * chain
            wait = 2 * links * chain
            alive = 2 * links * (chain - begin)
            xx, yy, zz = factors[0], factors[1], factors[2]
            exponent = 0.0
            for _ in range(links):
                exponent += waits[wait] + waits[wait + 1]
                xx *= fresh[state]
                yy *= fresh[state + 1]
                if rate[0] > 0.0:
                    zz *= _longitudinal(fresh[state + 2], survival[alive], survival[alive + 1])
                else:
                    zz *= fresh[state + 2]
                state, wait, alive = state + 3, wait + 2, alive + 2
            exponent *= rate[1]
            if disturbed:
                for i in range(2 * links * chain, 2 * links * (chain + 1)):
                    exponent += rate[2] * attempts[i]
            coherence = exponential(-exponent)
            out[3 * chain] = coherence * xx
            out[3 * chain + 1] = coherence * yy
            out[3 * chain + 2] = zz
