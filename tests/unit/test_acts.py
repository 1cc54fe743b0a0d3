"""Pairs that are swapped ahead: random acts against a reference ledger of dictionaries."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backends.analytic import exact
from controller.entries import rows_of
from quantum import werner
from quantum.batch import stack
from quantum.bell import correlators
from quantum.demand import Trace
from quantum.draws import uniform
from quantum.flows import shortest_paths
from quantum.ledger import Rule, acts, new_ledger, new_world, serve
from quantum.ledger.events import program_of, take_events
from quantum.ledger.places import is_sound, put
from quantum.ledger.slot import close_slot, open_slot
from quantum.ledger.state import (
    DELIVERED,
    DROPPED,
    EVICTED,
    FORBIDDEN,
    JOIN,
    LOST,
    MAX_HOPS,
    SPOILED,
    SWAPS,
    TEST_PAIR,
    TESTED,
)
from quantum.network import Network
from quantum.program import Gates, Memory
from quantum.scenario import Scenario

SLOT_S = 0.02


def world_of(links, n, *, seed=1, requests=(), **more):
    """A network of given links; requests are (time, a, b, pairs, fidelity, deadline)."""
    rng = np.random.default_rng(seed)
    links = np.array(sorted(links), dtype=np.int64)
    best = rng.uniform(0.9, 1.0, len(links))
    rest = rng.dirichlet([1.0, 1.0, 1.0], len(links)) * (1 - best)[:, None]
    options = {
        "swaps": 20.0,
        "qubits": 40,
        "cutoff_s": 0.6,
        "gates": Gates(success=1.0, gate_depolarizing=0.02, readout_error=0.01),
        "memory": Memory(t1_s=2.0, t2_s=1.5),
        "test_share": 0.0,
        **more,
    }
    net = Network(
        name="test",
        nodes=tuple(f"n{i}" for i in range(n)),
        position_km=np.zeros((n, 2)),
        links=links,
        length_km=np.ones(len(links)),
        populations=np.column_stack([best, rest]),
        generation_hz=np.full(n, 1e-9),
        swap_hz=np.full(n, float(options["swaps"])),
        qubits=np.full(n, options["qubits"]),
        memory=options["memory"],
        cutoff_s=options["cutoff_s"],
        gates=options["gates"],
    )
    rows = sorted(requests)
    columns = np.array(rows, dtype=float).reshape(-1, 6).T
    ends = columns[1:3].T.astype(np.int64)
    trace = Trace(
        name="test",
        commodities=ends,
        weights=np.full(len(rows), 1.0 / max(1, len(rows))),
        load_hz=1.0,
        time_s=columns[0],
        commodity=np.arange(len(rows)),
        pairs=columns[3].astype(np.int64),
        minimum_fidelity=columns[4],
        deadline_s=columns[5],
        told_s=columns[0],
    )
    scenario = Scenario(
        network=net,
        trace=trace,
        seed=seed,
        seconds=3.0,
        warmup_s=0.0,
        test_share=options["test_share"],
    )
    return new_world(scenario, paths=shortest_paths), net


IDLE = Rule(fill=0, complete=0, targets=np.zeros(40))


class Reference:
    """The same books in dictionaries and lists, with states from the closed forms of pairs."""

    def __init__(self, world, net):
        self.world, self.net = world, net
        self.clock = 0
        self.stored = {}  # place -> (u, v, leaves [[link, birth, left, right]])
        self.tokens = [float(b) for b in world.node.bucket]
        self.spent = [0] * world.n
        self.left = world.request.pairs.tolist()
        self.good = [0] * len(self.left)
        self.attempts = [0] * len(self.left)
        self.made = self.dropped = self.evicted = self.spoiled = self.used = self.forbidden = 0

    def tick(self):
        self.clock += 1
        for place, (_, _, leaves) in list(self.stored.items()):
            if self.clock - min(leaf[1] for leaf in leaves) > self.world.cutoff:
                self.dropped += len(leaves)
                del self.stored[place]
        for node, bucket in enumerate(self.world.node.bucket):
            self.tokens[node] = min(bucket, self.tokens[node] + self.world.node.swap_rate[node])

    def put(self, place, link):
        assert place not in self.stored
        ends = self.world.link[link]
        self.stored[place] = (int(ends.a), int(ends.b), [[link, self.clock, None, None]])
        self.made += 1

    def oriented(self, place, start):
        u, v, leaves = self.stored[place]
        if u == start:
            return v, [list(leaf) for leaf in leaves]
        return u, [[link, birth, b, a] for link, birth, a, b in reversed(leaves)]

    def join(self, node, left, right):
        code = self.why_not(node, left, right)
        if code:
            self.forbidden += 1
            return code, None
        u, one = self.oriented(left, node)
        v, other = self.oriented(right, node)
        one = [[link, birth, b, a] for link, birth, a, b in reversed(one)]
        one[-1][3] = other[0][2] = self.clock
        luck = uniform(self.world.seed, JOIN, node, self.spent[node], 0)
        self.tokens[node] -= 1.0
        self.spent[node] += 1
        del self.stored[left], self.stored[right]
        if luck >= self.world.swap_success:
            self.spoiled += len(one) + len(other)
            return acts.FAILED, None
        return 0, (u, v, one + other)

    def why_not(self, node, left, right):
        here = [p for p in (left, right) if p in self.stored and node in self.stored[p][:2]]
        if len(set(here)) < 2:
            return acts.NO_PAIR
        u, one = self.oriented(left, node)
        v, other = self.oriented(right, node)
        if u == v:
            return acts.SAME_ENDS
        if len(one) + len(other) > MAX_HOPS:
            return acts.TOO_LONG
        return 0 if self.tokens[node] >= 1.0 else acts.NO_TOKEN

    def state(self, leaves):
        fresh = correlators(self.net.populations)
        total = None
        for link, birth, left, right in leaves:
            waits = [((self.clock if t is None else t) - birth) * SLOT_S for t in (left, right)]
            c = werner.wait(fresh[link], *waits, self.net.memory)
            total = c if total is None else werner.swap(total, c, self.net.gates)
        return total

    def hand_over(self, request, place):
        world, asked = self.world, self.world.request[request]
        live = self.clock >= max(asked.arrival, asked.told + 1) and self.clock <= asked.deadline
        if not live or self.left[request] == 0:
            self.forbidden += 1
            return acts.NO_REQUEST
        wish = world.cls[asked.cls]
        if place not in self.stored:
            self.forbidden += 1
            return acts.NO_PAIR
        if set(self.stored[place][:2]) != {wish.a, wish.b}:
            self.forbidden += 1
            return acts.OTHER_ENDS
        leaves = self.stored.pop(place)[2]
        number, self.attempts[request] = self.attempts[request], self.attempts[request] + 1
        self.used += len(leaves)
        if uniform(world.seed, TEST_PAIR, request, number, 0) < world.test_share:
            return TESTED
        self.left[request] -= 1
        self.good[request] += werner.fidelity(self.state(leaves)) >= wish.fidelity
        return DELIVERED

    def agrees(self, ledger):
        assert is_sound(self.world, ledger)
        stored = np.flatnonzero(ledger.pair.u >= 0).tolist()
        assert stored == sorted(self.stored)
        total = ledger.totals
        assert total[DROPPED] == self.dropped
        assert total[EVICTED] == self.evicted
        assert total[SPOILED] == self.spoiled
        assert total[FORBIDDEN] == self.forbidden
        assert total[SWAPS] == sum(self.spent)
        # Every link pair that was made is stored, or went one way.
        held = sum(len(leaves) for _, _, leaves in self.stored.values())
        assert self.made == held + self.dropped + self.evicted + self.spoiled + self.used
        assert ledger.request.left.tolist() == self.left
        assert ledger.request.good.tolist() == self.good
        np.testing.assert_allclose(ledger.node.swap_tokens, self.tokens, atol=1e-9)
        stock = np.zeros(self.world.m, dtype=int)
        fill = np.zeros(self.world.n, dtype=int)
        truth, hope = np.zeros(3), np.zeros(3)
        for place, (u, v, leaves) in self.stored.items():
            fill[[u, v]] += 1
            if len(leaves) == 1:
                stock[leaves[0][0]] += 1
            assert {u, v} == {ledger.pair[place].u, ledger.pair[place].v}
            assert acts.state_of(self.world, ledger, place, truth, hope) == len(leaves)
            np.testing.assert_allclose(truth, self.state(leaves), atol=1e-12)
            np.testing.assert_allclose(hope, truth, atol=1e-15)
        assert ledger.link.stock.tolist() == stock.tolist()
        assert ledger.node.used.tolist() == fill.tolist()


WHEEL = [(0, 1), (1, 2), (2, 3), (3, 4), (0, 4), (0, 5), (1, 5), (2, 5), (3, 5), (4, 5)]


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), success=st.sampled_from([1.0, 0.7]))
def test_random_acts_keep_the_books(seed, success):
    rng = np.random.default_rng(seed)
    asked = [
        (rng.uniform(0.0, 0.5), *rng.choice(6, 2, replace=False), rng.integers(1, 4), 0.6, 0.7)
        for _ in range(8)
    ]
    world, net = world_of(
        WHEEL,
        6,
        seed=int(rng.integers(1000)),
        requests=asked,
        swaps=rng.uniform(1.0, 40.0),
        gates=Gates(success=success, gate_depolarizing=0.02, readout_error=0.01),
        test_share=0.3,
    )
    ledger, books = new_ledger(world, composites=True), Reference(world, net)
    open_slot(world, ledger, IDLE)
    for node in range(world.n):  # the first slot refills full buckets
        books.tokens[node] = float(world.node.bucket[node])
    places = len(ledger.pair)

    def some():
        """Return a stored place mostly, now and then nonsense."""
        here = sorted(books.stored)
        return int(rng.choice(here)) if here and rng.random() < 0.95 else int(rng.integers(-1, 9))

    for number in range(100):
        act = rng.random()
        if act < 0.3:
            link = int(rng.integers(world.m))
            books.put(put(world, ledger, link, int(world.link[link].a)), link)
        elif act < 0.65:
            left, right = some(), some()
            node = int(rng.integers(world.n))
            if left in books.stored and rng.random() < 0.9:
                node = books.stored[left][int(rng.integers(2))]
            code, joined = books.join(node, left, right)
            got = acts.join(world, ledger, node, left, right)
            if joined is None:
                assert got == code
            else:
                assert 0 <= got < places
                books.stored[got] = joined
        elif act < 0.8:
            request, place = int(rng.integers(8)), some()
            for other, (u, v, _) in books.stored.items():
                wish = world.cls[world.request[request].cls]
                if {u, v} == {wish.a, wish.b}:
                    place = other
            assert acts.hand_over(world, ledger, request, place) == books.hand_over(request, place)
        elif act < 0.83:
            place = some()
            known = place in books.stored
            if known:
                books.evicted += len(books.stored.pop(place)[2])
            else:
                books.forbidden += 1
            assert acts.discard(world, ledger, place) == (0 if known else acts.NO_PAIR)
        else:
            close_slot(world, ledger)
            open_slot(world, ledger, IDLE)
            books.tick()
        if act >= 0.83 or number % 10 == 9:
            books.agrees(ledger)


def line(hops, **more):
    return world_of([(i, i + 1) for i in range(hops)], hops + 1, **more)


@pytest.mark.parametrize("seed", range(10))
def test_a_delivery_is_executed_with_the_waits_of_every_qubit(seed):
    """Swaps in any order and slot; the analytic backend has the last word on the state."""
    rng = np.random.default_rng(seed)
    hops = 2 + seed % 5
    world, net = line(hops, seed=seed, requests=[(0.0, 0, hops, 2, 0.3, 2.0)], cutoff_s=1.2)
    if seed % 2:  # the request asks from right to left
        world, net = line(hops, seed=seed, requests=[(0.0, hops, 0, 2, 0.3, 2.0)], cutoff_s=1.2)
    ledger = new_ledger(world, composites=True)
    ledger.now.clock = 1
    ending = {}  # node -> places of pairs that end there, by side
    for link in rng.permutation(hops).tolist():
        ending[link] = put(world, ledger, link, link + int(rng.integers(2)))
        ledger.now.clock += int(rng.integers(4))
    spans = {link: (link, link + 1) for link in range(hops)}
    for node in rng.permutation(np.arange(1, hops)).tolist():
        left = next(k for k, (_, b) in spans.items() if b == node)
        right = next(k for k, (a, _) in spans.items() if a == node)
        pair = (ending[left], ending[right])
        place = acts.join(world, ledger, node, *(pair if rng.random() < 0.5 else pair[::-1]))
        assert place >= 0
        spans[left], ending[left] = (spans[left][0], spans[right][1]), place
        del spans[right]
        ledger.now.clock += 1 + int(rng.integers(3))
    (last,) = spans
    assert acts.hand_over(world, ledger, 0, ending[last]) == DELIVERED
    assert is_sound(world, ledger)
    (event,) = take_events(ledger)
    (row,) = rows_of(np.array([event], dtype=ledger.event.dtype).view(np.recarray))
    order = range(hops) if seed % 2 == 0 else reversed(range(hops))
    assert row[4] == list(order)
    assert len(row) == 7
    left_s, right_s = [w * SLOT_S for w in row[5]], [w * SLOT_S for w in row[6]]
    weights = [tuple(p) for p in net.populations.tolist()]
    program = program_of([weights[k] for k in row[4]], left_s, net.memory, net.gates, right_s)
    found = exact(stack([program])[0][1]).populations[0]
    assert event.true == pytest.approx(found[0], abs=1e-12)
    np.testing.assert_allclose(event.corr, correlators(found[None])[0], atol=1e-12)
    nodes = event.swaps[: hops - 1].tolist()
    assert nodes == ([*range(1, hops)] if seed % 2 == 0 else [*range(hops - 1, 0, -1)])


def test_a_chain_swapped_in_its_last_slot_is_the_one_that_serve_makes():
    made = []
    for ahead in (False, True):
        world, _ = line(3, requests=[(0.0, 0, 3, 1, 0.3, 2.0)])
        ledger = new_ledger(world, composites=True)
        places = []
        for link in range(3):
            places.append(put(world, ledger, link, link))
            ledger.now.clock += 2
        ledger.now.live, ledger.queue[0].live = 1, 0
        if ahead:
            first = acts.join(world, ledger, 1, places[0], places[1])
            whole = acts.join(world, ledger, 2, first, places[2])
            assert acts.hand_over(world, ledger, 0, whole) == DELIVERED
        else:
            serve(world, ledger, IDLE)
        made.append(take_events(ledger))
    one, other = made
    assert rows_of(one) == rows_of(other)
    assert len(rows_of(one)[0]) == 6
    for column in ("makers", "swaps", "kind"):
        assert np.array_equal(one[column], other[column])
    np.testing.assert_allclose(one.corr, other.corr, atol=1e-14)
    np.testing.assert_allclose(one.believed, other.believed, atol=1e-14)


def test_no_chain_is_longer_than_the_longest():
    world, _ = line(MAX_HOPS + 1, swaps=100.0)
    ledger = new_ledger(world, composites=True)
    place = put(world, ledger, 0, 0)
    for link in range(1, MAX_HOPS):
        place = acts.join(world, ledger, link, place, put(world, ledger, link, link))
        assert place >= 0
    before = ledger.pair.copy()
    extra = put(world, ledger, MAX_HOPS, MAX_HOPS)
    assert acts.join(world, ledger, MAX_HOPS, place, extra) == acts.TOO_LONG
    assert ledger.totals[FORBIDDEN] == 1
    assert ledger.pair[place].v == before[place].v
    assert ledger.leaves[place] == MAX_HOPS
    assert is_sound(world, ledger)


def test_a_ledger_without_composites_refuses_and_stays_small():
    world, _ = line(2, requests=[(0.0, 0, 2, 1, 0.3, 2.0)])
    ledger = new_ledger(world)
    assert ledger.leaf.size == ledger.leaves.size == 0
    left, right = put(world, ledger, 0, 0), put(world, ledger, 1, 1)
    assert acts.join(world, ledger, 1, left, right) == acts.NOT_KEPT
    assert acts.hand_over(world, ledger, 0, left) == acts.NOT_KEPT
    assert ledger.totals[FORBIDDEN] == 2
    assert is_sound(world, ledger)


@pytest.mark.parametrize(
    "cheat",
    [
        lambda ledger, place: ledger.leaf[place, 0].__setattr__("right", 0),
        lambda ledger, place: ledger.leaf[place, 1].__setattr__("left", -1),
        lambda ledger, place: ledger.leaf[place, 1].__setattr__("link", 0),
        lambda ledger, place: ledger.leaves.__setitem__(place, 1),
        lambda ledger, place: ledger.pair[place].__setattr__("old", 4),
        lambda ledger, place: ledger.pair[place].__setattr__("v", 1),
        lambda ledger, place: ledger.node[1].__setattr__("swaps", 0),
        lambda ledger, place: ledger.totals.__setitem__(SWAPS, 0),
        lambda ledger, place: ledger.node[1].__setattr__("swap_tokens", 20.0),
    ],
)
def test_forged_books_are_found(cheat):
    world, _ = line(3)
    ledger = new_ledger(world, composites=True)
    ledger.now.clock = 3
    left, right = put(world, ledger, 0, 0), put(world, ledger, 1, 1)
    ledger.now.clock = 5
    place = acts.join(world, ledger, 1, left, right)
    world = world._replace(node=world.node.copy().view(np.recarray))
    world.node.swap_rate = 0.0
    assert is_sound(world, ledger)
    cheat(ledger, place)
    assert not is_sound(world, ledger)


def test_a_failed_swap_takes_both_pairs_and_a_token():
    world, _ = line(2, gates=Gates(success=0.0), requests=[(0.0, 0, 2, 1, 0.3, 2.0)])
    ledger = new_ledger(world, composites=True)
    left, right = put(world, ledger, 0, 0), put(world, ledger, 1, 1)
    assert acts.join(world, ledger, 1, left, right) == acts.FAILED
    assert ledger.totals[[SWAPS, SPOILED, FORBIDDEN]].tolist() == [1, 2, 0]
    assert ledger.node.used.tolist() == [0, 0, 0]
    assert ledger.node[1].swap_tokens == world.node[1].bucket - 1.0
    assert LOST not in ledger.event[: ledger.now[0].events].kind
    assert is_sound(world, ledger)
