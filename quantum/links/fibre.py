"""Fibre: what it loses, how long light takes, and where the midpoint stands."""

import msgspec

from quantum.links.limits import at_least, between

__all__ = ["GROUP_INDEX", "Span", "delay_s", "transmission"]

#: Light in vacuum, exact.
_KM_PER_S = 299_792.458

#: Standard single-mode fibre (ITU-T G.652) at 1550 nm: 4.9 microseconds a kilometre.
GROUP_INDEX = 1.468


def transmission(length_km: float, loss_db_per_km: float) -> float:
    """Return the chance that a photon comes through: ``10 ** (-loss L / 10)``.

    >>> transmission(50.0, 0.2)
    0.1
    """
    return float(10.0 ** (-loss_db_per_km * length_km / 10.0))


def delay_s(length_km: float, group_index: float = GROUP_INDEX) -> float:
    """Return the time of flight ``L n / c`` in seconds, of photons and of heralds alike.

    >>> round(delay_s(1.0) * 1e6, 3)
    4.897
    """
    return length_km * group_index / _KM_PER_S


class Span(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The fibre between two nodes, with a station between its two arms.

    ``length_km`` goes from node to node; the left arm is its share ``midpoint``.
    """

    length_km: float
    midpoint: float = 0.5
    loss_db_per_km: float = 0.2
    group_index: float = GROUP_INDEX

    def __post_init__(self) -> None:
        at_least("length_km", self.length_km, 0.0)
        between("midpoint", self.midpoint, 0.0, 1.0)
        at_least("loss_db_per_km", self.loss_db_per_km, 0.0)
        at_least("group_index", self.group_index, 1.0)

    @property
    def arms_km(self) -> tuple[float, float]:
        """Lengths of the left and of the right arm."""
        return self.length_km * self.midpoint, self.length_km * (1.0 - self.midpoint)

    @property
    def round_trips_s(self) -> tuple[float, float]:
        """From emission to the midpoint and back with the herald, by side.

        Photons meet at the midpoint, so the node that is farther away sends first. This is also the
        age of each qubit when its node hears that the pair exists.
        """
        left, right = (2.0 * delay_s(arm, self.group_index) for arm in self.arms_km)
        return left, right

    @property
    def arm_transmissions(self) -> tuple[float, float]:
        """What the fibre of each arm lets through."""
        left, right = (transmission(arm, self.loss_db_per_km) for arm in self.arms_km)
        return left, right
