"""Q-CAST, Q-PASS and greedy multipath: sound, slotted, and as their papers say."""

import itertools

import networkx as nx
import numpy as np
import pytest

from controller.game import alone_of, play, player_of, prepare
from controller.rivals import pant, q_cast, q_pass
from controller.rivals.allocator import find
from controller.rivals.on_demand import plain
from controller.rivals.slotted.making import Settings, creation_rate, protocol_of
from controller.rivals.slotted.state import ONLINE, REALISED, budget, new_round
from controller.rivals.slotted.swapping import swap_greedily
from quantum.bell import werner
from quantum.demand import Trace
from quantum.errors import InputError
from quantum.ledger import new_ledger, open_slot
from quantum.ledger.places import is_sound, put
from quantum.network import Network
from quantum.presets import build, run_cell
from quantum.program import Gates, Memory
from quantum.scenario import Scenario
from quantum.topology import load_topology
from quantum.traffic import make_trace

UNCACHED = ("q-cast", "q-pass", "pant")
NAMES = (*UNCACHED, *(f"{name}-cached" for name in UNCACHED))


@pytest.fixture(scope="module")
def mesh():
    """The first network of the paper preset at 60 pairs/s, for 8 s."""
    return prepare(build(run_cell(load_hz=60.0), 0, seconds=6.0, warmup_s=2.0))


@pytest.mark.parametrize("name", NAMES)
def test_allocators_are_found_by_name(name):
    found = find(name)
    assert (found.name, found.central, found.plays_alone) == (name, True, True)
    assert found.sentence.endswith(".") and found.paper
    for lever, values in found.levers.items():
        for value in values:
            assert found.make(**{lever: value}).name == name


@pytest.mark.parametrize("name", NAMES)
def test_books_are_kept_and_rounds_forget(name, mesh):
    """Conservation in every slot; without a cache no pair is older than the round."""
    world, allocator = mesh.world, find(name)
    ledger, player = new_ledger(world), player_of(mesh, allocator)
    slots = round(allocator.make().history_s / world.slot_s)
    kept = 0
    for stop in range(1, 201):
        player(ledger, stop)
        assert is_sound(world, ledger)
        stored = ledger.pair.birth[ledger.pair.u >= 0]
        if name in UNCACHED:
            assert np.all(stored >= (stop - 1) // slots * slots)
            if stop % slots == 0:
                assert len(stored) == 0
        kept = max(kept, len(stored))
    assert kept > 0


@pytest.mark.parametrize("name", NAMES)
def test_below_the_bound_and_twice_the_same(name, mesh):
    first, again = (play(mesh, find(name), with_losses=False) for _ in range(2))
    assert first == again
    assert 0.15 * mesh.bound < first.score.pairs_delivered <= mesh.bound + 1e-6
    assert first.fidelity > 0.75


def test_playing_in_parts_changes_nothing(mesh):
    whole, parts = new_ledger(mesh.world, events=0), new_ledger(mesh.world, events=0)
    player_of(mesh, q_cast.allocator)(whole, 300)
    player = player_of(mesh, q_cast.allocator)
    for stop in (1, 13, 14, 120, 300):
        player(parts, stop)
    for name in ("now", "node", "link", "pair", "request"):
        assert np.array_equal(getattr(whole, name), getattr(parts, name))


def test_cached_forms_are_no_straw_men(mesh):
    """Keeping pairs pays, and brings every one above always-on generation."""
    got = {
        name: play(mesh, find(name), with_losses=False).score.delivery_rate
        for name in (*NAMES, "on-demand", "uniform")
    }
    for name in UNCACHED:
        assert got["on-demand"] < got[name] < got[f"{name}-cached"]
        assert got["uniform"] < got[f"{name}-cached"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("topology", ["line-1", "line-2", "star-4"])
def test_small_networks_are_played(name, topology):
    network = load_topology(topology, seed=0)
    trace = make_trace(
        "poisson", network, load_hz=4.0, deadline_s=1.0, seed=0, network_seed=0, duration_s=2.0
    )
    of = Scenario(network=network, trace=trace, seed=0, seconds=2.0, warmup_s=0.0)
    game = prepare(of)
    result = play(game, find(name))
    assert result.score.pairs_delivered <= game.bound + 1e-6
    assert 0.0 <= result.contention_loss <= 1.0


def scenario(links, n, requests, *, generation=5.0, swaps=50.0, qubits=12, q=1.0, seed=0):
    """Requests of (time, source, target, pairs, deadline) on links without loss or decay."""
    time_s, source, target, pairs, deadline = np.array(requests, float).reshape(-1, 5).T
    ends = np.stack([source, target], axis=1).astype(np.int64)
    links = np.array(sorted(links), dtype=np.int64).reshape(-1, 2)
    network = Network(
        name="test",
        nodes=tuple(f"n{i}" for i in range(n)),
        position_km=np.zeros((n, 2)),
        links=links,
        length_km=np.ones(len(links)),
        populations=werner(np.ones(len(links))),
        generation_hz=np.full(n, float(generation)),
        swap_hz=np.full(n, float(swaps)),
        qubits=np.full(n, qubits),
        memory=Memory(),
        cutoff_s=2.0,
        gates=Gates(success=q),
    )
    trace = Trace(
        name="test",
        commodities=ends,
        weights=np.full(len(ends), 1.0 / max(1, len(ends))),
        load_hz=1.0,
        time_s=time_s,
        commodity=np.arange(len(ends)),
        pairs=pairs.astype(np.int64),
        minimum_fidelity=np.full(len(ends), 0.5),
        deadline_s=deadline,
        told_s=time_s,
    )
    seconds = float(time_s.max(initial=1.0)) + 1.0
    return Scenario(
        network=network, trace=trace, seed=seed, seconds=seconds, warmup_s=0.0, test_share=0.0
    )


def delivered(of, allocator):
    game = prepare(of)
    result = play(game, allocator, with_losses=False)
    assert result.score.pairs_delivered <= game.bound + 1e-6
    return result.score.pairs_delivered


@pytest.mark.parametrize("name", NAMES)
def test_no_requests_and_no_way(name):
    assert delivered(scenario([(0, 1)], 3, []), find(name)) == 0
    assert delivered(scenario([(0, 1)], 4, [(0.1, 0, 3, 4, 1.0)]), find(name)) == 0


@pytest.mark.parametrize("name", NAMES)
def test_a_request_alone_has_no_contention_loss(name):
    game = prepare(scenario([(0, 1), (1, 2)], 3, [(2.5, 0, 2, 4, 1.5)], generation=3.0, seed=3))
    allocator = find(name)
    ledger = new_ledger(game.world)
    player_of(game, allocator)(ledger, game.world.horizon)
    alone = alone_of(game, allocator)(np.zeros(1, np.int64))
    assert alone[0] == ledger.request.good[0] > 0


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"round_s": 0.0}, "round_s"),
        ({"round_s": float("nan")}, "round_s"),
        ({"thrift": 1.0}, "thrift"),
        ({"reach": -1.0}, "reach"),
        ({"detour": 1.5}, "detour"),
        ({"fill": 0.0}, "fill"),
        ({"metric": 3.0}, "metric"),
    ],
)
def test_bad_settings_name_the_field(wrong, field):
    with pytest.raises(InputError, match=field):
        Settings(**{"kind": ONLINE, "cached": True, "round_s": 0.5, **wrong})


def waxman(seed, *, n=40, pairs=8, rounds=30, q=0.9):
    """The setting of Shi and Qian made small: degree 6, q = 0.9, 10 qubits, requests each round.

    A node has as many tokens in a round of 0.5 s as give a link in the middle of one path a pair
    with probability 0.6.
    """
    rng = np.random.default_rng(seed)
    place = rng.uniform(0.0, 1.0, (n, 2))
    far = np.linalg.norm(place[:, None] - place[None], axis=-1)
    near = sorted((far[a, b], a, b) for a, b in itertools.combinations(range(n), 2))
    graph = nx.Graph((a, b) for _, a, b in near[: 3 * n])
    joined = [sorted(part) for part in nx.connected_components(graph)]
    graph.add_edges_from((one[0], two[0]) for one, two in itertools.pairwise(joined))
    graph.add_edges_from((node, (node + 1) % n) for node in range(n) if node not in graph)
    links = [tuple(sorted(edge)) for edge in graph.edges]
    requests = []
    for turn in range(rounds):
        for _ in range(pairs):
            a, b = rng.choice(n, 2, replace=False)
            requests.append((0.5 * turn + 0.46, a, b, 4, 0.53))
    rate = -np.log(1.0 - 0.6) / 0.5
    return scenario(links, n, sorted(requests), generation=rate * 2.0, qubits=10, q=q, seed=seed)


@pytest.fixture(scope="module")
def networks():
    return [prepare(waxman(seed)) for seed in range(4)]


def total(games, allocator):
    return sum(play(game, allocator, with_losses=False).score.pairs_delivered for game in games)


def test_q_cast_above_greedy_multipath_above_one_shortest_path(networks):
    """Shi and Qian, p = 0.6 and q = 0.9: Q-CAST before greedy and single shortest paths."""
    cast, greedy = total(networks, q_cast.make(0.5)), total(networks, pant.make(0.5))
    chosen = total(networks, q_pass.make(0.5))
    single = total(networks, q_pass.make(0.5, paths=1.0, metric=0.0, reach=0.0))
    assert cast > 1.05 * greedy
    assert cast > 1.15 * single
    assert cast >= 0.97 * chosen
    assert greedy > 1.05 * single


def test_recovery_paths_help(networks):
    """Q-CAST above Q-CAST without recovery, as in the paper's figures."""
    assert total(networks, q_cast.make(0.5)) > total(networks, q_cast.make(0.5, reach=0.0))


def test_throughput_grows_less_than_the_number_of_pairs():
    few, many = (prepare(waxman(7, pairs=pairs)) for pairs in (3, 12))
    one, four = (total([game], q_cast.make(0.5)) for game in (few, many))
    assert 1.2 * one < four < 3.0 * one


def test_throughput_falls_with_the_chance_of_a_swap():
    sure, unsure = (total([prepare(waxman(5, q=q))], q_cast.make(0.5)) for q in (1.0, 0.7))
    assert unsure < 0.9 * sure


def test_creation_rate_by_hand():
    world = prepare(scenario([(0, 1)], 2, [], generation=5.0)).world
    np.testing.assert_allclose(creation_rate(world, 10), 1.0 - np.exp(-0.2 * 5.0))


SIDE = 6
GRID = nx.grid_2d_graph(SIDE, SIDE)


def grid_game(source, target):
    """A grid on which one pair of users wants more than there is."""
    of = [SIDE * x + y for x, y in (source, target)]
    links = [tuple(sorted((SIDE * a + b, SIDE * c + d))) for (a, b), (c, d) in GRID.edges]
    return prepare(scenario(links, SIDE * SIDE, [(0.0, *of, 100, 1.0)], swaps=1000.0))


def swapped(game, edges):
    """Pairs that the greedy algorithm makes of realised edges."""
    world = game.world
    ledger = new_ledger(world, delay_slots=np.zeros(1, np.int64), events=0)
    settings = Settings(kind=REALISED, cached=False, round_s=0.02)
    plan = protocol_of(settings, world, plain(game.scenario, game.plan, fill=0))
    open_slot(world, ledger, plan.rule)
    ledger.now.clock = 1
    open_slot(world, ledger, plan.rule)
    state = new_round(world)
    budget(world, ledger, state, plan)
    for edge in edges:
        put(world, ledger, edge, 0)
    swap_greedily(world, ledger, state, plan, True)
    return int(ledger.request.good[0])


def greedy_reference(edges, source, target, most):
    """Remove shortest paths of at most so many edges until there is none."""
    graph, count = nx.Graph(edges), 0
    graph.add_nodes_from((source, target))
    while nx.has_path(graph, source, target):
        path = nx.shortest_path(graph, source, target)
        if len(path) > most + 1:
            break
        graph.remove_edges_from(itertools.pairwise(path))
        count += 1
    return count


def local_rule(edges, source, target):
    """Pant et al., local rule: a repeater joins its pairs to the neighbours nearest to each user.

    First the two best, then the two that are left; a user's pairs are followed to their ends.
    """
    graph = nx.Graph(edges)
    graph.add_nodes_from((source, target))

    def far(node, user):
        return np.hypot(node[0] - user[0], node[1] - user[1])

    partner = {}
    for node in graph:
        if node in (source, target):
            continue
        left = set(graph[node])
        while len(left) >= 2:
            one = min(left, key=lambda v: (far(v, source), v))
            other = min(left - {one}, key=lambda v: (far(v, target), v))
            partner[node, one], partner[node, other] = other, one
            left -= {one, other}
    count = 0
    for start in graph[source]:
        before, node = source, start
        while (node, before) in partner and node != target:
            before, node = node, partner[node, before]
        count += node == target
    return count


def test_greedy_multipath_of_pant():
    """Pant et al., made small: 6 by 6, p = 0.7, ideal swaps, 150 realised grids.

    Many paths beat one chain of repeaters, the more so the farther the users; the rule for local
    knowledge is between them and global knowledge.
    """
    rng, edges = np.random.default_rng(11), np.array(sorted(GRID.edges))
    rates = {}
    for distance in (2, 4):
        source, target = (1, 1), (1 + distance // 2, 1 + distance // 2)
        game = grid_game(source, target)
        number = {
            (int(a), int(b)): i
            for i, (a, b) in enumerate(zip(game.world.link.a, game.world.link.b, strict=True))
        }
        everywhere, nearby, reference = 0, 0, 0
        for _ in range(150):
            up = edges[rng.random(len(edges)) < 0.7]
            here = [(tuple(a), tuple(b)) for a, b in up.tolist()]
            places = [
                number[tuple(sorted((SIDE * a + b, SIDE * c + d)))] for (a, b), (c, d) in here
            ]
            got = swapped(game, places)
            count = greedy_reference(here, source, target, distance + 4)
            assert (got > 0) == (count > 0)
            everywhere, reference = everywhere + got, reference + count
            nearby += local_rule(here, source, target)
        # Ties between equally short paths are broken otherwise, which changes the rest.
        assert abs(everywhere - reference) <= 0.03 * reference
        rates[distance] = (everywhere / 150, nearby / 150, 0.7**distance)
    for whole, local, chain in rates.values():
        assert whole > local > chain
        assert whole > 2.0 * chain
    # Flatter in the distance than the chain.
    assert rates[4][0] / rates[2][0] > 1.5 * rates[4][2] / rates[2][2]


def test_many_flows_share_better_than_they_take_turns():
    """Pant et al.: two pairs of users at once get more than half of each alone, summed."""

    def requests(flows):
        return [(0.5 * t + 0.46, *flow, 4, 0.53) for t in range(30) for flow in flows]

    links = [tuple(sorted((SIDE * a + b, SIDE * c + d))) for (a, b), (c, d) in GRID.edges]
    flows = [(0, 3), (30, 33)]
    of = [
        delivered(scenario(links, SIDE * SIDE, requests(which), generation=4.0), pant.make(0.5))
        for which in (flows[:1], flows[1:], flows)
    ]
    assert of[2] > 1.3 * 0.5 * (of[0] + of[1])
