"""Max-weight: swap for the longest queues, and ahead of demand where swap tokens would spill.

T. Vasantam, D. Towsley, "Stability analysis of a quantum network with max-weight scheduling",
arXiv:2106.00831 (2021), keep a queue of requests for each pair of users and serve, every slot, the
set of queues of greatest total backlog that the stored link pairs allow; this is stable wherever
any policy is. P. Fittipaldi, A. Giovanidis, F. Grosshans, "A linear algebraic framework for dynamic
scheduling over memory-equipped quantum networks", IEEE Trans. Quantum Eng. 5 (2024),
arXiv:2307.06009, add queues of stored pairs between nodes that are no neighbours and swaps that
feed them, and replace the exact program by linear and greedy ones at little loss.

Here a queue is a commodity with a minimum fidelity; its backlog are the pairs that its live
requests miss. Every slot, queues are served in falling order of weight, each by the cheapest chain
of stored pairs, composites among them, that meets the fidelity: the greedy form, because a slot's
exact program costs more than the slot. Then nodes whose swap bucket would overflow make composites
of two links: those of greatest differential, the backlog of the virtual queue (what the mean demand
sends this way in a second, less what is stored) less what the two links lack. They are tokens put
by: a swap that is done before its request comes. Deadlines and decay are not in the papers; pairs
are made on links by the targets of the mean demand, after claims.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from controller.game import Game
from controller.plan import Plan
from controller.rivals.allocator import Allocator, Player
from controller.rivals.mean_rate import rule_of
from controller.rivals.mixed import Board, new_board, serve_mixed
from controller.rivals.tuned import tuned
from quantum.kernels import Table, lean, table
from quantum.ledger import Ledger, Rule, World, act_by_rule, close_slot, generate, open_slot
from quantum.ledger.acts import FAILED, join
from quantum.ledger.refine import refine
from quantum.ledger.serve import serve_best
from quantum.ledger.state import Floats, Ints
from quantum.scenario import Scenario

__all__ = ["Levers", "allocator", "make", "ways_of"]


class Levers(NamedTuple):
    """What can be tuned, see :func:`make`."""

    backlog: float
    thrift: float
    ahead: float
    ready: float
    spill: float
    least: float
    lack: float


def ways_of(scenario: Scenario, plan: Plan) -> tuple[Ints, Table]:
    """Return the ways over two links that mean demand takes, by the node between.

    ``first`` (n + 1,): the ways of node j are rows first[j] to first[j + 1] - 1 of a table with the
    two links, the two far ends, and the pairs that take the way in a second. Where the flow of a
    commodity splits at a node, each of its links goes on with every other in proportion.
    """
    network, trace = scenario.network, scenario.trace
    inc = network.incidence
    mean = trace.load_hz * trace.weights
    rows: list[tuple[int, int, int, int, float]] = []
    first = np.zeros(len(network.nodes) + 1, dtype=np.int64)
    for node in range(len(network.nodes)):
        links = inc.link[node, : inc.degree[node]]
        inner = np.all(trace.commodities.reshape(-1, 2) != node, axis=1)
        share = plan.shares[inner][:, links]
        through = 0.5 * share.sum(axis=1)
        scale = np.where(through > 1e-12, mean[inner] / np.maximum(through, 1e-12), 0.0)
        flow = np.triu(np.einsum("k,ki,kj->ij", scale, share, share), 1)
        for i, j in zip(*np.triu_indices(len(links), 1), strict=True):
            if flow[i, j] > 0.0:
                ends = int(inc.neighbour[node, i]), int(inc.neighbour[node, j])
                rows.append((int(links[i]), int(links[j]), *ends, float(flow[i, j])))
        first[node + 1] = len(rows)
    ways = table(len(rows), one=int, other=int, u=int, v=int, flow=float)
    for column, values in zip(ways.dtype.names, zip(*rows, strict=True), strict=False):
        ways[column] = values
    return first, ways


@lru_cache(maxsize=1)
def _ways(game: Game) -> tuple[Ints, Table]:
    # Every lonely request opens a player on the same game.
    return ways_of(game.scenario, game.plan)


@lean
def _play(
    world: World,
    ledger: Ledger,
    rule: Rule,
    board: Board,
    first: Ints,
    ways: Table,
    weight: Floats,
    levers: Levers,
    stop: int,
) -> None:
    """Play slots until ``stop``; ``weight`` is scratch for classes and requests."""
    while ledger.now[0].clock < stop:
        open_slot(world, ledger, rule)
        act_by_rule(world, ledger, rule)
        generate(world, ledger, rule)
        if rule.rounds > 0:
            refine(world, ledger, rule)
        _serve(world, ledger, rule, board, weight, levers)
        if rule.rounds > 0:
            serve_best(world, ledger, rule, False)
        if levers.ahead > 0.0:
            for node in range(world.n):
                _ahead(world, ledger, rule, board, first, ways, levers, node)
        close_slot(world, ledger)


@lean
def _serve(
    world: World, ledger: Ledger, rule: Rule, board: Board, weight: Floats, levers: Levers
) -> None:
    """Serve queues in falling order of weight, requests of a queue in the order of their coming."""
    live, queue, slot = ledger.now[0].live, ledger.queue, ledger.now[0].clock
    backlog = weight[0]
    size = 0
    for index in range(live):
        request = queue[index].live
        backlog[world.request[request].cls] = 0.0
    for index in range(live):
        request = queue[index].live
        fixed = world.request[request]
        if fixed.arrival <= slot <= fixed.deadline:
            backlog[fixed.cls] += ledger.request[request].left
            board.order[size] = request
            size += 1
    for index in range(size):
        # Insertion keeps the order of equal weights.
        request = board.order[index]
        row = world.request[request].cls
        hops = world.distance[world.cls[row].row, world.cls[row].a]
        value = levers.backlog * backlog[row] - levers.thrift * hops
        spot = index
        while spot > 0 and weight[1, spot - 1] < value:
            weight[1, spot], board.order[spot] = weight[1, spot - 1], board.order[spot - 1]
            spot -= 1
        weight[1, spot], board.order[spot] = value, request
    for index in range(size):
        serve_mixed(world, ledger, rule, board, board.order[index], levers.ready)


@lean
def _ahead(
    world: World,
    ledger: Ledger,
    rule: Rule,
    board: Board,
    first: Ints,
    ways: Table,
    levers: Levers,
    node: int,
) -> None:
    """Swap at a node whose bucket would overflow, on its way of greatest differential."""
    spot, fixed = ledger.node[node], world.node[node]
    while spot.swap_tokens >= 1.0 and spot.swap_tokens > fixed.bucket - levers.spill * max(
        fixed.swap_rate, 1e-9
    ):
        best, found = levers.least, -1
        for number in range(first[node], first[node + 1]):
            way = ways[number]
            one, other = ledger.link[way.one], ledger.link[way.other]
            if one.stock <= one.wanted or other.stock <= other.wanted:
                continue
            stored = 0
            for position in range(ledger.node[way.u].used):
                pair = ledger.pair[ledger.held[way.u, position]]
                if pair.link < 0 and (pair.u == way.v or pair.v == way.v):
                    stored += 1
            lacks = max(0.0, rule.targets[way.one] - one.stock)
            lacks += max(0.0, rule.targets[way.other] - other.stock)
            value = levers.ahead * way.flow - stored - levers.lack * lacks
            if value > best:
                best, found = value, number
        if found < 0:
            return
        one, other = ledger.link[ways[found].one], ledger.link[ways[found].other]
        place = join(world, ledger, node, one.youngest, other.youngest)
        if place < FAILED:
            return
        if place >= 0:
            board.valued[place] = -1


def make(
    *,
    backlog: float = 1.0,
    thrift: float = 0.0,
    ahead: float = 1.0,
    ready: float = 0.5,
    spill: float = 1.0,
    least: float = 0.5,
    lack: float = 0.5,
    stock: float = 1.0,
) -> Allocator:
    """Return max-weight with these levers.

    The weight of a queue is ``backlog`` times its backlog less ``thrift`` for every hop. Composites
    are kept for ``ahead`` seconds of mean demand (0: none) where a node is within ``spill`` slots
    of an overflow and the differential, in which lacking link pairs count ``lack``, is above
    ``least``; in a chain a composite costs ``ready``. ``stock`` multiplies the targets of links.
    """
    levers = Levers(backlog, thrift, ahead, ready, spill, least, lack)

    def rule(scenario: Scenario, plan: Plan) -> Rule:
        return rule_of(stock * plan.mean_targets)._replace(rounds=plan.rounds, refined=plan.refined)

    def player(game: Game) -> Player:
        world, own = game.world, rule(game.scenario, game.plan)
        first, ways = _ways(game)
        boards: list[Board] = []
        weight = np.zeros((2, max(len(world.cls), len(world.request)) + 1))

        def play(ledger: Ledger, stop: int) -> None:
            if not boards:
                boards.append(new_board(world, len(ledger.pair)))
            boards[0].valued[:] = -1
            _play(world, ledger, own, boards[0], first, ways, weight, levers, stop)

        return play

    return Allocator(
        name="max-weight",
        central=True,
        sentence="Central, longest queues first; swaps ahead what mean demand will want.",
        rule=rule,
        play=player,
        paper="Vasantam and Towsley, arXiv:2106.00831; Fittipaldi et al., IEEE TQE 5 (2024)",
        plays_alone=True,
        history_s=0.0,
        swaps_ahead=True,
        levers={
            # Without a weight on the backlog it would be another allocator.
            "backlog": (0.5, 1.0),
            "thrift": (0.0, 1.0),
            "ahead": (0.0, 0.5, 1.0, 2.0),
            "ready": (0.0, 0.5, 1.0),
            "spill": (1.0, 10.0, 50.0),
            "least": (0.0, 0.25, 0.5),
            "lack": (0.0, 0.5, 1.0),
            "stock": (0.75, 1.0, 1.5),
        },
        make=make,
    )


allocator = make(**tuned("max-weight"))
