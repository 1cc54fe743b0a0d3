"""Is an allocator honest? Nothing from the future, and nothing used twice.

*Causality* is found out by forking a game: the fork is equal up to a slot, and from there on has
other draws and its requests in another order. Whoever decides differently before that slot knew
what comes after it. *Conservation* is bookkeeping: pairs come from tokens, swaps from buckets, and
each is spent once.

Neither is proof: who writes the counters of the ledger as well as its stock, or recognises a fork,
is not caught here. It is a check of mistakes, and of tricks that one can make without noticing.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from controller.decisions import follow, note
from controller.game import Game, ledger_of
from controller.rivals.allocator import Allocator
from quantum.demand import Trace
from quantum.errors import AllocatorError, InputError
from quantum.ledger import Ledger, World
from quantum.ledger import state as codes
from quantum.ledger.places import is_sound
from quantum.ledger.state import Ints, seed_at, token_totals
from quantum.record import Digest
from quantum.seeding import generator

__all__ = ["all_tokens", "audit", "causality", "conservation", "fork", "trail"]

#: Rounding of swap buckets, which are sums of fractions.
_ROUND = 1e-6


def fork(game: Game, slot: int, seed: int) -> Game:
    """Return a game that is equal before ``slot`` and different from there on.

    Tokens, tests and heralds of later slots are drawn with ``seed``; requests that are told later
    exchange what they ask for among each other. So means, classes and horizon stay the same, and
    only who knows the single draws can tell. The plan is that of the game: it must not know draws.
    """
    scenario, world = game.scenario, game.world
    if not 0 < slot < world.horizon:
        raise InputError(f"a fork must be at a slot in 1 to {world.horizon - 1}, got {slot}")
    if seed == world.seed:
        raise InputError("a fork needs another seed than its game")
    later = np.flatnonzero(world.request.told >= slot)
    mixed = np.arange(len(world.request))
    mixed[later] = later[generator(seed, "fork").permutation(len(later))]
    trace, request = scenario.trace, world.request.copy()
    request.cls, request.pairs = world.request.cls[mixed], world.request.pairs[mixed]
    other: Trace = replace(
        trace,
        commodity=trace.commodity[mixed],
        pairs=trace.pairs[mixed],
        minimum_fidelity=trace.minimum_fidelity[mixed],
    )
    truth, block = world.truth.copy(), slot // world.truth_slots + 1
    truth[block:] = truth[block:][::-1]
    return replace(
        game,
        scenario=replace(scenario, seed=seed, trace=other),
        world=world._replace(seed=seed, past=world.seed, fork=slot, request=request, truth=truth),
        # The bound is of the draws, so the fork has another one; nobody may use it.
        bound=0.9 * game.bound,
    )


def trail(game: Game, allocator: Allocator, stop: int) -> Iterator[str]:
    """Play up to ``stop`` and give after every slot a digest of all that was done so far."""
    ledger, digest = ledger_of(game, allocator), Digest()
    for slot in follow(game, allocator, ledger, stop):
        note(digest, slot, ledger)
        yield digest.hexdigest()


def causality(game: Game, allocator: Allocator, slot: int, *, seed: int = 1_000_003) -> None:
    """Raise :class:`AllocatorError` if an allocator decides by what comes at ``slot`` or later."""
    pairs = zip(
        trail(game, allocator, slot), trail(fork(game, slot, seed), allocator, slot), strict=True
    )
    for number, (here, there) in enumerate(pairs):
        if here != there:
            raise AllocatorError(
                f"allocator {allocator.name} knows the future: what it did in slot {number} "
                f"depends on what happens from slot {slot} on"
            )


def conservation(game: Game, allocator: Allocator, stop: int) -> None:
    """Raise :class:`AllocatorError` if a pair or a swap comes from nowhere in any slot."""
    world, ledger = game.world, ledger_of(game, allocator)
    rates, bucket = world.node.swap_rate, world.node.bucket
    level, counts = ledger.node.swap_tokens.copy(), _counts(ledger)
    given = ledger.node.given.copy()
    for number, _ in enumerate(follow(game, allocator, ledger, stop)):
        level += ledger.node.given - given
        spent = np.minimum(level + rates, bucket) - ledger.node.swap_tokens
        now = _counts(ledger)
        new = {name: now[name] - counts[name] for name in now}
        tokens = int(_drawn(world, number, number + 1).sum())
        wrong = _unpaid(new, tokens)
        if spent.min(initial=0.0) < -_ROUND or new["swaps"] > spent.sum() + _ROUND:
            wrong = "swaps without swap tokens"
        if wrong or not is_sound(world, ledger):
            raise AllocatorError(
                f"allocator {allocator.name} broke conservation in slot {number}: "
                f"{wrong or 'the ledger does not add up'}"
            )
        level, counts = ledger.node.swap_tokens.copy(), now
        given = ledger.node.given.copy()


def all_tokens(world: World) -> int:
    """Return all generation tokens of a world, over all nodes and slots."""
    return int(_drawn(world, 0, world.horizon).sum())


def audit(world: World, ledger: Ledger, tokens: int) -> str:
    """Say what does not add up in a ledger that was played to the horizon; empty if all does.

    ``tokens`` is :func:`all_tokens`. It sees sums only, so a run of the arena can afford it;
    :func:`conservation` looks at every slot.
    """
    request = ledger.request
    swaps = world.node.bucket.sum() + world.node.swap_rate.sum() * world.horizon
    swaps += ledger.node.given.sum()
    wrong = _unpaid(_counts(ledger), tokens)
    if wrong:
        return wrong
    if ledger.totals[codes.SWAPS] > swaps + _ROUND:
        return "swaps without swap tokens"
    if np.any(request.good < 0) or np.any(request.good + request.left > world.request.pairs):
        return "more pairs delivered than asked for"
    return "" if is_sound(world, ledger) else "the ledger does not add up"


def _counts(ledger: Ledger) -> dict[str, int]:
    totals, stored = ledger.totals, ledger.pair.u >= 0
    gone = totals[codes.DROPPED] + totals[codes.EVICTED] + totals[codes.SPOILED]
    gone += totals[codes.LEFT]
    taken = totals[codes.SWAPS]
    if len(ledger.leaf):
        # Joined pairs count by their leaves; those of chains are at least one each.
        joined = stored & (ledger.pair.link < 0)
        gone, taken = gone + (ledger.leaves[:-1][joined] - 1).sum(), 0
    return {
        "stored": int(stored.sum()),
        "generated": int(totals[codes.GENERATED]),
        "gone": int(gone),
        "taken": int(taken),
        "swaps": int(totals[codes.SWAPS]),
        "chains": int(ledger.request.attempts.sum()),
        "good": int(ledger.request.good.sum()),
    }


def _unpaid(new: dict[str, int], tokens: int) -> str:
    """Say what was had without being paid for.

    A chain of k links takes k pairs and k - 1 swaps, so chains and swaps count the pairs it took;
    where pairs are joined ahead of requests, they are counted by their leaves.
    """
    if new["generated"] > tokens:
        return f"{new['generated']} pairs from {tokens} tokens"
    if new["stored"] + new["gone"] + new["taken"] + new["chains"] > new["generated"]:
        return "pairs that nobody generated, or that were used twice"
    return "pairs delivered without a chain" if new["good"] > new["chains"] else ""


def _drawn(world: World, first: int, stop: int) -> Ints:
    """Sum the tokens of every node over some slots, as the world draws them, shape (n,)."""
    total = np.zeros(world.n, dtype=np.int64)
    mean = np.ascontiguousarray(world.node.generation)
    for begin, end in ((first, min(stop, world.fork)), (max(first, world.fork), stop)):
        if begin < end:
            total += token_totals(int(seed_at(world, begin)), mean, begin, end)
    return total
