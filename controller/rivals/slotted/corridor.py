"""Where pairs of a round are of use to somebody, for protocols that choose paths afterwards.

In Pant et al. every link tries in every slot. Here a node has few tokens, so they go where a path
of a waiting request can pass: the links whose detour is small, each in proportion to the pairs
that requests want through it.
"""

from controller.rivals.slotted.state import Protocol, Round
from quantum.kernels import kernel
from quantum.ledger.state import Ledger, World

__all__ = ["find_corridors", "pull_towards"]


@kernel
def find_corridors(world: World, ledger: Ledger, state: Round, plan: Protocol) -> None:
    """Sum over the requests of the round the pairs wanted on every link of their corridors."""
    for number in range(world.m):
        state.link[number].demand = 0.0
    for index in range(state.now[0].entries):
        entry = state.entry[index]
        _add_corridor(world, state, plan, world.request[entry.request].cls, entry.want)


@kernel
def _add_corridor(world: World, state: Round, plan: Protocol, row: int, want: float) -> None:
    """Add a request to the links on walks to its destination of few more links than needed.

    The search goes by layers from the source; ``distance`` cuts what cannot arrive in time.
    """
    source, distance = world.cls[row].a, world.distance[world.cls[row].row]
    most = min(world.cls[row].hops, distance[source] + plan.detour)
    nodes, frontier = state.node, state.frontier
    state.now[0].search += 1
    stamp = state.now[0].search
    nodes[source].best_stamp = stamp
    frontier[0, 0] = source
    size = 1
    for hop in range(most):
        here, there, reached = hop % 2, (hop + 1) % 2, 0
        for index in range(size):
            u = frontier[here, index]
            for k in range(world.node[u].degree):
                v, via = world.inc_node[u, k], world.inc_link[u, k]
                if hop + 1 + distance[v] > most:
                    continue
                excess = hop + 1 + distance[v] - distance[source]
                state.link[via].demand += want / (1.0 + excess)
                if nodes[v].best_stamp != stamp and distance[v] > 0:
                    nodes[v].best_stamp = stamp
                    frontier[there, reached] = v
                    reached += 1
        size = reached


@kernel
def pull_towards(world: World, ledger: Ledger, state: Round) -> None:
    """Let links that are in demand miss pairs: the more the fewer they have for it."""
    for number in range(world.m):
        link, real = state.link[number], ledger.link[number]
        real.wanted = min(link.demand, float(real.stock + 1))
        link.need = link.demand / (1.0 + real.stock) if link.demand >= real.stock + 1.0 else 0.0
