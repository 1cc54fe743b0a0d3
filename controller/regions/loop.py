"""The socket loop of a region's broker. What frames mean: ``broker``.

One ROUTER for applications and for other regions' questions, told apart by their keys; one DEALER
to each other region, and one to the own service.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any

import zmq
from zmq.utils.monitor import recv_monitor_message

from controller.regions.broker import Broker, Out
from controller.regions.config import key_name
from controller.regions.records import Entry
from controller.regions.wire import MAX_BYTES, is_between_regions
from controller.security.gate import Gate
from controller.security.keyring import Client, KeyFolder
from controller.security.keys import KeyPair
from controller.security.limits import Limits
from controller.security.sockets import bound, connect, dialled
from controller.service.journal import Journal
from quantum.errors import Code, InputError, RequestError, WireError
from quantum.logs import note
from quantum.requests import MAX_ANSWER_BYTES, Closed, Open, decode_ask, encode_request

__all__ = ["Loop"]

_BATCH, _QUEUE = 256, 256
_LOOK_MS = 20
#: Keys of other regions that are not there yet are looked for so often.
_KEYS_S = 1.0
#: A region that a partition has cut off is dialled anew when it has been silent for so long; each
#: try ends soon, since TCP asks less and less often where nobody answers.
_BEAT_MS, _DEAD_MS, _DIAL_MS = 1_000, 3_000, 2_000
_REFUSED = zmq.EVENT_HANDSHAKE_FAILED_AUTH | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL


class Loop:
    """Owns the sockets of a region's broker; :meth:`run` until somebody wants it to end.

    ``public_of`` says the public key of a region's broker, None while nobody knows it;
    ``addresses`` are those of all other regions.
    """

    def __init__(
        self,
        broker: Broker,
        journal: Journal,
        address: str,
        keys: KeyPair,
        admitted: KeyFolder,
        *,
        service: tuple[str, str],
        addresses: Mapping[str, str],
        public_of: Callable[[str], str | None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.broker, self._journal, self._clock = broker, journal, clock
        self._keys, self._addresses, self._public_of = keys, dict(addresses), public_of
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._gate = Gate(self._context, admitted)
        terms = broker.terms
        limits = Limits(MAX_BYTES, _QUEUE, terms.rate_hz, float(terms.burst), terms.credits)
        try:
            self._socket, self.address = bound(
                self._context, zmq.ROUTER, address, keys, self._gate, limits
            )
            self._service = dialled(
                self._context, zmq.DEALER, service[1], keys, max_bytes=MAX_ANSWER_BYTES
            )
            connect(self._service, service[0])
        except BaseException:
            self._gate.close()
            self._context.destroy(linger=0)
            raise
        self._regions: dict[str, Any] = {}
        self._watches: dict[str, Any] = {}
        self._shut: set[str] = set()
        """Regions that do not let us in."""
        self._keys_s = float("-inf")
        self._poller = zmq.Poller()
        for socket in (self._socket, self._service):
            self._poller.register(socket, zmq.POLLIN)

    def run(
        self,
        over: Callable[[], bool],
        *,
        tell: Callable[[str], None] = lambda _: None,
        drain_s: float = 5.0,
    ) -> None:
        """Serve until ``over()``; then answer those who wait, for ``drain_s`` at most.

        Raises :class:`controller.service.journal.JournalFull` where nothing can be written down.
        """
        until_s, refused = 0.0, ""
        while True:
            self.step(_LOOK_MS)
            now_s = self._clock()
            for line in (*self._gate.news(), *self._refusals()):
                tell(line)
            if self.broker.upstream.refused != refused:
                refused = self.broker.upstream.refused
                tell(f"the region's own service: {refused or 'lets us in again'}")
            if not self.broker.draining and over():
                self.broker.draining, until_s = True, now_s + drain_s
            if self.broker.draining and (not self.broker.waiting or now_s >= until_s):
                return

    def step(self, wait_ms: int) -> None:
        """Handle what has come, or wait a little; let time go on."""
        self._dial()
        ready = dict(self._poller.poll(wait_ms))
        self.broker.sessions.ring = self._gate.ring
        if self._socket in ready:
            self._hear_all()
        if self._service in ready:
            for frame in self._taken(self._service):
                self.broker.hear_service(frame, self._clock())
        for region, socket in self._regions.items():
            if socket in ready:
                for frame in self._taken(socket):
                    self._shut.discard(region)
                    self.broker.hear_owner(region, frame, self._clock())
        entries, out = self.broker.turn(self._clock())
        self._write(entries)
        for one in out:
            self._send(one)

    def _write(self, entries: list[Entry]) -> None:
        if entries:
            self._journal.append(entries)

    def _dial(self) -> None:
        """Connect to the regions whose keys are known by now."""
        now_s = self._clock()
        if len(self._regions) == len(self._addresses) or now_s < self._keys_s:
            return
        self._keys_s = now_s + _KEYS_S
        for region, address in self._addresses.items():
            public = None if region in self._regions else self._public_of(region)
            if public is None:
                continue
            socket = dialled(self._context, zmq.DEALER, public, self._keys, max_bytes=MAX_BYTES)
            socket.heartbeat_ivl, socket.heartbeat_timeout = _BEAT_MS, _DEAD_MS
            socket.connect_timeout = _DIAL_MS
            self._watches[region] = socket.get_monitor_socket(_REFUSED)
            try:
                connect(socket, address)
            except InputError as wrong:
                raise InputError(f"regions.{region}: {wrong}") from wrong
            self._regions[region] = socket
            self._poller.register(socket, zmq.POLLIN)

    def _refusals(self) -> list[str]:
        """Dial anew where a region did not let us in, which libzmq never tries again by itself.

        It may not have known our key yet. Returns a line where that is new.
        """
        lines = []
        for region, watch in list(self._watches.items()):
            if not watch.poll(0):
                continue
            recv_monitor_message(watch)
            socket = self._regions.pop(region)
            self._poller.unregister(socket)
            socket.disable_monitor()
            socket.close(linger=0)
            del self._watches[region]
            self._keys_s = self._clock() + _KEYS_S
            if region not in self._shut:
                self._shut.add(region)
                lines.append(f"region {region} does not let us in; it is asked again")
        return lines

    def _taken(self, socket: "zmq.Socket[bytes]") -> list[bytes]:
        frames: list[bytes] = []
        while len(frames) < _BATCH:
            try:
                parts = socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                break
            if len(parts) == 1:
                frames.append(parts[0])
        return frames

    def _hear_all(self) -> None:
        for _ in range(_BATCH):
            try:
                parts = self._socket.recv_multipart(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                return
            if len(parts) == 2:
                self._hear(parts[0].bytes, parts[1])

    def _hear(self, peer: bytes, frame: zmq.Frame) -> None:
        body, now_s = frame.bytes, self._clock()
        if is_between_regions(body):
            region = self._region_of(frame)
            if region is not None:
                self.broker.hear_asker(peer, region, body, now_s)
            return
        try:
            opening = isinstance(decode_ask(body), Open)
        except WireError:
            opening = False
        if not opening:
            self.broker.hear_client(peer, body, now_s)
            return
        message = decode_ask(body)
        assert isinstance(message, Open)
        try:
            answer = self.broker.open(self._gate.who(frame), message, now_s)
        except RequestError as wrong:
            answer = encode_request(Closed(wrong.code, wrong.detail))
        self._send(Out(peer, None, answer))

    def _region_of(self, frame: zmq.Frame) -> str | None:
        """Return the region whose broker sent a frame, by its key; None for anybody else."""
        try:
            client: Client = self._gate.who(frame)
        except RequestError:
            return None
        region = client.name.removeprefix(key_name(""))
        mine = client.role == "broker" and client.name == key_name(region)
        if not mine:
            note("no region", level="debug", client=client.name, code=Code.REJECTED.name)
        return region if mine else None

    def _send(self, one: Out) -> None:
        # Whoever does not read must not keep the others waiting: what is lost is asked again.
        try:
            if one.peer is not None:
                self._socket.send(one.peer, zmq.SNDMORE | zmq.NOBLOCK)
                self._socket.send(one.frame, zmq.NOBLOCK)
                return
            to = self._service if one.region is None else self._regions.get(one.region)
            if to is not None:
                to.send(one.frame, zmq.NOBLOCK)
        except zmq.ZMQError as wrong:
            if wrong.errno not in (zmq.EHOSTUNREACH, zmq.EAGAIN):
                raise

    def close(self) -> None:
        """Close the sockets; what was sent has half a second to leave. Safe to call twice."""
        if not self._context.closed:
            for socket in self._regions.values():
                socket.disable_monitor()
            self._gate.close()
            self._context.destroy(linger=500)
