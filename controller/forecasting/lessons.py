"""What a forecaster is trained on: looks at request traces, each with what came after it."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from controller.forecasting.kernels import blocks_after
from controller.forecasting.looks import flat_rate, look_ahead, note
from controller.forecasting.streams import (
    BIN_S,
    BINS,
    FEATURES,
    Streams,
    new_streams,
    newest,
)
from controller.forecasting.walked import SLOT_S
from quantum.demand import Trace
from quantum.kernels import kernel
from quantum.seeding import generator

__all__ = [
    "FIRST_SEED",
    "Lessons",
    "joined",
    "lessons_of",
    "training_traces",
]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Seeds of training traces begin here; evaluation uses smaller ones.
FIRST_SEED = 1_000_000
#: Share of the looks after which nothing came that are kept, with a weight that makes up for it.
_QUIET = 0.25


@dataclass(frozen=True, eq=False)
class Lessons:
    """R looks at a commodity's next bins, from W windows of nodes' requests.

    ``events`` (W, LENGTH, INPUTS), the newest last, of which the last ``length`` (W,) are real;
    ``place`` (R,) says whose window a look has; ``bins`` (R, BINS, FEATURES), ``flat`` (R,) blocks
    per second, ``came`` (R, BINS) blocks, ``weight`` (R,).
    """

    events: NDArray[np.float32]
    length: Ints
    place: Ints
    bins: NDArray[np.float32]
    flat: Floats
    came: Floats
    weight: Floats


def _requests(trace: Trace) -> Iterator[tuple[int, int, int, float]]:
    """Return slot, commodity, pairs and fidelity of each request, in order."""
    slot = np.floor(trace.time_s / SLOT_S + 1e-9).astype(np.int64)
    return zip(
        slot.tolist(),
        trace.commodity.tolist(),
        trace.pairs.tolist(),
        trace.minimum_fidelity.tolist(),
        strict=True,
    )


@kernel
def _look(streams: Streams, now_s: float, bins: Floats, flat: Floats) -> None:
    for k in range(len(streams.owner)):
        flat[k] = flat_rate(streams, k, now_s)
        look_ahead(streams, k, now_s, flat[k], bins[k])


@kernel
def _came(streams: Streams, start_s: float, came: Floats) -> None:
    for k in range(len(streams.owner)):
        blocks_after(streams, k, start_s, came[k])


def lessons_of(trace: Trace, seconds: float, seed: int) -> Lessons:
    """Walk through a trace, look every second, and keep what came in the second after."""
    nodes, owner = np.unique(trace.commodities[:, 0], return_inverse=True)
    streams, size = new_streams(owner.reshape(-1), len(nodes)), len(trace.commodities)
    rng, found, queue = generator(seed, "lessons"), [], list(_requests(trace))
    at, windows = 0, 0
    bins, flat, came = np.empty((size, BINS, FEATURES)), np.empty(size), np.empty((size, BINS))
    step_s = BINS * BIN_S
    for second in range(int(seconds / step_s)):
        now_s = second * step_s
        at = _note_until(streams, queue, at, now_s)
        events, length = newest(streams, np.arange(len(nodes)))
        _look(streams, now_s, bins, flat)
        look, rate = bins.astype(np.float32), flat.copy()
        at = _note_until(streams, queue, at, now_s + step_s)
        _came(streams, now_s, came)
        busy: NDArray[np.bool_] = came.max(axis=1) > 0.0
        kept = busy | (rng.random(size) < _QUIET)
        found.append(
            Lessons(
                events=events.astype(np.float32),
                length=length,
                place=owner[kept] + windows,
                bins=look[kept],
                flat=rate[kept],
                came=came[kept].copy(),
                weight=np.where(busy[kept], 1.0, 1.0 / _QUIET),
            )
        )
        windows += len(nodes)
    return _stacked(found)


def _note_until(
    streams: Streams, queue: list[tuple[int, int, int, float]], at: int, now_s: float
) -> int:
    """Note the requests of slots until ``now_s``, its own included; return how many are noted."""
    last = round(now_s / SLOT_S)
    while at < len(queue) and queue[at][0] <= last:
        slot, k, pairs, fidelity = queue[at]
        note(streams, k, slot * SLOT_S, float(pairs), fidelity)
        at += 1
    return at


def joined(parts: list[Lessons]) -> Lessons:
    """Return all looks together, each with its own windows."""
    moved, before = [], 0
    for part in parts:
        moved.append(part.place + before)
        before += len(part.length)
    return _stacked(parts, np.concatenate(moved))


def _stacked(parts: list[Lessons], place: Ints | None = None) -> Lessons:
    return Lessons(
        events=np.concatenate([p.events for p in parts]),
        length=np.concatenate([p.length for p in parts]),
        place=np.concatenate([p.place for p in parts]) if place is None else place,
        bins=np.concatenate([p.bins for p in parts]),
        flat=np.concatenate([p.flat for p in parts]),
        came=np.concatenate([p.came for p in parts]),
        weight=np.concatenate([p.weight for p in parts]),
    )


def training_traces(count: int, seconds: float) -> Iterator[Trace]:
    """Draw demand of all kinds on networks and seeds that no evaluation uses.

    Evaluation plays networks 0 to 3 and seeds below :data:`FIRST_SEED`; here both are above. Every
    kind comes in turn, on every topology in turn, with loads from 0.2 to 4 pairs per second a node.
    """
    from quantum.topology import load_topology
    from quantum.traffic import make_trace

    topologies = ("mesh", "abilene", "geometric", "surfnet")
    kinds = ("scheduled", "hotspot", "poisson", "abilene", "bursts")
    for number in range(count):
        rng = generator(number, "training traces")
        topology = topologies[number // len(kinds) % len(topologies)]
        network = load_topology(topology, seed=4 + number)
        per_node = float(np.exp(rng.uniform(np.log(0.2), np.log(4.0))))
        yield make_trace(
            kinds[number % len(kinds)],
            network,
            load_hz=per_node * len(network.nodes),
            deadline_s=1.0,
            seed=FIRST_SEED + number,
            network_seed=4 + number,
            duration_s=seconds,
            fidelities=(0.75, 0.85),
            commodities=150,
        )
