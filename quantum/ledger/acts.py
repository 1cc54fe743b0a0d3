"""Acts on single stored pairs: join two by a swap, hand one over to a request, discard one.

For allocators that swap before a whole chain is there; :func:`~quantum.ledger.serve.assemble` does
it all in one slot. The ledger must have been made with ``composites=True``. An act that the world
does not allow changes nothing: it returns a negative code and counts as ``FORBIDDEN``.

Every qubit decays until a swap measures it or the pair is handed over, and corrections are Pauli
frames until then. So the state of a composite is the product over its leaves, each with the waits
of its own two qubits, and one noisy swap for each node between; it is exact, whatever the order of
waits and swaps, and a delivery remains one program: make all pairs, let them wait, swap.
"""

from quantum.draws import uniform
from quantum.kernels import lean
from quantum.ledger.leaves import (
    COMPOSITE,
    WAITS,
    leaves_of,
    read_leaves,
    value_after,
    write_leaves,
)
from quantum.ledger.places import believed_now, store, take
from quantum.ledger.serve import conclude, note_use
from quantum.ledger.state import (
    EVICTED,
    FORBIDDEN,
    JOIN,
    MAX_HOPS,
    SPOILED,
    SWAPS,
    Floats,
    Ledger,
    World,
    seed_at,
)

__all__ = [
    "FAILED",
    "NOT_KEPT",
    "NO_PAIR",
    "NO_REQUEST",
    "NO_TOKEN",
    "OTHER_ENDS",
    "SAME_ENDS",
    "TOO_LONG",
    "discard",
    "hand_over",
    "join",
    "state_of",
]

#: The swap was made and did not herald: both pairs are gone. Not forbidden, only bad luck.
FAILED = -1
#: The ledger was made without room for composites.
NOT_KEPT = -2
#: No stored pair is there, the same one was named twice, or it does not end at the node.
NO_PAIR = -3
#: The node has no swap token.
NO_TOKEN = -4
#: The joined pair would begin and end at the same node.
SAME_ENDS = -5
#: The joined pair would have more than MAX_HOPS leaves.
TOO_LONG = -6
#: The request is unknown, not yet visible or not asked for, too early, too late, or complete.
NO_REQUEST = -7
#: The request wants a pair between other nodes.
OTHER_ENDS = -8


@lean
def join(world: World, ledger: Ledger, node: int, left: int, right: int) -> int:
    """Swap at ``node``: the stored pairs at places ``left`` and ``right`` become one.

    Returns the place of the joined pair, :data:`FAILED` where the swap did not herald, or the code
    of what is forbidden. The n-th swap of a node has the same luck for every allocator.
    """
    code = _why_no_join(world, ledger, node, left, right)
    if code < 0:
        ledger.totals[FORBIDDEN] += 1
        return code
    spot, one, other = ledger.node[node], ledger.pair[left], ledger.pair[right]
    u = one.v if one.u == node else one.u
    v = other.v if other.u == node else other.u
    birth = min(one.old, other.old)
    draw = uniform(seed_at(world, ledger.now[0].clock), JOIN, node, spot.swaps, 0)
    spot.swap_tokens -= 1.0
    spot.swaps += 1
    ledger.totals[SWAPS] += 1
    # The row behind the last place is for work: a freed place may be the new one.
    row = ledger.leaf[len(ledger.pair)]
    middle = read_leaves(ledger, left, u, row, 0)
    length = middle + read_leaves(ledger, right, node, row, middle)
    take(ledger, left)
    take(ledger, right)
    if world.swap_success < 1.0 and draw >= world.swap_success:
        ledger.totals[SPOILED] += length
        return FAILED
    slot = ledger.now[0].clock
    row[middle - 1].right, row[middle].left = slot, slot
    place = store(ledger, u, v, birth, COMPOSITE)
    write_leaves(ledger, place, row, length)
    return place


@lean
def _why_no_join(world: World, ledger: Ledger, node: int, left: int, right: int) -> int:
    """Return the code of what forbids a join, 0 if nothing does."""
    if len(ledger.leaf) == 0:
        return NOT_KEPT
    if node < 0 or node >= world.n or left == right:
        return NO_PAIR
    if not (_ends_at(ledger, left, node) and _ends_at(ledger, right, node)):
        return NO_PAIR
    one, other = ledger.pair[left], ledger.pair[right]
    if (one.v if one.u == node else one.u) == (other.v if other.u == node else other.u):
        return SAME_ENDS
    if leaves_of(ledger, left) + leaves_of(ledger, right) > MAX_HOPS:
        return TOO_LONG
    if ledger.node[node].swap_tokens < 1.0:
        return NO_TOKEN
    return 0


@lean
def _ends_at(ledger: Ledger, place: int, node: int) -> bool:
    if place < 0 or place >= len(ledger.pair):
        return False
    pair = ledger.pair[place]
    return bool(pair.u >= 0 and (pair.u == node or pair.v == node))


@lean
def hand_over(world: World, ledger: Ledger, request: int, place: int) -> int:
    """Give a stored pair to a request: ``DELIVERED``, ``TESTED``, or the code of what forbids it.

    The keyed share of test pairs is drawn as in :func:`~quantum.ledger.serve.assemble`. A pair that
    is worse than the request asks is delivered too, but it is not counted as good.
    """
    code = _why_not_hand_over(world, ledger, request, place)
    if code < 0:
        ledger.totals[FORBIDDEN] += 1
        return code
    asked, row = ledger.request[request], len(ledger.pair)
    source = world.cls[world.request[request].cls].a
    ledger.leaves[row] = read_leaves(ledger, place, source, ledger.leaf[row], 0)
    truth, hope = ledger.product[0], ledger.product[1]
    _evaluate(world, ledger, row, truth, hope)
    attempt = asked.attempts
    asked.attempts += 1
    kind = conclude(world, ledger, request, attempt, (1.0 + truth.sum()) / 4.0)
    _record(world, ledger, request, attempt, kind, truth, hope)
    for number in range(ledger.leaves[row]):
        note_use(world, ledger, ledger.leaf[row, number].link)
    take(ledger, place)
    return int(kind)


@lean
def _why_not_hand_over(world: World, ledger: Ledger, request: int, place: int) -> int:
    """Return the code of what forbids a delivery, 0 if nothing does."""
    if len(ledger.leaf) == 0:
        return NOT_KEPT
    if request < 0 or request >= len(world.request):
        return NO_REQUEST
    fixed, asked, slot = world.request[request], ledger.request[request], ledger.now[0].clock
    if asked.asked != 1 or asked.visible > slot or asked.left <= 0:
        return NO_REQUEST
    if slot < fixed.arrival or slot > fixed.deadline:
        return NO_REQUEST
    if place < 0 or place >= len(ledger.pair) or ledger.pair[place].u < 0:
        return NO_PAIR
    pair, wish = ledger.pair[place], world.cls[fixed.cls]
    forth = pair.u == wish.a and pair.v == wish.b
    if not forth and not (pair.u == wish.b and pair.v == wish.a):
        return OTHER_ENDS
    return 0


@lean
def discard(world: World, ledger: Ledger, place: int) -> int:
    """Drop a stored pair; its leaves count as evicted. Returns 0 or the code of what forbids it."""
    if place < 0 or place >= len(ledger.pair) or ledger.pair[place].u < 0:
        ledger.totals[FORBIDDEN] += 1
        return NO_PAIR
    ledger.totals[EVICTED] += leaves_of(ledger, place)
    take(ledger, place)
    return 0


@lean
def state_of(world: World, ledger: Ledger, place: int, truth: Floats, hope: Floats) -> int:
    """Write the true and the believed correlators (3,) of a stored pair as they are now.

    Returns the number of its leaves, or :data:`NO_PAIR`.
    """
    if place < 0 or place >= len(ledger.pair) or ledger.pair[place].u < 0:
        return NO_PAIR
    pair, slot = ledger.pair[place], ledger.now[0].clock
    if pair.link < 0:
        return int(_evaluate(world, ledger, place, truth, hope))
    held = world.decay[slot - pair.birth]
    for axis in range(3):
        truth[axis] = value_after(pair.truth[axis], axis, held, held)
        hope[axis] = believed_now(ledger.link[pair.link], pair, axis, held)
    return 1


@lean
def _evaluate(world: World, ledger: Ledger, place: int, truth: Floats, hope: Floats) -> int:
    """Multiply the leaves in row ``place``, each after its waits until now, and their swaps."""
    row, slot, length = ledger.leaf[place], ledger.now[0].clock, ledger.leaves[place]
    for axis in range(3):
        truth[axis], hope[axis] = 1.0, 1.0
    for number in range(length):
        leaf = row[number]
        one = world.decay[(slot if leaf.left == WAITS else leaf.left) - leaf.birth]
        other = world.decay[(slot if leaf.right == WAITS else leaf.right) - leaf.birth]
        belief = ledger.link[leaf.link].belief if leaf.spent < 0 else leaf.belief
        for axis in range(3):
            swap = world.swap_xyz[axis] if number > 0 else 1.0
            truth[axis] *= value_after(leaf.truth[axis], axis, one, other) * swap
            hope[axis] *= value_after(belief[axis], axis, one, other) * swap
    return int(length)


@lean
def _record(
    world: World,
    ledger: Ledger,
    request: int,
    attempt: int,
    kind: int,
    truth: Floats,
    hope: Floats,
) -> None:
    """Remember the pair in the work row for execution, as long as there is room."""
    if ledger.now[0].events >= len(ledger.event):
        return
    work, slot = len(ledger.pair), ledger.now[0].clock
    event, row, length = ledger.event[ledger.now[0].events], ledger.leaf[work], ledger.leaves[work]
    ledger.now[0].events += 1
    event.kind, event.request, event.slot = kind, request, slot
    event.attempt, event.hops = attempt, length
    node = world.cls[world.request[request].cls].a
    for hop in range(length):
        leaf = row[hop]
        event.links[hop], event.makers[hop] = leaf.link, leaf.maker
        event.births[hop] = leaf.birth
        event.kept[hop], event.spent[hop] = leaf.kept, leaf.spent
        event.spent_makers[hop] = leaf.spent_maker
        event.ages[hop] = (slot if leaf.left == WAITS else leaf.left) - leaf.birth
        event.ages_right[hop] = (slot if leaf.right == WAITS else leaf.right) - leaf.birth
        ends = world.link[leaf.link]
        node = ends.b if ends.a == node else ends.a
        if hop < length - 1:
            event.swaps[hop] = node
    for axis in range(3):
        event.corr[axis] = truth[axis]
    event.true, event.believed = (1.0 + truth.sum()) / 4.0, (1.0 + hope.sum()) / 4.0
