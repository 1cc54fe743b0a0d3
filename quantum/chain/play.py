"""Play a chain: with all waits, or straight to the states that are delivered."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from quantum import bell
from quantum.chain.draws import base_key, trajectory_key
from quantum.chain.lossy import new_rows, play_lossy
from quantum.chain.setting import Plan, Setting, plan_of
from quantum.chain.sure import BLOCK, play_sure
from quantum.closed import chain_block, rates
from quantum.errors import InputError
from quantum.kernels import Table, kernel
from quantum.program import Gates, Memory
from quantum.seeding import stream
from quantum.werner import PERFECT, swap_factors

__all__ = ["MOST_EVENTS", "Deliveries", "Trajectories", "deliver", "play"]

Floats = NDArray[np.float64]

#: A delivery that takes more events than this is taken for one that never comes.
MOST_EVENTS = 10_000_000


@dataclass(frozen=True, eq=False)
class Trajectories:
    """N deliveries with the history of the pairs that were used in the end.

    ``time_s`` (N,) from the start, or the delivery before; ``waits_s`` (N, k, 2) how long the left
    and the right memory of each link stored its qubit until its swap or the delivery;
    ``attempts`` (N, k, 2) attempts of the node's other link that ended meanwhile;
    ``attempts_total`` (N,) of all links, also for pairs that were lost.
    """

    time_s: Floats
    waits_s: Floats
    attempts: Floats
    attempts_total: Floats

    def __len__(self) -> int:
        return len(self.time_s)


@dataclass(frozen=True, eq=False)
class Deliveries:
    """N deliveries: ``time_s`` (N,), ``correlators`` (N, 3) and ``attempts_total`` (N,)."""

    time_s: Floats
    correlators: Floats
    attempts_total: Floats

    def __len__(self) -> int:
        return len(self.time_s)


def play(
    setting: Setting, size: int, seed: int, *, first: int = 0, most_events: int = MOST_EVENTS
) -> Trajectories:
    """Play the deliveries ``first`` to ``first + size - 1`` of a seed, one after another.

    Delivery i depends on (setting, seed, i) only: any split into calls gives the same bytes.

    >>> chain = Setting(success_probability=np.array([1.0, 1.0]), attempt_s=np.array([1.0, 3.0]))
    >>> one = play(chain, 1, seed=0)
    >>> one.time_s.tolist(), one.waits_s.tolist()
    ([3.0], [[[2.0, 2.0], [0.0, 0.0]]])
    >>> one.attempts.tolist()
    [[[0.0, 1.0], [0.0, 0.0]]]
    """
    links = setting.links
    out = Trajectories(
        time_s=np.empty(_count("size", size)),
        waits_s=np.empty((size, links, 2)),
        attempts=np.empty((size, links, 2)),
        attempts_total=np.empty(size),
    )
    _play(
        plan_of(setting),
        np.uint64(base_key(_count("seed", seed), _STREAM)),
        _count("first", first),
        _count("most_events", most_events),
        np.empty((5, links + 1, BLOCK)),
        new_rows(links),
        out.time_s,
        out.waits_s,
        out.attempts,
        out.attempts_total,
    )
    _check_end(out.time_s, first, most_events)
    return out


def deliver(
    setting: Setting,
    size: int,
    seed: int,
    correlators: ArrayLike,
    memory: Memory = Memory(),  # noqa: B008  (a frozen value)
    gates: Gates = PERFECT,
    *,
    first: int = 0,
    most_events: int = MOST_EVENTS,
) -> Deliveries:
    """Play deliveries as :func:`play` does, and return their exact states instead of their waits.

    ``correlators`` ``(3,)`` or ``(k, 3)`` are those of fresh Bell-diagonal pairs
    (:mod:`quantum.bell`). The chance that a swap succeeds is the setting's, not that of ``gates``.

    >>> chain = Setting(success_probability=np.full(2, 0.1), attempt_s=1e-3)
    >>> pairs = deliver(chain, 3, 7, [0.96, 0.96, 0.96])
    >>> pairs.correlators.round(4).tolist()[0]
    [0.9216, 0.9216, 0.9216]
    """
    links = setting.links
    try:
        fresh = np.array(correlators, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError("correlators must be an array of numbers") from None
    if fresh.shape not in ((3,), (links, 3)):
        raise InputError(f"correlators must have shape (3,) or ({links}, 3), got {fresh.shape}")
    if not bell.populations(fresh).min() >= -1e-9:  # nor NaN
        raise InputError("correlators must be those of states: populations >= 0")
    out = Deliveries(
        time_s=np.empty(_count("size", size)),
        correlators=np.empty((size, 3)),
        attempts_total=np.empty(size),
    )
    _deliver(
        plan_of(setting),
        np.uint64(base_key(_count("seed", seed), _STREAM)),
        _count("first", first),
        _count("most_events", most_events),
        np.empty((5, links + 1, BLOCK)),
        new_rows(links),
        np.broadcast_to(fresh, (links, 3)).ravel(),
        rates(memory),
        swap_factors(gates.check()) ** (links - 1),
        out.time_s,
        out.correlators.ravel(),
        out.attempts_total,
    )
    _check_end(out.time_s, first, most_events)
    return out


_STREAM = stream("chain")


def _count(name: str, value: int) -> int:
    whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not whole or not 0 <= value < 2**63:
        raise InputError(f"{name} must be a whole number >= 0, got {value!r}")
    return int(value)


def _check_end(time_s: Floats, first: int, most_events: int) -> None:
    endless = np.flatnonzero(np.isnan(time_s))
    if len(endless):
        raise InputError(
            f"delivery {first + endless[0]} took more than {most_events} events: cutoff_s is too "
            "short or swap_success too small for this chain"
        )


@kernel
def _fill(
    plan: Plan,
    base: np.uint64,
    first: int,
    most_events: int,
    counting: bool,
    scratch: Floats,
    rows: Table,
    time_s: Floats,
    waits_s: Floats,
    attempts: Floats,
    total: Floats,
) -> bool:
    """Play BLOCK trajectories or less; whether all ended."""
    if plan.sure:
        play_sure(plan, base, first, counting, scratch, time_s, waits_s, attempts, total)
        return True
    for j in range(len(time_s)):
        key = trajectory_key(base, first + j)
        time_s[j], total[j] = play_lossy(
            plan, key, most_events, counting, rows, waits_s[j], attempts[j]
        )
        if np.isnan(time_s[j]):
            return False
    return True


@kernel
def _play(
    plan: Plan,
    base: np.uint64,
    first: int,
    most_events: int,
    scratch: Floats,
    rows: Table,
    time_s: Floats,
    waits_s: Floats,
    attempts: Floats,
    total: Floats,
) -> None:
    for begin in range(0, len(time_s), BLOCK):
        part = slice(begin, min(len(time_s), begin + BLOCK))
        if not _fill(
            plan,
            base,
            first + begin,
            most_events,
            True,
            scratch,
            rows,
            time_s[part],
            waits_s[part],
            attempts[part],
            total[part],
        ):
            return


@kernel
def _deliver(
    plan: Plan,
    base: np.uint64,
    first: int,
    most_events: int,
    scratch: Floats,
    rows: Table,
    fresh: Floats,
    rate: Floats,
    factors: Floats,
    time_s: Floats,
    correlators: Floats,
    total: Floats,
) -> None:
    waits_s = np.empty((BLOCK, plan.links, 2))
    attempts = np.empty((BLOCK, plan.links, 2))
    survival = np.empty(BLOCK * plan.links * 2)
    counting = rate[2] > 0.0
    nothing = np.empty(0)
    for begin in range(0, len(time_s), BLOCK):
        end = min(len(time_s), begin + BLOCK)
        waits, meanwhile = waits_s[: end - begin], attempts[: end - begin]
        if not _fill(
            plan,
            base,
            first + begin,
            most_events,
            counting,
            scratch,
            rows,
            time_s[begin:end],
            waits,
            meanwhile,
            total[begin:end],
        ):
            return
        chain_block(
            fresh,
            waits.ravel(),
            meanwhile.ravel() if counting else nothing,
            plan.links,
            rate,
            factors,
            survival,
            correlators[3 * begin : 3 * end],
        )
