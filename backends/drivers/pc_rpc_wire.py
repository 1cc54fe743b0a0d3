"""sipyco's PC_RPC as a client: JSON lines over TCP, one connection a target.

Facts from sipyco's documentation and ``pc_rpc.py`` at ``1f1722f``. A connection that is in the
middle of a call when time runs out is dropped, because the answer would be taken for that of the
next call. Nothing is called twice: whether a call whose answer was lost has been carried out is not
known, and the error says so.
"""

import json
import time
from collections.abc import Callable
from typing import Any, NoReturn

from backends.drivers.connection import Connection
from backends.drivers.pyon import PyonError, decode, encode
from backends.drivers.streams import Stream
from quantum.errors import DeviceError, DeviceProtocol, DeviceTimeout, InputError

__all__ = ["REMOTE_CLASSES", "RemoteError", "Target"]

_HELLO = b"ARTIQ pc_rpc\n"
_V2 = "pyon_v2"
_SHOWN = 200
_NAME_BYTES = 256

#: The exception classes that a server may name: Python's own, and sipyco's catch-all. Each becomes
#: a :class:`RemoteError`; none is ever looked up or raised as itself.
# fmt: off
REMOTE_CLASSES = frozenset([
    "GenericRemoteException", "BaseException", "Exception", "ArithmeticError", "AssertionError",
    "AttributeError", "BlockingIOError", "BrokenPipeError", "BufferError", "ChildProcessError",
    "ConnectionAbortedError", "ConnectionError", "ConnectionRefusedError", "ConnectionResetError",
    "EOFError", "EnvironmentError", "FileExistsError", "FileNotFoundError", "FloatingPointError",
    "GeneratorExit", "IOError", "ImportError", "IndentationError", "IndexError",
    "InterruptedError", "IsADirectoryError", "KeyError", "KeyboardInterrupt", "LookupError",
    "MemoryError", "ModuleNotFoundError", "NameError", "NotADirectoryError",
    "NotImplementedError", "OSError", "OverflowError", "PermissionError", "ProcessLookupError",
    "RecursionError", "ReferenceError", "RuntimeError", "StopAsyncIteration", "StopIteration",
    "SyntaxError", "SystemError", "SystemExit", "TabError", "TimeoutError", "TypeError",
    "UnboundLocalError", "UnicodeDecodeError", "UnicodeEncodeError", "UnicodeError",
    "UnicodeTranslateError", "ValueError", "ZeroDivisionError",
])
# fmt: on


class RemoteError(DeviceError):
    """The remote method raised; ``remote_class`` is one of :data:`REMOTE_CLASSES`."""

    def __init__(self, where: str, remote_class: str, message: str) -> None:
        super().__init__(f"{where}: {remote_class}: {message}")
        self.remote_class = remote_class
        self.message = message


class Target:
    """One target of a PC_RPC server; not for use by two threads.

    ``limit_bytes`` bounds the longest answer.
    """

    def __init__(
        self,
        address: str,
        name: str,
        *,
        timeout_s: float,
        limit_bytes: int = 4 * 1024 * 1024,
        stream: Stream | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not name or len(name) > _NAME_BYTES or not name.isascii() or " " in name:
            raise InputError(f"target must be an ASCII name without blanks, got {name!r:.60}")
        if not name.isprintable():
            raise InputError(f"target must be printable, got {name!r:.60}")
        self.address = address
        self.name = name
        self.targets: tuple[str, ...] = ()
        self.description = ""
        self.methods: frozenset[str] = frozenset()
        self._version = 1
        self._greeted = 0
        self._line = Connection(
            address, timeout_s=timeout_s, limit_bytes=limit_bytes, stream=stream, clock=clock
        )

    def open(self) -> None:
        """Connect and shake hands where that is not done, or the server has gone in between."""
        self._line.renew()
        if self._line.opened == self._greeted:
            return
        self._line.say(_HELLO)
        self._identify(self._answer("the greeting"))
        if self.name not in self.targets:
            self._line.drop()
            raise InputError(
                f"{self.address}: target {self.name!r} is unknown; known: {', '.join(self.targets)}"
            )
        features = f" {_V2}" if self._version == 2 else ""
        self._line.say(f"{self.name}{features}\n".encode())
        methods = self._decoded(self._answer("the choice of a target"))
        if not isinstance(methods, set) or not all(isinstance(m, str) for m in methods):
            self._wrong(f"the methods must be a set of names, got {methods!r:.80}")
        self.methods = frozenset(methods)
        self._greeted = self._line.opened

    def call(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """Call a method and return what it returns.

        Raises :class:`RemoteError` for what the method raised, :class:`DeviceTimeout` where no
        answer comes in time, and :class:`DeviceProtocol` for an answer that is none.
        """
        self.open()
        if method not in self.methods:
            raise InputError(
                f"{self.address}: target {self.name!r} has no method {method!r:.60}; "
                f"it has {', '.join(sorted(self.methods))[:_SHOWN]}"
            )
        request = {"action": "call", "name": method, "args": list(args), "kwargs": kwargs}
        return self._exchange(request, f"{self.name}.{method}()")

    def method_list(self) -> Any:
        """Return what the server tells of its methods and their documentation."""
        self.open()
        return self._exchange({"action": "get_rpc_method_list"}, "get_rpc_method_list")

    def close(self) -> None:
        """Close for good; safe to call twice."""
        self._line.close()

    def _exchange(self, request: dict[str, Any], what: str) -> Any:
        said = encode(request, self._version).encode("ascii") + b"\n"
        if self._line.waiting() or self._line.unfinished():
            self._wrong("an answer came that nobody asked for")
        self._line.say(said)
        try:
            answer = self._decoded(self._answer(what))
        except DeviceTimeout as wrong:
            raise DeviceTimeout(f"{wrong}; {what} may have been carried out") from wrong
        if not isinstance(answer, dict):
            self._wrong(f"an answer must be a dictionary, got {answer!r:.80}")
        match answer.get("status"):
            case "ok" if "ret" in answer:
                return answer["ret"]
            case "failed":
                self._raise(answer.get("exception"), what)
            case _:
                self._wrong(f"an answer must have status ok or failed, got {answer!r:.80}")

    def _raise(self, packed: Any, what: str) -> NoReturn:
        name = packed.get("class") if isinstance(packed, dict) else None
        message = packed.get("message") if isinstance(packed, dict) else None
        if name not in REMOTE_CLASSES or not isinstance(message, str | None):
            self._wrong(f"a failure must name a class of Python's, got {packed!r:.80}")
        # One line, and nothing that a terminal would obey.
        shown = "".join(c if c.isprintable() else " " for c in (message or ""))[:_SHOWN]
        raise RemoteError(f"{self.address}: {what}", str(name), shown)

    def _identify(self, line: str) -> None:
        """Read the identification, which is JSON for every version."""
        try:
            found = json.loads(line)
        except (ValueError, RecursionError):
            found = None
        targets = found.get("targets") if isinstance(found, dict) else None
        if (
            not isinstance(found, dict)
            or not isinstance(targets, list)
            or not all(isinstance(t, str) for t in targets)
        ):
            self._wrong(f"no PC_RPC server: it identifies itself by {line[:80]!r}")
        features = found.get("features", [])
        self._version = 2 if isinstance(features, list) and _V2 in features else 1
        self.targets = tuple(str(t)[:_NAME_BYTES] for t in targets)
        self.description = str(found.get("description") or "")[:_NAME_BYTES]

    def _answer(self, what: str) -> str:
        try:
            return self._line.frame().decode("ascii")
        except DeviceTimeout as wrong:
            raise DeviceTimeout(f"{wrong} (to {what})") from wrong
        except UnicodeDecodeError:
            self._wrong("an answer must be ASCII")

    def _decoded(self, line: str) -> Any:
        try:
            return decode(line, self._version)
        except PyonError as wrong:
            self._line.drop()
            raise DeviceProtocol(f"{self.address}: {wrong}") from wrong

    def _wrong(self, text: str) -> NoReturn:
        """Raise for an answer that cannot be; who is out of step must start anew."""
        self._line.drop()
        raise DeviceProtocol(f"{self.address}: {text}")
