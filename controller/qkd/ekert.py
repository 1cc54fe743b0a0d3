"""From the results of E91 to one secret key: Bell test, correction, verification, amplification.

Both sides are computed side by side, as in :mod:`controller.qkd.distillation`. Cascade has Alice
and Bob answer each other; since nothing is known of what devices do, every bit that either tells
counts as leaked, which is twice what BBM92 has to count.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from controller.qkd.bell_security import asymptotic_rate, key_length, part_entropy
from controller.qkd.cascade import reconcile
from controller.qkd.distillation import amplified
from controller.qkd.finite_key import Security
from controller.qkd.settings import Matched, SiftedRounds
from quantum.errors import InputError
from quantum.estimation.chsh import TSIRELSON, chsh, floor_of

__all__ = ["BellTest", "EkertKey", "distil_rounds", "expected_s", "tolerated_s"]

Bits = NDArray[np.uint8]

#: Standard deviations of an honest test by which it may fall short, so that it is rarely in vain.
_MARGIN = 3.0


class BellTest(msgspec.Struct, frozen=True, kw_only=True):
    """What the test rounds say of S, and what was made of it.

    ``low`` to ``high`` is an exact interval of ``confidence``; ``tolerance`` the S from which a key
    is made, fixed before the test; ``floor`` what S is at least, but for a chance of the secrecy,
    if the test reaches the tolerance: the key is as long as this allows. ``rounds`` are those of
    the four settings, the one with the minus sign last.
    """

    s: float
    low: float
    high: float
    confidence: float
    rounds: tuple[int, int, int, int]
    expected_s: float
    tolerance: float
    floor: float


@dataclass(frozen=True, eq=False)
class EkertKey:
    """Both keys (l,), the test, and what correction took; ``why`` says why there is no key."""

    alice: Bits
    bob: Bits
    why: str
    sifted_bits: int
    corrected_bits: int
    """Key bits that were worth correcting."""
    told_bits: int
    error_rate: float | None
    asymptotic_rate: float
    bell: BellTest


def expected_s(zz: float, xx: float) -> float:
    """Return S at Ekert's angles of a Bell-diagonal state with these correlators: sqrt(2)(zz + xx).

    >>> round(expected_s(1.0, 1.0) / math.sqrt(2.0), 12)
    2.0
    """
    return math.sqrt(2.0) * (zz + xx)


def tolerated_s(expected: float, pairs: int, test_share: float) -> float:
    """Return the S from which a key is made unless one is given: expected, less three deviations.

    At least 2: up to there no key can be made.
    """
    chances = [test_share / 2.0 * (1.0 - test_share)] * 2 + [test_share**2 / 4.0] * 2
    variance = max(0.0, 1.0 - (expected / 4.0) ** 2)
    deviation = math.sqrt(sum(variance / max(1.0, pairs * chance) for chance in chances))
    return max(2.0, expected - _MARGIN * deviation)


def distil_rounds(
    sifted: SiftedRounds,
    *,
    expected: float,
    expected_error_rate: float,
    tolerance: float,
    security: Security,
    shuffles: np.random.Generator,
    secret: np.random.Generator,
) -> EkertKey:
    """Make a key of sifted rounds; ``tolerance`` is the S of the test from which one is made.

    ``expected`` S and error rate are of the closed form; they decide nothing. ``shuffles`` and
    ``secret`` are as in :func:`controller.qkd.distillation.distil`.
    """
    if not 2.0 <= tolerance <= TSIRELSON:
        raise InputError(f"qkd.chsh_tolerance must be from 2 to 2 sqrt(2), got {tolerance}")
    rounds = tuple(t.passed + t.failed for t in sifted.test.tallies)
    fewest, seen = min(rounds), chsh(sifted.test)
    floor = floor_of(tolerance, fewest, security.secrecy)
    bell = BellTest(
        s=seen.observed,
        low=seen.low,
        high=seen.high,
        confidence=seen.confidence,
        rounds=(rounds[0], rounds[1], rounds[2], rounds[3]),
        expected_s=expected,
        tolerance=tolerance,
        floor=floor,
    )
    # What is too few to be worth anything is not corrected; outcomes have no say in that.
    parts = [
        part for part in sifted.matched if part_entropy(len(part.alice), floor, security) > 0.0
    ]
    told, errors = 0, None
    nothing = np.empty(0, dtype=np.uint8)

    def made(why: str, alice: Bits = nothing, bob: Bits = nothing) -> EkertKey:
        return EkertKey(
            alice,
            bob,
            why,
            sum(len(part.alice) for part in sifted.matched),
            sum(len(part.alice) for part in parts),
            told,
            errors,
            asymptotic_rate(expected, expected_error_rate),
            bell,
        )

    said = f"S = {seen.observed:.4f} ({seen.confidence:.0%}: {seen.low:.4f} to {seen.high:.4f})"
    if fewest == 0 or not any(len(part.alice) for part in sifted.matched):
        return made("a setting of the test, or every matching setting, was never drawn by both")
    if seen.observed <= 2.0:
        return made(f"{said} violates no Bell inequality: S must exceed 2")
    if seen.observed < tolerance:
        return made(f"{said} is less than the tolerance of {tolerance:.4f}")
    if not parts:
        return made(
            f"{fewest} rounds of the rarest setting prove S >= {floor:.4f} at a tolerance of "
            f"{tolerance:.4f}, and {sum(len(p.alice) for p in sifted.matched)} key bits are too "
            "few for that"
        )
    guess = _guessed_errors(seen.observed, rounds)
    alice, bob, told, corrected = _corrected(parts, guess, shuffles)
    errors = corrected / len(alice)
    length = key_length([len(part.alice) for part in parts], floor, told, security)
    if length == 0:
        return made(
            f"correcting {errors:.2%} errors tells more than {len(alice)} key bits are worth at "
            f"S >= {floor:.4f}"
        )
    keys = amplified(alice, bob, length, security, secret)
    if keys is None:
        return made("errors were left after correction")
    return made("", *keys)


def _guessed_errors(s: float, rounds: Sequence[int]) -> float:
    """Return the error rate that blocks of Cascade are cut for: rather too high than too low.

    That of a Werner state whose S lies two deviations below the one that was seen: blocks that are
    too long leave errors, those that are too short cost a little.
    """
    deviation = math.sqrt(sum(max(0.0, 1.0 - (s / 4.0) ** 2) / number for number in rounds))
    return min(0.25, max(0.0, (1.0 - (s - 2.0 * deviation) / TSIRELSON) / 2.0))


def _corrected(
    parts: list[Matched], guess: float, shuffles: np.random.Generator
) -> tuple[Bits, Bits, int, int]:
    """Return both keys after correction, the bits that were told, and the errors corrected."""
    alice, bob = [], []
    told = corrected = 0
    for part in parts:
        leader, other = (part.alice, part.bob) if part.alice_leads else (part.bob, part.alice)
        found = reconcile(leader, other, max(guess, 1.0 / len(leader)), shuffles)
        alice.append(leader if part.alice_leads else found.key)
        bob.append(found.key if part.alice_leads else leader)
        # Each parity of the one is answered by the other: differs, or does not.
        told += 2 * found.leak_bits
        corrected += found.corrected
    return np.concatenate(alice), np.concatenate(bob), told, corrected
