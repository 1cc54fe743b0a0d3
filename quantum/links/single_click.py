"""Heralding by a single click: two emitters, one photon that might be of either.

C. Cabrillo et al., Phys. Rev. A 59, 1025 (1999); realised by P. C. Humphreys et al., Nature 558,
268 (2018); imperfections as in G. Avis et al., arXiv:2207.10579. The state is derived here to all
orders in the bright-state parameter and the efficiencies.
"""

import math

from quantum.links.heralded import Heralded
from quantum.links.limits import Sides, probability, sides
from quantum.links.station import Station, spin_state

__all__ = ["SingleClick"]


class SingleClick(
    Station,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="model",
    tag="single_click",
):
    """Emitters in sqrt(1 - alpha) |0>|no photon> + sqrt(alpha) |1>|photon>, heralded by one click.

    ``bright_state`` is alpha, one for both sides or ``[left, right]``. To first order, with equal
    sides and nothing else wrong, p = 2 alpha eta and F = 1 - alpha.
    """

    bright_state: Sides

    def __post_init__(self) -> None:
        Station.__post_init__(self)
        probability("bright_state", self.bright_state)

    def heralded(self) -> Heralded:
        """Return success probability and state, corrected to phi_plus (:func:`spin_state`).

        With a = alpha left, b = alpha right and the chances w of :class:`Window`, the weights are
        (1-a)(1-b) w_nobody, a(1-b) w_left, (1-a)b w_right, ab w_both, and the coherence
        sqrt(a(1-a)b(1-b)) w_coherence times the contrast. Either detector may click: twice the sum.
        The state is not Bell-diagonal, because two bright and two dark emitters weigh differently.
        """
        a, b = sides(self.bright_state)
        w = self.window
        total, state = spin_state(
            neither=(1.0 - a) * (1.0 - b) * w.nobody,
            left=a * (1.0 - b) * w.left,
            right=(1.0 - a) * b * w.right,
            both=a * b * w.both,
            coherence=math.sqrt(a * (1.0 - a) * b * (1.0 - b)) * w.coherence * self.contrast,
        )
        return Heralded(
            success_probability=2.0 * total,
            attempt_s=self.attempt_s,
            expectations=state,
            family="memory",
            source="single click: Cabrillo et al., PRA 59, 1025 (1999); arXiv:2207.10579",
            ages_s=self.round_trips_s,
        )
