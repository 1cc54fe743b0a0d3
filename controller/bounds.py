"""The bounds of a run on the tokens that are drawn in it: fluid, fair, and in time windows.

See :mod:`quantum.bound`, :mod:`quantum.bound_fair` and :mod:`quantum.bound_windows`.
"""

from typing import Any

import numpy as np

from quantum.bound import horizon, run_bound
from quantum.bound_fair import FairBound, run_fair_bound
from quantum.bound_windows import WindowedBound, slot_tokens, windowed_bound
from quantum.ledger import World, token_totals
from quantum.ledger.state import Ints, tokens_within
from quantum.presence import Presence, presence
from quantum.scenario import Scenario

__all__ = ["STRETCH_S", "fair_of", "fluid_of", "windowed_of"]

#: So much of a run is bounded in time windows: the cost grows faster than the stretch.
STRETCH_S = 10.0


def fluid_of(
    scenario: Scenario, world: World, max_rounds: int, *, swaps_ahead: bool = False
) -> float:
    """Bound the pairs that any allocator could deliver in a run."""
    here = _presence(scenario)
    bound = run_bound(
        scenario,
        tokens=_totals(scenario, world, here),
        swaps_ahead=swaps_ahead,
        **_limits(world, here, max_rounds),
    )
    return bound.total


def fair_of(
    scenario: Scenario, world: World, max_rounds: int, *, swaps_ahead: bool = False
) -> FairBound:
    """Find the largest share of its demand that every node pair can have at once in a run."""
    here = _presence(scenario)
    return run_fair_bound(
        scenario,
        tokens=_totals(scenario, world, here),
        swaps_ahead=swaps_ahead,
        **_limits(world, here, max_rounds),
    )


def windowed_of(
    scenario: Scenario, world: World, max_rounds: int, *, swaps_ahead: bool = False
) -> WindowedBound:
    """Bound the first :data:`STRETCH_S` of a run in time windows; takes some CPU-seconds."""
    first, stop = horizon(scenario)
    here = _presence(scenario)
    tokens = slot_tokens(world.seed, np.ascontiguousarray(world.node.generation), first, stop)
    for node, gone, back in here.away.tolist():
        tokens[gone - first : back - first, node] = 0
    return windowed_bound(
        scenario,
        tokens=tokens,
        seconds=STRETCH_S,
        swaps_ahead=swaps_ahead,
        **_limits(world, here, max_rounds),
    )


def _presence(scenario: Scenario) -> Presence:
    first, stop = horizon(scenario)
    return presence(
        scenario.changes, scenario.network, slot_s=scenario.slot_s, first=first, stop=stop
    )


def _totals(scenario: Scenario, world: World, here: Presence) -> Ints:
    generation = np.ascontiguousarray(world.node.generation)
    tokens = token_totals(world.seed, generation, *horizon(scenario))
    left: Ints = tokens - tokens_within(world.seed, generation, here.away)
    return left


def _limits(world: World, here: Presence, max_rounds: int) -> dict[str, Any]:
    return {
        "max_rounds": max_rounds,
        # No pair is ever better than its link was at its best.
        "correlators": np.abs(world.truth).max(axis=0) if world.truth_slots > 1 else None,
        "usable": here.opened,
    }
