"""How much one client may ask: pure values; the clock is passed in.

A rate says how often somebody may speak. Who asks for more is told when to try again; nothing is
queued for him.
"""

from typing import NamedTuple

__all__ = ["AGENT", "PULSE", "REQUEST", "WORKER", "Limits", "RateLimit"]


class Limits(NamedTuple):
    """What one socket bears.

    ``max_bytes`` a message (longer ones end the connection that sent them), ``queue`` messages in
    each direction for each peer, ``rate_hz`` and ``burst`` messages, ``credits`` open requests.
    """

    max_bytes: int
    queue: int
    rate_hz: float
    burst: float
    credits: int


#: Requests are small.
REQUEST = Limits(max_bytes=64 * 1024, queue=256, rate_hz=20_000.0, burst=2_000.0, credits=256)
#: An agent of many nodes sends the changes of all their weights in one message. In a run it speaks
#: when it is shown something, and little else.
AGENT = Limits(max_bytes=16 * 1024 * 1024, queue=256, rate_hz=20.0, burst=50.0, credits=1)
#: A job of a large network has thousands of tasks.
WORKER = Limits(max_bytes=16 * 1024 * 1024, queue=256, rate_hz=20.0, burst=50.0, credits=4)
#: Hearts beat twenty times a second; what is too much is not read, as nobody answers beats.
PULSE = Limits(max_bytes=4096, queue=256, rate_hz=100.0, burst=100.0, credits=1)


class RateLimit:
    """A token bucket: ``rate_hz`` on average, ``burst`` at once.

    >>> limit = RateLimit(10.0, 2.0, now_s=0.0)
    >>> [limit.take(0.0), limit.take(0.0), limit.take(0.0)]
    [0.0, 0.0, 0.1]
    >>> limit.take(0.1)
    0.0
    """

    __slots__ = ("_at_s", "_tokens", "burst", "rate_hz")

    def __init__(self, rate_hz: float, burst: float, *, now_s: float) -> None:
        if not rate_hz > 0.0 or not burst >= 1.0:
            raise ValueError("rate_hz must be > 0 and burst >= 1")
        self.rate_hz, self.burst = rate_hz, burst
        self._tokens, self._at_s = burst, now_s

    def take(self, now_s: float, cost: float = 1.0) -> float:
        """Take what one message costs and return 0, or return the seconds to wait.

        A clock that goes backwards gives nothing and takes nothing. ``cost`` is at most ``burst``.
        """
        if now_s > self._at_s:
            self._tokens = min(self.burst, self._tokens + (now_s - self._at_s) * self.rate_hz)
            self._at_s = now_s
        if self._tokens >= cost:
            self._tokens -= cost
            return 0.0
        return (cost - self._tokens) / self.rate_hz
