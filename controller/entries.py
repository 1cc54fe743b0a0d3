"""A slot as the record and the digest know it: plain lists of what was decided and served."""

from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np

from quantum.kernels import Table
from quantum.ledger import Ledger
from quantum.record import Digest

__all__ = [
    "Act",
    "Ahead",
    "Row",
    "Yielded",
    "acts_of",
    "ahead_of",
    "note",
    "rows_of",
    "yields_of",
]

#: Node, number of its token, position of the link, urgency.
Act = tuple[int, int, int, float]
#: Node, position of the link, surplus.
Yielded = tuple[int, int, float]
#: Class for whose two nodes pairs should wait, and how many.
Ahead = tuple[int, int]
#: Kind, request (or node of a link test), attempt, hops, links, the slots that each pair waited.
#: Where a swap ended the wait of one qubit before that of its partner there is a list more: the
#: slots that the right qubits waited. Where pairs were distilled there is a list more, the last:
#: position in the chain and the slots that the pair kept and the pair spent had waited before.
Row = (
    tuple[int, int, int, int, list[int], list[int]]
    | tuple[int, int, int, int, list[int], list[int], list[int] | list[list[int]]]
    | tuple[int, int, int, int, list[int], list[int], list[int], list[list[int]]]
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


def ahead_of(ledger: Ledger) -> list[Ahead]:
    """Return what is so sure to be asked for that it may be swapped ahead for in this slot."""
    sure = ledger.ready[: ledger.now[0].soon]
    return list(zip(sure["row"].tolist(), sure["soon"].tolist(), strict=True))


def rows_of(events: Table) -> list[Row]:
    """Return the events of this slot."""
    columns = [events[name].tolist() for name in ("kind", "request", "attempt", "hops")]
    lists = [events[name].tolist() for name in ("links", "ages", "ages_right", "kept", "spent")]
    rows: list[Row] = []
    for *head, hops, links, left, right, kept, spent in zip(*columns, *lists, strict=True):
        more: list[Any] = [] if left[:hops] == right[:hops] else [right[:hops]]
        if distilled := [[k, kept[k], spent[k]] for k in range(hops) if spent[k] >= 0]:
            more.append(distilled)
        rows.append((*head, hops, links[:hops], left[:hops], *more))
    return rows


def note(digest: Digest, slot: int, acts: list[Act], served: list[Row]) -> None:
    """Add the decisions of a slot to the decision digest."""
    digest.update(slot)
    digest.update_rows(act[:3] for act in acts)
    plain: list[Sequence[int]] = []
    for row in served:
        plain.append((*row[:4], *row[4], *row[5]))
        for more in row[6:]:
            if isinstance(more[0], int):
                plain.append(more)
            else:
                digest.update_rows(plain)
                plain.clear()
                digest.update("distilled", *chain.from_iterable(more))
    digest.update_rows(plain)
