import csv
import json
import math
from importlib.resources import files
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quantum.bell import fidelity
from quantum.errors import InputError
from quantum.network import Network
from quantum.program import Gates, Memory
from quantum.topologies.geography import fill_gaps, flat_km, great_circle_km
from quantum.topologies.layout import pieces
from quantum.topology import FAMILIES, known_topologies, load_topology, to_json

ARRAYS = (
    "position_km",
    "links",
    "length_km",
    "populations",
    "generation_hz",
    "swap_hz",
    "qubits",
)


def same(a: Network, b: Network) -> bool:
    return (a.name, a.nodes, a.memory, a.cutoff_s, a.gates) == (
        b.name,
        b.nodes,
        b.memory,
        b.cutoff_s,
        b.gates,
    ) and all(getattr(a, name).tobytes() == getattr(b, name).tobytes() for name in ARRAYS)


def is_sound(network: Network) -> None:
    links = network.links
    assert np.array_equal(links, np.unique(links, axis=0)), "sorted, none twice"
    assert not len(links) or pieces(len(network.nodes), links).max() == 0
    assert len(set(network.nodes)) == len(network.nodes)
    assert network.generation_hz.max() < 10 and network.swap_hz.max() < 5
    if len(links):
        f = fidelity(network.populations)
        assert 0.97 <= f.min() <= f.max() <= 0.99


# Shapes


@pytest.mark.parametrize("name", ["mesh", "geometric"])
@pytest.mark.parametrize("seed", range(4))
def test_preset_networks_have_mean_degree_six_and_one_piece(name: str, seed: int) -> None:
    network = load_topology(name, seed=seed)
    is_sound(network)
    assert len(network.nodes) == 100 and len(network.links) == 300
    assert network.position_km.min() >= 0 and network.position_km.max() <= 100
    ends = network.position_km[network.links]
    assert np.allclose(network.length_km, np.linalg.norm(ends[:, 0] - ends[:, 1], axis=1))
    assert network.memory == Memory(t1_s=3600.0, t2_s=60.0)
    assert network.gates == Gates() and set(network.qubits.tolist()) == {16}


def test_geometric_links_are_the_shortest_but_for_those_that_join_pieces() -> None:
    network = load_topology("geometric", seed=1)
    place = network.position_km
    every = np.sort(np.linalg.norm(place[:, None] - place[None], axis=2)[np.triu_indices(100, 1)])
    length = np.sort(network.length_km)
    agree = int(np.argmin(np.isclose(length, every[:300])))
    assert agree > 270, "the first links are the shortest pairs of all"
    # What comes after the radius must be needed: without it the network falls apart.
    radius = length[agree - 1]
    for number in np.flatnonzero(network.length_km > radius * (1 + 1e-9)):
        assert pieces(100, np.delete(network.links, number, axis=0)).max() == 1


@pytest.mark.parametrize(
    ("name", "nodes", "links"),
    [
        ("line-5", 5, 4),
        ("star-5", 5, 4),
        ("ring-5", 5, 5),
        ("ring-2", 2, 1),
        ("grid-3x4", 12, 17),
        ("mesh-2", 2, 1),
        ("mesh-5", 5, 10),
        ("mesh-30", 30, 90),
        ("geometric-7", 7, 21),
        ("geometric-500", 500, 1500),
        *[(f"{kind}-1", 1, 0) for kind in ("line", "star", "ring", "mesh", "geometric")],
        ("grid-1x1", 1, 0),
        ("mesh-10000", 10_000, 30_000),
        ("GRID-100x100", 10_000, 19_800),
    ],
)
def test_sized_shapes(name: str, nodes: int, links: int) -> None:
    network = load_topology(name, seed=0)
    assert (len(network.nodes), len(network.links)) == (nodes, links)
    is_sound(network)


def test_regular_shapes_have_links_of_ten_km() -> None:
    for name in ("line-4", "star-6", "ring-7", "grid-2x5"):
        assert np.allclose(load_topology(name, seed=0).length_km, 10.0)


@pytest.mark.parametrize("name", ["line-0", "mesh-10001", "grid-101x100", "grid-0x3"])
def test_sizes_out_of_range_are_refused(name: str) -> None:
    with pytest.raises(InputError, match="1 to 10000"):
        load_topology(name, seed=0)


def test_mesh_degrees_are_those_of_a_random_graph() -> None:
    # Erdos-Renyi degrees are binomial: variance 6 (1 - 6/n) = 5.99; for 3000 nodes the standard
    # error of the variance is about 6 sqrt(2/3000) = 0.16.
    assert abs(load_topology("mesh-3000", seed=2).incidence.degree.var() - 5.99) < 5 * 0.16


# Draws


def test_same_seed_same_bytes_and_other_seed_other_network() -> None:
    for name in ("mesh", "geometric", "surfnet", "azrena"):
        assert same(load_topology(name, seed=1), load_topology(name, seed=1))
        other = load_topology(name, seed=2)
        assert not np.array_equal(load_topology(name, seed=1).generation_hz, other.generation_hz)
    assert same(load_topology("MESH", seed=1), load_topology("mesh-100", seed=1))


def test_draws_are_uniform_and_do_not_shift_each_other() -> None:
    base = load_topology("mesh-5000", seed=0)
    wide = load_topology("mesh-5000", seed=0, fidelity=(0.85, 0.97), qubits=4, cutoff_s=0.5)
    assert np.array_equal(base.generation_hz, wide.generation_hz)
    assert np.array_equal(base.swap_hz, wide.swap_hz)
    # The same quantile in another range.
    assert np.allclose(
        (fidelity(base.populations) - 0.97) / 0.02, (fidelity(wide.populations) - 0.85) / 0.12
    )
    # Mean of 5000 uniform draws: standard error (b - a) / sqrt(12 * 5000).
    error = 1 / math.sqrt(12 * 5000)
    assert abs(base.generation_hz.mean() / 10 - 0.5) < 5 * error
    assert abs(base.swap_hz.mean() / 5 - 0.5) < 5 * error
    assert abs(np.corrcoef(base.generation_hz, base.swap_hz)[0, 1]) < 5 / math.sqrt(5000)


def test_arguments_out_of_range_are_refused() -> None:
    with pytest.raises(InputError, match="link fidelity range"):
        load_topology("mesh", seed=0, fidelity=(0.9, math.nan))
    with pytest.raises(InputError, match="cutoff_s must be > 0"):
        load_topology("mesh", seed=0, cutoff_s=math.nan)
    with pytest.raises(InputError, match="qubits must be >= 0"):
        load_topology("mesh", seed=0, qubits=-1)


# Shipped data


def test_every_known_topology_loads_and_the_zoo_agrees_with_its_index() -> None:
    names = known_topologies()
    assert len(names) == 276 + 3
    with (files("quantum") / "data" / "topology_zoo_index.csv").open() as file:
        index = {row["file"].lower(): row for row in csv.DictReader(file)}
    for name in names:
        network = load_topology(name, seed=0)
        is_sound(network)
        if name in index:
            assert len(network.nodes) == int(index[name]["largest_component"]), name
            if len(network.nodes) == int(index[name]["nodes"]):
                assert len(network.links) == int(index[name]["links"]), name


def test_abilene_lengths_are_great_circles_times_the_detour() -> None:
    network = load_topology("Abilene", seed=0)
    lengths = {
        frozenset(network.nodes[i] for i in ends): km
        for ends, km in zip(network.links.tolist(), network.length_km, strict=True)
    }
    # New York - Washington DC: 328 km by an atlas.
    assert lengths[frozenset({"New York", "Washington DC"})] == pytest.approx(1.25 * 328, rel=0.01)


def test_a_zoo_file_in_pieces_gives_its_largest_and_says_so() -> None:
    network = load_topology("uninett", seed=0)
    assert network.name == "Uninett (largest piece, 71 of 74 nodes)"
    assert len(network.nodes) == 71


def test_chicago_keeps_the_published_lengths() -> None:
    network = load_topology("chicago", seed=0)
    assert len(network.nodes) == 9 and len(network.links) == 10
    assert network.length_km.max() == 66.0  # StarLight - Fermilab
    assert network.signal_s(0, 8) < 1e-3


# Geography


def test_projection_keeps_the_distances_of_a_country_and_crosses_the_date_line() -> None:
    surfnet = load_topology("surfnet", seed=0)
    ends = surfnet.position_km[surfnet.links]
    flat = np.linalg.norm(ends[:, 0] - ends[:, 1], axis=1)
    assert np.allclose(flat * 1.25, surfnet.length_km, rtol=2e-3, atol=1e-6)
    fiji = np.array([[-18.0, 179.5], [-18.0, -179.5]])
    assert np.linalg.norm(np.diff(flat_km(fiji), axis=0)) == pytest.approx(
        great_circle_km(fiji[0], fiji[1]), rel=1e-4
    )


def test_places_at_poles_and_antipodes_do_not_fail() -> None:
    for degrees in ([[90.0, 0.0]], [[0.0, 0.0], [0.0, 180.0]], [[90.0, 0.0], [-90.0, 0.0]]):
        assert np.all(np.isfinite(flat_km(np.array(degrees))))


def test_unknown_places_are_the_mean_of_their_neighbours() -> None:
    nan = math.nan
    degrees = np.array([[0.0, 10.0], [nan, nan], [0.0, 20.0], [nan, nan], [nan, nan]])
    links = np.array([[0, 1], [1, 2], [1, 3]])
    filled = fill_gaps(degrees, links)
    assert np.allclose(filled[[1, 3]], [[0.0, 15.0], [0.0, 15.0]])
    assert np.all(np.isnan(filled[4]))


# Names and files


def test_an_unknown_name_lists_close_ones_and_all() -> None:
    with pytest.raises(InputError, match=r"did you mean surfnet.*known: .*mesh.*abilene.*zamren"):
        load_topology("surfnt", seed=0)
    assert "line-N" in FAMILIES


def write(tmp_path: Path, text: str, name: str = "net.json") -> str:
    path = tmp_path / name
    path.write_text(text)
    return str(path)


GOOD = {
    "name": "lab",
    "nodes": [
        {"name": "a", "x_km": 0, "y_km": 0, "generation_hz": 5, "swap_hz": 2, "qubits": 7},
        {"name": "b", "x_km": 3, "y_km": 4},
        {"name": "c", "x_km": 3, "y_km": 0},
    ],
    "links": [
        {"a": "c", "b": "b", "length_km": 10, "fidelity": 0.9},
        {
            "a": "a",
            "b": "b",
            "bell_diagonal": {
                "phi_plus": 0.7,
                "phi_minus": 0.3,
                "psi_plus": 0,
                "psi_minus": 0,
            },
        },
    ],
    "memory": {"t2_s": 2.0},
    "swap": {"success": 0.5},
}


def test_a_user_file_says_what_it_says_and_the_rest_is_drawn(tmp_path: Path) -> None:
    network = load_topology(write(tmp_path, json.dumps(GOOD)), seed=3, qubits=5, cutoff_s=9.0)
    assert network.links.tolist() == [[0, 1], [1, 2]]
    assert network.length_km.tolist() == [5.0, 10.0]
    assert network.populations[0].tolist() == [0.7, 0.3, 0.0, 0.0]
    assert network.populations[1, 0] == 0.9
    assert (network.generation_hz[0], network.swap_hz[0]) == (5.0, 2.0)
    assert network.qubits.tolist() == [7, 5, 5]
    assert network.memory == Memory(t2_s=2.0) and network.cutoff_s == 9.0
    assert network.gates.success == 0.5
    # A value given takes no draw away: the other nodes draw what they drew without it.
    bare = json.loads(json.dumps(GOOD))
    bare["nodes"][0] = {"name": "a", "x_km": 0, "y_km": 0}
    plain = load_topology(write(tmp_path, json.dumps(bare)), seed=3)
    assert np.array_equal(plain.generation_hz[1:], network.generation_hz[1:])


GONE = object()


def broken(changes: dict[str, object]) -> str:
    """Return the good file with the values at some paths, like ``links.0.a``, put wrong."""
    net = json.loads(json.dumps(GOOD))
    for path, value in changes.items():
        *way, last = [int(key) if key.isdigit() else key for key in path.split(".")]
        place = net
        for key in way:
            place = place[key]
        if value is GONE:
            del place[last]
        elif isinstance(place, list) and last == len(place):
            place.append(value)
        else:
            place[last] = value
    return json.dumps(net)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"links.0.fidelity": 1.2}, r"links\[0\] 'c' - 'b': fidelity .* between 0 and 1"),
        ({"links.0.fidelity": -0.1}, "fidelity must be between 0 and 1"),
        ({"links.0.fidelity": None, "links.0.length_km": -1}, "length_km"),
        ({"links.1.bell_diagonal.psi_plus": 0.5}, r"links\[1\].* must sum to 1"),
        ({"links.1.fidelity": 0.5}, "give one of"),
        ({"nodes.0.generation_hz": -1}, r"nodes\[0\] 'a': generation_hz"),
        ({"nodes.0.qubits": -1}, "qubits must be between"),
        ({"nodes.0.swap_hz": -1e-9}, "swap_hz"),
        ({"nodes.0.colour": 1}, r"unknown field `colour`.*nodes\[0\]"),
        ({"extra": 1}, "unknown field `extra`"),
        ({"memory": {"t1_s": 1, "t2_s": 3}}, r"t2_s must be <= 2 t1_s"),
        ({"memory": {"t1_s": -1}}, "t1_s must be > 0"),
        ({"cutoff_s": 0}, "cutoff_s must be > 0"),
        ({"swap": {"success": 2}}, "swap.success must be between 0 and 1"),
        ({"links.0.a": "b"}, "two different nodes"),
        ({"links.0.a": "d"}, "there is no node 'd'"),
        ({"links.2": {"a": "b", "b": "a"}}, r"joined by links\[1\]"),
        ({"nodes.1.name": "a"}, r"the name is taken by nodes\[0\]"),
        ({"nodes.1.name": ""}, "name must not be empty"),
        ({"nodes": []}, "at least one"),
        ({"links.0": GONE}, "node 'c' cannot be reached from 'a'"),
        ({"nodes.0.x_km": GONE}, "x_km and y_km go together"),
        ({"nodes.0.x_km": GONE, "nodes.0.y_km": GONE}, "for all nodes or none"),
        ({"nodes.0": {"name": "a", "latitude": 1, "longitude": 2}}, "must all use"),
        ({"nodes": {}}, r"Expected `array`, got `object`.*nodes"),
    ],
)
def test_an_unsound_user_file_is_one_clear_line(
    tmp_path: Path, change: dict[str, object], message: str
) -> None:
    path = write(tmp_path, broken(change))
    with pytest.raises(InputError, match=message) as caught:
        load_topology(path, seed=0)
    assert str(caught.value).startswith(path) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("x.json", '{"nodes": [\n{"name": "a"},\n]}', "line 3"),
        ("x.json", '{"nodes": [', "line 1"),
        ("x.json", '{"nodes": [{"name": "a", "x_km": NaN}]}', "line 1"),
        ("x.json", "[" * 100_000, "x.json"),
        ("x.gml", "graph [\n node [ id 0 ]", r"not a GML graph.*\(3, 1\)"),
        ("x.gml", "hello", "not a GML graph"),
        ("x.gml", "", "not a GML graph"),
        ("x.gml", "graph [ node [ id 0 ] node [ id 1 ] ]", "'1' cannot be reached from '0'"),
        ("x.gml", "graph [ node [ id 0 ] edge [ source 0 target 0 ] ]", "two different nodes"),
        ("x.gml", "graph [ ]", "at least one"),
        (
            "x.gml",
            "graph [ node [ id 0 ] node [ id 1 ] edge [ source 0 target 1 fidelity NAN ] ]",
            "fidelity must be between 0 and 1",
        ),
        ("x.gml", 'graph [ node [ id 0 latitude "north" longitude 3 ] ]', "latitude"),
        ("x.graphml", "<graphml>\n<graph>", "line 2"),
        ("x.graphml", "<a/>", "not a GraphML graph"),
        ("x.txt", "", "unknown"),
    ],
)
def test_a_broken_file_is_one_clear_line(
    tmp_path: Path, name: str, text: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, text, name)
    with pytest.raises(InputError, match=message) as caught:
        load_topology(name, seed=0)
    assert "\n" not in str(caught.value)


def test_bytes_that_are_no_text_and_files_that_are_not_there(tmp_path: Path) -> None:
    for name in ("x.json", "x.gml", "x.graphml"):
        (tmp_path / name).write_bytes(b"\xff\xfe\x00graph [")
        with pytest.raises(InputError, match=name):
            load_topology(str(tmp_path / name), seed=0)
    with pytest.raises(InputError, match=r"cannot read .*none\.gml: No such file"):
        load_topology(str(tmp_path / "none.gml"), seed=0)
    with pytest.raises(InputError, match="must end in"):
        load_topology(str(tmp_path), seed=0)


def test_gml_and_graphml_carry_our_fields_and_merge_parallel_links(tmp_path: Path) -> None:
    gml = """graph [
      node [ id 0 label "x" generation_hz 3 ] node [ id 1 label "x" qubits 2 ]
      edge [ source 1 target 0 fidelity 0.9 length_km 7 ] edge [ source 0 target 1 ]
    ]"""
    network = load_topology(write(tmp_path, gml, "two.gml"), seed=0)
    assert network.nodes == ("x", "x (1)") and network.name == "two"
    assert network.links.tolist() == [[0, 1]] and network.length_km.tolist() == [7.0]
    assert network.populations[0, 0] == 0.9
    assert network.generation_hz[0] == 3.0 and network.qubits.tolist() == [16, 2]
    import networkx

    graph = networkx.Graph()
    graph.add_node("p", latitude=50.0, longitude=0.0)
    graph.add_node("q", latitude=51.0, longitude=0.0)
    graph.add_edge("p", "q", fidelity=0.95)
    networkx.write_graphml(graph, tmp_path / "two.graphml")
    network = load_topology(str(tmp_path / "two.graphml"), seed=0)
    # One degree of latitude is 111.2 km on a sphere of 6371 km.
    assert network.length_km[0] == pytest.approx(1.25 * 111.195, rel=1e-4)
    assert network.nodes == ("p", "q") and network.populations[0, 0] == 0.95


# Round trip

numbers = st.floats(0.0, 1e6, allow_subnormal=False)
names = st.text(min_size=1, max_size=8)


@st.composite
def networks(draw: st.DrawFn) -> Network:
    n = draw(st.integers(1, 6))
    nodes = tuple(draw(st.lists(names, min_size=n, max_size=n, unique=True)))
    tree = [(draw(st.integers(0, b - 1)), b) for b in range(1, n)]
    more = draw(st.lists(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)), max_size=4))
    links = np.array(sorted({(a, b) for a, b in tree + more if a < b}), dtype=np.int64)
    links = links.reshape(-1, 2)
    m = len(links)

    def array(size: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        return np.array(draw(st.lists(numbers, min_size=size, max_size=size)), dtype=np.float64)

    weights = array(4 * m).reshape(m, 4) + 1e-3
    t1_s = draw(st.floats(1e-6, 1e6) | st.just(math.inf))
    return Network(
        name=draw(names),
        nodes=nodes,
        position_km=array(2 * n).reshape(n, 2) / 2,
        links=links,
        length_km=array(m) / 2,
        populations=weights / weights.sum(axis=1, keepdims=True),
        generation_hz=array(n),
        swap_hz=array(n),
        qubits=np.array(draw(st.lists(st.integers(0, 99), min_size=n, max_size=n)), dtype=np.int64),
        memory=Memory(t1_s=t1_s, t2_s=draw(st.floats(1e-7, 1.0)) * min(t1_s, 1e6)),
        cutoff_s=draw(st.floats(1e-3, 1e6)),
        gates=Gates(*draw(st.tuples(*[st.floats(0, 1)] * 3))),
    )


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(network=networks(), seed=st.integers(0, 9))
def test_export_and_import_give_the_same_network(
    tmp_path: Path, network: Network, seed: int
) -> None:
    path = tmp_path / "trip.json"
    path.write_bytes(to_json(network))
    assert same(load_topology(str(path), seed=seed), network)


@pytest.mark.parametrize("name", ["mesh", "chicago", "uninett", "line-1"])
def test_export_of_a_known_network_is_complete(tmp_path: Path, name: str) -> None:
    network = load_topology(name, seed=2, qubits=6)
    path = tmp_path / "out.json"
    path.write_bytes(to_json(network))
    assert same(load_topology(str(path), seed=0), network)
    assert msgspec.json.decode(path.read_bytes())["cutoff_s"] == 1.5


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=80), kind=st.sampled_from([".json", ".gml", ".graphml"]))
def test_garbage_is_an_input_error(tmp_path: Path, data: bytes, kind: str) -> None:
    path = tmp_path / f"garbage{kind}"
    path.write_bytes(data)
    with pytest.raises(InputError):
        load_topology(str(path), seed=0)
