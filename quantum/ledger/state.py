"""The values that the kernels work on: World (constant), Ledger (mutable), Rule (a heuristic)."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from quantum.draws import uniform
from quantum.kernels import Table, kernel, lean, small
from quantum.seeding import stream

__all__ = [
    "ACTION_TOKENS",
    "RAW",
    "Ledger",
    "Rule",
    "World",
    "seed_at",
    "swaps_ahead",
    "token_totals",
    "tokens_drawn",
    "tokens_of",
    "tokens_within",
]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Shorts = NDArray[np.int16]

#: Generation tokens of one node in one slot that can be used; at 10/s and 20 ms more than these
#: come once in 10^11 node-slots.
ACTION_TOKENS = 8
#: Columns of what a node sees of each incident link; see :mod:`quantum.ledger.observe`.
RAW = 7
#: Slots after which beliefs change, all together.
BLOCK_SLOTS = 25
#: From so many nodes on, tables are larger than the cache next to the processor, and searches ask
#: for what they will look at before they do.
WIDE = 4000
#: Longest chain that is ever swapped, and what stands for more hops in distances.
MAX_HOPS, FAR = 16, 127

NOTHING: Floats = np.zeros(0)

TOKENS = stream("tokens")
TIES = stream("ties")
TEST_TOKEN = stream("test token")
TEST_LINK = stream("test link")
TEST_PAIR = stream("test pair")
BASIS = stream("basis")
OUTCOME = stream("outcome")
HERALD = stream("herald")
JOIN = stream("join")
DISTIL = stream("distil")

# What happened to an assembled pair (``ev_kind``).
DELIVERED, TESTED, LOST, LINK_TESTED = 0, 1, 2, 3
# Rows of ``Ledger.totals``.
(
    GENERATED,
    DROPPED,
    EVICTED,
    SWAPS,
    OVERFLOWED,
    REFUSED,
    SHARED,
    TESTS,
    ASSEMBLED,
    WASTED,
    SPOILED,  # link pairs lost in joins and distillations that did not herald
    FORBIDDEN,  # acts that the world does not allow
    DISTILLED,  # distillations that worked
    LEFT,  # pairs of nodes that left
    FAILED,  # claims of pairs that were gone
    FAILED_NODES,  # nodes in their chains
) = range(16)


class World(NamedTuple):
    """What does not change while a scenario is played; times are slots.

    n nodes, m links, K padded degree, R requests, C classes (commodity and minimum fidelity).
    """

    seed: int
    slot_s: float
    n: int
    m: int
    truth_slots: int  # slots that a block of ``truth`` lasts
    cutoff: int
    swap_success: float
    test_share: float
    warmup: int
    slots: int  # counted slots
    horizon: int  # all slots, until the last deadline has passed
    node: Table  # (n,) degree, generation and swap_rate per slot, no_token, bucket, qubits
    link: Table  # (m,) a, b, made_hz (mean tokens of both ends)
    bucket: float  # largest swap bucket
    inc_link: Ints  # (n, K)
    inc_node: Ints  # (n, K)
    lead: Table  # (n, K up to whole lines) node, link: both of them side by side, for searches
    truth: Floats  # (blocks, m, 3) correlators of a fresh pair, as nature makes it
    belief: Floats  # (blocks, m, 3) and as tests make believe, see belief.py; one block: nominal
    decay: Table  # (cutoff + 1,) xy, zz factors and zz shift after so many slots
    swap_xyz: Floats  # (3,) factor of one noisy swap on the correlators
    distil: Floats  # (2,) what noisy distillation keeps: by two gates, by two compared bits
    # (C,) a, b, fidelity, budget (-log), hops (most links), heard, row of ``distance`` to b, and of
    # that to a (back, -1 none), first class with the same a and b
    cls: Table
    distance: NDArray[np.int8]  # (destinations, n) hops to the destination, FAR where too many
    path_links: Ints  # (C, H) links of the shortest feasible path, -1 padded
    path_nodes: Ints  # (C, H) swap nodes of that path, -1 padded
    request: Table  # (R,) arrival, told, deadline (last slot to serve it), cls, pairs
    change: Table  # (changes,) slot, node (1, or 0: link), index, up
    age: Shorts  # (deciders, m) slots until word of a link's pair has come; no rows: at once
    ghosts: int  # pairs that were taken lately and are remembered, see quantum.ledger.heard
    peer_age: Ints  # (n, K) slots until a node sees its neighbour's state; no rows: at once
    fork: int = 0  # draws of slots before it have the seed ``past``; see controller.fairness
    past: int = 0


class Ledger(NamedTuple):
    """What changes; P places for stored pairs, E events, T tokens a node can use in a slot."""

    now: Table  # (1,) clock, live, next_visible, next_arrival, events, claimants, search
    node: Table  # (n,) see new_ledger
    link: Table  # (m,)
    pair: Table  # (P,)
    request: Table  # (R,)
    queue: Table  # (R + 1,) live and claimant requests, in the order of their coming
    held: Ints  # (n, Q) places of the pairs that a node holds
    use: Floats  # (n, K) share of pre-generated pairs that were used, for adaptive rules
    totals: Ints  # (16,) counters
    waits: Ints  # (W,) counted pairs delivered after so many slots
    choice: Ints  # (n, T) action: incident link by position, -1 idle
    urgency: Floats  # (n, T) action: how much the pair is missed
    made: Ints  # (n, T) result: running number of the pair, -1 refused
    event: Table  # (E,) assembled pairs and link tests since they were last taken
    chain: Ints  # (H,) result of the last search, destination first
    lasting: Ints  # (H,) scratch: stored pairs that may become a chain
    ready: Table  # (2 C,) pairs swapped ahead that wait for a class, or two nodes, see new_ledger
    fan: Table  # (n,) what searches note of a node, see new_ledger and quantum.ledger.fans
    lead: Table  # as ``World.lead``: where stored pairs lead, see quantum.ledger.fans
    vain: Table  # (C,) searches for stored pairs in vain, see quantum.ledger.paths.find_stored
    sought: Table  # (C,) searches for claims in this slot, see quantum.ledger.claims
    reach: Floats  # (H + 1,) see quantum.ledger.prices.believe
    ring: Ints  # (cutoff + 2,) a pair born in a slot, -1 none; its twins follow by ``pair.after``
    label: Table  # ((H + 1) * n,) scratch of the path search
    side: Table  # (n,) scratch of searches for claims from both ends, see new_ledger
    front: Table  # (2, 2 m + 2) their queues
    sight: Floats  # (K, 7) scratch: what the deciding node sees
    scores: Floats  # (K,) scratch
    product: Floats  # (4, 3) scratch: correlators along a chain
    leaf: Table  # (P + 1, H) leaves of the composites, see leaves.py; (0, H) where none are kept
    leaves: Ints  # (P + 1,) how many leaves each has; the last row is for work
    behind: Table  # (m,) see new_ledger
    ghost: Table  # (G,) pairs taken lately, whose places are the last of ``pair``
    past: Table  # (L, n) used and swap_tokens of the last slots, where ``peer_age`` asks for them


class Rule(NamedTuple):
    """A heuristic allocator in numbers; see ``controller/rivals`` for the ones that have names."""

    fill: int  # what unclaimed tokens do: 0 nothing, 1 any link, 2 the largest gap to the target
    complete: int  # claims: 0 the shortest path, 1 the cheapest to complete, 2 planned together
    targets: Floats  # (m,) pairs to keep in stock
    gap: float = 0.5  # weight of the gap to the target
    relative: float = 1.0  # weight of the gap relative to the target
    peer_fill: float = 0.5  # weight of the neighbour's full memory
    evict: float = 0.2  # gain needed to drop a stored pair; inf: never drop
    bucket: float = 2.0  # path cost of an empty swap bucket
    inverse: float = 3.0  # path cost 1 / (swap tokens + 0.3)
    scarce: float = 1.0  # path cost of a pair below target
    age: float = 0.5  # discount for pairs about to be dropped
    fidelity: float = 0.5  # path cost of using up all the loss of fidelity a request can afford
    rate: float = 1.0  # path cost of a link without stock, over its generation rate
    again: float = 0.25  # a claim is searched again after this share of the time left (complete 1)
    makes: float = 0.3  # share of its ends' tokens that a link is expected to get (complete 2)
    rounds: int = 0  # most rounds of distillation; 0: pairs stay as they are
    refined: Floats = NOTHING  # (m,) distilled pairs to keep in stock; empty: on claims only
    horizon_s: float = 0.0  # requests expected within it claim as well; 0: none do
    least: float = 1.0  # pairs of a class that must be expected, or it claims nothing
    soon: float = 1.0  # weight of the pairs that expected requests want, in targets
    press: float = 1e18  # such pairs that must be missing to go before all targets
    ahead_s: float = 0.0  # announced requests get pairs swapped so long before they start; 0: none
    sure: float = 0.0  # share of a batch that must be expected to swap ahead for it, too; 0: never


def swaps_ahead(world: World, rule: Rule) -> bool:
    """Tell whether a rule joins pairs before requests of a world start, so that composites wait."""
    announced = rule.ahead_s > 0.0 and bool((world.request.told < world.request.arrival).any())
    return announced or (rule.sure > 0.0 and rule.horizon_s > 0.0 and rule.complete == 2)


@small
def seed_at(world: World, slot: int) -> int:
    """Return the seed of all that is drawn in a slot, an allocator's own draws included.

    It is ``world.seed``, but for worlds that are equal up to a slot and then go different ways.
    """
    return world.past if slot < world.fork else world.seed


@small
def tokens_drawn(u: float, mean: float, none: float) -> int:
    """Invert the Poisson distribution: ``u`` in [0, 1), ``none`` is exp(-mean)."""
    chance = none
    total = chance
    count = 0
    while u >= total and count < ACTION_TOKENS:
        count += 1
        chance *= mean / count
        total += chance
    return count


@lean
def tokens_of(seed: int, node: int, slot: int, mean: float) -> int:
    """Draw the Poisson generation tokens of (seed, node, slot)."""
    return int(tokens_drawn(uniform(seed, TOKENS, node, slot, 0), mean, np.exp(-mean)))


@kernel
def token_totals(seed: int, generation: Floats, first: int, stop: int) -> Ints:
    """Sum the tokens of every node over slots ``first`` to ``stop - 1``, shape (n,)."""
    out = np.zeros(len(generation), dtype=np.int64)
    for node in range(len(generation)):
        for slot in range(first, stop):
            out[node] += tokens_of(seed, node, slot, generation[node])
    return out


@kernel
def tokens_within(seed: int, generation: Floats, spans: Ints) -> Ints:
    """Sum the tokens of nodes over spans (S, 3) of node, first slot and stop, shape (n,)."""
    out = np.zeros(len(generation), dtype=np.int64)
    for row in range(len(spans)):
        node = spans[row, 0]
        for slot in range(spans[row, 1], spans[row, 2]):
            out[node] += tokens_of(seed, node, slot, generation[node])
    return out
