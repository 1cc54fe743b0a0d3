"""A stage: nodes that stay up and play one act after the other, for many programs at once.

An *act* is a program for each of some nodes, which starts with pairs that its links make and with
qubits that the nodes kept from earlier acts, and ends with the qubits that they keep. It is played
once for every course of measurement outcomes; the states of all courses are added.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

import numpy as np

from backends.squid.appmemory import AppMemory
from backends.squid.classical import Channel, ClassicalSocket
from backends.squid.clock import Clock, Steps, Until
from backends.squid.compiling import CompiledSubroutines
from backends.squid.engine import Complex
from backends.squid.engines.ensemble_engine import EnsembleEngine
from backends.squid.host import Host, Names
from backends.squid.links import PHI_PLUS, Source
from backends.squid.memory import QuantumMemory
from backends.squid.netstack import Fabric, NetStack
from backends.squid.nodecontext import NodeContext
from backends.squid.program import Program
from backends.squid.setting import Generic

__all__ = ["Stage", "WaitingMemory"]


class Course:
    """Decides outcomes in place of a random generator: those it was told, then 0."""

    def __init__(self) -> None:
        self._told: list[int] = []
        self._taken: list[int] = []

    def random(self) -> float:
        """Return the middle of the half in which the next outcome is."""
        number = len(self._taken)
        outcome = self._told[number] if number < len(self._told) else 0
        self._taken.append(outcome)
        return 0.25 + 0.5 * outcome

    def all(self) -> Iterator[None]:
        """Go through all courses; each yield is one."""
        self._told = []
        while True:
            self._taken = []
            yield
            self._told = list(self._taken)
            while self._told and self._told[-1]:
                self._told.pop()
            if not self._told:
                return
            self._told[-1] = 1


class WaitingMemory(QuantumMemory):
    """A memory in which each program waits for times of its own.

    The clock is the same for all programs, so it only tells that a qubit idled; ``waits`` says what
    this does to the qubit of a position: a channel ``(B, 4, 4)``.
    """

    def __init__(
        self, clock: Clock, engine: EnsembleEngine, device: Generic, rng: np.random.Generator
    ) -> None:
        super().__init__(clock, engine, device, rng)
        self.waits: dict[int, Complex] = {}

    def qubit(self, position: int) -> int:
        """Return the engine's qubit of a position, decayed until now."""
        idled = self.clock.now_ns > self._idle_since[position]
        qubit = super().qubit(position)
        if idled and position in self.waits:
            self.engine.channel(self.waits[position], qubit)
        return qubit

    def free(self, position: int) -> None:
        """Trace the qubit out, if there is one, and let the position be taken anew."""
        self.waits.pop(position, None)
        super().free(position)


@dataclass(eq=False)
class Node:
    """A node on the stage."""

    name: str
    host: Host
    memory: WaitingMemory


@dataclass(eq=False)
class Ending:
    """Where nodes bring the qubits that they keep; the last one to come looks at all of them."""

    nodes: int
    kept: dict[int, int] = field(default_factory=dict)
    state: Complex | None = None


class Stage:
    """Nodes, all connected with each other, whose devices are alike.

    ``device`` should take no time for what it does: only waits take time here, and what they do to
    qubits is told by :attr:`WaitingMemory.waits`.
    """

    def __init__(self, nodes: int, device: Generic) -> None:
        self.clock, self.engine = Clock(), EnsembleEngine()
        self._course = Course()
        rng = cast(np.random.Generator, self._course)
        names = Names(tuple(f"node {number}" for number in range(nodes)))
        ends = [(a, b) for a in names.nodes for b in names.nodes if a != b]
        #: What a link makes next, by (node, peer).
        self.links = {end: Source(PHI_PLUS, 0.0, 1.0) for end in ends}
        channels = {end: Channel(self.clock, 0.0) for end in ends}
        stacks: list[NetStack] = []
        delays = dict.fromkeys(ends, 0.0)
        fabric = Fabric(self.clock, self.engine, rng, self.links, delays, stacks)
        compiled = CompiledSubroutines()
        self.nodes: list[Node] = []
        for number, name in enumerate(names.nodes):
            memory = WaitingMemory(self.clock, self.engine, device, rng)
            stacks.append(NetStack(name, number, memory, fabric))
            context = NodeContext(
                name, number, self.clock, memory, AppMemory(self.clock), stacks[-1], rng
            )
            sockets = {
                peer: ClassicalSocket(name, peer, channels[name, peer], channels[peer, name])
                for peer in names.nodes
                if peer != name
            }
            host = Host(context, stacks[-1], names, sockets, compiled, self.clock.count_anew)
            self.nodes.append(Node(name, host, memory))
        self._ending = Ending(0)
        self._ended = self.clock.signal()
        self.held: dict[int, list[int]] = {}
        """Qubits of the engine that nodes hold when an act begins, by register."""

    def make_next(self, node: str, peer: str, states: Complex) -> None:
        """Say in which states ``(B, 4, 4)`` the link makes its next pairs."""
        self.links[node, peer] = Source(states, 0.0, 1.0)

    def play(self, programs: Sequence[Program], size: int, held: Mapping[int, Complex]) -> Complex:
        """Play the programs of the first nodes on all courses, for ``size`` programs at once.

        ``held`` are the states ``(B, 2^n, 2^n)`` that nodes kept, by the number of the register.
        Returns the sum ``(B, 2^n, 2^n)`` of the states that are brought to the end, over the
        courses in which all programs accept what came out; traces are the chance of these courses.
        """
        total: Complex | None = None
        for _ in self._course.all():
            self.engine.begin(size)
            self.held = {number: self.engine.register(state) for number, state in held.items()}
            results = self._once(programs)
            state = self._ending.state
            assert state is not None
            if all(results):
                total = state if total is None else total + state
            elif total is None:
                total = np.zeros_like(state)
        assert total is not None
        return total

    def _once(self, programs: Sequence[Program]) -> list[bool]:
        self._ending = Ending(len(programs))
        playing = list(zip(self.nodes, programs, strict=False))
        for node, program in playing:
            node.host.netstack.absent = ""
            node.host.context.program = program.meta.name
        for node, program in playing:
            self.clock.start(node.host.title, node.host.runs(program, 1))
        self.clock.run()
        return [bool(node.host.results.pop()["accepted"]) for node, _ in playing]

    def finish(self, kept: Mapping[int, int]) -> Steps:
        """Bring qubits of the engine to the end, by their place in the result; wait for all."""
        ending = self._ending
        ending.kept.update(kept)
        ending.nodes -= 1
        if ending.nodes:
            yield Until(self._ended, "the other nodes to finish")
            return
        ending.state = self.engine.state([ending.kept[place] for place in sorted(ending.kept)])
        self._ended.give()
