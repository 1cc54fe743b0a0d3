"""What stands on the bench of a rack: sources with their fibres, the switch, the detectors.

The hidden side of a rack. A rack file holds what an experimenter believes; this holds what is so.
"""

import math
from typing import Annotated

import msgspec

from firmware_stubs.bench.detector import DetectorSetup
from quantum.bell import check_populations, werner
from quantum.errors import InputError

__all__ = ["BenchSetup", "LinkSetup"]

Share = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]
Rate = Annotated[float, msgspec.Meta(ge=0.0, le=1e9)]
Positive = Annotated[float, msgspec.Meta(gt=0.0, le=1e12)]
NotNegative = Annotated[float, msgspec.Meta(ge=0.0, le=1e12)]
Picoseconds = Annotated[float, msgspec.Meta(ge=-1e9, le=1e9)]
Walk = Annotated[float, msgspec.Meta(ge=0.0, le=10.0)]
Port = Annotated[int, msgspec.Meta(ge=0, le=511)]


class _Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class LinkSetup(_Strict, frozen=True, kw_only=True):
    """A pair source, the fibre to Alice (with its polarisation controller) and that to Bob."""

    rate_hz: Rate = 20_000.0
    """Pairs emitted per second at the nominal pump power; proportional to the power."""
    fidelity: Share = 0.95
    """To phi_plus, of a Werner state in front of the fibres; or give ``bell_diagonal``."""
    bell_diagonal: tuple[float, float, float, float] | None = None
    pulse_hz: NotNegative = 0.0
    """Repetition rate of a pulsed pump; pairs of one pulse mix. 0 is a continuous pump."""
    phase_rad: float = 0.0
    """Phase between HH and VV at time zero."""
    phase_walk_rad_per_sqrt_s: Walk = 0.0
    visibility_walk_per_sqrt_s: Walk = 0.0
    relax_s: Positive = 600.0
    """Relaxation of both walks."""
    transmission: tuple[Share, Share] = (0.5, 0.5)
    skew_ps: Picoseconds = 0.0
    """Mean arrival at Alice's detectors minus that at Bob's."""
    jitter_ps: Annotated[float, msgspec.Meta(ge=1e-3, le=1e6)] = 150.0
    """Deviation of the difference of arrival times."""
    straight: bool = False
    """Whether the fibres leave the polarisation as it is at time zero."""
    fibre_walk_rad_per_sqrt_s: Walk = 0.0
    day_share: Share = 0.0
    day_s: Positive = 86_400.0
    half_wave_mv: Positive = 1500.0
    """Voltage of a squeezer that retards by half a wave."""
    inputs: tuple[Port, Port] | None = None
    """Ports of the switch where its two fibres end; 2k and 2k+1 for link k if absent."""

    @property
    def populations(self) -> tuple[float, float, float, float]:
        """Bell populations of the source at time zero."""
        if self.bell_diagonal is not None:
            return self.bell_diagonal
        a, b, c, d = werner(self.fidelity).tolist()
        return (a, b, c, d)


class BenchSetup(_Strict, frozen=True, kw_only=True):
    """Everything on the bench. Alice's analyser and Bob's are at two outputs of the switch."""

    link: tuple[LinkSetup, ...] = (LinkSetup(),)
    detector: tuple[DetectorSetup, ...] = (DetectorSetup(),) * 4
    """Alice +, Alice -, Bob +, Bob -."""
    switched: bool = True
    """Whether there is a switch; without one the first link always leads to the analysers."""
    outputs: tuple[Port, Port] = (0, 1)
    switch_settle_s: Annotated[float, msgspec.Meta(ge=0.0, le=10.0)] = 0.0
    """Beyond that which the stub of the switch has by itself."""
    switch_loss_db: Annotated[float, msgspec.Meta(ge=0.0, le=60.0)] = 1.0
    tracer_dbm: float = -20.0
    """Power of the light that the switch's monitors see at a fibre of a pumped source."""
    pump_mw: Positive = 10.0
    """Nominal pump power."""
    clock_drift_ps_per_s: Picoseconds = 0.0
    """By how much Alice's clock gains on Bob's."""

    def check(self) -> "BenchSetup":
        """Refuse what no bench can have; one line that names the field."""
        if not 1 <= len(self.link) <= 64:
            raise InputError(f"bench.link needs 1 to 64 entries, got {len(self.link)}")
        if len(self.detector) != 4:
            raise InputError(f"bench.detector needs 4 entries, got {len(self.detector)}")
        for number, link in enumerate(self.link):
            where = f"bench.link[{number}]"
            check_populations(f"{where}.bell_diagonal", link.populations)
            if not math.isfinite(link.phase_rad):
                raise InputError(f"{where}.phase_rad must be finite, got {link.phase_rad}")
        for number, detector in enumerate(self.detector):
            if not math.isfinite(detector.trigger_mv):
                raise InputError(f"bench.detector[{number}].trigger_mv must be finite")
        if not -90.0 <= self.tracer_dbm <= 30.0:
            raise InputError(f"bench.tracer_dbm must be from -90 to 30, got {self.tracer_dbm}")
        if self.outputs[0] == self.outputs[1]:
            raise InputError(f"bench.outputs must differ, got {self.outputs[0]} twice")
        ends = [port for number in range(len(self.link)) for port in self.inputs(number)]
        if len(set(ends)) < len(ends):
            raise InputError("bench.link: two fibres end at one input of the switch")
        return self

    def inputs(self, link: int) -> tuple[int, int]:
        """Return the switch inputs of a link: Alice's fibre, Bob's fibre."""
        given = self.link[link].inputs
        return given if given is not None else (2 * link, 2 * link + 1)
