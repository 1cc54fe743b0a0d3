"""Many at once, for ``dpem bench wire``: a thousand clients, and ten times what there is.

All clients of a crowd are sockets of one process, whose time is part of what is measured: so the
raw hop meets the same crowd, played by the same process, in turns.
"""

import contextlib
import time
from collections.abc import Callable, Mapping

import zmq

from controller.client import Client
from controller.security.keys import KeyPair
from controller.usage import point
from quantum.errors import Code
from quantum.requests import Denied, Granted, decode_answer

__all__ = ["SHORT_S", "Asking", "Door", "crowds", "dealer", "overload"]

CLIENTS, EACH, TURNS = 1000, 40, 2
#: Deadline of what is asked of a network that has too little.
SHORT_S = 0.5
#: How much is asked first, in pairs per second, and for how long each time.
_FIRST_HZ, _SECONDS = (240.0, 480.0, 960.0), 4.0
_TIMES = 10.0
_PATIENCE_S = 30.0

#: What makes the next request.
Asking = Callable[[], bytes]
#: Where a crowd goes: address, key of the server, key of the clients, and what they say.
Door = tuple[str, str, KeyPair, Asking]


def dealer(
    context: "zmq.Context[zmq.Socket[bytes]]", server: str, own: KeyPair
) -> "zmq.Socket[bytes]":
    """Return a client's socket without limits of its own."""
    socket = context.socket(zmq.DEALER)
    socket.linger = 0
    socket.sndhwm = socket.rcvhwm = 0
    socket.curve_serverkey = server.encode()
    socket.curve_publickey, socket.curve_secretkey = own.public.encode(), own.secret.encode()
    return socket


def crowds(doors: Mapping[str, Door]) -> dict[str, float]:
    """Let a crowd go to each door in turns; figures by the names of the doors, best of turns."""
    out: dict[str, float] = {"crowd_clients": CLIENTS}
    for _ in range(TURNS):
        for name, door in doors.items():
            rate, share = _crowd(*door)
            key, answered = f"{name}crowd_requests_per_s", f"{name}crowd_answered_share"
            out[key] = max(out.get(key, 0.0), rate)
            out[answered] = min(out.get(answered, 1.0), share)
    return out


def _crowd(address: str, server: str, own: KeyPair, ask: Asking) -> tuple[float, float]:
    """Let a thousand connections send all at once; returns grants a second, share answered."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    context.set(zmq.MAX_SOCKETS, CLIENTS + 8)
    poller, sockets = zmq.Poller(), []
    total = CLIENTS * EACH
    try:
        for _ in range(CLIENTS):
            socket = dealer(context, server, own)
            socket.connect(address)
            sockets.append(socket)
            poller.register(socket, zmq.POLLIN)
        # Connected, each of them: handshakes are no part of it.
        for socket in sockets:
            socket.send(ask())
        for socket in sockets:
            socket.poll(int(_PATIENCE_S * 1e3))
            socket.recv(zmq.NOBLOCK)
        began, good, got = time.perf_counter(), 0, 0
        for socket in sockets:
            for _ in range(EACH):
                socket.send(ask())
        last = time.perf_counter()
        while got < total and time.perf_counter() - last < _PATIENCE_S:
            for socket, _ in poller.poll(1000):
                with contextlib.suppress(zmq.Again):
                    while True:
                        good += isinstance(decode_answer(socket.recv(zmq.NOBLOCK)), Granted)
                        got += 1
                        last = time.perf_counter()
        took = last - began
    finally:
        context.destroy(linger=0)
    return good / took, got / total


def overload(client: Client, pid: int, ask: Asking) -> dict[str, float]:
    """Ask a service for more and more, then for ten times the most that it ever gave.

    Requests come at a fixed rate, whatever is answered. Who is not served hears BUSY at once or
    TIMEOUT at his deadline; ``overload_unanswered`` heard nothing at all: this client asks without
    regard to its credits, and answers that find a connection's queue full are dropped. Others ask
    again.
    """
    peak = max(_offer(client, ask, rate_hz)["granted"] for rate_hz in _FIRST_HZ) / _SECONDS
    before = point(pid)
    flood = _offer(client, ask, _TIMES * peak)
    after = point(pid)
    return {
        "peak_granted_per_s": peak,
        "overload_offered_per_s": flood["sent"] / _SECONDS,
        "overload_granted_per_s": flood["granted"] / _SECONDS,
        "overload_busy_share": flood["busy"] / flood["sent"],
        "overload_unanswered": flood["sent"] - flood["answered"],
        "overload_memory_mb_before": before.memory_mib,
        "overload_memory_mb_after": after.memory_mib,
    }


def _offer(client: Client, ask: Asking, rate_hz: float) -> dict[str, int]:
    """Send at a fixed rate for a while; count what was answered until all deadlines are over."""
    socket = client.socket
    out = dict.fromkeys(("sent", "answered", "granted", "busy"), 0)
    began = time.perf_counter()

    def hear(wait_ms: int) -> None:
        if not socket.poll(wait_ms):
            return
        with contextlib.suppress(zmq.Again):
            while True:
                answer = decode_answer(socket.recv(zmq.NOBLOCK))
                out["answered"] += 1
                out["granted"] += isinstance(answer, Granted)
                out["busy"] += isinstance(answer, Denied) and answer.code is Code.BUSY

    while (elapsed := time.perf_counter() - began) < _SECONDS:
        # No more than some at once, so that answers are heard in between.
        for _ in range(min(50, int(elapsed * rate_hz) - out["sent"])):
            socket.send(ask())
            out["sent"] += 1
        hear(1)
    until = time.perf_counter() + SHORT_S + 5.0
    while out["answered"] < out["sent"] and time.perf_counter() < until:
        hear(100)
    return out
