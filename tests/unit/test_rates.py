"""Rivals by mean rates, by learning, by programs, by foresight: what their papers say of them."""

import dataclasses

import numpy as np
import pytest

from controller.game import play, player_of, prepare
from controller.rivals import adaptive_continuous, mcf_lp, mean_rate, mean_rate_plain, oracle, reps
from controller.rivals.allocator import find
from controller.rivals.on_demand import plain
from quantum.flows import link_shares, shortest_paths
from quantum.ledger import Rule, close_slot, new_ledger, open_slot
from quantum.ledger.places import is_sound, put
from quantum.ledger.shares import begin_shares, claim_share, end_shares
from quantum.network import Network
from quantum.presets import Cell, build, run_cell
from quantum.program import Gates, Memory
from quantum.scenario import Scenario
from quantum.topology import load_topology
from quantum.traffic import make_trace

NAMES = (
    "mean-rate-plain",
    "mean-rate",
    "adaptive-continuous",
    "mcf-lp",
    "oracle",
    "reps",
    "reps-cached",
)


def scenario(topology, *, load_hz, seconds, seed=0, deadline_s=1.0, demand="poisson", **changes):
    """A small network with its own resources."""
    network = dataclasses.replace(load_topology(topology, seed=0), **changes)
    trace = make_trace(
        demand,
        network,
        load_hz=load_hz,
        deadline_s=deadline_s,
        seed=seed,
        network_seed=0,
        duration_s=seconds + 2.0,
        fidelities=(0.6,),
    )
    return Scenario(network=network, trace=trace, seed=seed, seconds=seconds, warmup_s=2.0)


def tight(seed, *, demand="scheduled", number=4, qubits=4, load=0.9, seconds=20.0):
    """A cell of the fast preset on a training network whose knee is near 40 pairs/s."""
    cell = Cell(
        preset="fast",
        topology="mesh",
        demand=demand,
        deadline_s=0.1,
        cutoff_s=0.5,
        qubits=qubits,
        load_hz=load * 40.0,
    )
    return build(cell, seed, seconds=seconds, warmup_s=4.0, number=number)


@pytest.fixture(scope="module")
def tight_games():
    return [prepare(tight(1000 + number, number=number)) for number in (4, 5)]


def delivered(game, allocator):
    return play(game, allocator, with_losses=False).score.pairs_delivered


@pytest.mark.parametrize("name", NAMES)
def test_every_rival_is_sound_and_below_the_bound(name):
    game = prepare(scenario("geometric-12", load_hz=8.0, seconds=6.0))
    allocator = find(name)
    assert allocator.name == name and allocator.paper and allocator.make is not None
    ledger = new_ledger(game.world, events=8192)
    player = player_of(game, allocator)
    for stop in range(37, game.world.horizon + 37, 37):
        player(ledger, min(stop, game.world.horizon))
        assert is_sound(game.world, ledger)
    result = play(game, allocator)
    assert 0 < result.score.pairs_delivered <= game.bound + 1e-6
    assert 0.0 <= result.contention_loss <= 1.0
    assert result == play(game, allocator)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("topology", ["line-1", "line-2"])
def test_every_rival_plays_the_smallest_networks(name, topology):
    result = play(prepare(scenario(topology, load_hz=4.0, seconds=2.0)), find(name))
    assert (result.score.pairs_delivered > 0) == (topology == "line-2")


@pytest.mark.parametrize("name", NAMES)
def test_every_lever_can_be_moved(name):
    """And the first value that is not the default is another allocator."""
    game = prepare(scenario("line-3", load_hz=4.0, seconds=1.0))
    allocator = find(name)
    for lever, values in allocator.levers.items():
        for value in values:
            other = allocator.make(**{lever: value})
            assert other.name == name
            assert isinstance(other(game.scenario, game.plan), Rule)


def test_tuned_mean_rate_beats_the_plain_one(tight_games):
    """Prototypes: +6 % over all cells; far more where memory is tight."""
    tuned, basic = (sum(delivered(g, find(n)) for g in tight_games) for n in NAMES[1::-1])
    assert tuned > 1.1 * basic


@pytest.mark.parametrize(
    ("without", "least"),
    [({"evict": 1e18}, 1.08), ({"complete": 0.0}, 1.05), ({"complete": 1.0}, 1.0)],
    ids=["eviction", "completing paths", "planning together"],
)
def test_the_large_levers_of_mean_rate_pay(without, least, tight_games):
    """Each alone, with the others as they are."""
    with_it = sum(delivered(g, mean_rate.make()) for g in tight_games)
    assert with_it > least * sum(delivered(g, mean_rate.make(**without)) for g in tight_games)


def test_plain_targets_are_a_cutoff_of_the_flows_at_the_actual_load():
    of = scenario("geometric-12", load_hz=5.0, seconds=4.0)
    game = prepare(of)
    rule = mean_rate_plain.make()(of, game.plan)
    flows = of.trace.weights @ link_shares(of.network, of.trace, 5.0)
    np.testing.assert_allclose(rule.targets, 5.0 * of.network.cutoff_s * flows)
    assert rule.complete == 0 and rule.evict > 1e17 and rule.inverse == rule.scarce == 0.0


def test_stock_scales_without_its_reserve():
    plan = prepare(scenario("geometric-12", load_hz=5.0, seconds=4.0)).plan
    np.testing.assert_allclose(mean_rate.stock_of(plan), plan.mean_targets)
    double = mean_rate.stock_of(plan, stock_s=2.0, reserve=1.0)
    np.testing.assert_allclose(double - 1.0, 2.0 * (plan.mean_targets - 0.3), atol=1e-12)


def diamond():
    """Two ways of two links from node 0 to node 3; each middle has two swap tokens and no more."""
    links = np.array([[0, 1], [0, 2], [1, 3], [2, 3]])
    return Network(
        name="diamond",
        nodes=("a", "b", "c", "d"),
        position_km=np.array([[0.0, 0.0], [1.0, 1.0], [1.0, -1.0], [2.0, 0.0]]),
        links=links,
        length_km=np.ones(4),
        populations=np.tile([0.99, 0.01, 0.0, 0.0], (4, 1)),
        generation_hz=np.full(4, 50.0),
        swap_hz=np.full(4, 2.0),
        qubits=np.full(4, 20),
        memory=Memory(t1_s=3600.0, t2_s=60.0),
        cutoff_s=1.0,
        gates=Gates(),
    )


def test_claims_are_shared_out_by_whole_swap_tokens():
    """Six pairs by a deadline of .99 s: either middle can do 2 + 1 of them, so both get three."""
    network = diamond()
    trace = make_trace(
        "poisson",
        network,
        load_hz=4.0,
        deadline_s=1.0,
        seed=0,
        network_seed=0,
        duration_s=3.0,
        fidelities=(0.5,),
    )
    one = dataclasses.replace(
        trace,
        commodities=np.array([[0, 3]]),
        weights=np.ones(1),
        time_s=np.zeros(1),
        commodity=np.zeros(1, dtype=np.int64),
        pairs=np.array([6]),
        minimum_fidelity=np.array([0.5]),
        deadline_s=np.ones(1),
        told_s=np.zeros(1),
    )
    game = prepare(Scenario(network=network, trace=one, seed=0, seconds=2.0, warmup_s=0.0))
    ledger, rule = new_ledger(game.world), plain(game.scenario, game.plan, fill=0)
    for _ in range(2):
        open_slot(game.world, ledger, rule)
        close_slot(game.world, ledger)
    assert ledger.now[0].live == 1
    ledger.link.wanted = 0.0
    before = ledger.node.swap_tokens.copy()
    begin_shares(game.world, ledger)
    claim_share(game.world, ledger, rule, 0)
    end_shares(game.world, ledger)
    np.testing.assert_array_equal(ledger.link.wanted, [3.0, 3.0, 3.0, 3.0])
    np.testing.assert_array_equal(ledger.node.swap_tokens, before)


def test_probabilities_of_neighbours_stay_and_rise_as_published():
    """P_used += a (1 - P_used), the others fall in proportion, by hand on a star."""
    world = prepare(scenario("star-4", load_hz=2.0, seconds=1.0)).world
    chance = adaptive_continuous.even(world)
    hub = int(world.node.degree.argmax())
    np.testing.assert_allclose(chance[hub, :3], 1.0 / 3.0)
    ledger = new_ledger(world)
    event = ledger.event[:1]
    event.hops, event.links[0, 0] = 1, world.inc_link[hub, 1]
    adaptive_continuous.learn(world, event, chance, 0.1)
    np.testing.assert_allclose(chance[hub, :3], [0.3, 0.4, 0.3])
    for _ in range(200):
        adaptive_continuous.learn(world, event, chance, 0.1)
    np.testing.assert_allclose(chance[hub, :3], [0.0, 1.0, 0.0], atol=1e-6)


@pytest.mark.parametrize("full", [(), (1,), (0, 2)])
def test_neighbours_are_drawn_by_their_probability(full):
    chance, scores = np.array([0.5, 0.3, 0.2]), np.zeros(3)
    scores[list(full)] = -np.inf
    draws = (np.arange(1000) + 0.5) / 1000
    got = [adaptive_continuous.neighbour_of(chance, scores, 3, 0.4, u) for u in draws]
    want = np.where(scores == 0.0, 0.6 * chance + 0.4 / 3, 0.0)
    np.testing.assert_allclose(np.bincount(got, minlength=3) / 1000, want / want.sum(), atol=2e-3)


def test_adaptive_generation_serves_skewed_demand_faster_and_converges():
    """The published result: less time to serve than continuous generation that does not learn.

    One pair of nodes three links apart asks, three such pairs one after the other.
    """
    few = np.full(24, 5.0)
    of = scenario(
        "geometric-24",
        load_hz=3.0,
        seconds=60.0,
        generation_hz=few,
        swap_hz=few,
        qubits=np.full(24, 6),
        cutoff_s=1.0,
    )
    every = np.arange(len(of.trace.commodities))
    hops = (shortest_paths(of, every, np.full(len(every), 0.6))[0] >= 0).sum(axis=1)
    waits = {0.05: 0.0, 0.0: 0.0}
    for pair in np.flatnonzero(hops == 3)[:3]:
        trace = dataclasses.replace(
            of.trace,
            commodities=of.trace.commodities[[pair]],
            weights=np.ones(1),
            commodity=0 * of.trace.commodity,
        )
        game = prepare(dataclasses.replace(of, trace=trace))
        for rate in waits:
            learner = adaptive_continuous.make(rate=rate)
            waits[rate] += play(game, learner, with_losses=False).latency_ms
    assert waits[0.05] < 0.93 * waits[0.0]
    # The source of the last pair has neighbours on the way and others.
    world, chance = game.world, adaptive_continuous.even(game.world)
    ledger, rule = new_ledger(world), adaptive_continuous.make()(game.scenario, game.plan)
    adaptive_continuous.play_adaptive(
        world, ledger, rule._replace(fill=0), chance, 0.05, 0.0, world.horizon
    )
    source = trace.commodities[0, 0]
    np.testing.assert_allclose(chance.sum(axis=1), 1.0)
    degree = world.node.degree[source]
    assert chance[source].max() > 2.0 / degree
    assert chance[source, :degree].min() < 0.01


def test_program_of_the_past_only(tight_games):
    """Asked rates by hand; what comes later changes nothing."""
    world = tight_games[0].world
    ledger = new_ledger(world)
    ledger.now.clock = 500
    rate = mcf_lp.asked_hz(world, ledger, 4.0)
    seen = [
        (world.request.cls[r], world.request.pairs[r])
        for r in range(len(world.request))
        if 300 <= ledger.request.visible[r] < 500
    ]
    want = np.zeros(len(world.cls))
    for cls, pairs in seen:
        want[cls] += pairs / 4.0
    assert len(seen) > 0
    np.testing.assert_allclose(rate, want)
    ledger.request.visible[ledger.request.visible >= 500] = 10**6
    np.testing.assert_allclose(mcf_lp.asked_hz(world, ledger, 4.0), want)


def test_flows_of_a_line_use_every_link_of_the_way():
    game = prepare(scenario("line-4", load_hz=2.0, seconds=4.0, generation_hz=np.full(4, 50.0)))
    problem = mcf_lp.problem_of(game.scenario.network, game.world)
    demand = np.linspace(0.05, 0.1, len(game.world.cls))
    want = np.zeros(3)
    for one, hz in zip(game.world.cls, demand, strict=True):
        want[min(one.a, one.b) : max(one.a, one.b)] += hz
    for scale in (1.0, 2.0):
        np.testing.assert_allclose(mcf_lp.use_hz(problem, demand, scale)[0], want, rtol=1e-6)


def test_program_reaches_the_optimum_of_mean_rates():
    """The published result: prepare and swap attains the flows. Ample memory, patient requests."""
    of = scenario(
        "geometric-12",
        load_hz=12.0,
        seconds=120.0,
        deadline_s=8.0,
        qubits=np.full(12, 200),
        cutoff_s=10.0,
        generation_hz=np.full(12, 6.0),
        swap_hz=np.full(12, 3.0),
    )
    game = prepare(of)
    problem = mcf_lp.problem_of(of.network, game.world)
    keys = game.world.request.cls
    demand = np.bincount(keys, weights=game.world.request.pairs, minlength=len(game.world.cls))
    best_hz = mcf_lp.use_hz(problem, demand / 122.0, 1.0)[2].total
    got_hz = delivered(game, mcf_lp.make()) / 120.0
    tests = 1.0 - of.test_share
    assert 0.9 * tests * best_hz < got_hz


def test_foresight_pays_where_deadlines_are_short(tight_games):
    """Prototypes: 8 to 14 % over tuned mean-rate at a deadline of .1 s; half of that must show."""
    seen = sum(delivered(g, oracle.make()) for g in tight_games)
    assert seen > 1.04 * sum(delivered(g, mean_rate.make()) for g in tight_games)
    for game in tight_games:
        assert delivered(game, oracle.make()) <= game.bound


def test_the_oracle_never_serves_before_the_arrival(tight_games):
    game = tight_games[0]
    ledger = new_ledger(game.world)
    player = player_of(game, oracle.make(horizon_s=1.0))
    for slot in range(1, 600):
        player(ledger, slot)
        unknown = ledger.request.visible >= slot
        assert np.all(ledger.request.attempts[unknown] == 0)
    assert ledger.request.attempts.sum() > 0


def test_only_the_oracle_depends_on_the_future(tight_games):
    """Other arrivals after slot 600 change what it made before, and nothing that others made."""
    game = tight_games[0]
    late = np.flatnonzero(game.world.request.arrival >= 600)
    world = game.world._replace(request=game.world.request.copy())
    world.request.cls[late] = world.request.cls[late][::-1]
    other = dataclasses.replace(game, world=world)
    for make, differs in ((oracle.make, True), (mean_rate.make, False), (mcf_lp.make, False)):
        births = []
        for each in (game, other):
            ledger = new_ledger(each.world)
            player_of(each, make())(ledger, 600)
            births.append(ledger.pair.copy())
        assert np.any(births[0] != births[1]) == differs


@pytest.fixture(scope="module")
def rounds_game():
    """The first network of the paper preset."""
    return prepare(build(run_cell(demand="poisson"), 0, seconds=8.0, warmup_s=2.0))


def test_redundant_provisioning_and_caching_pay(rounds_game):
    """As published: spare links pay, above shortest paths; and caching pays more."""
    short = delivered(rounds_game, find("on-demand"))
    bare = delivered(rounds_game, reps.make(redundancy=1.0))
    spare = delivered(rounds_game, reps.make(redundancy=3.0))
    kept = delivered(rounds_game, reps.make_cached(round_s=0.2))
    assert short < bare < spare < kept


def test_reps_drops_its_links_and_swaps_at_the_end_of_rounds_only(rounds_game):
    world = rounds_game.world
    ledger = new_ledger(world, events=8192)
    player = player_of(rounds_game, reps.make(round_s=0.2))
    for slot in range(1, 120):
        swaps = int(ledger.totals[3])
        player(ledger, slot)
        if slot % 10:
            assert ledger.totals[3] == swaps
        else:
            assert np.all(ledger.pair.u < 0)
    assert ledger.totals[3] > 0


def test_selection_is_the_best_by_brute_force():
    """Whole pairs on small networks: the rounded program against all whole solutions."""
    rng = np.random.default_rng(0)
    game = prepare(scenario("geometric-12", load_hz=8.0, seconds=6.0))
    paths = reps._paths(game)
    got_all, best_all = 0, 0
    for _ in range(20):
        stock = rng.integers(0, 3, game.world.m)
        swaps = rng.integers(0, 3, game.world.n).astype(float)
        wants = np.zeros(len(game.world.cls), dtype=np.int64)
        wants[rng.choice(len(wants), 3, replace=False)] = 2
        counts = reps.select(paths, wants, stock, swaps)
        assert np.all(paths.uses @ counts <= stock) and np.all(paths.swaps @ counts <= swaps)
        by_class = np.bincount(paths.row, weights=counts, minlength=len(wants))
        assert np.all(by_class <= wants)
        got_all += int(counts.sum())
        best_all += most(paths, wants, stock.astype(float), swaps)
    assert 0.9 * best_all <= got_all <= best_all


def most(paths, wants, stock, swaps):
    """Try every way."""
    uses, nodes = paths.uses.toarray(), paths.swaps.toarray()
    open_ = [
        p
        for p in np.flatnonzero(wants[paths.row] > 0)
        if np.all(uses[:, p] <= stock) and np.all(nodes[:, p] <= swaps)
    ]

    def best(index, wants, stock, swaps):
        if index == len(open_):
            return 0
        p = open_[index]
        top = best(index + 1, wants, stock, swaps)
        fits = np.all(uses[:, p] <= stock) and np.all(nodes[:, p] <= swaps)
        if fits and wants[paths.row[p]] > 0:
            fewer = wants.copy()
            fewer[paths.row[p]] -= 1
            top = max(top, 1 + best(index, fewer, stock - uses[:, p], swaps - nodes[:, p]))
        return top

    return best(0, wants, stock, swaps)


def test_provision_shares_out_tokens_by_hand():
    """Two links on a line, three tokens a node and six pairs wanted: the ends set the limit."""
    game = prepare(scenario("line-3", load_hz=8.0, seconds=4.0))
    paths = reps._paths(game)
    far = np.flatnonzero(np.abs(game.world.cls.a - game.world.cls.b) == 2)[:1]
    wants = np.zeros(len(game.world.cls))
    wants[far] = 6.0
    plenty = {"swaps": np.full(3, 9.0), "room": np.full(3, 20.0), "stock": np.zeros(2)}
    quota = reps.provision(paths, wants, tokens=np.array([3.0, 2.0, 3.0]), **plenty)
    np.testing.assert_allclose(quota, [4.0, 4.0])
    plenty["room"] = np.array([20.0, 5.0, 20.0])
    quota = reps.provision(paths, wants, tokens=np.array([3.0, 2.0, 3.0]), **plenty)
    np.testing.assert_allclose(quota, [2.5, 2.5])


def test_a_full_memory_takes_no_more_in_a_round(rounds_game):
    """The rounds' own tokens respect memories: put pairs until it is full."""
    world = rounds_game.world
    ledger = new_ledger(world)
    link = int(np.argmin(world.node.qubits[world.link.a]))
    node = world.link.a[link]
    for _ in range(world.node.qubits[node]):
        put(world, ledger, link, node)
    player_of(rounds_game, reps.make_cached())(ledger, 30)
    assert is_sound(world, ledger)
