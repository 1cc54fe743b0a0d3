"""Network benchmarking: the fidelity of a link from how a bounced qubit decays.

Source: J. Helsen and S. Wehner, "A benchmarking procedure for quantum networks", npj Quantum
Information 9, 17 (2023), arXiv:2103.01165. A qubit is prepared in |0> and sent to the far end of a
path and back, m times; every node turns it by a random Clifford before it sends it on. At the end
the Clifford that undoes them all, and for half of the sequences a flip, must leave a known outcome.
Averaged over Cliffords every passage is depolarising, so the outcome comes with chance

    p(m) = 1/2 + (A/2) (f^2)^m,

where f belongs to one passage of the path and A holds all errors of preparation and readout. With
the random flip nothing else is left to be fitted, whatever the readout prefers.

One passage then has the average fidelity (1+f)/2 and the entanglement fidelity (1+3f)/4; for a
Werner pair and perfect gates the latter is the fidelity of the pair.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from quantum.errors import InputError
from quantum.estimation import decay
from quantum.estimation.cliffords import INVERSE, after_all
from quantum.seeding import generator

__all__ = [
    "Benchmark",
    "Interval",
    "Sequences",
    "average_fidelity",
    "check_lengths",
    "draw_sequences",
    "entanglement_fidelity",
    "fit",
]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Bounces of the longest sequence: beyond, no link has anything left to see.
_MOST_BOUNCES = 10_000


@dataclass(frozen=True, eq=False)
class Sequences:
    """N sequences of H passages of a hop.

    ``cliffords`` (N, H) come before each hop, ``last`` (N,) undoes them all, and ``flipped`` (N,)
    says where an X follows, so that 1 is the outcome wanted.
    """

    cliffords: Ints
    last: Ints
    flipped: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.last)


class Interval(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A number with its interval: low <= best <= high."""

    low: float
    best: float
    high: float


class Benchmark(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the decay says: of one passage, and the ``amplitude`` A that SPAM leaves."""

    f: Interval
    average_fidelity: Interval
    link_fidelity: Interval
    amplitude: float
    confidence: float


def average_fidelity(f: float) -> float:
    """Return the fidelity of one passage, averaged over all pure states: (1+f)/2.

    >>> average_fidelity(0.96)
    0.98
    """
    return (1.0 + f) / 2.0


def entanglement_fidelity(f: float) -> float:
    """Return the fidelity of one half of phi_plus after one passage: (1+3f)/4.

    >>> entanglement_fidelity(0.96)
    0.97
    """
    return (1.0 + 3.0 * f) / 4.0


def check_lengths(lengths: Sequence[int]) -> tuple[int, ...]:
    """Return numbers of bounces from short to long, or raise :class:`InputError`.

    Two lengths at least: one alone cannot tell a bad link from a bad readout.
    """
    if len(set(lengths)) < len(lengths):
        raise InputError(f"lengths must differ from one another, got {list(lengths)}")
    if len(lengths) < 2:
        raise InputError(f"lengths must be at least two, got {list(lengths)}")
    if min(lengths) < 0 or max(lengths) > _MOST_BOUNCES:
        raise InputError(
            f"lengths must be between 0 and {_MOST_BOUNCES} bounces, got {list(lengths)}"
        )
    return tuple(sorted(lengths))


def draw_sequences(seed: int, key: int | str, hops: int, count: int) -> Sequences:
    """Draw ``count`` random sequences over ``hops`` hops in all; the key may be the bounces.

    >>> draw_sequences(1, 2, 4, 3).cliffords.shape
    (3, 4)
    """
    rng = generator(seed, "netbench", "sequences", key)
    cliffords = rng.integers(24, size=(count, hops))
    return Sequences(cliffords, INVERSE[after_all(cliffords)], rng.random(count) < 0.5)


def fit(
    lengths: Sequence[int], survived: Ints, shots: int, *, confidence: float = 0.95
) -> Benchmark:
    """Fit the decay to ``survived`` (L, N): of ``shots`` of each of N sequences of L lengths.

    Maximum likelihood with 0 <= A <= 1 and 0 <= f <= 1 (the sign of f cannot be seen, because a
    bounce has two passages); the interval is that of the profile likelihood, see
    :mod:`quantum.estimation.decay`.
    """
    known = check_lengths(lengths)
    if known != tuple(lengths):
        raise InputError(f"lengths must ascend, got {list(lengths)}")
    table = np.asarray(survived)
    if table.ndim != 2 or len(table) != len(known) or table.shape[1] < 2:
        raise InputError(
            f"survived must have shape ({len(known)}, sequences >= 2), got {table.shape}"
        )
    if shots < 1 or table.min() < 0 or table.max() > shots:
        raise InputError(f"survived must be between 0 and shots = {shots}")
    if not 0.0 < confidence < 1.0:
        raise InputError(f"confidence must be between 0 and 1, got {confidence}")
    found = decay.estimate(np.array(known, dtype=np.float64), table, shots, confidence)
    f = [float(np.sqrt(rate)) for rate in (found.low, found.best, found.high)]
    return Benchmark(
        f=Interval(*f),
        average_fidelity=Interval(*map(average_fidelity, f)),
        link_fidelity=Interval(*map(entanglement_fidelity, f)),
        amplitude=found.amplitude,
        confidence=confidence,
    )
