"""Under which names programs import what: module by module, and where it really is."""

__all__ = ["EAGER", "MODULES", "ROOTS"]

_HERE = "backends.squid.standin"
_DEVICES = {f"{_HERE}.devices": "IQDeviceConfig GenericQDeviceConfig NVQDeviceConfig"}
_QLINKS = {
    "perfect": {f"{_HERE}.links": "PerfectQLinkConfig"},
    "depolarise": {f"{_HERE}.links": "DepolariseQLinkConfig"},
    "heralded_single_click": {f"{_HERE}.links": "HeraldedSingleClickQLinkConfig"},
    "heralded_double_click": {f"{_HERE}.links": "HeraldedDoubleClickQLinkConfig"},
}
_TIME = "sim_time sim_reset NANOSECOND MICROSECOND MILLISECOND SECOND"
_RANDOM = "set_random_state get_random_state"
_FORMALISM = "QFormalism set_qstate_formalism get_qstate_formalism"
_KETS = "s0 s1 h0 h1 y0 y1 b00 b01 b10 b11"

#: Of each module, its names by the module of ours that has them. ``name=other`` renames.
MODULES: dict[str, dict[str, str]] = {
    "pydynaa": {f"{_HERE}.simulator": "EventExpression"},
    "netsquid": {f"{_HERE}.simulator": f"{_TIME} {_RANDOM} {_FORMALISM} BellIndex"},
    "netsquid.qubits": {f"{_HERE}.simulator": f"Qubit reduced_dm fidelity {_FORMALISM}"},
    "netsquid.qubits.qformalism": {f"{_HERE}.simulator": _FORMALISM},
    "netsquid.qubits.qubit": {f"{_HERE}.simulator": "Qubit"},
    "netsquid.qubits.qubitapi": {f"{_HERE}.simulator": "reduced_dm fidelity"},
    "netsquid.qubits.ketstates": {f"{_HERE}.simulator": f"BellIndex bell_states {_KETS}"},
    "netsquid.util": {},
    "netsquid.util.simtools": {f"{_HERE}.simulator": f"{_TIME} {_RANDOM}"},
    "netsquid_netbuilder": {},
    "netsquid_netbuilder.yaml_loadable": {f"{_HERE}.model": "YamlLoadable=Model"},
    "netsquid_netbuilder.network_config": {
        f"{_HERE}.network": (
            "NetworkConfig ProcessingNodeConfig"
            " QLinkConfig=NodeQLinkConfig CLinkConfig=NodeCLinkConfig"
        )
    },
    "netsquid_netbuilder.modules": {},
    "netsquid_netbuilder.modules.qdevices": _DEVICES,
    "netsquid_netbuilder.modules.qdevices.generic": _DEVICES,
    "netsquid_netbuilder.modules.qdevices.nv": _DEVICES,
    "netsquid_netbuilder.modules.qlinks": {
        f"{_HERE}.links": (
            "IQLinkConfig PerfectQLinkConfig DepolariseQLinkConfig"
            " HeraldedSingleClickQLinkConfig HeraldedDoubleClickQLinkConfig"
        )
    },
    **{f"netsquid_netbuilder.modules.qlinks.{name}": names for name, names in _QLINKS.items()},
    "netsquid_netbuilder.modules.clinks": {
        f"{_HERE}.links": "ICLinkConfig InstantCLinkConfig DefaultCLinkConfig"
    },
    "netsquid_netbuilder.modules.clinks.instant": {f"{_HERE}.links": "InstantCLinkConfig"},
    "netsquid_netbuilder.modules.clinks.default": {f"{_HERE}.links": "DefaultCLinkConfig"},
    "netsquid_netbuilder.util": {},
    "netsquid_netbuilder.util.fidelity": {f"{_HERE}.simulator": "calculate_fidelity_epr"},
    "netsquid_netbuilder.util.network_generation": {
        f"{_HERE}.generation": (
            "create_single_node_network create_2_node_network create_complete_graph_network"
            " create_complete_graph_network_simplified"
        )
    },
    "squidasm": {},
    "squidasm.run": {},
    "squidasm.run.stack": {},
    "squidasm.run.stack.run": {f"{_HERE}.running": "run"},
    "squidasm.run.stack.config": {
        f"{_HERE}.network": "StackNetworkConfig StackConfig LinkConfig CLinkConfig",
        f"{_HERE}.devices": "GenericQDeviceConfig NVQDeviceConfig",
        f"{_HERE}.links": (
            "DepolariseLinkConfig=DepolariseQLinkConfig"
            " HeraldedLinkConfig=HeraldedDoubleClickQLinkConfig"
            " InstantCLinkConfig DefaultCLinkConfig"
        ),
    },
    "squidasm.sim": {},
    "squidasm.sim.stack": {},
    "squidasm.sim.stack.program": {"backends.squid.program": "Program ProgramContext ProgramMeta"},
    "squidasm.sim.stack.csocket": {"backends.squid.classical": "ClassicalSocket"},
    "squidasm.sim.stack.common": {f"{_HERE}.logs": "LogManager SimTimeFilter"},
    "squidasm.sim.stack.globals": {f"{_HERE}.observe": "GlobalSimData"},
    "squidasm.util": {
        f"{_HERE}.generation": "create_two_node_network",
        f"{_HERE}.observe": "get_qubit_state get_reference_state",
    },
    "squidasm.util.util": {
        f"{_HERE}.generation": (
            "create_two_node_network create_complete_graph_network=create_stack_network"
        ),
        f"{_HERE}.observe": "get_qubit_state get_reference_state",
    },
    "squidasm.util.routines": {
        f"{_HERE}.routines": (
            "measXY remote_state_preparation recv_remote_state_preparation"
            " send_float recv_float send_int recv_int teleport_send teleport_recv"
            " distributed_CNOT_control distributed_CNOT_target"
            " distributed_CPhase_control distributed_CPhase_target create_ghz"
        )
    },
    "squidasm.util.qkd_routine": {f"{_HERE}.qkd": "QKDRoutine"},
}

ROOTS = frozenset(name for name in MODULES if "." not in name)

#: Packages of which programs use what is inside without importing it, as ``ns.qubits.qformalism``.
EAGER = frozenset({"netsquid", "netsquid.qubits", "netsquid.util"})
