"""Which nodes and links a service has after changes: by a simple model; and what is refused."""

from copy import deepcopy

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.network_file import joins_of, link_of, read_description, written
from controller.service.entries import Difference, decoder, encoder
from controller.service.standing import MOST_LINKS, MOST_NODES, Standing
from quantum.alterations import Fail, Join, Line, NewLink, Part, Place, Return
from quantum.errors import InputError
from quantum.topology import load_topology

STATE = (0.97, 0.01, 0.01, 0.01)
BASE = load_topology("ring-5", seed=0)
NAMES = [*BASE.nodes, "x", "y", "n9"]


def join(name, *to, **given):
    node = Join(name, 5.0, 2.5, 16, 1.0, 2.0, tuple(NewLink(t, 3.0, STATE) for t in to))
    return msgspec.structs.replace(node, **given)


class Model:
    """The same as sets of names: no arrays, no differences."""

    def __init__(self, network):
        self.nodes = set(network.nodes)
        self.up = {
            frozenset((network.nodes[a], network.nodes[b])): True for a, b in network.links.tolist()
        }

    def take(self, step):
        """Take a step; tell whether it makes sense."""
        match step:
            case Join(name, links=links):
                to = [link.to for link in links]
                if name in self.nodes or len(set(to)) < len(to) or not set(to) <= self.nodes:
                    return False
                self.nodes.add(name)
                self.up |= {frozenset((name, end)): True for end in to}
            case Part(name):
                if name not in self.nodes:
                    return False
                self.nodes.remove(name)
                self.up = {ends: up for ends, up in self.up.items() if name not in ends}
            case Fail(a, b) | Return(a, b):
                fails, ends = isinstance(step, Fail), frozenset((a, b))
                if self.up.get(ends) is not fails:
                    return False
                self.up[ends] = not fails
        return True


NAME = st.sampled_from(NAMES)
STEPS = st.one_of(
    st.builds(lambda name, to: join(name, *to), NAME, st.lists(NAME, max_size=3)),
    st.builds(Part, NAME),
    st.builds(Fail, NAME, NAME),
    st.builds(Return, NAME, NAME),
)


@settings(deadline=None, max_examples=150)
@given(st.lists(st.lists(STEPS, min_size=1, max_size=3), max_size=12))
def test_a_standing_is_what_a_simple_model_says(changes):
    standing, model, made = Standing(BASE), Model(BASE), 0
    for steps in changes:
        draft = deepcopy(model)
        if all(draft.take(step) for step in steps) and draft.nodes:
            standing, model, made = standing.after(steps), draft, made + 1
        else:
            with pytest.raises(InputError):
                standing.after(steps)
    network = standing.network()
    assert standing.changes == made
    assert set(network.nodes) == model.nodes and len(network.nodes) == len(model.nodes)
    ends = [frozenset(network.nodes[k] for k in pair) for pair in network.links.tolist()]
    up = dict(zip(ends, standing.up(network).tolist(), strict=True))
    assert up == model.up and len(ends) == len(up)
    assert np.array_equal(network.links, network.links[np.lexsort(network.links.T[::-1])])
    # What a journal keeps of it says the same.
    kept = msgspec.msgpack.decode(msgspec.msgpack.encode(standing.now), type=Difference)
    again = Standing(BASE).restored(made, kept)
    assert np.array_equal(again.network().populations, network.populations)
    assert again.nodes() == standing.nodes() and again.now == standing.now


def test_a_node_that_comes_again_under_its_name_is_another():
    first = Standing(BASE)
    gone = first.after([Part("n2")])
    back = gone.after([join("n2", "n1")])
    assert gone.has_left("n2") and "n2" in dict(back.nodes())
    number = back.network().nodes.index("n2")
    assert back.before(gone)[number] == -1 == back.before(first)[number]
    assert back.before(first)[:2].tolist() == [0, 1]
    # In one change, too.
    swapped = first.after([Part("n2"), join("n2", "n1")])
    assert swapped.before(first).tolist() == [0, 1, 3, 4, -1]
    guest = first.after([join("x", "n0")]).after([Part("x")])
    assert guest.has_left("x") and not guest.has_left("never")
    assert not np.array_equal(back.network().generation_hz, BASE.generation_hz)
    assert "joined n2; gone n2" in back.summary()


BAD = [
    (join(""), "name must be 1 to 64 printable"),
    (join("a\nb"), "name must be 1 to 64 printable"),
    (join(" a"), "name must be 1 to 64 printable"),
    (join("a" * 65), "name must be 1 to 64 printable"),
    (join("n1"), "name is that of a node that is there"),
    (join("x", generation_hz=float("nan")), "generation_hz must be between 0 and 1e+09, got nan"),
    (join("x", swap_hz=float("inf")), "swap_hz must be between"),
    (join("x", swap_hz=-1.0), "swap_hz must be between"),
    (join("x", qubits=2**64 - 1), "qubits must be between 0 and 1024"),
    (join("x", qubits=-1), "qubits must be"),
    (join("x", x_km=float("nan")), "x_km must be between"),
    (join("x", "n1", "n1"), "links[1] to 'n1': the two nodes are joined already"),
    (join("x", "x"), "must join two different nodes"),
    (join("x", "n11"), "there is no node 'n11'; did you mean n1"),
    (join("x", links=(NewLink("n1", float("nan"), STATE),)), "length_km must be between"),
    (join("x", links=(NewLink("n1", 1.0, (1.0, 1.0, 0.0, 0.0)),)), "must sum to 1"),
    (join("x", links=(NewLink("n1", 1.0, (float("nan"),) * 4),)), "populations needs four weights"),
    (join("x", links=(NewLink("n1", 1.0, (1.0, -1e-13, 0.0, 0.0)),)), "least of populations"),
    (Part("x"), "leave x: there is no node 'x'"),
    (Part("\n"), "there is no node"),
    (Fail("n0", "n2"), "there is no link between 'n0' and 'n2'; 'n0' has links to n1, n4"),
    (Fail("n0", "zz"), "fail n0 - zz: there is no node 'zz'"),
    (Return("n0", "n1"), "the link has not failed"),
]


@pytest.mark.parametrize(("step", "why"), BAD)
def test_what_makes_no_sense_is_named_in_a_line_and_changes_nothing(step, why):
    standing = Standing(BASE)
    with pytest.raises(InputError) as wrong:
        standing.after([join("other", "n0"), step])
    assert why in str(wrong.value) and "\n" not in str(wrong.value)
    assert standing.nodes() == [(name, 0) for name in BASE.nodes]


def test_the_last_node_stays_and_tables_have_ends(monkeypatch):
    with pytest.raises(InputError, match="at least one"):
        Standing(BASE).after([Part(name) for name in BASE.nodes])
    hub = Standing(BASE)
    for first in range(0, MOST_LINKS - 2, 50):
        count = min(50, MOST_LINKS - 2 - first)
        hub = hub.after([join(f"leaf{first + k}", "n0") for k in range(count)])
    with pytest.raises(InputError, match="has 256 links; no more are allowed"):
        hub.after([join("one more", "n0")])
    monkeypatch.setattr("controller.service.standing.MOST_NODES", 6)
    full = Standing(BASE).after([join("x")])
    with pytest.raises(InputError, match="has 6 nodes; no more"):
        full.after([join("y")])
    assert MOST_NODES == 10_000


def test_what_leaves_can_join_again_from_its_file(tmp_path):
    before = Standing(BASE).after([join("x", "n0", "n3"), join("y", "x")])
    net = before.network()
    names = {"x", "y"}
    places = tuple(Place(name, 5.0, 2.5, 16, 1.0, 2.0, 0) for name in net.nodes if name in names)
    lines = tuple(
        Line(net.nodes[a], net.nodes[b], float(length), tuple(state), True, 0)
        for (a, b), length, state in zip(
            net.links.tolist(), net.length_km, net.populations.tolist(), strict=True
        )
        if names & {net.nodes[a], net.nodes[b]}
    )
    path = tmp_path / "kept.json"
    path.write_bytes(msgspec.json.encode(written(places, lines)))
    gone = before.after([Part("x"), Part("y")])
    there = dict.fromkeys(gone.network().nodes, (0.0, 0.0))
    back = gone.after(joins_of(read_description(path), there)).network()
    for field in ("links", "length_km", "populations", "generation_hz", "position_km", "qubits"):
        assert np.array_equal(getattr(back, field), getattr(net, field)), field


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "not JSON"),
        ('{"nodes": [{"name": "x", "qubit": 3}]}', "did you mean qubits"),
        ('{"nodes": [], "links": [{"a": "p", "b": "q"}]}', "one of its ends has to be a node"),
        ('{"nodes": [{"name": "x", "latitude": 1, "longitude": 2}]}', "give x_km and y_km"),
        ('{"nodes": [{"name": "x", "x_km": 1}]}', "x_km and y_km go together"),
        ('{"nodes": [{"name": "x"}], "cutoff_s": 1}', "cutoff_s is that of the network"),
        ('{"nodes": [{"name": "x"}], "links": [{"a": "x", "b": "n", "fidelity": 7}]}', "fidelity"),
        ('{"nodes": [{"name": "x"}], "links": [{"a": "x", "b": "n", "model": {}}]}', "not a model"),
    ],
)
def test_a_file_of_nodes_that_is_wrong_is_told_in_a_line(tmp_path, text, why):
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(InputError, match=why) as wrong:
        joins_of(read_description(path), {"n": (0.0, 0.0)})
    assert "\n" not in str(wrong.value)


def test_nodes_stand_amid_their_links_which_are_as_long_as_the_way():
    wanted = read_description_of("x", "p:0.9", "q", "a:b:0.95:7")
    [made] = joins_of(wanted, {"p": (0.0, 0.0), "q": (4.0, 0.0), "a:b": (2.0, 6.0)})
    assert (made.x_km, made.y_km) == (2.0, 2.0)
    assert [link.to for link in made.links] == ["p", "q", "a:b"]
    assert [round(link.length_km, 6) for link in made.links] == [2.828427, 2.828427, 7.0]
    assert [link.populations[0] for link in made.links] == pytest.approx([0.9, 0.98, 0.95])
    with pytest.raises(InputError, match="link must be TO"):
        link_of(":0.9", "x")


def read_description_of(name, *links):
    from controller.network_file import node_entry
    from quantum.topologies.entry import Description

    return Description([node_entry(name)], [link_of(text, name) for text in links])


def test_rows_of_before_there_were_changes_can_be_read():
    old = [
        ["start", 1, "d", 0, 1.5, 2.5, False],
        ["kept", ["start", 1, "d", 0, 1.5, 2.5], 3, [], 0],
    ]
    started, kept = decoder.decode(msgspec.msgpack.encode(old))
    assert started.changes == 0 == kept.changes and kept.network == Difference()
    assert decoder.decode(encoder.encode([started, kept])) == (started, kept)
