"""What a link's counts mean, and what to do about it: pure functions, no instrument in sight.

The order of questions is that of the light: is there any at each detector, does it come from the
right fibre, do clicks come together, and only then, is the polarisation right. So a clock that
slipped is never answered by turning optics, nor a closed shutter by a search.
"""

import math
from dataclasses import dataclass
from enum import StrEnum

from backends.laboratory.evidence import Evidence, Rates
from quantum.rack_optics import CalibrationEntry

__all__ = ["Health", "LinkState", "Trouble", "after_failure", "after_success", "due", "look"]


class Health(StrEnum):
    """Whether a link's results may be used."""

    UP = "UP"
    DEGRADED = "DEGRADED"
    """Something is wrong and is being seen to: no results until it is UP again."""
    DOWN = "DOWN"
    """It could not be mended; it is tried again later."""


class Trouble(StrEnum):
    """What the counts say."""

    NONE = "none"
    NO_LIGHT = "no light"
    """No detector sees light: shutter, laser or interlock."""
    DARK_ARM = "dark arm"
    """One side sees nothing: the switch, or its fibre."""
    DARK_DETECTOR = "dark detector"
    """One detector of a side sees nothing: latched, or without bias."""
    TIMING = "timing"
    """Singles are as ever, and coincidences are gone: the clocks slipped."""
    STATE = "state"
    """The fidelity is surely below the alarm: polarisation or source."""


@dataclass(frozen=True)
class LinkState:
    """What is known about a link beside its counts.

    ``reference`` are the rates at the last calibration, ``calibration`` is its name (empty before
    the first), ``reason`` says why the link is not UP.
    """

    health: Health = Health.DEGRADED
    reason: str = "not calibrated yet"
    calibration: str = ""
    calibrated_s: float = -math.inf
    reference: Rates | None = None
    failures: int = 0
    retry_s: float = -math.inf
    trouble: Trouble = Trouble.STATE


#: A rate below this share of its reference is gone.
_GONE = 0.15
#: Coincidences below this share of what singles promise mean that the windows miss the peak.
_MISSED = 0.5
#: Confidence at which a link is below the alarm. By chance this only happens to one that is close
#: to it, where a new compensation does no harm.
_SURE = 0.999
#: Time over which a jump is looked for, in shares of the estimate's window.
_RECENT = (0.1, 0.3, 1.0)


def look(evidence: Evidence, state: LinkState, policy: CalibrationEntry, now_s: float) -> Trouble:
    """Say what the latest counts of a link mean."""
    reference = state.reference
    latest = evidence.windows[-1] if evidence.windows else None
    if latest is None:
        return Trouble.NONE
    rates = evidence.rates(latest.since_s)
    if reference is not None and rates is not None:
        trouble = _light(rates, reference, latest.seconds)
        if trouble is not Trouble.NONE:
            return trouble
        expected = _expected_hz(rates, reference) * latest.seconds
        # Poisson: five deviations below half of what singles promise.
        if latest.pairs < _MISSED * expected - 5.0 * math.sqrt(_MISSED * expected):
            return Trouble.TIMING
    for share in _RECENT:
        since_s = now_s - share * policy.window_s
        if evidence.counts(since_s).shots and (
            evidence.fidelity(since_s, confidence=_SURE).high < policy.alarm_below
        ):
            return Trouble.STATE
    return Trouble.NONE


def _light(rates: Rates, reference: Rates, seconds: float) -> Trouble:
    sides = [
        sum(rates.singles_hz[2 * s : 2 * s + 2]) / max(1e-9, sum(reference.singles_hz[2 * s :][:2]))
        for s in range(2)
    ]
    if max(sides) < _GONE:
        return Trouble.NO_LIGHT
    if min(sides) < _GONE:
        return Trouble.DARK_ARM
    for seen, was in zip(rates.singles_hz, reference.singles_hz, strict=True):
        if seen * seconds < _GONE * was * seconds - 5.0 * math.sqrt(_GONE * was * seconds):
            return Trouble.DARK_DETECTOR
        if seen == 0.0 and was * seconds > 20.0:
            return Trouble.DARK_DETECTOR
    return Trouble.NONE


def _expected_hz(rates: Rates, reference: Rates) -> float:
    """Return the coincidences that singles promise: a loss of either arm lowers both alike."""
    share = 1.0
    for side in range(2):
        seen, was = (sum(r.singles_hz[2 * side : 2 * side + 2]) for r in (rates, reference))
        # A stronger source has more singles; that must not promise the square of it.
        share *= min(1.0, seen / max(1e-9, was))
    return reference.pairs_hz * share


def due(state: LinkState, policy: CalibrationEntry, now_s: float) -> bool:
    """Say whether a link should be calibrated when nothing else is to be done."""
    if policy.calibrate == "never":
        # One that is DOWN has to wait like any other, or links after it never have their turn.
        return state.calibration == "" and now_s >= state.retry_s
    if state.health is Health.UP:
        return now_s - state.calibrated_s > policy.every_s
    return now_s >= state.retry_s


def after_success(state: LinkState, name: str, rates: Rates | None, now_s: float) -> LinkState:
    """Return the state of a link that was just calibrated."""
    return LinkState(
        health=Health.UP,
        reason="",
        calibration=name,
        calibrated_s=now_s,
        reference=rates or state.reference,
        trouble=Trouble.NONE,
    )


def after_failure(
    state: LinkState, reason: str, policy: CalibrationEntry, now_s: float
) -> LinkState:
    """Return the state of a link that could not be mended: DOWN after enough attempts in a row."""
    failures = state.failures + 1
    down = failures >= policy.attempts
    return LinkState(
        health=Health.DOWN if down else Health.DEGRADED,
        reason=reason,
        calibration=state.calibration,
        calibrated_s=state.calibrated_s,
        reference=state.reference,
        failures=failures,
        retry_s=now_s + policy.retry_s if down else now_s,
        trouble=state.trouble,
    )
