"""Walk all forecasters through the same demand, forward in time, and score what they said.

Every half second each forecaster, which has heard the requests until then and nothing else, says
how many blocks it expects in the next ten bins. What came is compared with it later. Learning
happens on the way, on the past only. All are given the same laws of sizes and shares of classes,
so they differ in *when*; the truth has its own sizes.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from controller.baselines import seasonal_lag
from controller.forecasting.counts import LEVELS, score_counts
from controller.forecasting.foresight import Foresight
from controller.forecasting.rivals import RIVALS
from controller.forecasting.streams import BIN_S, BINS
from controller.forecasting.walked import BIN_SLOTS, SLOT_S, Classes, Walked
from quantum.demand import Trace
from quantum.errors import InputError
from quantum.traffic_truth import Truth

__all__ = ["BAR", "ORACLE", "TUNED_BAR", "Forecasts", "Judged", "Scores", "closed", "judge"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: The rival whose gap to the truth is to be closed, and the name of the truth.
BAR, TUNED_BAR, ORACLE = "profile x level", "profile x level, tuned", "oracle"
#: Slots between two forecasts.
_EVERY = 25
#: Bins within which the next request is to be foretold: what pays is a horizon of half a second.
_SOON = 5
_SHOWN = ("time_s", "came", "expected", "low", "high")
#: Stretches of the run whose scores are kept apart, for intervals.
STRETCHES = 20


class Forecasts(Protocol):
    """What is judged: it hears requests and gives log hazards and rates (K, BINS, 2)."""

    def record(self, slot: int, cls: int, pairs: int) -> None:
        """Note a request."""

    def log_rates(self, slot: int) -> Floats:
        """Say how many blocks come in each bin after a slot."""


@dataclass
class Scores:
    """Sums over forecasts; a column for each stretch of the run."""

    crps: Floats = field(default_factory=lambda: np.zeros(STRETCHES))
    pinball: Floats = field(default_factory=lambda: np.zeros(STRETCHES))
    error: Floats = field(default_factory=lambda: np.zeros(STRETCHES))
    scaled: Floats = field(default_factory=lambda: np.zeros(STRETCHES))
    covered: Floats = field(default_factory=lambda: np.zeros(STRETCHES))
    brier: Floats = field(default_factory=lambda: np.zeros(STRETCHES))
    log: Floats = field(default_factory=lambda: np.zeros(STRETCHES))
    seconds: float = 0.0
    """CPU time that the forecasts took."""


@dataclass(frozen=True, eq=False)
class Judged:
    """What came of a walk: scores by forecaster, and one node's forecasts to look at."""

    scores: dict[str, Scores]
    forecasts: int
    nodes: int
    classes: int
    commodities: int
    counts: Floats
    """Steps of nodes, forecasts of classes and of commodities in each stretch, (STRETCHES, 3)."""
    pairs: float
    """Pairs that came, over all steps scored."""
    scaled_nodes: int
    """Nodes whose demand changed before the scoring began, which MASE is about."""
    shown: dict[str, Floats]
    """Of the busiest node: ``time_s``, pairs that ``came`` in the half second after, those that the
    first forecaster ``expected``, and the ``low`` and ``high`` end of its 80 % interval."""


def judge(
    trace: Trace,
    truth: Truth | None,
    forecasters: Mapping[str, Callable[[Classes], Forecasts]],
    *,
    warmup_s: float,
    seconds: float,
    season: int | None,
    progress: Callable[[float], None] | None = None,
) -> Judged:
    """Walk through ``warmup_s + seconds`` of a trace; only what follows the warm-up is scored.

    ``season`` in bins is told to the rivals; None lets them find one as the node does. Raises
    InputError on a trace without requests, which nothing can be said about.
    """
    classes = Classes.of_trace(trace)
    if not len(trace.time_s):
        raise InputError("nothing is asked for in this demand: there is nothing to forecast")
    made = {name: make(classes) for name, make in forecasters.items()}
    sizes = Foresight(
        classes.source, classes.destination, classes.fidelity, slot_s=SLOT_S, learn=False
    )
    names = [*made, *RIVALS, *([ORACLE] if truth is not None else [])]
    scores = {name: Scores() for name in names}
    table = Walked.of(trace, classes, sizes.commodity, sizes.owner, warmup_s + seconds)
    first, last = round(warmup_s / SLOT_S), round((warmup_s + seconds) / SLOT_S) - BINS * BIN_SLOTS
    slots = range(-(-first // _EVERY) * _EVERY, last + 1, _EVERY)
    if len(slots) < STRETCHES:
        raise InputError(f"seconds must be at least {STRETCHES * _EVERY * SLOT_S + BINS * BIN_S:g}")
    counts, pairs, heard = np.zeros((STRETCHES, 3)), 0.0, 0
    shown: list[tuple[float, ...]] = []
    show = int(np.argmax(table.pairs.sum(axis=1)))
    scale = table.scale(first // BIN_SLOTS)
    for number, slot in enumerate(slots):
        while heard < len(table.slot) and table.slot[heard] <= slot:
            at, cls, asked = (int(c[heard]) for c in (table.slot, table.cls, table.asked))
            for one in (*made.values(), sizes):
                one.record(at, cls, asked)
            heard += 1
        stretch = number * STRETCHES // len(slots)
        bin_ = slot // BIN_SLOTS
        past, came = table.blocks[:, :bin_], table.blocks[:, bin_ : bin_ + BINS]
        node_pairs = table.pairs[:, bin_ : bin_ + BINS]
        asked_cls = np.any(table.classes[:, bin_ : bin_ + _SOON], axis=1)
        used = season if season is not None else _season(past)
        law = sizes.block_sizes()
        pairs += float(node_pairs.sum())
        counts[stretch] += node_pairs.size, len(asked_cls), len(came)
        for name in names:
            began = time.process_time()
            if name in made:
                log = made[name].log_rates(slot)
                hazard, rate = np.exp(log[:, :, 0]), np.exp(log[:, :, 1])
            elif name == ORACLE:
                assert truth is not None
                hazard = rate = truth.blocks(slot * SLOT_S, sizes.streams.last_s, BINS, BIN_S)
            else:
                # Forecasts of nothing at all would be infinitely wrong once.
                hazard = rate = np.maximum(RIVALS[name](past, BINS, used), 1e-6)
            scores[name].seconds += time.process_time() - began
            of = law
            if name == ORACLE and truth is not None:
                batches, chance = truth.sizes()
                of = batches * float(trace.pairs[0]), chance
            out, quantile = _counts(sizes, rate, of, node_pairs)
            _add(scores[name], stretch, out, quantile, node_pairs, scale)
            _next(scores[name], stretch, hazard, came, asked_cls, sizes)
            if name == names[0]:
                soon = float(node_pairs[show, :_SOON].sum())
                shown.append((slot * SLOT_S, soon, *_window(sizes, show, rate, law, soon)))
        if progress is not None:
            progress((number + 1) / len(slots))
    return Judged(
        scores=scores,
        forecasts=len(slots),
        nodes=len(sizes.nodes),
        classes=len(classes.source),
        commodities=len(sizes.commodities),
        counts=counts,
        pairs=pairs,
        scaled_nodes=int((scale > 0.0).sum()),
        shown=dict(zip(_SHOWN, np.array(shown).T, strict=True)),
    )


def _season(past: Floats) -> int:
    """Find the season of all commodities together, as a node would; 0 where there is none."""
    return int(seasonal_lag(past.sum(axis=0, keepdims=True), BINS)[0])


def _counts(
    sizes: Foresight, rate: Floats, of: tuple[Floats, Floats], came: Floats
) -> tuple[Floats, Floats]:
    """Score the pairs of each node: (N, BINS, 3) of :func:`score_counts`, and its quantiles."""
    nodes = len(sizes.nodes)
    out, quantile = np.empty((nodes, BINS, 3)), np.empty((nodes, BINS, len(LEVELS)))
    rate = np.ascontiguousarray(rate)
    score_counts(sizes.owner, nodes, rate, *of, came, np.array(LEVELS), out, quantile)
    return out, quantile


def _window(
    sizes: Foresight, node: int, rate: Floats, of: tuple[Floats, Floats], came: float
) -> tuple[float, float, float]:
    """Return a node's expected pairs in the next half second, with the 80 % interval."""
    own = np.flatnonzero(sizes.owner == node)
    out, quantile = np.empty((1, 1, 3)), np.empty((1, 1, len(LEVELS)))
    soon = np.ascontiguousarray(rate[own, :_SOON].sum(axis=1, keepdims=True))
    law = of[0][own], of[1][own]
    owner = np.zeros(len(own), dtype=np.int64)
    score_counts(owner, 1, soon, *law, np.array([[came]]), np.array(LEVELS), out, quantile)
    return float(out[0, 0, 1]), float(quantile[0, 0, 0]), float(quantile[0, 0, -1])


def _add(
    scores: Scores, stretch: int, out: Floats, quantile: Floats, came: Floats, scale: Floats
) -> None:
    error = np.abs(out[:, :, 1] - came)
    scores.crps[stretch] += out[:, :, 0].sum()
    scores.pinball[stretch] += out[:, :, 2].sum()
    scores.error[stretch] += error.sum()
    scores.scaled[stretch] += (error[scale > 0.0].mean(axis=1) / scale[scale > 0.0]).sum()
    inside = (came >= quantile[:, :, 0]) & (came <= quantile[:, :, -1])
    scores.covered[stretch] += inside.sum()


def _next(
    scores: Scores,
    stretch: int,
    hazard: Floats,
    came: Floats,
    asked: NDArray[np.bool_],
    sizes: Foresight,
) -> None:
    """Score when the next request comes: by class within half a second, and on the whole grid."""
    soon = sizes.by_class(-np.expm1(-hazard[:, :_SOON].sum(axis=1)))
    scores.brier[stretch] += np.square(soon - asked).sum()
    first = np.cumsum(came > 0.0, axis=1) == 0
    survived = (hazard * first).sum()
    rows, bins = np.nonzero((came > 0.0) & (np.cumsum(came > 0.0, axis=1) == 1))
    hit = np.minimum(-np.log(-np.expm1(-hazard[rows, bins])), 700.0)
    scores.log[stretch] += survived + hit.sum()


def closed(judged: Judged, name: str, bar: str = BAR) -> tuple[float, float, float] | None:
    """Return the share of the gap in CRPS between ``bar`` and truth that a forecaster closes.

    With its 95 % interval from the stretches of the run, left out one by one (jackknife). None
    where there is no truth, or no gap: where the bar is as good as the truth within its own error.
    """
    if ORACLE not in judged.scores:
        return None
    own, high, low = (judged.scores[key].crps for key in (name, bar, ORACLE))
    gain, gap = high - own, high - low
    if gap.sum() <= 0.0:
        return None
    share = float(gain.sum() / gap.sum())
    left = (gain.sum() - gain) / (gap.sum() - gap)
    n = len(left)
    spread = 1.96 * float(np.sqrt((n - 1) / n * np.square(left - left.mean()).sum()))
    return share, share - spread, share + spread
