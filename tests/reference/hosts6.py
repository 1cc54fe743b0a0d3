"""Whether this machine speaks IPv6 with itself."""

import socket

__all__ = ["by_ipv6"]


def by_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True
