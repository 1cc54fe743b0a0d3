"""Sifting of BBM92: which measured pairs become key, which become the test.

Bennett, Brassard, Mermin, Phys. Rev. Lett. 68, 557 (1992), with biased bases (Lo, Chau, Ardehali,
J. Cryptology 18, 133, 2005): both sides measure in Z for the key, and with probability
``test_share`` in X for the test. Pairs that were measured in different bases are thrown away.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quantum.errors import InputError

__all__ = ["TEST", "Sifted", "choose_bases", "sift"]

Bits = NDArray[np.uint8]
Bools = NDArray[np.bool_]

#: Number of a basis: the key is measured in ZZ, the test in XX.
KEY, TEST = 0, 1


@dataclass(frozen=True, eq=False)
class Sifted:
    """What is left: key bits (n,) of both sides, test bits (k,) of both sides, all 0 or 1."""

    alice: Bits
    bob: Bits
    alice_test: Bits
    bob_test: Bits

    @property
    def test_errors(self) -> int:
        """Test bits that differ."""
        return int(np.count_nonzero(self.alice_test != self.bob_test))

    @property
    def test_error_rate(self) -> float:
        """Share of the test bits that differ; 1 where nothing was tested."""
        return self.test_errors / len(self.alice_test) if len(self.alice_test) else 1.0


def choose_bases(pairs: int, test_share: float, rng: np.random.Generator) -> Bools:
    """Draw what one side measures of each pair, (pairs,): True is X, the test.

    Each side draws for itself, before it knows of the other's choice.
    """
    return rng.random(pairs) < test_share


def sift(alice_basis: Bools, bob_basis: Bools, alice: Bits, bob: Bits) -> Sifted:
    """Keep what both sides measured in the same basis; all arguments are (pairs,).

    >>> same = np.array([False, True, False])
    >>> bits = np.array([0, 1, 1], dtype=np.uint8)
    >>> sift(same, np.array([False, True, True]), bits, bits).alice.tolist()
    [0]
    """
    sizes = {len(part) for part in (alice_basis, bob_basis, alice, bob)}
    if len(sizes) != 1:
        raise InputError("bases and bits of both sides must be equally many")
    key = ~alice_basis & ~bob_basis
    test = alice_basis & bob_basis
    return Sifted(alice[key], bob[key], alice[test], bob[test])
