"""How fast applications run, next to what netqasm's SDK takes to write their subroutines.

A qubit is teleported between two nodes over a depolarised pair, each time anew: two programs, three
subroutines (whose compiled form is known again), a message, and the state that arrives is read.
Rates are per second of CPU time of this process, medians of several runs of 1,000 each, after a
first one.
"""

import time
from collections.abc import Callable, Generator
from functools import partial
from statistics import median
from typing import Any

import numpy as np
from netqasm.sdk.build_types import GenericHardwareConfig
from netqasm.sdk.builder import Builder
from netqasm.sdk.connection import BaseNetQASMConnection
from netqasm.sdk.epr_socket import EPRSocket
from netqasm.sdk.qubit import Qubit
from netqasm.sdk.toolbox import set_qubit_state

from backends.contract import RANDOM, Plan
from backends.squid.backend import SquidBackend
from backends.squid.engine import Complex
from backends.squid.host import Names
from backends.squid.program import Program, ProgramContext, ProgramMeta
from backends.squid.run import Simulation, run_network
from backends.squid.setting import Classical, Depolarise, Generic, Link, Network, Node
from quantum import bell
from quantum.batch import Batch, Kind
from quantum.program import Gates, Memory
from quantum.seeding import generator

__all__ = ["squidasm", "teleport"]

_REPEATS = 1000
_RUNS = 7
_CHECKED = 50
_PHI, _THETA = 0.3, 0.7
#: SquidASM's link_noise 0.1.
_FIDELITY = 0.925

_DEVICE = Generic(t1_ns=0.0, t2_ns=0.0, two_depolar=0.0)
_NETWORK = Network(
    (Node("Sender", _DEVICE), Node("Receiver", _DEVICE)),
    (Link("Sender", "Receiver", Depolarise(fidelity=_FIDELITY)),),
    (Classical("Sender", "Receiver"),),
)


def squidasm() -> dict[str, Any]:
    """Measure teleports per CPU second on both engines, and pairs of the backend."""
    rates = {name: _rate(partial(teleport, _REPEATS, name)) for name in ("aer", "numpy")}
    alone = _rate(lambda: _only_written(_REPEATS))
    backend = SquidBackend()
    pairs, chains = _batch(1), _batch(5)
    results = {
        "teleports_per_cpu_s_aer": rates["aer"],
        "teleports_per_cpu_s_numpy": rates["numpy"],
        "fidelity_error": max(_error(name) for name in rates),
        "pairs_per_cpu_s": _rate(lambda: _executed(backend, pairs)),
        "swaps_per_cpu_s": 4.0 * _rate(lambda: _executed(backend, chains)),
    }
    return {
        "name": "squidasm",
        "results": results,
        "reference": {
            "written_per_cpu_s": alone,
            "written": "the same subroutines built and compiled by netqasm's SDK, as often, and "
            "not executed",
            "fidelity_error": "largest difference of a teleported state's fidelity from (2F + 1)/3",
        },
        "ratio": {f"{name}_vs_written": rate / alone for name, rate in rates.items()},
    }


class _Sender(Program):
    meta = ProgramMeta("sender", ["Receiver"], ["Receiver"], max_qubits=2)

    def run(self, context: ProgramContext) -> Generator[Any, Any, dict[str, Any]]:
        z, x = _send(context.connection, context.epr_sockets["Receiver"])
        yield from context.connection.flush()
        context.csockets["Receiver"].send((int(z), int(x)))
        return {}


class _Receiver(Program):
    meta = ProgramMeta("receiver", ["Sender"], ["Sender"], max_qubits=2)

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation

    def run(self, context: ProgramContext) -> Generator[Any, Any, dict[str, Any]]:
        (half,) = context.epr_sockets["Sender"].recv_keep()
        yield from context.connection.flush()
        z, x = yield from context.csockets["Sender"].recv()
        if x:
            half.X()
        if z:
            half.Z()
        yield from context.connection.flush()
        qubit = self._simulation.qubit("Receiver", half.qubit_id)
        return {"state": self._simulation.state([qubit])}


def _send(connection: Any, socket: Any) -> tuple[Any, Any]:
    """Prepare a state and measure it with half of a pair; return both outcomes to come."""
    qubit = Qubit(connection)
    set_qubit_state(qubit, _PHI, _THETA)
    (half,) = socket.create_keep()
    qubit.cnot(half)
    qubit.H()
    return qubit.measure(), half.measure()


def teleport(times: int, engine: str) -> list[Complex]:
    """Teleport a state again and again; return what arrives."""
    simulation = Simulation()
    programs = {"Sender": _Sender(), "Receiver": _Receiver(simulation)}
    _, arrived = run_network(_NETWORK, programs, times, engine=engine, simulation=simulation)
    return [run["state"] for run in arrived]


def _error(engine: str) -> float:
    """Return how far fidelities are from (2F + 1)/3."""
    ket = np.array([np.cos(_THETA / 2), np.exp(1j * _PHI) * np.sin(_THETA / 2)])
    found = [float((ket.conj() @ state @ ket).real) for state in teleport(_CHECKED, engine)]
    return max(abs(fidelity - (2.0 * _FIDELITY + 1.0) / 3.0) for fidelity in found)


class _Writer(BaseNetQASMConnection):  # type: ignore[misc]
    """netqasm's own builder and compiler, and nothing that executes."""

    def __init__(self, name: str) -> None:
        self._app_name = self._node_name = name
        self._app_id, self._max_qubits = 0, 2
        self._builder = Builder(
            connection=self, app_id=0, hardware_config=GenericHardwareConfig(2), compiler=None
        )

    def flush(self, block: bool = True, callback: Callable[..., Any] | None = None) -> None:
        self._builder.subrt_compile_subroutine(self._builder.subrt_pop_pending_subroutine())
        self._builder._reset()

    def _get_network_info(self) -> Names:
        return Names(("Sender", "Receiver"))

    def _commit_serialized_message(self, *_: Any, **__: Any) -> None:
        """Send nothing."""


def _only_written(times: int) -> None:
    """Write the subroutines of a teleport; X is corrected half of the time and Z, too."""
    for number in range(times):
        sender, receiver = _Writer("Sender"), _Writer("Receiver")
        _send(sender, _socket(sender, "Receiver"))
        sender.flush()
        (half,) = _socket(receiver, "Sender").recv_keep()
        receiver.flush()
        if number % 2:
            half.X()
        if number % 4 > 1:
            half.Z()
        if number % 4:
            receiver.flush()


def _socket(connection: _Writer, peer: str) -> EPRSocket:
    socket = EPRSocket(peer)
    socket.conn = connection
    return socket


def _batch(links: int) -> Batch:
    """Return chains of links of which every qubit waits on its own, then swaps."""
    rng = generator(0, "benchmark")
    steps: list[tuple[Kind, int, int]] = []
    for pair in range(links):
        steps += [("generate", pair, -1), ("wait", pair, -1)]
    steps += [("swap", 0, pair) for pair in range(1, links)]
    weights = np.tile(bell.werner(0.96), (_REPEATS, links, 1))
    waits = rng.uniform(0.0, 0.1, (_REPEATS, links, 2))
    return Batch(tuple(steps), weights, waits, Memory(1.0, 0.5), Gates(1.0, 0.01, 0.01))


def _executed(backend: SquidBackend, batch: Batch) -> object:
    size = len(batch)
    plan = Plan(np.full(size, RANDOM), np.full(size, 300), np.full(size, np.nan))
    return backend.run(batch, plan, generator(0, "benchmark"))


def _rate(work: Callable[[], object]) -> float:
    """Return how many per CPU second, the median of some runs after a first one."""
    work()
    seconds = []
    for _ in range(_RUNS):
        start = time.process_time()
        work()
        seconds.append(time.process_time() - start)
    return _REPEATS / median(seconds)
