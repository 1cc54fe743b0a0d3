"""Distillation in the ledger: against density matrices and backends, its books, what it pays."""

from dataclasses import replace
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backends.analytic import exact
from controller.entries import note, rows_of
from controller.game import play, prepare
from controller.plan import delay_slots
from controller.rivals.allocator import find
from quantum import werner
from quantum.batch import stack
from quantum.bell import correlators, populations
from quantum.demand import Trace
from quantum.draws import uniform
from quantum.errors import InputError
from quantum.flows import shortest_paths
from quantum.ledger import Rule, acts, new_ledger, new_world
from quantum.ledger.events import kinds_of, link_pairs, making_of, programs_of, take_events
from quantum.ledger.places import is_sound, put, value_now
from quantum.ledger.refine import dejmps, distil
from quantum.ledger.state import (
    DELIVERED,
    DISTIL,
    DISTILLED,
    DROPPED,
    EVICTED,
    GENERATED,
    LINK_TESTED,
    MAX_HOPS,
    SPOILED,
)
from quantum.network import Network
from quantum.presets import build, run_cell
from quantum.program import Gates, Memory
from quantum.record import Digest
from quantum.scenario import Scenario
from quantum.twin import advance
from tests.reference import dense

SLOT_S = 0.02
#: Far from ideal, so that no term of the physics is too small to be seen.
MEMORY = Memory(t1_s=4.0, t2_s=3.0)
GATES = Gates(success=0.8, gate_depolarizing=0.03, readout_error=0.01)
probabilities = st.floats(0.0, 1.0)


def weights_of(rng, size):
    best = rng.uniform(0.8, 0.95, size)
    rest = rng.dirichlet((1.0, 1.0, 1.0), size) * (1.0 - best)[..., None]
    return np.concatenate([best[..., None], rest], axis=-1)


def scenario(seed, n=6, *, gates=GATES, seconds=6.0, asked=(0.62, 0.75)):
    """A ring with a chord, poor links that differ, and requests that some paths cannot meet."""
    rng = np.random.default_rng(seed)
    links = np.array(sorted([(k, k + 1) for k in range(n - 1)] + [(0, n - 1), (1, n - 2)]))
    net = Network(
        name="ring",
        nodes=tuple(f"n{k}" for k in range(n)),
        position_km=np.zeros((n, 2)),
        links=links,
        length_km=np.ones(len(links)),
        populations=weights_of(rng, len(links)),
        generation_hz=np.full(n, 25.0),
        swap_hz=np.full(n, 8.0),
        qubits=np.full(n, 8),
        memory=MEMORY,
        cutoff_s=0.6,
        gates=gates,
    )
    size = 40
    time_s = np.sort(rng.uniform(0.0, seconds, size))
    return Scenario(
        network=net,
        trace=Trace(
            name="some",
            commodities=np.array([(0, 2), (3, 5), (1, 4), (0, 3)]),
            weights=np.full(4, 0.25),
            load_hz=10.0,
            time_s=time_s,
            commodity=rng.integers(0, 4, size),
            pairs=rng.integers(1, 4, size),
            minimum_fidelity=rng.choice(asked, size),
            deadline_s=np.full(size, 1.0),
            told_s=time_s,
        ),
        seed=seed,
        seconds=seconds,
        warmup_s=0.0,
    )


def drifting(of, seed):
    """The world of a scenario with distillation, whose links change every 40 slots."""
    truth = correlators(weights_of(np.random.default_rng(seed), (9, len(of.network.links))))
    truth[0] = correlators(of.network.populations)
    paths = partial(shortest_paths, max_rounds=1)
    return new_world(of, paths=paths, truth=truth, truth_slots=40, rounds=1)


def rule_of(world, **more):
    values = {"fill": 2, "complete": 1, "targets": np.full(world.m, 1.5), "rounds": 1}
    return Rule(**{**values, "refined": np.full(world.m, 2.0), **more})


correlations = st.lists(st.floats(-1.0, 1.0), min_size=3, max_size=3).map(np.array)


@given(correlations, correlations, probabilities, probabilities)
def test_the_kernel_is_the_closed_form(keep, spend, p, e):
    gates = Gates(gate_depolarizing=p, readout_error=e)
    out = np.empty(3)
    noise = np.array([(1.0 - p) ** 2, (1.0 - 2.0 * e) ** 2])
    chance = dejmps(noise, keep, spend, out)
    better, success = werner.dejmps(keep, spend, gates)
    assert chance == pytest.approx(float(success), abs=1e-12)
    if chance > 1e-6:
        np.testing.assert_allclose(out, better, atol=1e-9)


@given(st.integers(0, 2**32 - 1), st.floats(0.0, 5.0), st.floats(0.0, 5.0), st.floats(0.0, 5.0))
@settings(max_examples=40)
def test_damped_pairs_give_a_bell_diagonal_one(seed, left_s, right_s, after_s):
    """What the ledger rests on: the whole density matrix, with T1 of the order of the waits."""
    rng = np.random.default_rng(seed)
    one, other = weights_of(rng, 2)
    pairs = [
        dense.wait(dense.bell_diagonal(w), (t, t), (0.0, 0.0), MEMORY)
        for w, t in ((one, left_s), (other, right_s))
    ]
    better, chance = dense.distill(*pairs, "dejmps", GATES)
    table = dense.expectations(better)
    np.testing.assert_allclose(table, np.diag(np.diag(table)), atol=1e-12)
    waited = [
        werner.wait(correlators(w), t, t, MEMORY) for w, t in ((one, left_s), (other, right_s))
    ]
    found, success = werner.dejmps(*waited, GATES)
    assert success == pytest.approx(chance, abs=1e-12)
    np.testing.assert_allclose(np.diag(table)[1:] * (1, -1, 1), found, atol=1e-12)
    later = dense.expectations(dense.wait(better, (after_s, after_s), (0.0, 0.0), MEMORY))
    aged = werner.wait(found, after_s, after_s, MEMORY)
    np.testing.assert_allclose(np.diag(later)[1:] * (1, -1, 1), aged, atol=1e-12)


def test_the_herald_is_drawn_against_the_exact_chance_and_failure_takes_both():
    worked = 0
    for seed in range(60):
        world = drifting(scenario(seed), seed)
        ledger = new_ledger(world)
        ledger.now.clock = 30
        first = put(world, ledger, 2, 0)
        ledger.now.clock = 55
        put(world, ledger, 2, 1)
        ledger.now.clock = 59
        pair, spent = populations(world.truth[0, 2]), populations(world.truth[1, 2])
        rho = [
            dense.wait(dense.bell_diagonal(w), (t, t), (0.0, 0.0), MEMORY)
            for w, t in ((pair, 29 * SLOT_S), (spent, 4 * SLOT_S))
        ]
        better, chance = dense.distill(*rho, "dejmps", GATES)
        happens = uniform(world.seed, DISTIL, 2, 0, 0) < chance
        assert distil(world, ledger, 2) == happens
        assert is_sound(world, ledger)
        left = ledger.link[2]
        assert (left.stock, left.refined) == (0, int(happens))
        worked += happens
        if not happens:
            assert ledger.totals[SPOILED] == 2
            continue
        kept = ledger.pair[first]
        np.testing.assert_allclose(
            kept.truth, np.diag(dense.expectations(better))[1:] * (1, -1, 1), atol=1e-12
        )
        assert (kept.birth, kept.old, kept.kept, kept.spent) == (59, 30, 29, 4)
        assert (kept.maker, kept.spent_maker) == (0, 1)
    assert 0 < worked < 60


@pytest.mark.parametrize("seed", range(4))
def test_every_pair_that_is_assembled_is_a_program_that_gives_its_state(seed):
    of = scenario(seed)
    world = drifting(of, seed)
    ledger, net = new_ledger(world, events=4096), of.network
    advance(world, ledger, rule_of(world), world.horizon)
    events = take_events(ledger)
    events = events[events.kind != LINK_TESTED]
    better = kinds_of(events) > MAX_HOPS
    assert better.sum() > 15
    assert (~better).sum() > 5
    programs = programs_of(
        events, making_of(world, net.populations), of.slot_s, net.memory, net.gates
    )
    for rows, batch in stack(programs):
        truth = exact(batch)
        np.testing.assert_allclose(
            correlators(truth.populations), events.corr[rows], rtol=0.0, atol=1e-12
        )
        index = int(rows[0])
        slow, _ = dense.run(batch, 0)
        np.testing.assert_allclose(slow, populations(events.corr[index]), atol=1e-12)
    steps = sum(step.__class__.__name__ == "Generate" for p in programs for step in p.steps)
    assert steps == link_pairs(events)


def test_a_distilled_pair_may_be_swapped_ahead_of_its_delivery():
    of = scenario(11, gates=Gates(gate_depolarizing=0.03, readout_error=0.01))
    world = drifting(of, 3)
    ledger = new_ledger(world, composites=True)
    late = (world.request.arrival > 40) & (world.cls.a[world.request.cls] == 0)
    row = int(np.flatnonzero(late)[0])
    ends = world.cls[world.request[row].cls]
    way = {2: (0, 1, 2), 3: (0, 5, 4, 3)}[int(ends.b)]
    places, number = [], {tuple(sorted(e)): k for k, e in enumerate(of.network.links.tolist())}
    ledger.now.clock = int(world.request[row].arrival) - 20
    for a, b in pairwise(way):
        link = number[tuple(sorted((a, b)))]
        place = -1
        while place < 0:
            place = put(world, ledger, link, a)
            ledger.now.clock += 1
            put(world, ledger, link, b)
            ledger.now.clock += 2
            place = place if distil(world, ledger, link) else -1
        places.append(place)
    joined = places[0]
    for node, place in zip(way[1:], places[1:], strict=False):
        joined = acts.join(world, ledger, node, joined, place)
        assert joined >= 0
        assert is_sound(world, ledger)
        ledger.now.clock += 3
    ledger.now.clock = int(world.request[row].arrival) + 2
    ledger.request[row].visible = 0
    assert ledger.pair[joined].old == ledger.pair[joined].birth
    assert acts.hand_over(world, ledger, row, joined) == DELIVERED
    events = take_events(ledger)
    net = of.network
    (program,) = programs_of(events, making_of(world, net.populations), SLOT_S, MEMORY, net.gates)
    truth = exact(stack([program])[0][1])
    np.testing.assert_allclose(correlators(truth.populations[0]), events[0].corr, atol=1e-12)
    assert events[0].true == pytest.approx(events[0].corr.sum() / 4.0 + 0.25)


@given(st.integers(0, 10_000), st.integers(0, 2), st.sampled_from((0, 1)))
@settings(max_examples=12, deadline=None)
def test_the_books_balance(seed, fill, complete):
    """Every pair made is somewhere, and a distillation that works leaves one pair of two."""
    of = scenario(seed, seconds=3.0)
    world = drifting(of, seed)
    rule, used = rule_of(world, fill=fill, complete=complete), 0
    ledger = new_ledger(world, events=512)
    while ledger.now[0].clock < world.horizon:
        advance(world, ledger, rule, ledger.now[0].clock + 1)
        assert is_sound(world, ledger)
        events = take_events(ledger)
        used += int(events.hops[events.kind != LINK_TESTED].sum())
        for event in events:
            shown = event.ages[: event.hops] + np.maximum(event.kept, event.spent)[: event.hops]
            assert shown[event.spent[: event.hops] >= 0].max(initial=0) <= world.cutoff
        total = ledger.totals
        stored = int(ledger.link.stock.sum() + ledger.link.refined.sum())
        gone = total[DROPPED] + total[EVICTED] + total[SPOILED] + total[DISTILLED]
        assert total[GENERATED] == stored + gone + used
    assert ledger.totals[DISTILLED] > 0


def test_the_believed_state_is_that_of_believed_parts():
    of = scenario(5)
    world = drifting(of, 5)
    ledger = new_ledger(world)
    put(world, ledger, 1, 0)
    ledger.now.clock = 7
    place = int(ledger.link[1].oldest)
    put(world, ledger, 1, 0)
    if not distil(world, ledger, 1):
        pytest.fail("the seed is one that works")
    old = [value_now(v, k, world.decay[7]) for k, v in enumerate(world.truth[0, 1])]
    found, _ = werner.dejmps(old, world.truth[0, 1], GATES)
    np.testing.assert_allclose(ledger.pair[place].belief, found, atol=1e-12)


def test_rows_and_digests_tell_distilled_pairs_and_are_as_before_without():
    of = scenario(2)
    world = drifting(of, 2)
    digests = []
    for rounds in (0, 1):
        ledger = new_ledger(world)
        advance(world, ledger, rule_of(world, rounds=rounds), 200)
        events = take_events(ledger)
        rows = rows_of(events)
        assert {len(row) for row in rows} == ({6} if rounds == 0 else {6, 7})
        for row, event in zip(rows, events, strict=True):
            for position, kept, spent in row[6] if len(row) > 6 else ():
                assert (kept, spent) == (event.kept[position], event.spent[position])
        digest = Digest()
        note(digest, 0, [], rows)
        plain = Digest()
        note(plain, 0, [], [row[:6] for row in rows])
        assert (digest.hexdigest() == plain.hexdigest()) == (rounds == 0)
        digests.append(digest.hexdigest())
    assert digests[0] != digests[1]


def game(seed, demand="poisson", **more):
    cell = run_cell(demand=demand, load_hz=25.0, preset="fidelity")
    of = build(cell, seed, seconds=12.0, warmup_s=4.0)
    return prepare(of, PLANS, **{"max_rounds": 1, "drift": True, **more})


PLANS = {}


def test_distillation_pays_for_every_rule_and_never_beats_the_bound():
    for name in ("mean-rate", "uniform", "on-demand"):
        got = {0: 0, 1: 0}
        for seed, demand in ((0, "poisson"), (1, "scheduled")):
            of = game(seed, demand)
            allocator = find(name)
            rule = allocator.rule(of.scenario, of.plan)
            assert rule.rounds == 1
            for rounds in got:
                delay = delay_slots(of.scenario, central=True)
                ledger = new_ledger(of.world, delay_slots=delay, events=0)
                advance(of.world, ledger, rule._replace(rounds=rounds), of.world.horizon)
                good = int(ledger.request.good[of.world.request.arrival >= of.world.warmup].sum())
                assert good <= of.bound + 1e-6
                got[rounds] += good
            result = play(of, allocator, with_losses=False)
            assert result.score.pairs_delivered <= result.bound + 1e-6
            assert result.totals["distilled"] > 0
        assert got[1] > 1.04 * got[0], name


#: Those with chains, rounds or players of their own; dpem learns, and is tested elsewhere.
PLAYERS = (
    *("adaptive-continuous", "max-weight", "mcf-lp", "mean-rate-plain", "oracle", "swap-asap"),
    *("pant", "pant-cached", "q-cast", "q-cast-cached", "q-pass", "q-pass-cached"),
    *("reps", "reps-cached"),
)


@pytest.fixture(scope="module")
def poor():
    """Two games of the preset ``fidelity``."""
    return [game(seed, demand) for seed, demand in ((0, "poisson"), (1, "scheduled"))]


@pytest.mark.parametrize("name", PLAYERS)
def test_distillation_pays_for_every_rival_and_never_beats_the_bound(name, poor):
    """Paired: the same allocator on the same draws, with a plan that knows of no distillation."""
    allocator, got = find(name), {0: 0, 1: 0}
    for of in poor:
        assert allocator.rule(of.scenario, of.plan).rounds == 1
        plain = replace(of, plan=replace(of.plan, rounds=0, refined=np.zeros(0)), max_rounds=0)
        for rounds, one in enumerate((plain, of)):
            result = play(one, allocator, with_losses=False)
            assert result.score.pairs_delivered <= of.bound_of(allocator) + 1e-6
            assert (result.totals["distilled"] > 0) == (rounds == 1)
            got[rounds] += result.score.pairs_delivered
    assert got[1] > got[0]


def test_without_distillation_nothing_asks_for_it():
    of = game(0, max_rounds=0, drift=False)
    for name in ("mean-rate", "uniform", "on-demand", *PLAYERS):
        assert find(name).rule(of.scenario, of.plan).rounds == 0
    assert not of.world.cls.refined.any()
    assert not of.plan.refined.any()


def test_more_rounds_are_refused():
    with pytest.raises(InputError, match="distillation_rounds must be 0 or 1, got 2"):
        game(0, max_rounds=2)
