"""A slot as the record and the digest know it: plain lists of what was decided and served."""

import numpy as np

from quantum.kernels import Table
from quantum.ledger import Ledger
from quantum.record import Digest

__all__ = ["Act", "Row", "Yielded", "acts_of", "note", "rows_of", "yields_of"]

#: Node, number of its token, position of the link, urgency.
Act = tuple[int, int, int, float]
#: Node, position of the link, surplus.
Yielded = tuple[int, int, float]
#: Kind, request (or node of a link test), attempt, hops, links, the slots that each pair waited.
#: Where a swap ended the wait of one qubit before that of its partner there is a list more: the
#: slots that the right qubits waited.
Row = (
    tuple[int, int, int, int, list[int], list[int]]
    | tuple[int, int, int, int, list[int], list[int], list[int]]
)


def acts_of(ledger: Ledger) -> list[Act]:
    """Return the choices of this slot."""
    nodes, numbers = np.nonzero(ledger.choice >= 0)
    real = numbers < ledger.node["tokens"][nodes]
    nodes, numbers = nodes[real], numbers[real]
    return list(
        zip(
            nodes.tolist(),
            numbers.tolist(),
            ledger.choice[nodes, numbers].tolist(),
            ledger.urgency[nodes, numbers].tolist(),
            strict=True,
        )
    )


def yields_of(ledger: Ledger) -> list[Yielded]:
    """Return what crowded memories would give up in this slot."""
    nodes = np.flatnonzero(ledger.node["yields"] >= 0)
    return list(
        zip(
            nodes.tolist(),
            ledger.node["yields"][nodes].tolist(),
            ledger.node["surplus"][nodes].tolist(),
            strict=True,
        )
    )


def rows_of(events: Table) -> list[Row]:
    """Return the events of this slot."""
    columns = [events[name].tolist() for name in ("kind", "request", "attempt", "hops")]
    lists = [events[name].tolist() for name in ("links", "ages", "ages_right")]
    rows: list[Row] = []
    for kind, request, attempt, hops, links, left, right in zip(*columns, *lists, strict=True):
        row = (kind, request, attempt, hops, links[:hops], left[:hops])
        rows.append(row if left[:hops] == right[:hops] else (*row, right[:hops]))
    return rows


def note(digest: Digest, slot: int, acts: list[Act], served: list[Row]) -> None:
    """Add the decisions of a slot to the decision digest."""
    digest.update(slot)
    for act in acts:
        digest.update(*act[:3])
    for row in served:
        digest.update(*row[:4], *row[4], *row[5])
        if len(row) == 7:
            digest.update(*row[6])
