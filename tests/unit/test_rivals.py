"""The rivals and what they may know: found by name, ranked as measured, never above the bound."""

import numpy as np
import pytest

from controller.game import delay_slots, flows_of, plan_of, play, player_of, prepare
from controller.plan import controller_node
from controller.rivals.allocator import Allocator, find, known
from quantum.errors import InputError
from quantum.ledger import Rule, new_ledger
from quantum.presets import build, cells, run_cell
from quantum.scenario import Scenario
from quantum.topology import load_topology
from quantum.traffic import make_trace

HEURISTICS = ("on-demand", "uniform", "mean-rate")


@pytest.fixture(scope="module")
def mesh():
    """The first network at 60 % of its knee (29 pairs/s), 20 s."""
    return build(run_cell(load_hz=17.0), 0, seconds=20.0, warmup_s=4.0)


def tiny(topology, *, seconds=2.0, seed=0, **more):
    network = load_topology(topology, seed=0)
    trace = make_trace(
        "poisson",
        network,
        load_hz=4.0,
        deadline_s=1.0,
        seed=seed,
        network_seed=0,
        duration_s=seconds,
        **more,
    )
    return Scenario(network=network, trace=trace, seed=seed, seconds=seconds, warmup_s=0.0)


def test_heuristics_are_found_by_name():
    assert set(HEURISTICS) <= set(known())
    for name in HEURISTICS:
        found = find(name)
        assert (found.name, found.central, found.play) == (name, True, None)
        assert found.sentence.endswith(".")


def test_unknown_name_lists_the_known_ones():
    with pytest.raises(InputError, match=r"'means' is unknown; it is .*mean-rate, .*on-demand"):
        find("means")


@pytest.mark.parametrize("name", HEURISTICS)
def test_rules_have_the_types_of_the_defaults(name, mesh):
    """Other types would make every kernel compile again."""
    rule = find(name)(mesh, plan_of(mesh))
    usual = Rule(fill=0, complete=0, targets=np.zeros(len(mesh.network.links)))
    assert [type(value) for value in rule] == [type(value) for value in usual]
    assert rule.targets.dtype == np.float64 and rule.targets.flags.c_contiguous
    assert rule.targets.shape == usual.targets.shape


def test_order_of_the_rivals_on_the_mesh(mesh):
    """Prototypes, many cells: .38, .65 and .88 of the bound; half of those margins must show."""
    game = prepare(mesh)
    got = {name: play(game, find(name), with_losses=False) for name in HEURISTICS}
    share = {name: result.fraction_of_bound for name, result in got.items()}
    assert share["uniform"] > share["on-demand"] + 0.13
    assert share["mean-rate"] > share["uniform"] + 0.10
    assert share["mean-rate"] > 0.8
    assert all(result.score.pairs_delivered <= game.bound + 1e-6 for result in got.values())
    assert got["on-demand"].totals["generated"] < got["uniform"].totals["generated"] / 5
    for result in got.values():
        assert 0.75 < result.fidelity < 1.0
        assert result.latency_ms > 0.0


def test_playing_twice_gives_the_same(mesh):
    game = prepare(mesh)
    assert play(game, find("mean-rate")) == play(game, find("mean-rate"))


def test_a_player_of_its_own_is_asked(mesh):
    """Somebody who plays mean-rate by hand, in steps, gets what the rule gets."""
    game = prepare(mesh)
    stops = []

    def open_player(its_game):
        rule = player_of(its_game, find("mean-rate"))

        def player(ledger, stop):
            stops.append(stop)
            rule(ledger, stop)

        return player

    mean_rate = find("mean-rate")
    other = Allocator("by hand", True, "As mean-rate.", mean_rate.rule, open_player)
    mine, theirs = (play(game, who, with_losses=False) for who in (other, mean_rate))
    assert stops[-1] == game.world.horizon
    assert (mine.score, mine.fidelity) == (theirs.score, theirs.fidelity)


@pytest.mark.parametrize("topology", ["line-1", "line-2", "star-4", "geometric-12"])
@pytest.mark.parametrize("name", HEURISTICS)
def test_small_networks_are_played(topology, name):
    game = prepare(tiny(topology))
    result = play(game, find(name))
    assert result.score.pairs_delivered <= game.bound + 1e-6
    assert 0.0 <= result.contention_loss <= 1.0
    assert 0.0 <= result.fraction_of_bound <= 1.0 + 1e-9
    assert (result.fidelity is None) == (result.latency_ms is None)


@pytest.mark.parametrize("cell", cells("fidelity")[::2], ids=lambda cell: cell.demand)
def test_bound_holds_where_links_drift(cell):
    scenario = build(cell, 0, seconds=3.0, warmup_s=1.0, knee=lambda network, trace: 60.0)
    game = prepare(scenario, max_rounds=1, drift=True)
    result = play(game, find("mean-rate"))
    assert 0 < result.score.pairs_delivered <= game.bound
    assert not np.array_equal(game.world.truth[0], game.world.truth[-1])


def test_plan_is_a_second_of_mean_demand_along_the_flows():
    """Two nodes: all 4 pairs/s use the only link, and 0.3 are kept beyond."""
    plan = plan_of(tiny("line-2", seconds=20.0))
    np.testing.assert_allclose(plan.mean_targets, [4.3])
    np.testing.assert_allclose(plan.shares, [[1.0]])


def test_knee_of_two_nodes_is_what_they_generate():
    of = tiny("line-2", seconds=20.0)
    assert plan_of(of).knee_hz == pytest.approx(of.network.generation_hz.sum() / 0.95, rel=1e-5)


def test_plan_does_not_depend_on_the_luck_of_the_run_and_is_kept():
    plans = {}
    one, other = (build(run_cell(), seed, seconds=60.0) for seed in (0, 4))
    first = flows_of(one.network, one.trace, plans)
    assert flows_of(other.network, other.trace, plans) is first
    assert len(plans) == 1


def test_plan_of_nothing_is_zeros():
    plan = plan_of(tiny("line-1"))
    assert (plan.knee_hz, plan.mean_targets.shape, plan.shares.shape) == (0.0, (0,), (0, 0))


def test_delays_by_hand():
    """A line of four with 10,000 km between neighbours (50 ms); the medoid is node 1."""
    of = tiny("line-4", fidelities=(0.5,), seconds=5.0)
    network = of.network
    network.position_km[:] = np.array([[0, 0], [1e4, 0], [2e4, 0], [3e4, 0]])
    assert controller_node(network) == 1
    place = network.position_km[:, 0]
    ends = of.trace.commodities[of.trace.commodity]
    ask, tell = abs(place[ends[:, 0]] - 1e4), abs(place[ends[:, 1]] - 1e4)
    central_s = (ask + np.maximum(ask, tell)) * 5e-6 + 0.01
    np.testing.assert_array_equal(delay_slots(of, central=True), np.ceil(central_s / 0.02 - 1e-9))
    local_s = abs(place[ends[:, 0]] - place[ends[:, 1]]) * 5e-6
    np.testing.assert_array_equal(delay_slots(of, central=False), np.ceil(local_s / 0.02 - 1e-9))


def test_word_takes_at_least_a_slot(mesh):
    assert delay_slots(mesh, central=True).min() == delay_slots(mesh, central=False).min() == 1


def test_delivery_falls_with_the_delay():
    """Ten slots of delay at a deadline of ten leave one slot: hardly anything is delivered."""
    cell = run_cell(load_hz=17.0)
    near = build(cell, 0, seconds=5.0, warmup_s=2.0)
    game = prepare(near)
    quick = new_ledger(game.world, delay_slots=np.ones(len(near.trace.time_s), dtype=np.int64))
    late = new_ledger(game.world, delay_slots=np.full(len(near.trace.time_s), 49))
    for ledger in (quick, late):
        player_of(game, find("mean-rate"))(ledger, game.world.horizon)
    assert late.request.good.sum() < 0.8 * quick.request.good.sum()
