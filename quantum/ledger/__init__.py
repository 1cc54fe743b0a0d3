"""Who holds which resource in which slot: the network world as numba kernels.

A slot is played in five steps, each a function of the constant :class:`~quantum.ledger.state.World`
and the mutable :class:`~quantum.ledger.state.Ledger`::

    open_slot   old pairs go, buckets fill, tokens are drawn, requests become live
    observe     what one node sees of itself and its neighbours
    generate    the chosen links get their pairs, full memories yield theirs
    serve       live requests get the cheapest chain of stored pairs, by swaps; some get
                theirs swapped ahead
    close_slot  requests past their deadline leave, contention is counted

The twin plays them in one loop, the live broker plays the same functions one slot at a time and
asks the agents between ``observe`` and ``generate``.
"""

from quantum.ledger.ahead import serve
from quantum.ledger.build import new_world, no_paths
from quantum.ledger.fresh import new_ledger
from quantum.ledger.generate import act_as_needed, act_by_rule, generate
from quantum.ledger.observe import observe
from quantum.ledger.slot import close_slot, open_slot
from quantum.ledger.state import (
    ACTION_TOKENS,
    RAW,
    Ledger,
    Rule,
    World,
    seed_at,
    swaps_ahead,
    token_totals,
)

__all__ = [
    "ACTION_TOKENS",
    "RAW",
    "Ledger",
    "Rule",
    "World",
    "act_as_needed",
    "act_by_rule",
    "close_slot",
    "generate",
    "new_ledger",
    "new_world",
    "no_paths",
    "observe",
    "open_slot",
    "seed_at",
    "serve",
    "swaps_ahead",
    "token_totals",
]
