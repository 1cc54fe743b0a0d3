"""What trajectories are worth, and how a backend executes them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

from quantum import bell, werner
from quantum.batch import Batch, Skeleton
from quantum.chain.play import Deliveries, Trajectories
from quantum.errors import InputError
from quantum.program import Gates, Memory

__all__ = ["Summary", "as_batch", "summary"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Summary:
    """Means over N deliveries, each with its standard error.

    ``rate_hz`` is that of one delivery after another, 1 / mean time (renewal theorem), its error by
    the delta method. ``time_quantiles_s`` are (chance, seconds).
    """

    size: int
    mean_time_s: float
    mean_time_error_s: float
    time_quantiles_s: tuple[tuple[float, float], ...]
    rate_hz: float
    rate_error_hz: float
    mean_fidelity: float
    mean_fidelity_error: float
    mean_attempts: float


def summary(pairs: Deliveries, quantiles: Sequence[float] = (0.1, 0.5, 0.9, 0.99)) -> Summary:
    """Summarise deliveries; with a single one the errors are NaN.

    >>> times, states = np.array([1.0, 3.0]), np.ones((2, 3))
    >>> got = summary(Deliveries(times, states, times), quantiles=[0.5])
    >>> got.mean_time_s, got.mean_time_error_s, got.rate_hz, got.mean_fidelity
    (2.0, 1.0, 0.5, 1.0)
    """
    if len(pairs) == 0:
        raise InputError("a summary needs at least one delivery")
    chances = np.asarray(quantiles, dtype=np.float64)
    if chances.ndim != 1 or not np.all((chances >= 0.0) & (chances <= 1.0)):
        raise InputError(f"quantiles must be between 0 and 1, got {quantiles}")
    time, time_error = _mean(pairs.time_s)
    fidelity, fidelity_error = _mean(werner.fidelity(pairs.correlators))
    seconds = np.quantile(pairs.time_s, chances)
    return Summary(
        size=len(pairs),
        mean_time_s=time,
        mean_time_error_s=time_error,
        time_quantiles_s=tuple(zip(chances.tolist(), seconds.tolist(), strict=True)),
        rate_hz=1.0 / time,
        rate_error_hz=time_error / time**2,
        mean_fidelity=fidelity,
        mean_fidelity_error=fidelity_error,
        mean_attempts=float(pairs.attempts_total.mean()),
    )


def _mean(values: Floats) -> tuple[float, float]:
    error = values.std(ddof=1) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return float(values.mean()), float(error)


def as_batch(
    trajectories: Trajectories,
    *,
    populations: ArrayLike | None = None,
    expectations: ArrayLike | None = None,
    memory: Memory = Memory(),  # noqa: B008  (a frozen value)
    gates: Gates = werner.PERFECT,
) -> Batch:
    """Return the programs of N trajectories: make k pairs, wait each, swap; for any backend.

    Fresh pairs are given by Bell ``populations`` ``(4,)`` or ``(k, 4)``, or by Pauli
    ``expectations`` ``(4, 4)`` or ``(k, 4, 4)``. All waits come first, as corrections are Pauli
    frames until the end. The swaps of a trajectory have succeeded, so theirs is sure here.
    """
    size, links = trajectories.waits_s.shape[:2]
    loads = expectations is not None
    if loads == (populations is not None):
        raise InputError("as_batch needs either populations or expectations")
    name, shape = ("expectations", (4, 4)) if loads else ("populations", (4,))
    fresh = np.asarray(expectations if loads else populations, dtype=np.float64)
    if fresh.shape not in (shape, (links, *shape)):
        raise InputError(f"{name} must have shape {shape} or {(links, *shape)}, got {fresh.shape}")
    fresh = np.broadcast_to(fresh, (links, *shape))
    for number, state in enumerate(fresh):
        check = bell.check_state if loads else bell.check_populations
        check(f"{name}[{number}]", tuple(state.ravel().tolist()))
    every = np.broadcast_to(fresh, (size, links, *shape))
    return Batch(
        skeleton=_skeleton(links, loads),
        populations=np.empty((size, 0, 4)) if loads else every,
        waits_s=trajectories.waits_s,
        memory=memory.check(),
        gates=msgspec.structs.replace(gates.check(), success=1.0),
        states=every if loads else np.empty((size, 0, 4, 4)),
        attempts=trajectories.attempts,
    )


def _skeleton(links: int, loads: bool) -> Skeleton:
    """Return the steps of a chain.

    >>> _skeleton(2, False)[2:]
    (('wait', 0, -1), ('wait', 1, -1), ('swap', 0, 1))
    """
    return (
        *(("load" if loads else "generate", link, -1) for link in range(links)),
        *(("wait", link, -1) for link in range(links)),
        *(("swap", 0, link) for link in range(1, links)),
    )
