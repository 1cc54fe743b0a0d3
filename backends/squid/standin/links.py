"""Configuration of quantum and classical links, with the fields and defaults of SquidASM."""

# ruff: noqa: N815 - fields are named as programs and files name them.
from typing import Any

from backends.squid import setting
from backends.squid.standin.model import (
    Attenuation,
    Count,
    FieldError,
    Length,
    Model,
    Probability,
    Speed,
    Time,
)

__all__ = [
    "DefaultCLinkConfig",
    "DepolariseQLinkConfig",
    "HeraldedDoubleClickQLinkConfig",
    "HeraldedSingleClickQLinkConfig",
    "ICLinkConfig",
    "IQLinkConfig",
    "InstantCLinkConfig",
    "PerfectQLinkConfig",
]


class IQLinkConfig(Model):
    """Base of the configurations of sources of pairs."""


class ICLinkConfig(Model):
    """Base of the configurations of classical connections."""


class PerfectQLinkConfig(IQLinkConfig):
    """Perfect pairs after a fixed time: ``state_delay`` in ns, or that of light over ``length``."""

    state_delay: Time | None = None
    length: Length | None = None
    speed_of_light: Speed = 200_000.0

    def setting(self) -> setting.Perfect:
        """Return the source as a value; 1000 ns where no time is given."""
        delay_ns = _delay(self, "state_delay")
        return setting.Perfect(state_delay_ns=1000.0 if delay_ns is None else delay_ns)


class DepolariseQLinkConfig(IQLinkConfig):
    """Pairs of a fidelity, mixed with noise without direction, one try a cycle.

    >>> DepolariseQLinkConfig(fidelity=0.9, prob_success=1, t_cycle="1e1").setting().t_cycle_ns
    10.0
    """

    fidelity: Probability
    prob_success: Probability
    t_cycle: Time | None = None
    length: Length | None = None
    speed_of_light: Speed = 200_000.0

    def setting(self) -> setting.Depolarise:
        """Return the source as a value."""
        cycle_ns = _delay(self, "t_cycle")
        if cycle_ns is None:
            raise FieldError(("t_cycle",), "is missing (or length, for light to pass)")
        return setting.Depolarise(
            fidelity=self.fidelity, prob_success=self.prob_success, t_cycle_ns=cycle_ns
        )


class _Heralded(IQLinkConfig):
    """Photons of both nodes meet half-way; ``length`` is that of both arms together, in km."""

    length: Length | None = None
    p_loss_init: Probability | None = None
    p_loss_length: Attenuation | None = None
    speed_of_light: Speed | None = None
    emission_fidelity: Probability | None = None
    dark_count_probability: Probability = 0.0
    detector_efficiency: Probability = 1.0
    visibility: Probability = 1.0
    num_resolving: bool = False
    length_A: Length | None = None
    p_loss_init_A: Probability | None = None
    p_loss_length_A: Attenuation | None = None
    speed_of_light_A: Speed | None = None
    emission_fidelity_A: Probability | None = None
    length_B: Length | None = None
    p_loss_init_B: Probability | None = None
    p_loss_length_B: Attenuation | None = None
    speed_of_light_B: Speed | None = None
    emission_fidelity_B: Probability | None = None

    def _common(self) -> dict[str, Any]:
        half = None if self.length is None else self.length / 2.0
        if half is None and (self.length_A is None or self.length_B is None):
            raise FieldError(("length",), "is missing")
        return {
            "length_km": 2.0 * self._both("length", half),
            "p_loss_init": self._both("p_loss_init", self.p_loss_init, 0.0),
            "p_loss_db_per_km": self._both("p_loss_length", self.p_loss_length, 0.25),
            "speed_of_light_km_per_s": self._both("speed_of_light", self.speed_of_light, 2e5),
            "emission_fidelity": self._both("emission_fidelity", self.emission_fidelity, 1.0),
            "dark_count_probability": self.dark_count_probability,
            "detector_efficiency": self.detector_efficiency,
            "visibility": self.visibility,
            "num_resolving": self.num_resolving,
        }

    def _both(self, name: str, of_both: float | None, default: float = 0.0) -> float:
        """Return what holds for both arms."""
        common = default if of_both is None else of_both
        sides = [getattr(self, f"{name}_{side}") for side in "AB"]
        left, right = (common if side is None else float(side) for side in sides)
        if left != right:
            raise FieldError(
                (f"{name}_A and {name}_B",),
                f"must be equal, got {left:g} and {right:g}: both arms are alike here",
            )
        return left


class HeraldedSingleClickQLinkConfig(_Heralded):
    """One photon makes a pair. ``bright_state``: the chance that a node emits one.

    SquidASM derives it from the fidelity that it asks of a link, which is always 0.99.
    """

    bright_state: Probability = 0.01

    def setting(self) -> setting.Heralded:
        """Return the source as a value."""
        return setting.Heralded(click=1, bright_state=self.bright_state, **self._common())


class HeraldedDoubleClickQLinkConfig(_Heralded):
    """Two photons make a pair (arXiv:2207.10579).

    ``coin_prob_...``: the chance that two clicks, of photons (ph) or dark counts (dc), fall into
    one coincidence window.
    """

    coin_prob_ph_ph: Probability = 1.0
    coin_prob_ph_dc: Probability = 1.0
    coin_prob_dc_dc: Probability = 1.0
    num_multiplexing_modes: Count = 1

    def setting(self) -> setting.Heralded:
        """Return the source as a value."""
        if self.num_multiplexing_modes != 1:
            raise FieldError(
                ("num_multiplexing_modes",), "must be 1: there is no multiplexing here"
            )
        for name in ("coin_prob_ph_dc", "coin_prob_dc_dc"):
            if self.dark_count_probability > 0.0 and getattr(self, name) != 1.0:
                raise FieldError((name,), "must be 1: windows are for pairs of photons only here")
        return setting.Heralded(click=2, coin_prob_ph_ph=self.coin_prob_ph_ph, **self._common())


class InstantCLinkConfig(ICLinkConfig):
    """Messages arrive at once."""

    def delay_ns(self) -> float:
        """Return the delay of a message."""
        return 0.0


class DefaultCLinkConfig(ICLinkConfig):
    """Messages arrive after ``delay`` in ns, or after the time of light over ``length``.

    >>> DefaultCLinkConfig(length=1).delay_ns()
    5000.0
    """

    delay: Time | None = None
    length: Length | None = None
    speed_of_light: Speed = 200_000.0

    def delay_ns(self) -> float:
        """Return the delay of a message."""
        delay_ns = _delay(self, "delay")
        if delay_ns is None:
            raise FieldError(("delay",), "is missing (or length, for light to pass)")
        return delay_ns


def _delay(config: Any, name: str) -> float | None:
    """Return a time in ns, given as such or by a length; None where it is given in no way."""
    given: float | None = getattr(config, name)
    if config.length is None:
        return given
    if given is not None:
        raise FieldError((name,), "and length are both given: one of them is enough")
    return float(config.length / config.speed_of_light * 1e9)
