"""What an allocator did, slot by slot: as tables to keep, and as one digest to compare.

Playing in steps of one slot changes nothing (an allocator plays *up to* a slot), so what is written
down here is what it does in one go.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from controller.game import Game, ledger_of, player_of
from controller.rivals.allocator import Allocator
from quantum.ledger import Ledger
from quantum.ledger.state import Floats, Ints
from quantum.record import Digest

__all__ = ["ACTS", "FORECASTS", "SERVED", "Decisions", "Slot", "follow", "note", "record"]

#: Columns of what nodes did with their tokens: ``link`` -1 idle, ``pair`` its number or -1 refused.
ACTS = ("slot", "node", "token", "link", "pair")
#: Columns of what became of requests in a slot: chains swapped, pairs left, good pairs so far.
SERVED = ("slot", "request", "chains", "left", "good")
#: Columns of what was foreseen; the pairs that a link will soon be asked for are the value.
FORECASTS = ("slot", "link")


@dataclass(frozen=True, eq=False)
class Decisions:
    """Every decision of an allocator; integers (rows, columns), and ``digest`` over all of it.

    ``foreseen`` (rows,) belongs to ``forecasts``; both are empty for allocators that forecast
    nothing. The digest is also over memories and swap buckets after every slot.
    """

    acts: Ints
    served: Ints
    forecasts: Ints
    foreseen: Floats
    digest: str


@dataclass(frozen=True, eq=False)
class Slot:
    """What was done in one slot; rows of :data:`ACTS` and :data:`SERVED`."""

    acts: Ints
    served: Ints


def follow(game: Game, allocator: Allocator, ledger: Ledger, stop: int) -> Iterator[Slot]:
    """Play a ledger slot by slot and say after each what was done in it."""
    play = player_of(game, allocator)
    before = ledger.request.attempts.copy()
    while ledger.now[0].clock < stop:
        slot = int(ledger.now[0].clock)
        play(ledger, slot + 1)
        yield Slot(_acts(game, ledger, slot), _served(ledger, before, slot))
        before[:] = ledger.request.attempts


def note(digest: Digest, slot: Slot, ledger: Ledger) -> None:
    """Add a slot, and the state after it, to a digest."""
    digest.update_array(slot.acts)
    digest.update_array(slot.served)
    digest.update_array(ledger.link.stock)
    digest.update_array(ledger.node.used)
    digest.update_array(ledger.node.swap_tokens)


def record(game: Game, allocator: Allocator) -> tuple[Ledger, Decisions]:
    """Play a game to its horizon and keep every decision."""
    ledger = ledger_of(game, allocator)
    digest = Digest()
    acts, served, forecasts, foreseen = [], [], [], []
    last = np.zeros(game.world.m)
    for slot in follow(game, allocator, ledger, game.world.horizon):
        note(digest, slot, ledger)
        acts.append(slot.acts)
        served.append(slot.served)
        changed = np.flatnonzero(ledger.link.forecast != last)
        if len(changed):
            last[:] = ledger.link.forecast
            when = np.full(len(changed), int(ledger.now[0].clock) - 1)
            forecasts.append(np.column_stack([when, changed]))
            foreseen.append(last[changed])
    return ledger, Decisions(
        acts=_joined(acts, len(ACTS)),
        served=_joined(served, len(SERVED)),
        forecasts=_joined(forecasts, len(FORECASTS)),
        foreseen=np.concatenate(foreseen) if foreseen else np.zeros(0),
        digest=digest.hexdigest(),
    )


def _acts(game: Game, ledger: Ledger, slot: int) -> Ints:
    """Read what nodes did with the tokens of the slot that was just played."""
    world, width = game.world, ledger.choice.shape[1]
    nodes, tokens = np.nonzero(np.arange(width) < ledger.node.tokens[:, None])
    position = ledger.choice[nodes, tokens]
    real = (position >= 0) & (position < world.node.degree[nodes])
    link = np.where(real, world.inc_link[nodes, np.where(real, position, 0)], -1)
    when = np.full(len(nodes), slot)
    return np.column_stack([when, nodes, tokens, link, ledger.made[nodes, tokens]])


def _served(ledger: Ledger, before: Ints, slot: int) -> Ints:
    """Read which requests had chains swapped for them."""
    chains = ledger.request.attempts - before
    who = np.flatnonzero(chains)
    when, asked = np.full(len(who), slot), ledger.request[who]
    return np.column_stack([when, who, chains[who], asked.left, asked.good])


def _joined(parts: list[Ints], width: int) -> Ints:
    return np.concatenate(parts) if parts else np.zeros((0, width), dtype=np.int64)
