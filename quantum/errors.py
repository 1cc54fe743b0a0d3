"""Errors, one class per thing the caller can do about it.

::

    DpemError
     |- InputError          the user's input is wrong: mend it (exit code 2)
     |   `- NoDemand            nothing can be asked: a comparison notes it and goes on
     |- RequestError        an allocation request was answered ERR, with an EGP code
     |- DeviceError         an instrument failed
     |   |- DeviceTimeout       no answer in time: reconnect
     |   |- DeviceProtocol      an answer that the protocol does not allow
     |   `- DeviceLimit         the value is outside what the instrument may do
     |- AllocatorError      an allocator failed, or broke the rules of the arena
     |- EngineError         the machines that share the work failed: run the command again
     |- WireError           bytes that are no message of ours: drop the peer's frame
     `- RecordError         a run record that does not verify

Each message is one line that names the field and what is allowed.
"""

from enum import StrEnum

__all__ = [
    "AllocatorError",
    "Code",
    "DeviceError",
    "DeviceLimit",
    "DeviceProtocol",
    "DeviceTimeout",
    "DpemError",
    "EngineError",
    "InputError",
    "NoDemand",
    "RecordError",
    "RequestError",
    "WireError",
]


class Code(StrEnum):
    """Why a request failed, in the words of the EGP (Dahlberg et al., SIGCOMM 2019).

    Names travel on the wire, never numbers: the draft and qlink-interface number them differently.
    """

    UNSUPP = "UNSUPP"
    """The backend cannot do this kind of request at all."""
    NOTIME = "NOTIME"
    """The deadline is too near."""
    NORES = "NORES"
    """No resources: memory, tokens or path."""
    TIMEOUT = "TIMEOUT"
    """The deadline passed."""
    REJECTED = "REJECTED"
    """Refused by policy: rights, limits or interlock."""
    OTHER = "OTHER"
    """A failure inside the backend."""
    EXPIRE = "EXPIRE"
    """A pair that had been promised turned out not to exist."""
    BUSY = "BUSY"
    """Too much is asked at once: try the same request again later. Not a code of the EGP."""
    CREATE = "CREATE"
    """The request itself is malformed."""


class DpemError(Exception):
    """Base of every error that DPEM raises on purpose."""

    exit_code = 1


class InputError(DpemError):
    """The user's input is wrong; the message says which field and what is allowed."""

    exit_code = 2


class NoDemand(InputError):
    """No node pair can ask for anything that the network could deliver."""


class RequestError(DpemError):
    """An allocation request was answered with an error."""

    def __init__(self, code: Code, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail


class DeviceError(DpemError):
    """An instrument failed."""

    exit_code = 2


class DeviceTimeout(DeviceError):
    """The instrument did not answer in time."""


class DeviceProtocol(DeviceError):
    """The instrument answered something that its protocol does not allow."""


class DeviceLimit(DeviceError):
    """The value is outside what the instrument may do."""


class AllocatorError(DpemError):
    """An allocator failed, delivered what nobody could, or used what it cannot have."""


class EngineError(DpemError):
    """The machines that share the work failed, again and again."""


class WireError(DpemError):
    """Bytes that are not a message of ours."""


class RecordError(DpemError):
    """A run record does not verify."""
