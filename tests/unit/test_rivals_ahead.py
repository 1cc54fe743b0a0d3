"""Allocators that swap ahead: swap-asap and max-weight, and what their papers say of them."""

from dataclasses import replace

import numpy as np
import pytest

from controller.game import alone_of, delay_slots, play, player_of, prepare
from controller.losses import pairs_alone_played
from controller.rivals import max_weight, swap_asap
from controller.rivals.allocator import Allocator, find
from quantum.bell import werner
from quantum.demand import Trace
from quantum.ledger import new_ledger
from quantum.ledger.places import is_sound
from quantum.ledger.state import FORBIDDEN, SWAPS
from quantum.network import Network
from quantum.presets import build, cells
from quantum.program import Gates, Memory
from quantum.scenario import Scenario

SLOT_S = 0.02
#: As they are published, whatever tuning found: max-weight swaps ahead.
BOTH = {"swap-asap": swap_asap.make(), "max-weight": max_weight.make()}
#: With these levers max-weight is first come first served and swaps nothing ahead.
PLAIN = max_weight.make(backlog=0.0, thrift=0.0, ahead=0.0)


def line(generation, *, cutoff_s, qubits, fidelity=1.0, t2_s=np.inf):
    """A line of nodes that make so many tokens a slot, with swap tokens without end."""
    n = len(generation)
    return Network(
        name="line",
        nodes=tuple(f"n{i}" for i in range(n)),
        position_km=np.zeros((n, 2)),
        links=np.array([[i, i + 1] for i in range(n - 1)], dtype=np.int64),
        length_km=np.ones(n - 1),
        populations=werner(np.full(n - 1, fidelity)),
        generation_hz=np.array(generation, dtype=float) / SLOT_S,
        swap_hz=np.full(n, 1000.0),
        qubits=np.array(qubits),
        memory=Memory(t2_s=t2_s),
        cutoff_s=cutoff_s,
        gates=Gates(),
    )


def asking(net, rows, commodities, seconds, *, load_hz=1.0):
    """Rows are (time, commodity, pairs, deadline); all ask for a fidelity of 0.6."""
    time_s, commodity, pairs, deadline = np.array(sorted(rows), dtype=float).T
    return Scenario(
        network=net,
        trace=Trace(
            name="test",
            commodities=np.array(commodities, dtype=np.int64),
            weights=np.full(len(commodities), 1.0 / len(commodities)),
            load_hz=load_hz,
            time_s=time_s,
            commodity=commodity.astype(np.int64),
            pairs=pairs.astype(np.int64),
            minimum_fidelity=np.full(len(time_s), 0.6),
            deadline_s=deadline,
            told_s=time_s,
        ),
        seed=1,
        seconds=seconds,
        warmup_s=0.0,
        test_share=0.0,
        service_s=0.0,
    )


def played(scenario, allocator, slots=None):
    game = prepare(scenario)
    ledger = new_ledger(
        game.world,
        delay_slots=delay_slots(scenario, central=allocator.central),
        composites=allocator.swaps_ahead,
    )
    player_of(game, allocator)(ledger, game.world.horizon if slots is None else slots)
    assert is_sound(game.world, ledger)
    assert ledger.totals[FORBIDDEN] == 0
    return game, ledger


@pytest.fixture(scope="module")
def mesh():
    """The paper's network in a hurry: swaps fail at times, memories are small."""
    scenario = build(cells("paper")[4], 1, seconds=6.0, warmup_s=3.0)
    network = replace(
        scenario.network, gates=Gates(success=0.9, readout_error=0.001), qubits=np.full(100, 8)
    )
    return prepare(replace(scenario, network=network))


@pytest.mark.parametrize("name", BOTH)
def test_books_are_kept_and_nothing_is_above_its_bound(mesh, name):
    allocator = BOTH[name]
    ledger = new_ledger(mesh.world, composites=True)
    player = player_of(mesh, allocator)
    joined = 0
    for stop in range(25, mesh.world.horizon, 25):
        player(ledger, stop)
        assert is_sound(mesh.world, ledger)
        joined = max(joined, int(((ledger.pair.u >= 0) & (ledger.pair.link < 0)).sum()))
    assert joined > 3
    assert ledger.totals[FORBIDDEN] == 0
    result = play(mesh, allocator, with_losses=False)
    assert result.bound == mesh.bound_ahead >= mesh.bound == play(mesh, find("uniform")).bound
    assert result.score.pairs_delivered <= result.bound
    # It is no weaker than what fills stocks blindly.
    assert result.score.pairs_delivered > 0.9 * play(mesh, find("uniform")).score.pairs_delivered


def test_in_slots_of_any_number_the_same_is_played(mesh):
    for name in BOTH:
        whole, parts = (new_ledger(mesh.world, composites=True) for _ in range(2))
        player_of(mesh, BOTH[name])(whole, 200)
        player = player_of(mesh, BOTH[name])
        for stop in range(1, 201):
            player(parts, stop)
        assert whole.request.tobytes() == parts.request.tobytes()
        assert whole.totals.tobytes() == parts.totals.tobytes()


def test_without_composites_the_search_over_both_is_the_one_over_links(mesh):
    """Two searches, written apart; swaps that fail are drawn apart, so here they all succeed."""
    scenario = replace(mesh.scenario, network=replace(mesh.scenario.network, gates=Gates()))
    game = prepare(scenario)
    one = play(game, PLAIN, with_losses=False)
    rule = Allocator(name="rule", central=True, sentence="", rule=PLAIN.rule)
    other = play(game, rule, with_losses=False)
    assert one.score == other.score
    assert one.totals == other.totals


@pytest.mark.parametrize("name", BOTH)
def test_alone_in_a_forked_network_is_alone_in_one_of_its_own(mesh, name):
    allocator, world = BOTH[name], mesh.world
    ledger = new_ledger(world, composites=True)
    player_of(mesh, allocator)(ledger, world.horizon)
    missed = np.flatnonzero(ledger.request.left > 0)[:12]
    forked = alone_of(mesh, allocator)(missed)
    own = pairs_alone_played(
        world,
        lambda: player_of(mesh, allocator),
        missed,
        delay_slots(mesh.scenario, central=allocator.central),
        history_slots=10**6,
        composites=True,
    )
    assert forked.tolist() == own.tolist()
    assert forked.max() > 0


def test_two_segments_wait_for_the_later_one():
    """E[max] of two geometric times, (3 - 2p) / (p (2 - p)) (Kamin et al., two segments).

    Each end makes a pair in a slot with p = 0.2; a request comes only after the last is served.
    """
    p, count, gap = 0.2, 1500, 40
    rate = -np.log(1.0 - p)
    net = line([rate, 0.0, rate], cutoff_s=5.0, qubits=[1, 2, 1])
    rows = [(i * gap * SLOT_S, 0, 1, (gap - 2) * SLOT_S) for i in range(count)]
    scenario = asking(net, rows, [(0, 2)], count * gap * SLOT_S)
    _, ledger = played(scenario, swap_asap.make(stock=0.0, gaps=16.0))
    waits, slots = ledger.waits, np.arange(len(ledger.waits))
    # A chance of 0.8^37 of missing the deadline is nothing among 1500.
    assert waits.sum() == count
    mean = waits @ slots / count
    spread = np.sqrt((waits @ slots**2 / count - mean**2) / count)
    assert abs(mean - (3 - 2 * p) / (p * (2 - p))) < 5.0 * spread


def segments(cutoff_s, gaps):
    """Good pairs over four segments in a minute, all memories short of qubits and of coherence."""
    rate = -np.log(0.9)
    net = line([rate / 2] * 5, cutoff_s=cutoff_s, qubits=[1, 2, 2, 2, 1], fidelity=0.99, t2_s=0.6)
    scenario = asking(net, [(0.0, 0, 10**6, 120.0)], [(0, 4)], 60.0)
    _, ledger = played(scenario, swap_asap.make(stock=0.0, gaps=gaps), slots=3000)
    return int(ledger.request.good.sum())


def test_there_is_a_best_cutoff():
    """Too short and nothing meets, too long and what is stored is worth nothing (Inesta et al.)."""
    good = [segments(cutoff_s, 16.0) for cutoff_s in (0.1, 0.4, 2.0)]
    assert good[1] > 2 * good[0] > 0
    assert good[1] > 4 * good[2]


def test_swapping_at_once_beats_waiting_for_the_whole_chain():
    """Qubits that a swap frees make pairs again."""
    assert segments(0.5, 16.0) > 1.5 * segments(0.5, 0.0)


def queues(allocator, short, long):
    """Two links, a pair on each with chance 1/2 a slot that lasts one more; what waits at the end.

    Requests for one link come with chance ``short`` each, those for both with ``long``.
    """
    rate, slots = -np.log(0.5), 2000
    rng = np.random.default_rng(1)
    net = line([rate, 0.0, rate], cutoff_s=SLOT_S, qubits=[1, 2, 1])
    rows = [
        (slot * SLOT_S, kind, 1, 2 * slots * SLOT_S)
        for slot in range(slots)
        for kind, chance in enumerate((short, short, long))
        if rng.random() < chance
    ]
    load_hz = (2 * short + long) / SLOT_S
    of = asking(net, rows, [(0, 1), (1, 2), (0, 2)], slots * SLOT_S, load_hz=load_hz)
    game, ledger = played(of, allocator, slots=slots)
    kind = game.scenario.trace.commodity
    return [int(ledger.request.left[kind == k].sum()) for k in range(3)]


def test_queues_are_stable_where_serving_short_ones_first_lets_the_long_one_grow():
    """Max-weight is stable wherever anything is (Vasantam and Towsley)."""
    greedy = max_weight.make(backlog=0.0, thrift=1.0, ahead=0.0)
    weighted = max_weight.make(backlog=1.0, thrift=0.0, ahead=0.0)
    for short, long in ((0.25, 0.15), (0.25, 0.2), (0.3, 0.15)):
        assert max(queues(weighted, short, long)) < 20
        assert queues(greedy, short, long)[2] > 100


def test_composites_put_swap_tokens_by():
    """A node with a bucket of one token serves a burst if it swapped before the burst came."""
    net = replace(
        line([0.5, 0.0, 0.5], cutoff_s=2.0, qubits=[8, 16, 8]), swap_hz=np.array([1.0, 1.0, 1.0])
    )
    of = asking(net, [(4.0 * i + 2.0, 0, 3, 0.2) for i in range(15)], [(0, 2)], 60.0, load_hz=3.0)
    got = []
    for ahead in (0.0, 1.0):
        game, ledger = played(of, max_weight.make(ahead=ahead, stock=2.0))
        got.append(int(ledger.request.good.sum()))
        assert ledger.totals[SWAPS] >= got[-1]
        assert got[-1] <= game.bound_ahead
    assert got[0] <= 30 < got[1]


def test_ways_carry_the_mean_demand():
    net = line([0.5, 0.5, 0.5, 0.5], cutoff_s=1.0, qubits=[4, 4, 4, 4])
    of = asking(net, [(0.0, 0, 1, 1.0), (0.1, 1, 1, 1.0)], [(0, 3), (1, 2)], 2.0, load_hz=6.0)
    first, ways = max_weight.ways_of(of, prepare(of).plan)
    assert first.tolist() == [0, 0, 1, 2, 2]
    np.testing.assert_allclose(ways.flow, 3.0)
    assert [(w.one, w.other, w.u, w.v) for w in ways] == [(0, 1, 0, 2), (1, 2, 1, 3)]
