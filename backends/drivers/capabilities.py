"""What an instrument can do, as small protocols; units are in the names, values carry their time.

A driver implements as many as its instrument offers. Everything blocks, and everything may raise
:class:`quantum.errors.DeviceError` or one of its children.
"""

from typing import Protocol, runtime_checkable

import msgspec
import numpy as np
from numpy.typing import NDArray

__all__ = [
    "BasisSwitch",
    "CoincidenceCounter",
    "Coincidences",
    "Identity",
    "Instrument",
    "PairTester",
]


class Identity(msgspec.Struct, frozen=True):
    """Who an instrument says it is."""

    maker: str
    model: str
    serial: str
    firmware: str

    @property
    def is_stub(self) -> bool:
        """Whether this is one of our stubs: their serial numbers say so."""
        return self.serial.upper().startswith("STUB")


class Coincidences(msgspec.Struct, frozen=True):
    """Counts of one full window, all of it measured between two moments of ``time.monotonic``."""

    pairs: tuple[tuple[int, int], tuple[int, int]]
    """Alice (+, -) by Bob (+, -)."""
    singles: tuple[int, int, int, int]
    """Alice +, Alice -, Bob +, Bob -."""
    integration_s: float
    not_before_s: float
    not_after_s: float

    @property
    def even(self) -> int:
        """Pairs with equal outcomes.

        >>> Coincidences(((5, 1), (2, 4)), (9, 9, 9, 9), 0.1, 0.0, 1.0).even
        9
        """
        return self.pairs[0][0] + self.pairs[1][1]

    @property
    def odd(self) -> int:
        """Pairs with different outcomes."""
        return self.pairs[0][1] + self.pairs[1][0]

    def to_array(self) -> NDArray[np.int64]:
        """Return the pairs as an array, shape (2, 2)."""
        return np.array(self.pairs, dtype=np.int64)


@runtime_checkable
class Instrument(Protocol):
    """Anything with a plug. Opened by its constructor."""

    def identify(self) -> Identity:
        """Ask the instrument who it is."""

    def ping(self) -> None:
        """Return when the instrument answers, else raise."""

    def safe_state(self) -> None:
        """Switch off whatever the driver switched on."""

    def close(self) -> None:
        """Release the connection; safe to call twice. Does not change the instrument."""


@runtime_checkable
class BasisSwitch(Protocol):
    """Chooses what the detectors of both sides measure."""

    def set_basis(self, basis: str) -> None:
        """Switch to ``xx``, ``yy`` or ``zz``; return when it has settled."""


@runtime_checkable
class CoincidenceCounter(Protocol):
    """Counts which detectors clicked together."""

    def coincidences(self, integration_s: float) -> Coincidences:
        """Wait for a full window that began after this call, and return its counts."""


@runtime_checkable
class PairTester(Instrument, BasisSwitch, CoincidenceCounter, Protocol):
    """Tests pairs in three bases: what :mod:`backends.lab` needs of an instrument."""

    def configure(self, integration_s: float) -> None:
        """Apply every setting that the driver relies on."""
