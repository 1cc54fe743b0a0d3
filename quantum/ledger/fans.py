"""Where stored pairs lead: for each node its neighbours over links with stock, and who can swap.

Searches for chains of stored pairs look at little else, and of most links none is stored. A link
enters with its first pair and leaves with its last, in the place that it has among all links of a
node. Where word of pairs takes time, links are written anew for every decider.
"""

from quantum.kernels import lean
from quantum.ledger.state import Ledger, World

__all__ = ["begin_spending", "enter", "leave", "opens"]


@lean
def begin_spending(world: World, ledger: Ledger) -> int:
    """Note where stored pairs lead and who can swap; return the number of this.

    As long as pairs and swap tokens are only spent, there is no chain where it says that there is
    none. To be called again whenever there may be more of them, or a decider sees others.
    """
    fan = ledger.fan
    for node in range(world.n):
        fan[node].able = int(ledger.node[node].swap_tokens >= 1.0)
    if len(world.age) > 0:
        for node in range(world.n):
            fan[node].count = 0
        for number in range(world.m):
            if ledger.link[number].stock > 0:
                enter(ledger, world.link[number].a, world.link[number].b, number)
    ledger.now[0].search += 1
    return int(ledger.now[0].search)


@lean
def enter(ledger: Ledger, u: int, v: int, link: int) -> None:
    """Note that a link between two nodes has stored pairs."""
    _enter(ledger, u, v, link)
    _enter(ledger, v, u, link)


@lean
def leave(ledger: Ledger, u: int, v: int, link: int) -> None:
    """Note that a link between two nodes has no stored pairs any more."""
    _leave(ledger, u, link)
    _leave(ledger, v, link)


@lean
def _enter(ledger: Ledger, node: int, peer: int, link: int) -> None:
    lead, spot = ledger.lead[node], ledger.fan[node]
    place = 0
    while place < spot.count and lead[place].link < link:
        place += 1
    # Where links are written anew for every decider, it may be there.
    if place < spot.count and lead[place].link == link:
        return
    for k in range(spot.count, place, -1):
        lead[k].link, lead[k].node = lead[k - 1].link, lead[k - 1].node
    lead[place].link, lead[place].node = link, peer
    spot.count += 1


@lean
def _leave(ledger: Ledger, node: int, link: int) -> None:
    lead, spot = ledger.lead[node], ledger.fan[node]
    place = 0
    while place < spot.count and lead[place].link != link:
        place += 1
    if place == spot.count:
        return
    spot.count -= 1
    while place < spot.count:
        lead[place].link, lead[place].node = lead[place + 1].link, lead[place + 1].node
        place += 1


@lean
def opens(ledger: Ledger, end: int, other: int) -> bool:
    """Tell whether an end of a chain has a stored pair with a node that can swap, or the other.

    To be called after :func:`begin_spending`.
    """
    fan, lead = ledger.fan, ledger.lead
    found = False
    for k in range(fan[end].count):
        peer = lead[end, k].node
        found = found or peer == other or fan[peer].able == 1
    return found
