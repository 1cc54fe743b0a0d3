"""Q-PASS: candidate paths found before the run, chosen online by what is left for them.

S. Shi and C. Qian, SIGCOMM 2020 (arXiv:1909.09329). Offline: the cheapest loopless
paths between the ends of every class of requests, by Yen's algorithm. Online, at the start of every
round: the candidates of all its requests compete, the best metric among those that still have a
width first, and what a path takes is gone for the others. ``metric`` is one of the three of the
paper: 0 the sum of distances, 1 the creation rate (the sum of 1 / p over the links), 2 the capacity
of the bottleneck (the width; ties by creation rate). Recovery paths, swapping, the world and the
cached form are those of Q-CAST (:mod:`controller.rivals.q_cast`).

What differs from the paper: p is the chance of a pair in a round from the Poisson tokens that are
left at both ends of a link, and from stock in the cached form, so creation rate and capacity are
those of this moment. A candidate that cannot meet the fidelity now is passed over.
"""

from controller.rivals.allocator import Allocator
from controller.rivals.slotted.making import Settings, allocator_of
from controller.rivals.slotted.state import OFFLINE
from controller.rivals.tuned import tuned

__all__ = ["allocator", "cached", "make", "make_cached"]

_PAPER = "Shi and Qian, SIGCOMM 2020, arXiv:1909.09329"


def make(
    round_s: float = 0.5,
    metric: float = 1.0,
    reach: float = 3.0,
    thrift: float = 0.0,
    early: float = 1.0,
    paths: float = 32.0,
) -> Allocator:
    """Return Q-PASS with other settings, see :class:`~controller.rivals.slotted.making.Settings`.

    >>> make(metric=2.0).name
    'q-pass'
    """
    return allocator_of(
        Settings(
            kind=OFFLINE,
            cached=False,
            round_s=round_s,
            metric=metric,
            reach=reach,
            thrift=thrift,
            early=early,
            paths=paths,
        ),
        name="q-pass",
        sentence="Central, in rounds: chooses among paths found offline; keeps no pair.",
        paper=_PAPER,
        levers={
            "round_s": (0.2, 0.3, 0.4, 0.5, 0.7, 1.0),
            "metric": (0.0, 1.0, 2.0),
            "reach": (0.0, 1.0, 2.0, 3.0),
            "thrift": (0.0, 0.4, 0.8),
        },
        make=make,
    )


def make_cached(
    round_s: float = 0.1,
    metric: float = 1.0,
    reach: float = 0.0,
    thrift: float = 0.8,
    fill: float = 2.0,
    paths: float = 32.0,
) -> Allocator:
    """Return the cached form of Q-PASS with other settings.

    >>> make_cached().name
    'q-pass-cached'
    """
    return allocator_of(
        Settings(
            kind=OFFLINE,
            cached=True,
            round_s=round_s,
            metric=metric,
            reach=reach,
            thrift=thrift,
            fill=fill,
            paths=paths,
        ),
        name="q-pass-cached",
        sentence="As q-pass, but pairs are kept until their cutoff and idle tokens make stock.",
        paper=_PAPER,
        levers={
            "round_s": (0.1, 0.2, 0.3, 0.5),
            "metric": (0.0, 1.0, 2.0),
            "thrift": (0.0, 0.4, 0.8),
            "fill": (1.0, 2.0),
        },
        make=make_cached,
    )


allocator = make(**tuned("q-pass"))
cached = make_cached(**tuned("q-pass-cached"))
