"""The heartbeat between guardian and supervisor: bytes over a socket pair, both ways.

A dot says "I am well", ``R`` that the supervisor is ready, ``E`` that it should end, ``Z`` that it
has ended in order. The end of the stream says that the other one is dead, silence that it hangs.
"""

import contextlib
import socket
import time

__all__ = ["BEAT_S", "Pipe"]

BEAT_S = 0.05


class Pipe:
    """One end of the pair; nothing here waits."""

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        self.end = end
        self.heard_s = time.monotonic()
        self.dead = False
        self._said_s = 0.0

    def say(self, word: bytes) -> None:
        """Send a word; a peer that does not read is noticed by its silence."""
        try:
            self.end.send(word)
        except BlockingIOError:
            pass
        except OSError:
            self.dead = True

    def beat(self, now_s: float) -> None:
        """Say that this side is well, now and then."""
        if now_s - self._said_s >= BEAT_S:
            self._said_s = now_s
            self.say(b".")

    def hear(self, now_s: float) -> bytes:
        """Return what the other side said, without its dots."""
        said = b""
        with contextlib.suppress(BlockingIOError):
            try:
                said = self.end.recv(4096)
            except ConnectionError:
                said = b""
            if said:
                self.heard_s = now_s
            else:
                self.dead = True
        return said.replace(b".", b"")

    def silent(self, limit_s: float, now_s: float) -> bool:
        """Tell whether nothing was heard for too long."""
        return now_s - self.heard_s > limit_s
