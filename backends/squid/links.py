"""Sources of pairs: in which state a pair is, and how long it takes to make one.

States are ``(4, 4)``, the qubit of the first node of the link first, corrected so that phi_plus is
the state wished for.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backends.squid.engine import Complex
from backends.squid.errors import SquidError
from backends.squid.setting import Depolarise, Heralded, LinkModel, Perfect
from quantum import bell
from quantum.errors import InputError
from quantum.links import detectors, station
from quantum.links.double_click import DoubleClick
from quantum.links.single_click import SingleClick

__all__ = ["PHI_PLUS", "Source", "source_of"]

Floats = NDArray[np.float64]

PHI_PLUS = bell.density_matrix(np.diag([1.0, 1.0, -1.0, 1.0]))


@dataclass(frozen=True, eq=False)
class Source:
    """A pair is in ``state`` after a geometric number of cycles of ``cycle_ns``."""

    state: Complex
    cycle_ns: float
    success: float

    def time_ns(self, rng: np.random.Generator) -> float:
        """Draw the time of a pair."""
        if self.success >= 1.0:
            return self.cycle_ns
        return self.cycle_ns * float(rng.geometric(self.success))

    def reversed(self) -> "Source":
        """Return the same source seen from its other end."""
        state = self.state.reshape(2, 2, 2, 2).transpose(1, 0, 3, 2).reshape(4, 4)
        return Source(np.ascontiguousarray(state), self.cycle_ns, self.success)


def source_of(name: str, model: LinkModel) -> Source:
    """Return the source that a model describes; errors start with ``name``.

    >>> source = source_of("A-B", Depolarise(fidelity=0.925, prob_success=0.5, t_cycle_ns=10.0))
    >>> source.cycle_ns, source.success, np.round(source.state[0, 0].real, 6).item()
    (10.0, 0.5, 0.475)
    """
    match model:
        case Perfect():
            _at_least_0(name, "state_delay", model.state_delay_ns)
            return Source(PHI_PLUS, model.state_delay_ns, 1.0)
        case Depolarise():
            return _depolarise(name, model)
    try:
        return _heralded(name, model)
    except InputError as error:
        raise SquidError(f"{name}: {error}") from None


def _depolarise(name: str, model: Depolarise) -> Source:
    _at_least_0(name, "t_cycle", model.t_cycle_ns)
    _probability(name, "fidelity", model.fidelity)
    _probability(name, "prob_success", model.prob_success)
    if model.prob_success == 0.0:
        raise SquidError(f"{name}: prob_success must be > 0, or no pair ever comes")
    weight = 4.0 * (1.0 - model.fidelity) / 3.0
    state = (1.0 - weight) * PHI_PLUS + weight * np.eye(4) / 4.0
    return Source(state, model.t_cycle_ns, model.prob_success)


def _heralded(name: str, model: Heralded) -> Source:
    """Return a source with a heralding station half-way.

    A cycle is the time to the station and back, of the longer arm: length / speed of light. Each
    photon passes with (1 - p_loss_init) times what its half of the fibre lets through.
    """
    _at_least_0(name, "length", model.length_km)
    for field in ("p_loss_init", "detector_efficiency", "visibility", "coin_prob_ph_ph"):
        _probability(name, field, getattr(model, field))
    if not 0.0 < model.speed_of_light_km_per_s < math.inf:
        raise SquidError(f"{name}: speed_of_light must be > 0 km/s")
    if not model.length_km > 0.0:
        raise SquidError(f"{name}: length must be > 0 km, or an attempt takes no time")
    cycle_ns = model.length_km / model.speed_of_light_km_per_s * 1e9
    success, table = _double_click(model) if model.click == 2 else _single_click(model)
    if not success > 0.0:
        raise SquidError(f"{name}: no attempt ever succeeds with these losses")
    return Source(bell.density_matrix(table), cycle_ns, success)


def _double_click(model: Heralded) -> tuple[float, Floats]:
    """Return success probability and Pauli expectations.

    Where two photons must fall into one coincidence window (``coin_prob_ph_ph`` < 1), heralds of
    two photons are the fewer; those with a dark count stay.
    """
    click = DoubleClick(
        length_km=model.length_km,
        loss_db_per_km=model.p_loss_db_per_km,
        collection_efficiency=1.0 - model.p_loss_init,
        detector_efficiency=model.detector_efficiency,
        dark_count_probability=model.dark_count_probability,
        visibility=model.visibility,
        number_resolving=model.num_resolving,
        emission_fidelity=model.emission_fidelity,
    )
    if model.coin_prob_ph_ph == 1.0:
        exact = click.heralded()
        return exact.success_probability, exact.expectations
    chances, kept = click.window, model.coin_prob_ph_ph
    one = detectors.alone(model.dark_count_probability, model.num_resolving).one
    left, right = click.transmissions
    odd = chances.left * chances.right - (1.0 - kept) * left * right * (one / 2.0) ** 2
    even = chances.both * chances.nobody
    total, table = station.spin_state(
        even / 4.0, odd / 4.0, odd / 4.0, even / 4.0, kept * chances.coherence**2 / 4.0
    )
    return 4.0 * total, _depolarised(table, model.emission_fidelity)


def _single_click(model: Heralded) -> tuple[float, Floats]:
    """Return success probability and Pauli expectations."""
    exact = SingleClick(
        length_km=model.length_km,
        loss_db_per_km=model.p_loss_db_per_km,
        collection_efficiency=1.0 - model.p_loss_init,
        detector_efficiency=model.detector_efficiency,
        dark_count_probability=model.dark_count_probability,
        visibility=model.visibility,
        number_resolving=model.num_resolving,
        bright_state=model.bright_state,
    ).heralded()
    if not 0.25 <= model.emission_fidelity <= 1.0:
        raise InputError("link.emission_fidelity must be >= 0.25 and <= 1")
    return exact.success_probability, _depolarised(exact.expectations, model.emission_fidelity)


def _depolarised(table: Floats, emission_fidelity: float) -> Floats:
    """Depolarise both emitters: each is in a Werner state of that fidelity with its photon."""
    kept = np.array([1.0, *[(4.0 * emission_fidelity - 1.0) / 3.0] * 3])
    return table * np.outer(kept, kept)


def _at_least_0(name: str, field: str, value: float) -> None:
    if not 0.0 <= value < math.inf:
        raise SquidError(f"{name}: {field} must be finite and >= 0, got {value}")


def _probability(name: str, field: str, value: float) -> None:
    if not 0.0 <= value <= 1.0:
        raise SquidError(f"{name}: {field} must be between 0 and 1, got {value}")
