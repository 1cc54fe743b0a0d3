"""Known protocols as applications: what they do is known exactly."""

import math

import numpy as np
import pytest
from netqasm.lang.operand import Template
from netqasm.sdk import Qubit
from netqasm.sdk.classical_communication.message import StructuredMessage
from netqasm.sdk.toolbox.state_prep import set_qubit_state
from squid_plays import EXACT, NV, Play, network, play

from backends.squid.run import Simulation, run_network
from backends.squid.setting import Depolarise


def bloch(state):
    pauli = np.array([[[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]])
    return np.einsum("ij,aji->a", state, pauli).real


def teleporting(simulation, phi=0.3, theta=0.7):
    def sender(context):
        qubit = Qubit(context.connection)
        set_qubit_state(qubit, phi, theta)
        half = context.epr_sockets["Bob"].create_keep()[0]
        qubit.cnot(half)
        qubit.H()
        outcomes = qubit.measure(), half.measure()
        yield from context.connection.flush()
        payload = ",".join(str(int(outcome)) for outcome in outcomes)
        context.csockets["Bob"].send_structured(StructuredMessage("corrections", payload))
        return payload

    def receiver(context):
        half = context.epr_sockets["Alice"].recv_keep()[0]
        yield from context.connection.flush()
        message = yield from context.csockets["Alice"].recv_structured()
        z, x = message.payload.split(",")
        if x == "1":
            half.X()
        if z == "1":
            half.Z()
        yield from context.connection.flush()
        return simulation.state([simulation.qubit("Bob", half.qubit_id)])

    return {"Alice": sender, "Bob": receiver}


@pytest.mark.parametrize("device", [EXACT, NV])
@pytest.mark.parametrize("fidelity", [1.0, 0.85])
def test_teleportation_brings_the_state_through_a_depolarised_pair(device, fidelity):
    simulation = Simulation()
    payloads, states = play(
        teleporting(simulation),
        network(link=Depolarise(fidelity=fidelity), device=device),
        16,
        simulation=simulation,
    )
    kept = (4.0 * fidelity - 1.0) / 3.0
    wanted = [
        math.sin(0.7) * math.cos(0.3), math.sin(0.7) * math.sin(0.3), math.cos(0.7)
    ]  # fmt: skip
    assert len(set(payloads)) == 4
    for state in states:
        np.testing.assert_allclose(bloch(state), np.array(wanted) * kept, atol=2e-5)


@pytest.mark.parametrize("bits", [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_dense_coding_sends_two_bits(bits):
    def alice(context):
        half = context.epr_sockets["Bob"].create_keep()[0]
        if bits[0]:
            half.X()
        if bits[1]:
            half.Z()
        yield from context.connection.flush()
        context.csockets["Bob"].send_int(half.qubit_id)

    def bob(context):
        half = context.epr_sockets["Alice"].recv_keep()[0]
        yield from context.connection.flush()
        assert (yield from context.csockets["Alice"].recv_int()) == 0
        # The other half is on Alice's node; what it holds is seen as a whole.
        half_too = simulation.qubit("Alice", 0)
        return simulation.state([half_too, simulation.qubit("Bob", half.qubit_id)])

    simulation = Simulation()
    kets = {
        (0, 0): [1, 0, 0, 1], (0, 1): [1, 0, 0, -1], (1, 0): [0, 1, 1, 0], (1, 1): [0, 1, -1, 0]
    }  # fmt: skip

    def waiting_alice(context):
        yield from alice(context)
        yield from context.csockets["Bob"].recv()

    def answering_bob(context):
        state = yield from bob(context)
        context.csockets["Alice"].send("done")
        return state

    _, (state,) = play({"Alice": waiting_alice, "Bob": answering_bob}, simulation=simulation)
    ket = np.array(kets[bits]) / math.sqrt(2.0)
    assert (ket @ state @ ket).real == pytest.approx(1.0)


def test_entanglement_is_swapped_over_three_nodes():
    """Werner pairs swapped with perfect gates: correlations multiply."""
    simulation, fidelity = Simulation(), 0.9

    def end(peer):
        def body(context):
            verb = "create" if peer == "left" else "recv"
            half = getattr(context.epr_sockets["Middle"], f"{verb}_keep")()[0]
            yield from context.connection.flush()
            if peer == "left":
                context.csockets["Middle"].send("ready")
                yield from context.csockets["Right"].recv()
                return None
            message = yield from context.csockets["Middle"].recv_structured()
            for bit, gate in zip(message.payload, (half.Z, half.X), strict=True):
                if bit == "1":
                    gate()
            yield from context.connection.flush()
            state = simulation.state([simulation.qubit("Left", 0), simulation.qubit("Right", 0)])
            context.csockets["Left"].send("done")
            return state

        return body

    def middle(context):
        left = context.epr_sockets["Left"].recv_keep()[0]
        right = context.epr_sockets["Right"].create_keep()[0]
        left.cnot(right)
        left.H()
        outcomes = left.measure(), right.measure()
        yield from context.connection.flush()
        yield from context.csockets["Left"].recv()
        payload = "".join(str(int(outcome)) for outcome in outcomes)
        context.csockets["Right"].send_structured(StructuredMessage("bits", payload))
        return payload

    _, payloads, states = play(
        {"Left": end("left"), "Middle": middle, "Right": end("right")},
        network("Left Middle Right", Depolarise(fidelity=fidelity)),
        12,
        simulation=simulation,
    )
    kept = ((4.0 * fidelity - 1.0) / 3.0) ** 2
    ket = np.array([1.0, 0.0, 0.0, 1.0]) / math.sqrt(2.0)
    assert len(set(payloads)) > 1
    for state in states:
        assert (ket @ state @ ket).real == pytest.approx((1.0 + 3.0 * kept) / 4.0)


@pytest.mark.parametrize("device", [EXACT, NV])
def test_one_qubit_is_enough_for_one_pair(device):
    """With max_qubits=1 netqasm waits for nothing: gates and flushes have to."""
    simulation = Simulation()

    def body(verb, peer):
        def steps(context):
            half = getattr(context.epr_sockets[peer], f"{verb}_keep")()[0]
            half.H()
            outcome = half.measure()
            yield from context.connection.flush()
            other = getattr(context.epr_sockets[peer], f"{verb}_keep")()[0]
            yield from context.connection.flush()
            arrived = simulation.qubit("Alice" if peer == "Bob" else "Bob", other.qubit_id)
            return int(outcome), arrived

        return steps

    programs = {
        "Alice": Play(body("create", "Bob"), ["Bob"], max_qubits=1),
        "Bob": Play(body("recv", "Alice"), ["Alice"], max_qubits=1),
    }
    alice, bob = run_network(
        network(device=device), programs, 4, engine="numpy", simulation=simulation
    )
    assert [outcome for outcome, _ in alice] == [outcome for outcome, _ in bob]


def test_compiled_subroutines_take_their_arguments_each_time():
    """A template is filled in twice; the cached subroutine stays as it was."""

    def body(context):
        connection = context.connection
        outcomes = []
        for steps in (0, 16, 0, 16):
            qubit = Qubit(connection)
            qubit.rot_X(n=Template("angle"), d=4)
            outcome = qubit.measure()
            subroutine = connection.compile()
            subroutine.instantiate(context.app_id, {"angle": steps})
            yield from connection.commit_subroutine(subroutine)
            outcomes.append(int(outcome))
        return outcomes, connection.compile()

    ((result, nothing),) = play({"Alice": body}, network("Alice"))[0]
    assert result == [0, 1, 0, 1] and nothing is None


@pytest.mark.parametrize("engine", ["aer", "numpy"])
def test_both_engines_teleport(engine):
    simulation = Simulation()
    programs = {
        name: Play(body, {"Alice", "Bob"} - {name})
        for name, body in teleporting(simulation, 0.4, 1.1).items()
    }
    _, states = run_network(network(), programs, 3, engine=engine, simulation=simulation)
    wanted = [math.sin(1.1) * math.cos(0.4), math.sin(1.1) * math.sin(0.4), math.cos(1.1)]
    for state in states:
        np.testing.assert_allclose(bloch(state), wanted, atol=2e-5)
