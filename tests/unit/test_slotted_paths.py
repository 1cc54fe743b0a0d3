"""Paths of slotted protocols: expected pairs, searches, candidates and mending, by reference."""

import itertools

import networkx as nx
import numpy as np
import pytest
from scipy.stats import binom, poisson

from controller.rivals.slotted.candidates import candidates, no_candidates, shortest_loopless
from controller.rivals.slotted.channels import WIDTH, at_least, expected_throughput
from controller.rivals.slotted.commit import commit_paths, commit_recoveries
from controller.rivals.slotted.search import best_path
from controller.rivals.slotted.state import OFFLINE, ONLINE, Protocol, budget, new_round
from controller.rivals.slotted.swapping import mend
from quantum.bell import werner
from quantum.demand import Trace
from quantum.ledger import Rule, new_ledger, new_world, no_paths, open_slot
from quantum.ledger.places import put
from quantum.ledger.state import MAX_HOPS
from quantum.network import Network
from quantum.program import Gates, Memory
from quantum.scenario import Scenario


def world_of(links, n, ends, *, rng=None, success=1.0, pairs=4, fidelity=0.3, qubits=12):
    """Build a world whose requests, one for each of ``ends``, come at once and wait a second."""
    rng = rng or np.random.default_rng(0)
    links = np.array(sorted(links), dtype=np.int64).reshape(-1, 2)
    network = Network(
        name="test",
        nodes=tuple(f"n{i}" for i in range(n)),
        position_km=np.zeros((n, 2)),
        links=links,
        length_km=rng.uniform(1.0, 9.0, len(links)),
        populations=werner(np.full(len(links), 1.0)),
        generation_hz=rng.uniform(2.0, 20.0, n),
        swap_hz=rng.uniform(1.0, 6.0, n),
        qubits=np.full(n, qubits),
        memory=Memory(),
        cutoff_s=1.0,
        gates=Gates(success=success),
    )
    size = len(ends)
    trace = Trace(
        name="test",
        commodities=np.array(ends, dtype=np.int64).reshape(-1, 2),
        weights=np.full(size, 1.0 / size),
        load_hz=1.0,
        time_s=np.zeros(size),
        commodity=np.arange(size),
        pairs=np.full(size, pairs),
        minimum_fidelity=np.full(size, fidelity),
        deadline_s=np.ones(size),
        told_s=np.zeros(size),
    )
    of = Scenario(network=network, trace=trace, seed=1, seconds=1.0, warmup_s=0.0, test_share=0.0)
    return new_world(of, paths=no_paths)


def protocol(world, kind=ONLINE, **more):
    values = {"round_slots": 10, "cached": 1, "early": 1, "reach": 0, "metric": 1, "detour": 4}
    rule = Rule(fill=0, complete=0, targets=np.zeros(world.m))
    return Protocol(**{**values, "kind": kind, "thrift": 0.0, "rule": rule, "better": rule, **more})


def begun(world, plan, stock=()):
    """Begin the first round: pairs in stock, requests known, nothing committed."""
    ledger, state = new_ledger(world), new_round(world)
    for number, count in enumerate(stock):
        for _ in range(count):
            put(world, ledger, number, 0)
    ledger.now.clock = 10
    open_slot(world, ledger, plan.rule)
    budget(world, ledger, state, plan)
    return ledger, state


def mesh(rng, n=7, links=12):
    possible = list(itertools.combinations(range(n), 2))
    chosen = rng.choice(len(possible), links, replace=False)
    return [possible[i] for i in chosen]


def paper_recursion(width, chances, q):
    """As the paper has it: P_i^k = P_i^(k-1) sum_{l>=i} Q_l^k + Q_i^k sum_{l>i} P_l^(k-1)."""
    q_k = [[binom.pmf(i, width, p) for i in range(width + 1)] for p in chances]
    now = q_k[0]
    for row in q_k[1:]:
        now = [now[i] * sum(row[i:]) + row[i] * sum(now[i + 1 :]) for i in range(width + 1)]
    return q ** (len(chances) - 1) * sum(i * now[i] for i in range(width + 1))


@pytest.mark.parametrize("width", [1, 2, 4])
def test_expected_throughput_is_the_recursion_of_the_paper(width):
    chances = [0.6, 0.3, 0.9]
    table = np.array([[binom.sf(i, width, p) for i in range(width)] for p in chances])
    assert expected_throughput(table, 0.9) == pytest.approx(paper_recursion(width, chances, 0.9))


def test_expected_throughput_of_the_paper_by_monte_carlo():
    """Three links, width 3, p = 0.6, q = 0.9; 200,000 rounds."""
    rng = np.random.default_rng(5)
    pairs = rng.binomial(3, 0.6, (200_000, 3)).min(axis=1)
    got = rng.binomial(pairs, 0.9**2)
    expected = paper_recursion(3, [0.6] * 3, 0.9)
    assert abs(got.mean() - expected) < 5 * got.std() / np.sqrt(len(got))


def test_chance_of_pairs_beside_stock():
    for stock, mean, count in itertools.product(range(4), (0.0, 0.3, 2.5), range(1, 6)):
        chance = poisson.sf(count - stock - 1, mean)
        assert at_least(stock, mean, count) == pytest.approx(chance, abs=1e-12)


def simple_paths(world, source, target, most):
    graph = nx.Graph()
    for number, (a, b) in enumerate(zip(world.link.a, world.link.b, strict=True)):
        graph.add_edge(int(a), int(b), number=number)
    if source not in graph or target not in graph:
        return []
    return list(nx.all_simple_paths(graph, source, target, cutoff=most))


def value_of(world, ledger, path, wide, slots=10):
    """EXT of a path of nodes that has the network for itself, by its definition."""
    number = {
        frozenset((int(a), int(b))): i
        for i, (a, b) in enumerate(zip(world.link.a, world.link.b, strict=True))
    }
    inner = path[1:-1]
    level = ledger.node.swap_tokens + world.node.swap_rate * (slots - 1)
    for node in inner:
        wide = min(wide, world.node.qubits[node] // 2, int(level[node]))
    tails = np.ones(max(wide, 0))
    for u, v in itertools.pairwise(path):
        mean = sum(world.node.generation[x] * slots * (0.5 if x in inner else 1.0) for x in (u, v))
        stock = ledger.link.stock[number[frozenset((u, v))]]
        tails *= [poisson.sf(i - stock, mean) if i >= stock else 1.0 for i in range(len(tails))]
    return float(tails.sum()) * world.swap_success ** len(inner)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("wide", [1, 4])
def test_best_path_against_all_paths(seed, wide):
    """Width 1: the optimum. Wider: its own EXT, and near the optimum (labels keep one number)."""
    rng = np.random.default_rng(seed)
    world = world_of(mesh(rng), 7, [(0, 6)], rng=rng, success=0.9)
    plan = protocol(world)
    ledger, state = begun(world, plan, rng.integers(0, 2, world.m))
    most = int(world.cls.hops[0])
    score, length = best_path(world, state, plan, 0, 6, 0, most, wide, 1.0, -1)
    values = {
        tuple(path): value_of(world, ledger, path, wide) for path in simple_paths(world, 0, 6, most)
    }
    best = max(values.values(), default=0.0)
    if length == 0:
        assert best == 0.0
        return
    nodes = [6]
    for number in state.chain[:length]:
        a, b = world.link[number].a, world.link[number].b
        nodes.append(int(a if b == nodes[-1] else b))
    assert score == pytest.approx(values[tuple(reversed(nodes))])
    assert score == pytest.approx(state.tail.sum() * 0.9 ** (length - 1))
    assert score == pytest.approx(best) if wide == 1 else score >= 0.97 * best


def test_a_path_that_misses_the_fidelity_is_no_path():
    world = world_of([(0, 1), (1, 2)], 3, [(0, 2)], fidelity=0.9)
    world.truth[:] = 0.94  # correlators; 0.94^2 = 0.88 gives a fidelity of 0.91
    plan = protocol(world, round_slots=1)
    assert best_path(world, begun(world, plan)[1], plan, 0, 2, 0, 2, 1, 1.0, -1)[1] == 2
    world.truth[:] = 0.92
    assert best_path(world, begun(world, plan)[1], plan, 0, 2, 0, 2, 1, 1.0, -1)[1] == 0


@pytest.mark.parametrize("seed", range(10))
def test_candidates_are_those_of_networkx(seed):
    rng = np.random.default_rng(seed)
    world = world_of(mesh(rng, 8, 15), 8, [(0, 7), (1, 5)], rng=rng)
    cost = rng.uniform(0.5, 2.0, world.m)
    graph = nx.Graph()
    for number, (a, b) in enumerate(zip(world.link.a, world.link.b, strict=True)):
        graph.add_edge(int(a), int(b), number=number, cost=cost[number])
    for row in range(2):
        source, target = int(world.cls.a[row]), int(world.cls.b[row])
        most = 5
        links = np.full((9, MAX_HOPS), -1, np.int64)
        length, total = np.zeros(9, np.int64), np.zeros(9)
        distance = world.distance[world.cls.row[row]]
        count = shortest_loopless(world, cost, distance, source, target, most, links, length, total)
        known = source in graph and target in graph and nx.has_path(graph, source, target)
        ordered = nx.shortest_simple_paths(graph, source, target, "cost") if known else ()
        wanted = [path for path in ordered if len(path) <= most + 1][:9]
        assert count == len(wanted)
        for k, path in enumerate(wanted):
            steps = [graph.edges[edge]["number"] for edge in itertools.pairwise(path)]
            assert links[k, : length[k]].tolist() == steps
            assert total[k] == pytest.approx(sum(cost[steps]))
            assert (links[k, length[k] :] == -1).all()


@pytest.mark.parametrize("kind", [ONLINE, OFFLINE])
@pytest.mark.parametrize("seed", range(4))
def test_commitments_are_greedy_and_within_what_is_there(kind, seed):
    """After k paths, the next one is the best of all requests: values found earlier do not lie."""
    rng = np.random.default_rng(seed)
    world = world_of(mesh(rng, 8, 16), 8, [(0, 7), (1, 6), (2, 5), (0, 5)], rng=rng, success=0.9)
    plan = protocol(world, kind)
    found = no_candidates(len(world.cls))
    if kind == OFFLINE:
        found = candidates(world, np.ones(world.m), 8, 4)
    stock = rng.integers(0, 2, world.m)
    _, whole = begun(world, plan, stock)
    commit_paths(world, whole, plan, found)
    count = int(whole.now[0].paths)
    assert count >= 2
    assert whole.node.room.min() >= 0
    assert whole.node.swaps.min() >= 0.0
    assert whole.node.tokens.min() >= 0.0
    assert whole.link.stock.min() >= 0
    for k in range(count if kind == ONLINE else 0):
        _, part = begun(world, plan, stock)
        part = part._replace(path=part.path[:k])
        commit_paths(world, part, plan, found)
        best, links = 0.0, None
        for entry in part.entry[: part.now[0].entries]:
            if entry.want <= 0.0:
                continue
            row = world.cls[world.request[entry.request].cls]
            wide = min(WIDTH, int(np.ceil(entry.want)))
            which = world.request[entry.request].cls
            most = min(int(row.hops), int(world.distance[row.row, row.a]) + 4)
            score, length = best_path(world, part, plan, row.a, row.b, which, most, wide, 1.0, -1)
            if score > best + 1e-12:
                best, links = score, part.chain[:length].tolist()
        path = whole.path[k]
        assert path.links[: path.length].tolist() == links


def test_recovery_paths_avoid_the_links_they_bridge():
    ladder = [(0, 1), (1, 2), (2, 3), (4, 5), (5, 6), (6, 7), (0, 4), (1, 5), (2, 6), (3, 7)]
    world = world_of(ladder, 8, [(0, 3)], qubits=40, pairs=1)
    plan = protocol(world, reach=2)
    _, state = begun(world, plan)
    commit_paths(world, state, plan, no_candidates(1))
    commit_recoveries(world, state, plan)
    assert state.now[0].recoveries > 0
    for around in state.recovery[: state.now[0].recoveries]:
        path = state.path[around.path]
        assert around.last - around.first <= 2
        assert not set(around.links[: around.length]) & set(path.links[: path.length])
    assert state.node.room.min() >= 0
    assert state.node.swaps.min() >= 0.0


#: A line 0-1-2-3-4, and detours between nodes of it: (from, to) by way of a node of their own.
DETOURS = {5: (0, 1), 6: (1, 3), 7: (0, 2), 8: (2, 4), 9: (3, 4)}


@pytest.fixture(scope="module")
def detoured():
    line = [(0, 1), (1, 2), (2, 3), (3, 4)]
    links = sorted(line + [(end, via) for via, ends in DETOURS.items() for end in ends])
    return links, world_of(links, 10, [(0, 4)], qubits=40)


@pytest.mark.parametrize("seed", range(60))
def test_mending_is_the_exclusive_or_with_rings(detoured, seed):
    """Any sum of the path with rings of working detours that joins the ends, and no other."""
    links, world = detoured
    number = {frozenset(link): i for i, link in enumerate(links)}
    main = [number[frozenset((i, i + 1))] for i in range(4)]
    rings = []
    plan = protocol(world, reach=3)
    working = np.random.default_rng(seed).random(world.m) < 0.6
    ledger, state = begun(world, plan, working.astype(int))
    state.now.paths = 1
    state.path[0].request, state.path[0].length = 0, 4
    state.path[0].links[:4] = main[::-1]  # destination first
    for spot, (via, (a, b)) in enumerate(DETOURS.items()):
        around = state.recovery[spot]
        around.first, around.last, around.length = 4 - b, 4 - a, 2
        detour = [number[frozenset((b, via))], number[frozenset((via, a))]]
        around.links[:2] = detour
        if working[detour].all():
            rings.append({*detour, *main[a:b]})
    state.now.recoveries = len(DETOURS)
    best = 0
    for size in range(len(rings) + 1):
        for chosen in itertools.combinations(rings, size):
            joined = set(main)
            for ring in chosen:
                joined ^= ring
            graph = nx.Graph(links[i] for i in joined if working[i])
            if 0 in graph and 4 in graph and nx.has_path(graph, 0, 4):
                hops = nx.shortest_path_length(graph, 0, 4)
                best = hops if best == 0 else min(best, hops)
    length = mend(world, ledger, state, 0)
    assert length == best
    node = 4
    for link in ledger.chain[:length]:
        assert working[link]
        a, b = links[link]
        node = a if b == node else b
    assert node == 0 or length == 0
