"""The process of pulses in a laboratory run: hears agents, watches the broker, answers workers.

``python -m controller.pulse`` is told what to do by lines of JSON on its standard input, see
:class:`Orders`; :mod:`controller.pulsing` is the other end. A process of its own, and a light one:
in the broker and in agents kernels are compiled and torch computes, and a thread there may starve
for longer than a laser may be left alone. Who beats is told by the key of his connection.
"""

import contextlib
import os
import signal
import sys
import time

import msgspec
import zmq

from controller.liveness import Liveness
from controller.security import Client, Gate, KeyPair, Keyring, RateLimit, bound
from controller.security.limits import PULSE
from quantum.egp import Beat
from quantum.errors import RequestError, WireError
from quantum.running import is_running
from quantum.wire import decode, encode

__all__ = ["Orders", "PulseConfig", "main"]

_STEP_MS = 40
#: A slot may bring kernels to compile; a broker that is killed or stopped is noticed at once.
STALL_S = 60.0


class PulseConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Keys of the run: the broker's pair, and names of agents and workers by public key."""

    public: str
    secret: str
    agents: dict[str, str]
    workers: dict[str, str]
    silence_s: float
    host: str = "127.0.0.1"


class Orders(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A line from the broker: what it says about the run, and whom to watch by process id."""

    watch: dict[str, int] = {}
    begin: bool = False
    move: bool = False
    over: bool = False
    lost: str = ""


class _Loop:
    def __init__(self, config: PulseConfig) -> None:
        self._live = Liveness(config.agents, config.silence_s, STALL_S)
        self._watched: dict[str, int] = {"the broker": os.getppid()}
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        agents = (Client(name, "agent", public) for public, name in config.agents.items())
        workers = (Client(name, "worker", public) for public, name in config.workers.items())
        ring = Keyring([*agents, *workers])
        self._gate = Gate(self._context, ring)
        keys = KeyPair(config.public, config.secret)
        self._socket, address = bound(
            self._context, zmq.ROUTER, f"tcp://{config.host}:0", keys, self._gate, PULSE
        )
        self._socket.linger = 200
        self._rates = {
            public: RateLimit(PULSE.rate_hz, PULSE.burst, now_s=time.monotonic())
            for public in ring.clients
        }
        self._followers: dict[str, bytes] = {}
        self._text = b""
        self._until_s: float | None = None
        self._said = ""
        _print(address)

    def run(self) -> None:
        """Serve until the broker has ended or is lost, and workers have been told."""
        poller = zmq.Poller()
        poller.register(self._socket, zmq.POLLIN)
        poller.register(0, zmq.POLLIN)
        sent_s = 0.0
        while self._until_s is None or time.monotonic() < self._until_s:
            ready = dict(poller.poll(_STEP_MS // 2))
            if 0 in ready and not self._obey():
                poller.unregister(0)
                self._live.give_up("the broker is lost")
                self._leave()
            if self._socket in ready:
                self._hear()
            self._gate.news()
            now = time.monotonic()
            if now - sent_s >= _STEP_MS / 1e3:
                sent_s = now
                self._look()
                self._send(now)
        self._gate.close()
        self._context.destroy(linger=200)

    def _leave(self) -> None:
        """End soon: a few pulses more are time enough for everyone to hear the last word."""
        self._until_s = self._until_s or time.monotonic() + 5 * _STEP_MS / 1e3

    def _obey(self) -> bool:
        data = os.read(0, 65536)
        self.take(data)
        return bool(data)

    def take(self, data: bytes) -> None:
        """Obey the lines that are complete."""
        *lines, self._text = (self._text + data).split(b"\n")
        for line in lines:
            orders = msgspec.json.decode(line, type=Orders)
            now = time.monotonic()
            self._watched |= orders.watch
            if orders.begin:
                self._live.begin(now)
            if orders.move:
                self._live.move(now)
            if orders.lost:
                self._live.give_up(orders.lost)
            if orders.over:
                self._live.end()
                self._leave()

    def _look(self) -> None:
        if not self._live.over:
            for name, pid in self._watched.items():
                if not is_running(pid):
                    self._live.give_up(f"{name} was killed or stopped")

    def _hear(self) -> None:
        identity, *frames = self._socket.recv_multipart(copy=False)
        try:
            now_s = time.monotonic()
            who = self._gate.who(frames[-1])
            if self._rates[who.public].take(now_s) > 0.0 or len(frames) != 1:
                return
            if not isinstance(decode(frames[0].buffer), Beat):
                return
        except (WireError, RequestError):
            return
        if who.role == "worker":
            self._followers[who.public] = identity.bytes
        self._live.beat(who.public, now_s)

    def _send(self, now_s: float) -> None:
        pulse = self._live.pulse(now_s)
        if pulse.lost and not self._said:
            self._said = pulse.lost
            _print(pulse.lost)
        for identity in self._followers.values():
            with contextlib.suppress(zmq.ZMQError):
                self._socket.send_multipart([identity, encode(pulse)], zmq.DONTWAIT)


def _print(text: str) -> None:
    with contextlib.suppress(BrokenPipeError):
        sys.stdout.write(text + "\n")
        sys.stdout.flush()


def main() -> None:
    """Run the process of pulses; signals at the terminal are for the broker."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    text = b""
    while b"\n" not in text:
        data = os.read(0, 65536)
        if not data:
            return
        text += data
    line, _, rest = text.partition(b"\n")
    loop = _Loop(msgspec.json.decode(line, type=PulseConfig))
    loop.take(rest)
    loop.run()


if __name__ == "__main__":
    main()
