"""An agent's heart: a thread that beats while its process lives, also while it thinks or waits."""

import contextlib
import threading

import zmq

from controller.security import KeyPair, dialled
from controller.security.limits import PULSE
from controller.security.sockets import connect
from quantum.egp import Beat
from quantum.joining import Connection
from quantum.wire import encode

__all__ = ["Heart"]

_BEAT_S = 0.05


class Heart(threading.Thread):
    """Beats on the pulse socket of a laboratory run until :meth:`close`."""

    def __init__(self, broker: Connection) -> None:
        super().__init__(name="heart", daemon=True)
        self._broker = broker
        self._over = threading.Event()

    def run(self) -> None:
        """Beat."""
        broker = self._broker
        keys = KeyPair(broker.public_key, broker.secret_key)
        with (
            zmq.Context() as context,
            # Beats that wait in a queue would speak for a time that is past.
            dialled(
                context, zmq.DEALER, broker.server_key, keys, max_bytes=PULSE.max_bytes, queue=2
            ) as socket,
        ):
            socket.linger, socket.immediate = 0, True
            connect(socket, self._broker.pulse)
            beat = encode(Beat())
            while not self._over.wait(_BEAT_S):
                with contextlib.suppress(zmq.Again):
                    socket.send(beat, zmq.DONTWAIT)

    def close(self) -> None:
        """End the thread."""
        self._over.set()
        self.join(1.0)
