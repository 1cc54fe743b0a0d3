"""Claims: the links that live requests will use, so that pairs are made there."""

from quantum.kernels import Table, lean, small
from quantum.ledger.heard import listen, show
from quantum.ledger.paths import find_path, is_usable, path_cost
from quantum.ledger.prices import CLAIMS, CLOSED
from quantum.ledger.shares import begin_shares, claim_share, end_shares, note_shares
from quantum.ledger.state import Ints, Ledger, Rule, World

__all__ = ["ANNOUNCED_S", "claim_paths"]

#: An announced request claims its path so long before it starts; longer only fills memories.
ANNOUNCED_S = 0.5


@lean
def claim_paths(world: World, ledger: Ledger, rule: Rule) -> None:
    """Claim a path for the missing pairs of every live request that starts soon enough."""
    for number in range(world.m):
        ledger.link[number].wanted = 0.0
    row = -1
    start = ledger.now[0].clock + int(ANNOUNCED_S / world.slot_s)
    if rule.complete == 2:
        begin_shares(world, ledger)
    for index in range(ledger.now[0].live):
        request = ledger.queue[index].live
        if world.request[request].arrival > start:
            continue
        if len(world.age) > 0:
            row = listen(world, ledger, request, row)
        if rule.complete == 2:
            claim_share(world, ledger, rule, request)
        else:
            _claim_path(world, ledger, rule, request)
    if rule.complete == 2:
        note_shares(world, ledger)
        end_shares(world, ledger)
    if row >= 0:
        show(world, ledger)


@lean
def _claim_path(world: World, ledger: Ledger, rule: Rule, request: int) -> None:
    """Claim the links of a live request for its missing pairs.

    Along its fixed shortest path, as long as that is there, or along the path that is cheapest to
    complete from stock whose swap nodes can have a token by the deadline.
    """
    links, asked, row = ledger.link, ledger.request[request], world.request[request].cls
    if rule.complete == 0 and _is_passable(links, world.path_links[row], asked.left):
        for link in world.path_links[row]:
            if link < 0:
                return
            links[link].wanted += asked.left
        return
    slot = ledger.now[0].clock
    slack = world.request[request].deadline - slot
    if slot >= asked.search or not is_usable(world, ledger, row, slack, asked.claim, asked.claimed):
        known = CLOSED
        if asked.claimed > 0:
            known = path_cost(world, ledger, rule, row, slack, asked.claim, asked.claimed)
        length = find_path(world, ledger, rule, row, slack, CLAIMS, known)
        asked.search = slot + 1 + int(rule.again * slack)
        if length > 0:
            asked.claimed = length
            for back in range(length):
                asked.claim[back] = ledger.chain[back]
        elif known >= CLOSED:
            asked.claimed = 0
            asked.search = slot + 1 if _may_open(world) else world.horizon
    for back in range(asked.claimed):
        links[asked.claim[back]].wanted += asked.left


@small
def _may_open(world: World) -> bool:
    """Tell whether a path may come to be where there is none.

    A swap node has as many tokens by the deadline as it had before, or less; links and nodes that
    come back, and beliefs that grow, are all that opens a path.
    """
    return len(world.change) > 0 or len(world.belief) > 1


@lean
def _is_passable(links: Table, path: Ints, pairs: int) -> bool:
    """Tell whether every link of a path can make pairs or has them."""
    for link in path:
        if link < 0:
            break
        if links[link].open == 0 and links[link].stock < pairs:
            return False
    return True
