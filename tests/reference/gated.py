"""A guarded ROUTER for tests, and the clients that come to it."""

import contextlib

import zmq
from zmq.utils.monitor import recv_monitor_message

from controller.security import Gate, bound, dialled, new_keys
from controller.security.limits import REQUEST

__all__ = ["PATIENCE_MS", "Stage", "event", "stage"]

PATIENCE_MS = 20_000


class Stage:
    """A guarded ROUTER and the clients that come to it."""

    def __init__(self, keys):
        self.context = zmq.Context()
        self.gate = Gate(self.context, keys)
        self.server = new_keys()
        self.router, self.address = self.bind(zmq.ROUTER)
        self.guests = zmq.Context()
        self.clients = []

    def bind(self, kind):
        return bound(self.context, kind, "tcp://127.0.0.1:0", self.server, self.gate, REQUEST)

    def client(self, pair, kind=zmq.DEALER, address=None):
        socket = dialled(self.guests, kind, self.server.public, pair, max_bytes=REQUEST.max_bytes)
        socket.linger = 0
        socket.get_monitor_socket()
        self.clients.append(socket)
        socket.connect(address or self.address)
        return socket

    def heard(self):
        assert self.router.poll(PATIENCE_MS)
        return self.router.recv_multipart(copy=False)

    def close(self):
        self.gate.close()
        for context in (self.guests, self.context):
            context.destroy(linger=0)


@contextlib.contextmanager
def stage(keys):
    there = Stage(keys)
    try:
        yield there
    finally:
        there.close()


def event(socket, *wanted):
    """Wait for one of some events of a client's connection."""
    monitor = socket.get_monitor_socket()
    while monitor.poll(PATIENCE_MS):
        seen = recv_monitor_message(monitor)
        if seen["event"] in wanted:
            return seen["event"], seen["value"]
    raise AssertionError("no such event")
