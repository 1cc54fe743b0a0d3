"""Q-CAST: paths by expected throughput, found online, committed greedily, mended by rings.

S. Shi and C. Qian, "Concurrent entanglement routing for quantum networks: model and designs",
SIGCOMM 2020 (arXiv:1909.09329). Rounds of four phases. P1: the requests that are known and live at
the start of the round are its set. P2: from topology and mean rates alone, again and again the path
of the most expected throughput (EXT) over all requests is committed with its width, and what it
needs is set aside; then recovery paths around up to ``reach`` hops (the k of the paper, 3). P3:
links that were committed generate, and heralds are known. P4: paths are swapped; where links of a
path have no pair, the recovery paths that were successful bridge them.

What differs from the paper's world: a node has Poisson tokens which any of its links may use, in
the place of channels that each try once. A link of a path expects the tokens of its ends, half of
them where the path goes on, so EXT has Poisson instead of binomial numbers
(:mod:`~controller.rivals.slotted.channels`), and what a path expects to use is gone for the next.
Qubits and the swap tokens of the round bound widths, as qubits do in the paper. A request asks for
so many pairs, by a deadline, of some fidelity: a path that cannot meet it is no path, and once the
committed paths expect as many pairs as are missing, it gets no more. ``early`` swaps a path as soon
as it is complete instead of at the end of the round.

The cached form keeps pairs until their cutoff: EXT counts pairs in stock as certain, and idle
tokens make pairs (``fill``). It has no recovery paths unless tuning finds them: where pairs are
kept, the next round, a tenth of a second later, is the better way around.
"""

from controller.rivals.allocator import Allocator
from controller.rivals.slotted.making import Settings, allocator_of
from controller.rivals.slotted.state import ONLINE
from controller.rivals.tuned import tuned

__all__ = ["allocator", "cached", "make", "make_cached"]

_PAPER = "Shi and Qian, SIGCOMM 2020, arXiv:1909.09329"


def make(
    round_s: float = 0.5,
    reach: float = 3.0,
    thrift: float = 0.0,
    early: float = 1.0,
    detour: float = 4.0,
) -> Allocator:
    """Return Q-CAST with other settings, see :class:`~controller.rivals.slotted.making.Settings`.

    >>> make(round_s=0.3).name
    'q-cast'
    """
    return allocator_of(
        Settings(
            kind=ONLINE,
            cached=False,
            round_s=round_s,
            reach=reach,
            thrift=thrift,
            early=early,
            detour=detour,
        ),
        name="q-cast",
        sentence="Central, in rounds: commits the paths of most expected pairs; keeps no pair.",
        paper=_PAPER,
        levers={
            "round_s": (0.2, 0.3, 0.4, 0.5, 0.7, 1.0),
            "reach": (0.0, 1.0, 2.0, 3.0),
            "thrift": (0.0, 0.4, 0.8),
            "early": (0.0, 1.0),
        },
        make=make,
    )


def make_cached(
    round_s: float = 0.1,
    reach: float = 0.0,
    thrift: float = 0.8,
    fill: float = 2.0,
    detour: float = 4.0,
) -> Allocator:
    """Return the cached form of Q-CAST with other settings.

    >>> make_cached().name
    'q-cast-cached'
    """
    return allocator_of(
        Settings(
            kind=ONLINE,
            cached=True,
            round_s=round_s,
            reach=reach,
            thrift=thrift,
            fill=fill,
            detour=detour,
        ),
        name="q-cast-cached",
        sentence="As q-cast, but pairs are kept until their cutoff and idle tokens make stock.",
        paper=_PAPER,
        levers={
            "round_s": (0.1, 0.2, 0.3, 0.5),
            "reach": (0.0, 1.0, 2.0),
            "thrift": (0.0, 0.4, 0.8),
            "fill": (1.0, 2.0),
        },
        make=make_cached,
    )


allocator = make(**tuned("q-cast"))
cached = make_cached(**tuned("q-cast-cached"))
