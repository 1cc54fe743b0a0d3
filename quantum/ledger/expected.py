"""Requests that are expected: what they claim, and what should wait for them.

Claims say on which links pairs should be before they are asked for.
They come after the claims of the requests that are known, of what those leave, and go to
``ledger.link.forecast``, which raises the targets of generation. Nobody is served for them. A class
of which ``pairs`` are expected claims as the batch that a request of it is: the paths are those of
whole swap tokens, and each is claimed by the chance that the batch comes.

Where a batch is as good as sure, chains are swapped before it is asked for; see
:mod:`quantum.ledger.ahead`. Those pairs wait for two nodes and not for a class: which fidelity will
be asked is often less sure than that something will, and the best pairs are good enough for all.
"""

import numpy as np

from quantum.kernels import kernel, lean
from quantum.ledger.heard import hide, show
from quantum.ledger.shares import (
    MOST_PARTS,
    claim_path,
    end_shares,
    find_part,
    resume_shares,
    waiting,
)
from quantum.ledger.state import MAX_HOPS, Floats, Ints, Ledger, Rule, World

__all__ = [
    "MOST_AHEAD",
    "MOST_EXPECTED",
    "claim_expected",
    "claims_of",
    "expect",
    "note_sure",
    "slack_of",
    "sure_of",
]

#: Pairs of a class that may be expected within a horizon; more would be no forecast.
MOST_EXPECTED = 1e4
#: Pairs that wait for two nodes at most; more would hold memories on no more than a forecast.
MOST_AHEAD = 4


def expect(world: World, ledger: Ledger, rule: Rule, pairs: Floats, batch: Floats) -> None:
    """Let ``pairs`` (C,) of each class claim that are expected within the rule's horizon.

    What is as good as sure is noted, and swapped ahead for when the slot is served.

    ``batch`` (C,) are the pairs of a request. To be called in an open slot, after the claims of
    what is known; a rule without a horizon, or claims that do not share, leaves everything as it
    is. Classes of which more is expected claim first.
    """
    links = ledger.link
    if rule.horizon_s <= 0.0 or rule.complete != 2:
        return
    note_sure(ledger, *sure_of(world, rule, pairs, batch))
    rows, whole, chances = claims_of(rule, pairs, batch)
    if not len(rows):
        links.forecast[:] = 0.0
        return
    claim_expected(world, ledger, rule, rows, whole, chances, slack_of(world, rule))


def claims_of(rule: Rule, pairs: Floats, batch: Floats) -> tuple[Ints, Floats, Floats]:
    """Return the classes that claim, in their order, with the pairs of a batch and its chance."""
    rows = np.flatnonzero(pairs >= rule.least)
    rows = rows[np.argsort(-pairs[rows], kind="stable")]
    whole = np.maximum(pairs[rows], batch[rows])
    return rows, whole, pairs[rows] / whole


def sure_of(world: World, rule: Rule, pairs: Floats, batch: Floats) -> tuple[Ints, Ints]:
    """Return classes (S,) for whose two nodes pairs should wait, the surest first, and how many.

    Of the classes of two nodes it is the strictest: what is good enough for it is so for all.
    """
    cls = world.cls
    if rule.sure <= 0.0 or not len(cls):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    expected = np.bincount(cls["first"], pairs, minlength=len(cls))
    whole = np.maximum(expected, batch)
    sure = expected / np.maximum(whole, 1e-300)
    firsts = np.flatnonzero((sure >= rule.sure) & (expected > 0.0))
    firsts = firsts[np.argsort(-sure[firsts], kind="stable")]
    strictest = np.zeros(len(cls), dtype=np.int64)
    order = np.argsort(cls["fidelity"], kind="stable")
    strictest[cls["first"][order]] = order
    most = np.minimum(MOST_AHEAD, np.rint(whole[firsts])).astype(np.int64)
    return strictest[firsts], most


@kernel
def note_sure(ledger: Ledger, rows: Ints, most: Ints) -> None:
    """Note that ``most`` (S,) pairs should wait for the two nodes of classes ``rows`` (S,)."""
    ledger.now[0].soon = len(rows)
    for index in range(len(rows)):
        ledger.ready[index].row, ledger.ready[index].soon = rows[index], most[index]


def slack_of(world: World, rule: Rule) -> int:
    """Return the slots within which what is expected would have to be served."""
    return max(1, round(rule.horizon_s / world.slot_s))


@kernel
def claim_expected(
    world: World,
    ledger: Ledger,
    rule: Rule,
    rows: Ints,
    whole: Floats,
    chances: Floats,
    slack: int,
) -> None:
    """Let E classes ``rows`` claim ``whole`` (E,) pairs by their ``chances`` (E,), in this order.

    Writes ``ledger.link.forecast``; ``wanted`` stays as it is.
    """
    links, chains = ledger.link, np.empty((MOST_PARTS, MAX_HOPS), dtype=np.int64)
    amounts = np.empty(MOST_PARTS)
    for number in range(world.m):
        links[number].forecast = links[number].wanted
    # The swap tokens that what is known has claimed are gone.
    resume_shares(world, ledger)
    heard = -1
    for index in range(len(rows)):
        row = rows[index]
        if len(world.age) > 0:
            heard = _listen(world, ledger, row, heard)
        most = whole[index] - waiting(world, ledger, row)
        _claim_batch(world, ledger, rule, row, most, chances[index], slack, chains, amounts)
    end_shares(world, ledger)
    if heard >= 0:
        show(world, ledger)
    for number in range(world.m):
        known = links[number].forecast
        links[number].forecast = max(0.0, links[number].wanted - known)
        links[number].wanted = known


@lean
def _claim_batch(
    world: World,
    ledger: Ledger,
    rule: Rule,
    row: int,
    whole: float,
    chance: float,
    slack: int,
    chains: Ints,
    amounts: Floats,
) -> None:
    """Claim paths for all of a batch, so that they share, and give back what may not come.

    ``chains`` (MOST_PARTS, MAX_HOPS) and ``amounts`` (MOST_PARTS,) are for work.
    """
    parts, left = 0, whole
    while parts < MOST_PARTS and left > 0.0:
        length, part = find_part(world, ledger, rule, row, left, slack)
        if length == 0:
            break
        claim_path(world, ledger, row, length, part)
        for back in range(length):
            chains[parts, back] = ledger.chain[back]
        if length < MAX_HOPS:
            chains[parts, length] = -1
        amounts[parts] = part
        parts, left = parts + 1, left - part
    for number in range(parts):
        length = 0
        while length < MAX_HOPS and chains[number, length] >= 0:
            ledger.chain[length] = chains[number, length]
            length += 1
        claim_path(world, ledger, row, length, (chance - 1.0) * amounts[number])


@lean
def _listen(world: World, ledger: Ledger, row: int, heard: int) -> int:
    """Let the queues be what the source of a class has heard of; see :func:`heard.listen`."""
    if world.cls[row].heard != heard:
        if heard >= 0:
            show(world, ledger)
        hide(world, ledger, world.cls[row].heard)
    return int(world.cls[row].heard)
