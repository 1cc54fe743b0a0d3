"""Watch a stream of parity tests for a change of fidelity, with a guaranteed rate of false alarms.

An *e-detector* (Shin, Ramdas and Rinaldo, New England J. Stat. Data Sci. 2, 229, 2024): if the
tests pass with chances in an interval [p_low, p_high], each given those before, then the likelihood
ratio of a test between any p below p_low and p_low has a mean of at most 1, and so has that between
any p above p_high and p_high. The Shiryaev-Roberts statistic ``R = (R' + 1) x ratio`` (Roberts,
Technometrics 8, 411, 1966) of n tests has then a mean of at most n, and so has every average of
such statistics. An alarm at ``R >= A`` therefore comes after A tests or more in the mean, while
nothing is wrong: whatever the chances are within the interval, and even where they wander in it.

Watches average over alternatives a factor apart in the odds to fail, so that a change of any size
is seen. As A grows no watch can see it in less than ``log(A) / KL`` tests, KL being the relative
entropy of a test after the change to one before (Lorden, Ann. Math. Stat. 42, 1897, 1971). Measured
mean delays over this number, for drops from F = 0.95 by 0.02, 0.05, 0.1 and 0.3 and A = 10,000:
0.34, 0.50, 0.60 and 0.79; the bound is not one for A this small. Mean run lengths without a change
are 1.5 to 2.3 A at the promised fidelity, because R overshoots A.
"""

import math
from dataclasses import dataclass, replace
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betaincinv

from quantum.errors import InputError
from quantum.kernels import kernel
from quantum.program import MOST_QUBITS

__all__ = ["Alarm", "Watch", "watch_change", "watch_drop"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Odds to fail after a change over those before. Halfway between two, 14 % of KL are lost.
_FACTORS = (math.sqrt(2.0), *(2.0**k for k in range(1, 60)))
#: A rise is sought up to these odds: beyond, no fail is expected, and the gain is one of a few %.
_RISES = 5


class Alarm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The fidelity has changed.

    ``tests`` is the number of tests after which this was seen. ``began`` is the maximum likelihood
    estimate of the number of tests before the change, with the alternative that fits best. It tends
    to be late: in the median by about 1 / KL tests.
    """

    tests: int
    began: int
    kind: Literal["drop", "rise"]


@dataclass(frozen=True, eq=False)
class Watch:
    """A watch and what it has seen so far; K alternatives. :meth:`add` returns a new value.

    ``ratios`` ``(2, K)`` are the likelihood ratios of a fail and of a pass, ``threshold`` is that
    of the mean of the K Shiryaev-Roberts statistics ``roberts``. ``cusum`` and ``starts`` find out
    when a change began (Page, Biometrika 41, 100, 1954); they have no part in the alarm.
    """

    ratios: Floats
    threshold: float
    tests: int
    roberts: Floats
    cusum: Floats
    starts: Ints
    alarm: Alarm | None = None

    def add(self, passed: ArrayLike) -> "Watch":
        """Return the watch after more tests, one or many, in their order: True where passed.

        Whatever comes after an alarm is not looked at.

        >>> watch = watch_drop(0.95, arl=1000).add([True] * 300)
        >>> watch = watch.add([True, False] * 20)
        >>> watch.alarm
        Alarm(tests=306, began=301, kind='drop')
        """
        bits = np.atleast_1d(np.asarray(passed))
        if bits.ndim != 1 or not np.all((bits == 0) | (bits == 1)):
            raise InputError("passed must be a list of booleans")
        if self.alarm is not None:
            return self
        roberts, cusum, starts = self.roberts.copy(), self.cusum.copy(), self.starts.copy()
        seen = _watch(
            bits.astype(np.int64), self.ratios, self.threshold, self.tests, roberts, cusum, starts
        )
        tests = self.tests + abs(seen)
        alarm = None
        if seen < 0:
            best = int(cusum.argmax())
            kind: Literal["drop", "rise"] = "drop" if self.ratios[0, best] > 1.0 else "rise"
            alarm = Alarm(tests=tests, began=int(starts[best]), kind=kind)
        return replace(self, tests=tests, roberts=roberts, cusum=cusum, starts=starts, alarm=alarm)

    def restart(self) -> "Watch":
        """Return the watch as it was before the first test."""
        return _new(self.ratios, self.threshold)


def watch_drop(
    promised: float, *, arl: float, fallen: float | None = None, qubits: int = 2
) -> Watch:
    """Watch for a fidelity below the promised one.

    While every test meets a pair of at least this fidelity, the mean number of tests to a false
    alarm (the average run length) is at least ``arl``. ``fallen`` is the fidelity after a drop,
    where it is known: one alternative instead of many.
    """
    if not 0.0 < promised < 1.0:
        raise InputError(f"promised must be between 0 and 1, got {promised}")
    _check(arl, qubits)
    least = _chance(promised, qubits)
    if fallen is None:
        return _new(_drops(least, qubits), arl)
    if not 0.0 <= fallen < promised:
        raise InputError(f"fallen must be >= 0 and below promised = {promised:g}, got {fallen}")
    return _new(_ratios(np.array([_chance(fallen, qubits)]), least), arl)


def watch_change(
    passed: int, failed: int, *, arl: float, risk: float = 0.05, qubits: int = 2
) -> Watch:
    """Watch for a fidelity above or below that of a reference window of these counts.

    With a chance of ``1 - risk`` the chance to pass is in the exact interval of the window (Clopper
    and Pearson, Biometrika 26, 404, 1934). The watch leaves all of this interval in peace for a
    mean of ``arl / (1 - risk)`` tests, so that the mean over windows and streams is at least
    ``arl``. A change within the interval is not seen: a longer window sees smaller changes.
    """
    _check(arl, qubits)
    if passed < 0 or failed < 0:
        raise InputError(f"counts must be >= 0, got passed={passed} failed={failed}")
    if not 0.0 < risk < 1.0:
        raise InputError(f"risk must be between 0 and 1, got {risk}")
    low = float(betaincinv(passed, failed + 1, risk / 2.0)) if passed else 0.0
    high = float(betaincinv(passed + 1, failed, 1.0 - risk / 2.0)) if failed else 1.0
    ratios = np.concatenate([_drops(low, qubits), _rises(high)], axis=1)
    if ratios.shape[1] == 0:
        raise InputError(f"a reference of {passed + failed} tests is too short to see any change")
    return _new(ratios, arl / (1.0 - risk))


def _check(arl: float, qubits: int) -> None:
    if not 1.0 <= arl < math.inf:
        raise InputError(f"arl must be >= 1 test and finite, got {arl}")
    if not 2 <= qubits <= MOST_QUBITS:
        raise InputError(f"qubits must be between 2 and {MOST_QUBITS}, got {qubits}")


def _chance(fidelity: float, qubits: int) -> float:
    """Return the chance that a random stabilizer passes; see :mod:`quantum.ghz`."""
    size = 1 << qubits
    return 0.5 + (size * fidelity - 1.0) / (2.0 * (size - 1.0))


def _drops(low: float, qubits: int) -> Floats:
    """Return the ratios ``(2, K)`` of alternatives below ``low``, down to fidelity 0."""
    floor = _chance(0.0, qubits)
    if low <= floor:
        return np.empty((2, 0))
    odds = (1.0 - low) / low * np.array(_FACTORS)
    chances = 1.0 / (1.0 + odds)
    return _ratios(np.append(chances[chances > floor], floor), low)


def _rises(high: float) -> Floats:
    """Return the ratios ``(2, K)`` of alternatives above ``high``."""
    if high >= 1.0:
        return np.empty((2, 0))
    odds = (1.0 - high) / high / np.array(_FACTORS[:_RISES])
    return _ratios(1.0 / (1.0 + odds), high)


def _ratios(changed: Floats, before: float) -> Floats:
    return np.stack([(1.0 - changed) / (1.0 - before), changed / before])


def _new(ratios: Floats, threshold: float) -> Watch:
    zeros = np.zeros(ratios.shape[1])
    return Watch(ratios, threshold, 0, zeros, zeros, zeros.astype(np.int64))


@kernel
def _watch(
    bits: Ints,
    ratios: Floats,
    threshold: float,
    tests: int,
    roberts: Floats,
    cusum: Floats,
    starts: Ints,
) -> int:
    """Read tests until an alarm; return how many were read, negative if there was one."""
    size = len(roberts)
    for i in range(len(bits)):
        total = 0.0
        for k in range(size):
            ratio = ratios[bits[i], k]
            roberts[k] = (roberts[k] + 1.0) * ratio
            total += roberts[k]
            if cusum[k] <= 0.0:
                cusum[k] = 0.0
                starts[k] = tests + i
            cusum[k] += math.log(ratio)
        if total >= threshold * size:
            return -(i + 1)
    return len(bits)
