"""How a link is calibrated or mended, step by step: each step ends where others may have a turn.

:func:`mend` is told what is wrong and looks in the order of the light: at the detectors, for the
coincidence peak, then at the polarisation. A clock that slipped is mended by finding the peak
again, and the optics are left alone.
"""

import math
from collections.abc import Callable, Generator
from dataclasses import dataclass

import msgspec

from backends.laboratory.compensation import Compensation, Voltages
from backends.laboratory.diagnosis import Trouble
from backends.laboratory.evidence import Evidence, Rates, Window
from backends.laboratory.station import Station
from quantum.errors import DeviceError
from quantum.estimate import Estimate
from quantum.rack_optics import CalibrationEntry

__all__ = ["Calibration", "Count", "mend"]

#: Counts one window of a link in a basis, at a skew.
Count = Callable[[int, int, int], Window]
Steps = Generator[None, None, tuple["Calibration", Evidence]]

#: Windows without enough coincidences after which a count is given up.
_MOST_WINDOWS = 60
#: Coincidences in the two windows first looked at that show the peak to be inside.
_SOME = 30


class Calibration(msgspec.Struct, frozen=True):
    """What a calibration found and left behind; ``mended`` says what was not as it should be.

    ``heralding`` is the share of Alice's and of Bob's clicks that come with one of the other side:
    the efficiency of the other arm (Klyshko, Sov. J. Quantum Electron. 10, 1112, 1980).
    """

    name: str
    link: str
    cause: str
    fidelity: Estimate
    skew_ps: int
    voltages_mv: Voltages
    pairs_hz: float
    singles_hz: tuple[float, float, float, float]
    heralding: tuple[float, float]
    probes: int = 0
    mended: tuple[str, ...] = ()

    @property
    def rates(self) -> Rates:
        """Rates to compare later ones with."""
        return Rates(self.pairs_hz, self.singles_hz)


@dataclass
class _Case:
    link: int
    trouble: Trouble
    skew_ps: int
    first: bool


def mend(
    station: Station,
    policy: CalibrationEntry,
    count: Count,
    *,
    link: int,
    names: tuple[str, str],
    trouble: Trouble,
    skew_ps: int,
    first: bool,
) -> Steps:
    """Calibrate a link; ``names`` are those of the calibration and of the link.

    Yields after each step; returns the :class:`Calibration` and its last counts. Raises
    :class:`DeviceError` where the link could not be mended, :class:`RequestError` REJECTED where an
    interlock is open.
    """
    case = _Case(link, trouble, skew_ps, first)
    if station.interlock_open(link):
        station.check_tripped()
    if trouble is Trouble.NO_LIGHT:
        station.doubt()
    mended = station.mended(link)
    yield
    yield from _light(station, count, case, mended)
    yield from _timing(station, policy, count, case, mended)
    evidence = yield from _measured(count, policy, case, policy.shots)
    probes = 0
    good = evidence.fidelity().best >= policy.reached
    if not good and trouble is not Trouble.TIMING and station.optics(link).polarisation is not None:
        probes = yield from _compensate(station, policy, count, case)
        evidence = yield from _measured(count, policy, case, policy.shots)
    seen = evidence.fidelity()
    if seen.best < policy.alarm_below:
        raise DeviceError(
            f"{names[1]}: a fidelity of {seen.best:.3f} is what was reached, "
            f"{policy.alarm_below:g} is needed"
        )
    rates = evidence.rates()
    assert rates is not None
    alice, bob = sum(rates.singles_hz[:2]), sum(rates.singles_hz[2:])
    found = Calibration(
        name=names[0],
        link=names[1],
        cause=str(trouble),
        fidelity=seen,
        skew_ps=case.skew_ps,
        voltages_mv=station.voltages_mv(link),
        pairs_hz=rates.pairs_hz,
        singles_hz=rates.singles_hz,
        heralding=(rates.pairs_hz / max(alice, 1e-9), rates.pairs_hz / max(bob, 1e-9)),
        probes=probes,
        mended=tuple(mended),
    )
    return found, evidence


def _light(
    station: Station, count: Count, case: _Case, mended: list[str]
) -> Generator[None, None, None]:
    """See that all four detectors count, and bring back those that latched."""
    for attempt in range(2):
        window = count(case.link, 2, case.skew_ps)
        yield
        dark = [n for n, singles in enumerate(window.singles) if singles == 0]
        if not dark:
            return
        if attempt == 0:
            latched = station.recover(case.link)
            if latched:
                mended.append(f"detectors {latched} had latched")
            station.doubt()
            yield
    names = ("Alice +", "Alice -", "Bob +", "Bob -")
    raise DeviceError(
        f"no light at {', '.join(names[n] for n in dark)}: check source, switch and detectors"
    )


def _timing(
    station: Station, policy: CalibrationEntry, count: Count, case: _Case, mended: list[str]
) -> Generator[None, None, None]:
    """See that coincidences fall into the window; else look for their peak."""
    if not case.first and case.trouble is not Trouble.TIMING:
        window = count(case.link, 2, case.skew_ps)
        yield
        if window.pairs >= _SOME:
            return
    around = case.skew_ps
    peak = station.find_peak(case.link, policy.search_ps, around)
    yield
    if peak is None:
        raise DeviceError(
            f"no coincidence peak within {policy.search_ps} ps of {around} ps: "
            "check source and clocks"
        )
    case.skew_ps = round(peak.centre_ps)
    if case.skew_ps != around:
        mended.append(f"peak at {case.skew_ps} ps instead of {around} ps")


def _measured(
    count: Count, policy: CalibrationEntry, case: _Case, shots: int
) -> Generator[None, None, Evidence]:
    """Count ``shots`` pairs in each basis."""
    evidence = Evidence(keep_s=math.inf)
    for basis in (2, 0, 1):
        yield from _counted(count, case, basis, shots, evidence)
    return evidence


def _counted(
    count: Count, case: _Case, basis: int, shots: int, evidence: Evidence
) -> Generator[None, None, Window]:
    """Count until a basis has its shots; returns the sum."""
    passed = failed = 0
    for number in range(_MOST_WINDOWS):
        window = count(case.link, basis, case.skew_ps)
        evidence.add(window)
        passed, failed = passed + window.passed, failed + window.failed
        if passed + failed >= shots:
            return Window(basis, passed, failed, window.singles, window.seconds, window.since_s)
        if number % 4 == 3:
            yield
    raise DeviceError(
        f"only {passed + failed} coincidences in {_MOST_WINDOWS} windows, {shots} are needed"
    )


def _compensate(
    station: Station, policy: CalibrationEntry, count: Count, case: _Case
) -> Generator[None, None, int]:
    """Search the voltages of the polarisation controller, and leave it at the best."""
    optics = station.optics(case.link)
    search = Compensation(
        start_mv=station.voltages_mv(case.link),
        half_wave_mv=optics.half_wave_mv,
        range_mv=optics.range_mv,
        reached=(4.0 * policy.reached - 1.0) / 3.0,
    )
    ignored = Evidence(keep_s=0.0)
    while search.probe is not None:
        probe = search.probe
        station.squeeze(case.link, probe.voltages_mv)
        seen = yield from _counted(count, case, probe.basis, policy.shots, ignored)
        search.tell((seen.passed - seen.failed) / seen.pairs)
        yield
    station.squeeze(case.link, search.best)
    return search.probes
