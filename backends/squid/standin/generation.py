"""Networks made in one call."""

import itertools
from collections.abc import Sequence
from typing import Any

from backends.squid.errors import SquidError
from backends.squid.standin.devices import GenericQDeviceConfig, IQDeviceConfig
from backends.squid.standin.links import DefaultCLinkConfig, DepolariseQLinkConfig
from backends.squid.standin.network import (
    CLinkConfig,
    LinkConfig,
    NetworkConfig,
    NodeCLinkConfig,
    NodeQLinkConfig,
    ProcessingNodeConfig,
    StackConfig,
    StackNetworkConfig,
)

__all__ = [
    "create_2_node_network",
    "create_complete_graph_network",
    "create_complete_graph_network_simplified",
    "create_single_node_network",
    "create_stack_network",
    "create_two_node_network",
]

_Cfg = Any


def create_two_node_network(
    node_names: list[str] | None = None,
    link_noise: float = 0,
    qdevice_noise: float = 0,
    clink_delay: float = 0.0,
    link_delay: float = 0.0,
) -> StackNetworkConfig:
    """Return two nodes, Alice and Bob unless named, with simple noise.

    ``link_noise`` is the weight of I/4 in pairs, ``qdevice_noise`` the depolarising probability of
    gates; delays in ns.
    """
    names = ["Alice", "Bob"] if node_names is None else node_names
    if len(names) != 2:
        raise SquidError(f"node_names must be two names, got {names!r}")
    return create_stack_network(
        names,
        *_simple_link(link_noise, link_delay),
        "default",
        DefaultCLinkConfig(delay=clink_delay),
        "generic",
        _simple_device(qdevice_noise),
    )


def create_stack_network(
    node_names: Sequence[str],
    link_typ: str,
    link_cfg: _Cfg,
    clink_typ: str = "instant",
    clink_cfg: _Cfg = None,
    qdevice_typ: str = "generic",
    qdevice_cfg: _Cfg = None,
) -> StackNetworkConfig:
    """Return a network of equal stacks, each linked to each; perfect devices unless given."""
    device, pairs = _prepared(node_names, qdevice_cfg)
    return StackNetworkConfig(
        stacks=[
            StackConfig(name=name, qdevice_typ=qdevice_typ, qdevice_cfg=device)
            for name in node_names
        ],
        links=[LinkConfig(stack1=a, stack2=b, typ=link_typ, cfg=link_cfg) for a, b in pairs],
        clinks=[CLinkConfig(stack1=a, stack2=b, typ=clink_typ, cfg=clink_cfg) for a, b in pairs],
    )


def create_complete_graph_network(
    node_names: Sequence[str],
    qlink_typ: str,
    qlink_cfg: _Cfg,
    clink_typ: str = "instant",
    clink_cfg: _Cfg = None,
    qdevice_typ: str = "generic",
    qdevice_cfg: _Cfg = None,
) -> NetworkConfig:
    """Return a network of equal nodes, each linked to each; perfect devices unless given."""
    device, pairs = _prepared(node_names, qdevice_cfg)
    return NetworkConfig(
        processing_nodes=[
            ProcessingNodeConfig(name=name, qdevice_typ=qdevice_typ, qdevice_cfg=device)
            for name in node_names
        ],
        qlinks=[NodeQLinkConfig(node1=a, node2=b, typ=qlink_typ, cfg=qlink_cfg) for a, b in pairs],
        clinks=[NodeCLinkConfig(node1=a, node2=b, typ=clink_typ, cfg=clink_cfg) for a, b in pairs],
    )


def create_complete_graph_network_simplified(
    node_names: Sequence[str],
    link_noise: float = 0,
    qdevice_noise: float = 0,
    qdevice_depolar_time: float = 0,
    qdevice_op_time: float = 0,
    clink_delay: float = 0.0,
    link_delay: float = 0.0,
) -> NetworkConfig:
    """Return a network of equal nodes with simple noise; times in ns, T1 = T2."""
    device = _simple_device(qdevice_noise)
    device.T1 = device.T2 = qdevice_depolar_time
    device.init_time = device.measure_time = qdevice_op_time
    device.single_qubit_gate_time = device.two_qubit_gate_time = qdevice_op_time
    return create_complete_graph_network(
        node_names,
        *_simple_link(link_noise, link_delay),
        "default",
        DefaultCLinkConfig(delay=clink_delay),
        "generic",
        device,
    )


def create_2_node_network(
    qlink_typ: str,
    qlink_cfg: _Cfg,
    clink_typ: str = "instant",
    clink_cfg: _Cfg = None,
    qdevice_typ: str = "generic",
    qdevice_cfg: _Cfg = None,
) -> NetworkConfig:
    """Return a network of Alice and Bob."""
    return create_complete_graph_network(
        ["Alice", "Bob"], qlink_typ, qlink_cfg, clink_typ, clink_cfg, qdevice_typ, qdevice_cfg
    )


def create_single_node_network(qdevice_typ: str, qdevice_cfg: _Cfg) -> NetworkConfig:
    """Return a network of Alice alone."""
    node = ProcessingNodeConfig(name="Alice", qdevice_typ=qdevice_typ, qdevice_cfg=qdevice_cfg)
    return NetworkConfig(processing_nodes=[node])


def _prepared(
    node_names: Sequence[str], qdevice_cfg: _Cfg
) -> tuple[IQDeviceConfig | dict[str, Any], list[tuple[str, str]]]:
    if not node_names:
        raise SquidError("node_names must name a node at least")
    device = GenericQDeviceConfig.perfect_config() if qdevice_cfg is None else qdevice_cfg
    return device, list(itertools.combinations(node_names, 2))


def _simple_device(noise: float) -> GenericQDeviceConfig:
    device = GenericQDeviceConfig.perfect_config()
    device.single_qubit_gate_depolar_prob = device.two_qubit_gate_depolar_prob = noise
    return device


def _simple_link(noise: float, delay_ns: float) -> tuple[str, DepolariseQLinkConfig]:
    fidelity = 1.0 - 0.75 * noise
    return "depolarise", DepolariseQLinkConfig(fidelity=fidelity, prob_success=1, t_cycle=delay_ns)
