"""A network that changes while it runs: what it means that a link is down or a node is away.

Changes take effect at the beginning of a slot, before anything else. A link that is down makes no
pairs; its stored pairs live on. A node that leaves loses its pairs and can neither make nor swap
any; one that joins starts with an empty memory and a full swap bucket. A link is *open*, and only
then makes pairs, if it is up and both its ends are there.
"""

from quantum.kernels import lean
from quantum.ledger.heard import remember
from quantum.ledger.leaves import leaves_of
from quantum.ledger.places import take
from quantum.ledger.state import LEFT, Ledger, World

__all__ = ["apply_changes"]


@lean
def apply_changes(world: World, ledger: Ledger) -> None:
    """Apply all changes that are due in the slot of ``ledger.clock``."""
    now, changes = ledger.now[0], world.change
    while now.next_change < len(changes) and changes[now.next_change].slot <= now.clock:
        change = changes[now.next_change]
        now.next_change += 1
        if change.node == 0:
            ledger.behind[change.index].up = change.up
            _open(world, ledger, change.index)
        elif ledger.node[change.index].up != change.up:
            _come_or_go(world, ledger, change.index, change.up)


@lean
def _come_or_go(world: World, ledger: Ledger, node: int, up: int) -> None:
    spot = ledger.node[node]
    spot.up = up
    if up == 1:
        spot.given += world.node[node].bucket - spot.swap_tokens
        spot.swap_tokens = world.node[node].bucket
    while spot.used > 0:
        place = ledger.held[node, spot.used - 1]
        if len(ledger.ghost) > 0:
            remember(ledger, place, -1)
        ledger.totals[LEFT] += leaves_of(ledger, place)
        take(ledger, place)
    for k in range(world.node[node].degree):
        _open(world, ledger, world.inc_link[node, k])


@lean
def _open(world: World, ledger: Ledger, number: int) -> None:
    """Work out whether a link can make pairs."""
    ends, nodes, up = world.link[number], ledger.node, ledger.behind[number].up
    ledger.link[number].open = up * nodes[ends.a].up * nodes[ends.b].up
