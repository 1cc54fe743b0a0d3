"""Fair shares of one resource: how far each client has come, and what a pair costs him.

Start-time fair queueing (Goyal, Vin and Cheng, SIGCOMM 1996) with a clock for each resource, which
is a link or a node. A client's *tag* is where his next pair starts, on the resource's clock; a pair
of his moves it on by one, and the clock to where that pair started. Whoever has the least tag comes
first. Somebody who asked for less than his share lags behind the clock and comes first when he
asks, but for ``ALLOWANCE`` pairs at most: what he did not want is not saved up.
"""

from quantum.kernels import small
from quantum.ledger.state import Floats

__all__ = ["ALLOWANCE", "ahead", "charge"]

#: Pairs that somebody who comes back may have before others, beside his share.
ALLOWANCE = 8.0


@small
def ahead(tag: float, clock: float) -> float:
    """Return how far the next pair of a client with a tag starts ahead of a clock, in pairs.

    >>> ahead(3.0, 2.0), ahead(1.0, 2.0), ahead(0.0, 100.0)
    (1.0, -1.0, -8.0)
    """
    return max(tag - clock, -ALLOWANCE)


@small
def charge(tags: Floats, clocks: Floats, resource: int, pairs: float) -> None:
    """Charge a client, whose ``tags`` (resources,) these are, for pairs of a resource."""
    start = max(tags[resource], clocks[resource] - ALLOWANCE)
    tags[resource] = start + pairs
    clocks[resource] = max(clocks[resource], start)
