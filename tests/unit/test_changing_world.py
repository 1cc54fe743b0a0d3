"""Outages, old knowledge and what it costs: what must hold whatever is played."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from controller.game import play, player_of, prepare
from controller.hearing import as_heard
from controller.plan import plan_of
from controller.rivals.allocator import find
from controller.rivals.on_demand import plain
from quantum.changes import Changes, make_changes
from quantum.flows import shortest_paths
from quantum.ledger import (
    Ledger,
    World,
    act_by_rule,
    close_slot,
    generate,
    new_ledger,
    new_world,
    observe,
    open_slot,
    serve,
)
from quantum.ledger import state as codes
from quantum.ledger.observe import PEER_BUCKET, PEER_FILL
from quantum.ledger.places import is_sound
from quantum.presets import build, run_cell

# Outages


def slots_of(world: World, ledger: Ledger, player: Any) -> Any:
    for slot in range(1, world.horizon + 1):
        player(ledger, slot)
        yield slot - 1


def test_an_outage_of_the_only_link_stops_deliveries() -> None:
    whole = build(run_cell("line-2", "poisson", load_hz=40.0), 1, seconds=10.0, warmup_s=1.0)
    cutoff = round(whole.network.cutoff_s / whole.slot_s)
    for is_node, until in ((False, 250 + cutoff), (True, 249)):
        down = Changes(np.array([5.0]), np.array([is_node]), np.array([0]), np.array([False]))
        got = {}
        for name, scenario in (("whole", whole), ("broken", replace(whole, changes=down))):
            game = prepare(scenario)
            ledger = new_ledger(game.world)
            player = player_of(game, find("mean-rate"))
            got[name] = [
                int(ledger.request.left.sum()) for _ in slots_of(game.world, ledger, player)
            ]
        # Pairs that are stored when a link fails live on until they are too old.
        assert got["broken"][:249] == got["whole"][:249]
        assert got["broken"][until] == got["broken"][-1] > got["whole"][-1]


@pytest.mark.parametrize("name", ["mean-rate", "on-demand", "uniform", "dpem"])
def test_nothing_is_made_where_nothing_is(name: str) -> None:
    scenario = build(run_cell("mesh-12", "scheduled", load_hz=20.0), 2, seconds=8.0, warmup_s=1.0)
    changes = make_changes("outages:3:2", scenario.network, seed=2, duration_s=10.0)
    game = prepare(replace(scenario, changes=changes))
    world, links = game.world, game.scenario.network.links
    ledger = new_ledger(world, events=8192)
    node_up, link_up = np.ones(world.n, dtype=bool), np.ones(world.m, dtype=bool)
    due = list(zip(changes.slots(0.02), changes.node, changes.index, changes.up, strict=True))
    tokens = 0
    for slot in slots_of(world, ledger, player_of(game, find(name))):
        joined = set()
        while due and due[0][0] <= slot:
            _, is_node, index, up = due.pop(0)
            (node_up if is_node else link_up)[index] = up
            joined |= {index} if is_node and up else set()
        is_open = link_up & node_up[links[:, 0]] & node_up[links[:, 1]]
        assert ledger.link.open.tolist() == is_open.astype(int).tolist()
        new = (ledger.pair.u >= 0) & (ledger.pair.birth == slot)
        assert is_open[ledger.pair.link[new]].all()
        assert not ledger.node.used[~node_up].any() and not ledger.node.tokens[~node_up].any()
        assert is_sound(world, ledger)
        # Offered is only what can be made.
        for node in np.flatnonzero(ledger.node.tokens):
            for number in range(ledger.node.tokens[node]):
                k = ledger.choice[node, number]
                assert k < 0 or is_open[world.inc_link[node, k]]
                tokens += int(k >= 0)
    assert tokens > 10 and ledger.totals[codes.LEFT] > 0
    total = ledger.totals
    used = total[codes.SWAPS] + ledger.request.attempts.sum()
    stored = (ledger.pair.u >= 0).sum()
    assert total[codes.GENERATED] == (
        total[codes.DROPPED] + total[codes.EVICTED] + total[codes.LEFT] + used + stored
    )


@pytest.mark.parametrize("seed", range(4))
def test_the_bound_holds_under_outages(seed: int) -> None:
    for wish, topology in (
        ("outages:4:4", "mesh-10"),
        ("nodes:2:3", "ring-6"),
        ("links:1:9", "star-5"),
    ):
        whole = build(run_cell(topology, "poisson", load_hz=30.0), seed, seconds=6.0, warmup_s=2.0)
        broken = make_changes(wish, whole.network, seed=seed, duration_s=9.0)
        game = prepare(replace(whole, changes=broken))
        assert game.bound <= prepare(whole).bound + 1e-6
        for name in ("mean-rate", "on-demand", "uniform"):
            got = play(game, find(name), with_losses=False).score
            assert got.pairs_delivered <= game.bound + 1e-6


def test_the_bound_counts_tokens_and_buckets_while_nodes_are_there() -> None:
    # A star's centre joins two leaves: every pair takes one of its swap tokens.
    whole = build(run_cell("star-3", "poisson", load_hz=200.0), 0, seconds=10.0, warmup_s=0.0)
    network = replace(
        whole.network, generation_hz=np.full(3, 10.0), swap_hz=np.array([0.5, 0.5, 0.5])
    )
    leaves = np.flatnonzero(network.incidence.degree == 1)
    centre = int(np.flatnonzero(network.incidence.degree == 2)[0])
    trace = replace(
        whole.trace,
        commodities=np.sort(leaves)[None, :],
        weights=np.ones(1),
        commodity=np.zeros_like(whole.trace.commodity),
        deadline_s=np.full(len(whole.trace.time_s), 1e-3),
    )
    scenario = replace(whole, network=network, trace=trace)
    assert prepare(scenario).bound == pytest.approx(0.5 * 10.0 + 1.0, abs=0.02)
    times, states = np.array([2.0, 4.0, 7.0, 8.0]), np.array([False, True, False, True])
    gone = Changes(times, np.array([True] * 4), np.full(4, centre), states)
    # Seven seconds of refill, and three full buckets of one token each.
    assert prepare(replace(scenario, changes=gone)).bound == pytest.approx(3.5 + 3.0, abs=0.02)
    never = Changes(np.zeros(1), np.array([False]), np.zeros(1, dtype=int), np.array([False]))
    assert prepare(replace(scenario, changes=never)).bound == 0.0


# What is heard, and when


def test_within_a_hundred_kilometres_everything_is_heard_at_once() -> None:
    for topology in ("mesh", "geometric", "surfnet"):
        scenario = build(run_cell(topology, "poisson"), 0, seconds=1.0, warmup_s=0.0)
        world = new_world(scenario, paths=shortest_paths)
        for central in (True, False):
            assert as_heard(world, scenario, central=central) is world
        slow = replace(scenario, service_s=0.02)
        assert as_heard(world, slow, central=False) is world
        assert as_heard(world, slow, central=True).age.min() == 1


def test_ages_are_those_of_the_formula() -> None:
    scenario = build(run_cell("abilene", "poisson"), 0, seconds=1.0, warmup_s=0.0)
    network = replace(scenario.network, position_km=3.0 * scenario.network.position_km)
    scenario = replace(scenario, network=network)
    world = new_world(scenario, paths=shortest_paths)
    place = network.position_km
    nodes = as_heard(world, scenario, central=False)
    assert nodes.age.max() > 1 and nodes.ghosts > 0
    one = as_heard(world, replace(scenario, service_s=0.2), central=True)
    total = [sum(np.hypot(*(a - b)) for b in place) for a in place]
    middle = place[int(np.argmin(total))]
    for link, (a, b) in enumerate(network.links.tolist()):
        far_km = max(np.hypot(*(place[a] - middle)), np.hypot(*(place[b] - middle)))
        assert one.age[0, link] == int((2 * far_km * 5e-6 + 0.2) / 0.02)
        for row, source in zip(nodes.cls.heard, nodes.cls.a, strict=True):
            far_km = max(np.hypot(*(place[k] - place[source])) for k in (a, b))
            assert nodes.age[row, link] == int(far_km * 5e-6 / 0.02)


def test_a_slow_controller_costs_central_allocators_only() -> None:
    rows = {}
    for name, times, seconds in (("mean-rate", (0.01, 0.3, 0.8), 40.0), ("dpem", (0.01, 0.8), 5.0)):
        cell = run_cell("mesh-20", "poisson", load_hz=12.0)
        whole = build(cell, 1, seconds=seconds, warmup_s=1.0)
        for service_s in times:
            scenario = replace(whole, service_s=service_s)
            rows[name, service_s] = play(prepare(scenario), find(name), with_losses=False)
    got = {key: row.score.pairs_delivered for key, row in rows.items()}
    assert got["dpem", 0.01] == got["dpem", 0.8] > 0
    assert got["mean-rate", 0.01] > got["mean-rate", 0.3] > got["mean-rate", 0.8] > 0


def test_messages_are_counted_by_their_rules() -> None:
    scenario = build(run_cell("line-2", "poisson", load_hz=8.0), 0, seconds=5.0, warmup_s=1.0)
    game = prepare(scenario)
    central = play(game, find("mean-rate"), with_losses=False)
    requests = len(game.world.request)
    # One link and no tests lost in between: two nodes for each chain, commanded and answering.
    chains = central.totals["assembled"]
    assert central.totals["messages"] == requests + 4 * chains
    assert central.messages_per_pair == central.totals["messages"] / central.totals["received"]
    spread = play(game, replace(find("mean-rate"), central=False), with_losses=False)
    assert spread.totals["messages"] == requests + 2 * spread.totals["assembled"]
    assert spread.totals["failed_claims"] == 0


def test_neighbours_far_away_are_seen_as_they_were() -> None:
    scenario = build(run_cell("line-3", "poisson", load_hz=20.0), 3, seconds=4.0, warmup_s=0.0)
    place = np.array([[0.0, 0.0], [9000.0, 0.0], [9100.0, 0.0]])
    far = replace(scenario, network=replace(scenario.network, position_km=place))
    world = new_world(far, paths=shortest_paths)
    assert (
        world.peer_age.max() == 2 and len(new_world(scenario, paths=shortest_paths).peer_age) == 0
    )
    rule = plain(far, plan_of(far), fill=1)
    ledger = new_ledger(world, events=0)
    fill, bucket = [], []
    view = np.empty((world.inc_link.shape[1], codes.RAW))
    for slot in range(150):
        open_slot(world, ledger, rule)
        fill.append(ledger.node.used / world.node.qubits)
        bucket.append(ledger.node.swap_tokens / world.node.bucket)
        for node, k, peer, ago in ((0, 0, 1, 2), (1, 0, 0, 2), (1, 1, 2, 0), (2, 0, 1, 0)):
            assert world.inc_node[node, k] == peer
            observe(world, ledger, node, view)
            then = slot - ago
            assert view[k, PEER_FILL] == (fill[then][peer] if then >= 0 else 0.0)
            assert view[k, PEER_BUCKET] == (bucket[then][peer] if then >= 0 else 1.0)
        act_by_rule(world, ledger, rule)
        generate(world, ledger, rule)
        serve(world, ledger, rule)
        close_slot(world, ledger)
    assert len({tuple(row) for row in fill}) > 3 and min(row.min() for row in bucket) < 1.0
