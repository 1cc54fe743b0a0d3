"""The instruments of a rack as one measuring station: every act is verified, none is decided here.

A station knows what it has set, so that asking twice costs nothing, and forgets it when an
instrument fails (:meth:`Station.doubt`): then everything is set and read back anew. Rotators move
at the same time, each driver in one thread at a time.
"""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np

from backends.drivers.capabilities import Coincidences
from backends.drivers.peaks import Peak, find_peak
from quantum.errors import Code, DeviceError, RequestError
from quantum.rack import LinkEntry, Rack
from quantum.rack_optics import OpticsEntry

__all__ = ["PLATES_DEG", "Station"]

#: Quarter-wave and half-wave angles, on both sides, that measure xx, yy and zz (Jones calculus).
PLATES_DEG = ((45.0, 22.5), (90.0, 22.5), (0.0, 0.0))

#: A read-back of a voltage or an angle that is as far from what was set was set by somebody else.
_MV, _DEG = 2.0, 0.2

_BIN_PS = 100
_SEARCH_S = 0.1

Voltages = tuple[float, float, float, float]


class Station:
    """Turns links, bases and voltages into acts of instruments.

    ``drivers`` are open ones by name. Raises :class:`DeviceError` wherever an instrument does not
    do, or does not prove, what was asked.
    """

    def __init__(self, rack: Rack, drivers: Mapping[str, Any]) -> None:
        self.rack = rack
        self.drivers = drivers
        self._pool = ThreadPoolExecutor(max_workers=4, thread_name_prefix="plates")
        self._link: int | None = None
        self._at_deg: dict[str, float] = {}
        self._ready: set[str] = set()
        self._voltages: dict[str, Voltages] = {}
        self._skew_ps: dict[str, int] = {}
        self.tripped = ""
        """Why nothing may shine any more: an interlock was seen open. Only a new start ends it."""

    def check_tripped(self) -> None:
        """Raise :class:`RequestError` REJECTED where an interlock was seen open."""
        if self.tripped:
            raise RequestError(Code.REJECTED, self.tripped)

    def entry(self, link: int) -> LinkEntry:
        """Return what the rack says of a link."""
        return self.rack.links[link]

    def optics(self, link: int) -> OpticsEntry:
        """Return the instruments that a link's light meets."""
        optics = self.rack.links[link].optics
        assert optics is not None, "a rack without optics has no station"
        return optics

    def doubt(self) -> None:
        """Trust nothing of before: an instrument may have restarted, or somebody else used it."""
        self._link = None
        self._at_deg.clear()
        self._ready.clear()
        self._skew_ps.clear()

    def prepare(self, link: int) -> None:
        """Bring every instrument that a link needs into its working state, once."""
        optics = self.optics(link)
        tagger = self.entry(link).instrument
        if optics.shutter is not None:
            self._open_shutter(optics.shutter)
        if optics.laser is not None and f"{optics.laser} laser" not in self._ready:
            laser = self.drivers[optics.laser]
            laser.set_output(True)
            if optics.laser_dbm is not None:
                laser.set_power_dbm(optics.laser_dbm)
            # One instrument may be both shutter and laser.
            self._ready.add(f"{optics.laser} laser")
        if (
            optics.bias is not None
            and optics.bias_ua is not None
            and optics.bias not in self._ready
        ):
            self._bias(optics)
        fresh = [name for name in optics.plates if name not in self._ready]
        self._at_once([partial(self._home, name) for name in fresh])
        self._ready.update(fresh)
        if tagger not in self._ready:
            driver = self.drivers[tagger]
            driver.configure(self.rack.instruments[tagger].integration_s)
            # The plates choose what is measured; the tagger's own outputs drive nothing here.
            driver.set_basis("zz")
            self._skew_ps.pop(tagger, None)
            self._ready.add(tagger)

    def look(self, link: int, basis: int, skew_ps: int) -> None:
        """Lead a link to the analysers, and set them to a basis."""
        self.prepare(link)
        self._connect(link)
        self._turn(link, basis)
        tagger = self.entry(link).instrument
        if self._skew_ps.get(tagger) != skew_ps:
            driver = self.drivers[tagger]
            if hasattr(driver, "set_skew_ps"):
                driver.set_skew_ps(skew_ps)
            elif skew_ps != 0:
                raise DeviceError(f"{tagger}: its driver cannot move the coincidence window")
            self._skew_ps[tagger] = skew_ps

    def count(self, link: int) -> Coincidences:
        """Count one window of the present link and basis."""
        tagger = self.entry(link).instrument
        seen: Coincidences = self.drivers[tagger].coincidences(
            self.rack.instruments[tagger].integration_s
        )
        return seen

    def squeeze(self, link: int, voltages_mv: Voltages) -> None:
        """Set the link's polarisation controller; the driver reads it back."""
        name = self.optics(link).polarisation
        if name is None:
            raise DeviceError(f"link {link} has no polarisation controller")
        self._voltages.pop(name, None)
        a, b, c, d = (float(round(v)) for v in voltages_mv)
        self.drivers[name].set_voltages_mv((a, b, c, d))
        self._voltages[name] = (a, b, c, d)

    def voltages_mv(self, link: int) -> Voltages:
        """Return what the controller of a link was set to, or what it stands at."""
        name = self.optics(link).polarisation
        if name is None:
            return (0.0, 0.0, 0.0, 0.0)
        if name not in self._voltages:
            self._voltages[name] = self.drivers[name].voltages_mv()
        return self._voltages[name]

    def mended(self, link: int) -> list[str]:
        """Read back what a link's instruments were set to, set it anew where it differs, name it.

        An instrument that restarted shows here: its settings are those of power-on.
        """
        optics, found = self.optics(link), []
        name = optics.polarisation
        if name is not None:
            driver = self.drivers[name]
            scrambles = getattr(driver, "is_scrambling", None)
            if scrambles is not None and scrambles():
                found.append(f"{name} was scrambling")
                driver.end_scrambling()
            meant = self._voltages.get(name)
            seen = driver.voltages_mv()
            if (
                meant is not None
                and max(abs(a - b) for a, b in zip(meant, seen, strict=True)) > _MV
            ):
                found.append(f"{name} was at {[round(v) for v in seen]} mV")
                self.squeeze(link, meant)
        if optics.bias is not None and optics.bias_ua is not None:
            found += self._mended_bias(optics)
        found += self._mended_plates(optics)
        self._link = None
        return found

    def interlock_open(self, link: int) -> bool:
        """Return whether an interlock keeps the light off, or has done so since the start."""
        name = self.optics(link).shutter
        if name is not None and not self.drivers[name].interlock_closed():
            self.tripped = f"the interlock of {name} was open: a person has to look, and start anew"
        return bool(self.tripped)

    def find_peak(self, link: int, reach_ps: int, around_ps: int) -> Peak | None:
        """Look for the coincidence peak of the present link in a histogram; None where none is.

        Alice + against both of Bob's detectors, so that no state hides it.
        """
        tagger = self.entry(link).instrument
        driver = self.drivers[tagger]
        if not hasattr(driver, "histogram"):
            raise DeviceError(f"{tagger}: its driver has no histogram to find a peak in")
        bins = 2 * reach_ps // _BIN_PS
        begin = around_ps - reach_ps
        total = np.zeros(bins, dtype=np.int64)
        for early in (3, 4):
            total += driver.histogram(
                1, early, begin_ps=begin, bin_ps=_BIN_PS, bins=bins, seconds=_SEARCH_S
            ).counts
        return find_peak(total, begin, _BIN_PS)

    def recover(self, link: int) -> list[int]:
        """Bring latched detectors of a link back, and return which they were (driver's numbers)."""
        optics = self.optics(link)
        if optics.bias is None:
            return []
        driver = self.drivers[optics.bias]
        latched = [n for n in driver.latched() if n in optics.channels]
        for number in latched:
            driver.recover(number)
        return latched

    def safe(self) -> None:
        """Leave every instrument safe, the light first; all are tried before a failure is told."""
        self.doubt()
        first = {o.shutter for o in (link.optics for link in self.rack.links) if o is not None}
        trouble: DeviceError | None = None
        for name in sorted(self.drivers, key=lambda name: (name not in first, name)):
            try:
                self.drivers[name].safe_state()
            except DeviceError as wrong:
                trouble = trouble or wrong
        if trouble is not None:
            raise trouble

    def close(self) -> None:
        """Release threads and drivers; safe to call twice."""
        self._pool.shutdown(wait=True)
        for driver in self.drivers.values():
            driver.close()

    def _open_shutter(self, name: str) -> None:
        if name in self._ready:
            return
        if not self.drivers[name].interlock_closed():
            self.tripped = f"the interlock of {name} is open: a person has to look, and start anew"
        self.check_tripped()
        self.drivers[name].set_open(True)
        self._ready.add(name)

    def _bias(self, optics: OpticsEntry) -> None:
        assert optics.bias is not None
        assert optics.bias_ua is not None
        wanted = list(self._biases(optics))
        for channel in optics.channels:
            wanted[channel - 1] = optics.bias_ua
        self.drivers[optics.bias].set_bias_ua(tuple(wanted))
        self._ready.add(optics.bias)

    def _biases(self, optics: OpticsEntry) -> tuple[float, ...]:
        """Read the bias of all channels; there must be as many as the link's channels need."""
        assert optics.bias is not None
        seen = tuple(float(value) for value in self.drivers[optics.bias].bias_ua())
        for channel in optics.channels:
            if channel > len(seen):
                raise DeviceError(
                    f"{optics.bias} has {len(seen)} channels, link.optics.channels names {channel}"
                )
        return seen

    def _mended_bias(self, optics: OpticsEntry) -> list[str]:
        assert optics.bias is not None
        assert optics.bias_ua is not None
        seen = self._biases(optics)
        wrong = [c for c in optics.channels if abs(seen[c - 1] - optics.bias_ua) > 0.1]
        if not wrong:
            return []
        self._bias(optics)
        return [f"{optics.bias} had lost the bias of {wrong}"]

    def _mended_plates(self, optics: OpticsEntry) -> list[str]:
        found = []
        for name in optics.plates:
            meant = self._at_deg.get(name)
            if meant is None:
                continue
            try:
                seen = self.drivers[name].position_deg()
            except DeviceError as wrong:
                found.append(str(wrong))
            else:
                if abs(seen - meant) <= _DEG:
                    continue
                found.append(f"{name} stood at {seen:.2f} deg")
            # An axis that lost its zero is homed before it moves again.
            self._ready.discard(name)
            del self._at_deg[name]
        return found

    def _home(self, name: str) -> None:
        """Home an axis that has no zero; one that has is left alone."""
        driver = self.drivers[name]
        try:
            driver.position_deg()
        except DeviceError:
            driver.home()

    def _connect(self, link: int) -> None:
        if self._link == link:
            return
        optics = self.optics(link)
        self._link = None
        if optics.switch is not None:
            assert optics.inputs is not None
            assert optics.outputs is not None
            switch = self.drivers[optics.switch]
            switch.connect(dict(zip(optics.inputs, optics.outputs, strict=True)))
            if optics.power_dbm is not None:
                for port, power in zip(
                    optics.outputs, switch.powers_dbm(optics.outputs), strict=True
                ):
                    if not power >= optics.power_dbm:
                        raise DeviceError(
                            f"{optics.switch}: connected, but output {port} shows {power:.1f} dBm, "
                            f"at least {optics.power_dbm:g} is expected"
                        )
        self._link = link

    def _turn(self, link: int, basis: int) -> None:
        optics = self.optics(link)
        wanted = dict(zip(optics.plates, _targets(optics, basis), strict=True))
        moving = {name: deg for name, deg in wanted.items() if self._at_deg.get(name) != deg}
        for name in moving:
            self._at_deg.pop(name, None)
        self._at_once([partial(self.drivers[name].move_deg, deg) for name, deg in moving.items()])
        self._at_deg.update(moving)

    def _at_once(self, acts: list[Callable[[], None]]) -> None:
        """Do several acts, each on a driver of its own; all end before a failure is told."""
        futures = [self._pool.submit(act) for act in acts]
        for future in futures:
            future.exception()
        for future in futures:
            future.result()


def _targets(optics: OpticsEntry, basis: int) -> list[float]:
    quarter, half = PLATES_DEG[basis]
    return [
        (angle + zero) % 360.0
        for angle, zero in zip((quarter, half) * 2, optics.zero_deg, strict=True)
    ]
