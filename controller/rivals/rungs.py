"""dpem that learns with less around it: rungs of the ladder below the whole.

All start from the same policy and learn from the same decisions of the same slots; what differs is
what becomes of that at the end of a round. The gate is there in each.
"""

from dataclasses import replace
from functools import partial

from controller.federation import Federation
from controller.rivals.dpem import allocator, player

__all__ = ["alone", "federated"]

alone = replace(
    allocator,
    name="dpem-alone",
    sentence="dpem without averages: every node learns for itself, no weights are shared.",
    play=partial(player, federation=Federation(aggregator="none")),
    make=None,
    levers={},
)
federated = replace(
    allocator,
    name="dpem-federated",
    sentence="dpem without privacy: nodes learn and average, and nobody adds noise.",
    play=partial(player, federation=Federation(privacy="none")),
    make=None,
    levers={},
)
