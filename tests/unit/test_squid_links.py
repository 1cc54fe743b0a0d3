"""Sources of pairs: states against definitions, times against the geometric law."""

import math

import numpy as np
import pytest

from backends.squid.errors import SquidError
from backends.squid.links import PHI_PLUS, Source, source_of
from backends.squid.setting import Depolarise, Heralded, Perfect
from quantum.links.double_click import DoubleClick
from quantum.links.single_click import SingleClick

KET = np.array([1.0, 0.0, 0.0, 1.0]) / math.sqrt(2.0)


def fidelity(source: Source) -> float:
    return float((KET @ source.state @ KET).real)


def test_phi_plus_is_the_state_wished_for():
    np.testing.assert_allclose(PHI_PLUS, np.outer(KET, KET), atol=1e-15)


def test_a_perfect_link_takes_its_delay_and_draws_nothing():
    source = source_of("link", Perfect(state_delay_ns=77.0))
    rng = np.random.default_rng(1)
    assert source.time_ns(rng) == 77.0
    assert rng.random() == np.random.default_rng(1).random()
    assert fidelity(source) == pytest.approx(1.0, abs=1e-14)


@pytest.mark.parametrize("wished", [1.0, 0.9, 0.25, 0.0])
def test_a_depolarising_link_has_its_fidelity_and_equal_rest(wished):
    source = source_of("link", Depolarise(fidelity=wished))
    weights = np.sort(np.linalg.eigvalsh(source.state))
    assert fidelity(source) == pytest.approx(wished, abs=1e-12)
    np.testing.assert_allclose(weights, np.sort([wished, *[(1.0 - wished) / 3.0] * 3]), atol=1e-12)


def test_times_are_geometric_numbers_of_cycles():
    source = source_of("link", Depolarise(fidelity=1.0, prob_success=0.2, t_cycle_ns=10.0))
    rng = np.random.default_rng(2)
    cycles = np.array([source.time_ns(rng) for _ in range(20_000)]) / 10.0
    assert np.all(cycles == np.round(cycles)) and cycles.min() == 1.0
    # Mean 1/p and chance p of a first success, five standard errors.
    assert abs(cycles.mean() - 5.0) < 5.0 * math.sqrt(0.8 / 0.04 / 20_000)
    assert abs((cycles == 1.0).mean() - 0.2) < 5.0 * math.sqrt(0.16 / 20_000)


def test_a_perfect_double_click_link_succeeds_every_other_time():
    source = source_of(
        "link", Heralded(length_km=20.0, p_loss_db_per_km=0.0, speed_of_light_km_per_s=1e9)
    )
    assert source.success == pytest.approx(0.5, abs=1e-12)
    # To the station half-way and back: length / speed.
    assert source.cycle_ns == pytest.approx(20.0)
    assert fidelity(source) == pytest.approx(1.0, abs=1e-12)


LOSSY = Heralded(
    length_km=30.0,
    p_loss_init=0.4,
    p_loss_db_per_km=0.25,
    dark_count_probability=1e-3,
    detector_efficiency=0.8,
    visibility=0.9,
    emission_fidelity=0.95,
    bright_state=0.2,
)


def test_double_click_without_dark_counts_follows_the_textbook():
    source = source_of(
        "link",
        Heralded(length_km=30.0, p_loss_init=0.4, detector_efficiency=0.8, visibility=0.9),
    )
    arm = 0.6 * 0.8 * 10.0 ** (-0.25 * 15.0 / 10.0)
    assert source.success == pytest.approx(arm * arm / 2.0, rel=1e-12)
    assert fidelity(source) == pytest.approx((1.0 + 0.9) / 2.0, abs=1e-12)


@pytest.mark.parametrize("resolving", [False, True])
def test_a_coincidence_window_for_all_photons_changes_nothing(resolving):
    """The sums for a window, in the limit in which it takes all photons, are the plain model's."""
    every = Heralded(
        length_km=30.0, p_loss_init=0.4, dark_count_probability=1e-3, visibility=0.9,
        emission_fidelity=0.95, num_resolving=resolving,
    )  # fmt: skip
    nearly = Heralded(
        length_km=30.0, p_loss_init=0.4, dark_count_probability=1e-3, visibility=0.9,
        emission_fidelity=0.95, num_resolving=resolving, coin_prob_ph_ph=1.0 - 1e-13,
    )  # fmt: skip
    one, other = source_of("link", every), source_of("link", nearly)
    assert one.success == pytest.approx(other.success, rel=1e-10)
    np.testing.assert_allclose(one.state, other.state, atol=1e-10)


def test_a_coincidence_window_thins_heralds_of_two_photons():
    clean = Heralded(length_km=10.0, coin_prob_ph_ph=0.5)
    arm = 10.0 ** (-0.25 * 5.0 / 10.0)
    source = source_of("link", clean)
    assert source.success == pytest.approx(0.5 * arm * arm / 2.0, rel=1e-12)
    assert fidelity(source) == pytest.approx(1.0, abs=1e-12)
    # Dark counts weigh more where photons are thinned.
    dark = [
        fidelity(
            source_of(
                "link",
                Heralded(length_km=10.0, coin_prob_ph_ph=share, dark_count_probability=1e-3),
            )
        )
        for share in (1.0, 0.5, 0.1)
    ]
    assert dark[0] > dark[1] > dark[2] > 0.5


def test_parameters_reach_the_double_click_model():
    model = DoubleClick(
        length_km=30.0, loss_db_per_km=0.25, collection_efficiency=0.6, detector_efficiency=0.8,
        dark_count_probability=1e-3, visibility=0.9, emission_fidelity=0.95,
    ).heralded()  # fmt: skip
    source = source_of("link", LOSSY)
    assert source.success == pytest.approx(model.success_probability)
    assert fidelity(source) == pytest.approx(model.fidelity)
    assert source.cycle_ns == pytest.approx(150_000.0)


def test_single_click_to_first_order():
    """Few photons arrive: p = 2 alpha eta and F = 1 - alpha."""
    alpha, eta = 1e-2, 1e-5
    source = source_of(
        "link",
        Heralded(
            click=1, length_km=1.0, p_loss_db_per_km=0.0, bright_state=alpha, p_loss_init=1.0 - eta
        ),
    )
    assert source.success == pytest.approx(2.0 * alpha * eta, rel=1e-4)
    assert fidelity(source) == pytest.approx(1.0 - alpha, abs=1e-6)


def test_noisy_emitters_of_a_single_click_link_are_depolarised():
    exact = SingleClick(
        length_km=30.0, loss_db_per_km=0.25, collection_efficiency=0.6, detector_efficiency=0.8,
        dark_count_probability=1e-3, visibility=0.9, bright_state=0.2,
    ).heralded()  # fmt: skip
    source = source_of("link", Heralded(**{**vars_of(LOSSY), "click": 1}))
    kept = (4.0 * 0.95 - 1.0) / 3.0
    correlations = np.diagonal(exact.expectations)[1:] * kept**2
    assert source.success == pytest.approx(exact.success_probability)
    assert fidelity(source) == pytest.approx(
        (1.0 + correlations[0] - correlations[1] + correlations[2]) / 4.0
    )
    assert np.trace(source.state).real == pytest.approx(1.0)


def vars_of(model: Heralded) -> dict[str, float]:
    return {name: getattr(model, name) for name in model.__dataclass_fields__}


def test_a_source_seen_from_the_other_end_has_its_qubits_exchanged():
    state = np.kron(np.diag([0.9, 0.1]), np.diag([0.4, 0.6])).astype(complex)
    other = Source(state, 1.0, 1.0).reversed()
    np.testing.assert_allclose(other.state, np.kron(np.diag([0.4, 0.6]), np.diag([0.9, 0.1])))


@pytest.mark.parametrize(
    ("model", "field"),
    [
        (Depolarise(fidelity=1.2), "fidelity"),
        (Depolarise(fidelity=math.nan), "fidelity"),
        (Depolarise(fidelity=1.0, prob_success=0.0), "prob_success"),
        (Depolarise(fidelity=1.0, t_cycle_ns=-1.0), "t_cycle"),
        (Perfect(state_delay_ns=math.inf), "state_delay"),
        (Heralded(length_km=0.0), "length"),
        (Heralded(length_km=1.0, p_loss_init=1.0), "success_probability"),
        (Heralded(length_km=1.0, p_loss_init=1.0, coin_prob_ph_ph=0.5), "no attempt"),
        (Heralded(length_km=1.0, visibility=1.5), "visibility"),
        (Heralded(length_km=1.0, emission_fidelity=0.1), "emission_fidelity"),
        (Heralded(length_km=1.0, click=1, emission_fidelity=0.1), "emission_fidelity"),
        (Heralded(length_km=1.0, speed_of_light_km_per_s=0.0), "speed_of_light"),
    ],
)
def test_bad_numbers_name_link_and_field(model, field):
    with pytest.raises(SquidError, match=rf"^link of A and B: .*{field}"):
        source_of("link of A and B", model)
