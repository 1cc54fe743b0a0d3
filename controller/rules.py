"""What does not change in a run of the dispatcher."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from controller.federation import Federation
from quantum.egp import Err, Ok
from quantum.ledger import Rule, World
from quantum.ledger.state import Floats, Ints
from quantum.network import Network

__all__ = ["Answer", "Journal", "Rules", "played_rule"]

#: Takes every decision and every outcome, for the record.
Journal = Callable[[Mapping[str, Any]], None]
#: Takes an answer to a create of a node.
Answer = Callable[[int, Ok | Err], None]


def played_rule(rule: Rule, *, measured: bool) -> Rule:
    """Return the rule that a run plays: where pairs are only measured, none can wait."""
    return rule._replace(ahead_s=0.0, sure=0.0) if measured else rule


@dataclass(frozen=True, eq=False)
class Rules:
    """What does not change in a run.

    ``measured``: the links only measure pairs, they cannot hold them. ``central``: the broker
    decides by the rule. ``lag_slots``: when results count. Rounds close every ``round_slots`` as
    ``federation`` says, with ``noise_multiplier``; ``secret``: their noise and participants are
    drawn by the operating system. Tests count for ``window_s``; a backend that has failed for
    ``patience_s`` ends the run. ``start`` (P,) are the weights of a trained policy. ``gated``: new
    weights go live only if :mod:`controller.gate` lets them pass; ``temperature`` is the one that
    the nodes decide with.
    """

    world: World
    rule: Rule
    network: Network
    delay_slots: Ints
    groups: tuple[tuple[int, ...], ...]
    learn: bool
    central: bool = False
    measured: bool = False
    lag_slots: int = 5
    round_slots: int = 250
    clip_norm: float = 0.2
    noise_multiplier: float = 0.0
    federation: Federation = Federation()
    secret: bool = False
    contention_weight: float = 0.002
    window_s: float = 30.0
    patience_s: float = math.inf
    start: Floats | None = None
    gated: bool = False
    temperature: float = 0.05
