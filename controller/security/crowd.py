"""How many connections may be half open: accepted, and not admitted by a key yet.

libzmq bounds the time of a handshake and not how many there are, and has no call that ends one. Its
monitor tells the descriptor of each connection that comes or goes, and whoever answers for the
allow list is told the host of each key that he admits; so it is known how many connections of which
host are half open, though not which. Where there are too many, the oldest of the host that has most
are cut: who was cut by mistake comes back by himself. Pure: no sockets, the clock is passed in.
"""

import resource
from collections import Counter, OrderedDict, deque
from collections.abc import Container

__all__ = ["Crowd", "most_half_open"]

#: A share of the files that this process may open, and bounds of it.
_SHARE, _FEWEST, _MOST = 4, 64, 4096


def most_half_open() -> int:
    """Return how many handshakes may be under way in this process."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return _MOST
    return max(_FEWEST, min(_MOST, soft // _SHARE))


class Crowd:
    """Connections that came less than ``handshake_s`` ago: older ones are admitted, or gone.

    >>> crowd = Crowd(2, 5.0)
    >>> for descriptor, host in ((7, "a"), (8, "b"), (9, "b"), (10, "b")):
    ...     crowd.accepted(descriptor, host, 0.0)
    >>> crowd.admitted("b", 0.1)
    >>> crowd.surplus(0.2), crowd.surplus(0.2)
    ([8], [])
    """

    def __init__(self, most: int, handshake_s: float) -> None:
        self.most, self._handshake_s = most, handshake_s
        self._recent: OrderedDict[int, tuple[str, float]] = OrderedDict()
        self._admitted: deque[tuple[str, float]] = deque()

    def accepted(self, descriptor: int, host: str, now_s: float) -> None:
        """Note a connection that came."""
        self._recent.pop(descriptor, None)
        self._recent[descriptor] = host, now_s

    def gone(self, descriptor: int) -> None:
        """Note a connection that ended."""
        self._recent.pop(descriptor, None)

    def admitted(self, host: str, now_s: float) -> None:
        """Note that a key from a host was admitted."""
        self._admitted.append((host, now_s))

    def half_open(self, now_s: float) -> Counter[str]:
        """Return how many connections of each host are half open."""
        early_s = now_s - self._handshake_s
        while self._recent and next(iter(self._recent.values()))[1] < early_s:
            self._recent.popitem(last=False)
        while self._admitted and self._admitted[0][1] < early_s:
            self._admitted.popleft()
        found = Counter(host for host, _ in self._recent.values())
        found.subtract(host for host, _ in self._admitted)
        return +found

    def surplus(self, now_s: float, spoken: Container[int] = ()) -> list[int]:
        """Return the connections to be cut now; none on which a key has ``spoken``."""
        if len(self._recent) <= self.most:
            return []
        half = self.half_open(now_s)
        total, out = half.total(), list[int]()
        while total > self.most:
            [(host, _)] = half.most_common(1)
            descriptor = next(
                (d for d, (h, _) in self._recent.items() if h == host and d not in spoken), None
            )
            if descriptor is None:
                del half[host]
                total = half.total()
                continue
            self.gone(descriptor)
            out.append(descriptor)
            half[host] -= 1
            total -= 1
        return out
