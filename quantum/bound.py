"""How many pairs anyone could have delivered: a linear program above every allocator.

The *fluid bound* maximises delivered pairs over flows on admissible paths. Each pair on a path
spends 2^rounds pairs of every link (made from the generation tokens of either end) and one swap
token of every node between its ends. Everything else is left out, and each omission can only raise
the bound: whole numbers, time inside the horizon, memory qubits, decay, signalling, failing swaps
and distillations, test pairs. Fidelity enters through the paths, see :mod:`quantum.bound_columns`.
"""

import math

import numpy as np
from numpy.typing import NDArray

from quantum.bound_program import check_tokens, prepare, solve
from quantum.bound_values import Bound, Classes, Duals, PathFlow
from quantum.network import Network
from quantum.presence import presence
from quantum.scenario import Scenario

__all__ = [
    "Bound",
    "Classes",
    "Duals",
    "PathFlow",
    "fluid_bound",
    "horizon",
    "run_bound",
    "window_classes",
]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


def fluid_bound(
    network: Network,
    classes: Classes,
    *,
    generation: Floats,
    swaps: Floats,
    max_rounds: int = 0,
    correlators: Floats | None = None,
    usable: Bools | None = None,
) -> Bound:
    """Bound the pairs that can be delivered with so many tokens.

    ``generation`` (n,) and ``swaps`` (n,) are token totals (or rates, with ``classes.pairs`` as
    rates). ``max_rounds`` allows distillation, chosen link by link.
    """
    check_tokens(network, generation, swaps)
    problem = prepare(
        network,
        classes,
        generates=generation > 0,
        swaps=swaps > 0,
        max_rounds=max_rounds,
        correlators=correlators,
        usable=usable,
    )
    return solve(problem, classes.pairs, generation=generation, swaps=swaps)


def horizon(scenario: Scenario) -> tuple[int, int]:
    """Return the slots ``[first, stop)`` whose generation tokens can serve counted requests.

    From ``cutoff_s`` before the end of the warm-up (older pairs are gone) to the last slot in which
    a request that arrives in the evaluation window may be served.
    """
    slot_s, trace, which = scenario.slot_s, scenario.trace, counted(scenario)
    stop = scenario.warmup_slots + scenario.slots
    if which.any():
        last_s = float((trace.time_s[which] + trace.deadline_s[which]).max())
        stop = max(stop, math.floor(last_s / slot_s + 1e-9) + 1)
    cutoff = max(1, round(scenario.network.cutoff_s / slot_s))
    return max(0, scenario.warmup_slots - cutoff - 1), stop


def window_classes(scenario: Scenario) -> Classes:
    """Return what the requests that arrive in the evaluation window want, by class."""
    trace, asked = scenario.trace, counted(scenario)
    keys = np.stack([trace.commodity[asked], trace.minimum_fidelity[asked]], axis=1)
    kinds, which = np.unique(keys, axis=0, return_inverse=True)
    pairs = np.zeros(len(kinds))
    np.add.at(pairs, which.ravel(), trace.pairs[asked])
    return Classes(
        commodities=trace.commodities.reshape(-1, 2),
        commodity=kinds[:, 0].astype(np.int64),
        minimum_fidelity=kinds[:, 1],
        pairs=pairs,
    )


def run_bound(
    scenario: Scenario,
    *,
    tokens: Ints,
    max_rounds: int = 0,
    correlators: Floats | None = None,
    usable: Bools | None = None,
    swaps_ahead: bool = False,
) -> Bound:
    """Bound what any allocator could deliver in a run, on the tokens that were really drawn.

    ``tokens`` (n,) generation tokens summed over the slots of :func:`horizon`, which include the
    stock that warm-up can leave. Swap tokens: a full bucket at the end of the warm-up and the
    refill from there to the end of the horizon; ``swaps_ahead`` adds that of ``cutoff_s`` before,
    for worlds where pairs are swapped before a request asks for them. Test pairs are not taken off,
    so the bound holds for any share of them. Where the network changes, ``tokens`` are to be of the
    slots in which a node is there (:mod:`quantum.presence`), and ``usable`` (m,) tells which links
    are ever open; swap tokens are counted while a node is there, a full bucket each time it joins.
    """
    return fluid_bound(
        scenario.network,
        window_classes(scenario),
        generation=np.asarray(tokens, dtype=np.float64),
        swaps=swap_tokens(scenario, swaps_ahead=swaps_ahead),
        max_rounds=max_rounds,
        correlators=correlators,
        usable=usable,
    )


def swap_tokens(scenario: Scenario, *, swaps_ahead: bool = False) -> Floats:
    """Return the swap tokens (n,) that can serve counted requests, see :func:`run_bound`."""
    network = scenario.network
    first, stop = horizon(scenario)
    begin = first if swaps_ahead else scenario.warmup_slots
    here = presence(scenario.changes, network, slot_s=scenario.slot_s, first=begin, stop=stop)
    refill: Floats = network.swap_hz * here.slots * scenario.slot_s
    return refill + here.buckets * np.maximum(1.0, network.swap_hz)


def counted(scenario: Scenario) -> Bools:
    """Tell which requests arrive in the evaluation window, (R,)."""
    begin = scenario.warmup_slots
    slot = np.floor(scenario.trace.time_s / scenario.slot_s + 1e-9)
    return (slot >= begin) & (slot < begin + scenario.slots)
