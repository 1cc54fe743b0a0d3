"""Joining a broker: what a process is told, and how it finds out that it is not welcome.

A key that is refused sees nothing on its socket: libzmq tells it to the socket's monitor only.
:class:`Joining` is told what the monitor says, what was heard and what time it is, and says when to
greet, whether the session stands, or in one line why not and what to do. No sockets here.
"""

from typing import Literal

import msgspec

from quantum.egp import FEATURES, VERSION, Hello, Message, Refuse, Welcome
from quantum.errors import InputError, WireError
from quantum.wire import check_version

__all__ = ["STEADY", "Connection", "Joining", "Patience", "WorkerConfig", "waiting"]


class Connection(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Address of the broker (``tcp://host:port``), CURVE keys in z85, and the process's name.

    ``pulse`` is where hearts are listened to; empty where no instruments depend on it.
    """

    address: str
    server_key: str
    public_key: str
    secret_key: str
    name: str
    pulse: str = ""


class WorkerConfig(Connection, frozen=True, kw_only=True):
    """A worker: the backend that it executes on, and the rack of a laboratory.

    ``alone``: nobody started it who would have to be missed; it waits for its broker for
    ``connect_s`` and comes back whenever it was lost, or gives up after ``lost_s``.
    """

    backend: str
    seed: int
    rack: str | None = None
    alone: bool = False
    connect_s: float = 30.0
    lost_s: float | None = None


class Patience(msgspec.Struct, frozen=True):
    """How long a client waits: for a connection, for its welcome, and until it greets again.

    ``welcome_s`` counts from the handshake; infinite where the broker may compile for minutes. Keys
    are blamed for handshakes that end without a reason, but not before ``blame_s``: something on
    the way may accept connections while the broker is started anew. Who was let in and lost the
    broker gives up after ``lost_s``; infinite where the broker may be away for any time.
    """

    connect_s: float = 0.9
    welcome_s: float = 0.9
    again_s: float = 10.0
    blame_s: float = 0.0
    lost_s: float = float("inf")


#: A process of a run: its broker is there, but may be busy for long.
STEADY = Patience(connect_s=30.0, welcome_s=float("inf"))


def waiting(connect_s: float, *, lost_s: float = float("inf")) -> Patience:
    """Return the patience of a process that was started by itself, maybe before its broker."""
    return msgspec.structs.replace(
        STEADY, connect_s=connect_s, blame_s=connect_s / 6.0, lost_s=lost_s
    )


#: Handshakes that end without a reason before the key is blamed: a broker that starts may drop one.
_DROPS = 3
#: How soon a socket is connected again that libzmq has given up.
_REDIAL_S = 0.2


class Joining:
    """A client's way into a session; ``now_s`` is any clock that only goes forward.

    Feed it with :meth:`event`, :meth:`hear` and :meth:`wait`, each of which raises
    :class:`InputError` where the broker will not have this client, and send ``hello`` when
    :meth:`greets` says so. A session that lost its connection greets again on the next one.
    """

    def __init__(
        self, hello: Hello, address: str, *, now_s: float, patience: Patience | None = None
    ) -> None:
        self.hello = msgspec.structs.replace(hello, features=FEATURES + hello.features)
        self.welcome: Welcome | None = None
        self.offset_s: float | None = None
        """The broker's clock minus ours, once both have told their times."""
        self.doubt_s = 0.0
        """How far ``offset_s`` may be off: half of the way there and back."""
        self.address = address
        self._patience = patience or Patience()
        self._began_s, self._open_s = now_s, -1.0
        self._due_s = now_s
        self._stage: Literal["silent", "closed", "connected", "open"] = "silent"
        self._drops, self._redial_s = 0, float("inf")

    def event(self, name: str, value: int, now_s: float) -> None:
        """Take an event of the socket's monitor, by its name in libzmq."""
        match name:
            case "CONNECTED":
                self._stage = "connected"
            case "CLOSED" if self._stage == "silent":
                self._stage = "closed"
            case "HANDSHAKE_SUCCEEDED":
                self._stage, self._open_s, self._due_s = "open", now_s, now_s
                self._drops = 0
            case "DISCONNECTED" if self._stage == "open":
                # Whoever was in does not give up: the broker may come back.
                self._stage, self._began_s, self._open_s = "silent", now_s, -1.0
            case "HANDSHAKE_FAILED_AUTH":
                raise InputError(self._turned_away(value))
            case "HANDSHAKE_FAILED_PROTOCOL" if self._may_come_back(now_s):
                # libzmq comes again after every other failure, and never after this one.
                self._stage, self._redial_s = "silent", now_s + _REDIAL_S
            case "HANDSHAKE_FAILED_PROTOCOL":
                raise InputError(
                    f"what listens at {self.address} is no broker of DPEM (it asks for no keys, "
                    "or for others): check the port"
                )
            case "HANDSHAKE_FAILED_NO_DETAIL":
                self._drops += 1
                if (
                    self._drops >= _DROPS
                    and self.welcome is None
                    and now_s - self._began_s >= self._patience.blame_s
                ):
                    raise InputError(self._dropped())

    def _may_come_back(self, now_s: float) -> bool:
        """Tell whether what does not speak our language may only be in a broker's place for now."""
        return self.welcome is not None or now_s - self._began_s < self._patience.blame_s

    def redials(self, now_s: float) -> bool:
        """Tell, once, that the socket has to be disconnected and connected again."""
        due = now_s >= self._redial_s
        if due:
            self._redial_s = float("inf")
        return due

    def hear(self, message: Message, now_s: float, clock_s: float) -> None:
        """Take what the broker said; ``clock_s`` is this machine's clock (UTC)."""
        if self._due_s > now_s:
            # Who hears something need not ask whether the broker is there.
            self._due_s = now_s + self._patience.again_s
        match message:
            case Welcome():
                try:
                    check_version(message.v)
                except WireError:
                    older = "broker" if message.v < VERSION else "client"
                    raise InputError(
                        f"the broker at {self.address} speaks version {message.v}, this is "
                        f"version {VERSION}: update dpem at the {older}"
                    ) from None
                self.welcome = message
                if message.clock_s and message.sent_s:
                    self.offset_s = message.clock_s - (message.sent_s + clock_s) / 2.0
                    self.doubt_s = abs(clock_s - message.sent_s) / 2.0
            case Refuse(_, detail, retry_s):
                if retry_s > 0.0:
                    self._due_s = now_s + retry_s
                else:
                    raise InputError(
                        f"the broker at {self.address} refused {self.hello.name}: {detail}"
                    )

    def greets(self, now_s: float, clock_s: float) -> Hello | None:
        """Return the hello where one is due, and note that it was sent."""
        if self._stage != "open" or now_s < self._due_s:
            return None
        self._due_s = now_s + self._patience.again_s
        return msgspec.structs.replace(self.hello, sent_s=clock_s)

    def wait(self, now_s: float) -> None:
        """Give up where a first welcome is overdue, or a broker that was lost."""
        if self.welcome is not None:
            if self._stage != "open" and now_s - self._began_s > self._patience.lost_s:
                raise InputError(
                    f"the broker at {self.address} has been gone for {self._patience.lost_s:g} s: "
                    "the run is over, or it cannot be reached any more"
                )
            return
        if self._stage == "open":
            if now_s - self._open_s > self._patience.welcome_s:
                raise InputError(
                    f"the broker at {self.address} admits this key but does not answer: it may "
                    f"be busy, or the port is not the one for role {self.hello.role}"
                )
        elif now_s - self._began_s > self._patience.connect_s:
            raise InputError(self._unreachable())

    def _turned_away(self, code: int) -> str:
        name = self.hello.name
        if code == 500:
            return (
                f"key {name} was revoked at the broker at {self.address}: ask its operator for "
                "a new one"
            )
        return (
            f"the broker at {self.address} does not know key {name}: copy {name}.pub into its "
            "key folder"
        )

    def _dropped(self) -> str:
        return (
            f"what listens at {self.address} does not have the key of server_key: compare it "
            "with the broker's .pub file, and check the port"
        )

    def _unreachable(self) -> str:
        where = self.address
        if self._drops:
            return self._dropped()
        if self._stage == "connected":
            return f"what listens at {where} does not speak ZeroMQ: check the port"
        if self._stage == "closed":
            return f"nothing listens at {where}: start the broker, or check the port"
        return f"{where} does not answer: check the host and the firewalls between"
