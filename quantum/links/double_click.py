"""Heralding by two clicks: each emitter's photon is early or late, or of either polarisation.

S. D. Barrett and P. Kok, Phys. Rev. A 71, 060310(R) (2005); with polarisation L.-M. Duan and H. J.
Kimble, PRL 90, 253601 (2003); imperfections as in G. Avis et al., arXiv:2207.10579. The state is
derived here to all orders.
"""

import numpy as np

from quantum.links.heralded import Heralded
from quantum.links.limits import Sides, between, sides
from quantum.links.station import Station, spin_state

__all__ = ["DoubleClick"]


class DoubleClick(
    Station,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="model",
    tag="double_click",
):
    """Emitters in (|1>|early> + |0>|late>)/sqrt(2), heralded by one click early and one late.

    Four of the click patterns count: the same detector twice heralds psi_plus, one detector after
    the other psi_minus. Without dark counts p = eta_left eta_right / 2 and F = (1 + V) / 2.
    ``phase_noise_rad`` is here the change of phase from early to late. ``emission_fidelity`` is
    that of each emitter with its photon, a Werner state. With polarisation in the place of time,
    four detectors with one window each do the same.
    """

    emission_fidelity: Sides = 1.0

    def __post_init__(self) -> None:
        Station.__post_init__(self)
        between("emission_fidelity", self.emission_fidelity, 0.25, 1.0)

    def heralded(self) -> Heralded:
        """Return success probability and state, corrected to phi_plus (:func:`spin_state`).

        The two windows are independent, with the chances w of :class:`Window`: |10> and |01> weigh
        w_left w_right / 4, |00> and |11> (both photons in one window, the other click is a dark
        count) w_both w_nobody / 4, the coherence is w_coherence^2 / 4 times the contrast. The sum
        counts for four patterns. A Werner emitter is depolarised after the fact: the herald does
        not touch spins. The state is Bell-diagonal.
        """
        w = self.window
        odd, even = w.left * w.right / 4.0, w.both * w.nobody / 4.0
        total, state = spin_state(even, odd, odd, even, w.coherence**2 / 4.0 * self.contrast)
        left, right = ((4.0 * f - 1.0) / 3.0 for f in sides(self.emission_fidelity))
        kept = np.full((4, 4), left * right)
        kept[0, 0] = 1.0
        return Heralded(
            success_probability=4.0 * total,
            attempt_s=self.attempt_s,
            expectations=state * kept,
            family="memory",
            source="double click: Barrett and Kok, PRA 71, 060310 (2005); arXiv:2207.10579",
            ages_s=self.round_trips_s,
        )
