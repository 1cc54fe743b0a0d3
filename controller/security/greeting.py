"""Hello and welcome on the broker's side: who says what he is, and what he is told. No sockets."""

from collections.abc import Sequence

from controller.security.keyring import Client
from controller.security.limits import Limits
from quantum.egp import BACKEND, BRIEF, FEATURES, VERSION, Hello, Welcome
from quantum.errors import Code, RequestError, WireError
from quantum.roles import Role, allows
from quantum.wire import check_version

__all__ = ["check_hello", "check_same", "group_of", "welcome_to"]


def check_hello(hello: Hello, client: Client, needed: Role) -> None:
    """Refuse another version, a name that is not the key's, and a role that the key does not have.

    Raises :class:`WireError` or :class:`RequestError` in one line that names what is needed.
    """
    check_version(hello.v)
    if hello.name != client.name:
        raise RequestError(
            Code.REJECTED, f"this key belongs to {client.name}, not to {hello.name!r}"
        )
    if not allows(client.role, hello.role):
        raise RequestError(
            Code.REJECTED,
            f"key {client.name} has role {client.role}; what it says needs role {hello.role}",
        )
    if not allows(hello.role, needed):
        raise WireError(f"this socket is for role {needed}, the hello is of role {hello.role}")


def check_same(hello: Hello, client: Client, backend: str) -> None:
    """Refuse a worker that says that it executes on another backend than the one that is meant."""
    for feature in hello.features:
        what, colon, name = feature.partition(":")
        if what == BACKEND and colon and name != backend:
            raise RequestError(
                Code.REJECTED,
                f"jobs are for backend {backend}, worker {client.name} executes on {name}",
            )


def group_of(hello: Hello, groups: Sequence[tuple[int, ...]], *, briefed: bool) -> int:
    """Return the group of nodes that an agent speaks for.

    One that was started by itself names a single node of it, where a run is ``briefed`` for such.
    """
    if BRIEF not in hello.features:
        if hello.nodes not in groups:
            raise WireError("these nodes are not one of the run's groups")
        return groups.index(hello.nodes)
    if not briefed:
        raise WireError("this run starts its own agents")
    for group, nodes in enumerate(groups):
        if len(hello.nodes) == 1 and hello.nodes[0] in nodes:
            return group
    last = max(map(max, groups))
    raise WireError(f"node {hello.nodes[0] if hello.nodes else ''} must be 0 to {last}")


def welcome_to(hello: Hello, limits: Limits, group: int, clock_s: float) -> Welcome:
    """Return the answer to a hello that may come in; older ones are not told what they lack."""
    if not hello.features:
        return Welcome(VERSION, group)
    return Welcome(
        VERSION,
        group,
        features=tuple(name for name in FEATURES if name in hello.features),
        credits=limits.credits,
        max_bytes=limits.max_bytes,
        rate_hz=limits.rate_hz,
        clock_s=clock_s,
        sent_s=hello.sent_s,
    )
