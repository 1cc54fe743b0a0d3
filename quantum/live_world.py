"""A world without a table of requests: rows that are written when somebody asks."""

import numpy as np

from quantum.bell import correlators
from quantum.kernels import table
from quantum.ledger import Ledger, World, new_ledger
from quantum.ledger.intake import Intake
from quantum.ledger.reach import best_pair
from quantum.ledger.state import MAX_HOPS
from quantum.ledger.turns import Turns
from quantum.network import Network

__all__ = ["for_requests", "fresh_ledger", "intake_of"]

#: A service has no last slot.
_FOREVER = 1 << 60
#: Clients that are told apart: as many as may wait, fewer only where their tags, one for each link
#: and node, would take more than 32 MiB.
_FEWEST_CLIENTS, _MOST_TAGS = 64, 1 << 22


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
        ask=table(
            batch, row=int, a=int, b=int, fidelity=float, pairs=int, deadline=int, client=int
        ),
        ended=np.zeros(rows, np.int64),
        told=np.zeros(4, np.int64),
        made=table(events, row=int, hops=int, predicted=float),
        tally=np.zeros((MAX_HOPS + 1, 2), np.int64),
        known=np.zeros(world.n, np.int64),
        queue=np.zeros(world.n, np.int64),
        best=best_pair(correlators(network.populations), 0),
        turns=_turns_of(world, rows),
    )


def _turns_of(world: World, rows: int) -> Turns:
    """Return what is known of clients when nobody has come yet."""
    resources = world.m + world.n
    return Turns(
        client=np.zeros(rows, np.int64),
        tag=np.zeros((min(rows, max(_FEWEST_CLIENTS, _MOST_TAGS // resources)), resources)),
        clock=np.zeros(resources),
        resource=table(
            resources,
            number=int,
            client=int,
            shared=int,
            clock=float,
            given=int,
            missed=int,
            kept=int,
        ),
        flow=table(
            rows,
            head=int,
            tail=int,
            client=int,
            length=int,
            chain=(int, MAX_HOPS),
            most=float,
            cost=float,
        ),
        after=np.zeros(rows, np.int64),
        way=table(rows, until=int, length=int, chain=(int, MAX_HOPS)),
        bins=table(1 << (2 * rows - 1).bit_length(), number=int, flow=int),
        heap=table(rows + 1, node=int, cost=float),
        touched=np.zeros(2 * MAX_HOPS + 1, np.int64),
        kept=np.zeros(world.m, np.int64),
        tied=np.zeros(world.n, np.int64),
        now=table(1, number=int, kept=int, tied=int),
    )
