"""Swap as soon as possible, with cutoffs.

A. G. Inesta, G. Vardoyan, L. Scavuzzo, S. Wehner, "Optimal entanglement distribution policies in
homogeneous repeater chains with cutoffs", npj Quantum Information 9, 46 (2023), and L. Kamin,
E. Shchukin, F. Schmidt, P. van Loock, "Exact rate analysis for quantum repeaters with imperfect
memories and entanglement swapping as soon as possible", Phys. Rev. Research 5, 023086 (2023): a
node that holds a pair to either side of it swaps at once; pairs older than a cutoff are dropped;
the ends are told.

Those papers have one chain of repeaters. Here a request is sent along the path that is cheapest to
complete from stock, and keeps it from its first swap on. The nodes of the path swap for it wherever
two stored pairs lead on along it, oldest request first, up to as many chains as it misses; where
pairs lie ready from end to end, on whatever path, they are swapped before anything else. Swaps
after which the fidelity cannot be met any more are not made; what was swapped for a request that
left serves the next on its way. Heralds need no slot of their own: light takes less than one
between the ends, as for every allocator. The papers make pairs on the links of the chain all the
time; here claims of requests come first, and spare tokens fill stocks to targets from the mean
demand, times ``stock``.
"""

from controller.game import Game
from controller.plan import Plan
from controller.rivals.allocator import Allocator, Player
from controller.rivals.desk import Desk, clear, fits, lay_out, new_desk
from controller.rivals.tuned import tuned
from quantum.kernels import lean, small
from quantum.ledger import Ledger, Rule, World, act_by_rule, close_slot, generate, open_slot
from quantum.ledger.acts import discard, hand_over, join, state_of
from quantum.ledger.claims import ANNOUNCED_S
from quantum.ledger.paths import find_path
from quantum.ledger.prices import CLOSED, STOCK
from quantum.ledger.serve import assemble, choose_pairs
from quantum.ledger.state import MAX_HOPS
from quantum.scenario import Scenario

__all__ = ["allocator", "make"]

#: Marks are a turn and, in so many bits, the number of a request.
_REQUEST_BITS = 32


@lean
def _play(
    world: World, ledger: Ledger, rule: Rule, desk: Desk, stop: int, cutoff: int, gaps: int
) -> None:
    """Play slots until ``stop``; composites older than ``cutoff`` slots go."""
    while ledger.now[0].clock < stop:
        open_slot(world, ledger, rule)
        slot = ledger.now[0].clock
        if cutoff < world.cutoff:
            for place in range(len(ledger.pair)):
                pair = ledger.pair[place]
                if pair.u >= 0 and pair.link < 0 and slot - pair.birth > cutoff:
                    discard(world, ledger, place)
        _claim_all(world, ledger, desk, 2 * slot)
        act_by_rule(world, ledger, rule)
        generate(world, ledger, rule)
        _swap_all(world, ledger, rule, desk, 2 * slot + 1, gaps)
        close_slot(world, ledger)


@lean
def _claim_all(world: World, ledger: Ledger, desk: Desk, turn: int) -> None:
    """Choose the paths of live requests, oldest first, and want pairs on their links."""
    for number in range(world.m):
        ledger.link[number].wanted = 0.0
    soon = ledger.now[0].clock + int(ANNOUNCED_S / world.slot_s)
    base = turn << _REQUEST_BITS
    for index in range(ledger.now[0].live):
        request = ledger.queue[index].live
        if world.request[request].arrival > soon:
            continue
        hops = lay_out(world, ledger, desk, request)
        # A path on which something was swapped for the request is kept.
        if _own(world, ledger, desk, request, hops, base) == 0:
            clear(desk, hops)
            _route(ledger, desk, request)
            hops = lay_out(world, ledger, desk, request)
            _own(world, ledger, desk, request, hops, base)
        for hop in range(hops):
            missing = ledger.request[request].left - desk.cover[hop]
            ledger.link[desk.via[hop]].wanted += max(0, missing)
        clear(desk, hops)


@lean
def _route(ledger: Ledger, desk: Desk, request: int) -> None:
    """Send a request along the path that it claims: the cheapest to complete from stock."""
    asked = ledger.request[request]
    for hop in range(MAX_HOPS):
        known = hop < asked.claimed
        desk.route[request, hop] = asked.claim[asked.claimed - 1 - hop] if known else -1


@lean
def _swap_all(world: World, ledger: Ledger, rule: Rule, desk: Desk, turn: int, gaps: int) -> None:
    """Swap for the live requests, oldest first."""
    slot, base = ledger.now[0].clock, turn << _REQUEST_BITS
    soon = slot + int(ANNOUNCED_S / world.slot_s)
    for index in range(ledger.now[0].live):
        request = ledger.queue[index].live
        fixed = world.request[request]
        if fixed.arrival > soon:
            continue
        hops = lay_out(world, ledger, desk, request)
        if fixed.arrival <= slot <= fixed.deadline:
            _deliver(world, ledger, desk, request, hops, base)
            begun = _own(world, ledger, desk, request, hops, base)
            _whole(world, ledger, rule, request, begun)
        _swap(world, ledger, desk, request, hops, base, gaps)
        clear(desk, hops)


@lean
def _whole(world: World, ledger: Ledger, rule: Rule, request: int, begun: int) -> None:
    """Swap whole chains of link pairs, on any path, for what the chains begun will not deliver."""
    row = world.request[request].cls
    while ledger.request[request].left > begun:
        length = find_path(world, ledger, rule, row, 0, STOCK, CLOSED)
        if length == 0:
            return
        choose_pairs(world, ledger, row, length)
        assemble(world, ledger, rule, request, length)


@lean
def _own(world: World, ledger: Ledger, desk: Desk, request: int, hops: int, base: int) -> int:
    """Take composites that lie on the path and can serve the request, up to its missing pairs.

    Returns how many chains are begun: the most composites over any link.
    """
    begun = 0
    left, row = ledger.request[request].left, world.request[request].cls
    for position in range(hops):
        desk.cover[position] = desk.cross[position] = 0
    for p in range(hops):
        node = desk.path[p]
        for position in range(ledger.node[node].used):
            place = ledger.held[node, position]
            pair = ledger.pair[place]
            q = desk.where[pair.v if pair.u == node else pair.u]
            if pair.link >= 0 or q <= p or _is_taken(desk, place, request, base):
                continue
            most = 0
            for hop in range(p, q):
                most = max(most, desk.cover[hop])
            if most >= left or not fits(world, ledger, desk, place, row):
                desk.owner[place] = -1
                continue
            desk.owner[place] = base + request
            for hop in range(p, q):
                desk.cover[hop] += 1
                begun = max(begun, desk.cover[hop])
                if hop > p:
                    desk.cross[hop] += 1
    return begun


@small
def _is_taken(desk: Desk, place: int, request: int, base: int) -> bool:
    """Tell whether an older request took the pair in this turn."""
    return desk.owner[place] >= base and desk.owner[place] != base + request


@lean
def _swap(
    world: World, ledger: Ledger, desk: Desk, request: int, hops: int, base: int, gaps: int
) -> None:
    """Swap along the path wherever pairs meet, and hand over what reaches from end to end."""
    asked, moved = ledger.request[request], True
    while moved and asked.left > 0:
        moved = False
        _own(world, ledger, desk, request, hops, base)
        if _gaps(ledger, desk, hops) > gaps:
            break
        for p in range(1, hops):
            while desk.cross[p] < asked.left and _join_at(
                world, ledger, desk, request, p, base + request
            ):
                moved = True
        if moved:
            _deliver(world, ledger, desk, request, hops, base)


@lean
def _gaps(ledger: Ledger, desk: Desk, hops: int) -> int:
    """Count the links of the path over which no pair leads."""
    count = 0
    for hop in range(hops):
        if desk.cover[hop] == 0 and ledger.link[desk.via[hop]].stock == 0:
            count += 1
    return count


@lean
def _deliver(world: World, ledger: Ledger, desk: Desk, request: int, hops: int, base: int) -> None:
    """Hand over pairs between the ends that are good enough, the oldest first."""
    fixed, asked, slot = world.request[request], ledger.request[request], ledger.now[0].clock
    if slot < fixed.arrival or slot > fixed.deadline or hops == 0:
        return
    source = desk.path[0]
    while asked.left > 0:
        found = -1
        for position in range(ledger.node[source].used):
            place = ledger.held[source, position]
            pair = ledger.pair[place]
            if desk.where[pair.v if pair.u == source else pair.u] != hops:
                continue
            if found >= 0 and pair.birth >= ledger.pair[found].birth:
                continue
            if _is_taken(desk, place, request, base):
                continue
            if fits(world, ledger, desk, place, fixed.cls):
                found = place
        if found < 0:
            return
        hand_over(world, ledger, request, found)


@lean
def _join_at(world: World, ledger: Ledger, desk: Desk, request: int, p: int, mine: int) -> bool:
    """Swap once at position ``p`` of the path, if that leads on; tell whether it was done."""
    node = desk.path[p]
    if ledger.node[node].swap_tokens < 1.0:
        return False
    for young in range(2):
        left = _reach(ledger, desk, node, p, -1, young, mine)
        right = _reach(ledger, desk, node, p, 1, young, mine)
        if left < 0 or right < 0:
            return False
        if not _joined_fits(world, ledger, desk, request, node, left, right):
            continue
        place = join(world, ledger, node, left, right)
        if place >= 0:
            desk.owner[place] = mine
            desk.cross[p] += 1
        return True
    return False


@lean
def _reach(ledger: Ledger, desk: Desk, node: int, p: int, side: int, young: int, mine: int) -> int:
    """Return the pair at ``node`` that leads farthest to one side of the path, -1 if none.

    Of equal ones the oldest, or the youngest.
    """
    found, best, age = -1, 0, 0
    for position in range(ledger.node[node].used):
        place = ledger.held[node, position]
        pair = ledger.pair[place]
        q = desk.where[pair.v if pair.u == node else pair.u]
        length = (q - p) * side
        if q < 0 or length <= 0 or (pair.link < 0 and desk.owner[place] != mine):
            continue
        birth = -pair.birth if young == 1 else pair.birth
        if length > best or (length == best and birth < age):
            found, best, age = place, length, birth
    return found


@lean
def _joined_fits(
    world: World, ledger: Ledger, desk: Desk, request: int, node: int, left: int, right: int
) -> bool:
    """Tell whether two pairs, swapped, could still become what the request asks."""
    one, other = ledger.pair[left], ledger.pair[right]
    p = desk.where[one.v if one.u == node else one.u]
    q = desk.where[other.v if other.u == node else other.u]
    total = 0.0
    state_of(world, ledger, left, desk.truth, desk.hope)
    for axis in range(3):
        desk.joined[axis] = desk.hope[axis] * world.swap_xyz[axis]
    state_of(world, ledger, right, desk.truth, desk.hope)
    for axis in range(3):
        value = desk.joined[axis] * desk.hope[axis]
        total += desk.before[p, axis] * value * desk.after[q, axis]
    return bool(total >= 4.0 * world.cls[world.request[request].cls].fidelity - 1.0)


def make(*, stock: float = 1.0, cutoff: float = 1.0, gaps: float = 16.0) -> Allocator:
    """Return swap-asap with these levers.

    ``stock`` multiplies the targets from the mean demand (0: pairs are made for requests only),
    ``cutoff`` is the age at which swapped pairs are dropped, over that of the network, ``gaps`` is
    how many links of a path may still be without a pair when its nodes begin to swap.
    """

    def rule(scenario: Scenario, plan: Plan) -> Rule:
        return Rule(fill=2 if stock > 0.0 else 0, complete=1, targets=stock * plan.mean_targets)

    def player(game: Game) -> Player:
        world, own = game.world, rule(game.scenario, game.plan)
        desks: dict[int, Desk] = {}
        most = max(1, round(cutoff * world.cutoff))

        def play(ledger: Ledger, stop: int) -> None:
            places = len(ledger.pair)
            desk = desks.setdefault(places, new_desk(world, places))
            desk.owner[:] = -1
            _play(world, ledger, own, desk, stop, most, round(gaps))

        return play

    return Allocator(
        name="swap-asap",
        central=True,
        sentence="Nodes on a request's path swap as soon as they hold pairs to both sides.",
        rule=rule,
        play=player,
        paper="Inesta et al., npj Quantum Inf. 9, 46 (2023); Kamin et al., PRR 5, 023086 (2023)",
        plays_alone=True,
        history_s=0.0,
        swaps_ahead=True,
        levers={
            "stock": (0.0, 0.5, 1.0, 1.5, 2.0),
            "cutoff": (0.5, 0.75, 1.0),
            "gaps": (1.0, 2.0, 16.0),
        },
        make=make,
    )


allocator = make(**tuned("swap-asap"))
