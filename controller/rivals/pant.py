"""Greedy multipath on the realised graph: first make pairs, then look which paths there are.

M. Pant et al., "Routing entanglement in the quantum internet", npj Quantum Information 5, 25
(2019). In every round all links try; with the heralds of all of them known, the shortest path of
pairs is swapped and its pairs are removed, again and again, over all requests (their greedy
algorithm with global knowledge, for one and for several flows). Paths are not chosen before pairs
are there, so that one pair of users can draw on many paths at once.

What differs from the paper: links do not try by themselves, nodes have few tokens. They go to the
links between the ends of the requests of the round, on paths of at most ``detour`` links more than
needed, in proportion to what is wanted there (:mod:`~controller.rivals.slotted.corridor`). Paths
that miss the fidelity are no paths; of nearly equal ones those that spare scarce nodes are taken.
The paper's other rule, for nodes that know only their own links, delivers less and is not played; a
test compares it. The cached form keeps pairs until their cutoff, swaps what it finds in every slot,
and lets tokens that no corridor wants make stock (``fill``).
"""

from controller.rivals.allocator import Allocator
from controller.rivals.slotted.making import Settings, allocator_of
from controller.rivals.slotted.state import REALISED
from controller.rivals.tuned import tuned

__all__ = ["allocator", "cached", "make", "make_cached"]

_PAPER = "Pant et al., npj Quantum Information 5, 25 (2019)"


def make(round_s: float = 0.5, detour: float = 1.0, early: float = 1.0) -> Allocator:
    """Return the greedy multipath allocator with other settings.

    See :class:`~controller.rivals.slotted.making.Settings`.

    >>> make(round_s=0.3).name
    'pant'
    """
    return allocator_of(
        Settings(kind=REALISED, cached=False, round_s=round_s, detour=detour, early=early),
        name="pant",
        sentence="Central, in rounds: makes pairs around requests, then swaps the shortest paths.",
        paper=_PAPER,
        levers={
            "round_s": (0.2, 0.3, 0.4, 0.5, 0.7, 1.0),
            "detour": (0.0, 1.0, 2.0),
            "early": (0.0, 1.0),
        },
        make=make,
    )


def make_cached(round_s: float = 0.1, detour: float = 0.0, fill: float = 2.0) -> Allocator:
    """Return the cached form of the greedy multipath allocator with other settings.

    >>> make_cached().name
    'pant-cached'
    """
    return allocator_of(
        Settings(kind=REALISED, cached=True, round_s=round_s, detour=detour, fill=fill),
        name="pant-cached",
        sentence="As pant, but pairs are kept until their cutoff and idle tokens make stock.",
        paper=_PAPER,
        levers={
            "round_s": (0.1, 0.2, 0.3, 0.5),
            "detour": (0.0, 1.0, 2.0),
            "fill": (1.0, 2.0),
        },
        make=make_cached,
    )


allocator = make(**tuned("pant"))
cached = make_cached(**tuned("pant-cached"))
