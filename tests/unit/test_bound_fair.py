"""Fair shares against closed forms and the program over all paths; Jain's index; the knee."""

import itertools

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.optimize import linprog

from quantum.bell import correlators, werner
from quantum.bound import Classes, fluid_bound, horizon, run_bound
from quantum.bound_columns import distilled
from quantum.bound_fair import delivered_shares, fair_bound, jain_index, run_fair_bound
from quantum.demand import Trace
from quantum.errors import InputError
from quantum.flows import KNEE, knee, mean_classes
from quantum.ledger import token_totals
from quantum.network import Network
from quantum.presets import build, run_cell
from quantum.program import Gates, Memory


def network(links, *, n=None, fidelity=0.98, generation=4.0, swaps=2.0):
    links = np.array(sorted(links), dtype=np.int64).reshape(-1, 2)
    n = int(links.max()) + 1 if n is None else n
    m = len(links)
    return Network(
        name="test",
        nodes=tuple(f"n{i}" for i in range(n)),
        position_km=np.zeros((n, 2)),
        links=links,
        length_km=np.ones(m),
        populations=werner(np.broadcast_to(fidelity, m)),
        generation_hz=np.broadcast_to(generation, n).astype(float),
        swap_hz=np.broadcast_to(swaps, n).astype(float),
        qubits=np.full(n, 8),
        memory=Memory(),
        cutoff_s=1.0,
        gates=Gates(),
    )


def classes(ends, pairs, fidelity=0.8, commodity=None):
    ends = np.array(ends, dtype=np.int64).reshape(-1, 2)
    commodity = np.arange(len(ends)) if commodity is None else np.array(commodity)
    return Classes(
        commodities=ends,
        commodity=commodity,
        minimum_fidelity=np.broadcast_to(fidelity, len(commodity)).astype(float),
        pairs=np.broadcast_to(pairs, len(commodity)).astype(float),
    )


def fair(net, want, *, generation=1e3, swaps=1e3, **more):
    n = len(net.nodes)
    return fair_bound(
        net,
        want,
        generation=np.broadcast_to(generation, n).astype(float),
        swaps=np.broadcast_to(swaps, n).astype(float),
        **more,
    )


def star(leaves):
    return network([(0, leaf) for leaf in range(1, leaves + 1)])


def test_share_of_a_star_is_its_swaps_over_the_demand():
    """All six pairs of four leaves want 2: 12 swaps of the centre, which has 3."""
    want = classes(list(itertools.combinations(range(1, 5), 2)), 2.0)
    got = fair(star(4), want, swaps=[3, 0, 0, 0, 0])
    assert got.share == pytest.approx(0.25)
    assert got.total == pytest.approx(3.0)
    np.testing.assert_allclose(got.delivered, 0.5, atol=1e-6)


def test_a_long_path_on_a_line_gets_as_much_as_the_short_ones():
    """Nodes 1 and 2 swap 3 each; 0-2, 1-3 and the long 0-3 want 4: each gets 1.5, the sum is 4.5.

    The fluid bound starves the long one: 3 + 3.
    """
    net, want = network([(0, 1), (1, 2), (2, 3)]), classes([(0, 2), (1, 3), (0, 3)], 4.0)
    got = fair(net, want, swaps=3.0)
    assert got.share == pytest.approx(1.5 / 4)
    assert got.total == pytest.approx(4.5)
    n = np.full(4, 3.0)
    assert fluid_bound(net, want, generation=np.full(4, 1e3), swaps=n).total == pytest.approx(6.0)


def test_water_filling_goes_on_where_others_are_stuck():
    """Node 1 swaps 1 for two commodities, node 2 swaps 3 for one of them and another.

    0-2 and 0-3 share node 1: half each of 1 (they want 2: 0.25). 1-3 has the rest of node 2, 2.5
    of the 4 that it wants.
    """
    net = network([(0, 1), (1, 2), (2, 3)])
    want = classes([(0, 2), (0, 3), (1, 3)], [2.0, 2.0, 4.0])
    got = fair(net, want, swaps=[0, 1, 3, 0], levels=9)
    np.testing.assert_allclose(got.shares, [0.25, 0.25, 0.625], atol=1e-6)
    one = fair(net, want, swaps=[0, 1, 3, 0], levels=1)
    np.testing.assert_allclose(one.shares, 0.25, atol=1e-6)
    assert one.share == got.share == pytest.approx(0.25)


def test_unreachable_demand_does_not_count():
    net = network([(0, 1), (2, 3)])
    got = fair(net, classes([(0, 1), (1, 2)], 4.0), generation=[1, 1, 1, 1])
    assert got.share == pytest.approx(0.5)
    np.testing.assert_allclose(got.shares, [0.5, 0.0], atol=1e-9)
    assert fair(net, classes([(0, 2)], 4.0)).share == 0.0
    assert fair(net, classes([], 4.0)).total == 0.0


def test_classes_of_one_commodity_share():
    """One commodity asks for 3 at each of two fidelities and gets 3 of 6 in any mix."""
    got = fair(network([(0, 1)]), classes([(0, 1)], 3.0, [0.6, 0.8], [0, 0]), generation=[3, 0])
    assert got.share == pytest.approx(0.5)
    assert got.delivered.sum() == pytest.approx(3.0)


def options(net, source, target, fidelity, max_rounds):
    """All (swap nodes, pairs taken of each link) that meet the fidelity, by enumeration."""
    graph = nx.Graph(net.links.tolist())
    graph.add_nodes_from(range(len(net.nodes)))
    number = {tuple(link): i for i, link in enumerate(net.links.tolist())}
    fresh = correlators(net.populations)
    ways = [(r, good) for r in range(max_rounds + 1) for good in distilled(fresh, r)]
    for path in nx.all_simple_paths(graph, source, target):
        used = [number[min(a, b), max(a, b)] for a, b in itertools.pairwise(path)]
        for choice in itertools.product(ways, repeat=len(used)):
            product = np.prod([good[e] for e, (_, good) in zip(used, choice, strict=True)], axis=0)
            if (1 + product.sum()) / 4 >= fidelity - 1e-9:
                taken = np.zeros(len(net.links))
                taken[used] = [2.0**r for r, _ in choice]
                yield path[1:-1], taken


def reference(net, want, generation, swaps, *, scale_of, max_rounds=0):
    """Largest theta by one program over all paths; ``scale_of`` fair shares or the knee."""
    n, m = len(net.nodes), len(net.links)
    columns = [
        (c, *way)
        for c, k in enumerate(want.commodity)
        for way in options(net, *want.commodities[k], want.minimum_fidelity[c], max_rounds)
    ]
    owner = np.array([c for c, _, _ in columns], dtype=int)
    reachable = np.isin(np.arange(len(want.pairs)), owner)
    demand = np.where(reachable, want.pairs, 0.0)
    if not demand.any():
        return None
    size = len(columns) + 2 * m + 1
    rows, limit = [], []

    def row(flows, *, made=None, theta=0.0, most=0.0):
        part = np.zeros(2 * m) if made is None else made.ravel()
        rows.append(np.concatenate([np.asarray(flows, dtype=float), part, [theta]]))
        limit.append(most)

    for c, pairs in enumerate(want.pairs):
        knee_like = scale_of == "knee"
        row(owner == c, theta=-pairs * knee_like, most=pairs * (not knee_like))
    if scale_of == "knee":
        row(-np.ones(len(columns)), theta=KNEE * demand.sum())
    else:
        for k in range(len(want.commodities)):
            mine = want.commodity == k
            row(-mine[owner].astype(float), theta=demand[mine].sum())
    for e in range(m):
        made = np.zeros((m, 2))
        made[e] = -1
        row([taken[e] for _, _, taken in columns], made=made)
    for v in range(n):
        row([v in nodes for _, nodes, _ in columns], most=swaps[v])
        row(np.zeros(len(columns)), made=(net.links == v).astype(float), most=generation[v])
    value = np.zeros(size)
    value[-1] = -1.0
    return -linprog(value, A_ub=np.array(rows), b_ub=np.array(limit), method="highs").fun


@st.composite
def small(draw):
    n = draw(st.integers(2, 5))
    possible = list(itertools.combinations(range(n), 2))
    links = draw(st.lists(st.sampled_from(possible), min_size=1, unique=True, max_size=7))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    net = network(
        links,
        n=n,
        fidelity=rng.choice([0.86, 0.93, 0.98], len(links)),
        generation=rng.choice([0.0, 1.0, 3.0, 6.0], n),
        swaps=rng.choice([0.0, 1.0, 2.0, 5.0], n),
    )
    ends = draw(st.lists(st.sampled_from(possible), min_size=1, max_size=4, unique=True))
    commodity = np.repeat(np.arange(len(ends)), 2)
    fidelity = np.tile([0.75, 0.9], len(ends))
    return net, classes(ends, rng.integers(1, 5, len(commodity)), fidelity, commodity)


def able(net):
    """The network without links that no end can make and swap nodes without swaps."""
    makes = (net.generation_hz > 0)[net.links].any(axis=1)
    parts = {**net.__dict__, "links": net.links[makes], "length_km": net.length_km[makes]}
    parts.pop("incidence", None)
    return Network(**{**parts, "populations": net.populations[makes]})


@settings(max_examples=50, deadline=None)
@given(small(), st.sampled_from([0, 0, 1]))
def test_share_is_that_of_the_program_over_all_paths(case, rounds):
    net, want = case
    if np.any(net.swap_hz == 0):
        # Paths through a node without swaps make a commodity unreachable here, not in the program.
        net = Network(**{**net.__dict__, "swap_hz": np.maximum(net.swap_hz, 1.0)})
    net = able(net)
    tokens = {"generation": net.generation_hz, "swaps": net.swap_hz}
    got = fair_bound(net, want, max_rounds=rounds, **tokens)
    expected = reference(net, want, *tokens.values(), scale_of="fair", max_rounds=rounds)
    assert got.share == pytest.approx(0.0 if expected is None else expected, abs=1e-6)
    fluid = fluid_bound(net, want, max_rounds=rounds, **tokens)
    assert got.total <= fluid.total + 1e-6
    assert np.all(got.delivered <= want.pairs + 1e-6)
    filled = fair_bound(net, want, max_rounds=rounds, levels=20, **tokens)
    assert np.all(filled.shares >= got.shares - 1e-6)
    assert filled.total <= fluid.total + 1e-6


@settings(max_examples=40, deadline=None)
@given(small(), st.sampled_from([0, 1]))
def test_knee_is_that_of_the_program_over_all_paths(case, rounds):
    net, want = case
    net = able(Network(**{**case[0].__dict__, "swap_hz": np.maximum(net.swap_hz, 1.0)}))
    size = len(want.commodities)
    trace = Trace(
        name="test",
        commodities=want.commodities,
        weights=np.arange(1, size + 1) / np.arange(1, size + 1).sum(),
        load_hz=1.0,
        time_s=np.zeros(2),
        commodity=np.zeros(2, np.int64),
        pairs=np.array([1, 3]),
        minimum_fidelity=np.array([0.75, 0.9]),
        deadline_s=np.ones(2),
        told_s=np.zeros(2),
    )
    shares = mean_classes(trace)
    expected = reference(
        net, shares, net.generation_hz, net.swap_hz, scale_of="knee", max_rounds=rounds
    )
    if expected is None:
        with pytest.raises(InputError, match="reachable"):
            knee(net, trace, max_rounds=rounds)
    else:
        assert knee(net, trace, max_rounds=rounds) == pytest.approx(expected, rel=1e-6)
        rough = knee(net, trace, max_rounds=rounds, gap=0.05)
        assert expected * (1 - 1e-9) <= rough <= expected * 1.06


def test_no_more_for_all_than_the_share_on_the_mesh():
    """The largest sum of a loaded mesh starves somebody; the fair one gives all of them more."""
    world = build(run_cell("mesh", load_hz=60.0), 0, seconds=20.0)
    rate = world.network.generation_hz * world.slot_s
    tokens = token_totals(world.seed, rate, *horizon(world))
    got, fluid = run_fair_bound(world, tokens=tokens), run_bound(world, tokens=tokens)
    assert 0.0 < got.share < 1.0
    assert got.share * fluid.total < got.total <= fluid.total * (1 + 1e-9)


def test_bad_levels_and_tokens_are_refused():
    with pytest.raises(InputError, match="levels"):
        fair(network([(0, 1)]), classes([(0, 1)], 1.0), levels=0)
    with pytest.raises(InputError, match="swaps"):
        fair(network([(0, 1)]), classes([(0, 1)], 1.0), swaps=-1.0)


@pytest.mark.parametrize(
    ("shares", "index"),
    [
        ([0.3, 0.3, 0.3], 1.0),
        ([1.0, 0.0, 0.0, 0.0], 0.25),
        ([0.7, 0.7, 0.0], 2 / 3),
        ([1.0, 2.0, 3.0], 36 / (3 * 14)),
        ([0.0, 0.0], 1.0),
        ([], 1.0),
        ([5e-324, 5e-324], 1.0),
    ],
)
def test_jain_index_in_closed_form(shares, index):
    assert jain_index(np.array(shares)) == pytest.approx(index)


@settings(max_examples=50, deadline=None)
@given(arrays.arrays(float, st.integers(1, 12), elements=st.floats(0, 1)), st.floats(1e-3, 1e3))
def test_jain_index_has_its_published_properties(shares, factor):
    """Between 1/n and 1, independent of scale and order, and 1 / (1 + squared variation)."""
    index = jain_index(shares)
    assert 1 / len(shares) - 1e-12 <= index <= 1 + 1e-12
    assert jain_index(np.sort(shares)) == pytest.approx(index)
    if shares.min() > 1e-6:
        assert jain_index(shares * factor) == pytest.approx(index)
        variation = shares.std() / shares.mean()
        assert index == pytest.approx(1 / (1 + variation**2))


@pytest.mark.parametrize("bad", [[-0.1, 1.0], [np.nan], [np.inf], [[1.0]]])
def test_bad_shares_are_refused(bad):
    with pytest.raises(InputError, match="shares"):
        jain_index(np.array(bad))


def test_delivered_shares_by_commodity():
    got = delivered_shares(np.array([2, 2, 0]), np.array([4, 4, 4]), np.array([4, 0, 1]))
    assert got.tolist() == [0.25, 0.5]
    none = np.zeros(0, np.int64)
    assert delivered_shares(none, none, none).tolist() == []
