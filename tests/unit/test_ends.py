"""Searches from both ends answer as the search by layers does, in whatever state a network is."""

import numpy as np
import pytest

from quantum.flows import shortest_paths
from quantum.ledger import Rule, new_ledger, new_world, open_slot
from quantum.ledger.ends import TOO_LONG, connects, meet
from quantum.ledger.paths import _last_swap, find_path, search_layers
from quantum.ledger.prices import CLAIMS, CLOSED, LEFT, STOCK
from quantum.presets import build, run_cell
from quantum.twin import advance


@pytest.mark.parametrize(("topology", "load_hz"), [("mesh", 60.0), ("grid-6x6", 8.0)])
def test_both_ends_find_what_the_layers_find(topology, load_hz):
    scenario = build(run_cell(topology, "poisson", load_hz=load_hz), 3, seconds=6.0, warmup_s=0.0)
    world = new_world(scenario, paths=shortest_paths)
    rule = Rule(fill=2, complete=1, targets=np.full(world.m, 1.0))
    # Some classes may not go around: for them the cheapest path of all is often too long.
    nearest = world.distance[world.cls.row, world.cls.a]
    world.cls.hops[::3] = np.minimum(world.cls.hops, nearest)[::3]
    ledger, rng = new_ledger(world, events=0), np.random.default_rng(2)
    kinds = (CLAIMS, LEFT, STOCK)
    seen = dict.fromkeys([*(("found", kind) for kind in kinds), "apart", "too long"], 0)
    for stop in range(40, 300, 40):
        advance(world, ledger, rule, stop)
        # Requests ask for more than there is.
        ledger.link.wanted = rng.integers(0, 3, world.m)
        for row in range(len(world.cls)):
            for kind, slack in ((CLAIMS, 20), (LEFT, 5), (STOCK, 0)):
                last = _last_swap(world, ledger, rule, row, slack, kind)
                source = world.distance[world.cls[row].row, world.cls[row].a]
                known = CLOSED if row % 2 else 9.0
                length = 0
                if last < CLOSED or source == 1:
                    length = search_layers(world, ledger, rule, row, slack, kind, known, last)
                chain = ledger.chain[:length].tolist()
                joined = connects(world, ledger, row)
                assert joined or kind != STOCK or length == 0
                seen["apart"] += kind == STOCK and not joined
                if last < CLOSED:
                    met = meet(world, ledger, rule, row, slack, kind, known, last)
                    assert met in (length, TOO_LONG)
                    assert met == TOO_LONG or ledger.chain[:length].tolist() == chain
                    seen["found", kind] += met > 0
                    seen["too long"] += met == TOO_LONG
                assert find_path(world, ledger, rule, row, slack, kind, known) == length
                assert ledger.chain[:length].tolist() == chain
    assert min(seen.values()) > 0, seen


def test_a_claim_is_kept_for_a_while_but_not_when_it_cannot_be_used():
    scenario = build(run_cell("mesh", "poisson", load_hz=60.0), 3, seconds=6.0, warmup_s=0.0)
    world = new_world(scenario, paths=shortest_paths)
    rule = Rule(fill=2, complete=1, targets=np.full(world.m, 1.0))
    ledger = new_ledger(world, events=0)
    kept = left = 0
    for stop in range(20, 200):
        advance(world, ledger, rule, stop)
        asked = ledger.request
        live = ledger.queue.live[: ledger.now[0].live]
        stays = [q for q in live.tolist() if asked.claimed[q] > 1 and asked.search[q] > stop + 1]
        if not stays:
            continue
        claims = {q: asked.claim[q, : asked.claimed[q]].tolist() for q in stays}
        spoiled = stays[-1]
        first, second = (world.link[link] for link in claims[spoiled][:2])
        node = first.a if first.a in (second.a, second.b) else first.b
        ledger.node.swap_tokens[node] = -1e3  # never again a token there by the deadline
        open_slot(world, ledger, rule)
        for q in stays:
            now = asked.claim[q, : asked.claimed[q]].tolist()
            through = [link for link in now if node in (world.link[link].a, world.link[link].b)]
            if node in (world.cls[world.request[q].cls].a, world.cls[world.request[q].cls].b):
                continue
            assert len(through) < 2
            if len([k for k in claims[q] if node in (world.link[k].a, world.link[k].b)]) < 2:
                assert now == claims[q]
                kept += 1
        left += 1
        ledger = new_ledger(world, events=0)
        if left == 5:
            break
        rule = rule._replace(targets=rule.targets + 0.5)
    assert kept > 0 and left == 5
