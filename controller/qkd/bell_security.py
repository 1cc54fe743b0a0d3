"""How many secret bits pairs are worth by the Bell inequality that they violate.

Acin, Brunner, Gisin, Massar, Pironio, Scarani, "Device-independent security of quantum cryptography
against collective attacks", Phys. Rev. Lett. 98, 230501 (2007): whatever pairs and devices are, an
outcome of a setting that is part of the CHSH test has, for whoever else may know, an entropy of

    1 - chi(S),   chi(S) = h( (1 + sqrt((S/2)^2 - 1)) / 2 )   bits, 0 where S <= 2.

A finite number n of rounds that are independent and alike has at least n (1 - chi(S)) - delta(n)
bits of smooth min-entropy (Tomamichel, Colbeck, Renner, IEEE Trans. Inf. Theory 55, 5840, 2009):

    delta(n) = 4 log2(eta) sqrt(n log2(2 / smooth^2)),   eta = 2^(-Hmin/2) + 2^(Hmax/2) + 1,
    for n >= 8/5 log2(2 / smooth^2).

A classical bit has Hmin >= 0 and Hmax <= 1 for whoever else, so eta is at most 2 + sqrt(2). Two
parts of independent rounds add up, each smoothed by itself.

So the key is device-independent against **collective** attacks: devices have no memory. Against
coherent attacks it would take entropy accumulation (Arnon-Friedman et al., Nature Communications
9, 459, 2018), which is not done here.
"""

import math
from collections.abc import Sequence

from controller.qkd.finite_key import Security, binary_entropy
from quantum.errors import InputError
from quantum.estimation.chsh import TSIRELSON

__all__ = ["asymptotic_rate", "entropy_rate", "key_length", "part_entropy"]

#: Share of the secrecy that both parts of the key have for their smoothing together; the rest is
#: for privacy amplification.
_SMOOTHING = 0.5
_ETA = 2.0 + math.sqrt(2.0)


def entropy_rate(s: float) -> float:
    """Return 1 - chi(S) in bits a round: 0 up to S = 2, 1 from Tsirelson's bound on.

    >>> entropy_rate(2.0), entropy_rate(2.0 * math.sqrt(2.0)), round(entropy_rate(2.5), 4)
    (0.0, 1.0, 0.4564)
    """
    if s <= 2.0:
        return 0.0
    if s >= TSIRELSON:
        return 1.0
    return 1.0 - binary_entropy((1.0 - math.sqrt((s / 2.0) ** 2 - 1.0)) / 2.0)


def asymptotic_rate(s: float, error_rate: float) -> float:
    """Return the secret bits per key bit of endlessly many pairs, 1 - h(Q) - chi(S).

    With correction in one direction; for Werner states it ends at Q = 7.1 %.

    >>> round(asymptotic_rate(2.0 * math.sqrt(2.0) * (1 - 2 * 0.0715), 0.0715), 3)
    0.0
    """
    return max(0.0, entropy_rate(s) - binary_entropy(error_rate))


def part_entropy(rounds: int, s: float, security: Security) -> float:
    """Return the smooth min-entropy, in bits, of ``rounds`` outcomes of one setting; at least 0."""
    # Purified distance: each of two parts is smoothed by it, and counts twice in the secrecy.
    smooth = security.secrecy * _SMOOTHING / 4.0
    exponent = 1.0 + 2.0 * math.log2(1.0 / smooth)
    if rounds < 8.0 / 5.0 * exponent:
        return 0.0
    spread = 4.0 * math.log2(_ETA) * math.sqrt(rounds * exponent)
    return max(0.0, rounds * entropy_rate(s) - spread)


def key_length(parts: Sequence[int], s: float, told_bits: int, security: Security) -> int:
    """Return the length of the final key in bits, 0 where there is none.

    ``parts``: rounds of each pair of matching settings, at most two; ``s`` is what S is at least,
    but for a chance of ``security.secrecy``; ``told_bits`` are all bits that either side told the
    other while errors were corrected.

    >>> key_length([500_000], 2.65, 90_000, Security()) > 150_000
    True
    >>> key_length([500_000], 2.0, 0, Security())
    0
    """
    security.check()
    if len(parts) > 2:
        raise InputError(f"a key has at most two pairs of matching settings, got {len(parts)}")
    entropy = sum(part_entropy(rounds, s, security) for rounds in parts)
    hashing = 2.0 * math.log2(1.0 / (2.0 * (1.0 - _SMOOTHING) * security.secrecy))
    return max(0, math.floor(entropy - told_bits - security.verification_bits - hashing))
