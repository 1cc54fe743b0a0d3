"""The library for applications: ask a service for pairs, and get an answer by the deadline.

A client belongs to one thread. It opens its session by itself, sends a request again under the same
``rid`` while no answer comes, waits where the service is busy, and follows it through a restart; so
a request is carried out once at most, whatever happens to either side.

    with Client("tcp://127.0.0.1:7000", server_key, keys) as client:
        granted = client.request("a", "b", pairs=2, minimum_fidelity=0.8, deadline_s=1.0)
"""

import contextlib
import os
import time
from collections import deque
from types import TracebackType
from typing import Self

import zmq
from msgspec import structs
from zmq.utils.monitor import recv_monitor_message

from controller.security.keys import KeyPair
from controller.security.sockets import connect, dialled, redial
from quantum.errors import Code, DeviceTimeout, InputError, RequestError, WireError
from quantum.requests import (
    EXPIRES,
    MAX_ANSWER_BYTES,
    VERSION,
    Again,
    Ask,
    Closed,
    Denied,
    Expired,
    FromService,
    Granted,
    Leave,
    Open,
    Opened,
    decode_answer,
    encode_request,
)

__all__ = ["Client", "rid_of"]

#: A request without an answer is sent again after so long, later ones after twice as long.
_RETRY_S, _LONGEST_RETRY_S = 0.25, 2.0
#: Without a word from the service for so long after Open it is not there, or does not let us in.
HELLO_S = 1.0
#: A service that has let us in is busy, not dead: it is waited for so many times longer.
_BUSY = 10.0
#: What a gate says of keys that it will not admit later either.
_FINAL = {400: "it does not know this key", 500: "this key was revoked"}
#: Pairs that expired and are known of already.
_REMEMBERED = 1024


class Client:
    """A session with a service at ``address``, whose public key is ``server_key``.

    Raises :class:`RequestError` where the service refuses the session, and
    :class:`DeviceTimeout` where nobody answers within ``hello_s``; one that has let us in and is
    busy is given ten times as long.
    """

    #: What it says that it can do.
    features: tuple[str, ...] = (EXPIRES,)

    def __init__(
        self,
        address: str,
        server_key: str,
        keys: KeyPair,
        *,
        name: str = "",
        hello_s: float = HELLO_S,
        queue: int = 1024,
    ) -> None:
        self.address, self.name, self._hello_s = address, name, hello_s
        self.server_key, self.keys = server_key, keys
        self._expired: list[Expired] = []
        self._known: deque[Expired] = deque(maxlen=_REMEMBERED)
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        try:
            self.socket = dialled(
                self._context, zmq.DEALER, server_key, keys, max_bytes=MAX_ANSWER_BYTES, queue=queue
            )
            self._watch = self.socket.get_monitor_socket(
                zmq.EVENT_HANDSHAKE_SUCCEEDED
                | zmq.EVENT_HANDSHAKE_FAILED_AUTH
                | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
            )
            connect(self.socket, address)
            self.terms = self._open()
        except BaseException:
            self._context.destroy(linger=0)
            raise

    # The session.

    def _open(self) -> Opened:
        """Say hello until the service lets us in, or says why not."""
        began_s = time.monotonic()
        until_s = began_s + self._hello_s
        while True:
            self._send(encode_request(Open(VERSION, self.name, self.features)))
            sent_s = time.monotonic()
            while (message := self._receive(min(until_s, sent_s + 0.5))) is not None:
                if isinstance(message, Opened):
                    return self._enter(message, sent_s)
                if isinstance(message, Closed):
                    raise RequestError(message.code, message.detail)
                if isinstance(message, Again):
                    break
            if self._let_in():
                until_s = began_s + _BUSY * self._hello_s
            if time.monotonic() >= until_s:
                raise DeviceTimeout(
                    f"no service answers at {self.address} within {until_s - began_s:g} s"
                )

    def _enter(self, opened: Opened, sent_s: float) -> Opened:
        self.session = opened.session
        # The service's clock over ours; what the message took on its way makes deadlines earlier.
        self._ahead_s = opened.now_s - time.monotonic()
        return opened

    def now(self) -> float:
        """Return what the service's clock shows now, or a little less."""
        return time.monotonic() + self._ahead_s

    def _let_in(self) -> bool:
        """Tell whether a connection came about since the last look; raises where it is refused."""
        entered = False
        while self._watch.poll(0):
            seen = recv_monitor_message(self._watch)
            if seen["event"] == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                entered = True
                continue
            raise self._shut_out(seen["value"])
        return entered

    def _shut_out(self, code: int) -> RequestError:
        why = _FINAL.get(code, "is the server's key the right one?")
        said = f"the service at {self.address} does not let us in: {why}"
        return RequestError(Code.REJECTED, said)

    def _come_back(self) -> None:
        """Dial anew where the last handshakes heard nonsense: another may have had the port.

        Raises :class:`RequestError` where this key is admitted no longer.
        """
        lost = False
        while self._watch.poll(0):
            seen = recv_monitor_message(self._watch)
            event = seen["event"]
            if event == zmq.EVENT_HANDSHAKE_FAILED_AUTH and seen["value"] in _FINAL:
                # libzmq does not try again; whoever asks once more may be admitted by then.
                redial(self.socket, self.address)
                raise self._shut_out(seen["value"])
            lost = event == zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL or (
                lost and event != zmq.EVENT_HANDSHAKE_SUCCEEDED
            )
        if lost:
            redial(self.socket, self.address)

    def _send(self, frame: bytes) -> None:
        # Where nobody takes it, it is sent again like one that was lost.
        with contextlib.suppress(zmq.Again):
            self.socket.send(frame, zmq.NOBLOCK)

    def _receive(self, until_s: float) -> "FromService | None":
        """Return the next message, None where none comes in time; what has expired is kept."""
        wait_ms = max(0, int((until_s - time.monotonic()) * 1e3) + 1)
        if not self.socket.poll(wait_ms):
            return None
        try:
            message = decode_answer(self.socket.recv())
        except WireError:
            return None
        if not isinstance(message, Expired):
            return message
        # Said again to who asks again, and news once.
        if message not in self._known:
            self._known.append(message)
            self._expired.append(message)
        return None

    # Requests.

    def request(
        self,
        source: str,
        destination: str,
        *,
        pairs: int = 1,
        minimum_fidelity: float = 0.5,
        deadline_s: float = 1.0,
        rid: bytes | None = None,
    ) -> Granted:
        """Ask for pairs and wait for the answer, ``deadline_s`` seconds at most and a little more.

        ``rid`` names a request that was made before: it gets the answer of then. Raises
        :class:`RequestError` with the code and the reason of the service where there are no pairs,
        TIMEOUT where it did not answer in time.
        """
        if not deadline_s > 0.0:
            raise InputError(f"deadline_s must be > 0 seconds, got {deadline_s}")
        rid = os.urandom(16) if rid is None else rid
        until_s = time.monotonic() + deadline_s
        answer = self._ask(rid, source, destination, pairs, minimum_fidelity, until_s)
        if isinstance(answer, Denied):
            raise RequestError(answer.code, answer.detail)
        return answer

    def _ask(
        self,
        rid: bytes,
        source: str,
        destination: str,
        pairs: int,
        minimum_fidelity: float,
        until_s: float,
    ) -> Granted | Denied:
        retry_s, again_s, busy = _RETRY_S, 0.0, ""
        # The service says TIMEOUT itself; where it does not, the grace is for its word to come.
        last_s = until_s + min(1.0, self.terms.grace_s)
        while (now_s := time.monotonic()) < last_s:
            if now_s >= again_s:
                self._come_back()
                deadline_s = until_s + self._ahead_s
                ask = Ask(
                    rid, self.session, source, destination, deadline_s, pairs, minimum_fidelity
                )
                self._send(_written(ask))
                again_s, retry_s = now_s + retry_s, min(2.0 * retry_s, _LONGEST_RETRY_S)
            match self._receive(min(again_s, last_s)):
                case Granted() | Denied() as answer if answer.rid == rid:
                    if isinstance(answer, Granted) or answer.retry_s == 0.0:
                        return _explained(answer, busy)
                    again_s, busy = time.monotonic() + answer.retry_s, answer.detail
                case Again():
                    # The service was started anew: its clock, too.
                    self.terms = self._open()
                    again_s = 0.0
                case Closed(code, detail):
                    raise RequestError(code, detail)
        raise RequestError(Code.TIMEOUT, f"no answer from {self.address} by the deadline")

    def expired(self, wait_s: float = 0.0) -> list[Expired]:
        """Return which pairs turned out not to exist after they were granted, each once.

        Waits up to ``wait_s`` for the first of them. A service that was started anew, or that lost
        this connection, tells it to who asks again under the ``rid`` of the request.
        """
        until_s = time.monotonic() + wait_s
        while not self._expired:
            # Answers to requests that were given up are of no use to anybody.
            if self._receive(until_s) is None and time.monotonic() >= until_s:
                break
        while self.socket.poll(0):
            self._receive(0.0)
        out, self._expired = self._expired, []
        return out

    def close(self) -> None:
        """Leave; safe to call twice."""
        if not self._context.closed:
            self._send(encode_request(Leave(self.session)))
            self.socket.disable_monitor()
            self._context.destroy(linger=100)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _explained(answer: Granted | Denied, busy: str) -> Granted | Denied:
    """Say why a request was put off until its time was over."""
    if busy and isinstance(answer, Denied) and answer.code is Code.NOTIME:
        return structs.replace(answer, detail=f"{answer.detail}; until then BUSY: {busy}")
    return answer


def _written(ask: Ask) -> bytes:
    """Return the frame of a request; :class:`InputError` where no frame could hold it."""
    try:
        return encode_request(ask)
    except OverflowError as wrong:
        raise InputError(f"pairs must be a number of pairs, got {ask.pairs}") from wrong
    except UnicodeEncodeError as wrong:
        raise InputError("source and destination must be text in UTF-8") from wrong


def rid_of(text: str | None) -> bytes:
    """Return the name of a request from its hexadecimal digits, a new one without any."""
    try:
        rid = os.urandom(16) if text is None else bytes.fromhex(text)
    except ValueError:
        rid = b""
    if len(rid) != 16:
        raise InputError(f"rid must be 32 hexadecimal digits, got {text!r}")
    return rid
