"""Swaps along the path of one request: whose a composite is, what to join, what to hand over.

``base + request`` marks composites that a request took in this turn; lower marks are of the past.
"""

from controller.rivals.desk import Desk, fits
from quantum.kernels import lean, small
from quantum.ledger import Ledger, World
from quantum.ledger.acts import FAILED, hand_over, join, state_of

__all__ = ["deliver", "join_at", "own"]


@lean
def own(world: World, ledger: Ledger, desk: Desk, request: int, hops: int, base: int) -> int:
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
    return bool(desk.owner[place] >= base and desk.owner[place] != base + request)


@lean
def deliver(world: World, ledger: Ledger, desk: Desk, request: int, hops: int, base: int) -> None:
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
        if found < 0 or hand_over(world, ledger, request, found) < 0:
            return


@lean
def join_at(world: World, ledger: Ledger, desk: Desk, request: int, p: int, mine: int) -> bool:
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
        return bool(place >= FAILED)
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
