"""An agent's heart: a thread that beats while its process lives, also while it thinks or waits."""

import contextlib
import threading

import zmq

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
        with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
            # Beats that wait in a queue would speak for a time that is past.
            socket.linger, socket.sndhwm, socket.immediate = 0, 2, True
            socket.curve_serverkey = self._broker.server_key.encode()
            socket.curve_publickey = self._broker.public_key.encode()
            socket.curve_secretkey = self._broker.secret_key.encode()
            socket.connect(self._broker.pulse)
            beat = encode(Beat())
            while not self._over.wait(_BEAT_S):
                with contextlib.suppress(zmq.Again):
                    socket.send(beat, zmq.DONTWAIT)

    def close(self) -> None:
        """End the thread."""
        self._over.set()
        self.join(1.0)
