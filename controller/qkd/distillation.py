"""From the measured bits of two sides to one secret key: test, correct, verify, amplify.

Both sides are computed here side by side; what one tells the other over their authenticated
channel is counted. The channel itself is the control plane's (CURVE).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from controller.qkd.cascade import reconcile
from controller.qkd.finite_key import Security, key_length
from controller.qkd.hashing import toeplitz
from controller.qkd.sifting import Sifted

__all__ = ["Distilled", "amplified", "distil"]

Bits = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Distilled:
    """What became of a block of sifted bits; ``alice`` and ``bob`` are the keys (l,), 0 or 1.

    ``why`` says in a sentence why there is no key, empty where there is one.
    """

    alice: Bits
    bob: Bits
    why: str
    sifted_bits: int
    test_bits: int
    test_error_rate: float
    leak_bits: int
    corrected_errors: int

    @property
    def secret_bits(self) -> int:
        """Bits of the key."""
        return len(self.alice)


def distil(
    sifted: Sifted,
    tolerance: float,
    security: Security,
    shuffles: np.random.Generator,
    secret: np.random.Generator,
) -> Distilled:
    """Make a key of sifted bits.

    ``tolerance`` is the error rate (0-0.5) up to which the test passes, fixed before it was made.
    ``shuffles`` draws what both sides may know beforehand (Cascade's shuffles); ``secret`` what
    must be drawn after the measurements (hash functions), from the operating system where keys
    are to be used.
    """
    n, k = len(sifted.alice), len(sifted.alice_test)
    rate = sifted.test_error_rate
    nothing = np.empty(0, dtype=np.uint8)

    def none(why: str, leak: int = 0, corrected: int = 0) -> Distilled:
        return Distilled(nothing, nothing, why, n, k, rate, leak, corrected)

    if n == 0 or k == 0:
        return none("no pair was measured by both sides in the key's, or in the test's basis")
    if rate > tolerance:
        return none(f"the test shows {rate:.2%} errors, more than the tolerance of {tolerance:.2%}")
    found = reconcile(sifted.alice, sifted.bob, max(rate, 1.0 / n), shuffles)
    length = key_length(n, k, tolerance, found.leak_bits, security)
    if length == 0:
        why = f"{n} key bits and {k} test bits are too few at a tolerance of {tolerance:.2%}"
        return none(why, found.leak_bits, found.corrected)
    keys = amplified(sifted.alice, found.key, length, security, secret)
    if keys is None:
        return none("errors were left after correction", found.leak_bits, found.corrected)
    return Distilled(
        alice=keys[0],
        bob=keys[1],
        why="",
        sifted_bits=n,
        test_bits=k,
        test_error_rate=rate,
        leak_bits=found.leak_bits,
        corrected_errors=found.corrected,
    )


def amplified(
    alice: Bits, bob: Bits, length: int, security: Security, secret: np.random.Generator
) -> tuple[Bits, Bits] | None:
    """Verify corrected keys (n,) by a hash, and shorten both; None where they differ."""
    n = len(alice)
    check = secret.integers(0, 2, n + security.verification_bits - 1, dtype=np.uint8)
    if not np.array_equal(toeplitz(alice, check), toeplitz(bob, check)):
        return None
    hash_bits = secret.integers(0, 2, n + length - 1, dtype=np.uint8)
    return toeplitz(alice, hash_bits), toeplitz(bob, hash_bits)
