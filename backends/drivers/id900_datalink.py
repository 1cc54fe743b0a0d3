"""Asks the DataLink service of an ID900: which acquisitions there are, start, status, stop.

The service runs on the machine that wants the tags, tcp 6060, and takes text commands on a REP
socket; its answers are JSON (vendor example scripts). An answer that is not of the known form is an
error, never a guess.
"""

import shlex
from typing import TypeVar

import msgspec

from backends.drivers.zmq_scpi import Asks, Requester, parse_address
from quantum.errors import DeviceError, DeviceProtocol, InputError

__all__ = ["DataLink", "Status"]

Form = TypeVar("Form")


class _Problem(msgspec.Struct, frozen=True):
    description: str = ""


class Status(msgspec.Struct, frozen=True):
    """What the service says of an acquisition."""

    acquisitions_count: int
    timestamps_count: int
    inactivity: float = 0.0
    errors: tuple[_Problem, ...] = ()


class _Started(msgspec.Struct, frozen=True):
    id: str


class _Stopped(msgspec.Struct, frozen=True):
    status: Status


class _Refused(msgspec.Struct, frozen=True):
    error: _Problem


class DataLink:
    """The service at ``tcp://HOST:6060``. Not for use by two threads."""

    def __init__(
        self,
        address: str = "tcp://127.0.0.1:6060",
        *,
        timeout_s: float = 2.0,
        wire: Asks | None = None,
    ) -> None:
        self.address = address
        self.host = parse_address(address)[0]
        self.bracketed = f"[{self.host}]" if ":" in self.host else self.host
        self._wire = wire if wire is not None else Requester(address, timeout_s=timeout_s)

    def list(self) -> list[str]:
        """Return the names of the acquisitions that are active."""
        return self._ask("list", list[str])

    def start_stream(self, tagger: str, channel: int, port: int, *, with_index: bool) -> str:
        """Have the tags of a channel (1-4) streamed to a local port; return the acquisition."""
        command = f"start-stream --address {tagger} --channel {channel} --stream-port {port}"
        return self._ask(command + _index(with_index), _Started).id

    def start_save(
        self,
        tagger: str,
        channel: int,
        filename: str,
        *,
        form: str = "bin",
        with_index: bool = False,
    ) -> str:
        """Have the tags of a channel written to a file of the service's machine."""
        if form not in ("bin", "ascii"):
            raise InputError(f"form must be bin or ascii, got {form!r}")
        command = (
            f"start-save --address {tagger} --channel {channel} "
            f"--filename {shlex.quote(filename)} --format {form}"
        )
        return self._ask(command + _index(with_index), _Started).id

    def status(self, name: str) -> Status:
        """Return how far an acquisition is."""
        return self._ask(f"status --id {name}", Status)

    def stop(self, name: str) -> Status:
        """End an acquisition and return its last status."""
        return self._ask(f"stop --id {name}", _Stopped).status

    def close(self) -> None:
        """Release the connection; safe to call twice."""
        self._wire.close()

    def _ask(self, command: str, form: type[Form]) -> Form:
        text = self._wire.ask(command)
        try:
            return msgspec.json.decode(text, type=form)
        except (msgspec.DecodeError, UnicodeDecodeError) as wrong:
            unknown = wrong
        try:
            refused = msgspec.json.decode(text, type=_Refused)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise DeviceProtocol(f"{self.address}: {command} answered {text[:60]!r}") from unknown
        raise DeviceError(f"{self.address}: {command}: {refused.error.description[:120]}")


def _index(wanted: bool) -> str:
    return " --with-ref-index" if wanted else ""
