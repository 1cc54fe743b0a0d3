"""What a chain is, and how its kernels see it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from quantum.errors import InputError
from quantum.kernels import Table, table
from quantum.links.heralded import LEAST_ATTEMPT_S, MOST_ATTEMPT_S, Heralded

__all__ = ["Ends", "Order", "Plan", "Setting"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Rarer successes take more attempts than floats count one by one.
_RAREST = 1e-15

Order = Literal["asap", "balanced", "sequential"]
Ends = Literal["keep", "measure"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Setting:
    """A chain of k links between nodes 0 to k; link l joins the nodes l and l + 1.

    All links attempt at once; an attempt of link l takes ``attempt_s[l]``, the herald's way back
    included, and succeeds with ``success_probability[l]``. At success both memories begin to hold.
    Numbers alone stand for all links (or inner nodes) alike. Attempts take 1e-12 to 1e12 s and
    succeed with 1e-15 at least; no time is longer than 1e12 s.

    *Order.* ``asap``: a node swaps as soon as it has a qubit on both sides; nodes that can swap at
    the same instant do so together. ``balanced``: doubling; node m = 2^j odd joins the segments
    from m - 2^j and to min(m + 2^j, k). ``sequential``: node m joins the segment from 0 with link
    m. A swap of inner node m succeeds with ``swap_success[m - 1]``. A failed one destroys both
    segments, and their links start again.

    *Cutoff.* A segment that no swap has used at the instant at which its oldest stored qubit (of
    the two at its ends) is ``cutoff_s`` old is discarded, and its links start again at that
    instant; at exactly that age it can still be swapped. The end-to-end pair is never discarded.

    *Messages* take ``signal_s[l]`` along link l. The pair is delivered when both end nodes have
    heard of all swaps. In the orders with levels a node swaps when it has heard that both segments
    are there, and after a failed swap a link starts again when both of its nodes have heard.
    Discards need no message: birth times travel with the outcomes of swaps. An ``asap`` chain that
    can lose pairs must have ``signal_s`` 0, because its nodes would swap qubits of whose loss they
    have not heard.

    *One at a time.* Nodes have one communication qubit: a link attempts only while neither of its
    neighbours does. It is never interrupted; when several could start, the leftmost does.

    *Ends.* ``keep``: the two end qubits are stored until the delivery. ``measure``: they are
    measured as soon as their link is there, as for a key, and never wait or expire.
    """

    success_probability: Floats
    attempt_s: Floats | float
    order: Order = "asap"
    swap_success: Floats | float = 1.0
    cutoff_s: float = math.inf
    one_at_a_time: bool = False
    signal_s: Floats | float = 0.0
    ends: Ends = "keep"

    def __post_init__(self) -> None:
        chance = _numbers("success_probability", self.success_probability, None)
        links = len(chance)
        possible = (chance >= _RAREST) & (chance <= 1)
        self._set("success_probability", chance, f">= {_RAREST:g} and <= 1", possible)
        attempt = _numbers("attempt_s", self.attempt_s, links)
        possible = (attempt >= LEAST_ATTEMPT_S) & (attempt <= MOST_ATTEMPT_S)
        times = f"between {LEAST_ATTEMPT_S:g} and {MOST_ATTEMPT_S:g} s"
        self._set("attempt_s", attempt, times, possible)
        swap = _numbers("swap_success", self.swap_success, links - 1)
        self._set("swap_success", swap, "> 0 and <= 1", (swap > 0) & (swap <= 1))
        signal = _numbers("signal_s", self.signal_s, links)
        possible = (signal >= 0) & (signal <= MOST_ATTEMPT_S)
        self._set("signal_s", signal, f"between 0 and {MOST_ATTEMPT_S:g} s", possible)
        cutoff = _numbers("cutoff_s", self.cutoff_s, 1)
        possible = ((cutoff >= 0) & (cutoff <= MOST_ATTEMPT_S)) | (cutoff == math.inf)
        if not possible.all():
            raise InputError(
                f"cutoff_s must be between 0 and {MOST_ATTEMPT_S:g} s, or inf, got {self.cutoff_s}"
            )
        object.__setattr__(self, "cutoff_s", float(cutoff[0]))
        if not isinstance(self.one_at_a_time, bool):
            raise InputError(f"one_at_a_time must be true or false, got {self.one_at_a_time!r}")
        for name, known in (
            ("order", ("asap", "balanced", "sequential")),
            ("ends", ("keep", "measure")),
        ):
            if getattr(self, name) not in known:
                raise InputError(f"{name} must be one of {known}, got {getattr(self, name)!r}")
        loses = bool((swap < 1.0).any()) or self.cutoff_s < math.inf
        if self.order == "asap" and loses and signal.any():
            raise InputError(
                "signal_s must be 0 in an asap chain with swap_success < 1 or a cutoff_s"
            )

    def _set(self, name: str, values: Floats, allowed: str, good: NDArray[np.bool_]) -> None:
        if not good.all():
            raise InputError(f"{name} must be {allowed}, got {values[~good][0]}")
        values.flags.writeable = False
        object.__setattr__(self, name, values)

    @classmethod
    def of_links(cls, links: Sequence[Heralded], **how: Any) -> "Setting":
        """Return the chain of these links; ``how`` are the other fields."""
        for number, link in enumerate(links):
            if not link.keeps:
                raise InputError(f"links[{number}] is photonic: a chain needs links that keep")
        return cls(
            success_probability=np.array([link.success_probability for link in links]),
            attempt_s=np.array([link.attempt_s for link in links]),
            **how,
        )

    @property
    def links(self) -> int:
        """The number k of links."""
        return len(self.success_probability)


def _numbers(name: str, values: object, length: int | None) -> Floats:
    try:
        array = np.array(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError(f"{name} must be numbers, got {values!r}") from None
    if length is None:
        if array.ndim != 1 or len(array) == 0:
            raise InputError(f"{name} must have one number for each link, got {values!r}")
        return array
    if array.ndim > 1 or (array.ndim == 1 and len(array) not in (1, length)):
        raise InputError(f"{name} must be one number or {length}, got {array.size}")
    return np.broadcast_to(array, (length,)).copy()


class Plan(NamedTuple):
    """A setting as kernels read it. Times are in *ticks*, attempts of the fastest link.

    So the times of equal links are whole numbers, and "as old as the cutoff" is decided exactly.
    """

    links: int
    tick_s: float
    at: Table
    """k + 1 rows; row l is of link l and node l.

    Of the link: ``inverse_log`` (1 / ln(1 - p), 0 for p = 1) and ``attempt``. Of the node:
    ``place`` (how long a message from node 0 travels), ``swap_success``, and ``low`` and ``high``,
    the ends of the segment that its swap makes (-1 where any will do, asap). In rows 1 to k - 1:
    ``join``, inner nodes, each after those that must have swapped before.
    """
    cutoff: float
    asap: bool
    sure: bool
    """Whether nothing is ever lost, and all links attempt from the start."""
    one_at_a_time: bool
    measured: bool


def plan_of(setting: Setting) -> Plan:
    """Return what kernels need of a setting."""
    links = setting.links
    attempt_s = np.asarray(setting.attempt_s)
    tick_s = float(attempt_s.min())
    success = np.asarray(setting.swap_success)
    at = table(
        links + 1,
        inverse_log=float,
        attempt=float,
        place=float,
        swap_success=float,
        low=int,
        high=int,
        join=int,
    )
    with np.errstate(divide="ignore"):
        at.inverse_log[:links] = 1.0 / np.log1p(-setting.success_probability)
    at.attempt[:links] = _ticks(attempt_s, tick_s)
    at.place[1:] = np.cumsum(_ticks(np.asarray(setting.signal_s), tick_s))
    at.swap_success[1:links] = success
    at.join[1:links], at.low, at.high = _tree(setting.order, links)
    return Plan(
        links=links,
        tick_s=tick_s,
        at=at,
        cutoff=float(_ticks(np.array([setting.cutoff_s]), tick_s)[0]),
        asap=setting.order == "asap",
        sure=bool((success == 1.0).all())
        and setting.cutoff_s == math.inf
        and not setting.one_at_a_time,
        one_at_a_time=setting.one_at_a_time,
        measured=setting.ends == "measure",
    )


def _ticks(seconds: Floats, tick_s: float) -> Floats:
    """Return times in ticks, without the rounding of decimal seconds.

    >>> _ticks(np.array([0.0033, 0.0005, np.inf]), 0.0011).tolist()
    [3.0, 0.45454545454545453, inf]
    """
    ticks = seconds / tick_s
    whole = np.round(ticks * 256.0) / 256.0
    near = np.isfinite(ticks)
    near[near] = np.abs(ticks[near] - whole[near]) <= 1e-12 * ticks[near]
    return np.where(near, whole, ticks)


def _tree(order: Order, links: int) -> tuple[Ints, Ints, Ints]:
    """Return the inner nodes in the order of their swaps, and the columns low and high.

    >>> joins, low, high = _tree("balanced", 6)
    >>> [(int(m), int(low[m]), int(high[m])) for m in joins]
    [(1, 0, 2), (3, 2, 4), (5, 4, 6), (2, 0, 4), (4, 0, 6)]
    """
    low = np.full(links + 1, -1, dtype=np.int64)
    high = np.full(links + 1, -1, dtype=np.int64)
    inner = np.arange(1, links)
    if order == "sequential":
        low[1:links], high[1:links] = 0, inner + 1
    elif order == "balanced":
        reach = inner & -inner
        low[1:links], high[1:links] = inner - reach, np.minimum(inner + reach, links)
        inner = inner[np.argsort(reach, kind="stable")]
    return inner.astype(np.int64), low, high
