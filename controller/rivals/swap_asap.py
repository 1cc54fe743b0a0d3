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
from controller.rivals.along import deliver, join_at, own
from controller.rivals.desk import Desk, clear, lay_out, new_desk
from controller.rivals.tuned import tuned
from quantum.kernels import lean
from quantum.ledger import Ledger, Rule, World, act_by_rule, close_slot, generate, open_slot
from quantum.ledger.acts import discard
from quantum.ledger.claims import ANNOUNCED_S
from quantum.ledger.fans import begin_spending
from quantum.ledger.paths import find_stored
from quantum.ledger.prices import CLOSED
from quantum.ledger.refine import refine
from quantum.ledger.refined import claim_refined
from quantum.ledger.serve import assemble, choose_pairs, serve_best
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
        if rule.rounds > 0:
            claim_refined(world, ledger, rule, slot + int(ANNOUNCED_S / world.slot_s))
        act_by_rule(world, ledger, rule)
        generate(world, ledger, rule)
        if rule.rounds > 0:
            refine(world, ledger, rule)
        _swap_all(world, ledger, rule, desk, 2 * slot + 1, gaps)
        if rule.rounds > 0:
            serve_best(world, ledger, rule, False)
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
        if own(world, ledger, desk, request, hops, base) == 0:
            clear(desk, hops)
            _route(ledger, desk, request)
            hops = lay_out(world, ledger, desk, request)
            own(world, ledger, desk, request, hops, base)
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
    soon, since = slot + int(ANNOUNCED_S / world.slot_s), begin_spending(world, ledger)
    for index in range(ledger.now[0].live):
        request = ledger.queue[index].live
        fixed = world.request[request]
        if fixed.arrival > soon:
            continue
        hops = lay_out(world, ledger, desk, request)
        if fixed.arrival <= slot <= fixed.deadline:
            deliver(world, ledger, desk, request, hops, base)
            begun = own(world, ledger, desk, request, hops, base)
            _whole(world, ledger, rule, request, begun, since)
        _swap(world, ledger, desk, request, hops, base, gaps)
        clear(desk, hops)


@lean
def _whole(world: World, ledger: Ledger, rule: Rule, request: int, begun: int, since: int) -> None:
    """Swap whole chains of link pairs, on any path, for what the chains begun will not deliver."""
    row = world.request[request].cls
    while ledger.request[request].left > begun:
        length = find_stored(world, ledger, rule, row, CLOSED, since)
        if length == 0:
            return
        choose_pairs(world, ledger, row, length)
        assemble(world, ledger, rule, request, length)


@lean
def _swap(
    world: World, ledger: Ledger, desk: Desk, request: int, hops: int, base: int, gaps: int
) -> None:
    """Swap along the path wherever pairs meet, and hand over what reaches from end to end."""
    asked, moved = ledger.request[request], True
    while moved and asked.left > 0:
        moved = False
        own(world, ledger, desk, request, hops, base)
        if _gaps(ledger, desk, hops) > gaps:
            break
        for p in range(1, hops):
            while desk.cross[p] < asked.left and join_at(
                world, ledger, desk, request, p, base + request
            ):
                moved = True
        if moved:
            deliver(world, ledger, desk, request, hops, base)


@lean
def _gaps(ledger: Ledger, desk: Desk, hops: int) -> int:
    """Count the links of the path over which no pair leads."""
    count = 0
    for hop in range(hops):
        if desk.cover[hop] == 0 and ledger.link[desk.via[hop]].stock == 0:
            count += 1
    return count


def make(*, stock: float = 1.0, cutoff: float = 1.0, gaps: float = 1.0) -> Allocator:
    """Return swap-asap with these levers.

    ``stock`` multiplies the targets from the mean demand (0: pairs are made for requests only),
    ``cutoff`` is the age at which swapped pairs are dropped, over that of the network, ``gaps`` is
    how many links of a path may still be without a pair when its nodes begin to swap.
    """

    def rule(scenario: Scenario, plan: Plan) -> Rule:
        return Rule(
            fill=2 if stock > 0.0 else 0,
            complete=1,
            targets=stock * plan.mean_targets,
            rounds=plan.rounds,
            refined=plan.refined,
        )

    def player(game: Game) -> Player:
        world, targets = game.world, rule(game.scenario, game.plan)
        desks: list[Desk] = []
        most = max(1, round(cutoff * world.cutoff))

        def play(ledger: Ledger, stop: int) -> None:
            if not desks:
                desks.append(new_desk(world, len(ledger.pair)))
            _play(world, ledger, targets, desks[0], stop, most, round(gaps))

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
