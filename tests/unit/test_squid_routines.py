"""Routines of two and more nodes: exact states, and ends that were written by hand."""

import cmath
import math
import random
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from netqasm.sdk.classical_communication.message import StructuredMessage
from netqasm.sdk.qubit import Qubit

from backends.squid.engine import Complex
from backends.squid.errors import SquidError
from backends.squid.program import Program, ProgramMeta
from backends.squid.standin import qkd, routines
from backends.squid.standin.generation import create_stack_network, create_two_node_network
from backends.squid.standin.install import uninstall
from backends.squid.standin.observe import get_qubit_state
from backends.squid.standin.running import run
from backends.squid.standin.simulator import set_random_state
from backends.squid.standin.state import STATE

Steps = Callable[[Any], Any]
X, Z, CZ = np.diag([1.0, 1.0])[::-1], np.diag([1.0, -1.0]), np.diag([1.0, 1.0, 1.0, -1.0])
CNOT = np.eye(4)[[0, 1, 3, 2]]
#: Turns in pi/16 about Y and Z: netqasm's angles, exactly.
TURNS = [(0, 0), (16, 0), (8, 0), (5, 3), (11, 22)]


class Play(Program):
    """A program made of a function of the context."""

    def __init__(self, steps: Steps, peers: list[str]) -> None:
        self.steps, self.peers = steps, peers

    @property
    def meta(self) -> ProgramMeta:
        return ProgramMeta("play", csockets=self.peers, epr_sockets=self.peers, max_qubits=4)

    def run(self, context: Any) -> Any:
        return self.steps(context)


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    STATE.engine = "numpy"
    set_random_state(3)
    random.seed(3)
    yield
    uninstall()


def both(a: Steps, b: Steps, times: int = 12, noise: float = 0.0) -> list[tuple[Any, Any]]:
    network = create_two_node_network(["A", "B"], link_noise=noise)
    programs: dict[str, Program] = {"A": Play(a, ["B"]), "B": Play(b, ["A"])}
    return list(zip(*run(network, programs, times), strict=True))


def prepare(context: Any, y_turns: int, z_turns: int) -> Qubit:
    qubit = Qubit(context.connection)
    qubit.rot_Y(n=y_turns, d=4)
    qubit.rot_Z(n=z_turns, d=4)
    return qubit


def ket(y_turns: int, z_turns: int) -> Complex:
    theta, phi = y_turns * math.pi / 16.0, z_turns * math.pi / 16.0
    return np.array([math.cos(theta / 2.0), cmath.exp(1j * phi) * math.sin(theta / 2.0)])


def density(vector: Complex) -> Complex:
    return np.outer(vector, vector.conj())


def meet(context: Any, peer: str) -> Any:
    """Wait until the peer is here too: qubits are gone when their program ends."""
    context.csockets[peer].send("here")
    yield from context.csockets[peer].recv()


# ------------------------------------------------------------------------------ teleportation


@pytest.mark.parametrize("turns", TURNS)
def test_teleported_states_arrive(turns: tuple[int, int]) -> None:
    def send(context: Any) -> Any:
        yield from routines.teleport_send(prepare(context, *turns), context, "B")

    def receive(context: Any) -> Any:
        qubit = yield from routines.teleport_recv(context, "A")
        return get_qubit_state(qubit, "B")

    for _, state in both(send, receive):
        assert state == pytest.approx(density(ket(*turns)))
    mixed = 0.7 * density(ket(*turns)) + 0.3 * np.eye(2) / 2.0
    for _, state in both(send, receive, times=3, noise=0.3):
        assert state == pytest.approx(mixed)


def test_ends_of_a_teleportation_written_by_hand() -> None:
    told = []

    def send(context: Any) -> Any:
        qubit, half = prepare(context, 5, 3), context.epr_sockets["B"].create_keep()[0]
        qubit.cnot(half)
        qubit.H()
        first, second = qubit.measure(), half.measure()
        yield from context.connection.flush()
        context.csockets["B"].send(f"{int(first)},{int(second)}")

    def receive(context: Any) -> Any:
        half = context.epr_sockets["A"].recv_keep()[0]
        yield from context.connection.flush()
        first, second = (yield from context.csockets["A"].recv()).split(",")
        told.append((first, second))
        if second == "1":
            half.X()
        if first == "1":
            half.Z()
        yield from context.connection.flush()
        return get_qubit_state(half, "B")

    def routine_send(context: Any) -> Any:
        yield from routines.teleport_send(prepare(context, 5, 3), context, "B")

    def routine_receive(context: Any) -> Any:
        return get_qubit_state((yield from routines.teleport_recv(context, "A")), "B")

    for ends in ((send, routine_receive), (routine_send, receive)):
        for _, state in both(*ends, times=24):
            assert state == pytest.approx(density(ket(5, 3)))
    assert set(told) == {("0", "0"), ("0", "1"), ("1", "0"), ("1", "1")}


# --------------------------------------------------------------------------- distributed gates


@pytest.mark.parametrize(
    ("gate", "control_end", "target_end"),
    [
        (CNOT, routines.distributed_CNOT_control, routines.distributed_CNOT_target),
        (CZ, routines.distributed_CPhase_control, routines.distributed_CPhase_target),
    ],
)
@pytest.mark.parametrize("turns", [((16, 0), (5, 3)), ((8, 0), (0, 0)), ((11, 22), (5, 3))])
def test_distributed_gates(
    gate: Complex,
    control_end: Any,
    target_end: Any,
    turns: tuple[tuple[int, int], tuple[int, int]],
) -> None:
    def control(context: Any) -> Any:
        qubit = prepare(context, *turns[0])
        yield from control_end(context, "B", qubit)
        yield from meet(context, "B")
        state = get_qubit_state(qubit, "A")
        yield from meet(context, "B")
        return state

    def target(context: Any) -> Any:
        qubit = prepare(context, *turns[1])
        yield from target_end(context, "A", qubit)
        yield from meet(context, "A")
        states = get_qubit_state(qubit, "B"), get_qubit_state(qubit, "B", full_state=True)
        yield from meet(context, "A")
        return states

    wanted = density(gate @ np.kron(ket(*turns[0]), ket(*turns[1]))).reshape(2, 2, 2, 2)
    for control_state, (target_state, full) in both(control, target):
        assert control_state == pytest.approx(np.einsum("ikjk->ij", wanted))
        assert target_state == pytest.approx(np.einsum("kikj->ij", wanted))
        assert full.shape in ((4, 4), (2, 2))
        if full.shape == (4, 4):
            assert full == pytest.approx(wanted.reshape(4, 4))


# ------------------------------------------------------------------ remote state preparation


@pytest.mark.parametrize("turns", [0, 3, 8, 21])
def test_remotely_prepared_states(turns: int) -> None:
    theta = turns * math.pi / 16.0

    def prepare_at(context: Any) -> Any:
        outcome = routines.remote_state_preparation(context.epr_sockets["B"], theta)
        yield from context.connection.flush()
        return int(outcome)

    def receive(context: Any) -> Any:
        qubit = routines.recv_remote_state_preparation(context.epr_sockets["A"])
        yield from context.connection.flush()
        return get_qubit_state(qubit, "B")

    outcomes = set()
    for outcome, state in both(prepare_at, receive, times=20):
        outcomes.add(outcome)
        phase = cmath.exp(1j * (theta + outcome * math.pi))
        assert state == pytest.approx(density(np.array([1.0, phase]) / math.sqrt(2.0)), abs=1e-3)
    assert outcomes == {0, 1}


def test_measurements_in_the_equator() -> None:
    def steps(context: Any) -> Any:
        # Rz(-a)|+> and its opposite, measured at angle a.
        qubits = [prepare(context, 8, 32 - 5), prepare(context, 8, 32 - 5 + 16)]
        outcomes = [routines.measXY(qubit, 5.0 * math.pi / 16.0) for qubit in qubits]
        yield from context.connection.flush()
        return [int(outcome) for outcome in outcomes]

    network = create_two_node_network(["A", "B"])
    assert run(network, {"A": Play(steps, [])}, 10)[0] == [[0, 1]] * 10


def test_numbers_travel_as_messages() -> None:
    def send(context: Any) -> Any:
        routines.send_int(context.csockets["B"], -7)
        routines.send_float(context.csockets["B"], 0.1 + 0.2)
        yield from context.connection.flush()

    def receive(context: Any) -> Any:
        whole = yield from routines.recv_int(context.csockets["A"])
        number = yield from routines.recv_float(context.csockets["A"])
        return whole, number

    assert both(send, receive, times=1) == [(None, (-7, 0.1 + 0.2))]


# ------------------------------------------------------------------------------------- GHZ


def line(names: str, do_corrections: bool, measure: str, times: int) -> list[list[tuple[int, int]]]:
    """Return (outcome of the qubit, outcome of the routine) by run and node."""

    def member(below: str | None, above: str | None) -> Steps:
        def steps(context: Any) -> Any:
            pairs, sockets = context.epr_sockets, context.csockets
            qubit, told = yield from routines.create_ghz(
                context.connection,
                pairs[below] if below else None,
                pairs[above] if above else None,
                sockets[below] if below else None,
                sockets[above] if above else None,
                do_corrections=do_corrections,
            )
            if measure == "X":
                qubit.H()
            outcome = qubit.measure()
            yield from context.connection.flush()
            return int(outcome), told

        return steps

    neighbours: dict[str, list[str | None]] = {name: [None, None] for name in names}
    for low, high in pairwise(names):
        neighbours[low][1], neighbours[high][0] = high, low
    programs: dict[str, Program] = {
        name: Play(member(*ends), [end for end in ends if end]) for name, ends in neighbours.items()
    }
    network = create_stack_network(list(names), "perfect", None)
    return [list(shot) for shot in zip(*run(network, programs, times), strict=True)]


def test_ghz_states_with_corrections() -> None:
    for shot in line("ABCD", True, "Z", 16):
        assert len({outcome for outcome, _ in shot}) == 1
        assert {told for _, told in shot} == {0}
    for shot in line("ABC", True, "X", 16):
        assert sum(outcome for outcome, _ in shot) % 2 == 0


def test_ghz_states_without_corrections_say_who_is_flipped() -> None:
    told = Counter()
    for shot in line("ABCD", False, "Z", 24):
        flips = np.cumsum([0, *(one for _, one in shot[:-1])]) % 2
        assert (
            len({outcome ^ int(flip) for (outcome, _), flip in zip(shot, flips, strict=True)}) == 1
        )
        assert shot[0][1] == shot[-1][1] == 0
        told.update(one for _, one in shot[1:-1])
    assert told[0] > 0 and told[1] > 0


def test_ghz_needs_sockets() -> None:
    with pytest.raises(TypeError):
        next(routines.create_ghz(None))
    with pytest.raises(SquidError, match="create_ghz with up_epr_socket needs up_socket"):
        next(routines.create_ghz(None, up_epr_socket=1))


# ------------------------------------------------------------------------------------- keys


def keys(routine: Any, pairs: int, tests: int | None, noise: float) -> tuple[Any, Any]:
    def party(peer: str, begins: bool) -> Steps:
        return lambda context: routine.run(context, peer, begins, pairs, tests)

    ((alice, bob),) = both(party("B", True), party("A", False), times=1, noise=noise)
    return alice, bob


def test_perfect_pairs_make_equal_keys() -> None:
    (alice, alice_rate), (bob, bob_rate) = keys(qkd.QKDRoutine, 80, None, 0.0)
    assert alice == bob
    assert alice_rate == bob_rate == 0.0
    # Half of 80 pairs in the same basis, less 20 tests; 5 sigma.
    assert abs(len(alice) - 20) <= 5.0 * math.sqrt(20.0)


def test_error_rates_are_those_of_the_link() -> None:
    (_, alice_rate), (_, bob_rate) = keys(qkd.QKDRoutine, 400, 100, 0.4)
    assert alice_rate == bob_rate
    assert abs(alice_rate - 0.2) <= 5.0 * math.sqrt(0.16 / 100.0)


def test_a_subclass_replaces_a_step_and_an_end_may_be_written_by_hand() -> None:
    class AllInX(qkd.QKDRoutine):
        @staticmethod
        def _filter_bases(socket: Any, pairs_info: Any, is_init: bool) -> Any:
            pairs = yield from qkd.QKDRoutine._filter_bases(socket, pairs_info, is_init)
            for pair in pairs:
                pair.same_basis = pair.same_basis and pair.basis == 1
            return pairs

    def by_hand(context: Any) -> Any:
        socket, outcomes = context.csockets["A"], []
        for _ in range(40):
            half = context.epr_sockets["A"].recv_keep(1)[0]
            half.H()
            outcomes.append(half.measure())
            yield from context.connection.flush()
        mine = [int(outcome) for outcome in outcomes]
        theirs = (yield from socket.recv_structured()).payload
        socket.send_structured(StructuredMessage("Bases", [(place, 1) for place in range(40)]))
        tests = (yield from socket.recv_structured()).payload
        socket.send_structured(StructuredMessage("Test outcomes", [(t, mine[t]) for t in tests]))
        compared = (yield from socket.recv_structured()).payload
        assert [(t, mine[t]) for t in tests] == [tuple(one) for one in compared]
        return [mine[i] for i, basis in theirs if basis == 1 and i not in tests]

    ((alice, bob),) = both(lambda c: AllInX.run(c, "B", True, 40, 5), by_hand, times=1)
    key, rate = alice
    assert rate == 0.0
    assert key.tolist() == bob
    assert len(bob) > 0
