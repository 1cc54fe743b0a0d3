"""What assembled pairs went through, as blocks of programs: columns in, columns out."""

from functools import cache

import numpy as np

from quantum.batch import Batch, Skeleton, stack
from quantum.blocks import block_of
from quantum.egp import Block
from quantum.kernels import Table
from quantum.ledger.events import Making, programs_of
from quantum.ledger.state import Floats, Ints
from quantum.program import Gates, Memory

__all__ = ["Histories"]


class Histories:
    """Writes the events of a run; ``making`` says what fresh pairs are like, slots last ``slot_s``.

    The same programs as :func:`quantum.ledger.events.programs_of` writes one by one.
    """

    def __init__(self, making: Making, slot_s: float, memory: Memory, gates: Gates) -> None:
        self._making, self._slot_s, self._memory, self._gates = making, slot_s, memory, gates
        self._weights = np.array(making.weights, dtype=np.float64)

    def blocks(self, events: Table, basis: Ints, draw: Floats) -> tuple[list[Block], Ints]:
        """Return the events as blocks, and which event each of their rows in turn is.

        ``basis`` (E,) and ``draw`` (E,) say how each is tested.
        """
        # Columns are taken out once: rows are long, and a field of a table costs microseconds.
        hops, links, births, left, right, spent = (
            events[name].view(np.ndarray)
            for name in ("hops", "links", "births", "ages", "ages_right", "spent")
        )
        block = np.minimum(births // self._making.slots, len(self._weights) - 1)
        reached = np.arange(spent.shape[1]) < hops[:, None]
        distilled = (reached & (spent >= 0)).any(axis=1)
        blocks, rows = [], []
        for length in np.unique(hops[~distilled]).tolist():
            mine = np.flatnonzero((hops == length) & ~distilled)
            rows.append(mine)
            waits = np.stack([left[mine, :length], right[mine, :length]], axis=-1)
            batch = Batch(
                skeleton=_chain(length),
                populations=self._weights[block[mine, :length], links[mine, :length]],
                waits_s=waits * self._slot_s,
                memory=self._memory,
                gates=self._gates,
            )
            blocks.append(block_of(batch, basis[mine], draw[mine]))
        better = np.flatnonzero(distilled)
        if len(better):
            programs = programs_of(
                events[better], self._making, self._slot_s, self._memory, self._gates
            )
            for places, batch in stack(programs):
                rows.append(better[places])
                blocks.append(block_of(batch, basis[rows[-1]], draw[rows[-1]]))
        return blocks, np.concatenate(rows)


@cache
def _chain(hops: int) -> Skeleton:
    """Make each pair and let it wait, then swap from the left."""
    made: list[tuple[str, int, int]] = []
    for pair in range(hops):
        made += [("generate", pair, -1), ("wait", pair, -1)]
    return tuple(made + [("swap", 0, pair) for pair in range(1, hops)])  # type: ignore[arg-type]
