"""What searches for chains of stored pairs pass over would not have changed what they find."""

import numpy as np
import pytest

from quantum.flows import shortest_paths
from quantum.ledger import Rule, act_as_needed, generate, new_ledger, new_world, open_slot
from quantum.ledger.ends import connects, levels_of
from quantum.ledger.fans import begin_spending
from quantum.ledger.paths import TIED, _last_swap, _layers, find_stored
from quantum.ledger.places import take
from quantum.ledger.prices import CLOSED, STOCK, price_stock
from quantum.ledger.serve import choose_pairs
from quantum.presets import build, run_cell
from quantum.twin import advance


def slow_search(world, ledger, rule, row):
    """Search by layers of hops without a bound of cost: every label goes on to the last layer."""
    wish, swap = world.cls[row], world.swap_xyz.tolist()
    distance = world.distance[wish.row].tolist()
    need, loss_price = 4.0 * wish.fidelity - 1.0, rule.fidelity / wish.budget
    price, loss = ledger.link.price.tolist(), ledger.link.loss.tolist()
    corr, reach = ledger.link.corr.tolist(), ledger.reach.tolist()
    able, dear = (ledger.node.swap_tokens >= 1.0).tolist(), ledger.node.price.tolist()
    layer = {int(wish.a): (0.0, (1.0, 1.0, 1.0), ())}
    expanded, best = {}, None
    for hop in range(int(wish.hops)):
        following = {}
        for u, (cost, c, chain) in layer.items():
            if cost >= expanded.get(u, np.inf):
                continue
            expanded[u] = cost
            if hop > 0:
                if not able[u]:
                    continue
                cost, c = cost + dear[u], tuple(a * b for a, b in zip(c, swap, strict=True))
            for k in range(world.node.degree[u]):
                v, via = int(world.inc_node[u, k]), int(world.inc_link[u, k])
                if ledger.link.stock[via] == 0 or hop + 1 + distance[v] > wish.hops:
                    continue
                total = cost + price[via] + loss_price * loss[via]
                d = tuple(a * b for a, b in zip(c, corr[via], strict=True))
                if v in following and total >= following[v][0]:
                    continue
                if d[0] + d[1] + d[2] < need * reach[distance[v]]:
                    continue
                following[v] = (total, d, (via, *chain))
        reached = following.get(int(wish.b))
        if reached and (best is None or reached[0] < best[0]):
            best = reached
        layer = following
    return list(best[2]) if best else []


def network(topology, load_hz, alike):
    cell = run_cell(topology, "poisson", load_hz=load_hz)
    scenario = build(cell, 3, seconds=6.0, warmup_s=0.0)
    if alike:
        scenario.network.populations[:] = scenario.network.populations[0]
    world = new_world(scenario, paths=shortest_paths)
    if alike:
        world.node.bucket[:], world.node.swap_rate[:] = 2.0, 0.05
        world = world._replace(bucket=2.0)
    return world


@pytest.mark.parametrize("alike", [False, True], ids=["all-different", "all-alike"])
@pytest.mark.parametrize(("topology", "load_hz"), [("mesh", 60.0), ("grid-6x6", 8.0)])
def test_chains_are_those_of_a_search_without_bounds(topology, load_hz, alike):
    """Also where links and nodes are alike, so that many chains cost the same."""
    world = network(topology, load_hz, alike)
    seen = {"found": 0, "none": 0, "tied": 0, "spent": 0}
    for age, scarce in ((0.5, 1.0), (1.5, 0.0), (0.0, 0.0)):
        targets = np.full(world.m, 1.0)
        rule = Rule(fill=2, complete=1, targets=targets, age=age, scarce=scarce)
        ledger = new_ledger(world, events=0)
        for stop in (30, 100, 200):
            advance(world, ledger, rule, stop)
            open_slot(world, ledger, rule)
            act_as_needed(world, ledger, rule)
            generate(world, ledger, rule)
            if alike:
                ledger.node.swap_tokens[:] = 2.0
            since = begin_spending(world, ledger)
            price_stock(world, ledger, rule)
            # Twice, so that what was in vain is asked again, before and after pairs were spent.
            for row in [*range(0, len(world.cls), 2), *range(0, len(world.cls), 5)]:
                expected = slow_search(world, ledger, rule, row)
                last = _last_swap(world, ledger, rule, row, 0, STOCK)
                beyond = connects(world, ledger, row)
                if beyond > 0:
                    sharp = _layers(
                        *(world, ledger, rule, row, 0, STOCK, CLOSED, last),
                        *(True, beyond, levels_of(ledger)),
                    )
                    assert sharp in (TIED, len(expected))
                    assert sharp == TIED or ledger.chain[:sharp].tolist() == expected
                    seen["tied"] += sharp == TIED
                length = find_stored(world, ledger, rule, row, CLOSED, since)
                assert ledger.chain[:length].tolist() == expected
                seen["found" if length else "none"] += 1
                if length and row % 3 == 0:
                    choose_pairs(world, ledger, row, length)
                    for place in ledger.chain[:length].tolist():
                        take(ledger, place)
                    price_stock(world, ledger, rule)
                    seen["spent"] += 1
    assert min(seen["found"], seen["none"], seen["spent"]) > 0, seen
    assert seen["tied"] > 0 or not alike, seen


def test_links_lead_where_they_have_stock():
    """In the order of the links, whatever was made and spent."""
    world = network("mesh", 60.0, False)
    ledger = new_ledger(world, events=0)
    rule = Rule(fill=2, complete=1, targets=np.full(world.m, 1.0))
    for stop in range(10, 160, 10):
        advance(world, ledger, rule, stop)
        for node in range(world.n):
            links = world.inc_link[node, : world.node.degree[node]]
            kept = links[ledger.link.stock[links] > 0].tolist()
            assert ledger.lead.link[node, : ledger.fan.count[node]].tolist() == kept
            for k, link in enumerate(kept):
                ends = (world.link.a[link], world.link.b[link])
                assert sorted((node, ledger.lead.node[node, k])) == sorted(ends)
        held = ledger.link.stock > 0
        assert np.array_equal(ledger.link.first[held], ledger.pair.birth[ledger.link.oldest[held]])
        assert np.array_equal(ledger.link.last[held], ledger.pair.birth[ledger.link.youngest[held]])


def test_what_searches_read_lies_in_lines():
    """Rows are 64 bytes or several, from the start of a line on; what is read most comes first."""
    world = network("mesh", 60.0, False)
    ledger = new_ledger(world, events=0)
    for rows in (ledger.node, ledger.link, ledger.fan, ledger.side, ledger.lead, world.lead):
        assert rows.strides[0] % 64 == 0 and rows.ctypes.data % 64 == 0
    first = {name for name, (_, place) in ledger.node.dtype.fields.items() if place < 64}
    assert {"swap_tokens", "swap_rate", "bucket", "qubits", "used", "tokens", "yields"} < first
    first = {name for name, (_, place) in ledger.link.dtype.fields.items() if place < 64}
    assert {"stock", "wanted", "open", "fresh_loss", "forecast", "first", "made_hz"} < first
    assert ledger.fan.itemsize == ledger.side.itemsize == 64


def test_what_lies_beside_is_what_the_world_has():
    world = network("mesh", 60.0, True)
    ledger = new_ledger(world, events=0)
    for node in range(world.n):
        degree = world.node.degree[node]
        assert np.array_equal(world.lead.node[node, :degree], world.inc_node[node, :degree])
        assert np.array_equal(world.lead.link[node, :degree], world.inc_link[node, :degree])
    for name in ("swap_rate", "bucket", "qubits"):
        assert np.array_equal(ledger.node[name], world.node[name])
    assert np.array_equal(ledger.link.made_hz, world.link.made_hz)
