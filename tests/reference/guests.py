"""Sockets with which tests come to a broker."""

import contextlib

import zmq

from controller.security import Client, Keyring
from quantum.wire import decode

__all__ = ["PATIENCE_MS", "dealer", "hear", "ring_of"]

#: Long enough for a handshake on a busy machine; a stranger waits it out in vain.
PATIENCE_MS = 1500


@contextlib.contextmanager
def dealer(address, server, keys):
    """Connect to one of a broker's sockets with keys."""
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        socket.linger = 0
        socket.curve_serverkey = server.public.encode()
        socket.curve_publickey, socket.curve_secretkey = keys.public.encode(), keys.secret.encode()
        socket.connect(address)
        yield socket


def hear(socket, patience_ms=PATIENCE_MS):
    """Return the next message, or None."""
    return decode(socket.recv()) if socket.poll(patience_ms) else None


def ring_of(honest, guests=()):
    """Return a ring of two agents and a worker called a, b and w.

    Perhaps there are guests, all called eve: an agent and a worker.
    """
    names = (("a", "agent"), ("b", "agent"), ("w", "worker"))
    known = [Client(*who, keys.public) for who, keys in zip(names, honest, strict=False)]
    roles = zip(("agent", "worker"), guests, strict=False)
    return Keyring([*known, *(Client("eve", role, keys.public) for role, keys in roles)])
