"""Topologies of other simulators mean here what they say there, and hostile files do no harm."""

import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quantum.bell import fidelity
from quantum.errors import InputError
from quantum.links.model import read_model
from quantum.network import Network
from quantum.program import Memory
from quantum.topologies.squidasm import MOST_GENERATION_HZ
from quantum.topology import TRAPPED_ION, graph_of, load_topology

QUICK = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def load(folder: Path, name: str, value: Any) -> Network:
    path = folder / name
    text = value if isinstance(value, str) else json.dumps(value)
    path.write_text(text, encoding="utf-8")
    return load_topology(str(path), seed=0)


def refused(folder: Path, name: str, value: Any) -> str:
    with pytest.raises(InputError) as caught:
        load(folder, name, value)
    said = str(caught.value)
    assert said.startswith(str(folder / name)) and "\n" not in said
    return said.removeprefix(f"{folder / name}: ")


# SeQUeNCe

ROUTERS: list[dict[str, Any]] = [
    {"name": "a", "type": "QuantumRouter", "seed": 0, "memo_size": 5, "template": "good"},
    {"name": "b", "type": "QuantumRouter", "seed": 1, "memo_size": 7, "template": "poor"},
    {"name": "c", "type": "QuantumRouter", "seed": 2, "gate_fidelity": 0.98,
     "measurement_fidelity": 0.99},
]  # fmt: skip
TEMPLATES = {
    "good": {"MemoryArray": {"fidelity": 0.97, "coherence_time": 2.0, "efficiency": 0.6}},
    "poor": {
        "MemoryArray": {"fidelity": 0.9, "coherence_time": -1},
        "EntanglementSwapping": {"swapping_success_prob": 0.8, "swapping_degradation": 0.9},
    },
}
CONNECTED: dict[str, Any] = {
    "is_parallel": False,
    "stop_time": 10**12,
    "templates": TEMPLATES,
    "nodes": ROUTERS,
    "qconnections": [
        {"node1": "a", "node2": "b", "attenuation": 2e-4, "distance": 2500,
         "type": "meet_in_the_middle"},
        {"node1": "c", "node2": "b", "attenuation": 2e-4, "distance": 40000.0},
    ],
    "cconnections": [{"node1": "a", "node2": "b", "delay": 1000000000}],
}  # fmt: skip


def test_a_sequence_file_is_read_as_it_is_meant(tmp_path: Path) -> None:
    network = load(tmp_path, "star.json", CONNECTED)
    assert network.nodes == ("a", "b", "c") and network.name == "star"
    assert network.links.tolist() == [[0, 1], [1, 2]]
    assert network.length_km.tolist() == [2.5, 40.0]  # metres there
    assert fidelity(network.populations).tolist() == pytest.approx([0.9, 0.9])  # the worse end
    assert network.qubits.tolist() == [5, 7, 16]
    assert network.cutoff_s == 2.0 and network.memory == TRAPPED_ION
    assert network.gates.success == 0.8
    assert network.gates.gate_depolarizing == pytest.approx(0.02)
    assert network.gates.readout_error == pytest.approx(0.01)


def test_channels_that_meet_in_a_midpoint_are_one_link(tmp_path: Path) -> None:
    midpoint = {"name": "m", "type": "BSMNode", "seed": 3}
    channels = [
        {"source": "a", "destination": "m", "distance": 500, "attenuation": 0},
        {"source": "b", "destination": "m", "distance": 1500, "attenuation": 0},
        {"source": "b", "destination": "c", "distance": 3000, "attenuation": 0},
        {"source": "c", "destination": "b", "distance": 3000, "attenuation": 0},
    ]
    whole = {"nodes": [*ROUTERS, midpoint], "templates": TEMPLATES, "qchannels": channels}
    network = load(tmp_path, "x.json", whole)
    assert network.nodes == ("a", "b", "c")
    assert network.links.tolist() == [[0, 1], [1, 2]]
    assert network.length_km.tolist() == [2.0, 3.0]
    # The same in YAML, which newer versions take.
    again = load(tmp_path, "x.yaml", yaml.safe_dump(whole))
    assert again.length_km.tolist() == [2.0, 3.0] and again.nodes == network.nodes


def test_the_shipped_testbed_is_read_from_its_own_file(tmp_path: Path) -> None:
    from importlib.resources import files

    text = (files("quantum") / "data" / "chicago_starlight_sequence.json").read_text()
    mine, shipped = load(tmp_path, "chicago.json", text), load_topology("chicago", seed=0)
    assert mine.nodes == shipped.nodes
    assert np.array_equal(mine.links, shipped.links)
    assert np.array_equal(mine.length_km, shipped.length_km)
    assert mine.qubits.tolist() == [50] * 9


def test_decay_is_that_of_the_pauli_channel(tmp_path: Path) -> None:
    """One qubit, by its matrix: X, Y, Z at the rates p / tau, for a time that is not short."""
    tau, errors, time_s = 0.5, (0.2, 0.3, 0.5), 0.4
    memory = {"coherence_time": tau, "cutoff_ratio": 0.1, "decoherence_errors": errors}
    whole = put(CONNECTED, "templates.good.MemoryArray", memory)
    network = load(tmp_path, "x.json", whole)
    assert network.cutoff_s == pytest.approx(0.05)
    paulis = [np.array(m) for m in ([[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]])]
    state = np.array([[1.0, 0.6], [0.6, 0.0]], dtype=complex)  # z = 1, x = 1.2, whatever it is
    steps = 4_000
    for _ in range(steps):
        change = sum(p * (m @ state @ m - state) for p, m in zip(errors, paulis, strict=True))
        state = state + change * (time_s / steps / tau)
    z, x = (state[0, 0] - state[1, 1]).real, (state[0, 1] + state[1, 0]).real
    assert z == pytest.approx(math.exp(-time_s / network.memory.t1_s), rel=1e-3)
    assert x == pytest.approx(1.2 * math.exp(-time_s / network.memory.t2_s), rel=1e-3)
    # No qubit has a T2 above 2 T1, whatever a file asks for.
    flips = put(whole, "templates.good.MemoryArray.decoherence_errors", [1, 0, 0])
    assert load(tmp_path, "x.json", flips).memory == Memory(t1_s=0.25, t2_s=0.5)


def put(whole: Any, path: str, value: Any) -> Any:
    whole = json.loads(json.dumps(whole))
    *way, last = [int(key) if key.isdigit() else key for key in path.split(".")]
    place = whole
    for key in way:
        place = place[key]
    place[last] = value
    return whole


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("nodes.0.type", "QuantumRoutr", "type must be one of .*did you mean QuantumRouter"),
        ("nodes.0.memo_size", -1, r">= 0 - at `\$\.nodes\[0\]\.memo_size"),
        ("nodes.0.template", "god", "template 'god' is not in templates; did you mean good"),
        ("nodes.2.gate_fidelity", 1.5, r"<= 1\.0 - at `\$\.nodes\[2\]\.gate_fidelity"),
        ("qconnections.0.node2", "z", r"qconnections\[0\]: there is no node 'z'"),
        ("qconnections.0.distance", -4, r">= 0\.0 - at `\$\.qconnections\[0\]\.distance"),
        ("qconnections.0.distance", "far", r"distance"),
        ("templates.good.MemoryArray.coherence_time", 0, "coherence_time must be > 0 s"),
        ("templates.good.MemoryArray.fidelity", 2, r"MemoryArray\.fidelity"),
        ("nodes", {}, r"Expected `array`, got `object` - at `\$\.nodes"),
        ("nodes", [], r"qconnections\[0\]: there is no node 'a'"),
    ],
)
def test_a_wrong_sequence_file_is_one_line(
    tmp_path: Path, path: str, value: Any, message: str
) -> None:
    assert re.search(message, refused(tmp_path, "x.json", put(CONNECTED, path, value)))


def test_a_midpoint_joins_two_routers(tmp_path: Path) -> None:
    whole = put(CONNECTED, "qchannels", [{"source": "a", "destination": "m", "distance": 5}])
    whole["nodes"].append({"name": "m", "type": "BSMNode"})
    assert "BSMNode 'm' must have qchannels from two routers" in refused(tmp_path, "x.json", whole)


# SquidASM and NetSquid

STACKS = """
device: &device {num_qubits: 3, T1: 2e9, T2: 1e9, two_qubit_gate_depolar_prob: 0.1}
stacks:
  - {name: Alice, qdevice_typ: generic, qdevice_cfg: {<<: *device}}
  - {name: Bob, qdevice_typ: generic, qdevice_cfg: {<<: *device, T2: 5e8, dummy: null}}
  - {name: Carol, qdevice_typ: nv}
links:
  - {stack1: Alice, stack2: Bob, typ: depolarise,
     cfg: {fidelity: 0.9, prob_success: 0.5, t_cycle: 1e7}}
  - {stack1: Carol, stack2: Bob, typ: heralded,
     cfg: {length: 10, p_loss_init: 0.5, visibility: 0.9, detector_efficiency: 0.8}}
clinks:
  - {stack1: Alice, stack2: Bob, typ: default, cfg: {delay: 250}}
"""


def test_a_squidasm_file_is_read_as_it_is_meant(tmp_path: Path) -> None:
    network = load(tmp_path, "net.yaml", STACKS)
    assert network.nodes == ("Alice", "Bob", "Carol")
    assert network.links.tolist() == [[0, 1], [1, 2]]
    assert network.qubits.tolist() == [3, 3, 2]
    # 50 pairs a second, half of them each end's; Bob also serves the link to Carol.
    assert network.generation_hz[0] == 25.0
    heralded = read_model(
        {"model": "double_click", "length_km": 10.0, "loss_db_per_km": 0.25, "visibility": 0.9,
         "collection_efficiency": 0.5, "detector_efficiency": 0.8,
         "group_index": 299_792.458 / 2e5}
    ).heralded()  # fmt: skip
    assert network.generation_hz[2] == pytest.approx(min(heralded.rate_hz / 2, MOST_GENERATION_HZ))
    assert network.populations[1] == pytest.approx(heralded.populations)
    assert fidelity(network.populations)[0] == pytest.approx(0.9)
    assert network.length_km[1] == 10.0
    assert (network.memory.t1_s, network.memory.t2_s) == (2.0, 0.5)  # the worst of all
    # Independent noise on both qubits of a Bell measurement is joint noise of this weight.
    assert network.gates.gate_depolarizing == pytest.approx(1 - 0.9**2)
    assert network.gates.readout_error == pytest.approx(0.0275)  # of the NV centre
    assert network.swap_hz[0] == pytest.approx(1e9 / 111e3)


def test_the_other_names_and_hubs_of_the_network_builder(tmp_path: Path) -> None:
    text = """
processing_nodes:
  - {name: 1, qdevice_typ: generic, qdevice_cfg: {T1: 0, T2: 0}}
  - {name: 2, qdevice_typ: generic, qdevice_cfg: {T1: 0, T2: 0}}
  - {name: 3, qdevice_typ: generic, qdevice_cfg: {T1: 0, T2: 0}}
  - {name: 4, qdevice_typ: generic, qdevice_cfg: {T1: 0, T2: 0}}
qlinks:
  - {node1: 3, node2: 4, typ: perfect}
hubs:
  - name: h
    link_typ: heralded-single-click
    link_cfg: {length: 0, p_loss_init: 0.2, bright_state: 0.1}
    connections: [{node: 1, length: 10}, {node: 2, length: 20}, {stack: 3, distance: 5}]
"""
    network = load(tmp_path, "hub.yml", text)
    assert network.nodes == ("1", "2", "3", "4")
    assert network.links.tolist() == [[0, 1], [0, 2], [1, 2], [2, 3]]
    assert network.length_km[:3].tolist() == [30.0, 15.0, 25.0]
    assert fidelity(network.populations)[3] == 1.0
    assert network.generation_hz[3] == MOST_GENERATION_HZ  # a pair each microsecond
    assert math.isinf(network.memory.t1_s) and math.isinf(network.memory.t2_s)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("typ: depolarise", "typ: depolarize", "typ must be one of .*did you mean depolarise"),
        ("fidelity: 0.9", "fidelity: 9", r"cfg: Expected `float` <= 1\.0 - at `\$\.fidelity"),
        ("fidelity: 0.9, ", "", "missing required field `fidelity`"),
        ("qdevice_typ: nv", "qdevice_typ: ion", "stacks.2. 'Carol': qdevice_typ must be one of"),
        (
            "stack1: Carol",
            "stack1: Carl",
            r"links\[1\]: there is no node 'Carl'; did you mean Carol",
        ),
        ("stack1: Carol, ", "", "stack1 and stack2"),
        ("length: 10, ", "", "cfg.length must be given, in km"),
        ("visibility: 0.9", "speed_of_light: 3e6", r"speed_of_light"),
        ("name: Bob", "name: Alice", "the name is taken"),
        ("T1: 2e9", "T1: -1", r"qdevice_cfg: .*T1"),
        ("stacks:", "stakcs:", "must have stacks and links"),
        ("links:", "repeater_chains: [1]\nlinks:", "repeater_chains are not read"),
        ("stacks:", "stacks: [", r"line \d+: no plain YAML"),
        ("name: Bob", "name: !!python/name:os.system ''", r"line \d+: no plain YAML: could not"),
        ("name: Bob", "name: 2026-99-99", "no plain YAML"),
    ],
)
def test_a_wrong_squidasm_file_is_one_line(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    assert old in STACKS
    assert re.search(message, refused(tmp_path, "x.yaml", STACKS.replace(old, new, 1)))


@QUICK
@given(
    ends=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=6),
    metres=st.floats(0, 1e8),
)
def test_sequence_links_survive_the_trip(
    tmp_path: Path, ends: list[tuple[int, int]], metres: float
) -> None:
    """Whatever is connected, what is read is what was written, or a plain refusal."""
    names = [f"n{i}" for i in range(5)]
    chain = [(i, i + 1) for i in range(4)]
    whole = {
        "nodes": [{"name": name, "type": "QuantumRouter"} for name in names],
        "qconnections": [
            {"node1": names[a], "node2": names[b], "distance": metres} for a, b in chain + ends
        ],
    }
    if any(a == b for a, b in ends):
        assert "two different nodes" in refused(tmp_path, "x.json", whole)
        return
    network = load(tmp_path, "x.json", whole)
    wanted = sorted({(min(e), max(e)) for e in chain + ends})
    assert [tuple(link) for link in network.links.tolist()] == wanted
    assert np.allclose(network.length_km, metres / 1000.0, rtol=1e-15)


# Hostile files

BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n"
    for a, b in zip("abcdefghi", "bcdefghij", strict=True)
)
MERGED = "a: &a {x: 1}\n" + "".join(
    f"{b}: &{b}\n  <<: [{', '.join([f'*{a}'] * 9)}]\n"
    for a, b in zip("abcdefghi", "bcdefghij", strict=True)
)
LAUGHS = """<?xml version="1.0"?>
<!DOCTYPE lolz [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>
<graphml><graph edgedefault="undirected"><node id="&b;"/></graph></graphml>"""
OUTSIDE = """<!DOCTYPE g [<!ENTITY x SYSTEM "file:///etc/passwd">]>
<graphml><graph edgedefault="undirected"><node id="&x;"/></graph></graphml>"""


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("x.yaml", BOMB, "aliases stand for more than"),
        ("x.yaml", MERGED, "aliases stand for more than"),
        ("x.yaml", "a: &a [*a]", "aliases stand for more than"),
        ("x.yaml", "[" * 2_000, "nested too deeply"),
        ("x.yaml", "a: " + "x" * 3_000_000, "at most 2097152 bytes"),
        ("x.yaml", "", "must have stacks"),
        ("x.yaml", "- 1", "must have stacks"),
        ("x.yaml", "components: {a: {type: node}}", "components, the older format"),
        ("x.graphml", LAUGHS, "line 2: a document type with entities is not read"),
        ("x.graphml", OUTSIDE, "line 1: a document type with entities is not read"),
        ("x.graphml", "<graphml><graph>" + "<graph>" * 50_000, "x.graphml|line|deep"),
        ("x.gml", "graph [ " * 5_000, "not a GML graph|too deeply"),
    ],
)
def test_files_that_mean_harm_are_one_line(
    tmp_path: Path, name: str, text: str, message: str
) -> None:
    assert re.search(message, refused(tmp_path, name, text))


def test_networks_and_files_have_a_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from quantum.topologies import files

    monkeypatch.setattr(files, "MOST_NODES", 2)
    assert refused(tmp_path, "x.json", CONNECTED) == "nodes must be at most 2, there are 3"
    monkeypatch.setattr(files, "MOST_BYTES", 100)
    assert "must be at most 100 bytes" in refused(tmp_path, "x.json", CONNECTED)


@settings(QUICK, max_examples=100)
@given(data=st.binary(max_size=60), kind=st.sampled_from([".yaml", ".yml", ".graphml", ".gml"]))
def test_garbage_is_an_input_error(tmp_path: Path, data: bytes, kind: str) -> None:
    path = tmp_path / f"garbage{kind}"
    path.write_bytes(data)
    with pytest.raises(InputError):
        load_topology(str(path), seed=0)


_LEAF = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4)
_VALUE = st.recursive(
    _LEAF,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=6,
)


def _paths(value: Any, way: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = (
        value.items() if isinstance(value, dict)
        else enumerate(value) if isinstance(value, list) else ()
    )  # fmt: skip
    return [way, *(path for key, inner in items for path in _paths(inner, (*way, key)))]


@settings(QUICK, max_examples=120)
@given(data=st.data(), kind=st.sampled_from(["x.json", "x.yaml"]))
def test_a_good_file_with_anything_anywhere_loads_or_is_refused(
    tmp_path: Path, data: st.DataObject, kind: str
) -> None:
    whole = json.loads(json.dumps(CONNECTED if kind == "x.json" else yaml.safe_load(STACKS)))
    way = data.draw(st.sampled_from([path for path in _paths(whole) if path]))
    place = whole
    for key in way[:-1]:
        place = place[key]
    place[way[-1]] = data.draw(_VALUE)
    text = json.dumps(whole) if kind == "x.json" else yaml.safe_dump(whole)
    said, network = None, None
    try:
        network = load(tmp_path, kind, text)
    except InputError as wrong:
        said = str(wrong)
    assert network is not None or (said is not None and "\n" not in said)


_SLIPS = [
    '"', "<", "[", "]", "}", " ", "\n", "1e999", "nan", "-1", "null", "&a", "*a", "!!", "\x00", "é",
    "0x", "<<:", "id", "key", "edge", "directed 1", "9" * 400,
]  # fmt: skip


@settings(QUICK, max_examples=120)
@given(data=st.data(), kind=st.sampled_from(["gml", "graphml", "yaml", "json"]))
def test_a_text_with_slips_loads_or_is_refused(
    tmp_path: Path, data: st.DataObject, kind: str
) -> None:
    import networkx

    graph = graph_of(load_topology("ring-4", seed=0))
    text = {
        "gml": lambda: "\n".join(networkx.generate_gml(graph)),
        "graphml": lambda: "\n".join(networkx.generate_graphml(graph)),
        "yaml": lambda: STACKS,
        "json": lambda: json.dumps(CONNECTED),
    }[kind]()
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(text)))
        stop = start + data.draw(st.sampled_from([0, 1, 3, 10, 40]))
        text = text[:start] + data.draw(st.sampled_from(_SLIPS)) + text[stop:]
    said, network = None, None
    try:
        network = load(tmp_path, f"x.{kind}", text)
    except InputError as wrong:
        said = str(wrong)
    assert network is not None or (said is not None and "\n" not in said)
