"""The gate of a broker's sockets: who comes in, who spoke, and who is thrown out.

A thread answers ZAP (RFC 27) for all CURVE sockets of a context whose ``zap_domain`` is
:data:`DOMAIN`. It also looks at the key folder several times a second, so that a key is revoked
even while the broker is busy: its connections are cut, and :meth:`Gate.who` refuses its messages
from then on. Connections of others are not touched.
"""

import contextlib
import threading
import time
from collections import deque
from collections.abc import Iterable

import zmq
from zmq.utils import z85
from zmq.utils.monitor import recv_monitor_message

from controller.security.crowd import Crowd, most_half_open
from controller.security.cutting import cut, cut_one, host_of
from controller.security.keyring import Client, KeyFolder, Keyring
from quantum.errors import Code, DpemError, RequestError

__all__ = ["DOMAIN", "HANDSHAKE_MS", "REVOKED", "UNKNOWN", "Gate"]

#: A socket's ZAP domain has to be this very name.
DOMAIN = "dpem"
#: ZAP has four codes only. A client sees the code and no text, so each of ours means one thing.
UNKNOWN, REVOKED, LATER = 400, 500, 300
_TEXT = {200: "OK", UNKNOWN: "key unknown", REVOKED: "key revoked", LATER: "nobody is admitted now"}

#: A peer that says nothing more in its handshake is dropped.
HANDSHAKE_MS = 5_000
#: Events of a monitor that are taken before keys are answered for again.
_EVENTS = 4096
#: People are told of connections that are cut so often at most.
_TELL_S = 60.0
_ENDPOINT = "inproc://zeromq.zap.01"
_LOOK_MS = 200
#: A thread that dies over and over is not started again and again.
_DEATHS = 3

Context = zmq.Context[zmq.Socket[bytes]]


class Gate:
    """Admits the keys of a ring, or of a folder that may change, to the sockets of a context.

    One for each context; opened before :func:`controller.security.sockets.bound` binds
    sockets, which sets ``ZAP_ENFORCE_DOMAIN``: without it libzmq would admit everybody as soon as
    this thread is gone.
    """

    def __init__(self, context: Context, keys: Keyring | KeyFolder) -> None:
        self._context = context
        self._folder = keys if isinstance(keys, KeyFolder) else None
        self.ring = keys.ring if isinstance(keys, KeyFolder) else keys
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._speaker: dict[int, str] = {}
        """Connection (a file descriptor) -> the key that spoke on it last."""
        self._ports: set[int] = set()
        self._news = deque(keys.troubles if isinstance(keys, KeyFolder) else ())
        self._deaths = 0
        self._broken = ""
        self._crowd = Crowd(most_half_open(), HANDSHAKE_MS * 1e-3)
        self._watched: dict[int, zmq.Socket[bytes]] = {}
        """Monitors of guarded sockets, read by the thread only."""
        self._told_s = -_TELL_S
        self._start()

    def _start(self) -> None:
        self._broken = ""
        # Bound here, so that whoever binds a socket next finds the gate open.
        socket: zmq.Socket[bytes] = self._context.socket(zmq.REP)
        socket.linger = 0
        try:
            socket.bind(_ENDPOINT)
        except zmq.ZMQError as wrong:
            socket.close()
            raise DpemError(f"this context has a gate already: {wrong.strerror}") from wrong
        self._thread = threading.Thread(
            target=self._serve, args=(socket,), name="gate", daemon=True
        )
        self._thread.start()

    # What the thread of the gate does.

    def _serve(self, socket: "zmq.Socket[bytes]") -> None:
        try:
            looked_s = time.monotonic()
            poller = zmq.Poller()
            poller.register(socket, zmq.POLLIN)
            while not self._over.is_set():
                with self._lock:
                    monitors = list(self._watched.values())
                for monitor in monitors:
                    if monitor not in poller:
                        poller.register(monitor, zmq.POLLIN)
                ready = dict(poller.poll(_LOOK_MS))
                # A connection is noted before its key is admitted, so before it can speak.
                for monitor in monitors:
                    self._count(monitor)
                if socket in ready:
                    socket.send_multipart(self._answer(socket.recv_multipart()))
                if time.monotonic() - looked_s >= _LOOK_MS * 1e-3:
                    looked_s = time.monotonic()
                    self.look()
        except Exception as wrong:  # noqa: BLE001 - whatever it was, the broker is told
            if not self._over.is_set():
                self._broken = f"{type(wrong).__name__}: {wrong}"
        finally:
            # close() alone gives the name back later, and the next gate would not get it.
            with contextlib.suppress(zmq.ZMQError):
                socket.unbind(_ENDPOINT)
            socket.close()

    def _count(self, monitor: "zmq.Socket[bytes]") -> None:
        """Take what a monitor tells of connections; cut those that are too many."""
        now_s = time.monotonic()
        for _ in range(_EVENTS):
            if not monitor.poll(0):
                break
            seen = recv_monitor_message(monitor)
            with self._lock:
                # Whoever had this descriptor before speaks on it no more.
                self._speaker.pop(seen["value"], None)
            if seen["event"] == zmq.EVENT_ACCEPTED:
                self._crowd.accepted(seen["value"], host_of(seen["value"]), now_s)
            else:
                self._crowd.gone(seen["value"])
        with self._lock:
            surplus = self._crowd.surplus(now_s, self._speaker)
        if surplus:
            with self._lock:
                ports = set(self._ports)
            for number in surplus:
                cut_one(number, ports)
            if now_s - self._told_s >= _TELL_S:
                self._told_s = now_s
                self._news.append(
                    f"connections without a key were cut: {self._crowd.most} may be half open"
                )

    def _answer(self, frames: list[bytes]) -> list[bytes]:
        number = frames[1] if len(frames) > 1 else b""
        code, public = LATER, b""
        if len(frames) == 7 and frames[0] == b"1.0" and frames[5] == b"CURVE":
            public = z85.encode(frames[6])
            mine = frames[2] == DOMAIN.encode()
            code = self.admit(public.decode()) if mine else UNKNOWN
            if code == 200:
                self._crowd.admitted(frames[3].decode(errors="replace"), time.monotonic())
        user = public if code == 200 else b""
        return [b"1.0", number, str(code).encode(), _TEXT[code].encode(), user, b""]

    def admit(self, public: str) -> int:
        """Return how ZAP answers a key (z85): 200, or why it may not come in."""
        if public in self.ring.revoked:
            return REVOKED
        if self.ring.find(public) is None:
            return UNKNOWN
        return LATER if self._folder is not None and self._folder.closed else 200

    def look(self) -> None:
        """Look at the key folder now; cut the connections of keys that it no longer admits."""
        folder = self._folder
        if folder is None:
            return
        closed, troubles, before = folder.closed, folder.troubles, self.ring
        fresh = folder.refresh()
        if folder.closed and folder.closed != closed:
            self._news.append(f"nobody new is admitted: {folder.closed}")
        if fresh:
            self._news.extend(line for line in folder.troubles if line not in troubles)
            self.use(folder.ring)
            for public in before.clients.keys() - folder.ring.clients.keys():
                self._news.append(f"key {before.clients[public].name} is admitted no longer")

    def use(self, ring: Keyring) -> None:
        """Admit the keys of another ring from now on, and cut whoever is not on it any more."""
        gone = self.ring.clients.keys() - ring.clients.keys()
        # A key with another role speaks with that role at once; its connection may stay.
        self.ring = ring
        if gone:
            with self._lock:
                ports, speaker = set(self._ports), dict(self._speaker)
            cut(ports, speaker, gone)

    # What the broker does.

    def watches(self, socket: "zmq.Socket[bytes]") -> None:
        """Bound how many connections of a socket are half open; called before it is bound."""
        with self._lock:
            number = len(self._watched)
            name = f"inproc://dpem.gate.{number}"
            socket.monitor(name, zmq.EVENT_ACCEPTED | zmq.EVENT_DISCONNECTED | zmq.EVENT_CLOSED)
            monitor: zmq.Socket[bytes] = self._context.socket(zmq.PAIR)
            # A bound here would make libzmq wait when nobody reads, its last words included.
            monitor.rcvhwm, monitor.linger = 0, 0
            monitor.connect(name)
            self._watched[number] = monitor

    def guards(self, address: str) -> None:
        """Note a ``tcp://host:port`` where a guarded socket listens."""
        with self._lock, contextlib.suppress(ValueError):
            self._ports.add(int(address.rpartition(":")[2]))

    def who(self, frame: zmq.Frame) -> Client:
        """Return who sent a frame (received with ``copy=False``): by his key, not by what he says.

        Raises :class:`RequestError` REJECTED where the key is admitted no longer.
        """
        try:
            public = str(frame.get("User-Id"))
            connection = int(frame.get(zmq.SRCFD))
        except (zmq.ZMQError, TypeError, ValueError):
            raise RequestError(Code.REJECTED, "this connection has no key") from None
        client = self.ring.clients.get(public)
        if self._speaker.get(connection) != public:
            with self._lock:
                self._speaker[connection] = public
        if client is None:
            name = self.ring.revoked.get(public)
            self._throw_out({public})
            why = f"key {name} was revoked" if name else "this key is admitted no longer"
            raise RequestError(Code.REJECTED, f"{why}; ask the operator for a new one")
        return client

    def _throw_out(self, gone: Iterable[str]) -> None:
        with self._lock:
            ports, speaker = set(self._ports), dict(self._speaker)
        cut(ports, speaker, gone, silent=False)

    def news(self) -> list[str]:
        """Return what people should know, each line once: broken key files, keys that are gone.

        A gate whose thread has died is opened again, and says so; nobody came in in between.
        Raises :class:`DpemError` when that does not help.
        """
        if not self._thread.is_alive() and not self._over.is_set():
            self._deaths += 1
            if self._deaths > _DEATHS:
                raise DpemError(f"the gate that checks keys died again and again: {self._broken}")
            self._news.append(f"the gate that checks keys was opened again: {self._broken}")
            self._start()
        return [self._news.popleft() for _ in range(len(self._news))]

    def close(self) -> None:
        """End the thread; nobody new comes in afterwards. Safe to call twice."""
        self._over.set()
        self._thread.join(5.0)
