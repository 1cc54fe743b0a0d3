"""The aggregator of federated rounds: what it keeps between them, and what closing one does.

A value machine without sockets: rows of changes in, the next global weights out. The broker
(:mod:`controller.learning_round`), the experiments of ``dpem federate`` and the privacy audit all
use this one, so what is audited is what runs.
"""

from dataclasses import dataclass

import numpy as np

from controller.federated import (
    aggregate,
    clip,
    krum,
    median,
    next_clip,
    participants,
    randomness,
    robust_aggregate,
    trimmed_mean,
)
from controller.federation import Scheme
from quantum.errors import InputError
from quantum.ledger.state import Floats, Ints
from quantum.seeding import generator

__all__ = ["Average", "Closed"]

#: Adaptive clipping stays within these shares of what clients keep to.
_LEAST_CLIP = 1e-3


@dataclass(frozen=True)
class Closed:
    """A round that is over: rows dropped, and the clipping norm it had."""

    dropped: int
    clip_norm: float


class Average:
    """Global weights, and how rounds change them; ``seed`` keys what is drawn.

    ``bounded=False`` neither clips nor drops what is too long: the plain averaging of a textbook,
    for comparisons. It goes with no privacy only.
    """

    def __init__(self, scheme: Scheme, start: Floats, *, seed: int, bounded: bool = True) -> None:
        if not bounded and scheme.federation.privacy != "none":
            raise InputError("averaging without bounds has no privacy")
        self.scheme = scheme
        self.current: Floats = np.array(start, dtype=np.float64)
        self.clip_norm = scheme.clip_norm
        self.done = 0
        """Rounds so far."""
        self._seed: int | None = None if scheme.secret else seed
        self._bounded = bounded

    def fit(self, rows: Floats) -> Ints:
        """Return which rows (k, P) an honest client may have sent; others are to be dropped."""
        finite = np.all(np.isfinite(rows), axis=1)
        if not self._bounded:
            return np.flatnonzero(finite)
        largest = np.abs(np.where(finite[:, None], rows, 0.0)).max(axis=1, initial=0.0)
        longest = self.scheme.longest(rows.shape[1])
        # Huge entries first: their squares overflow.
        sane = finite & (largest <= longest)
        length = np.linalg.norm(np.where(sane[:, None], rows, 0.0), axis=1)
        return np.flatnonzero(sane & (length <= longest))

    def close(self, who: Ints, rows: Floats, *, checked: bool = False) -> Closed:
        """Close a round with the changes ``rows`` (k, P) of the clients ``who`` (k,).

        Rows that no honest client sends are dropped, unless :meth:`fit` has been asked before.
        """
        if rows.ndim != 2 or rows.shape[1:] != self.current.shape or len(rows) != len(who):
            shape = (len(who), self.current.size)
            raise InputError(f"changes must have shape {shape}, got {rows.shape}")
        good = np.arange(len(rows)) if checked else self.fit(rows)
        dropped = len(rows) - len(good)
        chosen = participants(
            self.scheme.clients,
            self.scheme.federation.participation,
            seed=self._seed,
            round_index=self.done,
        )
        closed = Closed(dropped=dropped, clip_norm=self.clip_norm)
        self._average(rows[good[np.isin(who[good], chosen)]])
        self.done += 1
        return closed

    def _average(self, rows: Floats) -> None:
        scheme = self.scheme
        # Messages with local noise are longer than the norm; clipping would bias, not protect them.
        as_sent = scheme.message_noise > 0.0 or not self._bounded
        if scheme.federation.aggregator != "mean":
            kept = rows if as_sent else clip(rows, self.clip_norm)
            self.current = robust_aggregate(self.current, kept, self._robust)
        elif as_sent:
            self.current = self.current + rows.sum(axis=0) / scheme.expected_clients
        else:
            self.current = aggregate(
                self.current,
                rows,
                clip_norm=self.clip_norm,
                noise_multiplier=scheme.sum_noise,
                expected_clients=scheme.expected_clients,
                rng=randomness(self._seed, self.done),
            )
        if scheme.federation.clipping == "adaptive":
            found = next_clip(
                self.clip_norm,
                np.linalg.norm(rows, axis=1),
                expected_clients=scheme.expected_clients,
                count_noise=scheme.count_noise,
                rng=self._count_randomness(),
            )
            most = scheme.client_clip
            self.clip_norm = min(max(found, _LEAST_CLIP * most), most)

    def _count_randomness(self) -> np.random.Generator:
        """Open a generator apart from that of the sum, so that one says nothing of the other."""
        if self._seed is None:
            return randomness(None, self.done)
        return generator(self._seed, "federated-count", self.done)

    def _robust(self, rows: Floats) -> Floats:
        """Combine rows (k, P), k >= 1; where few take part, fewer liars can be tolerated."""
        tolerated, count = self.scheme.federation.tolerated, len(rows)
        match self.scheme.federation.aggregator:
            case "median":
                return median(rows)
            case "trimmed-mean":
                return trimmed_mean(rows, tolerated)
            case _:
                if count < 3:
                    # Nobody has neighbours enough to be judged by.
                    return np.zeros(rows.shape[1])
                faulty = min(int(np.ceil(tolerated * count)), (count - 3) // 2)
                return krum(rows, faulty)
