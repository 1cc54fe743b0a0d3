"""Knee, link shares and shortest paths against closed forms and plain enumeration."""

import itertools
from dataclasses import replace

import networkx as nx
import numpy as np
import pytest

from quantum.bell import correlators, werner
from quantum.bound import fluid_bound
from quantum.demand import Trace
from quantum.errors import InputError
from quantum.flows import knee, link_shares, mean_classes, shortest_paths
from quantum.network import Network
from quantum.presets import build, run_cell
from quantum.program import Gates, Memory
from quantum.scenario import Scenario


def network(links, *, fidelity=0.98, generation=4.0, swaps=2.0):
    links = np.array(sorted(links), dtype=np.int64)
    n, m = int(links.max()) + 1, len(links)
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


def trace(commodities, *, fidelities=(0.75,), weights=None):
    """One request of 4 pairs for each commodity and fidelity."""
    commodities = np.array(commodities, dtype=np.int64)
    k = len(commodities)
    size = k * len(fidelities)
    return Trace(
        name="test",
        commodities=commodities,
        weights=np.full(k, 1 / k) if weights is None else np.array(weights),
        load_hz=10.0,
        time_s=np.arange(size, dtype=float),
        commodity=np.tile(np.arange(k), len(fidelities)),
        pairs=np.full(size, 4),
        minimum_fidelity=np.repeat(np.array(fidelities, dtype=float), k),
        deadline_s=np.ones(size),
        told_s=np.arange(size, dtype=float),
    )


def scenario(net, requests):
    return Scenario(network=net, trace=requests, seed=0, seconds=10.0)


@pytest.fixture(scope="module")
def mesh():
    return build(run_cell(), 0, seconds=20.0)


def test_mean_classes_share_the_demand():
    got = mean_classes(trace([(0, 1), (0, 2)], fidelities=(0.85, 0.75), weights=[0.3, 0.7]))
    assert got.commodity.tolist() == [0, 0, 1, 1]
    assert got.minimum_fidelity.tolist() == [0.75, 0.85, 0.75, 0.85]
    np.testing.assert_allclose(got.pairs, [0.15, 0.15, 0.35, 0.35])


def test_knee_of_a_chain_is_its_swap_rate_over_95_percent():
    """Node 1 swaps 2 pairs a second: the bound is 2, and 2 / load = 0.95."""
    net = network([(0, 1), (1, 2)])
    assert knee(net, trace([(0, 2)])) == pytest.approx(2 / 0.95, rel=1e-5)


def test_knee_is_of_what_is_reachable():
    """The second commodity needs two links of 0.98 (0.961 together) to give 0.99: never."""
    net = network([(0, 1), (1, 2)])
    half = trace([(0, 2)], fidelities=(0.75, 0.99))
    assert knee(net, half) == pytest.approx(2 * 2 / 0.95, rel=1e-5)
    with pytest.raises(InputError, match="reachable"):
        knee(net, trace([(0, 2)], fidelities=(0.99,)))


def test_knee_with_two_classes_competing():
    """A direct pair and a two-hop pair want link 0-1 (8/s): 2 of the long, the rest short.

    At load L each wants L/2. The long one is stuck at 2 (swaps): 2 + L/2 = 0.95 L gives L = 4.444,
    and generation (12/s) is enough for it.
    """
    net = network([(0, 1), (1, 2)])
    assert knee(net, trace([(0, 2), (0, 1)])) == pytest.approx(2 / 0.45, rel=1e-5)


def test_distillation_moves_the_knee():
    """Fidelity 0.83 from links of 0.8 needs two raw pairs; 4 + 4 tokens a second make 4."""
    net = network([(0, 1)], fidelity=0.8)
    wanted = trace([(0, 1)], fidelities=(0.83,))
    assert knee(net, wanted, max_rounds=1) == pytest.approx(4 / 0.95, rel=1e-5)


def test_knee_of_the_mesh_is_where_the_bound_is_95_percent(mesh):
    net, classes = mesh.network, mean_classes(mesh.trace)
    load = knee(net, mesh.trace)
    tokens = {"generation": net.generation_hz, "swaps": net.swap_hz}

    def ratio(load_hz):
        want = replace(classes, pairs=classes.pairs * load_hz)
        return fluid_bound(net, want, **tokens).total / load_hz

    reach = ratio(1e-3)
    assert ratio(load) / reach == pytest.approx(0.95, abs=1e-4)
    assert ratio(0.9 * load) / reach > 0.95
    assert ratio(1.1 * load) / reach < 0.95


def test_shares_of_a_chain_are_one_pair_of_each_link():
    net = network([(0, 1), (1, 2), (2, 3)])
    got = link_shares(net, trace([(0, 2), (3, 0)]), 1.0)
    np.testing.assert_allclose(got, [[1, 1, 0], [1, 1, 1]], atol=1e-9)


def test_shares_count_distilled_pairs_twice():
    net = network([(0, 1)], fidelity=0.8)
    got = link_shares(net, trace([(0, 1)], fidelities=(0.83,)), 1.0, max_rounds=1)
    np.testing.assert_allclose(got, [[2.0]])


def test_starved_commodity_falls_back_to_its_cheapest_path():
    """Both want the swaps of node 1, but 0-2 takes the only ones: 0-1-2-3 needs two nodes."""
    net = network([(0, 1), (1, 2), (2, 3)], swaps=[0.0, 1.0, 1.0, 0.0])
    got = link_shares(net, trace([(0, 2), (0, 3)]), 100.0)
    np.testing.assert_allclose(got, [[1, 1, 0], [0.3, 0.3, 0.3]], atol=1e-9)


def test_unreachable_commodity_has_no_share():
    net = network([(0, 1), (2, 3)])
    got = link_shares(net, trace([(0, 1), (0, 3)]), 1.0)
    np.testing.assert_allclose(got, [[1, 0], [0, 0]], atol=1e-9)


def test_shares_of_the_mesh_are_paths(mesh):
    """A pair enters its source once and leaves it once: shares at both ends sum to 1 or to 0.3."""
    net = mesh.network
    shares = link_shares(net, mesh.trace, 1.5 * knee(net, mesh.trace))
    assert shares.shape == (len(mesh.trace.commodities), len(net.links))
    for row, ends in zip(shares, mesh.trace.commodities, strict=True):
        for end in ends:
            total = row[(net.links == end).any(axis=1)].sum()
            assert total == pytest.approx(1.0, abs=1e-5) or total == pytest.approx(0.3)


@pytest.mark.parametrize("load", [0.0, -1.0, np.nan, np.inf])
def test_bad_load_is_refused(load):
    with pytest.raises(InputError, match="load_hz"):
        link_shares(network([(0, 1)]), trace([(0, 1)]), load)


def best_by_enumeration(net, source, target, fidelity):
    """Fewest hops, then highest fidelity, then lowest node numbers, among all simple paths."""
    number = {tuple(link): i for i, link in enumerate(net.links.tolist())}
    fresh = correlators(net.populations)
    graph = nx.Graph(net.links.tolist())
    ranked = []
    for path in nx.all_simple_paths(graph, source, target):
        links = [number[min(a, b), max(a, b)] for a, b in itertools.pairwise(path)]
        value = (1 + np.prod(fresh[links], axis=0).sum()) / 4
        if value >= fidelity - 1e-9 and all(net.swap_hz[v] > 0 for v in path[1:-1]):
            ranked.append((len(links), -round(value, 11), path, links))
    return min(ranked, default=None)


@pytest.mark.parametrize("seed", range(12))
def test_shortest_paths_against_enumeration(seed):
    """Half of the networks have equal links, so that ties are decided by node numbers."""
    rng = np.random.default_rng(seed)
    graph = nx.connected_watts_strogatz_graph(9, 4, 0.3, seed=seed)
    levels = [0.95] if seed % 2 else [0.9, 0.93, 0.97]
    net = network(
        [tuple(sorted(link)) for link in graph.edges],
        fidelity=rng.choice(levels, graph.number_of_edges()),
        swaps=rng.choice([0.0, 1.0, 1.0, 1.0], 9),
    )
    pairs = list(itertools.permutations(range(9), 2))
    commodity = np.repeat(np.arange(len(pairs)), 2)
    fidelity = np.tile([0.8, 0.9], len(pairs))
    links, nodes = shortest_paths(scenario(net, trace(pairs)), commodity, fidelity)
    for row, (k, wanted) in enumerate(zip(commodity, fidelity, strict=True)):
        best = best_by_enumeration(net, *pairs[k], wanted)
        got_links = [x for x in links[row].tolist() if x >= 0]
        got_nodes = [x for x in nodes[row].tolist() if x >= 0]
        if best is None:
            assert got_links == []
        else:
            assert got_links == best[3]
            assert got_nodes == best[2][1:-1]


def test_shortest_paths_of_no_classes_and_with_distillation():
    net = network([(0, 1), (1, 2)], fidelity=0.85)
    world = scenario(net, trace([(0, 2)]))
    none = np.zeros(0, dtype=np.int64)
    assert [a.shape for a in shortest_paths(world, none, none.astype(float))] == [(0, 1), (0, 1)]
    one, high = np.array([0]), np.array([0.75])
    assert shortest_paths(world, one, high)[0].tolist() == [[-1]]
    links, nodes = shortest_paths(world, one, high, max_rounds=1)
    assert links.tolist() == [[0, 1]]
    assert nodes.tolist() == [[1]]


def test_infeasible_row_beside_a_longer_one_is_empty():
    net = network([(0, 1), (1, 2)])
    links, nodes = shortest_paths(
        scenario(net, trace([(0, 2)])), np.array([0, 0]), np.array([0.75, 0.99])
    )
    assert links.tolist() == [[0, 1], [-1, -1]]
    assert nodes.tolist() == [[1], [-1]]
