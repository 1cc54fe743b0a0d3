"""Who may see a page and who may stop a run: pure checks of what a browser sent.

Two tokens are made when a server starts: one to observe, one to operate. Whoever operates may
also observe. Pages of other sites are kept out by the token, by ``Origin``, and by ``Host``: a name
that was pointed at this machine (DNS rebinding) is not a way in, addresses and ``localhost`` are.
"""

import hmac
import ipaddress
import secrets
from typing import NamedTuple

from quantum.roles import Role

__all__ = ["Tokens", "is_own_host", "is_own_origin", "new_tokens"]

#: What the tokens are for, in the order of :class:`Tokens`.
_ROLES: tuple[Role, ...] = ("observe", "operate")


class Tokens(NamedTuple):
    """The secrets of one server."""

    observe: str
    operate: str

    def role_of(self, token: str) -> Role | None:
        """Return what a token is for, None where it is nobody's; in constant time."""
        given = token.encode("utf-8", "replace")
        found: Role | None = None
        for role, secret in zip(_ROLES, self, strict=True):
            if hmac.compare_digest(given, secret.encode()):
                found = role
        return found


def new_tokens() -> Tokens:
    """Make tokens from the operating system's randomness, 32 bytes each."""
    return Tokens(secrets.token_urlsafe(32), secrets.token_urlsafe(32))


def is_own_host(host: str) -> bool:
    """Tell whether a ``Host`` header names an address or ``localhost``, with or without a port.

    >>> [is_own_host(h) for h in ("127.0.0.1:8080", "[::1]:80", "localhost", "evil.example")]
    [True, True, True, False]
    """
    name, colon, port = host.rpartition(":")
    if not colon or host.endswith("]"):
        name, port = host, "0"
    if not (port.isascii() and port.isdigit()):
        return False
    if name.lower() == "localhost":
        return True
    try:
        ipaddress.ip_address(name[1:-1] if name.startswith("[") and name.endswith("]") else name)
    except ValueError:
        return False
    return True


def is_own_origin(origin: str | None, host: str) -> bool:
    """Tell whether a request comes from the server's own page, or from no page at all.

    >>> is_own_origin("http://127.0.0.1:80", "127.0.0.1:80"), is_own_origin(None, "x")
    (True, True)
    >>> is_own_origin("http://evil.example", "127.0.0.1:80"), is_own_origin("null", "x")
    (False, False)
    """
    return origin is None or origin == f"http://{host}"
