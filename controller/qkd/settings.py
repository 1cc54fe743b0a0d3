"""The settings of E91: who measures at which angle, which pairs test and which become key.

Ekert, Phys. Rev. Lett. 67, 661 (1991). Each side draws one of three angles in the ZX plane for each
pair. Where both have the same angle (two of the nine cases) the results become key. Four cases test
the inequality of Clauser, Horne, Shimony and Holt. Ekert wrote of the singlet; of phi_plus, which
our links make, results of equal angles are equal, and the sign of S is turned.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from quantum.counts import Tally
from quantum.errors import InputError
from quantum.estimation.chsh import ChshCounts

__all__ = ["ALICE_RAD", "BOB_RAD", "Matched", "Rounds", "choose_settings", "sift_rounds", "used"]

Bits = NDArray[np.uint8]
Ints = NDArray[np.int64]

#: Angles of Alice's and Bob's settings; angle t measures cos t Z + sin t X.
ALICE_RAD = (0.0, math.pi / 4.0, math.pi / 2.0)
BOB_RAD = (math.pi / 4.0, math.pi / 2.0, 3.0 * math.pi / 4.0)

#: Settings that match, (Alice, Bob). The side whose setting is part of the test leads: its results
#: are the key, and the other side corrects its own.
_BOB_LEADS, _ALICE_LEADS = (1, 0), (2, 1)
#: Settings of the test in the order of :class:`ChshCounts`; the last has the minus sign.
_TEST = ((2, 0), (2, 2), (0, 0), (0, 2))


class Rounds(NamedTuple):
    """Settings 0 to 2 and results, 0 or 1, of both sides, each (pairs,)."""

    alice_setting: Ints
    bob_setting: Ints
    alice: Bits
    bob: Bits


class Matched(NamedTuple):
    """Results (n,) of pairs of one matching setting; ``alice_leads`` says whose are the key."""

    alice: Bits
    bob: Bits
    alice_leads: bool


@dataclass(frozen=True, eq=False)
class SiftedRounds:
    """What is left: the two matching settings, and the rounds of the test."""

    matched: tuple[Matched, Matched]
    test: ChshCounts


def choose_settings(
    pairs: int, test_share: float, key_setting: int, rng: np.random.Generator
) -> Ints:
    """Draw one side's settings, (pairs,): ``key_setting`` with chance 1 - ``test_share``.

    The other two share the rest. Two thirds make all three alike, as Ekert had it. Each side draws
    for itself, before it knows of the other's choice.
    """
    if not 0.0 < test_share < 1.0:
        raise InputError(f"qkd.test_share must be between 0 and 1, got {test_share}")
    chances = np.full(3, test_share / 2.0)
    chances[key_setting] = 1.0 - test_share
    return rng.choice(3, size=pairs, p=chances)


def used(alice_setting: Ints, bob_setting: Ints) -> NDArray[np.bool_]:
    """Say of which pairs (pairs,) the results are looked at: key or test."""
    cases = (_BOB_LEADS, _ALICE_LEADS, *_TEST)
    seen = np.zeros(len(alice_setting), dtype=np.bool_)
    for a, b in cases:
        seen |= (alice_setting == a) & (bob_setting == b)
    return seen


def sift_rounds(rounds: Rounds) -> SiftedRounds:
    """Sort the rounds by settings; what is neither key nor test is thrown away.

    >>> bits = np.array([1, 0], np.uint8)
    >>> sifted = sift_rounds(Rounds(np.array([1, 2]), np.array([0, 2]), bits, bits))
    >>> sifted.matched[0].alice.tolist(), sifted.test.a0b1.passed
    ([1], 1)
    """
    if len({len(part) for part in rounds}) != 1:
        raise InputError("settings and results of both sides must be equally many")

    def of(case: tuple[int, int]) -> NDArray[np.bool_]:
        found: NDArray[np.bool_] = rounds.alice_setting == case[0]
        found &= rounds.bob_setting == case[1]
        return found

    def tally(case: tuple[int, int]) -> Tally:
        which = of(case)
        total = int(np.count_nonzero(which))
        equal = int(np.count_nonzero(rounds.alice[which] == rounds.bob[which]))
        return Tally(total - equal, equal) if case == _TEST[-1] else Tally(equal, total - equal)

    bob_leads, alice_leads = of(_BOB_LEADS), of(_ALICE_LEADS)
    return SiftedRounds(
        matched=(
            Matched(rounds.alice[bob_leads], rounds.bob[bob_leads], alice_leads=False),
            Matched(rounds.alice[alice_leads], rounds.bob[alice_leads], alice_leads=True),
        ),
        test=ChshCounts(*(tally(case) for case in _TEST)),
    )
