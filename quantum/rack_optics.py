"""What a rack file says about light: how a link reaches the detectors, and when to calibrate.

All of it is data that is read strictly; :mod:`backends.laboratory` acts on it. Ports and channels
are numbered as on front panels.
"""

from collections.abc import Iterator
from typing import Annotated, Literal

import msgspec

from quantum.errors import InputError

__all__ = ["CalibrationEntry", "OpticsEntry", "StubsEntry"]

Name = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_.\-]{1,64}$")]
Port = Annotated[int, msgspec.Meta(ge=1, le=100_000)]
Seconds = Annotated[float, msgspec.Meta(gt=0.0, le=1e7)]
Share = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]
Degrees = Annotated[float, msgspec.Meta(ge=-360.0, le=360.0)]


class _Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class OpticsEntry(_Strict, frozen=True, kw_only=True):
    """The instruments that a link's light meets. All but ``plates`` may be left out.

    ``plates`` are four rotators: Alice's quarter-wave and half-wave plate, then Bob's; ``zero_deg``
    is the angle of each mount at which the fast axis stands at H. ``inputs`` and ``outputs`` are
    the switch ports of Alice's and Bob's fibre and of their analysers.
    """

    plates: tuple[Name, Name, Name, Name]
    zero_deg: tuple[Degrees, Degrees, Degrees, Degrees] = (0.0, 0.0, 0.0, 0.0)
    switch: Name | None = None
    inputs: tuple[Port, Port] | None = None
    outputs: tuple[Port, Port] | None = None
    power_dbm: Annotated[float, msgspec.Meta(ge=-90.0, le=30.0)] | None = None
    """Least power at the outputs that shows a connection; left out where nothing measures it."""
    polarisation: Name | None = None
    """The polarisation controller in one of the fibres."""
    half_wave_mv: Annotated[float, msgspec.Meta(gt=0.0, le=1e5)] = 1500.0
    """Voltage by which a squeezer retards half a wave, roughly (data sheet)."""
    range_mv: Annotated[float, msgspec.Meta(gt=0.0, le=1e5)] = 5000.0
    shutter: Name | None = None
    laser: Name | None = None
    """The pump; left out where it is always on."""
    laser_dbm: Annotated[float, msgspec.Meta(ge=-90.0, le=40.0)] | None = None
    bias: Name | None = None
    """The driver of the detectors."""
    channels: tuple[Port, Port, Port, Port] = (1, 2, 3, 4)
    """Its channels of Alice +, Alice -, Bob +, Bob -."""
    bias_ua: Annotated[float, msgspec.Meta(gt=0.0, le=1000.0)] | None = None
    skew_ps: Annotated[int, msgspec.Meta(ge=-1_000_000_000, le=1_000_000_000)] = 0
    """Arrival at Alice's detectors minus that at Bob's, as far as known."""

    @property
    def names(self) -> Iterator[tuple[str, str]]:
        """Every (field, instrument) that is named."""
        yield from ((f"plates[{n}]", name) for n, name in enumerate(self.plates))
        for field in ("switch", "polarisation", "shutter", "laser", "bias"):
            name = getattr(self, field)
            if name is not None:
                yield field, name

    def check(self, where: str, instruments: set[str]) -> None:
        """Raise :class:`InputError` that names the field which is wrong."""
        for field, name in self.names:
            if name not in instruments:
                raise InputError(f"{where}.{field} names {name!r}, which is no instrument")
        if len(set(self.plates)) < 4:
            raise InputError(f"{where}.plates must name four different rotators")
        if len(set(self.channels)) < 4:
            raise InputError(f"{where}.channels must be four different channels")
        if self.switch is not None:
            for field in ("inputs", "outputs"):
                pair = getattr(self, field)
                if pair is None:
                    raise InputError(f"{where}.{field} is needed with a switch: two ports")
                if pair[0] == pair[1]:
                    raise InputError(f"{where}.{field} must be two different ports")
        elif self.inputs is not None or self.outputs is not None:
            raise InputError(f"{where}.inputs and outputs are for a link with a switch")
        elif self.power_dbm is not None:
            raise InputError(f"{where}.power_dbm needs switch: it proves a connection")
        if self.bias_ua is not None and self.bias is None:
            raise InputError(f"{where}.bias_ua needs bias, the driver of the detectors")
        if self.laser_dbm is not None and self.laser is None:
            raise InputError(f"{where}.laser_dbm needs laser, the pump")


class CalibrationEntry(_Strict, frozen=True, kw_only=True):
    """When and how links are calibrated. Times are wall time.

    ``never`` measures and rewards without looking after the optics: for comparison only.
    """

    calibrate: Literal["auto", "never"] = "auto"
    every_s: Seconds = 600.0
    """A calibration older than this is renewed when nothing else is to be done."""
    max_age_s: Seconds = 30.0
    """A link whose last estimate is older gives no results until it is measured again."""
    window_s: Seconds = 20.0
    """Counts of this time make the estimate by which the link is judged."""
    alarm_below: Share = 0.9
    """A link whose fidelity is surely below this is compensated anew."""
    reached: Share = 0.92
    """Where a compensation may stop."""
    shots: Annotated[int, msgspec.Meta(ge=50, le=1_000_000)] = 600
    """Pairs per basis and point of a compensation."""
    search_ps: Annotated[int, msgspec.Meta(ge=1000, le=100_000_000)] = 50_000
    """How far to either side a lost coincidence peak is looked for."""
    attempts: Annotated[int, msgspec.Meta(ge=1, le=100)] = 3
    """A link that could not be calibrated so often in a row is down."""
    retry_s: Seconds = 10.0
    """A link that is down is tried again after this."""

    def check(self) -> None:
        """Raise :class:`InputError` that names the field which is wrong."""
        if self.reached < self.alarm_below:
            raise InputError(
                f"calibration.reached must be >= alarm_below = {self.alarm_below:g}, "
                f"got {self.reached:g}"
            )


class StubsEntry(_Strict, frozen=True, kw_only=True):
    """The firmware stubs of a rack, on one bench: used where an address is ``stub``."""

    seed: Annotated[int, msgspec.Meta(ge=0, le=2**62)] = 1
    speed: Annotated[float, msgspec.Meta(gt=0.0, le=1e6)] = 1.0
    """Seconds of bench time in a second."""
    scenario: str | None = None
    """Path of a scenario file, relative to the rack file: the bench, and what happens to it."""
