"""Sequences of network benchmarking, executed exactly: a qubit teleported from node to node.

Each passage of a link takes a fresh pair: the qubit waits while the pair is made and kept, is
measured with the near half in the Bell basis, and goes on in the far half, corrected.

A qubit is its four Pauli expectations (1, x, y, z); channels are Pauli transfer matrices.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from backends.contract import Truth
from quantum import bell, werner
from quantum.batch import Batch, stack
from quantum.errors import InputError
from quantum.estimation.benchmarking import Sequences
from quantum.estimation.cliffords import BLOCH
from quantum.noise import decay
from quantum.program import Distill, Gates, Generate, Load, Measure, Memory, Program, Swap, Wait

__all__ = [
    "IDEAL_ENDS",
    "Hop",
    "Spam",
    "hop_channel",
    "hops_of",
    "passage_f",
    "round_trips",
    "survival",
    "teleportation",
]

Floats = NDArray[np.float64]

#: <YY> of phi_plus is -1.
_SIGN = np.array([1.0, 1.0, -1.0, 1.0])


@dataclass(frozen=True, eq=False)
class Hop:
    """One passage of a link: the qubit waits ``wait_s`` and is teleported.

    ``expectations`` (4, 4) are those of the pair, near half by far half, as it is when used.
    ``attempts`` are those of a neighbouring qubit while it waits, see
    :class:`quantum.program.Memory`.
    """

    expectations: Floats
    gates: Gates = werner.PERFECT
    memory: Memory = Memory()
    wait_s: float = 0.0
    attempts: float = 0.0

    @property
    def back(self) -> "Hop":
        """The same passage in the other direction."""
        return replace(self, expectations=self.expectations.T)


@dataclass(frozen=True)
class Spam:
    """Errors of state preparation and measurement.

    ``prepared_one`` is the chance that |1> is prepared for |0>, ``zero_as_one`` and ``one_as_zero``
    are the chances of a wrong readout; all below 1/2.
    """

    prepared_one: float = 0.0
    zero_as_one: float = 0.0
    one_as_zero: float = 0.0

    def __post_init__(self) -> None:
        for name in ("prepared_one", "zero_as_one", "one_as_zero"):
            value = getattr(self, name)
            if not 0.0 <= value < 0.5:
                raise InputError(f"{name} must be >= 0 and < 0.5, got {value}")

    @property
    def amplitude(self) -> float:
        """What is left of a polarisation at both ends: the A of the decay."""
        return (1.0 - 2.0 * self.prepared_one) * (1.0 - self.zero_as_one - self.one_as_zero)

    def read(self, up: Floats, flipped: NDArray[np.bool_]) -> Floats:
        """Return the chance of the outcome wanted: ``up`` (N,) is <Z> before the X that flips.

        >>> both = np.array([False, True])
        >>> Spam(zero_as_one=0.1).read(np.array([1.0, 1.0]), both).round(12).tolist()
        [0.9, 1.0]
        """
        missed = np.where(flipped, self.one_as_zero, self.zero_as_one)
        luck = np.where(flipped, self.zero_as_one, self.one_as_zero)
        good = (1.0 + np.clip(up, -1.0, 1.0)) / 2.0
        chance: Floats = good * (1.0 - missed) + (1.0 - good) * luck
        return chance


IDEAL_ENDS = Spam()


def teleportation(expectations: Floats, gates: Gates) -> Floats:
    """Return the channel ``(4, 4)`` of teleportation over a pair in any state ``(4, 4)``.

    Averaged over its four outcomes it is a Pauli channel that sees the diagonal of the pair only
    (Bowen and Bose, Phys. Rev. Lett. 87, 267901, 2001). A noisy Bell measurement costs each
    diagonal element what it costs in a swap: a wrong bit is a wrong correction.
    """
    factors = np.concatenate([[1.0], werner.swap_factors(gates)])
    return np.diag(np.diagonal(expectations) * _SIGN * factors)


def hop_channel(hop: Hop) -> Floats:
    """Return the channel ``(4, 4)`` of a passage: the wait of the qubit, then teleportation."""
    damping, coherence = (float(x) for x in decay(hop.wait_s, hop.memory, hop.attempts))
    wait = np.diag([1.0, coherence, coherence, 1.0 - damping])
    wait[3, 0] = damping
    channel: Floats = teleportation(hop.expectations, hop.gates) @ wait
    return channel


def passage_f(hops: Sequence[Hop]) -> float:
    """Return f of one passage of a path, exactly: the product of those of its hops.

    Random Cliffords leave of a channel the mean of its three diagonal elements.

    >>> pair = np.diag([1.0, 0.96, -0.96, 0.96])
    >>> round(passage_f([Hop(pair)] * 2), 12) == round(0.96**2, 12)
    True
    """
    return float(np.prod([np.trace(hop_channel(hop)[1:, 1:]) / 3.0 for hop in hops]))


def round_trips(hops: Sequence[Hop], bounces: int) -> list[Hop]:
    """Return all hops of ``bounces`` ways to the far end of a path and back."""
    return ([*hops, *(hop.back for hop in reversed(hops))]) * bounces


def survival(route: Sequence[Hop], sequences: Sequences, spam: Spam = IDEAL_ENDS) -> Floats:
    """Return the chance of the outcome wanted for each of N sequences over a route, ``(N,)``."""
    qubits = np.zeros((len(sequences), 4))
    qubits[:, 0] = 1.0
    qubits[:, 3] = 1.0 - 2.0 * spam.prepared_one
    for number, hop in enumerate(route):
        turned = BLOCH[sequences.cliffords[:, number]] @ qubits[:, :, None]
        qubits = turned[:, :, 0] @ hop_channel(hop).T
    up = np.einsum("nj,nj->n", BLOCH[sequences.last][:, 3, :], qubits)
    return spam.read(up, sequences.flipped)


def hops_of(program: Program, exact: Callable[[Batch], Truth]) -> tuple[Hop, ...]:
    """Return the hops of a program's path: its swaps are nodes at which the qubit stops instead.

    ``exact`` executes the pairs; only their Bell populations given success matter for
    teleportation. A wait of the finished pair in memory is also one of the qubit, which waits with
    it; so is, for every hop, a wait of the joined pair.
    """
    paths: dict[int, list[_Link]] = {}
    for number, step in enumerate(program.steps):
        where = f"steps[{number}] {type(step).__name__.lower()}"
        match step:
            case Generate(pair) | Load(pair):
                paths[pair] = [_Link(pair, (step,))]
            case Wait(pair):
                paths[pair] = [link.waiting(step) for link in paths[pair]]
            case Distill(keep, spend):
                ((one,), (two,)) = _single(where, paths[keep], paths.pop(spend))
                paths[keep] = [_Link(one.pair, (*one.steps, *two.steps, step))]
            case Swap(left, right):
                paths[left] += paths.pop(right)
            case Measure():
                pass
            case _:
                raise InputError(f"{where}: a register cannot be bounced, only pairs can")
    (links,) = paths.values()
    programs = [Program(link.steps, program.memory, program.gates) for link in links]
    weights = np.empty((len(links), 4))
    for members, batch in stack(programs):
        truth = exact(batch)
        if np.any(truth.success == 0.0):
            raise InputError("a link whose pairs never succeed cannot be bounced over")
        weights[members] = truth.populations
    signed = bell.correlators(weights)
    return tuple(
        Hop(np.diag([1.0, x, -y, z]), program.gates, program.memory, link.wait_s, link.attempts)
        for link, (x, y, z) in zip(links, signed.tolist(), strict=True)
    )


@dataclass(frozen=True)
class _Link:
    """The steps that make the pair of one link, and how long it is kept at the end."""

    pair: int
    steps: tuple[Generate | Load | Wait | Distill, ...]
    wait_s: float = 0.0
    attempts: float = 0.0

    def waiting(self, step: Wait) -> "_Link":
        own = Wait(self.pair, step.left_s, step.right_s, step.left_attempts, step.right_attempts)
        return _Link(
            self.pair,
            (*self.steps, own),
            self.wait_s + max(step.left_s, step.right_s),
            self.attempts + max(step.left_attempts, step.right_attempts),
        )


def _single(where: str, *paths: list[_Link]) -> tuple[list[_Link], ...]:
    if any(len(path) != 1 for path in paths):
        raise InputError(f"{where}: joined pairs cannot be distilled where a qubit is bounced")
    return paths
