"""Addresses of sockets in files and options: ``tcp://HOST:PORT``, and nothing that looks alike.

libzmq reads a port up to the first character that is no digit, and so finds 74 in ``74l1``.
"""

import re

from quantum.errors import InputError

__all__ = ["by_ipv6", "check_address"]

_ADDRESS = re.compile(r"tcp://(\[[0-9A-Za-z:.%]+\]|[^\s\[\]:/;]+):(\d{1,5}|\*)\Z", re.ASCII)


def by_ipv6(address: str) -> bool:
    """Tell whether the host of an address is one of IPv6, which stands in brackets.

    >>> by_ipv6("tcp://[::1]:7411"), by_ipv6("tcp://127.0.0.1:7411")
    (True, False)
    """
    return address.startswith("tcp://[")


def check_address(address: str) -> str:
    """Return an address; :class:`InputError` where it is none.

    >>> check_address("tcp://[::1]:7411")
    'tcp://[::1]:7411'
    """
    found = _ADDRESS.match(address)
    if found is None or (found[2] != "*" and int(found[2]) > 65535):
        raise InputError(f"address {address!r}: it must be tcp://HOST:PORT, a host of IPv6 in []")
    return address
