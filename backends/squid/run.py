"""Runs programs on a network, all nodes in one simulation."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from backends.squid.appmemory import AppMemory
from backends.squid.classical import Channel, ClassicalSocket
from backends.squid.clock import Clock
from backends.squid.compiling import CompiledSubroutines
from backends.squid.engine import Complex, Engine
from backends.squid.engines import open_engine
from backends.squid.errors import DeadlockError, SquidError
from backends.squid.host import Host, Names
from backends.squid.links import Source, source_of
from backends.squid.memory import QuantumMemory
from backends.squid.netstack import Fabric, NetStack
from backends.squid.nodecontext import BreakpointHook, NodeContext
from backends.squid.places import line_of
from backends.squid.setting import Network, Nv
from quantum.errors import InputError
from quantum.seeding import generator

__all__ = ["MOST_EVENTS", "Simulation", "run_network"]

#: Events between the ends of two runs, ten thousand pairs or more; a tenth of them may fall on one
#: instant. More are taken for an endless loop.
MOST_EVENTS = 300_000

Results = list[list[Any]]
Loggers = Callable[[str], logging.Logger]


def _plain_logger(node: str) -> logging.Logger:
    return logging.getLogger(f"{__name__}.{node}")


@dataclass(eq=False)
class Simulation:
    """What is going on, for those who look at it while programs run or after they ended.

    ``now_ns`` stays at the time of the end.
    """

    now_ns_at_end: float = 0.0
    clock: Clock | None = None
    engine: Engine | None = None
    hosts: dict[str, Host] = field(default_factory=dict)

    @property
    def now_ns(self) -> float:
        """The simulated time."""
        return self.now_ns_at_end if self.clock is None else self.clock.now_ns

    def qubit(self, node: str, virtual_id: int) -> int:
        """Return the engine's number of a program's qubit, decayed until now."""
        context = self.hosts[node].context
        position = context.app.positions.get(virtual_id)
        if position is None:
            raise SquidError(f"{self.hosts[node].title} has no virtual qubit {virtual_id}")
        return context.memory.qubit(position)

    def state(self, qubits: Sequence[int]) -> Complex:
        """Return the density matrix of qubits of the engine."""
        if self.engine is None:
            raise SquidError("nothing has been simulated here")
        return self.engine.state(qubits)


def run_network(
    network: Network,
    programs: Mapping[str, Any],
    num_times: int = 1,
    *,
    seed: int = 0,
    rng: np.random.Generator | None = None,
    engine: str = "aer",
    simulation: Simulation | None = None,
    loggers: Loggers = _plain_logger,
    on_breakpoint: BreakpointHook | None = None,
    most_events: int = MOST_EVENTS,
) -> Results:
    """Run the program of each node ``num_times`` times; return its results, nodes in their order.

    A node runs its iterations back to back; nodes are not synchronised in between. ``rng`` takes
    the place of the seed.

    Raises :class:`SquidError` for programs that cannot go on, and what programs raise as it is,
    with a note of program, node and line. ``most_events`` limits the events between the ends of
    two runs.
    """
    _check(network, programs, num_times)
    if simulation is None:
        simulation = Simulation()
    rng = generator(seed, "squid", 0) if rng is None else rng
    _build(simulation, network, programs, rng, engine, most_events)
    for host in simulation.hosts.values():
        host.context.log = loggers(host.context.name)
        host.context.on_breakpoint = on_breakpoint
    return _play(simulation, programs, num_times)


def _check(network: Network, programs: Mapping[str, Any], num_times: int) -> None:
    names = [node.name for node in network.nodes]
    if num_times < 1:
        raise InputError(f"num_times must be >= 1, got {num_times}")
    if len(set(names)) < len(names):
        raise SquidError(f"nodes must have different names, got {', '.join(names)}")
    known = ", ".join(names)
    for name in programs:
        if name not in names:
            raise SquidError(f"a program is for {name!r}, which is no node: nodes are {known}")
    for kind, ends in (("link", network.links), ("classical connection", network.classical)):
        for end in ends:
            if end.a not in names or end.b not in names or end.a == end.b:
                raise SquidError(
                    f"a {kind} needs two different nodes of {known}; got {end.a} and {end.b}"
                )


def _build(
    simulation: Simulation,
    network: Network,
    programs: Mapping[str, Any],
    rng: np.random.Generator,
    engine_name: str,
    most_events: int,
) -> None:
    """Make clock, engine and nodes; a node without a program is there but answers nobody."""
    clock, engine = Clock(most_events, most_events // 10), open_engine(engine_name)
    simulation.clock, simulation.engine, simulation.hosts = clock, engine, {}
    names = Names(tuple(node.name for node in network.nodes))
    channels = {ends: Channel(clock, delay) for ends, delay in _delays(network).items()}
    stacks: list[NetStack] = []
    fabric = Fabric(clock, engine, rng, _sources(network), _delays(network), stacks)
    compiled = {True: CompiledSubroutines(), False: CompiledSubroutines()}
    for number, node in enumerate(network.nodes):
        memory = QuantumMemory(clock, engine, node.device, rng)
        stack = NetStack(node.name, number, memory, fabric)
        stacks.append(stack)
        if node.name in programs:
            stack.absent = ""
        simulation.hosts[node.name] = Host(
            NodeContext(node.name, number, clock, memory, AppMemory(clock), stack, rng),
            stack,
            names,
            {
                peer: ClassicalSocket(node.name, peer, channel, channels[peer, node.name])
                for (name, peer), channel in channels.items()
                if name == node.name
            },
            compiled[isinstance(node.device, Nv)],
            clock.count_anew,
        )


def _delays(network: Network) -> dict[tuple[str, str], float]:
    delays: dict[tuple[str, str], float] = {}
    for end in network.classical:
        if not 0.0 <= end.delay_ns < np.inf:
            raise SquidError(
                f"classical connection of {end.a} and {end.b}: delay must be finite and >= 0 ns, "
                f"got {end.delay_ns}"
            )
        delays[end.a, end.b] = delays[end.b, end.a] = end.delay_ns
    return delays


def _sources(network: Network) -> dict[tuple[str, str], Source]:
    sources: dict[tuple[str, str], Source] = {}
    for link in network.links:
        if (link.a, link.b) in sources:
            raise SquidError(f"there are two links between {link.a} and {link.b}")
        source = source_of(f"link of {link.a} and {link.b}", link.model)
        sources[link.a, link.b], sources[link.b, link.a] = source, source.reversed()
    return sources


def _play(simulation: Simulation, programs: Mapping[str, Any], num_times: int) -> Results:
    clock = simulation.clock
    if clock is None:
        raise SquidError("nothing was built to be played")
    for name, host in simulation.hosts.items():
        if name in programs:
            host.context.program = programs[name].meta.name
            clock.start(host.title, host.runs(programs[name], num_times))
    try:
        clock.run()
    except DeadlockError as error:
        raise DeadlockError(error.time_ns, _waiting(simulation, error)) from None
    except SquidError as error:
        # What goes wrong between programs has no line of its own.
        if not getattr(error, "__notes__", None):
            for host in simulation.hosts.values():
                if place := line_of(host.running):
                    error.add_note(f"program {host.title}, {place}")
        raise
    return [host.results for host in simulation.hosts.values()]


def _waiting(simulation: Simulation, error: DeadlockError) -> list[tuple[str, str]]:
    """Return who waits for what, with lines of programs and requests that are stuck."""
    whats = dict(error.waiting)
    waiting: list[tuple[str, str]] = []
    for host in simulation.hosts.values():
        if host.running is None:
            continue
        place, stuck = line_of(host.running), host.netstack.unanswered()
        who = f"{host.title} ({place})" if place else host.title
        what = whats.get(host.title, "something")
        waiting.append((who, f"{what} [{stuck}]" if stuck else what))
    return waiting
