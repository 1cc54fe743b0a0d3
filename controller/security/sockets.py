"""CURVE sockets with everything set that a socket on a network needs.

``bound`` is for who listens, ``dialled`` for who comes. All queues are bounded, dead
connections are found, handshakes that do not end are dropped.
"""

import contextlib

import zmq

from controller.security.gate import DOMAIN, HANDSHAKE_MS, Gate
from controller.security.keys import KeyPair
from controller.security.limits import Limits
from quantum.addresses import by_ipv6, check_address
from quantum.errors import InputError

__all__ = ["bound", "connect", "dialled", "redial"]

Socket = zmq.Socket[bytes]
Context = zmq.Context[Socket]

#: What CURVE adds to a message: its name, flags, a nonce and an authenticator (RFC 26).
_SEALED = 33
_HANDSHAKE_MS = HANDSHAKE_MS
#: A dead connection is found after so long; a busy process answers from its I/O thread.
_BEAT_MS, _DEAD_MS = 5_000, 30_000


def bound(
    context: Context, kind: int, address: str, keys: KeyPair, gate: Gate, limits: Limits
) -> tuple[Socket, str]:
    """Bind a guarded socket to ``tcp://host:port``, port 0 or ``*`` for a free one.

    A host of IPv6 stands in brackets, as in ``tcp://[::1]:7411``.

    Returns the socket and the address with its port. Raises :class:`InputError` where it cannot.
    """
    check_address(address)
    socket: Socket = context.socket(kind)
    _prepare(socket, limits.max_bytes, limits.queue)
    socket.curve_server = True
    socket.curve_secretkey = keys.secret.encode()
    socket.curve_publickey = keys.public.encode()
    socket.zap_domain = DOMAIN.encode()
    # Without this everybody is admitted while no thread answers for the gate.
    socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)
    if kind == zmq.ROUTER:
        socket.router_mandatory = True
    host, _, port = address.rpartition(":")
    # Only where it is meant: connections of IPv4 would have names of IPv6, and be counted as such.
    socket.ipv6 = by_ipv6(address)
    gate.watches(socket)
    try:
        socket.bind(f"{host}:{'*' if port == '0' else port}")
    except zmq.ZMQError as wrong:
        socket.close()
        raise InputError(f"cannot listen on {address}: {wrong.strerror}") from wrong
    where = socket.get_string(zmq.LAST_ENDPOINT)
    gate.guards(where)
    return socket, where


def dialled(
    context: Context, kind: int, server_key: str, keys: KeyPair, *, max_bytes: int, queue: int = 256
) -> Socket:
    """Return a socket of a client that is yet to be connected."""
    socket: Socket = context.socket(kind)
    _prepare(socket, max_bytes, queue)
    try:
        socket.curve_serverkey = server_key.encode()
        socket.curve_publickey = keys.public.encode()
        socket.curve_secretkey = keys.secret.encode()
    except (zmq.ZMQError, UnicodeError) as wrong:
        socket.close()
        raise InputError(
            "server_key must be the public key of the broker: 40 characters of z85"
        ) from wrong
    return socket


def _prepare(socket: Socket, max_bytes: int, queue: int) -> None:
    socket.linger, socket.maxmsgsize = 500, max_bytes + _SEALED
    socket.sndhwm = socket.rcvhwm = queue
    socket.handshake_ivl = _HANDSHAKE_MS
    socket.heartbeat_ivl, socket.heartbeat_timeout = _BEAT_MS, _DEAD_MS
    socket.heartbeat_ttl = _DEAD_MS
    socket.tcp_keepalive, socket.tcp_keepalive_idle = 1, 60
    socket.tcp_keepalive_intvl, socket.tcp_keepalive_cnt = 10, 6


def connect(socket: Socket, address: str) -> None:
    """Connect a socket to ``tcp://host:port``; :class:`InputError` where that is none."""
    socket.ipv6 = by_ipv6(check_address(address))
    try:
        socket.connect(address)
    except zmq.ZMQError as wrong:
        raise InputError(
            f"address {address!r}: {wrong.strerror}; it must be tcp://HOST:PORT"
        ) from wrong


def redial(socket: Socket, address: str) -> None:
    """Connect a socket to an address anew; what waited to be sent there is gone.

    libzmq gives a connection up for good after a handshake that heard something else than its own
    protocol, though the right one may listen there a moment later.
    """
    with contextlib.suppress(zmq.ZMQError):
        socket.disconnect(address)
    connect(socket, address)
