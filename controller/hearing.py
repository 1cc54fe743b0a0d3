"""How old the knowledge of stored pairs is on which an allocator decides.

A central allocator decides at one node, the others decide at the sources of the requests. Both pay
for distance by the same rules: five microseconds a kilometre of straight fibre.
"""

import numpy as np

from controller.plan import controller_node
from quantum.ledger import World
from quantum.ledger.state import Floats
from quantum.network import FIBRE_S_PER_KM
from quantum.scenario import Scenario

__all__ = ["as_heard"]

#: Pairs that were taken lately and that some source may still count on: at least, and for a node.
_FEWEST, _EACH = 1024, 8


def as_heard(world: World, scenario: Scenario, *, central: bool) -> World:
    """Return the world of a scenario with the ages of what its deciders know.

    Word of a pair comes from its link's farther end. Central: to the controller, which needs its
    service time, and back; decentralised: to the source of the request. In whole slots, rounded
    down; where all of them are 0 the world stays as it is.
    """
    if len(world.age):
        return world
    network = scenario.network
    ends = network.position_km[network.links]  # (m, 2, 2)
    if central:
        deciders = np.array([controller_node(network)])
        heard = np.zeros(len(world.cls), dtype=np.int64)
        seconds = 2.0 * _way_s(ends, network.position_km[deciders]) + scenario.service_s
    else:
        deciders, heard = np.unique(world.cls.a, return_inverse=True)
        seconds = _way_s(ends, network.position_km[deciders])
    age = np.minimum(np.floor(seconds / scenario.slot_s + 1e-9), world.cutoff + 1)
    if not age.any():
        return world
    cls = world.cls.copy()
    cls.heard = heard.ravel()
    ghosts = 0 if central else max(_FEWEST, _EACH * world.n)
    return world._replace(age=age.astype(np.int16), cls=cls, ghosts=ghosts)


def _way_s(ends: Floats, places: Floats) -> Floats:
    """Return the time from the farther end of every link to every place, (places, m)."""
    rows = [np.linalg.norm(ends - place, axis=-1).max(axis=-1, initial=0.0) for place in places]
    return np.array(rows).reshape(len(places), len(ends)) * FIBRE_S_PER_KM
