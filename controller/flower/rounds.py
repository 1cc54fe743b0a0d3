"""The server's part of a round: changes of all nodes in, the next common weights out.

The aggregator is that of runs (:mod:`controller.averaging`), with its robust ways and its noise.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from controller.averaging import Average
from controller.flower.plan import Plan
from controller.flower.site import State, learn_round
from quantum.errors import InputError
from quantum.ledger.state import Floats

__all__ = ["average_of", "check_rows", "privacy_of", "rounds_in_process"]


def average_of(plan: Plan, nodes: int) -> Average:
    """Return the aggregator of a plan among so many nodes; InputError where they are too few."""
    return Average(plan.scheme(nodes), plan.start(), seed=plan.seed)


def check_rows(rows: Floats, nodes: int, parameters: int) -> None:
    """Refuse changes that are not ``nodes`` rows of float64 as long as the weights."""
    shape = (nodes, parameters)
    if rows.dtype != np.float64 or rows.shape != shape:
        raise InputError(f"changes must be {shape} of float64, got {rows.shape} of {rows.dtype}")


def privacy_of(average: Average) -> dict[str, Any]:
    """Say how changes became one and what the rounds so far have cost; plain values.

    ``epsilon`` and ``delta`` are None where nothing is promised.
    """
    scheme = average.scheme
    return {
        "aggregator": scheme.federation.aggregator,
        "privacy": scheme.federation.privacy,
        "epsilon": scheme.epsilon(average.done),
        "delta": scheme.delta,
        "rounds": average.done,
    }


def rounds_in_process(plan: Plan, *, progress: Callable[[int], None] = lambda _: None) -> Floats:
    """Play all rounds here, without sites and messages; return the weights (P,).

    Where nodes add noise themselves (``local``) sites do it: here there would be nobody to hide
    from, and InputError says so.
    """
    if plan.privacy == "local":
        raise InputError("privacy local is for sites; in one process give central or none")
    weights, average, kept = plan.start(), None, State()
    for number in range(plan.rounds):
        rows, kept = learn_round(plan, number, weights, kept)
        average = average or average_of(plan, len(rows))
        average.close(np.arange(len(rows)), rows)
        weights = average.current
        progress(average.done)
    return weights
