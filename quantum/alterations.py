"""How the network of a service is changed while it runs, and how it is looked at: messages.

An operator and a service that has the feature ``network``::

    operator -> service   Alter      steps, all of them or none: nodes join and leave, links fail
    service  -> operator  Altered    the journal has it and the network is another one, or Denied
    observer -> service   Survey     what stands, from a place in the list on
    service  -> observer  Surveyed   a stretch of the list: nodes first, then links

``Alter`` is named by 16 random bytes like any request: sent again it is answered alike and changes
nothing more. What numbers may be is checked where they are applied, so that the answer names them.
"""

from typing import Annotated

import msgspec

from quantum.message import Frame, Name, Rid

__all__ = [
    "MOST_STEPS",
    "NETWORK",
    "Alter",
    "Altered",
    "Fail",
    "Join",
    "Line",
    "NewLink",
    "Part",
    "Place",
    "Return",
    "Step",
    "Survey",
    "Surveyed",
]

#: The feature of a service whose network may change, and of a client that knows these messages.
NETWORK = "network"
#: Steps of one change, and links of a node that joins.
MOST_STEPS = MOST_NEW_LINKS = 64
Token = Annotated[bytes, msgspec.Meta(max_length=16)]


class NewLink(Frame, frozen=True, array_like=True):
    """A link of a node that joins: its other end, its fibre, and the state of a fresh pair.

    ``populations`` are those of the Bell states phi+, phi-, psi+, psi-.
    """

    to: Name
    length_km: float
    populations: tuple[float, float, float, float]


class Join(Frame, frozen=True, tag="join"):
    """A node comes into the network, with an empty memory, a full swap bucket, and its links."""

    name: Name
    generation_hz: float
    swap_hz: float
    qubits: int
    x_km: float
    y_km: float
    links: Annotated[tuple[NewLink, ...], msgspec.Meta(max_length=MOST_NEW_LINKS)] = ()


class Part(Frame, frozen=True, tag="part"):
    """A node leaves the network: its links and all pairs with it are gone."""

    name: Name


class Fail(Frame, frozen=True, tag="fail"):
    """A link fails: it makes no pairs; those in stock stay."""

    a: Name
    b: Name


class Return(Frame, frozen=True, tag="return"):
    """A link that has failed works again."""

    a: Name
    b: Name


Step = Join | Part | Fail | Return


class Alter(Frame, frozen=True, tag="alter"):
    """Change the network; needs a key with role ``operate``."""

    rid: Rid
    session: Token
    steps: Annotated[tuple[Step, ...], msgspec.Meta(min_length=1, max_length=MOST_STEPS)]


class Altered(Frame, frozen=True, tag="altered"):
    """The network was changed: for the ``change``-th time; so many nodes and links it has now.

    ``down`` links have failed; ``denied`` requests waited for nodes that left.
    """

    rid: bytes
    change: int
    nodes: int
    links: int
    down: int
    denied: int


class Survey(Frame, frozen=True, tag="survey"):
    """Ask for the list of nodes and links from entry ``first`` on; needs role ``observe``."""

    rid: Rid
    session: Token
    first: Annotated[int, msgspec.Meta(ge=0, lt=2**31)] = 0


class Place(Frame, frozen=True, array_like=True):
    """A node that is there; ``used`` of its ``qubits`` hold a pair."""

    name: str
    generation_hz: float
    swap_hz: float
    qubits: int
    x_km: float
    y_km: float
    used: int


class Line(Frame, frozen=True, array_like=True):
    """A link that is there; ``up`` unless it has failed, with so many pairs ``stored``."""

    a: str
    b: str
    length_km: float
    populations: tuple[float, float, float, float]
    up: bool
    stored: int


class Surveyed(Frame, frozen=True, tag="surveyed"):
    """A stretch of the list of ``total`` entries from ``first`` on, after ``change`` changes.

    ``planned`` tells whether the stock is planned for this network yet.
    """

    rid: bytes
    change: int
    planned: bool
    first: int
    total: int
    nodes: tuple[Place, ...] = ()
    links: tuple[Line, ...] = ()
