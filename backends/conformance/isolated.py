"""The kit in a process of its own, so that no check outlives its deadline.

A backend may hang in Python or in C, with or without the interpreter's lock, or take its process
down with it. The child sends each verdict as JSON when it is reached; the parent waits for one
deadline after another and then ends the child and all that it started.
"""

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

import msgspec

from backends.conformance.kit import THROWN, Check, checks, names
from backends.contract import Backend
from quantum.errors import InputError

__all__ = ["OPENS", "check_isolated"]

#: The check that comes before those of the kit.
OPENS = "opens"

#: Opening loads libraries, which takes as long as it takes; how long it may take at least.
_OPENING_S = 60.0
#: How long a backend that was closed may take to leave.
_LEAVING_S = 5.0


class _Opening(msgspec.Struct, frozen=True):
    """Why a backend was not opened; nothing of it where it was."""

    wrong_input: str = ""
    missing_module: str = ""
    thrown: str = ""


def check_isolated(opener: Callable[[], Backend], deadline_s: float = 60.0) -> list[Check]:
    """Open a backend in another process and run all checks there, each within ``deadline_s``.

    ``opener`` must be importable by name; opening may take a minute, or ``deadline_s`` if that is
    longer. After a check without an answer in time, or an end of the process, the rest is ``not
    checked``. Raises InputError, or ModuleNotFoundError, where the opener does.
    """
    if not 0.0 < deadline_s < float("inf"):
        raise InputError(f"deadline_s must be finite and > 0 s, got {deadline_s}")
    context = get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_serve, args=(opener, sender))
    process.start()
    try:
        sender.close()  # so that the end of the child is the end of the pipe
        return _listen(process, receiver, deadline_s)
    finally:
        _end(process)
        receiver.close()


def _listen(process: BaseProcess, receiver: Connection, deadline_s: float) -> list[Check]:
    found: list[Check] = []
    todo = [OPENS, *names()]
    while todo:
        name = todo.pop(0)
        patience_s = max(deadline_s, _OPENING_S) if name == OPENS else deadline_s
        heard = _hear(process, receiver, patience_s)
        if isinstance(heard, str):
            found.append(Check(name, "failed", heard))
            break
        if name == OPENS:
            found.append(_opened(msgspec.json.decode(heard, type=_Opening)))
            if not found[0].ok:
                break
        else:
            found.append(msgspec.json.decode(heard, type=Check))
    else:
        process.join(_LEAVING_S)
    stop = f"stopped at: {found[-1].name}"
    return [*found, *(Check(name, "not checked", stop) for name in todo)]


def _hear(process: BaseProcess, receiver: Connection, deadline_s: float) -> bytes | str:
    """Return the next message, or say why there is none."""
    if not receiver.poll(deadline_s):
        return f"no answer within {deadline_s:g} s"
    try:
        return receiver.recv_bytes()
    except EOFError:
        process.join(_LEAVING_S)
        return f"the process of the backend ended, exit code {process.exitcode}"


def _opened(opening: _Opening) -> Check:
    if opening.wrong_input:
        raise InputError(opening.wrong_input)
    if opening.missing_module:
        name = opening.missing_module
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    if opening.thrown:
        return Check(OPENS, "failed", f"raised {opening.thrown}")
    return Check(OPENS, "ok", "in a process of its own")


def _end(process: BaseProcess) -> None:
    """End the child and whatever it has started: they are one process group."""
    assert process.pid is not None
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    process.join()


def _serve(opener: Callable[[], Backend], sender: Connection) -> None:
    """Be the child: open, check, and say each result at once."""
    os.setpgrp()
    # What a backend prints must not end up between the lines of our result.
    os.dup2(2, 1)
    encode = msgspec.json.encode
    try:
        backend = opener()
    except InputError as wrong:
        sender.send_bytes(encode(_Opening(wrong_input=str(wrong))))
        return
    except ModuleNotFoundError as missing:
        sender.send_bytes(encode(_Opening(missing_module=str(missing.name))))
        return
    except THROWN as thrown:
        sender.send_bytes(encode(_Opening(thrown=f"{type(thrown).__name__}: {thrown}")))
        return
    sender.send_bytes(encode(_Opening()))
    for check in checks(backend):
        sender.send_bytes(encode(check))
