"""The values of the bound: what is wanted, and the flows and prices that answer it."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from quantum.errors import InputError

__all__ = ["Bound", "Classes", "Column", "Duals", "PathFlow"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Classes:
    """Demand by class: C classes, each a commodity and a minimum fidelity.

    ``commodities`` (K, 2) node indices; ``commodity`` (C,) which of them; ``minimum_fidelity``
    (C,) 0-1; ``pairs`` (C,) wanted.
    """

    commodities: Ints
    commodity: Ints
    minimum_fidelity: Floats
    pairs: Floats

    def __post_init__(self) -> None:
        size = len(self.commodity)
        if self.commodities.ndim != 2 or self.commodities.shape[1] != 2:
            raise InputError(
                f"classes.commodities must have shape (K, 2), got {self.commodities.shape}"
            )
        for name in ("minimum_fidelity", "pairs"):
            value = getattr(self, name)
            if value.shape != (size,) or not np.all(np.isfinite(value)):
                raise InputError(f"classes.{name} must be {size} finite numbers")
        if size and (self.commodity.min() < 0 or self.commodity.max() >= len(self.commodities)):
            raise InputError(f"classes.commodity must be 0 to {len(self.commodities) - 1}")
        if size and (self.minimum_fidelity.min() < 0 or self.minimum_fidelity.max() > 1):
            raise InputError("classes.minimum_fidelity must be between 0 and 1")
        if size and self.pairs.min() < 0:
            raise InputError("classes.pairs must be >= 0")
        if np.any(self.commodities[:, 0] == self.commodities[:, 1]):
            raise InputError("classes.commodities must join two different nodes")


class Column(NamedTuple):
    """A path that a class may use: arcs of the problem's graph, from source to target."""

    number: int
    arcs: tuple[int, ...]


class PathFlow(NamedTuple):
    """``pairs`` of a commodity delivered along ``nodes``; ``rounds`` of distillation per link."""

    commodity: int
    minimum_fidelity: float
    nodes: tuple[int, ...]
    links: tuple[int, ...]
    rounds: tuple[int, ...]
    pairs: float


@dataclass(frozen=True, eq=False)
class Duals:
    """What one more unit would add to the total, in pairs.

    ``classes`` (C,) per pair wanted, ``link`` (m,) per pair on the link, ``generation`` (n,) per
    token, ``swap`` (n,) per swap token.
    """

    classes: Floats
    link: Floats
    generation: Floats
    swap: Floats


@dataclass(frozen=True, eq=False)
class Bound:
    """The bound and the flows that reach it.

    ``total`` pairs deliverable; ``delivered`` (C,) pairs per class; ``paths`` the flows;
    ``generated`` (m, 2) pairs made on each link by its first and second node; ``rounds`` of
    pricing; ``columns`` all paths priced in, a start for the next problem on the same graph.
    """

    total: float
    delivered: Floats
    paths: tuple[PathFlow, ...]
    generated: Floats
    duals: Duals
    rounds: int
    columns: tuple[Column, ...]
