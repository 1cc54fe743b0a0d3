"""The bound is above whatever can be done, and exactly the program over all admissible paths."""

import itertools

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import Bounds, LinearConstraint, linprog, milp

from quantum import werner
from quantum.bell import correlators, populations
from quantum.bell import werner as werner_state
from quantum.bound import Classes, fluid_bound, horizon, run_bound, window_classes
from quantum.bound_columns import arcs, cheapest, distilled
from quantum.demand import Trace
from quantum.errors import InputError
from quantum.flows import shortest_paths
from quantum.ledger import Rule, new_ledger, new_world, token_totals
from quantum.network import Network
from quantum.presets import build, run_cell
from quantum.program import Gates, Memory
from quantum.scenario import Scenario
from quantum.twin import advance, score

IDEAL = Gates()


def network(links, *, n=None, states=None, fidelity=0.98, generation=1.0, swaps=1.0, gates=IDEAL):
    links = np.array(sorted(links), dtype=np.int64).reshape(-1, 2)
    n = int(links.max()) + 1 if n is None else n
    m = len(links)
    return Network(
        name="test",
        nodes=tuple(f"n{i}" for i in range(n)),
        position_km=np.zeros((n, 2)),
        links=links,
        length_km=np.ones(m),
        populations=werner_state(np.broadcast_to(fidelity, m)) if states is None else states,
        generation_hz=np.broadcast_to(generation, n).astype(float),
        swap_hz=np.broadcast_to(swaps, n).astype(float),
        qubits=np.full(n, 8),
        memory=Memory(),
        cutoff_s=1.0,
        gates=gates,
    )


def classes(ends, fidelity, pairs):
    ends = np.array(ends, dtype=np.int64).reshape(-1, 2)
    return Classes(
        commodities=ends,
        commodity=np.arange(len(ends)),
        minimum_fidelity=np.broadcast_to(fidelity, len(ends)).astype(float),
        pairs=np.broadcast_to(pairs, len(ends)).astype(float),
    )


def full(net, value):
    return np.full(len(net.nodes), float(value))


def every_column(net, want, max_rounds=0):
    """All (class, node path, rounds per link) that meet the fidelity, by plain enumeration."""
    graph = nx.Graph(net.links.tolist())
    graph.add_nodes_from(range(len(net.nodes)))
    number = {tuple(link): i for i, link in enumerate(net.links.tolist())}
    fresh = np.abs(correlators(net.populations))
    options = [(r, good) for r in range(max_rounds + 1) for good in distilled(fresh, r)]
    swap = werner.swap_factors(net.gates)
    found = []
    for c, k in enumerate(want.commodity):
        for path in nx.all_simple_paths(graph, *want.commodities[k].tolist()):
            used = [number[min(a, b), max(a, b)] for a, b in itertools.pairwise(path)]
            for choice in itertools.product(options, repeat=len(used)):
                product = swap ** (len(used) - 1)
                for link, (_, good) in zip(used, choice, strict=True):
                    product = product * good[link]
                if (1 + product.sum()) / 4 >= want.minimum_fidelity[c] - 1e-9:
                    found.append((c, path, used, [r for r, _ in choice]))
    return found


def program(net, want, generation, swaps, columns):
    """The whole linear program at once, dense: variables are paths and (m, 2) pairs made."""
    size, n, m = len(want.pairs), len(net.nodes), len(net.links)
    a = np.zeros((size + m + 2 * n, len(columns) + 2 * m))
    for j, (c, path, used, rounds) in enumerate(columns):
        a[c, j] = 1
        for link, r in zip(used, rounds, strict=True):
            a[size + link, j] += 2**r
        for node in path[1:-1]:
            a[size + m + n + node, j] += 1
    for link, ends in enumerate(net.links.tolist()):
        for side, node in enumerate(ends):
            a[size + link, len(columns) + 2 * link + side] = -1
            a[size + m + node, len(columns) + 2 * link + side] = 1
    limit = np.concatenate([want.pairs, np.zeros(m), generation, swaps])
    value = np.zeros(a.shape[1])
    value[: len(columns)] = -1
    return value, a, limit


@st.composite
def tiny(draw):
    """2 to 4 nodes, any links, Bell-diagonal states, small integer tokens and demands."""
    n = draw(st.integers(2, 4))
    possible = list(itertools.combinations(range(n), 2))
    links = draw(st.lists(st.sampled_from(possible), min_size=1, unique=True))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    best = rng.uniform(0.85, 1.0, len(links))
    rest = rng.dirichlet([0.5, 0.5, 0.5], len(links)) * (1 - best)[:, None]
    gates = Gates(gate_depolarizing=draw(st.sampled_from([0.0, 0.02])), readout_error=0.01)
    net = network(
        links, n=n, states=np.column_stack([best, rest]), gates=gates, generation=1.0, swaps=1.0
    )
    ends = draw(st.lists(st.sampled_from(possible), min_size=1, max_size=4))
    fidelity = [draw(st.sampled_from([0.6, 0.8, 0.9])) for _ in ends]
    pairs = [draw(st.integers(0, 4)) for _ in ends]
    tokens = [draw(st.lists(st.integers(0, 4), min_size=n, max_size=n)) for _ in range(2)]
    return net, classes(ends, fidelity, pairs), *np.array(tokens, dtype=float)


@settings(max_examples=60, deadline=None)
@given(tiny(), st.sampled_from([0, 0, 1]))
def test_above_the_best_integer_plan_and_equal_to_the_program_over_all_paths(world, rounds):
    net, want, generation, swaps = world
    columns = every_column(net, want, rounds)
    bound = fluid_bound(net, want, generation=generation, swaps=swaps, max_rounds=rounds)
    value, a, limit = program(net, want, generation, swaps, columns)
    whole = linprog(value, A_ub=a, b_ub=limit, method="highs")
    assert bound.total == pytest.approx(-whole.fun, abs=1e-6)
    assert bound.total >= -whole.fun - 1e-9 * (1 - whole.fun)
    integer = milp(
        value, constraints=LinearConstraint(a, ub=limit), integrality=1, bounds=Bounds(0, np.inf)
    )
    assert -integer.fun <= bound.total + 1e-6


SMALL = [g for g in nx.graph_atlas_g() if 2 <= len(g) <= 5 and len(g.edges) and nx.is_connected(g)]


@pytest.mark.parametrize("number", range(len(SMALL)))
def test_every_small_graph(number):
    """All 30 connected graphs of 2 to 5 nodes, three requests, with and without distillation."""
    graph, rng = SMALL[number], np.random.default_rng(number)
    n = len(graph)
    net = network(
        [tuple(sorted(e)) for e in graph.edges],
        n=n,
        fidelity=rng.choice([0.88, 0.96], graph.size()),
    )
    ends = [sorted(rng.choice(n, 2, replace=False)) for _ in range(3)]
    want = classes(ends, rng.choice([0.75, 0.9], 3), rng.integers(1, 6, 3))
    generation, swaps = rng.integers(0, 7, n).astype(float), rng.integers(0, 4, n).astype(float)
    for rounds in (0, 1) if graph.size() < 9 else (0,):
        bound = fluid_bound(net, want, generation=generation, swaps=swaps, max_rounds=rounds)
        columns = every_column(net, want, rounds)
        value, a, limit = program(net, want, generation, swaps, columns)
        whole = linprog(value, A_ub=a, b_ub=limit, method="highs")
        assert bound.total == pytest.approx(-whole.fun, abs=1e-6)
        rows = LinearConstraint(a, ub=limit)
        plan = milp(value, constraints=rows, integrality=1, bounds=Bounds(0, np.inf))
        assert -plan.fun <= bound.total + 1e-6


@settings(max_examples=40, deadline=None)
@given(tiny())
def test_more_of_anything_is_never_less(world):
    net, want, generation, swaps = world
    before = fluid_bound(net, want, generation=generation, swaps=swaps).total
    assert before <= fluid_bound(net, want, generation=generation + 1, swaps=swaps).total + 1e-6
    assert before <= fluid_bound(net, want, generation=generation, swaps=swaps + 1).total + 1e-6
    up = np.arange(len(net.links)) > 0
    fewer = fluid_bound(net, want, generation=generation, swaps=swaps, usable=up).total
    left = network(
        net.links[1:].tolist(), n=len(net.nodes), states=net.populations[1:], gates=net.gates
    )
    assert fewer <= before + 1e-6
    removed = fluid_bound(left, want, generation=generation, swaps=swaps).total
    assert fewer == pytest.approx(removed, abs=1e-6)


def test_bad_masks_are_refused():
    net = network([(0, 1)])
    tokens = {"generation": full(net, 1), "swaps": full(net, 1)}
    for mask in (np.ones(2, np.bool_), np.ones(1)):
        with pytest.raises(InputError, match="usable"):
            fluid_bound(net, classes([(0, 1)], 0.5, 1), usable=mask, **tokens)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_flows_keep_every_limit_and_reach_the_total(seed):
    rng = np.random.default_rng(seed)
    graph = nx.gnm_random_graph(12, 24, seed=seed % 1000)
    fidelity = rng.uniform(0.93, 0.99, 24)
    net = network(graph.edges, n=12, fidelity=fidelity, swaps=rng.uniform(0, 3, 12))
    ends = rng.permuted(np.tile(np.arange(12), (8, 1)), axis=1)[:, :2]
    want = classes(ends, rng.choice([0.75, 0.85], 8), rng.uniform(0, 5, 8))
    generation, swaps = rng.uniform(0, 4, 12), rng.uniform(0, 3, 12)
    bound = fluid_bound(net, want, generation=generation, swaps=swaps, max_rounds=1)
    links, made, swapped = np.zeros(24), np.zeros(12), np.zeros(12)
    served = np.zeros(8)
    fresh = [good for r in (0, 1) for good in distilled(correlators(net.populations), r)]
    for flow in bound.paths:
        assert len(set(flow.nodes)) == len(flow.nodes) == len(flow.links) + 1
        quality = np.prod([fresh[r][e] for r, e in zip(flow.rounds, flow.links, strict=True)], 0)
        assert (1 + quality.sum()) / 4 >= flow.minimum_fidelity - 1e-8
        links[list(flow.links)] += flow.pairs * np.exp2(flow.rounds)
        swapped[list(flow.nodes[1:-1])] += flow.pairs
        served[flow.commodity] += flow.pairs
    for side in (0, 1):
        np.add.at(made, net.links[:, side], bound.generated[:, side])
    assert np.all(links <= bound.generated.sum(axis=1) + 1e-6)
    assert np.all(made <= generation + 1e-6)
    assert np.all(swapped <= swaps + 1e-6)
    assert np.all(served <= want.pairs + 1e-6)
    np.testing.assert_allclose(served, bound.delivered, atol=1e-8)
    assert served.sum() == pytest.approx(bound.total, abs=1e-5)
    value = want.pairs @ bound.duals.classes + generation @ bound.duals.generation
    assert value + swaps @ bound.duals.swap == pytest.approx(bound.total, abs=1e-5)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0, 1]))
def test_pricing_misses_no_path(seed, rounds):
    """Against enumeration, with correlators that differ by axis and many zero prices."""
    rng = np.random.default_rng(seed)
    graph = nx.gnm_random_graph(6, 11, seed=seed % 1000)
    weights = np.column_stack([rng.uniform(0.75, 0.99, 11), np.zeros((11, 3))])
    weights[:, 1:] = rng.dirichlet([0.1] * 3, 11) * (1 - weights[:, :1])
    net = network(graph.edges, n=6, states=weights)
    want = classes([(0, 5)], rng.uniform(0.6, 0.9), 1.0)
    price = rng.uniform(0, 1, 11) * (rng.random(11) < 0.8)
    swap = rng.uniform(0, 1, 6) * (rng.random(6) < 0.6)
    columns = every_column(net, want, rounds)
    cost = [
        sum(price[e] * 2**r for e, r in zip(used, depth, strict=True)) + swap[path[1:-1]].sum()
        for _, path, used, depth in columns
    ]
    search = arcs(
        net,
        np.array([5]),
        usable=np.ones(11, np.bool_),
        relay=np.ones(6, np.bool_),
        max_rounds=rounds,
    )
    found = cheapest(
        search,
        source=np.array([0]),
        target=np.array([5]),
        minimum_fidelity=want.minimum_fidelity,
        link_cost=price,
        node_cost=swap,
        budget=np.array([np.inf]),
    )
    assert found.cost[0] == pytest.approx(min(cost, default=np.inf))


def test_pricing_keeps_a_label_that_is_better_in_one_basis_only():
    """From 0 to 1 the free link keeps 0.9 of each correlator; over 2 it costs 1, xx stays whole.

    From 1 to 3 the link passes xx only, the way over 4 half of yy and zz only. So F = 0.475 with
    the free link and 0.5 without. In the sum (2.7 against 2.6) the free link wins, and a hasty
    search forgets the other.
    """
    quality = np.array([[0.9] * 3, [1] * 3, [1, 0.8, 0.8], [1, 0, 0], [0, 0.5, 0.5], [1] * 3])
    net = network([(0, 1), (0, 2), (1, 2), (1, 3), (1, 4), (3, 4)], states=np.full((6, 4), 0.25))
    search = arcs(
        net, np.array([3]), usable=np.ones(6, np.bool_), relay=np.ones(5, np.bool_), quality=quality
    )
    question = {
        "source": np.array([0]),
        "target": np.array([3]),
        "minimum_fidelity": np.array([0.49]),
        "link_cost": np.array([0.0, 1.0, 0.0, 0.0, 0.0, 0.0]),
        "node_cost": np.zeros(5),
        "budget": np.array([np.inf]),
    }
    found = cheapest(search, **question)
    assert found.cost.tolist() == [1.0]
    assert found.fidelity == pytest.approx([0.5])
    assert search.to[found.path(0)].tolist() == [2, 1, 3]
    assert cheapest(search, **question, hasty=True).cost.tolist() == [np.inf]


def test_dearer_path_is_found_where_the_cheap_one_is_too_noisy():
    """A square with a poor shortcut: 0-2 is one hop of fidelity 0.8, 0-1-2 gives 0.961."""
    net = network([(0, 1), (0, 2), (1, 2)], fidelity=np.array([0.98, 0.8, 0.98]))
    bound = fluid_bound(
        net, classes([(0, 2)], 0.9, 10), generation=full(net, 3), swaps=np.array([0.0, 2.0, 0.0])
    )
    assert bound.total == pytest.approx(2.0)
    assert [flow.nodes for flow in bound.paths] == [(0, 1, 2)]
    assert bound.duals.swap[1] == pytest.approx(1.0)


def test_distillation_spends_double():
    """One link of 0.8 with 10 tokens: 0.85 needs a round (Werner 0.8 gives 0.838) or two."""
    net = network([(0, 1)], fidelity=0.8)
    tokens = np.array([10.0, 0.0])
    want = classes([(0, 1)], 0.83, 100)
    none, one = (
        fluid_bound(net, want, generation=tokens, swaps=full(net, 0), max_rounds=r).total
        for r in (0, 1)
    )
    assert (none, one) == pytest.approx((0.0, 5.0))
    assert (1 + distilled(correlators(net.populations), 1)[0].sum()) / 4 == pytest.approx(
        0.8382, abs=1e-4
    )
    better = classes([(0, 1)], 0.85, 100)
    two = fluid_bound(net, better, generation=tokens, swaps=full(net, 0), max_rounds=2)
    assert two.total == pytest.approx(2.5)
    assert two.paths[0].rounds == (2,)


def test_swap_noise_limits_paths():
    ends, fidelity = [(0, 2)], 0.9
    for gates, total in ((Gates(), 1.0), (Gates(gate_depolarizing=0.1), 0.0)):
        net = network([(0, 1), (1, 2)], fidelity=0.98, gates=gates)
        got = fluid_bound(
            net, classes(ends, fidelity, 1), generation=full(net, 9), swaps=full(net, 9)
        )
        assert got.total == pytest.approx(total)


def test_rotated_bell_states_count_by_size():
    """A link that makes psi_minus is as good as phi_plus after a Pauli."""
    states = populations(np.array([[-0.96, 0.96, -0.96]]))
    net = network([(0, 1)], states=states)
    got = fluid_bound(net, classes([(0, 1)], 0.9, 3), generation=full(net, 1), swaps=full(net, 0))
    assert got.total == pytest.approx(2.0)


def test_best_correlators_of_drifting_links_override_the_first():
    net = network([(0, 1)], fidelity=0.8)
    got = fluid_bound(
        net,
        classes([(0, 1)], 0.9, 3),
        generation=full(net, 1),
        swaps=full(net, 0),
        correlators=correlators(werner_state(np.array([0.95]))),
    )
    assert got.total == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("net", "want"),
    [
        (network([(0, 1)]), classes([], 0.5, 1)),
        (network([(0, 1)]), classes([(0, 1)], 0.5, 0)),
        (network([(0, 1), (2, 3)]), classes([(0, 2)], 0.5, 5)),
        (network([(0, 1)]), classes([(0, 1)], 0.99, 5)),
        (network([], n=1, states=np.zeros((0, 4))), classes([], 0.5, 1)),
        (network([], n=2, states=np.zeros((0, 4))), classes([(0, 1)], 0.5, 1)),
    ],
    ids=["no classes", "no demand", "apart", "too good", "one node", "no links"],
)
def test_nothing_possible_is_zero(net, want):
    got = fluid_bound(net, want, generation=full(net, 5), swaps=full(net, 5))
    assert got.total == 0.0
    assert got.paths == ()
    assert got.delivered.shape == want.pairs.shape


def test_unreachable_demand_adds_nothing():
    net = network([(0, 1), (2, 3)])
    got = fluid_bound(
        net, classes([(0, 2), (0, 1)], 0.8, 5), generation=full(net, 1), swaps=full(net, 1)
    )
    assert got.total == pytest.approx(2.0)
    np.testing.assert_allclose(got.delivered, [0.0, 2.0], atol=1e-9)


@pytest.mark.parametrize("bad", [np.array([1.0]), np.array([1.0, np.nan]), np.array([1.0, -1.0])])
def test_bad_tokens_are_refused(bad):
    net = network([(0, 1)])
    with pytest.raises(InputError, match="generation"):
        fluid_bound(net, classes([(0, 1)], 0.8, 1), generation=bad, swaps=full(net, 1))


@pytest.mark.parametrize(
    ("fidelity", "pairs", "name"),
    [(1.5, 1, "minimum_fidelity"), (np.nan, 1, "minimum_fidelity"), (0.8, -1, "pairs")],
)
def test_bad_classes_are_refused(fidelity, pairs, name):
    with pytest.raises(InputError, match=name):
        classes([(0, 1)], fidelity, pairs)


def test_bad_rounds_and_nodes_are_refused():
    net = network([(0, 1)])
    tokens = {"generation": full(net, 1), "swaps": full(net, 1)}
    with pytest.raises(InputError, match="max_rounds"):
        fluid_bound(net, classes([(0, 1)], 0.8, 1), max_rounds=-1, **tokens)
    with pytest.raises(InputError, match="commodities"):
        fluid_bound(net, classes([(0, 2)], 0.8, 1), **tokens)


def scenario(times, *, deadline=0.5, cutoff=0.4, seconds=2.0, warmup=1.0, swaps=2.0):
    size = len(times)
    trace = Trace(
        name="test",
        commodities=np.array([[0, 2]]),
        weights=np.ones(1),
        load_hz=1.0,
        time_s=np.array(times, dtype=float),
        commodity=np.zeros(size, np.int64),
        pairs=np.full(size, 4),
        minimum_fidelity=np.resize([0.75, 0.85], size),
        deadline_s=np.full(size, deadline),
        told_s=np.array(times, dtype=float),
    )
    net = network([(0, 1), (1, 2)], generation=5.0, swaps=swaps)
    net = Network(**{**net.__dict__, "cutoff_s": cutoff})
    return Scenario(network=net, trace=trace, seed=3, seconds=seconds, warmup_s=warmup, slot_s=0.1)


def test_window_counts_arrivals_in_the_evaluation_only():
    got = window_classes(scenario([0.5, 0.95, 1.0, 1.5, 2.95, 3.0]))
    assert got.minimum_fidelity.tolist() == [0.75, 0.85]
    assert got.pairs.tolist() == [8.0, 4.0]  # arrivals at 1.0 and 2.95; 1.5


def test_horizon_reaches_from_the_oldest_usable_pair_to_the_last_deadline():
    """Slots of 0.1 s: 1 s of warm-up less 0.4 s of cutoff (and one slot) to 2.95 s + 0.5 s."""
    assert horizon(scenario([1.0, 2.95])) == (5, 35)
    assert horizon(scenario([])) == (5, 30)
    assert horizon(scenario([1.0], cutoff=9.0))[0] == 0


def test_run_bound_counts_swap_refill_and_full_bucket():
    """Only the swap node binds: bucket 2, and 2/s over 2.5 s (3.5 s with the cutoff before)."""
    world = scenario(np.full(60, 1.0) + np.linspace(0, 1.9, 60))
    first, stop = horizon(world)
    tokens = np.full(3, 1000)
    assert run_bound(world, tokens=tokens).total == pytest.approx(2 + 2 * 0.1 * (stop - 10))
    ahead = run_bound(world, tokens=tokens, swaps_ahead=True).total
    assert ahead == pytest.approx(2 + 2 * 0.1 * (stop - first))


def test_run_bound_of_the_ledgers_draws():
    """Only generation binds: two links share the tokens of three nodes."""
    world = scenario(np.linspace(1.0, 2.9, 40), swaps=100.0)
    tokens = token_totals(3, world.network.generation_hz * 0.1, *horizon(world))
    got = run_bound(world, tokens=tokens).total
    a, b, c = tokens.tolist()
    assert 0 < (a + b + c) / 2 < 4 * 40
    assert got == pytest.approx(min((a + b + c) / 2, a + b, b + c))


def test_empty_trace_has_bound_zero():
    assert run_bound(scenario([]), tokens=np.full(3, 10)).total == 0.0


@pytest.mark.parametrize(("demand", "seed"), [("poisson", 0), ("scheduled", 1), ("poisson", 2)])
def test_the_ledger_stays_below(demand, seed):
    """A small mesh under heavy load, so that tokens and not requests decide."""
    cell = run_cell("mesh-20", demand, load_hz=160.0, commodities=30)
    world = build(cell, seed, seconds=10.0, warmup_s=2.0)
    game = new_world(world, paths=shortest_paths)
    assert game.horizon == horizon(world)[1]
    played = new_ledger(game)
    advance(game, played, Rule(fill=2, complete=1, targets=np.ones(game.m)), game.horizon)
    result = score(game, played)
    assert result.pairs_requested == window_classes(world).pairs.sum()
    tokens = token_totals(world.seed, world.network.generation_hz * 0.02, *horizon(world))
    bound = run_bound(world, tokens=tokens)
    assert 0 < result.pairs_delivered <= bound.total < result.pairs_requested
