"""A worker's seat at the broker: the socket around :class:`quantum.joining.Joining`."""

import contextlib
import secrets
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

import zmq
from zmq.utils.monitor import recv_monitor_message

from quantum.addresses import by_ipv6, check_address
from quantum.egp import BACKEND, BOOT, VERSION, Hello, Job, Message
from quantum.errors import InputError, WireError
from quantum.joining import STEADY, Joining, WorkerConfig, waiting
from quantum.wire import MAX_BYTES, decode, encode

__all__ = ["Seat"]

#: How often a worker that hears nothing looks at the clock.
TICK_MS = 500
#: A backend with nothing to do between jobs is asked again after so long.
IDLE_MS = 20
#: Whom the broker cannot hear for so long is asked again when he is back.
SEND_MS = 5_000


class Seat:
    """A connection that greets when it opens, and again when it was lost; a context manager."""

    def __init__(self, config: WorkerConfig, *, keeps: bool) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        socket = self._context.socket(zmq.DEALER)
        socket.linger, socket.maxmsgsize, socket.immediate = 500, MAX_BYTES, True
        socket.sndhwm = socket.rcvhwm = 256
        socket.sndtimeo = SEND_MS
        socket.ipv6 = by_ipv6(config.address)
        socket.heartbeat_ivl, socket.heartbeat_timeout = 5_000, 30_000
        socket.heartbeat_ttl = 30_000
        socket.curve_serverkey = config.server_key.encode()
        socket.curve_publickey = config.public_key.encode()
        socket.curve_secretkey = config.secret_key.encode()
        self._socket, self._monitor = socket, socket.get_monitor_socket()
        told = (f"{BACKEND}:{config.backend}"[:32], f"{BOOT}:{secrets.token_hex(8)}")
        hello = Hello(VERSION, "worker", config.name, keeps=keeps, features=told)
        lost_s = float("inf") if config.lost_s is None else config.lost_s
        patience = waiting(config.connect_s, lost_s=lost_s) if config.alone else STEADY
        self._joining = Joining(hello, config.address, now_s=time.monotonic(), patience=patience)
        self._next: Message | None = None
        self._poller = zmq.Poller()
        self._poller.register(socket, zmq.POLLIN)
        self._poller.register(self._monitor, zmq.POLLIN)
        try:
            socket.connect(check_address(config.address))
        except (InputError, zmq.ZMQError) as wrong:
            self.__exit__(None, None, None)
            if isinstance(wrong, InputError):
                raise
            raise InputError(f"address {config.address!r}: {wrong.strerror}") from wrong

    def hear(self, idle: Callable[[], bool] | None) -> Message | None:
        """Return the next message, or None now and then where there is none.

        ``idle`` is what a backend does between jobs, a short step at a time; False where it has
        nothing to do. Raises :class:`InputError` where this worker is not welcome.
        """
        if self._next is not None:
            kept, self._next = self._next, None
            return kept
        until = time.monotonic() + TICK_MS * 1e-3
        while True:
            wait_ms = TICK_MS if idle is None else 0 if idle_now(self._poller, idle) else IDLE_MS
            ready = dict(self._poller.poll(wait_ms))
            if self._monitor in ready:
                self._watch()
            self._redial()
            # Who hears something is not silent, so the message comes first.
            message = self._take() if self._socket in ready else None
            self._greet()
            if message is not None or time.monotonic() >= until:
                return message

    def more_jobs(self, most: int) -> list[Job]:
        """Return jobs that have come already, at most so many; another message is heard next."""
        jobs: list[Job] = []
        while len(jobs) < most and self._socket.poll(0):
            message = self._take()
            if not isinstance(message, Job):
                self._next = message
                break
            jobs.append(message)
        return jobs

    def _watch(self) -> None:
        while self._monitor.poll(0):
            seen = recv_monitor_message(self._monitor)
            name = zmq.Event(seen["event"]).name or ""
            self._joining.event(name, int(seen["value"]), time.monotonic())

    def _redial(self) -> None:
        """Connect again where libzmq has given a connection up for good."""
        if self._joining.redials(time.monotonic()):
            with contextlib.suppress(zmq.ZMQError):
                self._socket.disconnect(self._joining.address)
            self._socket.connect(self._joining.address)

    def _greet(self) -> None:
        now_s = time.monotonic()
        hello = self._joining.greets(now_s, time.time())
        if hello is not None:
            self.say(encode(hello))
        self._joining.wait(now_s)

    def _take(self) -> Message | None:
        try:
            message = decode(self._socket.recv())
        except WireError:
            return None
        try:
            self._joining.hear(message, time.monotonic(), time.time())
        except InputError as wrong:
            raise InputError(f"worker {self._joining.hello.name}: {wrong}") from wrong
        return message

    def say(self, frame: bytes) -> None:
        """Send a frame; where nobody takes it, the broker will ask again."""
        with contextlib.suppress(zmq.Again):
            self._socket.send(frame)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._socket.disable_monitor()
        self._context.destroy(linger=500)


def idle_now(poller: zmq.Poller, idle: Callable[[], bool]) -> bool:
    """Let a backend take a step, unless somebody speaks; tell whether it has more to do."""
    return not poller.poll(0) and idle()
