"""Who may speak to a broker, what he may say, and how much: keys, roles, gate, limits.

::

    folder of .pub files -> Keyring -> Gate (ZAP) -> Client(name, role, public) of every frame
"""

from controller.security.gate import Gate
from controller.security.keyring import Client, KeyFolder, Keyring
from controller.security.keys import KeyPair, new_keys
from controller.security.limits import Limits, RateLimit
from controller.security.sockets import bound, dialled

__all__ = [
    "Client",
    "Gate",
    "KeyFolder",
    "KeyPair",
    "Keyring",
    "Limits",
    "RateLimit",
    "bound",
    "dialled",
    "new_keys",
]
