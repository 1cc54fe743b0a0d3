"""What a process is told when it joins a run: where the broker is, and its key."""

import msgspec

__all__ = ["Connection", "WorkerConfig"]


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
    """A worker: the backend that it executes on, and the rack of a laboratory."""

    backend: str
    seed: int
    rack: str | None = None
