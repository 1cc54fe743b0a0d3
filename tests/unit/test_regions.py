"""Regions: who owns what, what is promised, and what strangers can do."""

from contextlib import suppress
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from regions_stage import REGIONS, TICK_S, ring, territory

from controller.regions import wire
from controller.regions.building import losses_of
from controller.regions.config import load_regions
from controller.regions.holding import Holder
from controller.regions.territory import Territory
from quantum.bell import correlators
from quantum.cli import main
from quantum.errors import Code, InputError, WireError
from quantum.program import Gates
from quantum.topology import load_topology
from quantum.werner import fidelity, swap_factors, wait

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
    good = load_regions(str(path))
    assert good.region_of("n4") == "west"
    path.write_text(f'keys = "keys"\njournals = "kept"\n{FILE}')
    beside = load_regions(str(path))
    assert beside.folder == tmp_path / "keys" and beside.journal_folder == tmp_path / "kept"
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


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (["region", "north", "--config", "regions.toml"], "'north' is none of this network: east"),
        (["region", "east", "--config", "none.toml"], "cannot read none.toml"),
        (["request", "n0", "n9", "--regions", "regions.toml"], "'n9' is no node of the regions"),
        (["request", "n0", "n4", "--regions", "regions.toml"], "start its broker first"),
        (["audit", "regions", "."], "holds no journals of regions"),
    ],
)
def test_commands_refuse_in_one_line(line, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "regions.toml").write_text(f'keys = "{tmp_path}/keys"\n{FILE}')
    monkeypatch.setattr("sys.argv", ["dpem", *line])
    with pytest.raises(SystemExit) as left:
        main()
    error = capsys.readouterr().err
    assert left.value.code == 2 and said in error and error.count("\n") == 1
