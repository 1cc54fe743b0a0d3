"""Protocols between two or more nodes, ready to be put into programs.

Each end of a protocol is a generator, run with ``yield from`` by its program. What is sent over the
classical sockets, and in which order, is that of the routines of the same names in SquidASM, so one
end may be written by hand.
"""

from collections.abc import Generator
from typing import Any

from backends.squid.errors import SquidError

__all__ = [
    "create_ghz",
    "distributed_CNOT_control",
    "distributed_CNOT_target",
    "distributed_CPhase_control",
    "distributed_CPhase_target",
    "measXY",
    "recv_float",
    "recv_int",
    "recv_remote_state_preparation",
    "remote_state_preparation",
    "send_float",
    "send_int",
    "teleport_recv",
    "teleport_send",
]

# ruff: noqa: N802 - names are those that programs call.
Waiting = Generator[Any, Any, Any]


# -------------------------------------------------------------------------- numbers as messages


def send_float(socket: Any, phi: float) -> None:
    """Send a float."""
    socket.send(str(phi))


def recv_float(socket: Any) -> Waiting:
    """Receive a float."""
    return float((yield from socket.recv()))


def send_int(socket: Any, outcome: int) -> None:
    """Send an integer."""
    socket.send(str(outcome))


def recv_int(socket: Any) -> Waiting:
    """Receive an integer."""
    return int((yield from socket.recv()))


# ------------------------------------------------------------------- remote state preparation


def measXY(q: Any, angle: float) -> Any:
    """Measure in the basis |0> +- exp(-i angle) |1>: turn by +angle about Z, then measure X."""
    q.rot_Z(angle=angle)
    q.H()
    return q.measure()


def remote_state_preparation(epr_socket: Any, theta: float) -> Any:
    """Prepare Rz(theta + m pi)|+> at the peer; return the outcome m, a future."""
    return measXY(epr_socket.create_keep()[0], theta)


def recv_remote_state_preparation(epr_socket: Any) -> Any:
    """Return the qubit that the peer prepares."""
    return epr_socket.recv_keep()[0]


# ------------------------------------------------------------------------------- teleportation


def teleport_send(q: Any, context: Any, peer_name: str) -> Waiting:
    """Teleport a qubit to a peer that runs :func:`teleport_recv`; it is measured."""
    half = context.epr_sockets[peer_name].create_keep()[0]
    q.cnot(half)
    q.H()
    # The half first: in a device where only one position measures, it is in that position.
    flipped = half.measure()
    phase = q.measure()
    yield from context.connection.flush()
    context.csockets[peer_name].send(f"{int(phase)},{int(flipped)}")


def teleport_recv(context: Any, peer_name: str) -> Waiting:
    """Return the qubit that a peer teleports with :func:`teleport_send`."""
    half = context.epr_sockets[peer_name].recv_keep()[0]
    yield from context.connection.flush()
    phase, flipped = (yield from context.csockets[peer_name].recv()).split(",")
    if int(flipped) == 1:
        half.X()
    if int(phase) == 1:
        half.Z()
    yield from context.connection.flush()
    return half


# --------------------------------------------------------------------------- distributed gates


def distributed_CNOT_control(context: Any, peer_name: str, ctrl_qubit: Any) -> Waiting:
    """Be the control of a CNOT whose target is at a peer (:func:`distributed_CNOT_target`)."""
    yield from _control(context, peer_name, ctrl_qubit)


def distributed_CNOT_target(context: Any, peer_name: str, target_qubit: Any) -> Waiting:
    """Be the target of a CNOT whose control is at a peer (:func:`distributed_CNOT_control`)."""
    yield from _target(context, peer_name, lambda half: half.cnot(target_qubit))


def distributed_CPhase_control(context: Any, peer_name: str, ctrl_qubit: Any) -> Waiting:
    """Be the control of a CZ whose target is at a peer (:func:`distributed_CPhase_target`)."""
    yield from _control(context, peer_name, ctrl_qubit)


def distributed_CPhase_target(context: Any, peer_name: str, target_qubit: Any) -> Waiting:
    """Be the target of a CZ whose control is at a peer (:func:`distributed_CPhase_control`)."""
    yield from _target(context, peer_name, lambda half: half.cphase(target_qubit))


def _control(context: Any, peer_name: str, qubit: Any) -> Waiting:
    """Copy the control into the pair, and undo the phase that its removal leaves."""
    connection, socket = context.connection, context.csockets[peer_name]
    half = context.epr_sockets[peer_name].create_keep()[0]
    qubit.cnot(half)
    outcome = half.measure()
    yield from connection.flush()
    socket.send(str(int(outcome)))
    if (yield from socket.recv()) == "1":
        qubit.Z()
    yield from connection.flush()


def _target(context: Any, peer_name: str, gate: Any) -> Waiting:
    """Let half of the pair be the control, and remove it by a measurement in X."""
    connection, socket = context.connection, context.csockets[peer_name]
    half = context.epr_sockets[peer_name].recv_keep()[0]
    yield from connection.flush()
    if (yield from socket.recv()) == "1":
        half.X()
    gate(half)
    half.H()
    outcome = half.measure()
    yield from connection.flush()
    socket.send(str(int(outcome)))


# ------------------------------------------------------------------------------------ GHZ states


def create_ghz(
    connection: Any,
    down_epr_socket: Any = None,
    up_epr_socket: Any = None,
    down_socket: Any = None,
    up_socket: Any = None,
    do_corrections: bool = False,
) -> Waiting:
    """Make a GHZ state of nodes in a line; return this node's qubit and an outcome.

    The first node of the line gives sockets up only, the last down only, those between both. With
    ``do_corrections`` the state is (|0...0> + |1...1>)/sqrt(2) and the outcome 0; without, an
    outcome 1 says that all nodes further up should flip their qubits. Each node tells the one below
    it when it is ready, so classical sockets are needed either way.
    """
    if down_epr_socket is None and up_epr_socket is None:
        raise TypeError("Both down_epr_socket and up_epr_socket cannot be None")
    for name, pairs, messages in (
        ("down", down_epr_socket, down_socket),
        ("up", up_epr_socket, up_socket),
    ):
        if pairs is not None and messages is None:
            raise SquidError(f"create_ghz with {name}_epr_socket needs {name}_socket")
    outcome: Any = 0
    if down_epr_socket is None:
        yield from up_socket.recv()
        qubit = up_epr_socket.create_keep()[0]
    else:
        down_socket.send("")
        qubit = down_epr_socket.recv_keep()[0]
        if up_epr_socket is not None:
            yield from up_socket.recv()
            above = up_epr_socket.create_keep()[0]
            qubit.cnot(above)
            outcome = above.measure()
    yield from connection.flush()
    if not do_corrections:
        return qubit, int(outcome)
    flips = 0
    if down_epr_socket is not None:
        flips = int((yield from down_socket.recv()))
        if flips == 1:
            qubit.X()
    if up_epr_socket is not None:
        up_socket.send(str((flips + int(outcome)) % 2))
    yield from connection.flush()
    return qubit, 0
