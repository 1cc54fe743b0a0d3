"""The windowed bound: a linear program over time windows, between the fluid bound and the truth.

The fluid bound lets any token of a run serve any request. Here time is cut into windows of equal
length, and what happens in a window is added up:

- a request is served in windows that hold a slot from its arrival to its deadline;
- a token makes its pair in its own window, on one link of its node. A pair is taken in that
  window or in one of the next ``keep``; ``keep`` is the most that any pair of the window can live;
- stock: what is left of a link after a window is what was left before, plus made, less taken, and
  never more than was made in the last ``keep`` windows;
- a swap takes a token of its node in the window of the delivery. A bucket holds no more after a
  window than before it plus the refill less the swaps, and never more than its size;
- both ends of a link hold a qubit for every pair in stock after a window.

*It is a bound.* Take any run of any allocator. Count its deliveries by class, path and window, its
pairs by link and window, its stock and its buckets after the last slot of every window. All rows
hold: windows contain all slots in which the thing counted may happen (outward rounding), first in,
first out never keeps a pair longer than the run did, throwing pairs or tokens away is allowed, and
"after the last slot" is a moment of the run at which bucket sizes and memories bind. So the run is
a solution and cannot deliver more than the largest. What is left out can only raise the bound:
whole numbers, the order of events inside a window, decay within the cutoff, signalling, failures,
tests. And it is never above the fluid bound of the same requests, whose rows are sums of these.

The value given is that of repaired prices, exact whatever the solver's rounding: let a delivery pay
for its links and swaps, and each pair for its storage. By the same counting any run delivers at
most what the resources are worth at these prices (``worth_of_resources``) plus, for each pair
wanted, what it gains on the cheapest path of its best window.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_matrix

from quantum.bound import counted, horizon, swap_tokens, window_classes
from quantum.bound_master import Master, Solved, generate
from quantum.bound_program import Problem, prepare, solve
from quantum.bound_values import Classes, Column
from quantum.errors import InputError
from quantum.kernels import kernel
from quantum.ledger.state import tokens_of
from quantum.presence import presence
from quantum.scenario import Scenario
from quantum.window_program import (
    Amounts,
    active_columns,
    fixed_columns,
    lifted,
    limits,
    shape_of,
    worth_of_resources,
)

__all__ = ["WindowedBound", "slot_tokens", "windowed_bound"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

#: Pricing stops when value and bound differ by less than this share: the bound is valid anyway.
_GAP = 1e-3


@dataclass(frozen=True, eq=False)
class WindowedBound:
    """Pairs that could at most be delivered to ``requests`` (R,), those that count.

    ``total`` is the bound and ``fluid`` the fluid bound of the same requests; ``value`` is the best
    solution found, at most ``total``. ``windows``, the pricing ``rounds`` of the last program and
    its ``columns`` (paths) tell the cost.
    """

    total: float
    fluid: float
    value: float
    requests: Bools
    windows: int
    rounds: int
    columns: int


@kernel
def slot_tokens(seed: int, generation: Floats, first: int, stop: int) -> Ints:
    """Draw the tokens of slots ``first`` to ``stop - 1``, (slots, n); ``generation`` per slot."""
    out = np.zeros((stop - first, len(generation)), dtype=np.int64)
    for slot in range(first, stop):
        for node in range(len(generation)):
            out[slot - first, node] = tokens_of(seed, node, slot, generation[node])
    return out


def windowed_bound(
    scenario: Scenario,
    *,
    tokens: Ints,
    seconds: float | None = None,
    window_s: float = 0.25,
    max_rounds: int = 0,
    correlators: Floats | None = None,
    usable: Bools | None = None,
    swaps_ahead: bool = False,
    gap: float = _GAP,
) -> WindowedBound:
    """Bound what any allocator could deliver to the requests of a stretch of a run.

    The stretch is the first ``seconds`` of the evaluation window, all of it by default. ``tokens``
    (slots, n) are those of the slots of :func:`quantum.bound.horizon`, or its first ones, see
    :func:`slot_tokens`; leave out those of nodes that are away. ``usable`` (m,) leaves out links
    that are never up. ``swaps_ahead`` is for worlds where pairs are swapped before a request asks
    for them: a swap may then be as old as the cutoff, and memory qubits do not count, as swaps free
    them. With ``max_rounds`` they do not count either, as distillation may free them.
    """
    network = scenario.network
    if not window_s >= scenario.slot_s:
        raise InputError(f"window_s must be at least a slot, {scenario.slot_s} s, got {window_s}")
    if seconds is not None and not seconds > 0:
        raise InputError(f"seconds must be > 0, got {seconds}")
    if seconds is not None:
        scenario = replace(scenario, seconds=min(seconds, scenario.seconds))
    first, stop = horizon(scenario)
    if tokens.ndim != 2 or tokens.shape[1] != len(network.nodes) or len(tokens) < stop - first:
        raise InputError(
            f"tokens must be those of at least {stop - first} slots and {len(network.nodes)} nodes,"
            f" got {tokens.shape}"
        )
    if tokens.size and tokens.min() < 0:
        raise InputError(f"tokens must be >= 0, got {tokens.min()}")
    classes, requests = window_classes(scenario), counted(scenario)
    begin, slots = scenario.warmup_slots, max(1, math.floor(window_s / scenario.slot_s + 1e-9))
    start = begin - slots * math.ceil((begin - first) / slots)
    totals = tokens[: stop - first].sum(axis=0).astype(np.float64)
    swaps = swap_tokens(scenario, swaps_ahead=swaps_ahead)
    problem = prepare(
        network,
        classes,
        generates=totals > 0,
        swaps=swaps > 0,
        max_rounds=max_rounds,
        correlators=correlators,
        usable=usable,
    )
    fluid = solve(problem, classes.pairs, generation=totals, swaps=swaps)
    windows = -((start - stop) // slots)
    if fluid.total <= 0.0:
        return WindowedBound(0.0, 0.0, 0.0, requests, windows, 0, 0)
    amounts = _amounts(scenario, tokens[: stop - first], start, slots, swaps_ahead=swaps_ahead)
    if max_rounds:
        amounts = replace(amounts, qubits=None)
    wishes = _wishes(scenario, classes, requests, problem.reachable, start, slots)
    of_class: dict[int, list[Column]] = {}
    for column in fluid.columns:
        of_class.setdefault(column.number, []).append(column)
    columns = tuple(
        column._replace(number=question)
        for question, number in enumerate(wishes.number.tolist())
        for column in of_class[number]
    )
    # Without memory the program is much easier; it finds most of the paths.
    solved = _solved(problem, wishes, replace(amounts, qubits=None), columns, gap)
    total = min(solved.bound, fluid.total)
    if amounts.qubits is not None:
        solved = _solved(problem, wishes, amounts, solved.columns, gap)
    return WindowedBound(
        total=min(solved.bound, total),
        fluid=fluid.total,
        value=solved.value,
        requests=requests,
        windows=windows,
        rounds=solved.rounds,
        columns=len(solved.columns),
    )


def _amounts(
    scenario: Scenario, tokens: Ints, start: int, slots: int, *, swaps_ahead: bool
) -> Amounts:
    """Add up tokens and refills by windows of ``slots`` from slot ``start`` on."""
    network, begin = scenario.network, scenario.warmup_slots
    first, stop = horizon(scenario)
    window = (np.arange(first, stop) - start) // slots
    made = np.zeros((int(window[-1]) + 1, len(network.nodes)))
    np.add.at(made, window, tokens)
    lasts_s = np.bincount(window[begin - first :], minlength=len(made)) * scenario.slot_s
    cutoff = max(1, round(network.cutoff_s / scenario.slot_s))
    bucket = np.maximum(1.0, network.swap_hz)
    refill = lasts_s[:, None] * network.swap_hz
    here = presence(scenario.changes, network, slot_s=scenario.slot_s, first=begin, stop=stop)
    for node, gone, back in here.away.tolist():
        np.subtract.at(
            refill[:, node],
            window[gone - first : back - first],
            network.swap_hz[node] * scenario.slot_s,
        )
        if back < stop:
            refill[window[back - first], node] += bucket[node]
    if swaps_ahead:
        # The swaps that a stretch of time uses were made in it or at most a cutoff before; a node
        # that leaves and joins again may have emptied several full buckets by then.
        early = presence(scenario.changes, network, slot_s=scenario.slot_s, first=first, stop=stop)
        bucket *= np.maximum(1, early.buckets)
        bucket += network.swap_hz * cutoff * scenario.slot_s
    return Amounts(
        ends=network.links,
        tokens=made,
        refill=np.maximum(refill, 0.0),
        bucket=bucket,
        begin=(begin - start) // slots,
        keep=(cutoff - 1) // slots + 1,
        qubits=None if swaps_ahead else network.qubits.astype(np.float64),
    )


@dataclass(frozen=True, eq=False)
class _Wishes:
    """Requests by class and windows: G groups of ``pairs`` (G,), Q questions of ``number`` class
    in ``window`` (Q,), and ``chances`` (X, 2), the questions in which each group may be served.
    """

    pairs: Floats
    number: Ints
    window: Ints
    chances: Ints


def _wishes(
    scenario: Scenario,
    classes: Classes,
    requests: Bools,
    reachable: Bools,
    start: int,
    slots: int,
) -> _Wishes:
    trace, slot_s = scenario.trace, scenario.slot_s
    number = {
        (int(commodity), float(fidelity)): c
        for c, (commodity, fidelity) in enumerate(
            zip(classes.commodity, classes.minimum_fidelity, strict=True)
        )
    }
    arrival = np.floor(trace.time_s / slot_s + 1e-9).astype(np.int64)
    deadline = np.floor((trace.time_s + trace.deadline_s) / slot_s + 1e-9).astype(np.int64)
    groups: dict[tuple[int, int, int], float] = {}
    for r in np.flatnonzero(requests):
        c = number[int(trace.commodity[r]), float(trace.minimum_fidelity[r])]
        if reachable[c]:
            key = (c, int((arrival[r] - start) // slots), int((deadline[r] - start) // slots))
            groups[key] = groups.get(key, 0.0) + float(trace.pairs[r])
    questions: dict[tuple[int, int], int] = {}
    chances = [
        (g, questions.setdefault((c, w), len(questions)))
        for g, (c, opens, ends) in enumerate(groups)
        for w in range(opens, ends + 1)
    ]
    asked = np.array(list(questions), dtype=np.int64).reshape(-1, 2)
    return _Wishes(
        pairs=np.array(list(groups.values())),
        number=asked[:, 0],
        window=asked[:, 1],
        chances=np.array(chances, dtype=np.int64),
    )


def _solved(
    problem: Problem,
    wishes: _Wishes,
    amounts: Amounts,
    columns: tuple[Column, ...],
    gap: float,
) -> Solved:
    """Solve the program, with memory if the amounts have qubits."""
    size, groups = len(wishes.number), len(wishes.pairs)
    shape = shape_of(size, groups, amounts)
    fixed = fixed_columns(shape, wishes.chances, amounts)
    every = np.arange(size)
    group, question = wishes.chances.T

    def bound(price: Floats, least: Floats) -> float:
        gain = np.zeros(groups)
        np.maximum.at(gain, group, np.maximum(0.0, 1.0 - least)[question])
        return worth_of_resources(shape, price, amounts) + float(wishes.pairs @ gain)

    master = Master(
        graph=problem.graph,
        classes=problem.classes,
        relay=problem.relay,
        number=wishes.number,
        window=wishes.window,
        asked=np.ones(size, dtype=np.bool_),
        worth=np.ones(size),
        heads=csc_matrix((np.ones(size), (every, every)), shape=(shape.rows, size)),
        fixed=fixed,
        value=np.zeros(fixed.shape[1]),
        limits=limits(shape, wishes.pairs, amounts),
        link_row=shape.link,
        swap_row=shape.swap,
        links=len(amounts.ends),
        repair=lambda price: lifted(shape, price, amounts),
        bound=bound,
        active=lambda taken: active_columns(shape, len(wishes.chances), taken, amounts),
        interior=amounts.qubits is not None,
    )
    return generate(master, columns, gap=gap)
