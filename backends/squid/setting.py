"""What a network of quantum nodes is, as values: devices, links, classical connections.

Configuration files and classes of SquidASM (:mod:`backends.squid.standin`) are turned into these;
nothing else in this package knows about files. Times are nanoseconds, probabilities 0-1. T1 = 0 or
T2 = 0 means no decay, as in SquidASM. ``depolar`` p: each qubit of the gate becomes I/2 with
probability p, on its own (decided by Fig. 11a of the NetQASM paper, arXiv:2111.09823).
"""

from dataclasses import dataclass

__all__ = [
    "Classical",
    "Depolarise",
    "Device",
    "Generic",
    "Heralded",
    "Link",
    "LinkModel",
    "Network",
    "Node",
    "Nv",
    "Perfect",
]


@dataclass(frozen=True, kw_only=True)
class Generic:
    """A device whose qubits are all alike, any gate between any two.

    Beyond SquidASM: with probability ``joint_depolar`` the two qubits of a gate become I/4
    together; ``flip_0`` and ``flip_1`` are the chances that an outcome 0 or 1 is reported as the
    other.
    """

    qubits: int = 2
    t1_ns: float = 1e10
    t2_ns: float = 1e9
    init_ns: float = 1e4
    single_ns: float = 1e3
    two_ns: float = 1e5
    measure_ns: float = 1e4
    single_depolar: float = 0.0
    two_depolar: float = 0.01
    joint_depolar: float = 0.0
    flip_0: float = 0.0
    flip_1: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Nv:
    """One electron (position 0: talks to the network, is measured) and carbons that store.

    ``flip_0`` and ``flip_1`` are the chances that an outcome 0 or 1 is reported as the other.
    """

    qubits: int = 2
    electron_init_depolar: float = 0.05
    electron_single_depolar: float = 0.0
    flip_0: float = 0.05
    flip_1: float = 0.005
    carbon_init_depolar: float = 0.05
    carbon_z_depolar: float = 0.001
    ec_depolar: float = 0.008
    electron_t1_ns: float = 1e9
    electron_t2_ns: float = 3e8
    carbon_t1_ns: float = 1.5e11
    carbon_t2_ns: float = 1.5e9
    carbon_init_ns: float = 3.1e5
    carbon_x_ns: float = 5e5
    carbon_y_ns: float = 5e5
    carbon_z_ns: float = 5e5
    electron_init_ns: float = 2e3
    electron_x_ns: float = 5.0
    electron_y_ns: float = 5.0
    electron_z_ns: float = 5.0
    ec_x_ns: float = 5e5
    ec_y_ns: float = 5e5
    measure_ns: float = 3.7e3


Device = Generic | Nv


@dataclass(frozen=True, kw_only=True)
class Perfect:
    """Phi+ after a fixed time."""

    state_delay_ns: float = 1000.0


@dataclass(frozen=True, kw_only=True)
class Depolarise:
    """(1-q) Phi+ + q I/4 with q = 4 (1-F) / 3, after a geometric number of cycles."""

    fidelity: float
    prob_success: float = 1.0
    t_cycle_ns: float = 1000.0


@dataclass(frozen=True, kw_only=True)
class Heralded:
    """Photons meet in the middle: ``click`` 1 or 2 (single or double click, arXiv:2207.10579)."""

    click: int = 2
    length_km: float
    p_loss_init: float = 0.0
    p_loss_db_per_km: float = 0.25
    speed_of_light_km_per_s: float = 2e5
    dark_count_probability: float = 0.0
    detector_efficiency: float = 1.0
    visibility: float = 1.0
    num_resolving: bool = False
    emission_fidelity: float = 1.0
    coin_prob_ph_ph: float = 1.0
    bright_state: float = 0.5


LinkModel = Perfect | Depolarise | Heralded


@dataclass(frozen=True)
class Node:
    """A stack: a host with its quantum device."""

    name: str
    device: Device


@dataclass(frozen=True)
class Link:
    """A source of entangled pairs between two nodes."""

    a: str
    b: str
    model: LinkModel


@dataclass(frozen=True)
class Classical:
    """A classical connection between two nodes."""

    a: str
    b: str
    delay_ns: float = 0.0


@dataclass(frozen=True)
class Network:
    """Nodes in the order of the configuration, links and classical connections."""

    nodes: tuple[Node, ...]
    links: tuple[Link, ...]
    classical: tuple[Classical, ...]
