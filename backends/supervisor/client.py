"""What speaks to a supervisor: requests and answers over one encrypted socket.

Not for two threads: a thread that renews a lease has a client of its own.
"""

import contextlib
import os
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import zmq

from backends.supervisor.keys import KeyPair, load_key, local_key
from backends.supervisor.messages import (
    MAX_BYTES,
    NO_RID,
    Estop,
    Granted,
    Refused,
    Reply,
    Report,
    Request,
    Status,
    Stopped,
    decode_reply,
    encode,
)
from backends.supervisor.places import Endpoint, place_of, read_endpoint, state_home
from quantum.errors import Code, DeviceError, DeviceTimeout, InputError, RequestError
from quantum.running import is_running

__all__ = ["Client", "endpoint_of", "estop", "key_of", "new_rid", "status"]

#: Requests are answered when their work is done; counting may take long.
_PATIENCE_S = 60.0
#: How often a client that waits looks whether the supervisor is there at all.
_LOOK_S = 0.2
#: A socket whose peer speaks something else takes nothing: nobody waits for it for longer.
_SEND_MS = 2_000


def new_rid() -> bytes:
    """Return a fresh request id."""
    return os.urandom(16)


def key_of(path: Path | None) -> KeyPair:
    """Return the key of a file, or this user's own."""
    return local_key(state_home()) if path is None else load_key(path)


def endpoint_of(rack: Path) -> Endpoint:
    """Return where a rack's supervisor listens, or raise :class:`InputError`."""
    found = read_endpoint(place_of(rack))
    if found is None:
        raise InputError(f"rack {rack} has no supervisor running")
    return found


class Client:
    """A connection with a key; ``address`` is the command or the stop address of an endpoint.

    With the supervisor's ``process`` a client that waits notices when that one is killed.
    """

    def __init__(self, address: str, server: str, key: KeyPair, process: int = 0) -> None:
        self._process = process
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.socket: zmq.Socket[bytes] = self._context.socket(zmq.DEALER)
        self.socket.linger, self.socket.maxmsgsize = 200, MAX_BYTES
        self.socket.sndtimeo = _SEND_MS
        self.socket.curve_serverkey = server.encode()
        self.socket.curve_publickey = key.public.encode()
        self.socket.curve_secretkey = key.secret.encode()
        self.socket.connect(address)

    def ask(self, message: Request, patience_s: float = _PATIENCE_S) -> Reply:
        """Send a request and return its answer; refusals are answers too.

        Raises :class:`RequestError` REJECTED where the supervisor is gone, as only a person can
        help, and :class:`DeviceTimeout` where it is silent.
        """
        self._check_there()
        rid = getattr(message, "rid", NO_RID)
        until = time.monotonic() + patience_s
        if not self._send(message):
            raise _silent(_SEND_MS / 1e3)
        while (left_s := until - time.monotonic()) > 0.0:
            if not self.socket.poll(max(1, int(min(left_s, _LOOK_S) * 1e3))):
                self._check_there()
                continue
            reply = decode_reply(self.socket.recv())
            if reply.rid in (rid, NO_RID):
                return reply
        raise _silent(patience_s)

    def demand(self, message: Request, patience_s: float = _PATIENCE_S) -> Reply:
        """Like :meth:`ask`, but a refusal raises what it says."""
        reply = self.ask(message, patience_s)
        if isinstance(reply, Refused):
            if reply.device:
                raise DeviceError(reply.detail)
            if reply.code is Code.CREATE:
                raise InputError(reply.detail)
            raise RequestError(reply.code, reply.detail)
        return reply

    def say(self, message: Request) -> None:
        """Send something that has no answer; what cannot be sent is not heard, and no more."""
        self._send(message)

    def _send(self, message: Request) -> bool:
        with contextlib.suppress(zmq.Again):
            self.socket.send(encode(message))
            return True
        return False

    def heard(self) -> Reply | None:
        """Return an answer that is there already."""
        return decode_reply(self.socket.recv()) if self.socket.poll(0) else None

    def _check_there(self) -> None:
        # What it said before it ended may still be on its way.
        if self._process and not is_running(self._process) and not self.socket.poll(20):
            raise RequestError(
                Code.REJECTED, "the supervisor of the rack is gone; see dpem lab status"
            )

    def close(self) -> None:
        """Close the connection; safe to call twice."""
        self._context.destroy(linger=200)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _silent(patience_s: float) -> DeviceTimeout:
    return DeviceTimeout(
        f"the supervisor did not answer within {patience_s:g} s; is this key on its list?"
    )


def estop(rack: Path, reason: str, key: Path | None = None) -> Stopped:
    """Stop a rack: latch it, command its safe state, and return what was read back.

    Raises :class:`InputError` where no supervisor runs, :class:`DeviceTimeout` where it is silent.
    """
    at = endpoint_of(rack)
    with Client(at.estop, at.public, key_of(key), at.supervisor) as client:
        reply = client.demand(Estop(new_rid(), reason), 10.0)
    assert isinstance(reply, Stopped)
    return reply


def status(rack: Path, key: Path | None = None) -> Report:
    """Ask a running supervisor how its rack stands."""
    at = endpoint_of(rack)
    with Client(at.commands, at.public, key_of(key), at.supervisor) as client:
        reply = client.demand(Status(new_rid()), 5.0)
    assert isinstance(reply, Report)
    return reply


def granted(reply: Reply) -> Granted:
    """Return a reply that has to be a lease."""
    assert isinstance(reply, Granted)
    return reply
