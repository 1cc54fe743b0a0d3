"""What a stored pair is made of: link pairs, the *leaves*, and when a swap measured each qubit.

A *composite* is a stored pair that came of swaps: its ``link`` is -1, its ends need not be
neighbours, and row ``place`` of ``ledger.leaf`` holds its leaves in order from end u to end v. A
link pair is its own single leaf and has no row.
"""

import numpy as np

from quantum.kernels import Table, lean, small
from quantum.ledger.state import Ledger, World

__all__ = [
    "COMPOSITE",
    "WAITS",
    "is_whole",
    "leaves_of",
    "read_leaves",
    "swaps_fit",
    "value_after",
    "write_leaves",
]

#: Instead of the link of a pair that was joined from others.
COMPOSITE = -1
#: Instead of the slot in which a qubit was measured: it waits.
WAITS = -1


@small
def leaves_of(ledger: Ledger, place: int) -> int:
    """Count the link pairs in a stored pair."""
    return 1 if ledger.pair[place].link >= 0 else ledger.leaves[place]


@small
def copy_history(source: Table, target: Table) -> None:
    """Copy how a link pair was distilled, if it was."""
    target.kept, target.spent, target.spent_maker = source.kept, source.spent, source.spent_maker
    for axis in range(3):
        target.belief[axis] = source.belief[axis]


@small
def _copy(source: Table, target: Table, turned: bool) -> None:
    """Copy a leaf, with its two qubits exchanged if it is looked at from the other end."""
    target.link, target.birth, target.maker = source.link, source.birth, source.maker
    copy_history(source, target)
    target.left = source.right if turned else source.left
    target.right = source.left if turned else source.right
    for axis in range(3):
        target.truth[axis] = source.truth[axis]


@lean
def read_leaves(ledger: Ledger, place: int, start: int, row: Table, first: int) -> int:
    """Copy the leaves of a stored pair, from its end ``start`` on, to ``row[first:]``.

    Returns their number. A link pair is one leaf of which both qubits wait.
    """
    pair = ledger.pair[place]
    if pair.link >= 0:
        leaf = row[first]
        leaf.link, leaf.birth, leaf.maker = pair.link, pair.birth, pair.maker
        leaf.left, leaf.right = WAITS, WAITS
        copy_history(pair, leaf)
        for axis in range(3):
            leaf.truth[axis] = pair.truth[axis]
        return 1
    length, turned = ledger.leaves[place], pair.u != start
    for number in range(length):
        source = length - 1 - number if turned else number
        _copy(ledger.leaf[place, source], row[first + number], turned)
    return length


@lean
def write_leaves(ledger: Ledger, place: int, row: Table, length: int) -> None:
    """Make the pair at ``place`` a composite of the first ``length`` leaves of ``row``."""
    ledger.leaves[place] = length
    for number in range(length):
        _copy(row[number], ledger.leaf[place, number], False)


@small
def value_after(fresh: float, axis: int, one: Table, other: Table) -> float:
    """Decay one correlator of a link pair whose qubits waited for different times.

    ``one`` and ``other`` are the rows of ``World.decay`` for two qubits that both waited so long;
    each factor of a pair is the product of equal factors of its qubits. T2 takes
    exp(-(w1 + w2) / T2) of xx and yy; T1 turns zz into (1 - g1)(1 - g2) c_zz + g1 g2.
    """
    if axis == 2:
        return fresh * np.sqrt(one.zz * other.zz) + np.sqrt(one.shift * other.shift)
    return fresh * np.sqrt(one.xy * other.xy)


@lean
def is_whole(world: World, ledger: Ledger, place: int) -> bool:
    """Check a composite: its leaves lead from u to v, and every node between swapped once."""
    if place >= len(ledger.leaves):
        return False
    pair, row, length = ledger.pair[place], ledger.leaf[place], ledger.leaves[place]
    if length < 2 or length > row.shape[0] or pair.u == pair.v:
        return False
    node, oldest = pair.u, ledger.now[0].clock
    for number in range(length):
        leaf = row[number]
        if leaf.link < 0 or leaf.link >= world.m or leaf.birth > ledger.now[0].clock:
            return False
        a, b = world.link[leaf.link].a, world.link[leaf.link].b
        if node != a and node != b:
            return False
        node = b if node == a else a
        oldest = min(oldest, leaf.birth - (max(leaf.kept, leaf.spent) if leaf.spent >= 0 else 0))
        if (number == 0) != (leaf.left == WAITS) or (number == length - 1) != (leaf.right == WAITS):
            return False
        if number > 0:
            before = row[number - 1]
            # One swap measures a qubit of both its pairs in the same slot.
            if leaf.left != before.right or leaf.left < max(leaf.birth, before.birth):
                return False
            if leaf.left > ledger.now[0].clock:
                return False
    return bool(node == pair.v and oldest == pair.old and pair.birth == pair.old)


@lean
def swaps_fit(world: World, ledger: Ledger, composite_swaps: int, total: int) -> bool:
    """Check swap tokens: as many spent as there were swaps, and no bucket fuller than it can be."""
    spent = 0
    for node in range(world.n):
        spot, fixed = ledger.node[node], world.node[node]
        spent += spot.swaps
        most = fixed.bucket + fixed.swap_rate * (ledger.now[0].clock + 1) + spot.given - spot.swaps
        if spot.swap_tokens > most + 1e-6:
            return False
    return bool(spent == total and composite_swaps <= total)
