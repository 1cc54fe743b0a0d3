"""The windowed bound lies between the best integer plan and the fluid bound, on the same draws."""

import itertools
from dataclasses import replace

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import Bounds, LinearConstraint, linprog, milp

from controller.game import play, prepare
from controller.rivals.allocator import find
from quantum.bell import correlators, werner
from quantum.bound import counted, horizon, run_bound
from quantum.bound_windows import slot_tokens, windowed_bound
from quantum.demand import Trace
from quantum.errors import InputError
from quantum.ledger import token_totals
from quantum.network import Network
from quantum.presets import build, run_cell
from quantum.program import Gates, Memory
from quantum.scenario import Scenario

SLOT_S = 0.1


def scenario(
    links,
    requests,
    *,
    n=None,
    fidelity=0.98,
    swaps=2.0,
    qubits=8,
    cutoff=3,
    warmup=4,
    slots=6,
):
    """Times in slots; requests of (arrival, source, target, pairs, slots to the deadline)."""
    links = np.array(sorted(links), dtype=np.int64).reshape(-1, 2)
    n = int(links.max()) + 1 if n is None else n
    time, source, target, pairs, wait = (
        np.array(sorted(requests), dtype=float).reshape(-1, 5).T.copy()
    )
    network = Network(
        name="test",
        nodes=tuple(f"n{i}" for i in range(n)),
        position_km=np.zeros((n, 2)),
        links=links,
        length_km=np.ones(len(links)),
        populations=werner(np.broadcast_to(fidelity, len(links))),
        generation_hz=np.full(n, 5.0),
        swap_hz=np.broadcast_to(swaps, n).astype(float),
        qubits=np.broadcast_to(qubits, n).astype(np.int64),
        memory=Memory(),
        cutoff_s=cutoff * SLOT_S,
        gates=Gates(),
    )
    trace = Trace(
        name="test",
        commodities=np.stack([source, target], axis=1).astype(np.int64),
        weights=np.full(len(time), 1.0 / max(1, len(time))),
        load_hz=1.0,
        time_s=time * SLOT_S,
        commodity=np.arange(len(time)),
        pairs=pairs.astype(np.int64),
        minimum_fidelity=np.full(len(time), 0.8),
        deadline_s=wait * SLOT_S,
        told_s=time * SLOT_S,
    )
    return Scenario(
        network=network,
        trace=trace,
        seed=0,
        seconds=slots * SLOT_S,
        warmup_s=warmup * SLOT_S,
        slot_s=SLOT_S,
    )


def slot_program(world, tokens):
    """The run slot by slot, as a program over single events (no windows, no stock).

    Variables: delivery of (request, slot, path), and transport of a token of (node, slot made) over
    a link to the slot of its use. Returns value, matrix, limits.
    """
    net, trace = world.network, world.trace
    first, stop = horizon(world)
    cutoff = round(net.cutoff_s / SLOT_S)
    number = {tuple(link): i for i, link in enumerate(net.links.tolist())}
    graph = nx.Graph(net.links.tolist())
    graph.add_nodes_from(range(len(net.nodes)))
    fresh = correlators(net.populations)
    deliveries = []
    for r in np.flatnonzero(counted(world)):
        arrival = int(trace.time_s[r] / SLOT_S + 1e-9)
        last = int((trace.time_s[r] + trace.deadline_s[r]) / SLOT_S + 1e-9)
        for path in nx.all_simple_paths(graph, *trace.commodities[trace.commodity[r]].tolist()):
            used = [number[min(a, b), max(a, b)] for a, b in itertools.pairwise(path)]
            if (1 + fresh[used].prod(axis=0).sum()) / 4 >= trace.minimum_fidelity[r]:
                deliveries += [(r, s, path[1:-1], used) for s in range(arrival, last + 1)]
    carried = [
        (v, made, e, use)
        for e, ends in enumerate(net.links.tolist())
        for v in ends
        for made in range(first, stop)
        for use in range(made, min(stop, made + cutoff + 1))
        if tokens[made - first, v]
    ]
    rows, limit = [], []

    def row(deliver, carry, most):
        rows.append([*map(deliver, deliveries), *map(carry, carried)])
        limit.append(most)

    def nothing(_):
        return 0

    for r in np.flatnonzero(counted(world)):
        row(lambda d, r=r: d[0] == r, nothing, trace.pairs[r])
    for e, slot in itertools.product(range(len(net.links)), range(first, stop)):
        row(
            lambda d, e=e, slot=slot: d[1] == slot and e in d[3],
            lambda c, e=e, slot=slot: -(c[2] == e and c[3] == slot),
            0,
        )
    bucket = np.maximum(1.0, net.swap_hz)
    for v in range(len(net.nodes)):
        for slot in range(first, stop):
            row(nothing, lambda c, v=v, s=slot: c[:2] == (v, s), tokens[slot - first, v])
            row(
                nothing,
                lambda c, v=v, s=slot: v in net.links[c[2]].tolist() and c[1] <= s < c[3],
                net.qubits[v],
            )
        for a, b in itertools.combinations_with_replacement(range(world.warmup_slots, stop), 2):
            refill = net.swap_hz[v] * SLOT_S * (b - a + 1)
            row(lambda d, v=v, a=a, b=b: v in d[2] and a <= d[1] <= b, nothing, bucket[v] + refill)
    value = -np.array([1.0] * len(deliveries) + [0.0] * len(carried))
    return value, np.array(rows, dtype=float).reshape(-1, len(value)), np.array(limit, dtype=float)


@st.composite
def tiny(draw):
    n = draw(st.integers(2, 4))
    possible = list(itertools.combinations(range(n), 2))
    links = draw(st.lists(st.sampled_from(possible), min_size=1, unique=True))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    requests = [
        (rng.integers(4, 10), *pair, rng.integers(1, 5), rng.integers(1, 5))
        for pair in draw(st.lists(st.sampled_from(possible), min_size=1, max_size=3))
    ]
    world = scenario(
        links,
        requests,
        n=n,
        fidelity=rng.choice([0.89, 0.98], len(links)),
        swaps=rng.choice([0.0, 0.5, 2.0, 4.0], n),
        qubits=rng.integers(1, 4, n),
        cutoff=int(rng.integers(1, 5)),
    )
    first, stop = horizon(world)
    return world, rng.poisson(rng.choice([0.3, 1.0]), (stop - first, n))


@settings(max_examples=30, deadline=None)
@given(tiny())
def test_between_the_best_integer_plan_and_the_fluid_bound(case):
    """With windows of a slot it is the program of single events; wider windows only add to it."""
    world, tokens = case
    value, a, limit = slot_program(world, tokens)
    whole = best = 0.0
    if len(value) and value.any():
        whole = -linprog(value, A_ub=a, b_ub=limit, method="highs").fun
        plan = milp(
            value, constraints=LinearConstraint(a, ub=limit), integrality=1, bounds=Bounds(0)
        )
        best = -plan.fun
    exact, double, triple = (
        windowed_bound(world, tokens=tokens, window_s=k * SLOT_S, gap=1e-9) for k in (1, 2, 3)
    )
    assert exact.total == pytest.approx(whole, abs=1e-6)
    assert exact.value == pytest.approx(whole, abs=1e-6)
    fluid = run_bound(world, tokens=tokens.sum(axis=0)).total
    for wider in (double, triple):
        assert best - 1e-6 <= whole - 1e-6 <= wider.total <= fluid + 1e-6
        assert wider.fluid == pytest.approx(fluid)
    ahead = windowed_bound(world, tokens=tokens, window_s=SLOT_S, swaps_ahead=True)
    assert exact.total - 1e-6 <= ahead.total
    assert ahead.total <= run_bound(world, tokens=tokens.sum(axis=0), swaps_ahead=True).total + 1e-6
    more = windowed_bound(world, tokens=tokens + 1, window_s=SLOT_S)
    assert exact.total <= more.total + 1e-6


@settings(max_examples=15, deadline=None)
@given(tiny())
def test_distillation_only_adds(case):
    """Links of 0.89 alone give 0.8 over two hops only after a round."""
    world, tokens = case
    bounds = [
        windowed_bound(world, tokens=tokens, window_s=2 * SLOT_S, max_rounds=r) for r in (0, 1)
    ]
    assert bounds[0].total <= bounds[1].total * (1 + 1e-9) + 1e-6
    fluid = run_bound(world, tokens=tokens.sum(axis=0), max_rounds=1).total
    assert bounds[1].total <= fluid + 1e-6


def tokens_at(world, *when):
    """One token of node 0 for each of the slots, and nothing else."""
    first, stop = horizon(world)
    out = np.zeros((stop - first, len(world.network.nodes)), dtype=np.int64)
    for slot in when:
        out[slot - first, 0] += 1
    return out


@pytest.mark.parametrize(
    ("made", "pairs"),
    [((1,), 0), ((2,), 0), ((3,), 1), ((6,), 1), ((8,), 1), ((9,), 0), ((3, 8, 9), 2)],
)
def test_tokens_too_old_or_too_late_are_worth_nothing(made, pairs):
    """A request in slots 6 to 8 and a cutoff of 3: the fluid bound takes any token."""
    world = scenario([(0, 1)], [(6, 0, 1, 4, 2)], cutoff=3)
    tokens = tokens_at(world, *made)
    assert windowed_bound(world, tokens=tokens, window_s=SLOT_S).total == pytest.approx(pairs)
    assert run_bound(world, tokens=tokens.sum(axis=0)).total == pytest.approx(len(made))


def test_windows_are_rounded_outwards():
    """Windows of 2 slots from slot 4: slot 9 lies with 8, and a pair of slot 2 may reach 6."""
    world = scenario([(0, 1)], [(6, 0, 1, 4, 2)], cutoff=3)
    got = [
        windowed_bound(world, tokens=tokens_at(world, slot), window_s=2 * SLOT_S).total
        for slot in (1, 2, 9)
    ]
    assert got == pytest.approx([0.0, 1.0, 1.0])


def test_memory_limits_what_waits():
    """One qubit: of four early pairs one can wait, and one more is made in the slot of arrival."""
    world = scenario([(0, 1)], [(6, 0, 1, 4, 1)], qubits=1, cutoff=3)
    tokens = tokens_at(world, 4, 5, 5, 5, 6)
    assert windowed_bound(world, tokens=tokens, window_s=SLOT_S).total == pytest.approx(2.0)
    # One left after slot 5, and what is made later: nothing.
    tokens = tokens_at(world, 4, 5, 5, 5)
    assert windowed_bound(world, tokens=tokens, window_s=SLOT_S).total == pytest.approx(1.0)
    free = windowed_bound(world, tokens=tokens, window_s=SLOT_S, swaps_ahead=True)
    assert free.total == pytest.approx(4.0)


def test_a_bucket_overflows_between_bursts():
    """A bucket of 2 with 0.2 a slot; bursts in the slots 4 and 24 get 2.2 each, not 6.2 in all."""
    bursts = [(4, 0, 2, 9, 0.5), (24, 0, 2, 9, 0.5)]
    world = scenario([(0, 1), (1, 2)], bursts, cutoff=1, swaps=[0, 2, 0], slots=21)
    first, stop = horizon(world)
    got = windowed_bound(world, tokens=np.full((stop - first, 3), 50), window_s=SLOT_S)
    assert got.total == pytest.approx(4.4)
    assert got.fluid == pytest.approx(2 + 0.2 * 21)


def test_a_stretch_counts_its_own_requests():
    world = scenario([(0, 1)], [(4, 0, 1, 2, 2), (8, 0, 1, 3, 2)])
    first, stop = horizon(world)
    tokens = np.full((stop - first, 2), 9)
    got = windowed_bound(world, tokens=tokens, seconds=0.3, window_s=0.2)
    assert got.requests.tolist() == [True, False]
    assert got.total == pytest.approx(2.0)
    assert windowed_bound(world, tokens=tokens, seconds=9.0).total == pytest.approx(5.0)


def test_links_that_are_away_carry_nothing():
    world = scenario([(0, 1), (0, 2), (1, 2)], [(6, 0, 1, 2, 2)])
    first, stop = horizon(world)
    tokens = np.full((stop - first, 3), 9)
    for usable, total in (([False, True, True], 2.0), ([False, False, True], 0.0)):
        got = windowed_bound(world, tokens=tokens, usable=np.array(usable))
        assert got.total == pytest.approx(total)


@pytest.mark.parametrize("seed", range(6))
def test_no_allocator_is_above(seed):
    """Small meshes under heavy load; tight memory and short deadlines on odd seeds."""
    cell = run_cell("mesh-20", ("poisson", "scheduled")[seed % 2], load_hz=120.0, commodities=30)
    if seed % 2:
        cell = replace_cell(cell, qubits=4, deadline_s=0.2, cutoff_s=0.5)
    world = build(cell, seed, seconds=4.0, warmup_s=2.0)
    game = prepare(world)
    rate = world.network.generation_hz * world.slot_s
    tokens = slot_tokens(world.seed, rate, *horizon(world))
    assert np.array_equal(tokens.sum(axis=0), token_totals(world.seed, rate, *horizon(world)))
    bound = windowed_bound(world, tokens=tokens, window_s=(0.25, 0.2, 0.5)[seed % 3])
    assert bound.total <= game.bound + 1e-6
    best = 0
    for name in ("mean-rate", "uniform", "on-demand"):
        best = max(best, play(game, find(name), with_losses=False).score.pairs_delivered)
    assert 0 < best <= bound.total


def replace_cell(cell, **changes):
    return type(cell)(**{**{f: getattr(cell, f) for f in cell.__struct_fields__}, **changes})


def test_nothing_asked_or_nothing_made_is_zero():
    empty = scenario([(0, 1)], [])
    first, stop = horizon(empty)
    assert windowed_bound(empty, tokens=np.ones((stop - first, 2), np.int64)).total == 0.0
    world = scenario([(0, 1)], [(6, 0, 1, 2, 2)])
    first, stop = horizon(world)
    assert windowed_bound(world, tokens=np.zeros((stop - first, 2), np.int64)).total == 0.0


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"tokens": np.ones((3, 2), np.int64)}, "tokens"),
        ({"tokens": -np.ones((99, 2), np.int64)}, "tokens"),
        ({"window_s": 0.01}, "window_s"),
        ({"window_s": float("nan")}, "window_s"),
        ({"seconds": 0.0}, "seconds"),
        ({"seconds": float("nan")}, "seconds"),
        ({"usable": np.ones(3, np.bool_)}, "usable"),
    ],
)
def test_bad_input_is_refused(changes, name):
    world = scenario([(0, 1)], [(6, 0, 1, 2, 2)])
    arguments = {"tokens": np.ones((99, 2), np.int64), **changes}
    with pytest.raises(InputError, match=name):
        windowed_bound(world, **arguments)


def test_same_input_same_bound():
    world = replace(build(run_cell("ring-8", "poisson", load_hz=30.0), 2, seconds=4.0), seed=7)
    rate = world.network.generation_hz * world.slot_s
    tokens = slot_tokens(world.seed, rate, *horizon(world))
    first, again = (windowed_bound(world, tokens=tokens).total for _ in range(2))
    assert first == again
