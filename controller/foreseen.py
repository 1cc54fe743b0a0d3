"""Forecasts of a whole game, worked out before it is played.

What nodes forecast depends on the requests that they hear of and on nothing that anybody decides,
so policies that are tried on one game share the forecasts of that game.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from controller.arrivals import Arrivals, Recurrent
from quantum.ledger import Rule, World
from quantum.ledger.expected import claims_of, sure_of
from quantum.ledger.state import Floats, Ints

__all__ = ["Foreseen", "collected", "foreseen", "nothing_foreseen"]


class Foreseen(NamedTuple):
    """Claims of expected requests, slot by slot: those of slot s are ``first[s]:first[s + 1]``.

    ``rows`` are classes, ``whole`` the pairs of a batch, ``chances`` how likely it is. Classes for
    whose two nodes ``most`` pairs should wait are ``sure``, those of slot s from ``begin[s]`` on.
    """

    first: Ints
    rows: Ints
    whole: Floats
    chances: Floats
    begin: Ints
    sure: Ints
    most: Ints


def nothing_foreseen(slots: int) -> Foreseen:
    """Return the forecasts of nodes that expect nothing."""
    first, rows, none = np.zeros(slots + 1, np.int64), np.zeros(0, np.int64), np.zeros(0)
    return Foreseen(first, rows, none, none, first, rows, rows)


def foreseen(world: World, rule: Rule, arrivals: Arrivals | None = None) -> Foreseen:
    """Return what minds forecast that hear of the requests of a world as they are told."""
    ahead = round(rule.horizon_s / world.slot_s)
    if ahead < 1 or rule.complete != 2:
        return nothing_foreseen(world.horizon)
    return collected(
        world, rule, _expected(world, ahead, arrivals or Recurrent(world.cls, world.slot_s))
    )


def _expected(world: World, ahead: int, arrivals: Arrivals) -> Iterable[tuple[Floats, Floats]]:
    """Yield, for every slot, the pairs expected of each class and those of its last request."""
    request = world.request
    order = np.argsort(request.told, kind="stable")
    columns = (request[name][order].tolist() for name in ("told", "arrival", "cls", "pairs"))
    coming = list(zip(*columns, strict=True))
    # Classes of the same two nodes ask for batches of the same size.
    alike: dict[tuple[int, int], list[int]] = {}
    ends = list(zip(world.cls["a"].tolist(), world.cls["b"].tolist(), strict=True))
    for row, pair in enumerate(ends):
        alike.setdefault(pair, []).append(row)
    expected, batch, place = np.zeros(len(world.cls)), np.ones(len(world.cls)), 0
    for slot in range(world.horizon):
        # What is said in a slot is what claims in the next one.
        yield expected, batch
        while place < len(coming) and coming[place][0] <= slot:
            told, arrival, row, pairs = coming[place]
            place += 1
            batch[alike[ends[row]]] = pairs
            if told == arrival:
                arrivals.record(slot, row, pairs)
        expected = arrivals.expected(slot, ahead)


def collected(world: World, rule: Rule, slots: Iterable[tuple[Floats, Floats]]) -> Foreseen:
    """Collect what slots foresee from the pairs expected of each class (C,) and its batch (C,)."""
    parts = [
        (*claims_of(rule, expected, batch), *sure_of(world, rule, expected, batch))
        for expected, batch in slots
    ]
    if not parts:
        return nothing_foreseen(0)
    first = np.cumsum([0, *(len(rows) for rows, _, _, _, _ in parts)])
    begin = np.cumsum([0, *(len(sure) for _, _, _, sure, _ in parts)])
    rows, whole, chances, sure, most = (
        np.concatenate(column) for column in zip(*parts, strict=True)
    )
    return Foreseen(first, rows, whole, chances, begin, sure, most)
