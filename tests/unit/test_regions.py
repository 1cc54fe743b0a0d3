"""Regions: who owns what, and pairs between regions through loss, partitions and kills."""

from contextlib import suppress
from dataclasses import replace
from itertools import pairwise

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from regions_stage import REGIONS, TICK_S, Stage, ring, territory

from controller.regions import wire
from controller.regions.building import journals_of, losses_of, open_journal
from controller.regions.checking import check_regions
from controller.regions.config import load_regions
from controller.regions.holding import Holder
from controller.regions.records import Crossed, Deciding, Holding, Over, decoder
from controller.regions.territory import Territory
from controller.service.journal import read
from quantum.bell import correlators
from quantum.errors import Code, InputError, RecordError, WireError
from quantum.program import Gates
from quantum.requests import Denied, Granted
from quantum.topology import load_topology
from quantum.werner import fidelity, swap_factors, wait


@pytest.fixture
def stage(tmp_path):
    made = []

    def make(**given):
        made.append(Stage(tmp_path, **given))
        return made[-1]

    yield make
    for one in made:
        one.close()


# Who owns what.


def named(network):
    return [(network.nodes[a], network.nodes[b]) for a, b in network.links.tolist()]


@given(st.data(), st.sampled_from(["mesh-12", "geometric-15", "grid-3x4", "surfnet"]))
@settings(max_examples=20, deadline=None)
def test_every_link_qubit_and_token_has_one_owner(data, name):
    network = load_topology(name, seed=1)
    network = replace(network, qubits=network.qubits * 0 + 40)
    count = data.draw(st.integers(2, 4))
    of = data.draw(st.lists(st.integers(0, count - 1), min_size=len(network.nodes), max_size=99))
    nodes = {
        f"r{k}": [n for n, r in zip(network.nodes, of, strict=False) if r == k]
        for k in range(count)
    }
    nodes = {name: mine for name, mine in nodes.items() if mine}
    number = {name: k for k, name in enumerate(network.nodes)}
    smaller = [network.nodes[a] for a, _ in network.links.tolist()]
    if any(not set(mine) & set(smaller) for mine in nodes.values()):
        with pytest.raises(InputError, match="owns no links"):
            Territory(network, nodes)
        return
    whole = Territory(network, nodes)
    assert all(number[a] < number[b] for p in whole.parts.values() for a, b in named(p.network))
    links = sorted(
        (part.network.nodes[a], part.network.nodes[b])
        for part in whole.parts.values()
        for a, b in part.network.links.tolist()
    )
    assert links == sorted((network.nodes[a], network.nodes[b]) for a, b in network.links.tolist())
    for k, node in enumerate(network.nodes):
        at = [
            (p, p.network.nodes.index(node))
            for p in whole.parts.values()
            if node in p.network.nodes
        ]
        assert sum(p.network.qubits[i] + p.held[node] for p, i in at) == network.qubits[k]
        generation = sum(p.network.generation_hz[i] for p, i in at)
        swaps = sum(p.network.swap_hz[i] + p.joins_hz[node] for p, i in at)
        assert generation == pytest.approx(network.generation_hz[k])
        assert swaps == pytest.approx(network.swap_hz[k])
    a, b = network.nodes[0], network.nodes[-1]
    legs = whole.way(a, b)
    assert legs[0].a == a and legs[-1].b == b
    for leg, other in pairwise(legs):
        assert leg.b == other.a and leg.region != other.region
    for leg in legs:
        assert {leg.a, leg.b} <= set(whole.parts[leg.region].network.nodes)
    without = frozenset({legs[0].region})
    around = whole.way(a, b, without=without)
    assert around is None or all(leg.region not in without for leg in around)


@pytest.mark.parametrize(
    ("nodes", "said"),
    [
        ({"a": ["n0", "n1", "n9"], "b": []}, "regions.a.nodes: 'n9' is no node of ring-6"),
        ({"a": ["n0", "n1", "n2"], "b": ["n2"]}, "node n2 belongs to a and to b"),
        ({"a": ["n0", "n1", "n2"], "b": ["n3", "n4"]}, "node n5 belongs to no region"),
        ({"a": [f"n{k}" for k in range(5)], "b": ["n5"]}, "region b owns no links"),
    ],
)
def test_what_is_no_division_is_refused(nodes, said):
    with pytest.raises(InputError, match=said):
        Territory(ring(), nodes)


def test_a_node_with_too_little_memory_is_refused():
    poor = replace(ring(), qubits=ring().qubits * 0 + 2)
    with pytest.raises(InputError, match="2 qubits, too few for the regions"):
        Territory(poor, REGIONS)


FILE = """
[network]
topology = "ring-6"
load_hz = 8.0
[regions.east]
address = "tcp://127.0.0.1:7421"
nodes = ["n0", "n1", "n2"]
[regions.west]
address = "tcp://127.0.0.1:7422"
nodes = ["n3", "n4", "n5"]
"""


@pytest.mark.parametrize(
    ("was", "becomes", "said"),
    [
        ("7422", "7421", "regions east and west have the address tcp://127.0.0.1:7421"),
        ("regions.west", 'regions."we/st"', "letters, digits"),
        ("load_hz", "lod_hz", "lod_hz"),
        ("[regions.west]", "[terms]\non_full = 'continue'\n[regions.west]", "on_full must be stop"),
        ('nodes = ["n3", "n4", "n5"]', "nodes = []", "regions"),
        ("[regions.west]", "[regions.west", "not valid TOML"),
    ],
)
def test_a_file_that_is_wrong_is_one_line(was, becomes, said, tmp_path):
    path = tmp_path / "regions.toml"
    path.write_text(FILE)
    assert load_regions(str(path)).region_of("n4") == "west"
    path.write_text(FILE.replace(was, becomes))
    with pytest.raises(InputError, match=said) as wrong:
        load_regions(str(path))
    assert "\n" not in str(wrong.value)


# Physics: what is promised is at most what is there.


@given(
    st.lists(
        st.tuples(
            st.lists(st.floats(0.0, 1.0), min_size=4, max_size=4).filter(lambda p: sum(p) > 0.1),
            st.floats(0.0, 5.0),
        ),
        min_size=1,
        max_size=4,
    ),
    st.floats(0.0, 0.2),
    st.floats(0.0, 0.1),
)
@settings(max_examples=60, deadline=None)
def test_the_fidelity_that_is_promised_is_a_lower_bound(legs, depolarizing, flips):
    network = replace(ring(), gates=Gates(gate_depolarizing=depolarizing, readout_error=flips))
    kept, swap = losses_of(network)
    states, bound = [], swap ** (len(legs) - 1)
    for weights, wait_s in legs:
        state = correlators(np.array(weights) / sum(weights))
        bound *= float(fidelity(state)) * kept(wait_s)
        states.append(wait(state, wait_s, wait_s, network.memory))
    joined = np.prod(states, axis=0) * swap_factors(network.gates) ** (len(legs) - 1)
    assert bound <= fidelity(joined) + 1e-9
    assert kept(0.0) == pytest.approx(1.0, abs=1e-4)


# Requests across.


def test_pairs_across_regions_join_legs_of_their_owners(stage):
    one = stage()
    far, near = one.ask("n0", "n3", pairs=2, fidelity=0.8), one.ask("n2", "n3")
    one.run(6.0)
    assert isinstance(one.answer(near), Granted)
    answer = one.answer(far)
    assert isinstance(answer, Granted)
    assert [(p.source, p.destination) for p in answer.pairs] == [("n0", "n3")] * 2
    assert all(0.8 <= p.predicted < 0.97 for p in answer.pairs)
    assert not one.repeat_all()
    one.close()
    proof = one.proof()
    assert (proof.granted, proof.pairs, proof.spent, proof.held) == (1, 2, 0, 0)
    assert proof.local == 1


def test_in_a_partition_local_requests_go_on_and_crossing_ones_wait(stage):
    one = stage()
    for other in ("north", "west"):
        one.cut.add(frozenset({"east", other}))
    waits, ends = one.ask("n0", "n3", deadline_s=9.0), one.ask("n1", "n4", deadline_s=3.0)
    local = [one.ask("n0", "n1", deadline_s=3.0), one.ask("n2", "n3", deadline_s=3.0)]
    one.run(5.0)
    assert all(isinstance(one.answer(rid), Granted) for rid in local)
    assert one.answer(waits) is None
    denied = one.answer(ends)
    assert isinstance(denied, Denied) and denied.code is Code.TIMEOUT
    assert "did not answer" in denied.detail and "east" not in denied.detail
    one.cut.clear()
    healed_s = one.now_s
    while one.answer(waits) is None:
        one.tick()
    # The longest wait before something is said again, and what it takes to say it.
    assert one.now_s - healed_s < 2.5
    assert isinstance(one.answer(waits), Granted)


def test_an_owner_that_starts_again_lets_go_and_another_leg_is_asked_for(stage):
    one = stage()
    rid = one.ask("n0", "n3", deadline_s=9.0)
    north = one.regions["north"]
    while not north.broker.holder.holding():
        one.tick()
    # What it says of it is lost.
    one.kill("north")
    one.run(0.5)
    one.start("north")
    one.run(8.0)
    assert isinstance(one.answer(rid), Granted)
    one.close()
    proof = one.proof()
    assert proof.let_go >= 1 and proof.pairs == 1


@pytest.mark.parametrize("away", ["east", "north"])
def test_what_was_decided_goes_on_after_a_kill(stage, away):
    """Either side is killed just after the decision: the legs are used once, and for this."""
    one = stage()
    rid = one.ask("n0", "n3", deadline_s=9.0)
    journal = journals_of(one.folder, "east")[0]

    def decided():
        return any(isinstance(e, Deciding) for _, row in read(journal, decoder) for e in row)

    while not decided():
        one.tick()
    assert one.answer(rid) is None
    one.cut.add(frozenset({"east", "north"}))
    one.flying.clear()
    one.kill(away)
    one.start(away)
    one.cut.clear()
    one.run(8.0)
    assert isinstance(one.answer(rid), Granted)
    one.close()
    proof = one.proof()
    assert (proof.pairs, proof.granted) == (1, 1)
    # Where the asker was killed both legs were still held, and nothing was lost; an owner that
    # starts again has lost what it held, and what the other one used for it is spent.
    assert proof.spent == (0 if away == "east" else 1)


FAULTS = st.lists(
    st.tuples(
        st.floats(0.0, 4.0),
        st.sampled_from(["kill", "cut"]),
        st.permutations(sorted(REGIONS)),
        st.floats(0.02, 1.5),
    ),
    max_size=6,
)
ASKS = st.lists(
    st.tuples(
        st.permutations([f"n{k}" for k in range(6)]),
        st.integers(1, 3),
        st.sampled_from([0.5, 0.8, 0.9, 0.99]),
        st.floats(0.5, 4.0),
    ),
    min_size=1,
    max_size=8,
)


@given(ASKS, FAULTS, st.sampled_from([0.0, 0.1, 0.4]), st.integers(0, 99))
@settings(max_examples=15, deadline=None)
def test_whatever_happens_nothing_is_used_twice(tmp_path_factory, asks, faults, loss, seed):
    one = Stage(tmp_path_factory.mktemp("regions"), loss=loss, seed=seed)
    rids = [
        one.ask(nodes[0], nodes[1], pairs=pairs, fidelity=fidelity, deadline_s=deadline_s)
        for nodes, pairs, fidelity, deadline_s in asks
    ]
    due = []
    for at_s, kind, names, for_s in faults:
        begin, end = one.now_s + at_s, one.now_s + at_s + for_s
        due.append((begin, kind, names, True))
        due.append((end, kind, names, False))
    due.sort(key=lambda fault: fault[0])
    until_s = one.now_s + 8.0
    while one.now_s < until_s:
        one.tick()
        while due and due[0][0] <= one.now_s:
            _, kind, names, begins = due.pop(0)
            link = frozenset(names[:2])
            if kind == "cut":
                (one.cut.add if begins else one.cut.discard)(link)
            elif begins and one.regions[names[0]].broker is not None:
                one.kill(names[0])
            elif not begins and one.regions[names[0]].broker is None:
                one.start(names[0])
    # Everybody is there again, and every deadline is over: everybody has an answer, and always
    # the same, and nobody holds anything.
    for rid in rids:
        assert one.answer(rid) is not None, one.wanted[rid]
    for region in one.regions.values():
        assert region.broker.holder.holding() == 0
        assert region.desk.stock.is_sound()
    one.close()
    proof = one.proof()
    granted = [answer for rid in rids if isinstance(answer := one.answer(rid), Granted)]
    crossing = [
        answer
        for answer in granted
        if not territory().inside(
            territory().region_of[answer.pairs[0].source],
            answer.pairs[0].source,
            answer.pairs[0].destination,
        )
    ]
    assert proof.granted == len(crossing)
    assert proof.held == 0


# The proof finds what is wrong.


def crossed(tmp_path, change):
    """Journals of a request that went well, after ``change(name, entry)`` of each entry."""
    one = Stage(tmp_path / "good")
    rid = one.ask("n0", "n3", pairs=2)
    one.run(5.0)
    assert isinstance(one.answer(rid), Granted)
    one.close()
    found = {}
    for name in REGIONS:
        good, links = journals_of(tmp_path / "good", name)
        bad = journals_of(tmp_path / "bad", name)[0]
        journal = open_journal(bad, durable=False)
        for _, entries in read(good, decoder):
            new = [after for entry in entries for after in change(name, entry)]
            if new:
                journal.append(new)
        journal.close()
        found[name] = (bad, links)
    return found


def _double(name, entry):
    return [entry, entry] if isinstance(entry, Holding) else [entry]


def _never_used(name, entry):
    if name == "north" and isinstance(entry, Over):
        return [msgspec.structs.replace(entry, used=False)]
    return [entry]


def _twice_in_a_pair(name, entry):
    if not isinstance(entry, Crossed):
        return [entry]
    first = entry.pairs[0]
    return [
        msgspec.structs.replace(
            entry,
            pairs=(
                first,
                *[msgspec.structs.replace(pair, index=first.index) for pair in entry.pairs[1:]],
            ),
        )
    ]


def _better(name, entry):
    if not isinstance(entry, Crossed):
        return [entry]
    pairs = tuple(msgspec.structs.replace(pair, predicted=0.99) for pair in entry.pairs)
    return [msgspec.structs.replace(entry, pairs=pairs)]


def _undecided(name, entry):
    return [] if isinstance(entry, Deciding) else [entry]


def _not_granted(name, entry):
    if not isinstance(entry, Holding) or name != "north":
        return [entry]
    pairs = tuple((number + 100, quality) for number, quality in entry.pairs)
    return [msgspec.structs.replace(entry, pairs=pairs)]


def _elsewhere(name, entry):
    if not isinstance(entry, Deciding):
        return [entry]
    legs = (*entry.legs[:-1], msgspec.structs.replace(entry.legs[-1], b="n4"))
    return [msgspec.structs.replace(entry, legs=legs)]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_double, "is held twice"),
        (_never_used, "was not used"),
        (_twice_in_a_pair, "is a part of two pairs"),
        (_better, "was not put together for request|better than its legs"),
        (_undecided, "were never decided"),
        (_not_granted, "is not what was decided on|holds what was not granted"),
        (_elsewhere, "do not join its ends"),
    ],
)
def test_the_proof_names_what_is_wrong(change, said, tmp_path):
    (tmp_path / "good").mkdir()
    (tmp_path / "bad").mkdir()
    with pytest.raises(RecordError, match=said):
        check_regions(crossed(tmp_path, change))


def test_a_journal_of_another_region_is_refused(stage):
    one = stage()
    one.kill("north")
    mine, other = (journals_of(one.folder, name)[0] for name in ("north", "west"))
    one.kill("west")
    mine.unlink()
    mine.write_bytes(other.read_bytes())
    with pytest.raises(InputError, match="belongs to another region or network"):
        one.start("north")
    one.regions["north"].kill()


# Strangers and their messages.


@given(st.binary(max_size=200))
def test_no_bytes_do_more_than_be_refused(data):
    for decode in (wire.decode_from_asker, wire.decode_from_owner):
        for frame in (data, wire.encode(wire.Commit(bytes(16)))[:4] + data):
            with suppress(WireError):
                message = decode(frame)
                assert wire.encode(message) == wire.encode(decode(wire.encode(message)))


def holder():
    part = territory().parts["east"]
    return Holder(part, 1.0, grace_s=1.0)


def test_a_leg_is_its_askers_alone():
    mine = holder()
    leg = bytes(range(16))
    wish = wire.Reserve(leg, "n0", "n1", 1, 0.5, 2.0, joined=False)
    mine.hear(wish, "west", b"w", 0.0)
    mine.granted(leg, ((7, 0.9),), 0.1)
    mine.out.clear()
    for question in (wish, wire.Commit(leg), wire.Release(leg)):
        mine.hear(question, "north", b"n", 0.2)
    assert [answer.code for _, answer in mine.out] == [Code.REJECTED] * 3
    mine.out.clear()
    mine.hear(wire.Commit(leg), "west", b"w", 0.3)
    assert mine.out == [(b"w", wire.Used(leg, (True,)))]
    assert mine.used == 1 and mine.is_sound()


def test_memory_for_crossing_requests_is_bounded_and_comes_back():
    mine = holder()
    room = territory().parts["east"].held["n0"]
    for number in range(room + 1):
        leg = number.to_bytes(16, "big")
        mine.hear(wire.Reserve(leg, "n0", "n1", 1, 0.5, 2.0, joined=False), "west", b"w", 0.0)
    *_, (_, last) = mine.out
    assert isinstance(last, wire.Gone) and last.busy
    assert mine.is_sound()
    # Nobody answers: they are given up, and the memory is there again.
    mine.turn(3.5)
    mine.out.clear()
    mine.hear(wire.Reserve(b"x" * 16, "n0", "n1", room, 0.5, 2.0, joined=False), "west", b"w", 4.0)
    assert mine.out == [(b"w", wire.Pending(b"x" * 16))]
    assert mine.is_sound()


def test_a_leg_is_held_no_longer_than_it_was_asked_for():
    mine = holder()
    leg = bytes(16)
    mine.hear(wire.Reserve(leg, "n0", "n1", 1, 0.5, 2.0, joined=False), "west", b"w", 0.0)
    mine.granted(leg, ((1, 0.9),), 0.5)
    mine.turn(1.99)
    assert mine.holding() == 1
    # Late as it is, it is not used any more.
    mine.hear(wire.Commit(leg), "west", b"w", 2.0)
    mine.turn(2.0)
    assert mine.holding() == 0 and mine.used == 0
    mine.out.clear()
    mine.hear(wire.Commit(leg), "west", b"w", 2.1)
    assert [type(answer) for _, answer in mine.out] == [wire.Gone]


def test_joining_takes_swaps_of_the_node_and_waits_for_them():
    part = territory().parts["east"]
    mine = holder()
    most = int(max(1.0, part.joins_hz["n1"]))
    count = part.held["n1"]
    legs = [number.to_bytes(16, "big") for number in range(200)]
    now_s, held = 0.0, 0
    for leg in legs:
        mine.hear(wire.Reserve(leg, "n0", "n1", count, 0.5, 60.0, joined=True), "west", b"", now_s)
        mine.granted(leg, tuple((held + k, 0.9) for k in range(count)), now_s)
        while not isinstance(mine.out[-1][1], wire.Held):
            now_s += TICK_S
            mine.turn(now_s)
        held += count
        mine.hear(wire.Release(leg), "west", b"w", now_s)
    assert held <= most + now_s * part.joins_hz["n1"] + 1e-6
    assert held >= 0.9 * now_s * part.joins_hz["n1"]
