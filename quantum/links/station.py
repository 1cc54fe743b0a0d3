"""What single and double click have in common: two emitters, two arms, one heralding station."""

import math

import numpy as np
from numpy.typing import NDArray

from quantum.errors import InputError
from quantum.links.detectors import Window, alone, window
from quantum.links.fibre import Span
from quantum.links.limits import Sides, at_least, probability, sides

__all__ = ["Station", "spin_state"]

Floats = NDArray[np.float64]


class Station(Span, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Emitters at both ends, a balanced beam splitter and two detectors in between.

    Fields for sides take one number or ``[left, right]``.

    - ``collection_efficiency``: chance that a bright emitter's photon enters its fibre as wished
      (emission into the right line and mode, collection, wavelength conversion, coupling);
    - ``detector_efficiency``: of both detectors alike;
    - ``transmission``: from emission to a count, in the place of the two above and of fibre loss;
    - ``dark_count_probability``: of one detector in one window, see
      :func:`quantum.links.detectors.dark_count_probability`;
    - ``visibility``: squared overlap of the two photons' wave packets, as Hong-Ou-Mandel dips show;
    - ``number_resolving``: detectors count photons, or only see that there were some;
    - ``phase_noise_rad``: standard deviation of the optical phase between the arms, Gaussian;
    - ``dephasing_probability``: chance of a phase flip from any other cause;
    - ``cycle_s``: the least time between attempts that the nodes need.
    """

    collection_efficiency: Sides = 1.0
    detector_efficiency: float = 1.0
    transmission: Sides | None = None
    dark_count_probability: float = 0.0
    visibility: float = 1.0
    number_resolving: bool = False
    phase_noise_rad: float = 0.0
    dephasing_probability: float = 0.0
    cycle_s: float = 0.0

    def __post_init__(self) -> None:
        Span.__post_init__(self)
        probability("collection_efficiency", self.collection_efficiency)
        for field in (
            "detector_efficiency",
            "dark_count_probability",
            "visibility",
            "dephasing_probability",
        ):
            probability(field, getattr(self, field))
        at_least("phase_noise_rad", self.phase_noise_rad, 0.0)
        at_least("cycle_s", self.cycle_s, 0.0)
        if self.transmission is not None:
            probability("transmission", self.transmission)
            if sides(self.collection_efficiency) != (1.0, 1.0) or self.detector_efficiency != 1.0:
                raise InputError(
                    "link.transmission is from emission to a count: give it, or "
                    "collection_efficiency and detector_efficiency, not both"
                )
        if not self.attempt_s > 0.0:
            raise InputError("link.cycle_s must be > 0 s where length_km is 0")

    @property
    def attempt_s(self) -> float:
        """Time of an attempt: the nodes' own cycle, or the longer way to the midpoint and back."""
        return max(self.cycle_s, *self.round_trips_s)

    @property
    def transmissions(self) -> tuple[float, float]:
        """Chance that a photon, once emitted, is counted: left, right."""
        if self.transmission is not None:
            return sides(self.transmission)
        collected = sides(self.collection_efficiency)
        left, right = (
            c * f * self.detector_efficiency
            for c, f in zip(collected, self.arm_transmissions, strict=True)
        )
        return left, right

    @property
    def contrast(self) -> float:
        """What phase noise leaves of a coherence: ``(1 - 2 p) exp(-sigma^2 / 2)``."""
        return (1.0 - 2.0 * self.dephasing_probability) * math.exp(-(self.phase_noise_rad**2) / 2.0)

    @property
    def window(self) -> Window:
        """Chances that a given detector counts alone in one window."""
        heralds = alone(self.dark_count_probability, self.number_resolving)
        return window(self.transmissions, self.visibility, heralds)


def spin_state(
    neither: float, left: float, right: float, both: float, coherence: float
) -> tuple[float, Floats]:
    """Return (total weight, Pauli expectations ``(4, 4)``) of two emitters after a herald.

    The weights are those of the spin states |00>, |10>, |01>, |11> (1 is bright, left qubit first)
    and of |10><01|. The state heralded is psi_plus; an X on the right qubit makes it phi_plus. The
    psi_minus of the other click pattern has the same weights with a negative coherence: there a Z
    on the right qubit comes before the X, and the result is the same.

    >>> total, table = spin_state(0.0, 0.1, 0.1, 0.0, 0.1)
    >>> total, np.diag(table).tolist()
    (0.2, [1.0, 1.0, -1.0, 1.0])
    """
    total = neither + left + right + both
    table = np.zeros((4, 4))
    if total > 0.0:
        table[1, 1], table[2, 2] = 2.0 * coherence / total, -2.0 * coherence / total
        table[3, 3] = (left + right - neither - both) / total
        table[3, 0] = (neither + right - left - both) / total
        table[0, 3] = (right + both - neither - left) / total
    table[0, 0] = 1.0
    return total, table
