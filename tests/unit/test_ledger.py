"""The ledger keeps its books: conservation, deadlines, fidelities and the bound, slot by slot."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backends.analytic import exact
from quantum import ledger as step
from quantum.batch import Batch
from quantum.bell import correlators, populations
from quantum.bell import werner as werner_state
from quantum.bound import horizon, run_bound
from quantum.demand import Trace
from quantum.flows import shortest_paths
from quantum.ledger import Rule, new_ledger, new_world, token_totals
from quantum.ledger.paths import cheapest_path
from quantum.ledger.places import is_sound, put
from quantum.ledger.prices import price_stock
from quantum.ledger.state import DELIVERED
from quantum.network import Network
from quantum.program import Gates, Memory
from quantum.scenario import Scenario
from quantum.twin import advance, score

SLOT_S = 0.02


def network(links, n, *, generation=20.0, swaps=10.0, **more):
    links = np.array(sorted(links), dtype=np.int64).reshape(-1, 2)
    values = {
        "populations": werner_state(np.full(len(links), 0.97)),
        "qubits": np.full(n, 6),
        "memory": Memory(),
        "cutoff_s": 0.5,
        "gates": Gates(),
        **more,
    }
    return Network(
        name="test",
        nodes=tuple(f"n{i}" for i in range(n)),
        position_km=np.zeros((n, 2)),
        links=links,
        length_km=np.ones(len(links)),
        generation_hz=np.broadcast_to(generation, n).astype(float),
        swap_hz=np.broadcast_to(swaps, n).astype(float),
        **values,
    )


def trace(rows, commodities, *, told=0.0):
    """Build requests from rows of (time, commodity, pairs, fidelity, deadline)."""
    rows = sorted(rows)
    columns = list(zip(*rows, strict=True)) if rows else [[]] * 5
    time_s = np.array(columns[0], dtype=float)
    k = len(commodities)
    return Trace(
        name="test",
        commodities=np.array(commodities, dtype=np.int64).reshape(-1, 2),
        weights=np.full(k, 1.0 / max(1, k)),
        load_hz=10.0,
        time_s=time_s,
        commodity=np.array(columns[1], dtype=np.int64),
        pairs=np.array(columns[2], dtype=np.int64),
        minimum_fidelity=np.array(columns[3], dtype=float),
        deadline_s=np.array(columns[4], dtype=float),
        told_s=np.maximum(0.0, time_s - told),
    )


@st.composite
def scenarios(draw):
    """1 to 6 nodes with any links, Bell-diagonal states, decay, failing and noisy swaps."""
    n = draw(st.integers(1, 6))
    possible = list(itertools.combinations(range(n), 2))
    links = draw(st.lists(st.sampled_from(possible), unique=True)) if possible else []
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    best = rng.uniform(0.8, 1.0, len(links))
    rest = rng.dirichlet([0.5, 0.5, 0.5], len(links)) * (1 - best)[:, None]
    t1_s = draw(st.sampled_from([np.inf, 5.0, 0.5]))
    net = network(
        links,
        n,
        generation=rng.uniform(0.0, 60.0, n),
        swaps=rng.uniform(0.0, 30.0, n) * rng.integers(0, 2, n),
        populations=np.column_stack([best, rest]),
        qubits=rng.integers(0, 8, n),
        memory=Memory(t1_s=t1_s, t2_s=draw(st.sampled_from([0.2, 1.0])) * min(2 * t1_s, 1e3)),
        cutoff_s=draw(st.sampled_from([0.01, 0.1, 0.5])),
        gates=Gates(
            success=draw(st.sampled_from([1.0, 0.6, 0.0])),
            gate_depolarizing=draw(st.sampled_from([0.0, 0.02])),
            readout_error=draw(st.sampled_from([0.0, 0.01])),
        ),
    )
    rows = []
    for _ in range(draw(st.integers(0, 12)) if possible else 0):
        kind = int(rng.integers(len(possible)))
        fidelity = float(rng.choice([0.55, 0.7, 0.85]))
        rows.append((rng.uniform(0.0, 1.5), kind, int(rng.integers(1, 6)), fidelity, 0.4))
    return Scenario(
        network=net,
        trace=trace(rows, possible, told=draw(st.sampled_from([0.0, 0.3]))),
        seed=draw(st.integers(0, 2**31)),
        seconds=1.0,
        warmup_s=draw(st.sampled_from([0.0, 0.5])),
        test_share=draw(st.sampled_from([0.0, 0.2])),
    )


@st.composite
def rules(draw, m=15):
    return Rule(
        fill=draw(st.integers(0, 2)),
        complete=draw(st.integers(0, 1)),
        targets=np.array(draw(st.lists(st.floats(0.0, 4.0), min_size=m, max_size=m))),
        evict=draw(st.sampled_from([0.0, 0.2, 1e18])),
        bucket=draw(st.sampled_from([0.0, 2.0])),
        inverse=draw(st.sampled_from([0.0, 3.0])),
        scarce=draw(st.sampled_from([0.0, 1.0])),
        age=draw(st.sampled_from([0.0, 0.5])),
    )


def fitted(rule, world):
    return rule._replace(targets=rule.targets[: world.m].copy())


def play_slot(world, ledger, rule):
    step.open_slot(world, ledger, rule)
    step.act_by_rule(world, ledger, rule)
    step.generate(world, ledger, rule)
    step.serve(world, ledger, rule)
    step.close_slot(world, ledger)


@settings(max_examples=120, deadline=None)
@given(scenarios(), rules())
def test_books_are_kept_in_every_slot(scenario, rule):
    world = new_world(scenario, paths=shortest_paths)
    rule = fitted(rule, world)
    ledger, whole = new_ledger(world), new_ledger(world)
    pairs, request = world.request.pairs, ledger.request
    swaps = 0
    while ledger.now[0].clock < world.horizon:
        clock, before = int(ledger.now[0].clock), request.left.copy()
        play_slot(world, ledger, rule)
        assert is_sound(world, ledger)
        stored = ledger.pair[ledger.pair.u >= 0]
        assert np.all(clock - stored.birth <= world.cutoff)
        assert np.all((request.left >= 0) & (request.good <= pairs - request.left))
        served = request.left < before
        assert np.all(world.request.arrival[served] <= clock)
        assert np.all(request.visible[served] <= clock)
        assert np.all(clock <= world.request.deadline[served])
        swaps = int(ledger.totals[3])
    # The horizon is that of the requests in the evaluation window; later ones may still wait.
    waiting = ledger.queue[: ledger.now[0].claimants].claimant
    assert np.all(world.request.arrival[waiting] >= world.warmup + world.slots)
    # Every swap token that was ever there: a full bucket and the refill of each slot.
    assert swaps <= (world.node.bucket + world.node.swap_rate * world.horizon).sum() + 1e-6
    advance(world, whole, rule, world.horizon)
    # The twin asks only those memories what they would give up where a pair is to go.
    for each in (ledger, whole):
        each.node.yields, each.node.surplus, each.sight[:] = -1, 0.0, 0.0
    for name in ledger._fields:
        if name != "frontier":
            one, other = getattr(ledger, name), getattr(whole, name)
            assert one.tobytes() == other.tobytes(), name


@settings(max_examples=60, deadline=None)
@given(scenarios(), rules())
def test_never_more_than_the_bound_nor_worse_than_asked(scenario, rule):
    world = new_world(scenario, paths=shortest_paths)
    rule = fitted(rule, world)
    ledger = new_ledger(world)
    advance(world, ledger, rule, world.horizon)
    first, stop = horizon(scenario)
    rate = np.ascontiguousarray(world.node.generation)
    bound = run_bound(scenario, tokens=token_totals(world.seed, rate, first, stop))
    got = score(world, ledger)
    assert got.pairs_delivered <= bound.total + 1e-6
    assert 0.0 <= got.contention <= 1.0
    # Belief is truth here, so whatever is delivered is as good as asked.
    assert np.array_equal(ledger.request.good, world.request.pairs - ledger.request.left)
    events = ledger.event[: ledger.now[0].events]
    kept = events[events.kind == DELIVERED]
    asked = world.cls.fidelity[world.request.cls[kept.request]]
    assert np.all(kept.true >= asked - 1e-12)
    assert np.allclose(kept.true, kept.believed)


def chain_world(ages, *, gates, memory, states):
    """A line whose links each hold one pair of the given age in slots, at slot 20."""
    hops = len(ages)
    net = network(
        [(i, i + 1) for i in range(hops)],
        hops + 1,
        populations=states,
        memory=memory,
        gates=gates,
        cutoff_s=1.0,
    )
    scenario = Scenario(
        network=net,
        trace=trace([(0.3, 0, 1, 0.3, 1.0)], [(0, hops)]),
        seed=3,
        seconds=1.0,
        warmup_s=0.0,
        test_share=0.0,
    )
    world = new_world(scenario, paths=shortest_paths)
    ledger = new_ledger(world)
    for link, age in enumerate(ages):
        ledger.now.clock = 20 - age
        put(world, ledger, link, link)
    ledger.now.clock = 20
    ledger.queue[0].live, ledger.now[0].live = 0, 1
    return world, ledger


@pytest.mark.parametrize("seed", range(8))
def test_fidelity_of_a_chain_is_that_of_the_analytic_backend(seed):
    """Each link pair waits at both ends for its age, then the chain is swapped from the left."""
    rng = np.random.default_rng(seed)
    hops = 1 + seed % 4
    ages = rng.integers(0, 20, hops)
    best = rng.uniform(0.9, 1.0, hops)
    states = np.column_stack([best, rng.dirichlet([1, 1, 1], hops) * (1 - best)[:, None]])
    gates = Gates(gate_depolarizing=0.02, readout_error=0.01)
    memory = Memory(t1_s=2.0, t2_s=1.5)
    world, ledger = chain_world(ages, gates=gates, memory=memory, states=states)
    step.serve(world, ledger, Rule(fill=0, complete=0, targets=np.zeros(world.m)))
    assert ledger.request[0].good == 1
    waits = np.repeat(ages * SLOT_S, 2).reshape(1, hops, 2)
    made = [(kind, i, -1) for i in range(hops) for kind in ("generate", "wait")]
    swapped = [("swap", 0, i) for i in range(1, hops)]
    batch = Batch((*made, *swapped), states[None], waits, memory, gates)
    assert ledger.event[0].true == pytest.approx(exact(batch).populations[0, 0], abs=1e-12)
    assert ledger.event[0].links[:hops].tolist() == list(range(hops))
    assert ledger.event[0].ages[:hops].tolist() == ages.tolist()


def cheapest_by_enumeration(world, ledger, source, target):
    """Sum the prices of links and swap nodes over all simple paths of stocked links."""
    ends = list(zip(world.link.a.tolist(), world.link.b.tolist(), strict=True))
    number = {pair: i for i, pair in enumerate(ends)}
    best = np.inf
    others = [v for v in range(world.n) if v not in (source, target)]
    for size in range(world.n - 1):
        for middle in itertools.permutations(others, size):
            path = [source, *middle, target]
            used = [number.get((min(e), max(e)), -1) for e in itertools.pairwise(path)]
            if min(used) < 0 or any(ledger.link[i].oldest < 0 for i in used):
                continue
            if any(ledger.node[v].swap_tokens < 1.0 for v in middle):
                continue
            cost = sum(ledger.link[i].price for i in used)
            best = min(best, cost + sum(ledger.node[v].price for v in middle))
    return best


@pytest.mark.parametrize("seed", range(40))
def test_chosen_chain_is_the_cheapest(seed):
    """Perfect links: fidelity plays no part, so the search must find the optimum."""
    rng = np.random.default_rng(seed)
    links = [pair for pair in itertools.combinations(range(6), 2) if rng.random() < 0.6]
    net = network(
        [*links, (0, 1)] if (0, 1) not in links else links,
        6,
        populations=werner_state(np.ones(len({*links, (0, 1)}))),
        swaps=rng.uniform(0.0, 5.0, 6),
        qubits=np.full(6, 40),
    )
    scenario = Scenario(
        network=net, trace=trace([(0.0, 0, 1, 0.5, 1.0)], [(4, 5)]), seed=1, seconds=1.0
    )
    world = new_world(scenario, paths=shortest_paths)
    ledger = new_ledger(world)
    rule = Rule(fill=2, complete=1, targets=rng.uniform(0.0, 4.0, world.m), fidelity=0.0)
    for link in range(world.m):
        for age in rng.integers(0, 20, rng.integers(0, 4)):
            ledger.now.clock = 20 - age
            put(world, ledger, link, 0)
    ledger.now.clock = 20
    ledger.node.swap_tokens = rng.uniform(0.0, np.maximum(1.0, net.swap_hz))
    price_stock(world, ledger, rule)
    length = cheapest_path(world, ledger, rule, 0, 0)
    best = cheapest_by_enumeration(world, ledger, 4, 5)
    if length == 0:
        assert best == np.inf
        return
    used = ledger.chain[:length]
    node, cost = 5, 0.0
    for index, link in enumerate(used):
        row = world.link[link]
        node = row.a if row.b == node else row.b
        cost += ledger.link[link].price + (ledger.node[node].price if index < length - 1 else 0.0)
    assert node == 4
    assert cost == pytest.approx(best)


def test_token_totals_are_poisson_and_belong_to_their_slots():
    rate = np.array([0.1, 0.0, 2.0])
    got = token_totals(5, rate, 0, 4000)
    assert got[1] == 0
    # Five standard deviations of a Poisson total.
    assert np.all(np.abs(got - 4000 * rate) <= 5 * np.sqrt(4000 * rate) + 1e-9)
    assert np.array_equal(got, token_totals(5, rate, 0, 100) + token_totals(5, rate, 100, 4000))


def test_correlators_of_the_world_are_those_of_the_links():
    states = populations(np.array([[0.9, 0.85, 0.8]]))
    net = network([(0, 1)], 2, populations=states)
    scenario = Scenario(network=net, trace=trace([], [(0, 1)]), seed=0, seconds=1.0)
    world = new_world(scenario, paths=shortest_paths)
    np.testing.assert_allclose(world.truth[0], correlators(states))
