"""Who may speak: CURVE keys, and an allow list behind ZAP.

Every socket is encrypted; a key that is not on the list does not get through the handshake, so
its messages are never read. The secret keys of a run live in memory and in files that only the
owner can read, for as long as the run lasts.
"""

from typing import NamedTuple

import zmq
from zmq.auth.thread import ThreadAuthenticator

__all__ = ["DOMAIN", "AllowList", "Keys", "guard", "new_keys"]

#: A socket's ZAP domain has to be this very name; pyzmq's "*" does not match a named domain.
DOMAIN = "dpem"


class Keys(NamedTuple):
    """A CURVE key pair in z85."""

    public: str
    secret: str


def new_keys() -> Keys:
    """Make a key pair from the operating system's randomness."""
    public, secret = zmq.curve_keypair()
    return Keys(public.decode(), secret.decode())


def guard(socket: "zmq.Socket[bytes]", keys: Keys) -> None:
    """Let only those through that the context's :class:`AllowList` admits; call before binding."""
    socket.curve_server = True
    socket.curve_secretkey, socket.curve_publickey = keys.secret.encode(), keys.public.encode()
    socket.zap_domain = DOMAIN.encode()
    # Without this libzmq asks nobody for a key once the allow list's thread has died.
    socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)


class AllowList:
    """Admits the public keys it was given; runs its own thread until it is closed."""

    def __init__(self, context: "zmq.Context[zmq.Socket[bytes]]", allowed: set[str]) -> None:
        self._allowed = {key.encode() for key in allowed}
        self._thread = ThreadAuthenticator(context)
        self._thread.start()
        self._thread.configure_curve_callback(domain=DOMAIN, credentials_provider=self)

    def callback(self, domain: str, key: bytes) -> bool:
        """Tell whether a client's public key (z85) may connect."""
        return domain == DOMAIN and key in self._allowed

    def close(self) -> None:
        """Stop the thread."""
        self._thread.stop()
