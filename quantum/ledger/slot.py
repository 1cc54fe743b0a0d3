"""The beginning and the end of a slot: decay, tokens, arrivals, claims, deadlines."""

from quantum.draws import uniform
from quantum.kernels import Table, lean, small
from quantum.ledger.change import apply_changes
from quantum.ledger.claims import ANNOUNCED_S, claim_paths
from quantum.ledger.heard import hide, show
from quantum.ledger.observe import note_past
from quantum.ledger.places import drop_expired
from quantum.ledger.prices import believe
from quantum.ledger.refined import claim_refined
from quantum.ledger.state import (
    BLOCK_SLOTS,
    LINK_TESTED,
    OVERFLOWED,
    SHARED,
    TEST_LINK,
    TEST_TOKEN,
    TESTS,
    TOKENS,
    WASTED,
    Ints,
    Ledger,
    Rule,
    World,
    seed_at,
    tokens_drawn,
    tokens_of,
)

__all__ = ["close_slot", "open_slot"]


@lean
def open_slot(world: World, ledger: Ledger, rule: Rule) -> None:
    """Begin the slot of ``ledger.clock``: changes, drops, tokens, arrivals, claims."""
    slot = ledger.now[0].clock
    apply_changes(world, ledger)
    drop_expired(world, ledger)
    if len(world.belief) > 1 and slot % BLOCK_SLOTS == 0:
        block = min(slot // BLOCK_SLOTS, len(world.belief) - 1)
        for number in range(world.m):
            for axis in range(3):
                ledger.link[number].belief[axis] = world.belief[block, number, axis]
        believe(world, ledger)
    _refill(world, ledger)
    note_past(world, ledger)
    _arrive(world, ledger, slot)
    claim_paths(world, ledger, rule)
    if rule.rounds > 0:
        if len(world.age) > 0 and len(ledger.ghost) == 0:
            hide(world, ledger, 0)
        claim_refined(world, ledger, rule, slot + int(ANNOUNCED_S / world.slot_s))
        show(world, ledger)


@lean
def _refill(world: World, ledger: Ledger) -> None:
    """Fill swap buckets and draw this slot's generation tokens; some are link tests."""
    slot = ledger.now[0].clock
    nodes, fixed, totals = ledger.node, world.node, ledger.totals
    seed = seed_at(world, slot)
    for node in range(world.n):
        if nodes[node].up == 0:
            totals[WASTED] += tokens_of(seed, node, slot, fixed[node].generation)
            nodes[node].tokens = 0
            continue
        level = nodes[node].swap_tokens + fixed[node].swap_rate
        if level > fixed[node].bucket:
            totals[OVERFLOWED] += 1
            level = fixed[node].bucket
        nodes[node].swap_tokens = level
        u = uniform(seed, TOKENS, node, slot, 0)
        drawn = tokens_drawn(u, fixed[node].generation, fixed[node].no_token)
        left = drawn
        for number in range(drawn):
            if uniform(seed, TEST_TOKEN, node, slot, number) < world.test_share:
                left -= 1
                _test_link(world, ledger, node, slot, number)
        nodes[node].tokens = left


@lean
def _test_link(world: World, ledger: Ledger, node: int, slot: int, number: int) -> None:
    """Spend a token on measuring a fresh pair of a link that the key picks."""
    if world.node[node].degree == 0:
        return
    which = int(
        uniform(seed_at(world, slot), TEST_LINK, node, slot, number) * world.node[node].degree
    )
    link = world.inc_link[node, which]
    if ledger.link[link].open == 0:
        ledger.totals[WASTED] += 1
        return
    ledger.totals[TESTS] += 1
    if ledger.now[0].events >= len(ledger.event):
        return
    event = ledger.event[ledger.now[0].events]
    ledger.now[0].events += 1
    block = min(slot // world.truth_slots, world.truth.shape[0] - 1)
    event.kind, event.request, event.slot, event.attempt = LINK_TESTED, node, slot, number
    event.hops, event.links[0], event.makers[0] = 1, link, node
    event.ages[0], event.ages_right[0], event.births[0], event.spent[0] = 0, 0, slot, -1
    for axis in range(3):
        event.corr[axis] = world.truth[block, link, axis]
    event.true = (1.0 + event.corr.sum()) / 4.0
    event.believed = (1.0 + ledger.link[link].belief.sum()) / 4.0


@lean
def _arrive(world: World, ledger: Ledger, slot: int) -> None:
    """Let requests claim their resources on arrival and be known when word has come."""
    while (
        ledger.now[0].next_arrival < len(world.request)
        and world.request[ledger.now[0].next_arrival].arrival <= slot
    ):
        request = ledger.now[0].next_arrival
        _want(world, ledger, request, 1)
        ledger.queue[ledger.now[0].claimants].claimant = request
        ledger.now[0].claimants += 1
        ledger.now[0].next_arrival += 1
    while ledger.now[0].next_visible < len(ledger.request):
        request = ledger.request[ledger.now[0].next_visible].order
        if ledger.request[request].visible > slot:
            break
        ledger.now[0].next_visible += 1
        if ledger.request[request].asked == 1:
            ledger.queue[ledger.now[0].live].live = request
            ledger.now[0].live += 1


@lean
def _want(world: World, ledger: Ledger, request: int, change: int) -> None:
    """Count a live request on the links and swap nodes of its shortest feasible path."""
    row = world.request[request].cls
    _count(ledger.now[0], ledger.link, world.path_links[row], change)
    _count(ledger.now[0], ledger.node, world.path_nodes[row], change)


@small
def _count(now: Table, resources: Table, path: Ints, change: int) -> None:
    """Change the wants of the resources of a path, and the number of those that are shared."""
    for number in path:
        if number < 0:
            break
        before = resources[number].claims
        resources[number].claims = before + change
        now.shared += int(before + change >= 2) - int(before >= 2)


@lean
def close_slot(world: World, ledger: Ledger) -> None:
    """Count contention, let served and expired requests leave, and step the clock."""
    slot = ledger.now[0].clock
    if len(world.age) > 0:
        show(world, ledger)
    if world.warmup <= slot < world.warmup + world.slots:
        ledger.totals[SHARED] += ledger.now[0].shared
    # A request wants its path from arrival to its end, whether anybody knows of it or not.
    kept = 0
    for index in range(ledger.now[0].claimants):
        request = ledger.queue[index].claimant
        if ledger.request[request].left == 0 or slot >= world.request[request].deadline:
            _want(world, ledger, request, -1)
        else:
            ledger.queue[kept].claimant = request
            kept += 1
    ledger.now[0].claimants = kept
    kept = 0
    for index in range(ledger.now[0].live):
        request = ledger.queue[index].live
        if ledger.request[request].left > 0 and slot < world.request[request].deadline:
            ledger.queue[kept].live = request
            kept += 1
    ledger.now[0].live = kept
    ledger.now[0].clock = slot + 1
