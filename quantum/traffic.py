"""Request traces: who asks for pairs in a network, when and of what quality.

The *arena* (which node pairs ask, and in what shares) depends on the network seed alone; the draws
of a trace depend on the run's seed. All demand is in batches of four pairs. No public data set of
entanglement requests was found, so the Abilene kind is shaped by real classical traffic.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quantum import traffic_abilene as abilene
from quantum.demand import Trace
from quantum.errors import InputError
from quantum.network import Network
from quantum.seeding import generator
from quantum.traffic_arena import Arena, arena
from quantum.traffic_files import SUFFIXES, is_file, read_trace
from quantum.traffic_profiles import PROFILES, make_profile
from quantum.words import near

__all__ = [
    "BATCH",
    "JITTER_S",
    "KINDS",
    "REFRESH_S",
    "Wish",
    "draws",
    "make_trace",
    "phases",
    "rates",
    "wish",
]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Pairs of a request.
BATCH = 4
#: Kinds of demand that are made here; a path to a file is the other way.
KINDS = ("poisson", "scheduled", "announced", "hotspot", "bursts", "abilene")
#: Scheduled key refresh: time between the blocks of a node pair, and its scatter.
REFRESH_S = 20.0
JITTER_S = 0.2
#: How long before its time an announced request is told.
NOTICE_S = 2.0
#: Hot spot: groups of node pairs that take turns, and the time of a round.
GROUPS = 8
ROUND_S = 20.0
#: Share of a group's demand that comes while it is hot; the rest comes evenly.
HOT_SHARE = 0.8
#: Bursts: mean length of the busy and of the quiet periods of a node pair.
BUSY_S, QUIET_S = 2.0, 18.0
#: Share of a node pair's demand that comes while it is busy, a tenth of the time.
BUSY_SHARE = 0.8
#: Most requests of a trace.
_MOST = 20_000_000


@dataclass(frozen=True, eq=False)
class Wish:
    """What a maker of arrivals needs to know, beside its draws."""

    network: Network
    arena: Arena
    load_hz: float
    duration_s: float
    network_seed: int


def make_trace(
    kind: str,
    network: Network,
    *,
    load_hz: float,
    deadline_s: float,
    seed: int,
    network_seed: int,
    duration_s: float,
    fidelities: tuple[float, ...] = (0.75, 0.85),
    commodities: int = 150,
    distillation_rounds: int = 0,
) -> Trace:
    """Make the requests of ``duration_s`` seconds (warm-up included) for a network.

    ``kind`` is one of :data:`KINDS`, an application of :mod:`quantum.traffic_profiles` or the path
    of a CSV or Parquet file (see :mod:`quantum.traffic_files`). ``load_hz`` is the mean over all
    node pairs in pairs per second; each request asks for one of ``fidelities``, with equal chances.
    A file brings its own times and fidelities; only the deadline is taken from here where it has
    none. A network with a single node gives an empty trace. Raises :class:`InputError` for
    impossible wishes.
    """
    _check(load_hz, deadline_s, duration_s, fidelities, commodities, seed, network_seed)
    if is_file(kind):
        return read_trace(kind, network, deadline_s=deadline_s, duration_s=duration_s)
    name = kind.lower()
    if name in PROFILES:
        return make_profile(
            name,
            network,
            load_hz=load_hz,
            seed=seed,
            network_seed=network_seed,
            duration_s=duration_s,
            commodities=commodities,
            distillation_rounds=distillation_rounds,
        )
    if name not in KINDS:
        known = (*KINDS, *PROFILES)
        raise InputError(
            f"demand {kind!r} is unknown{near(kind, known)}; "
            f"it is {', '.join(known)} or the path of a {' or '.join(SUFFIXES)} file"
        )
    asked = wish(
        name,
        network,
        load_hz=load_hz,
        network_seed=network_seed,
        duration_s=duration_s,
        fidelity=max(fidelities),
        commodities=commodities,
        distillation_rounds=distillation_rounds,
    )
    found = asked.arena
    if not len(found.pairs):
        time, commodity = np.zeros(0), np.zeros(0, dtype=np.int64)
    else:
        rng = draws(name, network, seed)
        if name in ("scheduled", "announced"):
            time, commodity = _scheduled(asked, rng)
        else:
            time, commodity = _drawn(*rates(name, asked, rng), rng)
    order = np.lexsort((commodity, time))
    time, commodity = time[order], commodity[order]
    coin = generator(seed, "demand", network.name, "fidelity").integers(
        len(fidelities), size=len(time)
    )
    notice = NOTICE_S if name == "announced" else 0.0
    return Trace(
        name=name,
        commodities=found.pairs,
        weights=found.weights,
        load_hz=load_hz,
        time_s=time,
        commodity=commodity,
        pairs=np.full(len(time), BATCH, dtype=np.int64),
        minimum_fidelity=np.asarray(fidelities, dtype=np.float64)[coin],
        deadline_s=np.full(len(time), deadline_s),
        told_s=np.maximum(time - notice, 0.0),
    )


def wish(
    name: str,
    network: Network,
    *,
    load_hz: float,
    network_seed: int,
    duration_s: float,
    fidelity: float,
    commodities: int,
    distillation_rounds: int,
) -> Wish:
    """Return what the draws of a kind of demand start from."""
    found = arena(
        network,
        network_seed,
        fidelity=fidelity,
        commodities=commodities,
        distillation_rounds=distillation_rounds,
        real=name == "abilene" and abilene.fits(network),
    )
    return Wish(network, found, load_hz, duration_s, network_seed)


def draws(name: str, network: Network, seed: int) -> np.random.Generator:
    """Open the generator of a trace; announced requests are the scheduled ones, told earlier."""
    key = "scheduled" if name == "announced" else name
    return generator(seed, "demand", network.name, key)


def phases(asked: Wish, rng: np.random.Generator) -> Floats:
    """Draw when within the refresh time each node pair's blocks are due, (K,) seconds."""
    return rng.uniform(0.0, REFRESH_S, len(asked.arena.pairs))


def rates(name: str, asked: Wish, rng: np.random.Generator) -> tuple[Floats, Floats, Floats]:
    """Draw the rates of demand that is Poisson given its rates: batches per second, start, length.

    Rates are (S, K), for S stretches of time that broadcast against them. They are the first that a
    trace draws, so the same generator leads to the same rates.
    """
    return _RATES[name](asked, rng)


def _poisson(asked: Wish, rng: np.random.Generator) -> tuple[Floats, Floats, Floats]:
    """Return constant rates."""
    rate = asked.load_hz / BATCH * asked.arena.weights[None, :]
    return rate, *_stretches(np.array([0.0, asked.duration_s]))


def _scheduled(asked: Wish, rng: np.random.Generator) -> tuple[Floats, Ints]:
    """Draw one block of batches per node pair and refresh time; its size keeps the mean load."""
    size = len(asked.arena.pairs)
    blocks = math.ceil(asked.duration_s / REFRESH_S) + 2
    start = phases(asked, rng) + REFRESH_S * (np.arange(blocks)[:, None] - 1.0)
    time = start + rng.normal(0.0, JITTER_S, (blocks, size))
    wanted = asked.load_hz * asked.arena.weights * REFRESH_S / BATCH
    count = np.floor(wanted + rng.random((blocks, size))).astype(np.int64)
    count[(time < 0.0) | (time >= asked.duration_s)] = 0
    commodity = np.broadcast_to(np.arange(size), (blocks, size))
    return np.repeat(time.ravel(), count.ravel()), np.repeat(commodity.ravel(), count.ravel())


def _hotspot(asked: Wish, rng: np.random.Generator) -> tuple[Floats, Floats, Floats]:
    """Draw which of eight groups of node pairs, hot in turn, each pair is in."""
    size = len(asked.arena.pairs)
    group = rng.permutation(size) % GROUPS
    turn_s = ROUND_S / GROUPS
    edges = np.append(np.arange(0.0, asked.duration_s, turn_s), asked.duration_s)
    hot = np.arange(len(edges) - 1)[:, None] % GROUPS == group[None, :]
    shape = (1.0 - HOT_SHARE) + np.where(hot, HOT_SHARE * GROUPS, 0.0)
    return asked.load_hz / BATCH * asked.arena.weights * shape, *_stretches(edges)


def _bursts(asked: Wish, rng: np.random.Generator) -> tuple[Floats, Floats, Floats]:
    """Draw when every node pair is busy and quiet by itself, for exponential times.

    A Markov-modulated Poisson process (Fischer & Meier-Hellstern, Performance Evaluation 18, 1993)
    for each pair, stationary from the start, so that the mean load is exact at any time.
    """
    size = len(asked.arena.pairs)
    part = BUSY_S / (BUSY_S + QUIET_S)
    busy = rng.random(size) < part
    start, starts, lengths, factors = np.zeros(size), [], [], []
    while start.min() < asked.duration_s:
        stop = start + rng.exponential(np.where(busy, BUSY_S, QUIET_S))
        starts.append(start)
        lengths.append(np.clip(asked.duration_s - start, 0.0, stop - start))
        factors.append(np.where(busy, BUSY_SHARE / part, (1.0 - BUSY_SHARE) / (1.0 - part)))
        start, busy = stop, ~busy
    rate = asked.load_hz / BATCH * asked.arena.weights * np.array(factors)
    return rate, np.array(starts), np.array(lengths)


def _abilene(asked: Wish, rng: np.random.Generator) -> tuple[Floats, Floats, Floats]:
    """Draw rates that follow real traffic, a slot of five minutes for each second.

    On the Abilene network each pair has its own traffic; elsewhere each takes that of an
    origin-destination pair drawn with the network. Day and hour of the start are the run's. The
    mean over the run is ``load_hz``.
    """
    edges = np.append(np.arange(0.0, asked.duration_s, 1.0), asked.duration_s)
    if abilene.fits(asked.network):
        curve = abilene.curves(asked.network, asked.arena.pairs)
    else:
        draw = generator(asked.network_seed, "demand", asked.network.name, "abilene columns")
        curve = abilene.any_curves(draw, len(asked.arena.pairs))
    start = int(rng.integers(len(curve)))
    slot = (start + np.arange(len(edges) - 1)) % len(curve)
    rate = asked.arena.weights * curve[slot]
    total = float((rate * np.diff(edges)[:, None]).sum())
    scale = asked.load_hz * asked.duration_s / BATCH / total if total > 0 else 0.0
    return scale * rate, *_stretches(edges)


def _stretches(edges: Floats) -> tuple[Floats, Floats]:
    """Return start and length (S, 1) of the stretches between ``edges`` (S + 1,)."""
    return edges[:-1, None], np.diff(edges)[:, None]


def _drawn(
    rate: Floats, start: Floats, length: Floats, rng: np.random.Generator
) -> tuple[Floats, Ints]:
    """Draw batches at constant rates (S, K) over stretches of time that broadcast against them."""
    segment, commodity = np.nonzero(count := rng.poisson(rate * length))
    repeat = count[segment, commodity]
    segment, commodity = np.repeat(segment, repeat), np.repeat(commodity, repeat)
    start, length = np.broadcast_to(start, count.shape), np.broadcast_to(length, count.shape)
    where = segment, commodity
    return start[where] + length[where] * rng.random(len(segment)), commodity


_RATES: dict[str, Callable[[Wish, np.random.Generator], tuple[Floats, Floats, Floats]]] = {
    "poisson": _poisson,
    "hotspot": _hotspot,
    "bursts": _bursts,
    "abilene": _abilene,
}


def _check(
    load_hz: float,
    deadline_s: float,
    duration_s: float,
    fidelities: tuple[float, ...],
    commodities: int,
    seed: int,
    network_seed: int,
) -> None:
    if not 0.0 <= load_hz < math.inf:
        raise InputError(f"load must be >= 0 pairs/s, got {load_hz}")
    if not 0.0 < deadline_s < math.inf:
        raise InputError(f"deadline_s must be > 0 seconds, got {deadline_s}")
    if not 0.0 < duration_s < math.inf:
        raise InputError(f"duration_s must be > 0 seconds, got {duration_s}")
    if load_hz * duration_s / BATCH > _MOST:
        raise InputError(f"load x duration must be at most {_MOST * BATCH} pairs")
    if not fidelities or not all(0.0 <= f <= 1.0 for f in fidelities):
        raise InputError(f"fidelities asked must be between 0 and 1, got {fidelities}")
    if commodities < 1:
        raise InputError(f"commodities must be >= 1, got {commodities}")
    if seed < 0 or network_seed < 0:
        raise InputError(f"seeds must be >= 0, got {seed} and {network_seed}")
