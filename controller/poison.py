"""What clients that lie send in the place of their changes.

Four attacks of the literature, as functions of the honest change; the liar knows the clipping norm
and what is dropped for its length.
"""

import math
from dataclasses import dataclass

import numpy as np

from controller.federation import Scheme
from quantum.errors import InputError
from quantum.ledger.state import Floats, Ints
from quantum.seeding import generator

__all__ = ["ATTACKS", "Poison"]

ATTACKS = ("sign-flip", "scale", "noise", "stealth")

_FLIP, _SCALE, _NOISE = 10.0, 100.0, 200.0


@dataclass(frozen=True)
class Poison:
    """A ``share`` of the clients, chosen by key, lies by an ``attack`` in every round.

    - ``sign-flip``: the honest change backwards, ten times as long
    - ``scale``: the honest change, a hundred times as long (Bagdasaryan et al., arXiv:1807.00459)
    - ``noise``: Gaussian numbers with a deviation of 200 (Blanchard et al., NeurIPS 2017)
    - ``stealth``: the mean of the liars' honest changes backwards, the same from each of them, as
      long as an honest change may be: nothing about one of them is out of the ordinary
    """

    share: float
    attack: str = "sign-flip"

    def check(self) -> "Poison":
        """Refuse unknown attacks and shares that are none."""
        if self.attack not in ATTACKS:
            raise InputError(f"attack must be one of {', '.join(ATTACKS)}, got {self.attack!r}")
        if not 0.0 < self.share < 0.5:
            raise InputError(f"poison must be above 0 and below 0.5, got {self.share}")
        return self

    def liars(self, clients: int, seed: int) -> Ints:
        """Return who lies: the share of the clients, rounded up to whole ones."""
        count = math.ceil(self.share * clients)
        chosen = generator(seed, "liars").permutation(clients)[:count]
        return np.sort(chosen).astype(np.int64)

    def apply(self, changes: Floats, *, seed: int, round_index: int, scheme: Scheme) -> Floats:
        """Return the changes (clients, P) that are sent, the liars' replaced."""
        sent, liars = changes.copy(), self.liars(len(changes), seed)
        honest = changes[liars]
        if self.attack == "sign-flip":
            sent[liars] = -_FLIP * honest
        elif self.attack == "scale":
            sent[liars] = _SCALE * honest
        elif self.attack == "noise":
            rng = generator(seed, "poison", round_index)
            sent[liars] = _NOISE * rng.standard_normal(honest.shape)
        else:
            back = -honest.mean(axis=0)
            sent[liars] = back * scheme.clip_norm / max(float(np.linalg.norm(back)), 1e-12)
        return sent
