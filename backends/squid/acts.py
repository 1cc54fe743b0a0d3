"""What nodes do with pairs, as NetQASM programs: hold, swap, distil, merge and test them.

Each act is a program for each of its nodes, which are numbered from 0. A program first gets its
qubits, from a link or from what the node held, then lets them wait, and then does its deed.
"""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from netqasm.sdk.qubit import Qubit

from backends.squid.clock import Delay, Steps
from backends.squid.engine import Complex
from backends.squid.program import Program, ProgramContext, ProgramMeta
from backends.squid.stage import Stage
from quantum.program import Protocol

__all__ = ["TURNS", "Deed", "Given", "distill", "hold", "merge", "perform", "swap", "test", "twirl"]

#: Bilateral rotations of a twirl: the group of the tetrahedron.
TURNS = 12


@dataclass(frozen=True, eq=False)
class Given:
    """A pair or register that an act starts with.

    ``states`` ``(B, 2^n, 2^n)``, the nodes of its qubits, whether a link makes it (else the nodes
    held it), and what waiting does to each qubit ``(B, 4, 4)``, nothing where none waits.
    """

    states: Complex
    nodes: tuple[int, ...]
    fresh: bool
    waits: tuple[Complex, ...] = ()


@dataclass(frozen=True)
class Done:
    """The qubits that a node keeps, by their place in the result, and whether it accepts."""

    kept: dict[int, Qubit]
    accepted: bool = True


#: (context, qubits) -> what comes of it.
Deed = Callable[[ProgramContext, Sequence[Qubit]], Generator[Any, Any, Done]]


def perform(stage: Stage, given: Sequence[Given], deeds: Sequence[Deed]) -> Complex:
    """Play an act of as many nodes as there are deeds; see :meth:`Stage.play`."""
    parts: list[Program] = [_Part(stage, number, given, deed) for number, deed in enumerate(deeds)]
    held = {number: entry.states for number, entry in enumerate(given) if not entry.fresh}
    return stage.play(parts, len(given[0].states), held)


class _Part(Program):
    """The program of one node."""

    def __init__(self, stage: Stage, number: int, given: Sequence[Given], deed: Deed) -> None:
        self._stage, self._node, self._number = stage, stage.nodes[number], number
        self._given, self._deed = given, deed
        peers = sorted(
            {stage.nodes[n].name for entry in given for n in entry.nodes} - {self._node.name}
        )
        self._meta = ProgramMeta("allocation", peers, peers, max_qubits=len(given))

    @property
    def meta(self) -> ProgramMeta:
        """Say which sockets and how many qubits are needed."""
        return self._meta

    def run(self, context: ProgramContext) -> Generator[Any, Any, dict[str, Any]]:
        """Get qubits, wait, do the deed; say whether its outcome is accepted."""
        memory, app = self._node.memory, self._node.host.context.app
        qubits = []
        for number, entry in enumerate(self._given):
            if self._number not in entry.nodes:
                continue
            index = entry.nodes.index(self._number)
            if entry.fresh:
                qubit = yield from self._made(context, entry, index)
            else:
                qubit = self._kept(context, self._stage.held[number][index])
            qubits.append(qubit)
            if entry.waits:
                memory.waits[app.positions[qubit.qubit_id]] = entry.waits[index]
        if any(entry.waits for entry in self._given):
            yield Delay(1.0)
        done = yield from self._deed(context, qubits)
        kept = {
            place: memory.qubit(app.positions[qubit.qubit_id]) for place, qubit in done.kept.items()
        }
        yield from self._stage.finish(kept)
        return {"accepted": done.accepted}

    def _made(self, context: ProgramContext, entry: Given, index: int) -> Steps:
        """Get half of a pair from the link with the other node."""
        peer = self._stage.nodes[entry.nodes[1 - index]].name
        socket = context.epr_sockets[peer]
        if index == 0:
            self._stage.make_next(self._node.name, peer, entry.states)
            (qubit,) = socket.create_keep()
        else:
            (qubit,) = socket.recv_keep()
        yield from context.connection.flush()
        return qubit

    def _kept(self, context: ProgramContext, engine_qubit: int) -> Qubit:
        """Take up a qubit that the node held."""
        memory, app = self._node.memory, self._node.host.context.app
        qubit = Qubit(context.connection, add_new_command=False)
        position = memory.allocate_for(qubit.qubit_id)
        assert position is not None
        memory.put(position, engine_qubit)
        app.map(qubit.qubit_id, position)
        return qubit


def hold(qubits: int) -> list[Deed]:
    """Return the deeds of nodes that only keep their qubits."""
    return [partial(_keep, place) for place in range(qubits)]


def _keep(place: int, context: ProgramContext, qubits: Sequence[Qubit]) -> Steps:
    yield from ()
    return Done({place: qubits[0]})


def swap() -> list[Deed]:
    """Return the deeds of left, middle and right node; the right one corrects its qubit."""
    return [partial(_keep, 0), _measure_bell, _correct]


def _measure_bell(context: ProgramContext, qubits: Sequence[Qubit]) -> Steps:
    left, right = qubits
    left.cnot(right)
    left.H()
    z, x = left.measure(), right.measure()
    yield from context.connection.flush()
    context.csockets["node 2"].send((int(z), int(x)))
    return Done({})


def _correct(context: ProgramContext, qubits: Sequence[Qubit]) -> Steps:
    z, x = yield from context.csockets["node 1"].recv()
    if x:
        qubits[0].X()
    if z:
        qubits[0].Z()
    yield from context.connection.flush()
    return Done({1: qubits[0]})


def distill(protocol: Protocol) -> list[Deed]:
    """Return the deeds of both nodes, whose qubits are of the pair kept and of the pair spent."""
    return [partial(_distill, protocol, number) for number in (0, 1)]


def _distill(
    protocol: Protocol, number: int, context: ProgramContext, qubits: Sequence[Qubit]
) -> Steps:
    keep, spend = qubits
    if protocol == "dejmps":
        for qubit in qubits:
            # By 90 degrees at one end and by 270, which is -90, at the other.
            qubit.rot_X(n=1 + 2 * number, d=1)
    keep.cnot(spend)
    outcome = spend.measure()
    yield from context.connection.flush()
    mine, socket = int(outcome), context.csockets[f"node {1 - number}"]
    socket.send_int(mine)
    theirs = yield from socket.recv_int()
    accepted = mine == theirs == 1 if protocol == "epl" else mine == theirs
    return Done({number: keep}, accepted)


def twirl(turn: int) -> list[Deed]:
    """Return the deeds of both nodes for one of the :data:`TURNS` rotations of a twirl.

    A rotation at one end goes with its complex conjugate at the other: phi_plus stays, and the
    average over all of them is the Werner state of the same fidelity.
    """
    return [partial(_turn, turn, number) for number in (0, 1)]


def _turn(turn: int, number: int, context: ProgramContext, qubits: Sequence[Qubit]) -> Steps:
    (qubit,) = qubits
    for _ in range(turn // 4):
        # x -> y -> z -> x; the conjugate turns the other way about X and about Z.
        qubit.rot_X(n=1 + 2 * number, d=1)
        qubit.rot_Z(n=1 + 2 * number, d=1)
    for gate in ((), (qubit.X,), (qubit.Z,), (qubit.X, qubit.Z))[turn % 4]:
        gate()
    yield from context.connection.flush()
    return Done({number: qubit})


def merge(keep: int, spend: int, at: int) -> list[Deed]:
    """Return the deeds of the nodes of two registers of so many qubits.

    The first register has a qubit at each node up to ``keep``; node ``at`` of these has the first
    qubit of the other one, too, and further nodes have the rest.
    """
    added = range(keep, keep + spend - 1)
    fuse = partial(_fuse, at, [f"node {number}" for number in added])
    deeds: list[Deed] = [*hold(keep), *(partial(_flip, number, f"node {at}") for number in added)]
    deeds[at] = fuse
    return deeds


def _fuse(
    place: int, told: Sequence[str], context: ProgramContext, qubits: Sequence[Qubit]
) -> Steps:
    keep, spend = qubits
    keep.cnot(spend)
    outcome = spend.measure()
    yield from context.connection.flush()
    for peer in told:
        context.csockets[peer].send_int(int(outcome))
    return Done({place: keep})


def _flip(place: int, by: str, context: ProgramContext, qubits: Sequence[Qubit]) -> Steps:
    if (yield from context.csockets[by].recv_int()):
        qubits[0].X()
        yield from context.connection.flush()
    return Done({place: qubits[0]})


def test(basis: int) -> list[Deed]:
    """Return the deeds of both nodes of a pair; accepted is the parity of phi_plus in a basis."""
    return [partial(_test, basis, number) for number in (0, 1)]


def _test(basis: int, number: int, context: ProgramContext, qubits: Sequence[Qubit]) -> Steps:
    (qubit,) = qubits
    if basis == 0:
        qubit.H()
    elif basis == 1:
        qubit.K()
    outcome = qubit.measure()
    yield from context.connection.flush()
    mine, socket = int(outcome), context.csockets[f"node {1 - number}"]
    socket.send_int(mine)
    theirs = yield from socket.recv_int()
    return Done({}, (mine == theirs) == (basis != 1))
