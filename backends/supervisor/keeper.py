"""Keeps a lease alive, for as long as those for whom it is held are alive.

A thread of its own, because a request may take long. By itself it renews all the time: it speaks
for this process. With ``pulses`` it renews only when the broker has just said that all agents and
the broker itself are well; when the broker says that somebody is lost, so does the keeper.
"""

import threading
import time

import zmq

from backends.supervisor.client import Client, new_rid
from backends.supervisor.keys import KeyPair
from backends.supervisor.messages import Refused, Release, Renew, Trip
from backends.supervisor.places import Endpoint
from quantum.egp import Beat, Pulse
from quantum.errors import WireError
from quantum.joining import Connection
from quantum.wire import decode, encode

__all__ = ["Keeper"]

_STEP_MS = 40


class Keeper(threading.Thread):
    """Renews the lease of ``token``; ``lost`` says why it is lost, or is empty."""

    def __init__(self, at: Endpoint, key: KeyPair, token: int, pulses: Connection | None) -> None:
        super().__init__(name="keeper", daemon=True)
        self._at, self._key, self._token, self._pulses = at, key, token, pulses
        self._over = threading.Event()
        self.lost = ""

    def run(self) -> None:
        """Renew until :meth:`close`, or until the lease is lost or given back."""
        with Client(self._at.commands, self._at.public, self._key) as client:
            if self._pulses is None:
                self._by_ourselves(client)
            else:
                self._by_pulses(client, self._pulses)

    def _by_ourselves(self, client: Client) -> None:
        while not self._over.is_set() and not self.lost:
            client.say(Renew(self._token))
            self._over.wait(_STEP_MS / 1e3)
            self._listen(client)

    def _by_pulses(self, client: Client, broker: Connection) -> None:
        with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
            socket.linger = 0
            socket.curve_serverkey = broker.server_key.encode()
            socket.curve_publickey = broker.public_key.encode()
            socket.curve_secretkey = broker.secret_key.encode()
            socket.connect(broker.pulse)
            said_s = 0.0
            while not self._over.is_set() and not self.lost:
                if time.monotonic() - said_s >= _STEP_MS / 1e3:
                    said_s = time.monotonic()
                    socket.send(encode(Beat()), zmq.DONTWAIT)
                pulse = None
                if socket.poll(_STEP_MS):
                    # Those that piled up while we were stopped say nothing about now.
                    while socket.poll(0):
                        pulse = self._read(socket.recv()) or pulse
                if pulse is not None:
                    self._pass_on(client, pulse)
                self._listen(client)

    @staticmethod
    def _read(frame: bytes) -> Pulse | None:
        try:
            message = decode(frame)
        except WireError:
            return None
        return message if isinstance(message, Pulse) else None

    def _pass_on(self, client: Client, pulse: Pulse) -> None:
        if pulse.lost:
            client.say(Trip(new_rid(), self._token, pulse.lost))
            self.lost = pulse.lost
        elif pulse.over:
            client.say(Release(new_rid(), self._token))
            self.lost = "the run is over"
        else:
            client.say(Renew(self._token))

    def _listen(self, client: Client) -> None:
        while (reply := client.heard()) is not None:
            if isinstance(reply, Refused):
                self.lost = reply.detail

    def close(self) -> None:
        """Stop renewing and end the thread."""
        self._over.set()
        self.join(2.0)
