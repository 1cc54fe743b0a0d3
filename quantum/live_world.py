"""A world without a table of requests: rows that are written when somebody asks."""

import numpy as np

from quantum.bell import correlators
from quantum.kernels import table
from quantum.ledger import Ledger, World, new_ledger
from quantum.ledger.intake import Intake
from quantum.ledger.reach import best_pair
from quantum.ledger.state import MAX_HOPS
from quantum.network import Network

__all__ = ["for_requests", "fresh_ledger", "intake_of"]

#: A service has no last slot.
_FOREVER = 1 << 60


def for_requests(world: World, rows: int, seed: int) -> World:
    """Return the world with ``rows`` empty rows in the place of its requests and classes.

    Draws are those of ``seed``. No slot counts for a score, and none is the last.
    """
    n = world.n
    tables = (world.request, world.cls)
    request, cls = (np.zeros(rows, dtype=t.dtype).view(np.recarray) for t in tables)
    cls.first = np.arange(rows)
    nowhere = np.full((rows, world.path_links.shape[1]), -1, dtype=np.int64)
    return world._replace(
        seed=seed,
        warmup=0,
        slots=0,
        horizon=_FOREVER,
        cls=cls,
        request=request,
        distance=np.zeros((n, n), dtype=np.int8),
        path_links=nowhere,
        path_nodes=np.full((rows, world.path_nodes.shape[1]), -1, dtype=np.int64),
        change=world.change[:0],
    )


def fresh_ledger(world: World, *, events: int) -> Ledger:
    """Return the ledger of such a world: no request has come yet."""
    ledger = new_ledger(world, events=events)
    # Whoever comes is put into the queue by hand; nobody arrives by the table.
    ledger.now.next_arrival = ledger.now.next_visible = len(world.request)
    ledger.request.left = 0
    return ledger


def intake_of(world: World, network: Network, *, events: int, batch: int) -> Intake:
    """Return what requests are handed over in, ``batch`` at a time."""
    rows = len(world.request)
    return Intake(
        ask=table(batch, row=int, a=int, b=int, fidelity=float, pairs=int, deadline=int),
        ended=np.zeros(rows, np.int64),
        told=np.zeros(4, np.int64),
        made=table(events, row=int, hops=int, predicted=float),
        tally=np.zeros((MAX_HOPS + 1, 2), np.int64),
        known=np.zeros(world.n, np.int64),
        queue=np.zeros(world.n, np.int64),
        best=best_pair(correlators(network.populations), 0),
    )
