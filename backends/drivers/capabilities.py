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
    "DetectorBias",
    "Identity",
    "Instrument",
    "Light",
    "OpticalSwitch",
    "PairTester",
    "PolarisationController",
    "Rates",
    "Rotator",
    "Shutter",
    "Striking",
    "Tags",
    "TimeTagger",
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
class Striking(Protocol):
    """Can be commanded into its safe state without waiting for a word in between."""

    def strike(self) -> float:
        """Write all commands of the safe state first, whatever is answered; verify nothing.

        Returns when the last one was written, by ``time.monotonic``. The connection stays usable.
        """


@runtime_checkable
class Interruptible(Striking, Protocol):
    """Can be commanded into its safe state while another thread is inside one of its methods."""

    def interrupt(self) -> float:
        """Write all commands of the safe state, and let no other thread write after them.

        That thread's method fails soon. Returns like :meth:`strike`, which has to come next.
        """


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


class Rates(msgspec.Struct, frozen=True):
    """Counts per second of each detector in one period that lies between two moments."""

    hz: tuple[float, ...]
    period_s: float
    not_before_s: float
    not_after_s: float


class Tags(msgspec.Struct, frozen=True):
    """Time tags of one stretch of time, all of it between two moments of ``time.monotonic``."""

    ps: tuple[NDArray[np.generic], ...]
    """One row of integers for each channel: picoseconds of the tagger's own clock."""
    duration_s: float
    """How long the tagger recorded, by its own clock."""
    lost: bool
    """Whether an overflow lost tags somewhere in the stretch."""
    not_before_s: float
    not_after_s: float


@runtime_checkable
class TimeTagger(Instrument, Protocol):
    """Tags pulses of several channels with their times. Channels are numbered from 0 here."""

    channels: int

    def tags(self, duration_s: float) -> Tags:
        """Record a full stretch that begins after this call."""


@runtime_checkable
class OpticalSwitch(Instrument, Protocol):
    """Leads fibres to fibres. Ports are numbered as on its front panel."""

    def connect(self, outputs: dict[int, int]) -> None:
        """Make exactly these connections (input -> output), undo all others, and verify it."""

    def connections(self) -> dict[int, int]:
        """Read which input leads to which output."""

    def powers_dbm(self, ports: tuple[int, ...]) -> tuple[float, ...]:
        """Read the optical power at ports."""


@runtime_checkable
class DetectorBias(Instrument, Protocol):
    """Drives single-photon detectors, numbered from 1."""

    def set_bias_ua(self, bias_ua: tuple[float, ...]) -> None:
        """Set all bias currents and verify them."""

    def bias_ua(self) -> tuple[float, ...]:
        """Read all bias currents."""

    def rates(self) -> Rates:
        """Wait for a full counting period that began after this call."""

    def latched(self) -> tuple[int, ...]:
        """Read which detectors are latched: no counts while their bias voltage is high."""

    def recover(self, detector: int) -> None:
        """Bring a latched detector back: bias down, then up."""


@runtime_checkable
class Rotator(Instrument, Protocol):
    """Turns a waveplate."""

    def home(self) -> None:
        """Find the zero; needed after every power cycle."""

    def move_deg(self, angle_deg: float) -> None:
        """Turn to an angle; return when it is reached and read back."""

    def position_deg(self) -> float:
        """Read the angle."""

    def stop(self) -> None:
        """Stop at once."""


@runtime_checkable
class PolarisationController(Instrument, Protocol):
    """Turns the polarisation in a fibre by squeezing it in four places."""

    def set_voltages_mv(self, voltages_mv: tuple[float, float, float, float]) -> None:
        """Set all channels and read them back."""

    def voltages_mv(self) -> tuple[float, float, float, float]:
        """Read all channels."""


@runtime_checkable
class Light(Instrument, Protocol):
    """A laser, or an attenuator or power meter in its beam."""

    def set_output(self, on: bool) -> None:
        """Switch the light on or off, and verify it."""

    def output(self) -> bool:
        """Read whether light is on."""

    def set_power_dbm(self, power_dbm: float) -> None:
        """Set the power, within the limits that were given, and verify it."""

    def power_dbm(self) -> float:
        """Read the power that is measured, or set where nothing measures it."""


@runtime_checkable
class Shutter(Instrument, Protocol):
    """Opens and closes a beam."""

    def set_open(self, is_open: bool) -> None:
        """Open or close, and verify it; an open interlock keeps it closed."""

    def is_open(self) -> bool:
        """Read whether it is open."""

    def interlock_closed(self) -> bool:
        """Read whether the interlock allows it to open."""
