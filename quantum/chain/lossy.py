"""Chains that lose pairs, to failed swaps and cutoffs: one event after another.

What happens at one instant happens in this order: links succeed, nodes swap, segments expire, links
start again.
"""

import numpy as np
from numpy.typing import NDArray

from quantum.chain.draws import attempts_of, uniform_of
from quantum.chain.setting import Plan
from quantum.chain.sure import ROUNDING
from quantum.kernels import Table, kernel, small, table

__all__ = ["new_rows", "play_lossy"]

Floats = NDArray[np.float64]

NEVER = np.inf


def new_rows(links: int) -> Table:
    """Return room for the state of one chain; row i is link i, and what begins at node i.

    Of the link: ``start``, ``ready`` (when it succeeds, NEVER while it does not attempt),
    ``number`` of attempts that takes, ``wanted`` (from when it is to attempt, NEVER if not),
    ``made`` (attempts of earlier runs), ``born``, ``mark`` (attempts of the other links of its left
    and right node at birth). Of the segment that begins at the node: ``high``, its right end (-1:
    there is none), ``expires``, ``heard`` (by its left and right end), ``failed`` (the node whose
    swap failed, or 0). Of the segment that ends at the node: ``low``, its left end.
    """
    return table(
        links + 1,
        start=float,
        ready=float,
        number=float,
        wanted=float,
        made=float,
        born=float,
        mark=(float, 2),
        high=int,
        low=int,
        expires=float,
        heard=(float, 2),
        failed=int,
    )


@small
def _made(plan: Plan, rows: Table, link: int, now: float) -> float:
    """Return the attempts that a link has finished; none for a link beyond the end nodes."""
    if link < 0 or link >= plan.links:
        return 0.0
    done = rows[link].made
    if rows[link].ready < NEVER:
        done += np.floor((now - rows[link].start) / plan.at[link].attempt + ROUNDING)
    return float(done)


@small
def _due(plan: Plan, rows: Table, node: int) -> float:
    """Return when a node can swap; NEVER where it may not."""
    low, high = rows[node].low, rows[node].high
    if low < 0 or high < 0:
        return NEVER
    if not plan.asap and (low != plan.at[node].low or high != plan.at[node].high):
        return NEVER
    if plan.asap:
        return 0.0
    return float(max(rows[low].heard[1], rows[node].heard[0]))


@small
def _expires(plan: Plan, rows: Table, low: int, high: int) -> float:
    """Return when the oldest stored qubit of a segment reaches the cutoff."""
    if low == 0 and high == plan.links:
        return NEVER
    oldest = NEVER
    if low > 0 or not plan.measured:
        oldest = rows[low].born
    if high < plan.links or not plan.measured:
        oldest = min(oldest, rows[high - 1].born)
    return float(oldest + plan.cutoff)


@small
def _next(plan: Plan, rows: Table, now: float) -> float:
    """Return the instant of the next event after ``now``."""
    soon = NEVER
    for link in range(plan.links):
        row = rows[link]
        soon = min(soon, row.ready)
        if row.high >= 0:
            soon = min(soon, row.expires)
            if link > 0 and not plan.asap:
                due = _due(plan, rows, link)
                if due > now:
                    soon = min(soon, due)
        if row.wanted > now:
            soon = min(soon, row.wanted)
    return soon


@small
def _succeed(plan: Plan, rows: Table, counting: bool, now: float) -> None:
    """Let the pairs of this instant be born."""
    for link in range(plan.links):
        row = rows[link]
        if row.ready <= now:
            row.made += row.number
            row.ready = NEVER
            row.born = now
            row.high = link + 1
            row.failed = 0
            row.heard[0] = row.heard[1] = now
            rows[link + 1].low = link
            row.expires = _expires(plan, rows, link, link + 1)
            if counting:
                row.mark[0] = _made(plan, rows, link - 1, now)
                row.mark[1] = _made(plan, rows, link + 1, now)


@small
def _use(
    plan: Plan,
    rows: Table,
    counting: bool,
    link: int,
    side: int,
    now: float,
    waits: Floats,
    attempts: Floats,
) -> None:
    """Note how long one qubit has waited, and how often the node's other link tried meanwhile."""
    row = rows[link]
    waits[link, side] = (now - row.born) * plan.tick_s
    if counting:
        other = link + 1 if side == 1 else link - 1
        attempts[link, side] = _made(plan, rows, other, now) - row.mark[side]


@small
def _swap(
    plan: Plan,
    rows: Table,
    counting: bool,
    node: int,
    works: bool,
    now: float,
    waits: Floats,
    attempts: Floats,
) -> None:
    """Join the two segments at a node; a failure is only marked."""
    _use(plan, rows, counting, node - 1, 1, now, waits, attempts)
    _use(plan, rows, counting, node, 0, now, waits, attempts)
    low, high = rows[node].low, rows[node].high
    joined = rows[low]
    if not works:
        joined.failed = node
    rows[node].low = rows[node].high = -1
    joined.high = high
    rows[high].low = low
    # An end has heard of all swaps, also (asap) of those that the swapping node has yet to hear of.
    here = plan.at[node].place
    from_left, from_right = max(now, joined.heard[1]), max(now, rows[node].heard[0])
    joined.heard[0] = max(joined.heard[0], from_right + here - plan.at[low].place)
    joined.heard[1] = max(rows[node].heard[1], from_left + plan.at[high].place - here)
    joined.expires = _expires(plan, rows, low, high)


@small
def _drop(plan: Plan, rows: Table, low: int, now: float, origin: int) -> None:
    """Let the links of a segment start again; ``origin`` is whose message they await, or 0."""
    high = rows[low].high
    rows[low].high = rows[high].low = -1
    for link in range(low, high):
        far = 0.0
        if origin > 0:
            here = plan.at[origin].place
            far = max(abs(plan.at[link].place - here), abs(plan.at[link + 1].place - here))
        rows[link].wanted = now + far


@small
def _start(plan: Plan, rows: Table, key: np.uint64, drawn: int, now: float) -> int:
    """Let the links attempt that want to and may; return the number of draws so far."""
    for link in range(plan.links):
        row = rows[link]
        if row.wanted > now:
            continue
        if plan.one_at_a_time and (
            (link > 0 and rows[link - 1].ready < NEVER)
            or (link + 1 < plan.links and rows[link + 1].ready < NEVER)
        ):
            continue
        row.number = attempts_of(uniform_of(key, drawn), plan.at[link].inverse_log)
        drawn += 1
        row.start = now
        row.ready = now + row.number * plan.at[link].attempt
        row.wanted = NEVER
    return drawn


@kernel
def play_lossy(
    plan: Plan,
    key: np.uint64,
    most_events: int,
    counting: bool,
    rows: Table,
    waits_s: Floats,
    attempts: Floats,
) -> tuple[float, float]:
    """Play one trajectory: (seconds, attempts of all links); ``waits_s``, ``attempts`` (k, 2).

    Attempts are written where ``counting``. The time is NaN where it took more than
    ``most_events`` events.
    """
    links = plan.links
    for i in range(links + 1):
        rows[i].high = rows[i].low = -1
        rows[i].made = rows[i].wanted = 0.0
        rows[i].ready = NEVER
    now, drawn = 0.0, 0
    for _ in range(most_events):
        drawn = _start(plan, rows, key, drawn, now)
        now = _next(plan, rows, now)
        _succeed(plan, rows, counting, now)
        for i in range(1, links):
            node = plan.at[i].join
            # Together (asap) means whatever becomes of the neighbours; a level waits for the last.
            low = rows[node].low
            lost = not plan.asap and low >= 0 and max(rows[low].failed, rows[node].failed) > 0
            if not lost and _due(plan, rows, node) <= now:
                works = True
                if plan.at[node].swap_success < 1.0:
                    works = uniform_of(key, drawn) <= plan.at[node].swap_success
                    drawn += 1
                _swap(plan, rows, counting, node, works, now, waits_s, attempts)
        if rows[0].high == links and rows[0].failed == 0:
            break
        for low in range(links):
            if rows[low].high >= 0:
                if rows[low].failed > 0:
                    _drop(plan, rows, low, now, rows[low].failed)
                elif rows[low].expires <= now:
                    _drop(plan, rows, low, now, 0)
    else:
        return np.nan, 0.0
    total = 0.0
    for link in range(links):
        total += rows[link].made
    now = max(rows[0].heard[0], rows[0].heard[1])
    _use(plan, rows, counting, 0, 0, now, waits_s, attempts)
    _use(plan, rows, counting, links - 1, 1, now, waits_s, attempts)
    if plan.measured:
        waits_s[0, 0] = waits_s[links - 1, 1] = 0.0
    return now * plan.tick_s, total
