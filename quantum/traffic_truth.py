"""The true process behind the demand that is made here: what nobody could forecast better.

A forecaster is measured against it. The truth knows what a trace draws first (the phases of
schedules, the hot groups, the rates) and what came so far, never what is still to be drawn: the
scatter of blocks and the numbers of batches.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from quantum import traffic
from quantum.errors import InputError
from quantum.network import Network

__all__ = ["Truth", "true_process"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Truth:
    """What K node pairs do: schedules (``phase_s`` (K,)) or ``rate`` (S, K) from ``start_s``.

    ``batches`` (K,) is the mean number of batches of a block.
    """

    batches: Floats
    slot_s: float
    phase_s: Floats | None = None
    rate: Floats | None = None
    start_s: Floats | None = None

    def blocks(self, now_s: float, last_s: Floats, bins: int, bin_s: float) -> Floats:
        """Return the blocks x of each bin after the slot at ``now_s``, (K, bins).

        A bin holds a block with probability 1 - exp(-x). ``last_s`` (K,) is when the newest block
        came, -1 if none did; a schedule's block that came is not due again.
        """
        # A request of time t is made in the slot that t lies in, so slots see a slot further.
        edges = now_s + self.slot_s + bin_s * np.arange(bins + 1)
        if self.phase_s is None:
            assert self.rate is not None
            assert self.start_s is not None
            middle = 0.5 * (edges[:-1] + edges[1:])
            out = np.empty((len(self.batches), bins))
            for k in range(len(out)):
                at = np.searchsorted(self.start_s[:, k], middle, side="right") - 1
                out[k] = self.rate[at, k] * bin_s
            return out
        turn = np.rint((now_s - self.phase_s) / traffic.REFRESH_S)
        due = self.phase_s + traffic.REFRESH_S * turn
        came = (last_s >= 0.0) & (np.abs(last_s - due) < 0.25 * traffic.REFRESH_S)
        done = ndtr((edges[:, None] - due) / traffic.JITTER_S).T
        chance = np.minimum(self.batches, 1.0)[:, None]
        found = chance * np.diff(done, axis=1) / np.maximum(1.0 - chance * done[:, :1], 1e-12)
        found[came] = 0.0
        blocks: Floats = -np.log1p(-np.minimum(found, 1.0 - 1e-9))
        return blocks

    def sizes(self) -> tuple[Floats, Floats]:
        """Return the two numbers of batches that a block can have (K, 2), and their chances."""
        if self.phase_s is None:
            ones = np.ones((len(self.batches), 2))
            return ones, np.full_like(ones, 0.5)
        low = np.floor(self.batches)
        more = self.batches - low
        sizes = np.stack([np.maximum(low, 1.0), low + 1.0], axis=1)
        chance = np.where(low < 1.0, 1.0, more)
        return sizes, np.stack([1.0 - chance, chance], axis=1)


def true_process(
    kind: str,
    network: Network,
    *,
    load_hz: float,
    seed: int,
    network_seed: int,
    duration_s: float,
    slot_s: float,
    fidelities: tuple[float, ...] = (0.75, 0.85),
    commodities: int = 150,
    distillation_rounds: int = 0,
) -> Truth:
    """Return the process of the trace that :func:`quantum.traffic.make_trace` draws from the same.

    Where bursts begin and end is known to it beforehand, so for bursts it is out of reach. Raises
    InputError for demand from a file: nobody knows its process.
    """
    name = kind.lower()
    if name not in traffic.KINDS:
        raise InputError(f"demand {kind!r} has no known process; it is {', '.join(traffic.KINDS)}")
    asked = traffic.wish(
        name,
        network,
        load_hz=load_hz,
        network_seed=network_seed,
        duration_s=duration_s,
        fidelity=max(fidelities),
        commodities=commodities,
        distillation_rounds=distillation_rounds,
    )
    rng, size = traffic.draws(name, network, seed), len(asked.arena.pairs)
    if name in ("scheduled", "announced"):
        batches = load_hz * asked.arena.weights * traffic.REFRESH_S / traffic.BATCH
        return Truth(batches, slot_s, phase_s=traffic.phases(asked, rng))
    if not size:
        return Truth(np.zeros(0), slot_s, rate=np.zeros((1, 0)), start_s=np.zeros((1, 0)))
    rate, start, _ = traffic.rates(name, asked, rng)
    start = np.broadcast_to(start, np.broadcast_shapes(start.shape, rate.shape))
    rate = np.broadcast_to(rate, start.shape)
    return Truth(np.ones(size), slot_s, rate=rate, start_s=start)
