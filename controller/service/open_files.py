"""Room for connections: each one is an open file, and a process may have so many of them."""

import os
import resource
from contextlib import suppress

__all__ = ["make_room"]

#: Handshakes, questions for metrics, and files that are opened for a moment.
_SPARE = 256


def make_room(clients: int) -> str:
    """Raise the soft limit of open files for so many clients, as far as the hard one allows.

    Returns a line that says how many fit, where they are fewer; else nothing.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = _open_now()
    wanted = used + clients + _SPARE
    if _enough(soft, wanted):
        return ""
    reach = wanted if _enough(hard, wanted) else hard
    # Some systems refuse what their hard limit seems to allow; what is there then counts.
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (reach, hard))
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if _enough(soft, wanted):
        return ""
    fit = max(0, soft - used - _SPARE)
    return (
        f"{fit} of {clients} clients (terms.sessions) fit: this process may open {soft} files; "
        f"{wanted} would be enough (ulimit -n)"
    )


def _enough(limit: int, wanted: int) -> bool:
    return limit == resource.RLIM_INFINITY or limit >= wanted


def _open_now() -> int:
    for folder in ("/proc/self/fd", "/dev/fd"):
        with suppress(OSError):
            return len(os.listdir(folder))
    return 0
