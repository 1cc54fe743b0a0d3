"""Fidelity corrected for the readout errors of the final test, with their own uncertainty.

A bit is read wrong with chance e0 where it is 0 and e1 where it is 1. The operator that is measured
is then v P + d 1 instead of P, with v = 1 - e0 - e1 and d = e1 - e0, and a parity test passes with

    p = (1 + v_left v_right c + s d_left d_right) / 2

where c is the correlator and s is +1 in xx and zz, -1 in yy. With e0 = e1 (d = 0) this is exact
for every state. With e0 != e1 it is exact where each single bit is unpolarised (<P> = 0 on both
sides: every Bell-diagonal state); otherwise terms of first order in d times <P> are missing.

What is known of e0 and e1 enters as an exact value or as a calibration tally. The error budget is
split between the test and all calibrations, and the interval is the worst case over all of them, so
it holds with the full confidence.

The pooled passes tell the fidelity where bases were drawn at random. Where they were not, each
basis is corrected by itself, see :mod:`quantum.estimation.uneven`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from quantum.bell import BASES
from quantum.counts import Counts, Tally
from quantum.errors import InputError
from quantum.estimate import Estimate
from quantum.estimation.binomial import Interval, chance, chance_bounds, check_confidence
from quantum.estimation.tomography import table_of
from quantum.estimation.uneven import Bases, fidelity_of, in_box

__all__ = ["CALIBRATION_SHARE", "Bit", "Corrected", "Flip", "Readout", "correct"]

#: A flip probability: an exact value, or reads of a known preparation (passed: read right).
Flip = float | Tally

Scales = tuple[float, float, float]

#: The part of the error budget that all calibrations share; the test has the rest, because the
#: fewer tests decide the width.
CALIBRATION_SHARE = 0.2


class Bit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Readout of one bit: the chance that 0 is read as 1 and, where it differs, that 1 is as 0.

    Without ``one_to_zero`` both directions flip alike.
    """

    zero_to_one: Flip = 0.0
    one_to_zero: Flip | None = None


class Readout(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Readout of the two bits of a test."""

    left: Bit = Bit()
    right: Bit = Bit()


class Corrected(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The fidelity as measured and the one corrected for readout errors, same confidence."""

    raw: Estimate
    corrected: Estimate


@dataclass(frozen=True)
class _Channel:
    """What readout does to a bit or a parity: ``scale`` v shrinks it, ``offset`` d shifts it."""

    scale: Interval
    offset: Interval


@dataclass(frozen=True)
class _Model:
    """6 p = 3 + sum of v c + shift: possible (v_xx, v_yy, v_zz), their best ones, and the shift."""

    scales: Sequence[Scales]
    scale: Scales
    shift: Interval


def correct(
    counts: Counts,
    readout: Readout | Mapping[str, Readout],
    *,
    confidence: float = 0.95,
    bases: Bases | None = None,
) -> Corrected:
    """Correct the fidelity of parity tests for the errors of their readout.

    How ``bases`` were drawn is judged as in :func:`quantum.estimation.uneven.fidelity_of`.

    ``readout`` holds for all bases, or maps each of xx, yy and zz to its own. In that case random
    bases leave a range of fidelities, however many tests there are, because which basis failed
    counts; ``best`` is its middle, and the width grows with how much the bases differ.

    Readout errors that certainly leave no information (e0 + e1 >= 1, exactly or over the whole
    interval of a calibration) are refused; where the interval only reaches that the result is
    [0, 1].

    >>> tests = Counts(Tally(320, 13), Tally(318, 16), Tally(321, 12))
    >>> calibrated = Bit(Tally(990, 10))
    >>> got = correct(tests, Readout(calibrated, calibrated))
    >>> round(got.raw.best, 3), round(got.corrected.best, 3)
    (0.938, 0.967)
    >>> round(got.corrected.low, 3), round(got.corrected.high, 3)
    (0.925, 1.0)
    """
    raw, how = fidelity_of(counts, confidence=check_confidence(confidence), bases=bases)
    rooms = _by_basis(readout)
    flips = [
        _check(f"{name}.{field}", flip)
        for name, room in rooms
        for side, bit in (("left", room.left), ("right", room.right))
        for field, flip in _flips(side, bit)
    ]
    calibrations = sum(isinstance(flip, Tally) for flip in flips)
    share = CALIBRATION_SHARE if calibrations else 0.0
    tail = (1.0 - confidence) / 2.0
    each = tail * share / max(calibrations, 1)
    parities = [_parity(name, room, each) for name, room in rooms]
    if how == "uneven":
        low, best, high = _basis_by_basis(counts, parities, tail * (1.0 - share))
        return Corrected(raw, Estimate(low, best, high, confidence, counts.shots))
    model = _model(parities)
    passes = chance(counts.passed, counts.shots - counts.passed, tail * (1.0 - share))
    low, best, high = _fidelities(passes, model) if counts.shots else (0.0, 0.5, 1.0)
    return Corrected(raw, Estimate(low, best, high, confidence, counts.shots))


def _by_basis(readout: Readout | Mapping[str, Readout]) -> list[tuple[str, Readout]]:
    if isinstance(readout, Readout):
        return [("readout", readout)]
    if set(readout) != set(BASES):
        raise InputError(f"readout must name the bases {', '.join(BASES)}, got {sorted(readout)}")
    return [(f"readout.{basis}", readout[basis]) for basis in BASES]


def _flips(side: str, bit: Bit) -> list[tuple[str, Flip]]:
    if bit.one_to_zero is None:
        return [(side, bit.zero_to_one)]
    return [(f"{side}.zero_to_one", bit.zero_to_one), (f"{side}.one_to_zero", bit.one_to_zero)]


def _check(name: str, flip: Flip) -> Flip:
    if not isinstance(flip, Tally) and not 0.0 <= flip <= 1.0:
        raise InputError(f"{name} must be a probability between 0 and 1, got {flip}")
    return flip


def _parity(name: str, room: Readout, tail: float) -> _Channel:
    left, right = _bit(f"{name}.left", room.left, tail), _bit(f"{name}.right", room.right, tail)
    return _Channel(_times(left.scale, right.scale), _times(left.offset, right.offset))


def _bit(name: str, bit: Bit, tail: float) -> _Channel:
    zero = _known(bit.zero_to_one, tail)
    one = zero if bit.one_to_zero is None else _known(bit.one_to_zero, tail)
    if zero.low + one.low >= 1.0:
        if isinstance(bit.zero_to_one, Tally) or isinstance(bit.one_to_zero, Tally):
            raise InputError(f"{name}: its calibration says that more reads are wrong than right")
        if bit.one_to_zero is None:
            raise InputError(f"{name}: the readout error must be < 0.5, got {bit.zero_to_one}")
        raise InputError(
            f"{name}: zero_to_one + one_to_zero must be < 1, "
            f"got {bit.zero_to_one} + {bit.one_to_zero}"
        )
    low, best, high = (1.0 - a - b for a, b in zip(_down(zero), _down(one), strict=True))
    if bit.one_to_zero is None:
        return _Channel(Interval(max(0.0, low), max(0.0, best), high), Interval(0.0, 0.0, 0.0))
    offset = Interval(one.low - zero.high, one.best - zero.best, one.high - zero.low)
    return _Channel(Interval(max(0.0, low), max(0.0, best), high), offset)


def _down(known: Interval) -> tuple[float, float, float]:
    return known.high, known.best, known.low


def _known(flip: Flip, tail: float) -> Interval:
    if isinstance(flip, Tally):
        return chance(flip.failed, flip.passed, tail)
    return Interval(flip, flip, flip)


def _times(a: Interval, b: Interval) -> Interval:
    ends = [x * y for x in (a.low, a.high) for y in (b.low, b.high)]
    return Interval(min(ends), a.best * b.best, max(ends))


def _model(parities: Sequence[_Channel]) -> _Model:
    """Put the bases together; one readout for all bases has one v and is shifted once."""
    if len(parities) == 1:
        scale = parities[0].scale
        scales = [(v, v, v) for v in (scale.low, scale.high)]
        return _Model(scales, (scale.best, scale.best, scale.best), parities[0].offset)
    xx, yy, zz = parities
    shift = Interval(
        xx.offset.low - yy.offset.high + zz.offset.low,
        xx.offset.best - yy.offset.best + zz.offset.best,
        xx.offset.high - yy.offset.low + zz.offset.high,
    )
    ends = [(channel.scale.low, channel.scale.high) for channel in parities]
    corners = [(a, b, c) for a in ends[0] for b in ends[1] for c in ends[2]]
    return _Model(corners, (xx.scale.best, yy.scale.best, zz.scale.best), shift)


def _fidelities(passes: Interval, model: _Model) -> tuple[float, float, float]:
    """Return (low, best, high); the sum of the c is extreme where every v is at one of its ends."""
    best = 0.5
    if min(model.scale) > 0.0:
        best = sum(_range(6.0 * passes.best - 3.0 - model.shift.best, model.scale)) / 2.0
    if min(min(scales) for scales in model.scales) <= 0.0:
        return 0.0, best, 1.0
    low = min(_range(6.0 * passes.low - 3.0 - model.shift.high, v)[0] for v in model.scales)
    high = max(_range(6.0 * passes.high - 3.0 - model.shift.low, v)[1] for v in model.scales)
    return min(low, best), best, max(high, best)


def _range(signal: float, scales: Scales) -> tuple[float, float]:
    """Return the (least, most) fidelity with sum of v c = signal and every |c| <= 1.

    A fractional knapsack: what the signal lacks costs most fidelity where v is small.
    """
    found = []
    for order in (sorted(scales), sorted(scales, reverse=True)):
        lacking, total = max(0.0, sum(scales) - signal), 3.0
        for v in order:
            lost = min(2.0, lacking / v)
            lacking -= lost * v
            total -= lost
        found.append(min(1.0, max(0.0, (1.0 + total) / 4.0)))
    return found[0], found[1]


def _basis_by_basis(
    counts: Counts, parities: Sequence[_Channel], tail: float
) -> tuple[float, float, float]:
    """Return (low, best, high) from the exact interval of each basis: c = (2 p - 1 - s d) / v."""
    table = table_of(counts)
    tests = table.sum(axis=1)
    measured = int((tests > 0).sum())
    rooms = [*parities] * (3 // len(parities))
    ends = np.array(chance_bounds(table[:, 0], table[:, 1], tail / max(1, measured)))
    bounds, seen = np.array([[-1.0] * 3, [1.0] * 3]), np.zeros(3)
    for basis, sign in enumerate((1.0, -1.0, 1.0)):
        scale, offset = rooms[basis].scale, rooms[basis].offset
        shifts = sorted((sign * offset.low, sign * offset.high))
        if tests[basis] == 0.0:
            continue
        if scale.low > 0.0:
            low = min((2.0 * ends[0, basis] - 1.0 - shifts[1]) / v for v in (scale.low, scale.high))
            high = max(
                (2.0 * ends[1, basis] - 1.0 - shifts[0]) / v for v in (scale.low, scale.high)
            )
            bounds[:, basis] = np.clip([low, high], -1.0, 1.0)
        if scale.best > 0.0:
            observed = (table[basis, 0] - table[basis, 1]) / tests[basis]
            seen[basis] = np.clip((observed - sign * offset.best) / scale.best, -1.0, 1.0)
    corrected = tests[:, None] * np.stack([1.0 + seen, 1.0 - seen], axis=1) / 2.0
    return in_box(corrected, bounds[0], bounds[1])
