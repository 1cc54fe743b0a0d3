"""A connection to a Ray cluster: one that runs already, or one of this machine for the moment.

Ray serialises with pickle, so a cluster has to be one's own: whoever reaches its ports and has its
token can run programs on it (https://docs.ray.io/en/latest/ray-security/index.html).
"""

import logging
import os
import re
import secrets
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import ModuleType

from quantum.errors import EngineError, InputError

__all__ = ["connected"]

#: Read by Ray when it starts: nothing is reported to anybody, and nothing is said on stderr.
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_enable_metrics_collection": "0",
}
#: Ray itself tries for minutes where nobody answers.
_REACH_S = 5.0
#: Objects are small; Ray's default takes a third of the memory.
_STORE_BYTES = 128 * 1024**2


@contextmanager
def connected(address: str | None, processes: int | None) -> Iterator[ModuleType]:
    """Connect to ``address``, or to that of RAY_ADDRESS, or else to a cluster of this machine.

    The latter has ``processes`` workers, one for each core by default, and is gone at the end.
    Raises InputError for an address where no cluster can be reached.
    """
    where = address or os.environ.get("RAY_ADDRESS") or "local"
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    if where == "local":
        # Nobody else on this machine can give it work.
        os.environ.setdefault("RAY_AUTH_MODE", "token")
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    import ray

    folder = None
    try:
        if where == "local":
            # Sockets lie in this folder, and their names must be short.
            folder = tempfile.mkdtemp(
                prefix="dpem-ray-", dir="/tmp" if os.name == "posix" else None
            )
        _connect(ray, where, processes, folder)
        yield ray
    finally:
        ray.shutdown()
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


def _connect(ray: ModuleType, where: str, processes: int | None, folder: str | None) -> None:
    _reach(where)
    options = {}
    if folder is not None:
        options = {
            "num_cpus": processes or os.cpu_count() or 1,
            "num_gpus": 0,
            "include_dashboard": False,
            "object_store_memory": _STORE_BYTES,
            "_temp_dir": folder,
        }
    try:
        ray.init(address=where, log_to_driver=False, logging_level=logging.CRITICAL, **options)
    except (ray.exceptions.RayError, OSError, RuntimeError, ValueError, ImportError) as wrong:
        # What Ray says can be a page; its first sentence has the reason.
        said = " ".join(str(wrong).split()).partition(". ")[0]
        if folder is not None:
            raise EngineError(f"Ray does not start on this machine: {said}") from wrong
        raise InputError(f"no Ray cluster can be reached at {where}: {said}") from wrong
    # Ray sets its own loggers; a lost worker is retried, and not worth a page.
    logging.getLogger("ray").setLevel(logging.CRITICAL)
    with suppress(KeyError):
        if ray.cluster_resources()["CPU"] >= 1.0:
            return
    raise InputError(f"the Ray cluster at {where} has no CPU to work on")


def _reach(where: str) -> None:
    """Raise InputError where nobody listens at ``HOST:PORT``, with or without ``ray://``."""
    named = re.fullmatch(r"(?:ray://)?\[?([^/\]]+)\]?:(\d{1,5})", where)
    if named is None:
        return
    try:
        socket.create_connection((named[1], int(named[2])), _REACH_S).close()
    except (OSError, OverflowError) as wrong:
        said = getattr(wrong, "strerror", None) or str(wrong)
        raise InputError(f"no Ray cluster can be reached at {where}: {said}") from wrong
