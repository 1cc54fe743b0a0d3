"""What a key may do at a broker. Pure: who holds which key is known elsewhere.

People and their programs stand on a ladder: observe, request, operate, arm; each may do what those
before it may. Agents, workers and brokers are parts of the machine, and each is only what it is.
"""

from typing import Literal

__all__ = ["LADDER", "PARTS", "ROLES", "Role", "allows"]

Role = Literal["observe", "request", "operate", "arm", "agent", "worker", "broker"]
LADDER: tuple[Role, ...] = ("observe", "request", "operate", "arm")
PARTS: tuple[Role, ...] = ("agent", "worker", "broker")
ROLES: tuple[Role, ...] = LADDER + PARTS


def allows(role: Role, needed: Role) -> bool:
    """Tell whether a key of a role may do what needs another one.

    >>> allows("arm", "request"), allows("request", "operate")
    (True, False)
    >>> allows("agent", "observe"), allows("arm", "worker")
    (False, False)
    """
    if role in LADDER and needed in LADDER:
        return LADDER.index(role) >= LADDER.index(needed)
    return role == needed
