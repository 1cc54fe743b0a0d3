"""The socket of hearts in a laboratory run: agents and workers beat, workers are answered.

A thread and a socket of its own, so that a long slot delays no heartbeat. Who beats is told by the
key of his connection, never by what he says.
"""

import contextlib
import threading
import time

import zmq

from controller.auth import DOMAIN, AllowList, Keys
from controller.liveness import Liveness
from quantum.egp import Beat
from quantum.errors import WireError
from quantum.wire import decode, encode

__all__ = ["PulseServer"]

_STEP_MS = 40
_MAX_BYTES = 4096
#: Moving on may take a kernel's compilation; a broker that is killed is noticed by its silence.
STALL_S = 60.0


class PulseServer(threading.Thread):
    """Listens from its construction on; ``agents`` and ``workers`` are names by public key."""

    def __init__(
        self,
        keys: Keys,
        agents: dict[str, str],
        workers: dict[str, str],
        *,
        silence_s: float,
        host: str = "127.0.0.1",
    ) -> None:
        super().__init__(name="pulse", daemon=True)
        self._agents, self._workers = agents, workers
        self._live = Liveness(agents, silence_s, STALL_S)
        self._lock = threading.Lock()
        self._end = threading.Event()
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._allow = AllowList(self._context, {*agents, *workers})
        self._socket = self._context.socket(zmq.ROUTER)
        self._socket.linger, self._socket.maxmsgsize = 200, _MAX_BYTES
        self._socket.curve_server = True
        self._socket.curve_secretkey = keys.secret.encode()
        self._socket.curve_publickey = keys.public.encode()
        self._socket.zap_domain = DOMAIN.encode()
        port = self._socket.bind_to_random_port(f"tcp://{host}")
        self.address = f"tcp://{host}:{port}"
        self._followers: dict[bytes, str] = {}
        self._told: set[str] = set()
        self.start()

    def begin(self) -> None:
        """Miss whoever is silent from now on."""
        with self._lock:
            self._live.begin(time.monotonic())

    def move(self) -> None:
        """Note that the broker's loop goes on."""
        with self._lock:
            self._live.move(time.monotonic())

    @property
    def lost(self) -> str:
        """Who is lost, or nothing."""
        with self._lock:
            return self._live.lost

    def run(self) -> None:
        """Hear beats and send pulses, until :meth:`close`."""
        sent_s = 0.0
        while not self._end.is_set():
            if self._socket.poll(_STEP_MS // 2):
                self._hear()
            now = time.monotonic()
            if now - sent_s >= _STEP_MS / 1e3:
                sent_s = now
                self._send(now)

    def _hear(self) -> None:
        identity, *frames = self._socket.recv_multipart(copy=False)
        try:
            if len(frames) != 1 or not isinstance(decode(frames[0].bytes), Beat):
                return
            key = str(frames[0].get("User-Id"))
        except (WireError, zmq.ZMQError):
            return
        if key in self._workers:
            self._followers[identity.bytes] = key
        with self._lock:
            self._live.beat(key, time.monotonic())

    def _send(self, now_s: float) -> None:
        with self._lock:
            pulse = self._live.pulse(self._agents, now_s)
        if pulse is None:
            return
        for identity, key in self._followers.items():
            with contextlib.suppress(zmq.ZMQError):
                self._socket.send_multipart([identity, encode(pulse)], zmq.DONTWAIT)
                if pulse.lost or pulse.over:
                    self._told.add(key)

    def close(self, lost: str = "") -> None:
        """Tell the workers that the run is over, or who is lost, and end; safe to call twice."""
        if self._end.is_set():
            return
        with self._lock:
            if lost:
                self._live.give_up(lost)
            self._live.over = True
        until = time.monotonic() + 0.5
        while len(self._told) < len(set(self._followers.values())) and time.monotonic() < until:
            time.sleep(0.01)
        self._end.set()
        self.join(2.0)
        self._allow.close()
        self._context.destroy(linger=200)
