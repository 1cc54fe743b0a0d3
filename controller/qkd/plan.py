"""What is agreed before a key is made, and what came of it: plain values."""

import math
from typing import Literal

import msgspec

from controller.qkd.ekert import BellTest
from controller.qkd.finite_key import Security
from quantum.errors import InputError
from quantum.estimation.chsh import TSIRELSON

__all__ = ["PAIRS", "Plan", "Protocol", "Stretch", "Trust"]

Trust = Literal["end-to-end", "trusted-nodes"]
Protocol = Literal["bbm92", "e91"]

#: Pairs of a stretch unless a number is given: a Bell test takes more of them.
PAIRS: dict[Protocol, int] = {"bbm92": 100_000, "e91": 400_000}


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What is agreed before the first pair is made.

    ``pairs`` are made on every stretch, None for those of :data:`PAIRS`. ``test_share`` is the
    chance with which either side draws another setting than that of most key bits. ``tolerance`` is
    the error rate of BBM92's test up to which a key is made, ``chsh_tolerance`` the S of E91's from
    which one is made, None for what is expected and a margin. ``wait_s`` is how long both ends of a
    pair wait before they are measured. ``eavesdrop`` is the share of pairs that somebody measures
    in Z on the first link and sends on.
    """

    protocol: Protocol = "bbm92"
    pairs: int | None = None
    test_share: float = 0.3
    tolerance: float | None = None
    chsh_tolerance: float | None = None
    secrecy: float = 1e-10
    correctness: float = 1e-15
    wait_s: float = 0.0
    eavesdrop: float = 0.0
    trust: Trust = "end-to-end"
    seed: int = 0

    def check(self) -> "Plan":
        """Refuse what no agreement can be made by, naming the field."""
        if self.protocol not in PAIRS:
            raise InputError(f"qkd.protocol must be bbm92 or e91, got {self.protocol!r}")
        if self.pairs is not None and self.pairs < 1:
            raise InputError(f"qkd.pairs must be at least 1, got {self.pairs}")
        other = "chsh_tolerance" if self.protocol == "bbm92" else "tolerance"
        if getattr(self, other) is not None:
            raise InputError(f"qkd.{other} is not used by {self.protocol}")
        if not 0.0 < self.test_share < 1.0:
            raise InputError(f"qkd.test_share must be between 0 and 1, got {self.test_share}")
        if self.tolerance is not None and not 0.0 <= self.tolerance <= 0.5:
            raise InputError(f"qkd.tolerance must be from 0 to 0.5, got {self.tolerance}")
        if self.chsh_tolerance is not None and not 2.0 < self.chsh_tolerance <= TSIRELSON:
            raise InputError(
                f"qkd.chsh_tolerance must be above 2 and at most 2 sqrt(2), got "
                f"{self.chsh_tolerance}"
            )
        if not 0.0 <= self.eavesdrop <= 1.0:
            raise InputError(f"qkd.eavesdrop must be from 0 to 1, got {self.eavesdrop}")
        if not 0.0 <= self.wait_s < math.inf:
            raise InputError(f"qkd.wait_s must be >= 0 and finite, got {self.wait_s}")
        Security(self.secrecy, self.correctness).check()
        return self

    @property
    def pairs_each(self) -> int:
        """Pairs of one stretch."""
        return PAIRS[self.protocol] if self.pairs is None else self.pairs


class Stretch(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one stretch: the whole route, or a link between trusted nodes.

    Rates are dimensionless (0-1): ``qber_test`` was measured in XX, ``qber_key`` is known after
    correction, None without one; the expected ones are of the closed forms. E91 has no error test:
    ``bell`` is its test, and what belongs to BBM92's is None. ``leak_bits`` are what was told while
    errors were corrected.
    """

    nodes: tuple[str, ...]
    pairs: int
    sifted_bits: int
    test_bits: int
    qber_test: float | None
    qber_key: float | None
    expected_qber_test: float | None
    expected_qber_key: float
    tolerance: float | None
    leak_bits: int
    correction_efficiency: float | None
    secret_bits: int
    secret_bits_per_pair: float
    asymptotic_bits_per_sifted: float
    why: str
    bell: BellTest | None = None
