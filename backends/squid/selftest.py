"""Does this package fit the netqasm that is installed? Some of what it uses there is private."""

from collections.abc import Generator
from importlib.metadata import version
from typing import Any

from netqasm.sdk.qubit import Qubit

from backends.squid.program import Program, ProgramContext, ProgramMeta
from backends.squid.run import run_network
from backends.squid.setting import Classical, Generic, Link, Network, Node, Nv, Perfect

__all__ = ["self_test"]

_TIMES = 8


class _End(Program):
    """One end of a teleportation of |1>; the other end measures it."""

    def __init__(self, peer: str) -> None:
        self._meta = ProgramMeta("self-test", [peer], [peer], max_qubits=2)

    @property
    def meta(self) -> ProgramMeta:
        """Say which sockets and how many qubits are needed."""
        return self._meta


class _Sender(_End):
    def run(self, context: ProgramContext) -> Generator[Any, Any, dict[str, Any]]:
        qubit = Qubit(context.connection)
        qubit.X()
        (half,) = context.epr_sockets["Bob"].create_keep()
        qubit.cnot(half)
        qubit.H()
        z, x = qubit.measure(), half.measure()
        yield from context.connection.flush()
        context.csockets["Bob"].send((int(z), int(x)))
        return {}


class _Receiver(_End):
    def run(self, context: ProgramContext) -> Generator[Any, Any, dict[str, Any]]:
        (half,) = context.epr_sockets["Alice"].recv_keep()
        yield from context.connection.flush()
        z, x = yield from context.csockets["Alice"].recv()
        if x:
            half.X()
        if z:
            half.Z()
        outcome = half.measure()
        yield from context.connection.flush()
        return {"outcome": int(outcome)}


def self_test() -> str:
    """Teleport a few times over generic and NV devices without noise; say with which netqasm.

    Raises RuntimeError if the outcome is not what was sent, and what else a netqasm that has
    changed leads to.
    """
    generic = Generic(qubits=3, t1_ns=0.0, t2_ns=0.0, two_depolar=0.0)
    nv = Nv(
        qubits=3,
        electron_init_depolar=0.0,
        flip_0=0.0,
        flip_1=0.0,
        carbon_init_depolar=0.0,
        carbon_z_depolar=0.0,
        ec_depolar=0.0,
        electron_t1_ns=0.0,
        electron_t2_ns=0.0,
        carbon_t1_ns=0.0,
        carbon_t2_ns=0.0,
    )
    programs = {"Alice": _Sender("Bob"), "Bob": _Receiver("Alice")}
    for device in (generic, nv):
        network = Network(
            (Node("Alice", device), Node("Bob", device)),
            (Link("Alice", "Bob", Perfect()),),
            (Classical("Alice", "Bob"),),
        )
        _, arrived = run_network(network, programs, _TIMES, engine="numpy")
        found = sum(run["outcome"] for run in arrived)
        if found != _TIMES:
            raise RuntimeError(f"{_TIMES} qubits in |1> were teleported, {found} arrived as such")
    return f"netqasm {version('netqasm')} teleports"
