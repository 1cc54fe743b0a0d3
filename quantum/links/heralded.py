"""What every model of a link comes down to: how often an attempt succeeds, and with which state."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from quantum import bell
from quantum.errors import InputError

__all__ = [
    "LEAST_ATTEMPT_S",
    "MOST_ATTEMPT_S",
    "Family",
    "Heralded",
    "check_attempt_s",
    "draw_attempts",
]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: An attempt is no shorter than a light pulse and no longer than 30,000 years.
LEAST_ATTEMPT_S, MOST_ATTEMPT_S = 1e-12, 1e12

#: ``memory``: attempt, herald, hold. ``photonic``: pairs fly by and can only be measured.
Family = Literal["memory", "photonic"]


@dataclass(frozen=True, eq=False)
class Heralded:
    """A link as its users see it.

    An attempt takes ``attempt_s`` and succeeds with ``success_probability``, independently of all
    others. The pair is then in the state with Pauli ``expectations`` ``(4, 4)``, those of a
    :class:`quantum.program.Load`, corrected so that phi_plus is the state wished for. ``source``
    says where the model comes from.

    ``ages_s`` is how old the left and the right qubit are when the herald arrives. The state is
    that of a fresh pair: memories have decayed for this long when their nodes hear of it.
    """

    success_probability: float
    attempt_s: float
    expectations: Floats
    family: Family
    source: str
    ages_s: tuple[float, float] = (0.0, 0.0)

    def __post_init__(self) -> None:
        chance = self.success_probability
        if not _is_number(chance) or not 0.0 < chance <= 1.0:
            raise InputError(f"link: success_probability must be > 0 and <= 1, got {chance!r}")
        check_attempt_s("link: attempt_s", self.attempt_s)
        _check_ages(self.ages_s)
        if self.family not in ("memory", "photonic"):
            raise InputError(f"link: family must be memory or photonic, got {self.family!r}")
        table = np.array(self.expectations, dtype=np.float64)
        bell.check_state("link: expectations", tuple(table.ravel().tolist()))
        table = table.reshape(4, 4)
        table.setflags(write=False)
        object.__setattr__(self, "expectations", table)

    @property
    def keeps(self) -> bool:
        """Whether pairs can be held; a photonic link answers UNSUPP to a keep."""
        return self.family == "memory"

    @property
    def rate_hz(self) -> float:
        """Pairs per second when attempts follow one another."""
        return self.success_probability / self.attempt_s

    @property
    def populations(self) -> Floats:
        """Bell populations ``(4,)``; all there is to the state where it is Bell-diagonal."""
        diagonal = np.diagonal(self.expectations)[1:] * np.array([1.0, -1.0, 1.0])
        return np.clip(bell.populations(diagonal), 0.0, 1.0)

    @property
    def fidelity(self) -> float:
        """Fidelity to phi_plus."""
        return float(self.populations[0])

    @property
    def is_bell_diagonal(self) -> bool:
        """Whether the populations are the whole state."""
        rest = self.expectations - np.diag(np.diagonal(self.expectations))
        return bool(np.abs(rest).max() < 1e-12)


def check_attempt_s(name: str, seconds: float) -> None:
    """Refuse the time of an attempt that no link has; sums and ratios of others stay finite."""
    if not _is_number(seconds) or not LEAST_ATTEMPT_S <= seconds <= MOST_ATTEMPT_S:
        raise InputError(
            f"{name} must be between {LEAST_ATTEMPT_S:g} and {MOST_ATTEMPT_S:g} s, got {seconds!r}"
        )


def _check_ages(ages_s: object) -> None:
    if (
        not isinstance(ages_s, tuple)
        or len(ages_s) != 2
        or not all(_is_number(age) and 0.0 <= age < np.inf for age in ages_s)
    ):
        raise InputError(
            f"link: ages_s must be (left, right), both finite and >= 0 s, got {ages_s!r}"
        )


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float, np.floating)) and not isinstance(value, bool)


def draw_attempts(
    heralded: Heralded, size: int | tuple[int, ...], rng: np.random.Generator
) -> Ints:
    """Return how many attempts each pair took, the successful one included, shape ``size``.

    Geometric draws: the cost does not depend on how rarely attempts succeed. Times are these
    numbers times ``attempt_s``.

    >>> link = Heralded(0.5, 1e-6, np.diag([1.0, 1.0, -1.0, 1.0]), "memory", "as stated")
    >>> draw_attempts(link, 4, np.random.default_rng(1)).shape
    (4,)
    """
    return rng.geometric(heralded.success_probability, size).astype(np.int64, copy=False)
