"""A link by what was measured of it: how often, and how good."""

import msgspec
import numpy as np

from quantum import bell
from quantum.errors import InputError
from quantum.links.heralded import Family, Heralded
from quantum.links.limits import positive, probability

__all__ = ["Plain"]

#: Success probability where only a rate is known: waiting times are exponential to 0.1 %.
_MEMORYLESS = 1e-3


class Plain(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="model",
    tag="plain",
):
    """A rate and a state.

    Two of ``success_probability``, ``attempt_s`` and ``rate_hz``, where rate = p / attempt; or
    ``rate_hz`` alone, for pairs that come without a memory of the last one (attempts are then short
    and rare to succeed, p = 0.001). The state is a Werner state of ``fidelity``, or
    ``populations`` of phi_plus, phi_minus, psi_plus, psi_minus.
    """

    success_probability: float | None = None
    attempt_s: float | None = None
    rate_hz: float | None = None
    fidelity: float | None = None
    populations: tuple[float, float, float, float] | None = None
    family: Family = "memory"

    def __post_init__(self) -> None:
        if self.success_probability is not None:
            probability("success_probability", self.success_probability)
        for field in ("attempt_s", "rate_hz"):
            if getattr(self, field) is not None:
                positive(field, getattr(self, field))
        if (self.fidelity is None) == (self.populations is None):
            raise InputError("link.fidelity or link.populations is required, and only one of them")
        if self.fidelity is not None:
            probability("fidelity", self.fidelity)
        if self.populations is not None:
            bell.check_populations("link.populations", self.populations)
        if self.family not in ("memory", "photonic"):
            raise InputError(f"link.family must be memory or photonic, got {self.family!r}")
        self._timing()

    def _timing(self) -> tuple[float, float]:
        """Return (success probability, seconds of an attempt)."""
        match self.success_probability, self.attempt_s, self.rate_hz:
            case float() | int() as p, float() | int() as attempt_s, None:
                return p, attempt_s
            case float() | int() as p, None, float() | int() as rate_hz:
                return p, p / rate_hz
            case None, float() | int() as attempt_s, float() | int() as rate_hz:
                if rate_hz * attempt_s > 1.0 + 1e-9:
                    raise InputError(
                        f"link.rate_hz must be <= 1 / attempt_s = {1 / attempt_s:g}, got {rate_hz}"
                    )
                return min(1.0, rate_hz * attempt_s), attempt_s
            case None, None, float() | int() as rate_hz:
                return _MEMORYLESS, _MEMORYLESS / rate_hz
            case _:
                raise InputError(
                    "link: needs two of success_probability, attempt_s and rate_hz, "
                    "or rate_hz alone"
                )

    def heralded(self) -> Heralded:
        """Return the link as it was stated."""
        if self.populations is not None:
            weights = np.array(self.populations, dtype=np.float64)
        else:
            weights = bell.werner(1.0 if self.fidelity is None else self.fidelity)
        xx, yy, zz = bell.correlators(weights).tolist()
        p, attempt_s = self._timing()
        return Heralded(p, attempt_s, np.diag([1.0, xx, -yy, zz]), self.family, "as stated")
