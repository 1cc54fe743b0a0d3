"""Link models: known limits, published numbers, timing, physicality, draws and bad input."""

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantum.bell import density_matrix
from quantum.errors import InputError
from quantum.links.detectors import dark_count_probability
from quantum.links.double_click import DoubleClick
from quantum.links.fibre import delay_s, transmission
from quantum.links.heralded import Heralded, draw_attempts
from quantum.links.model import MODELS, LinkModel, read_model
from quantum.links.plain import Plain
from quantum.links.single_click import SingleClick
from quantum.links.spdc import Spdc, SpdcContinuous

SINGLE: dict[str, Any] = {"model": "single_click", "length_km": 20.0, "bright_state": 0.1}
DOUBLE: dict[str, Any] = {"model": "double_click", "length_km": 20.0}
SPDC: dict[str, Any] = {
    "model": "spdc",
    "length_km": 20.0,
    "mean_pairs": 0.05,
    "repetition_hz": 8e7,
}
CONTINUOUS: dict[str, Any] = {
    "model": "spdc_continuous",
    "length_km": 20.0,
    "pair_rate_hz": 1e6,
    "coincidence_window_s": 1e-9,
}
PLAIN: dict[str, Any] = {"model": "plain", "rate_hz": 182.0, "fidelity": 0.94}


def read(block: dict[str, Any], **fields: object) -> Heralded:
    return read_model(block | fields).heralded()


# ----------------------------------------------------------------------------------- limits


@pytest.mark.parametrize("alpha", [1e-4, 0.05, 0.3, 0.5])
@pytest.mark.parametrize("visibility", [1.0, 0.9])
def test_single_click_at_vanishing_efficiency(alpha: float, visibility: float) -> None:
    """First order: p = 2 alpha eta and F = (1 - alpha)(1 + sqrt(V) exp(-sigma^2/2))/2."""
    eta, sigma = 1e-6, 0.25
    link = read(
        SINGLE,
        bright_state=alpha,
        transmission=eta,
        visibility=visibility,
        phase_noise_rad=sigma,
    )
    assert link.success_probability == pytest.approx(2.0 * alpha * eta, rel=1e-5)
    contrast = math.sqrt(visibility) * math.exp(-(sigma**2) / 2.0)
    assert link.fidelity == pytest.approx((1.0 - alpha) * (1.0 + contrast) / 2.0, rel=1e-5)


def test_number_resolving_detectors_see_through_two_photons() -> None:
    for resolving, best in ((True, 1.0), (False, (1 - 0.2) / (1 - 0.2 / 2))):
        link = read(SINGLE, bright_state=0.2, transmission=1.0, number_resolving=resolving)
        assert link.fidelity == pytest.approx(best, rel=1e-12)


def test_unequal_arms_are_repaired_by_unequal_bright_states() -> None:
    """The state is balanced where alpha eta is the same on both sides (first order in alpha)."""
    arms = {"transmission": (1e-3, 4e-3), "number_resolving": True}
    even = read(SINGLE, bright_state=0.02, **arms)
    matched = read(SINGLE, bright_state=(0.04, 0.01), **arms)
    assert even.fidelity < 0.90
    assert matched.fidelity > 0.96


@pytest.mark.parametrize("visibility", [0.0, 0.7, 1.0])
def test_double_click_without_dark_counts(visibility: float) -> None:
    link = read(DOUBLE, transmission=(0.3, 0.02), visibility=visibility)
    assert link.success_probability == pytest.approx(0.3 * 0.02 / 2.0, rel=1e-12)
    assert link.populations == pytest.approx(
        [(1 + visibility) / 2, (1 - visibility) / 2, 0, 0], abs=1e-12
    )
    assert link.is_bell_diagonal


def test_dark_counts_alone_give_no_entanglement() -> None:
    dark = {"transmission": 0.0, "dark_count_probability": 0.1}
    single, double = read(SINGLE, **dark), read(DOUBLE, **dark)
    assert single.success_probability == pytest.approx(2 * 0.1 * 0.9)
    assert double.success_probability == pytest.approx(4 * (0.1 * 0.9) ** 2)
    # The emitters stay in their product state: the herald knows nothing.
    assert single.expectations == pytest.approx(np.outer([1, 0, 0, 0.8], [1, 0, 0, -0.8]))
    assert double.populations == pytest.approx([0.25] * 4)


def test_two_bright_emitters_are_local_terms() -> None:
    """Without dark counts nothing is heralded from two dark ones: not a Bell-diagonal state."""
    link = read(SINGLE)
    assert not link.is_bell_diagonal
    rho = density_matrix(link.expectations)
    # After the X on the right qubit, two dark emitters are |01> and two bright ones |10>.
    assert rho[1, 1] == pytest.approx(0.0, abs=1e-15)
    assert rho[2, 2].real == pytest.approx(1.0 - rho[0, 0].real - rho[3, 3].real)
    assert rho[2, 2].real == pytest.approx(link.expectations[0, 3], rel=1e-12)
    assert rho[2, 2].real == pytest.approx(-link.expectations[3, 0], rel=1e-12)


# -------------------------------------------------------------------------------- published


def test_oxford_ions() -> None:
    """Stephenson et al., PRL 124, 110501 (2020): 182 pairs a second at p = 2.18e-4.

    That is an attempt every 1.2 us, and p = eta^2 / 2 needs eta = 2.09 % of each ion.
    """
    assert read(PLAIN, success_probability=2.18e-4).attempt_s == pytest.approx(1.198e-6, rel=1e-3)
    link = read(DOUBLE, length_km=0.002, transmission=0.0209, cycle_s=1.0 / 835e3)
    assert link.success_probability == pytest.approx(2.18e-4, rel=5e-3)
    assert link.rate_hz == pytest.approx(182.0, rel=5e-3)


def test_delft_buys_rate_with_fidelity() -> None:
    """Humphreys et al., Nature 558, 268 (2018): up to 39 Hz, with attempts of 5.5 us.

    39 Hz is p = 2.1e-4 per attempt. With a bright state of 0.3 that is eta = 3.6e-4, and no better
    than F = 0.7; 0.05 would give 0.95, at a sixth of the rate.
    """
    common: dict[str, Any] = {"length_km": 0.002, "cycle_s": 5.5e-6, "transmission": 3.6e-4}
    fast = SingleClick(bright_state=0.3, **common).heralded()
    good = SingleClick(bright_state=0.05, **common).heralded()
    assert fast.rate_hz == pytest.approx(39.0, rel=1e-2)
    assert fast.rate_hz / good.rate_hz == pytest.approx(6.0, rel=1e-3)
    assert fast.fidelity == pytest.approx(0.7, abs=1e-3)
    assert good.fidelity == pytest.approx(0.95, abs=1e-3)


# ----------------------------------------------------------------------------------- timing


def test_an_attempt_waits_for_the_longer_arm_or_for_the_node() -> None:
    light = 1.468 / 299792.458
    assert delay_s(1.0) == pytest.approx(light, rel=1e-15)
    assert read(SINGLE).attempt_s == pytest.approx(20.0 * light)
    assert read(SINGLE, midpoint=0.9).attempt_s == pytest.approx(36.0 * light)
    assert read(SINGLE, cycle_s=1.0).attempt_s == 1.0
    assert read(SINGLE, group_index=1.0).attempt_s == pytest.approx(20.0 / 299792.458)
    link = SingleClick(length_km=10.0, bright_state=0.1, midpoint=0.25)
    assert link.round_trips_s == pytest.approx((5.0 * light, 15.0 * light))


def test_losses_multiply() -> None:
    assert transmission(20.0, 0.2) == pytest.approx(10**-0.4)
    link = DoubleClick(
        length_km=30.0,
        midpoint=1 / 3,
        loss_db_per_km=0.5,
        collection_efficiency=(0.2, 0.4),
        detector_efficiency=0.9,
    )
    assert link.transmissions == pytest.approx((0.2 * 0.9 * 10**-0.5, 0.4 * 0.9 * 0.1))
    source = Spdc(**{k: v for k, v in SPDC.items() if k != "model"}, detector_efficiency=(0.5, 1.0))
    assert source.transmissions == pytest.approx((0.5 * 10**-0.2, 10**-0.2))
    assert source.heralded().attempt_s == 1 / 8e7


def test_dark_counts_of_a_rate() -> None:
    assert dark_count_probability(100.0, 1e-6) == pytest.approx(1e-4, rel=1e-4)
    assert dark_count_probability(1e9, 1.0) == 1.0


def test_heralds_say_how_old_the_qubits_are() -> None:
    light = 1.468 / 299792.458
    for block in (SINGLE, DOUBLE):
        link = read(block, length_km=10.0, midpoint=0.25, cycle_s=1.0)
        assert link.ages_s == pytest.approx((5.0 * light, 15.0 * light))
        assert link.attempt_s == 1.0
    for block in (PLAIN, SPDC, CONTINUOUS):
        assert read(block).ages_s == (0.0, 0.0)


# ------------------------------------------------------------------------------------ plain


def test_plain_is_as_stated() -> None:
    assert read(PLAIN).rate_hz == pytest.approx(182.0)
    assert read(PLAIN).populations == pytest.approx([0.94, 0.02, 0.02, 0.02])
    assert read(PLAIN, attempt_s=1e-3).success_probability == pytest.approx(0.182)
    assert read(PLAIN, success_probability=0.5).attempt_s == pytest.approx(0.5 / 182)
    weights = [0.7, 0.05, 0.05, 0.2]
    block = {"model": "plain", "success_probability": 1, "attempt_s": 1, "populations": weights}
    link = read_model(json.dumps(block | {"family": "photonic"}).encode()).heralded()
    assert link.populations == pytest.approx(weights)
    assert not link.keeps
    assert read(PLAIN).keeps


@pytest.mark.parametrize(
    "fields",
    [
        {"fidelity": 0.9},
        {"fidelity": 0.9, "attempt_s": 1.0},
        {"fidelity": 0.9, "success_probability": 0.5},
        {"fidelity": 0.9, "success_probability": 0.5, "attempt_s": 1.0, "rate_hz": 0.5},
        {"fidelity": 0.9, "attempt_s": 1.0, "rate_hz": 2.0},
        {"rate_hz": 1.0},
        {"rate_hz": 1.0, "fidelity": 0.9, "populations": (1.0, 0.0, 0.0, 0.0)},
        {"rate_hz": 1.0, "populations": (0.9, 0.2, 0.0, 0.0)},
    ],
)
def test_plain_needs_one_rate_and_one_state(fields: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="link"):
        Plain(**fields)


# ------------------------------------------------------------------------------ every model

odds = st.floats(0.0, 1.0) | st.sampled_from([0.0, 1.0, 1e-12, 1e-300])
pairs = odds | st.tuples(odds, odds)
span = {"length_km": st.floats(1e-3, 2000.0), "midpoint": odds}
station = span | {
    "collection_efficiency": pairs,
    "detector_efficiency": odds,
    "dark_count_probability": odds,
    "visibility": odds,
    "number_resolving": st.booleans(),
    "phase_noise_rad": st.floats(0.0, 1e3),
    "dephasing_probability": odds,
}
source = span | {"collection_efficiency": pairs, "detector_efficiency": pairs, "visibility": odds}
ANY: st.SearchStrategy[LinkModel] = st.one_of(
    st.builds(SingleClick, bright_state=pairs, **station),
    st.builds(DoubleClick, emission_fidelity=st.floats(0.25, 1.0), **station),
    st.builds(
        Spdc,
        mean_pairs=st.floats(1e-12, 1e6),
        repetition_hz=st.just(1e6),
        dark_count_probability=pairs,
        modes=st.floats(1.0, 1e12),
        **source,
    ),
    st.builds(
        SpdcContinuous,
        pair_rate_hz=st.floats(1e-3, 9e8),
        coincidence_window_s=st.floats(1e-12, 1e-3),
        dark_count_rate_hz=st.floats(0.0, 1e12),
        jitter_fwhm_s=st.floats(0.0, 1e-3),
        **source,
    ),
)


@given(ANY)
def test_states_are_physical_or_the_link_is_refused(link: LinkModel) -> None:
    try:
        found = link.heralded()
    except InputError as error:
        assert "success_probability must be > 0" in str(error)  # noqa: PT017
        return
    assert 0.0 < found.success_probability <= 1.0
    assert np.linalg.eigvalsh(density_matrix(found.expectations)).min() > -1e-12
    assert found.populations.sum() == pytest.approx(1.0, abs=1e-12)
    assert found.keeps is not isinstance(link, Spdc | SpdcContinuous)
    with pytest.raises(ValueError, match="read-only"):
        found.expectations[0, 0] = 2.0


@pytest.mark.parametrize("dark", [0.0, 1e-6, 1.0])
@pytest.mark.parametrize("length_km", [1e-6, 20.0])
def test_the_brightest_sources_show_nothing(length_km: float, dark: float) -> None:
    """All four detectors click: outcomes are at random, and F is 1/4."""
    pulsed = read(SPDC, mean_pairs=1e6, modes=100, length_km=length_km, dark_count_probability=dark)
    assert pulsed.success_probability == pytest.approx(1.0)
    assert pulsed.fidelity == pytest.approx(0.25, abs=1e-9)
    steady = read(
        CONTINUOUS, pair_rate_hz=9e14, length_km=length_km, dark_count_rate_hz=1e300 * dark
    )
    assert steady.success_probability == pytest.approx(1.0)
    assert steady.fidelity == pytest.approx(0.25, abs=1e-9)


@pytest.mark.parametrize(
    ("block", "fields", "message"),
    [
        (SPDC, {"mean_pairs": 1e160}, "mean_pairs must be between 0 and 1e+06"),
        (SPDC, {"mean_pairs": 1.1e6}, "mean_pairs must be between 0 and 1e+06"),
        (SPDC, {"modes": 1e308}, "modes must be between 1 and 1e+15"),
        (CONTINUOUS, {"pair_rate_hz": 1e160}, "pair_rate_hz * coincidence_window_s must be at"),
        (CONTINUOUS, {"pair_rate_hz": 1e308, "coincidence_window_s": 1e9}, "pair_rate_hz *"),
    ],
)
def test_brighter_sources_are_refused(
    block: dict[str, Any], fields: dict[str, float], message: str
) -> None:
    with pytest.raises(InputError) as error:
        read(block, **fields)
    assert str(error.value).startswith(f"link.{message}")


def test_models_are_read_by_name() -> None:
    for block in (PLAIN, SINGLE, DOUBLE, SPDC, CONTINUOUS):
        assert read_model(json.dumps(block).encode()) == read_model(block)
        assert block["model"] in MODELS
        assert read(block).source
    assert read(SINGLE, bright_state=[0.1, 0.2]).fidelity < read(SINGLE).fidelity


def test_attempts_are_geometric() -> None:
    link = read(SINGLE, transmission=1e-3)
    n = draw_attempts(link, (300, 1000), np.random.default_rng(3))
    p = link.success_probability
    assert n.shape == (300, 1000) and n.dtype == np.int64 and n.min() >= 1
    spread = math.sqrt(1 - p) / p
    assert abs(n.mean() - 1 / p) < 5 * spread / math.sqrt(n.size)
    # Without memory: half of the pairs come within ln 2 / p attempts.
    within = (1 - p) ** 3466
    assert abs((n > 3466).mean() - within) < 5 * math.sqrt(within * (1 - within) / n.size)
    assert (draw_attempts(link, 9, np.random.default_rng(3)) == n.ravel()[:9]).all()
    sure = Heralded(1.0, 1.0, link.expectations, "memory", "")
    assert (draw_attempts(sure, 9, np.random.default_rng(3)) == 1).all()


# -------------------------------------------------------------------------------- bad input

NAN, INF = math.nan, math.inf
BAD = [
    (block, field, value)
    for block, fields in (
        (SINGLE, ("bright_state", "collection_efficiency", "visibility", "dephasing_probability")),
        (DOUBLE, ("detector_efficiency", "dark_count_probability", "transmission", "midpoint")),
        (SPDC, ("visibility", "detector_efficiency", "dark_count_probability")),
        (PLAIN, ("fidelity", "success_probability")),
    )
    for field in fields
    for value in (-0.1, 1.1, NAN, INF, "0.5", True)
] + [
    (block, field, value)
    for block, fields in (
        (SINGLE, ("length_km", "loss_db_per_km", "cycle_s", "phase_noise_rad", "group_index")),
        (SPDC, ("mean_pairs", "repetition_hz", "modes")),
        (CONTINUOUS, ("pair_rate_hz", "coincidence_window_s", "jitter_fwhm_s")),
        (CONTINUOUS, ("dark_count_rate_hz",)),
        (PLAIN, ("rate_hz", "attempt_s")),
    )
    for field in fields
    for value in (-1.0, NAN, INF, "1", [1, 2, 3])
]


@pytest.mark.parametrize(("block", "field", "value"), BAD)
def test_bad_numbers_are_named(block: dict[str, Any], field: str, value: object) -> None:
    with pytest.raises(InputError, match=rf"^link\.{field}\b[^\n]*$"):
        read_model(block | {field: value})


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({}, "link.model must be one of plain, single_click"),
        (SINGLE | {"model": "magic"}, "link.model must be one of plain, single_click"),
        ({"model": "single_click", "length_km": 1.0}, "link.bright_state is required"),
        (SINGLE | {"alpha": 0.1}, "link.alpha is not a field of this model"),
        (SINGLE | {"bright_state": [0.1, 1.2]}, "link.bright_state must be between 0 and 1"),
        (SINGLE | {"length_km": 0.0}, "link.cycle_s must be > 0 s where length_km is 0"),
        (SINGLE | {"transmission": 0.1, "detector_efficiency": 0.9}, "link.transmission"),
        (DOUBLE | {"emission_fidelity": 0.2}, "link.emission_fidelity must be between 0.25 and 1"),
        (PLAIN | {"family": "magic"}, "link.family"),
    ],
)
def test_bad_blocks_are_explained(block: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as error:
        read_model(block)
    assert str(error.value).startswith(message)


def test_values_made_in_python_are_checked_too() -> None:
    with pytest.raises(InputError, match=r"link\.bright_state must be a number"):
        SingleClick(length_km=1.0, bright_state="much")  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"link\.bright_state"):
        SingleClick(length_km=1.0, bright_state=(0.1, 0.1, 0.1))  # type: ignore[arg-type]
    with pytest.raises(InputError, match="not JSON"):
        read_model(b"{")
    with pytest.raises(InputError, match="success_probability must be > 0"):
        SingleClick(length_km=1.0, bright_state=0.0).heralded()
    with pytest.raises(InputError, match="family"):
        Heralded(1.0, 1.0, np.diag([1.0, 1.0, -1.0, 1.0]), "other", "")  # type: ignore[arg-type]


STATE = np.diag([1.0, 1.0, -1.0, 1.0])


@pytest.mark.parametrize("attempt_s", [0.0, 9e-13, 1.1e12, 1e308, NAN, INF, "1", None, True])
def test_attempts_take_a_time_that_can_be_added(attempt_s: Any) -> None:
    for good in (1e-12, 1e12, 1, np.float64(2.0)):
        assert Heralded(1.0, good, STATE, "memory", "").attempt_s == good
    with pytest.raises(InputError, match=r"attempt_s must be between 1e-12 and 1e\+12 s"):
        Heralded(1.0, attempt_s, STATE, "memory", "")


@pytest.mark.parametrize(
    "ages", [(0.0,), (0.0, -1.0), (0.0, NAN), (INF, 0.0), 1.0, None, ("1", 0.0), (True, 0.0)]
)
def test_ages_are_finite(ages: Any) -> None:
    assert Heralded(1.0, 1.0, STATE, "memory", "", (0.5, 1)).ages_s == (0.5, 1)
    with pytest.raises(InputError, match="ages_s must be"):
        Heralded(1.0, 1.0, STATE, "memory", "", ages)


@pytest.mark.parametrize("chance", ["0.5", None, True, 0.0, 1.1, NAN])
def test_chances_are_numbers(chance: Any) -> None:
    with pytest.raises(InputError, match="success_probability must be > 0"):
        Heralded(chance, 1.0, STATE, "memory", "")
