"""How many secret bits a finite number of measured pairs is worth.

Tomamichel, Lim, Gisin, Renner, "Tight finite-key analysis for quantum cryptography", Nature
Communications 3, 634 (2012): with n key bits, k test bits, an error tolerance Q fixed before the
test, and ``leak`` bits told while errors were corrected, a key of

    l = floor( n (1 - h(Q + mu)) - leak - log2(2 / (secrecy^2 correctness)) )
    mu = sqrt( (n + k) / (n k) * (k + 1) / k * ln(4 / secrecy) )

bits is (correctness + secrecy)-secure against coherent attacks. It holds for a source that nobody
trusts (here: pairs whoever made them) and for trusted measurements in two complementary bases.
"""

import math
from typing import NamedTuple

from quantum.errors import InputError

__all__ = ["Security", "asymptotic_rate", "binary_entropy", "deviation", "key_length"]


class Security(NamedTuple):
    """How far a key may be from a perfect one: composable, dimensionless.

    ``secrecy``: chance that somebody knows of the key; ``correctness``: chance that the two keys
    differ unnoticed.
    """

    secrecy: float = 1e-10
    correctness: float = 1e-15

    def check(self) -> "Security":
        """Refuse values that are no small probabilities."""
        for name, value in zip(self._fields, self, strict=True):
            if not 0.0 < value < 1.0:
                raise InputError(f"qkd.{name} must be between 0 and 1, got {value}")
        return self

    @property
    def verification_bits(self) -> int:
        """Bits of the hash by which both sides compare their corrected keys."""
        return math.ceil(-math.log2(self.correctness))


def binary_entropy(share: float) -> float:
    """Return h(x) in bits, 1 from one half on: more errors give nobody more key.

    >>> binary_entropy(0.5), round(binary_entropy(0.11), 4)
    (1.0, 0.4999)
    """
    if share <= 0.0:
        return 0.0
    if share >= 0.5:
        return 1.0
    return -share * math.log2(share) - (1.0 - share) * math.log2(1.0 - share)


def deviation(key_bits: int, test_bits: int, secrecy: float) -> float:
    """Return mu: by how much the key's phase errors may exceed the tolerance of the test."""
    if key_bits < 1 or test_bits < 1:
        return math.inf
    n, k = float(key_bits), float(test_bits)
    return math.sqrt((n + k) / (n * k) * (k + 1.0) / k * math.log(4.0 / secrecy))


def key_length(
    key_bits: int, test_bits: int, tolerance: float, leak_bits: int, security: Security
) -> int:
    """Return the length of the final key in bits, 0 where there is none.

    >>> key_length(100_000, 20_000, 0.02, 16_000, Security()) > 50_000
    True
    >>> key_length(100, 20, 0.02, 16, Security())
    0
    """
    security.check()
    if not 0.0 <= tolerance <= 0.5:
        raise InputError(f"qkd.tolerance must be from 0 to 0.5, got {tolerance}")
    mu = deviation(key_bits, test_bits, security.secrecy)
    secret = key_bits * (1.0 - binary_entropy(tolerance + mu)) - leak_bits
    secret -= math.log2(2.0 / (security.secrecy**2 * security.correctness))
    return max(0, math.floor(secret))


def asymptotic_rate(error_rate: float) -> float:
    """Return the secret bits per key bit of endlessly many pairs, 1 - 2 h(Q).

    Shor, Preskill, Phys. Rev. Lett. 85, 441 (2000); zero from 11 % on.
    """
    return max(0.0, 1.0 - 2.0 * binary_entropy(error_rate))
