"""From the ledger of a network to that of the network it was changed into: what goes on.

Time, swap buckets, the luck of rows, and the pairs whose two nodes are still there go on; all else
of a new ledger is as at a start. A link is the same where both its nodes are.
"""

import numpy as np

from controller.plan import RESERVE
from quantum.demand import Trace
from quantum.ledger import Ledger, World, new_world, no_paths
from quantum.ledger.carry import carry_pairs
from quantum.ledger.state import LEFT, SWAPS, Floats, Ints
from quantum.ledger.turns import Turns
from quantum.network import Network
from quantum.scenario import Scenario

__all__ = [
    "NOTHING",
    "carry_over",
    "links_before",
    "targets_before",
    "turns_over",
    "wishes_of",
    "world_for",
]

_NONE = np.zeros(0, dtype=np.int64)
#: A trace in which nobody asks for anything.
NOTHING = Trace(
    name="nothing",
    commodities=_NONE.reshape(0, 2),
    weights=np.zeros(0),
    load_hz=0.0,
    time_s=np.zeros(0),
    commodity=_NONE,
    pairs=_NONE,
    minimum_fidelity=np.zeros(0),
    deadline_s=np.zeros(0),
    told_s=np.zeros(0),
)


def world_for(network: Network, like: World) -> World:
    """Return the world of a network in which nobody asks, with slots and tests as in another."""
    scenario = Scenario(
        network,
        NOTHING,
        seed=0,
        seconds=1.0,
        warmup_s=0.0,
        slot_s=like.slot_s,
        test_share=like.test_share,
    )
    return new_world(scenario, paths=no_paths)


def links_before(old: World, new: World, before: Ints) -> Ints:
    """Return the number that each link had, -1 where it is new; ``before`` (n,) tells of nodes."""
    known = {
        (a, b): k
        for k, (a, b) in enumerate(zip(old.link.a.tolist(), old.link.b.tolist(), strict=True))
    }
    a, b = before[new.link.a], before[new.link.b]
    # Nodes that stay keep their order.
    ends = zip(a.tolist(), b.tolist(), strict=True)
    return np.array([known.get(pair, -1) for pair in ends], dtype=np.int64)


def carry_over(old: Ledger, new: Ledger, *, before: Ints, links: Ints, up: np.ndarray) -> None:
    """Let a fresh ledger go on from another one; ``up`` (m,) tells which links work.

    ``before`` (n,) and ``links`` (m,) are the numbers that nodes and links had, -1 where new.
    """
    for field in ("clock", "swept"):
        new.now[field] = old.now[field]
    kept = np.flatnonzero(before >= 0)
    for field in ("swap_tokens", "swaps", "given"):
        new.node[field][kept] = old.node[field][before[kept]]
    new.request["attempts"] = old.request["attempts"]
    new.behind["up"] = new.link["open"] = up
    node_of, link_of = _inverse(before, len(old.node)), _inverse(links, len(old.link))
    pair = old.pair
    alive = np.flatnonzero(pair["u"] >= 0)
    stays = alive[(node_of[pair["u"][alive]] >= 0) & (node_of[pair["v"][alive]] >= 0)]
    order = stays[np.argsort(pair["birth"][stays], kind="stable")]
    new.totals[:] = old.totals
    # Swaps of nodes that are gone are counted with them.
    new.totals[SWAPS] = int(new.node["swaps"].sum())
    new.totals[LEFT] += len(alive) - len(stays)
    carry_pairs(pair, order, node_of, link_of, new)


def wishes_of(
    world: World, ledger: Ledger, before: Ints, client: Ints
) -> list[tuple[int, int, int, float, int, int, int]]:
    """Return the requests that wait, as they may be asked again: those of nodes that are there.

    ``client`` (R,) tells whose a row is.
    """
    node_of = _inverse(before, world.n)
    out = []
    for row in ledger.queue["live"][: int(ledger.now["live"][0])].tolist():
        cls, left = world.cls[row], int(ledger.request["left"][row])
        a, b = int(node_of[cls.a]), int(node_of[cls.b])
        if left > 0 and a >= 0 and b >= 0:
            deadline = int(world.request["deadline"][row])
            out.append((row, a, b, float(cls.fidelity), left, deadline, int(client[row])))
    return out


def turns_over(old: Turns, fresh: Turns, before: Ints, links: Ints) -> Turns:
    """Return what is known of clients, theirs on links and nodes that are still there.

    Where ``fresh`` has room for fewer of them, those beyond share the numbers of others.
    """
    clients = min(len(old.tag), len(fresh.tag))
    nodes = np.where(before >= 0, before + len(old.kept), -1)
    was = np.concatenate([links, nodes])
    kept = np.flatnonzero(was >= 0)
    tag, clock = np.zeros((clients, len(was))), np.zeros(len(was))
    tag[:, kept], clock[kept] = old.tag[:clients, was[kept]], old.clock[was[kept]]
    return fresh._replace(client=old.client % clients, tag=tag, clock=clock)


def targets_before(targets: Floats, links: Ints) -> Floats:
    """Return what to keep in stock until it is planned: as before, the mean on new links."""
    out = np.full(len(links), float(targets.mean()) if len(targets) else RESERVE)
    out[links >= 0] = targets[links[links >= 0]]
    return out


def _inverse(before: Ints, size: int) -> Ints:
    """Return the new number of each of ``size`` old ones, -1 where it is gone."""
    out = np.full(size, -1, dtype=np.int64)
    kept = np.flatnonzero(before >= 0)
    out[before[kept]] = kept
    return out
