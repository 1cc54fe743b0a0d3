"""Input that no backend may execute: each piece must be refused, by name, before anything is done.

A number that is not one would come back as a count: NaN populations as fails, a T2 that no qubit
has as a better pair.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from backends.conformance.answers import Broken, Refused, ask, plan_for, single
from backends.contract import KEEP, Backend, Plan
from quantum import bell
from quantum.batch import Batch
from quantum.errors import Code, InputError, RequestError
from quantum.program import Gates, Memory

__all__ = ["BAD_INPUT", "refuses"]

Floats = NDArray[np.float64]

_PAIRS = single(bell.werner([0.9, 0.8]))
_ONCE = plan_for(2, 2, 1)
_WAITING = Batch(
    (("generate", 0, -1), ("wait", 0, -1)), _PAIRS.populations, np.full((2, 1, 2), 0.1)
)
_SWAPPED = Batch(
    (("generate", 0, -1), ("generate", 1, -1), ("swap", 0, 1)),
    np.tile(_PAIRS.populations, (1, 2, 1)),
    np.empty((2, 0, 2)),
)
_LOADED = Batch(
    (("load", 0, -1),),
    np.empty((2, 0, 4)),
    np.empty((2, 0, 2)),
    states=np.tile(np.diag([1.0, 1.0, -1.0, 1.0]), (2, 1, 1, 1)),
)


def refuses(batch: Batch, plan: Plan, backend: Backend) -> str:
    """Ask for what cannot be: InputError, or UNSUPP where the backend could not do it anyway."""
    try:
        ask(backend, batch, plan)
    except (InputError, Refused) as refused:
        return str(refused)
    except RequestError as refused:
        if refused.code == Code.UNSUPP:
            return str(refused)
        raise
    raise Broken("must be refused with InputError, but was executed")


def _with(values: Floats, value: float, at: tuple[int, ...] = (1, 0, 0)) -> Floats:
    """Return a copy with one wrong number, in the second of two programs."""
    wrong = values.copy()
    wrong[at] = value
    return wrong


def _batches() -> Iterator[tuple[str, Batch]]:
    weights, waits, states = _PAIRS.populations, _WAITING.waits_s, _LOADED.states
    for name, value in (("NaN", np.nan), ("infinite", np.inf), ("negative", -0.1)):
        yield f"{name} populations", replace(_PAIRS, populations=_with(weights, value))
        yield f"{name} waits", replace(_WAITING, waits_s=_with(waits, value))
        yield f"{name} attempts", replace(_WAITING, attempts=_with(waits, value))
    yield "populations that do not sum to 1", replace(_PAIRS, populations=0.9 * weights)
    yield "populations of another shape", replace(_PAIRS, populations=weights[..., :3])
    yield "missing pairs", replace(_SWAPPED, populations=weights)
    yield "missing waits", replace(_WAITING, waits_s=waits[:, :0], attempts=waits[:, :0])
    yield "attempts of another shape", replace(_WAITING, attempts=waits[..., :1])
    yield "attempts without an axis", replace(_WAITING, attempts=waits[:, 0])
    yield "T2 > 2 T1", replace(_WAITING, memory=Memory(t1_s=1.0, t2_s=2.5))
    yield "T1 of zero", replace(_WAITING, memory=Memory(t1_s=0.0, t2_s=0.0))
    yield "T2 of NaN", replace(_WAITING, memory=Memory(t2_s=np.nan))
    yield "an impossible depolarising weight", replace(_SWAPPED, gates=Gates(gate_depolarizing=1.5))
    yield "a readout error of NaN", replace(_SWAPPED, gates=Gates(readout_error=np.nan))
    yield "a negative success", replace(_SWAPPED, gates=Gates(success=-0.1))
    yield (
        "a swap with nothing",
        replace(_SWAPPED, skeleton=(*_SWAPPED.skeleton[:2], ("swap", 0, 7))),
    )
    yield "two pairs at the end", replace(_SWAPPED, skeleton=_SWAPPED.skeleton[:2])
    yield "NaN in a state", replace(_LOADED, states=_with(states, np.nan, (1, 0, 2, 3)))
    yield "a state of trace 2", replace(_LOADED, states=2.0 * states)
    yield "a state with a negative eigenvalue", replace(_LOADED, states=abs(states))


def _plans() -> Iterator[tuple[str, Plan]]:
    free = np.full(2, np.nan)
    yield "a plan of another length", plan_for(3, 2, 1)
    yield "an unknown basis", plan_for(2, 3, 1)
    yield "negative shots", plan_for(2, 2, -1)
    yield "a keep with shots", Plan(np.array([2, KEEP]), np.array([1, 1]), free)
    yield "a draw of 1", plan_for(2, 2, 1, draw=1.0)
    yield "a negative draw", plan_for(2, 2, 1, draw=-0.1)


#: What must be refused, by name: a batch and a plan, one of which is wrong.
BAD_INPUT: tuple[tuple[str, Batch, Plan], ...] = (
    *((name, batch, _ONCE) for name, batch in _batches()),
    *((name, _PAIRS, plan) for name, plan in _plans()),
)
