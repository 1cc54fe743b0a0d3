"""dpem that learns with less around it: rungs of the ladder below the whole.

All start from the same policy and learn from the same decisions of the same slots; what differs is
what becomes of that at the end of a round. The gate is there in each.
"""

from dataclasses import replace

from controller.federation import Federation
from controller.game import Game
from controller.rivals.allocator import Player
from controller.rivals.dpem import allocator, player

__all__ = ["alone", "federated"]


def _alone(game: Game) -> Player:
    return player(game, federation=Federation(aggregator="none"))


def _federated(game: Game) -> Player:
    return player(game, federation=Federation(privacy="none"))


alone = replace(
    allocator,
    name="dpem-alone",
    sentence="dpem without averages: every node learns for itself, no weights are shared.",
    play=_alone,
    make=None,
    levers={},
)
federated = replace(
    allocator,
    name="dpem-federated",
    sentence="dpem without privacy: nodes learn and average, and nobody adds noise.",
    play=_federated,
    make=None,
    levers={},
)
