"""Configuration classes in the manner of SquidASM, and the values that they become."""

import copy
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backends.squid import setting
from backends.squid.errors import SquidError
from backends.squid.standin.devices import GenericQDeviceConfig, NVQDeviceConfig
from backends.squid.standin.generation import (
    create_2_node_network,
    create_complete_graph_network_simplified,
    create_single_node_network,
    create_stack_network,
    create_two_node_network,
)
from backends.squid.standin.links import (
    DefaultCLinkConfig,
    DepolariseQLinkConfig,
    HeraldedDoubleClickQLinkConfig,
    HeraldedSingleClickQLinkConfig,
    PerfectQLinkConfig,
)
from backends.squid.standin.network import (
    CLinkConfig,
    LinkConfig,
    NetworkConfig,
    ProcessingNodeConfig,
    StackConfig,
    StackNetworkConfig,
    network_of,
)

YAML = """
device: &device
  num_qubits: 3
  T1: 10_000_000
  T2: 85e6
  measurement_time: 7
  num_comm_qubits: 2
  dummy: null
stacks:
  - name: Alice
    qdevice_typ: generic
    qdevice_cfg:
      <<: *device
      measure_time: 1e3
  - name: Bob
    qdevice_typ: nv
    qdevice_cfg:
      electron_T1: 3.6e12
      carbon_rot_x: 20_000
  - name: Carol
    qdevice_typ: generic
links:
  - stack1: Alice
    stack2: Bob
    typ: heralded
    cfg: {length: 1.0, p_loss_init: 0.889, speed_of_light: 214_000, num_resolving: no}
  - stack1: Alice
    stack2: Carol
    typ: perfect
clinks:
  - {stack1: Alice, stack2: Bob, typ: default, cfg: {delay: 5e3}}
  - {stack1: Alice, stack2: Carol, typ: instant}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "network.yaml"
    path.write_text(YAML)
    return path


def network(**changes: Any) -> StackNetworkConfig:
    """Return two stacks with a link, with changes."""
    parts = {
        "stacks": [StackConfig.perfect_generic_config(name) for name in "AB"],
        "links": [LinkConfig.perfect_config("A", "B")],
    }
    return StackNetworkConfig(**(parts | changes))


# ------------------------------------------------------------------------------------ files


def test_files_become_values(file: Path) -> None:
    made = network_of(StackNetworkConfig.from_file(str(file)))
    alice, bob, carol = made.nodes
    assert alice.device == setting.Generic(qubits=3, t1_ns=1e7, t2_ns=85e6, measure_ns=1e3)
    assert bob.device == setting.Nv(electron_t1_ns=3.6e12, carbon_x_ns=2e4)
    assert carol.device == setting.Generic()
    heralded, perfect = made.links
    assert heralded == setting.Link(
        "Alice",
        "Bob",
        setting.Heralded(
            click=2, length_km=1.0, p_loss_init=0.889, speed_of_light_km_per_s=214_000.0
        ),
    )
    assert perfect.model == setting.Perfect(state_delay_ns=1000.0)
    assert made.classical == (
        setting.Classical("Alice", "Bob", 5000.0),
        setting.Classical("Alice", "Carol", 0.0),
    )


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("num_qubits: 3", "num_qubits: 0", "stack Alice: qdevice_cfg: num_qubits must be a whole"),
        ("T2: 85e6", "T2: -1", "stack Alice: qdevice_cfg: T2 must be a time in ns"),
        ("T2: 85e6", "T2: .nan", "stack Alice: qdevice_cfg: T2 must be a time in ns"),
        ("T2: 85e6", "T2: [1]", "stack Alice: qdevice_cfg: T2 must be a time in ns"),
        ("T2: 85e6", "T2: yes", "stack Alice: qdevice_cfg: T2 must be a time in ns"),
        ("20_000", "soon", "stack Bob: qdevice_cfg: carbon_rot_x must be a time in ns, >= 0"),
        ("typ: nv", "typ: ion", "stack Bob: qdevice_typ must be one of generic, nv, got 'ion'"),
        ("    qdevice_typ: nv\n", "", "stack Bob: qdevice_typ is missing"),
        ("0.889", "1.1", "link Alice-Bob: cfg: p_loss_init must be a probability, 0 to 1, got 1.1"),
        ("length: 1.0, ", "", "link Alice-Bob: cfg: length is missing"),
        ("num_resolving: no", "num_resolving: 3", "cfg: num_resolving must be true or false"),
        ("typ: perfect", "typ: magic", "link Alice-Carol: typ must be one of perfect, depolarise"),
        ("typ: heralded\n", "typ: depolarise\n", "link Alice-Bob: cfg: fidelity is missing"),
        ("{delay: 5e3}", "{}", "clink Alice-Bob: cfg: delay is missing"),
        ("{delay: 5e3}", "{delay: 5, length: 1}", "cfg: delay and length are both given"),
        ("{delay: 5e3}", "fast", "clink Alice-Bob: cfg must be fields or a DefaultCLinkConfig"),
        ("stack2: Bob, typ", "stack2: Bib, typ", "clink Alice-Bib leads to 'Bib', but the stacks"),
        ("name: Carol", "name: Bob", "stack Bob is there twice"),
        ("stack2: Carol\n", "stack2: Bob\n", "link Alice-Bob is there twice"),
        ("stack2: Carol\n", "stack2: Alice\n", "link Alice-Alice must join two different stacks"),
        ("stacks:", "stocks:", "stacks is missing"),
        ("links:", "links: 4\nlunks:", "links must be a list, got 4"),
        ("  - name: Alice", "  - 5\n  - name: Alice", "stack 0 must be fields, got 5"),
    ],
)
def test_errors_name_file_place_and_field(file: Path, old: str, new: str, told: str) -> None:
    file.write_text(YAML.replace(old, new, 1))
    with pytest.raises(SquidError) as caught:
        network_of(StackNetworkConfig.from_file(str(file)))
    assert str(caught.value).startswith(f"{file}: ")
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_that_are_none(tmp_path: Path) -> None:
    path = tmp_path / "some.yaml"
    with pytest.raises(SquidError):
        LinkConfig.from_file(str(path))
    path.write_text("a: [1")
    with pytest.raises(SquidError, match=r"some\.yaml: no valid YAML"):
        LinkConfig.from_file(str(path))
    path.write_text("- 1")
    with pytest.raises(SquidError, match=r"some\.yaml: must hold fields of LinkConfig"):
        LinkConfig.from_file(str(path))
    path.write_text("fidelity: 0.9\nprob_success: 0.8\nt_cycle: 10.\nmore: {}\n")
    assert DepolariseQLinkConfig.from_file(str(path)).setting() == setting.Depolarise(
        fidelity=0.9, prob_success=0.8, t_cycle_ns=10.0
    )


def test_the_file_is_named_even_after_changes(file: Path) -> None:
    config = copy.deepcopy(StackNetworkConfig.from_file(str(file)))
    config.links[0].cfg["visibility"] = 2
    with pytest.raises(SquidError, match=r"network\.yaml: link Alice-Bob: cfg: visibility must"):
        network_of(config)


# ---------------------------------------------------------------------------------- objects


def test_fields_are_assigned_and_checked_at_once() -> None:
    device = GenericQDeviceConfig(dummy=None, num_qubits="5")
    device.T1 = np.float64(3.0)
    device.init_time = "1e1"
    assert (device.num_qubits, device.T1, device.init_time) == (5, 3.0, 10.0)
    with pytest.raises(SquidError, match="GenericQDeviceConfig: measure_time must be a time"):
        device.measure_time = "never"
    with pytest.raises(SquidError, match=r"GenericQDeviceConfig has no field 'T_1'; its fields"):
        device.T_1 = 3
    with pytest.raises(SquidError, match="GenericQDeviceConfig: T2 must be"):
        GenericQDeviceConfig(T2=math.nan)
    with pytest.raises(SquidError, match=r"num_qubits must be a whole number, >= 1, got 2\.5"):
        GenericQDeviceConfig(num_qubits=2.5)
    with pytest.raises(SquidError, match="StackConfig: name is missing"):
        StackConfig(qdevice_typ="nv")


def test_objects_are_values() -> None:
    one, two = NVQDeviceConfig(), NVQDeviceConfig()
    assert one == two
    two.measure = 1
    assert one != two
    assert repr(LinkConfig.perfect_config("A", "B")) == (
        "LinkConfig(stack1='A', stack2='B', typ='perfect', cfg=None)"
    )
    one, two = network(), network()
    one.stacks.append(StackConfig.perfect_generic_config("C"))
    assert len(two.stacks) == 2


def test_dictionaries_and_objects_mean_the_same() -> None:
    fields = {"fidelity": 0.9, "prob_success": 1, "t_cycle": 5, "unknown": 1}
    made = [
        network_of(network(links=[LinkConfig(stack1="A", stack2="B", typ="depolarise", cfg=cfg)]))
        for cfg in (fields, DepolariseQLinkConfig(**fields))
    ]
    assert made[0] == made[1]
    assert made[0].links[0].model == setting.Depolarise(fidelity=0.9, t_cycle_ns=5.0)


def test_an_object_of_another_kind_is_refused() -> None:
    config = network()
    config.links[0].cfg = DefaultCLinkConfig(delay=1)
    with pytest.raises(SquidError, match="link A-B: cfg must be fields or a PerfectQLinkConfig"):
        network_of(config)
    with pytest.raises(SquidError, match="config must be a StackNetworkConfig"):
        network_of({"stacks": []})  # type: ignore[arg-type]


def test_defaults_are_those_of_squidasm() -> None:
    assert GenericQDeviceConfig().setting() == setting.Generic()
    assert NVQDeviceConfig().setting() == setting.Nv()
    assert GenericQDeviceConfig.perfect_config().setting() == setting.Generic(
        qubits=100,
        t1_ns=0.0,
        t2_ns=0.0,
        init_ns=0.0,
        single_ns=0.0,
        two_ns=0.0,
        measure_ns=0.0,
        two_depolar=0.0,
    )
    perfect = NVQDeviceConfig.perfect_config()
    assert perfect.setting() == setting.Nv(
        electron_init_depolar=0.0,
        flip_0=0.0,
        flip_1=0.0,
        carbon_init_depolar=0.0,
        carbon_z_depolar=0.0,
        ec_depolar=0.0,
    )


def test_every_field_of_an_nv_centre_arrives() -> None:
    names = [name for name in NVQDeviceConfig()._fields() if name != "num_qubits"]
    # Different values, all of them probabilities: 1/2, 1/3, ...
    given = {name: 1.0 / (place + 2) for place, name in enumerate(names)}
    made = NVQDeviceConfig(num_qubits=4, **given).setting()
    assert sorted(given.values()) == sorted(v for k, v in vars(made).items() if k != "qubits")
    assert made.qubits == 4
    assert made.ec_depolar == given["ec_gate_depolar_prob"]
    assert made.carbon_t2_ns == given["carbon_T2"]
    assert made.electron_y_ns == given["electron_rot_y"]
    assert made.ec_x_ns == given["ec_controlled_dir_x"]


def test_infinite_decay_times_mean_no_decay() -> None:
    device = GenericQDeviceConfig(T1=math.inf, T2="inf").setting()
    assert (device.t1_ns, device.t2_ns) == (0.0, 0.0)
    with pytest.raises(SquidError, match="init_time must be"):
        GenericQDeviceConfig(init_time=math.inf)


# ------------------------------------------------------------------------------------ links


def test_lengths_stand_for_times() -> None:
    assert PerfectQLinkConfig(length=2).setting().state_delay_ns == 10_000.0
    assert DepolariseQLinkConfig(
        fidelity=1, prob_success=1, length=1, speed_of_light=1e5
    ).setting().t_cycle_ns == pytest.approx(10_000.0)
    with pytest.raises(SquidError, match="t_cycle is missing"):
        DepolariseQLinkConfig(fidelity=1, prob_success=1).setting()
    with pytest.raises(SquidError, match="state_delay and length are both given"):
        PerfectQLinkConfig(length=2, state_delay=3).setting()


def test_heralded_links() -> None:
    single = HeraldedSingleClickQLinkConfig(length=10, emission_fidelity=0.9).setting()
    assert single == setting.Heralded(
        click=1, length_km=10.0, bright_state=0.01, emission_fidelity=0.9
    )
    sides = {f"{name}_{side}": 0.5 for name in ("length", "p_loss_init") for side in "AB"}
    double = HeraldedDoubleClickQLinkConfig(coin_prob_ph_ph=0.7, visibility=0.8, **sides).setting()
    assert double == setting.Heralded(
        click=2, length_km=1.0, p_loss_init=0.5, coin_prob_ph_ph=0.7, visibility=0.8
    )
    with pytest.raises(SquidError, match="p_loss_init_A and p_loss_init_B must be equal, got"):
        HeraldedDoubleClickQLinkConfig(length=1, p_loss_init_A=0.5).setting()
    with pytest.raises(SquidError, match="num_multiplexing_modes must be 1"):
        HeraldedDoubleClickQLinkConfig(length=1, num_multiplexing_modes=2).setting()
    dark = HeraldedDoubleClickQLinkConfig(length=1, coin_prob_ph_dc=0.5)
    assert dark.setting().coin_prob_ph_ph == 1.0
    dark.dark_count_probability = 1e-3
    with pytest.raises(SquidError, match="coin_prob_ph_dc must be 1"):
        dark.setting()


# --------------------------------------------------------------------------------- networks


def test_without_classical_connections_all_are_connected() -> None:
    names = ["A", "B", "C"]
    stacks = [StackConfig.perfect_generic_config(name) for name in names]
    for clinks in (None, []):
        made = network_of(StackNetworkConfig(stacks=stacks, links=[], clinks=clinks))
        assert {(end.a, end.b, end.delay_ns) for end in made.classical} == {
            ("A", "B", 0.0),
            ("A", "C", 0.0),
            ("B", "C", 0.0),
        }
    nodes = [ProcessingNodeConfig(name=name, qdevice_typ="generic") for name in names]
    assert network_of(NetworkConfig(processing_nodes=nodes, links=[])).classical == ()
    clink = CLinkConfig.perfect_config("A", "C")
    made = network_of(StackNetworkConfig(stacks=stacks, links=[], clinks=[clink]))
    assert made.classical == (setting.Classical("A", "C", 0.0),)


def test_networks_made_in_one_call() -> None:
    made = network_of(create_two_node_network(["S", "R"], 0.2, 0.1, 30, 40))
    assert [node.name for node in made.nodes] == ["S", "R"]
    assert made.links == (
        setting.Link("S", "R", setting.Depolarise(fidelity=0.85, t_cycle_ns=40.0)),
    )
    assert made.classical == (setting.Classical("S", "R", 30.0),)
    device = made.nodes[0].device
    assert isinstance(device, setting.Generic)
    assert (device.single_depolar, device.two_depolar, device.single_ns) == (0.1, 0.1, 0.0)
    assert [node.name for node in network_of(create_two_node_network()).nodes] == ["Alice", "Bob"]
    with pytest.raises(SquidError, match="node_names must be two names"):
        create_two_node_network(["A"])

    made = network_of(
        create_complete_graph_network_simplified(
            ["A", "B", "C"], qdevice_depolar_time=7, qdevice_op_time=100, clink_delay=5
        )
    )
    device = made.nodes[2].device
    assert isinstance(device, setting.Generic)
    assert (device.t1_ns, device.t2_ns, device.init_ns, device.two_ns) == (7.0, 7.0, 100.0, 100.0)
    assert len(made.links) == len(made.classical) == 3

    perfect = PerfectQLinkConfig(state_delay=9)
    pair = network_of(create_2_node_network("perfect", perfect))
    assert pair == network_of(create_stack_network(["Alice", "Bob"], "perfect", perfect))
    assert pair.links[0].model == setting.Perfect(state_delay_ns=9.0)
    alone = network_of(create_single_node_network("nv", NVQDeviceConfig.perfect_config(3)))
    assert alone.nodes[0].device.qubits == 3
    with pytest.raises(SquidError, match="node_names must name a node"):
        create_stack_network([], "perfect", None)
