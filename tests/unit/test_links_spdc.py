"""Down-conversion: the closed forms against Fock space, sums over pairs, and the published ones."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import sparse, stats
from scipy.linalg import expm

from quantum.links.spdc import Spdc, SpdcContinuous, coincidence

Floats = NDArray[np.float64]


def pulsed(**fields: float | tuple[float, float]) -> Spdc:
    defaults = {"length_km": 0.0, "mean_pairs": 0.1, "repetition_hz": 1e6}
    return Spdc(**(defaults | fields))  # type: ignore[arg-type]


# ------------------------------------------------------------------------------- Fock space

#: Photons that fit in a mode, plus one.
SIZE = 7


def singlet_source(mean: float) -> NDArray[np.complex128]:
    """exp(chi (aH^+ bV^+ - aV^+ bH^+ - h.c.)) on the vacuum, axes aH, aV, bH, bV."""
    a = sparse.diags([np.sqrt(np.arange(1.0, SIZE))], [1])
    one = sparse.identity(SIZE)

    def mode(k: int) -> sparse.spmatrix:
        out = sparse.identity(1)
        for j in range(4):
            out = sparse.kron(out, a if j == k else one)
        return out.tocsr()

    make = mode(0).T @ mode(3).T - mode(1).T @ mode(2).T
    chi = math.asinh(math.sqrt(mean))
    vacuum = np.zeros(SIZE**4)
    vacuum[0] = 1.0
    state = sparse.linalg.expm_multiply(chi * (make - make.T), vacuum)
    return state.reshape((SIZE,) * 4).astype(complex)


def in_basis(state: NDArray[np.complex128], basis: str) -> NDArray[np.complex128]:
    """Turn the polarisations of both sides so that the two modes are the basis' outcomes."""
    a = np.diag(np.sqrt(np.arange(1.0, SIZE)), 1)
    h, v = np.kron(a, np.eye(SIZE)), np.kron(np.eye(SIZE), a)
    turn = np.eye(SIZE**2, dtype=complex)
    if basis == "y":
        turn = np.diag(np.exp(-0.5j * np.pi * np.diag(v.T @ v)))
    if basis != "z":
        turn = expm(np.pi / 4 * (h.T @ v - h @ v.T)) @ turn
    flat = state.reshape(SIZE**2, SIZE**2)
    return (turn @ flat @ turn.T).reshape((SIZE,) * 4)


def clicks(eta: float, dark: float) -> Floats:
    """Chance of (no click, click) by photon number: binomial loss, then a threshold detector."""
    n = np.arange(SIZE)
    arrived = stats.binom.pmf(n[:, None], n[None, :], eta)
    silent = (1.0 - dark) * arrived[0]
    return np.stack([silent, 1.0 - silent])


def squashed(left: Floats, right: Floats, numbers: Floats) -> tuple[float, float]:
    """Return (chance of a click on both sides, mean product of outcomes), doubles at random."""
    table = np.einsum("abcd,pa,qb,rc,sd->pqrs", numbers, left, left, right, right)
    seen = np.array([[0.0, 1.0], [1.0, 1.0]])
    outcome = np.array([[0.0, -1.0], [1.0, 0.0]])
    return (
        float(np.einsum("pqrs,pq,rs->", table, seen, seen)),
        float(np.einsum("pqrs,pq,rs->", table, outcome, outcome)),
    )


@pytest.mark.parametrize("basis", ["x", "y", "z"])
@pytest.mark.parametrize("dark", [(0.0, 0.0), (1e-3, 0.02)])
def test_every_basis_of_the_quantum_state_shows_the_closed_form(
    basis: str, dark: tuple[float, float]
) -> None:
    mean, eta = 0.02, (0.35, 1.0)
    numbers = np.abs(in_basis(singlet_source(mean), basis)) ** 2
    chance, product = squashed(clicks(eta[0], dark[0]), clicks(eta[1], dark[1]), numbers)
    link = pulsed(mean_pairs=2 * mean, detector_efficiency=eta, dark_count_probability=dark)
    found = link.heralded()
    assert found.success_probability == pytest.approx(chance, abs=1e-9)
    # The singlet: outcomes are opposite in every basis; corrected, the signs are phi_plus's.
    k = "xyz".index(basis) + 1
    sign = -1.0 if basis == "y" else 1.0
    assert found.expectations[k, k] == pytest.approx(-sign * product / chance, abs=1e-9)


# ------------------------------------------------------------------------- sums over pairs


def by_sum(link: Spdc) -> tuple[float, float]:
    """Sum over the pair numbers of the two entangled mode pairs, negative binomial each."""
    n = np.arange(800)
    p = link.modes / (link.modes + link.mean_pairs / 2.0)
    weight = stats.nbinom.pmf(n, link.modes, p)
    (x, y), dark = link.transmissions, link.dark_count_probability
    d = dark if isinstance(dark, tuple) else (dark, dark)
    silent_x, silent_y = (1 - d[0]) * (1 - x) ** n, (1 - d[1]) * (1 - y) ** n
    # (silent or not on the left) by (silent or not on the right) for one mode pair.
    one = np.array(
        [
            [weight @ (silent_x * silent_y), weight @ (silent_x * (1 - silent_y))],
            [weight @ ((1 - silent_x) * silent_y), weight @ ((1 - silent_x) * (1 - silent_y))],
        ]
    )
    chance = product = 0.0
    for i, j, k, m in np.ndindex(2, 2, 2, 2):
        # First pair clicks (i left, j right), second (k left, m right); first is outcome +1.
        p_here = one[i, j] * one[k, m]
        if (i or k) and (j or m):
            chance += p_here
            product += p_here * (i - k) * (j - m)
    return chance, link.visibility * product / chance


@given(
    mean=st.floats(1e-3, 4.0),
    eta=st.tuples(st.floats(0.01, 1.0), st.floats(0.01, 1.0)),
    dark=st.tuples(st.floats(0.0, 0.5), st.floats(0.0, 0.5)),
    modes=st.floats(1.0, 30.0),
    visibility=st.floats(0.0, 1.0),
)
def test_closed_form_is_the_sum_over_pairs(
    mean: float,
    eta: tuple[float, float],
    dark: tuple[float, float],
    modes: float,
    visibility: float,
) -> None:
    link = pulsed(
        mean_pairs=mean,
        detector_efficiency=eta,
        dark_count_probability=dark,
        modes=modes,
        visibility=visibility,
    )
    chance, correlator = by_sum(link)
    found = link.heralded()
    assert found.success_probability == pytest.approx(chance, abs=1e-9)
    assert found.expectations[1, 1] == pytest.approx(correlator, abs=1e-9)
    assert found.fidelity == pytest.approx((1.0 + 3.0 * correlator) / 4.0, abs=1e-9)


# ------------------------------------------------------------------------------- published


@pytest.mark.parametrize("mean", [1e-4, 0.05, 0.5])
@pytest.mark.parametrize(("x", "y"), [(0.145, 0.145), (0.3, 0.001), (1.0, 1.0)])
@pytest.mark.parametrize("dark", [0.0, 6.02e-6, 1e-3])
def test_yield_and_error_of_ma_fung_and_lo(mean: float, x: float, y: float, dark: float) -> None:
    """Their formulas for the overall gain Q and error E, in their letters."""
    e_d, y0 = 0.015, 1.0 - (1.0 - dark) ** 2
    lam = mean / 2.0
    q = (
        1.0
        - (1.0 - y0) / (1.0 + x * lam) ** 2
        - (1.0 - y0) / (1.0 + y * lam) ** 2
        + (1.0 - y0) ** 2 / (1.0 + x * lam + y * lam - x * y * lam) ** 2
    )
    signal = (
        2.0 * (0.5 - e_d) * x * y * lam * (1.0 + lam)
        / ((1.0 + x * lam) * (1.0 + y * lam) * (1.0 + x * lam + y * lam - x * y * lam))
    )  # fmt: skip
    link = pulsed(
        mean_pairs=mean,
        detector_efficiency=(x, y),
        dark_count_probability=dark,
        visibility=1.0 - 2.0 * e_d,
    ).heralded()
    assert link.success_probability == pytest.approx(q, rel=1e-9, abs=1e-15)
    error = (1.0 - link.expectations[3, 3]) / 2.0
    # Theirs has no factor for dark counts beside photons; without dark counts it is the same.
    exact = q / 2.0 - signal * (1.0 - dark) ** 2
    assert error * link.success_probability == pytest.approx(exact, rel=1e-9, abs=1e-15)
    assert exact == pytest.approx(q / 2.0 - signal, abs=2.0 * dark * signal)


def test_more_pairs_lower_the_visibility() -> None:
    """At vanishing efficiency a coincidence is of one pair, or of two unrelated photons.

    Thermal light: photons of a side are 2 lambda, pairs 2 lambda (1 + lambda) with two photons of
    correlated modes; Poissonian: mu pairs, mu^2 accidentals.
    """
    for mean in (1e-3, 1e-2, 1.0):
        link = pulsed(mean_pairs=mean, detector_efficiency=1e-7)
        thermal = (1.0 + mean / 2.0) / (1.0 + 3.0 * mean / 2.0)
        assert link.heralded().expectations[1, 1] == pytest.approx(thermal, rel=1e-6)
        link = pulsed(mean_pairs=mean, detector_efficiency=1e-7, modes=1e9)
        assert link.heralded().expectations[1, 1] == pytest.approx(1.0 / (1.0 + mean), rel=1e-6)


def test_rare_coincidences_keep_their_digits() -> None:
    link = pulsed(mean_pairs=1e-9, detector_efficiency=1e-6, dark_count_probability=0.0)
    found = link.heralded()
    assert found.success_probability == pytest.approx(1e-21, rel=1e-6)
    assert found.fidelity == pytest.approx(1.0, abs=1e-8)
    assert coincidence(0.0, 0.0, 0.0) == (0.0, 0.0)


# ------------------------------------------------------------------------------ continuous


def continuous(**fields: float | tuple[float, float]) -> SpdcContinuous:
    defaults = {"length_km": 0.0, "pair_rate_hz": 1e6, "coincidence_window_s": 1e-9}
    return SpdcContinuous(**(defaults | fields))  # type: ignore[arg-type]


def test_continuous_rates_are_true_and_accidental_coincidences() -> None:
    link = continuous(
        collection_efficiency=(0.1, 0.2),
        dark_count_rate_hz=(500.0, 1000.0),
        jitter_fwhm_s=0.5e-9,
        visibility=0.98,
    )
    assert link.singles_hz == (101_000.0, 202_000.0)
    assert link.accidentals_hz == pytest.approx(101_000.0 * 202_000.0 * 1e-9)
    # Within +- one full width at half maximum: 2.355 standard deviations.
    seen = stats.norm.cdf(1.0 * 2.3548200450309493) * 2 - 1
    assert link.true_coincidences_hz == pytest.approx(20_000.0 * seen)
    total = link.true_coincidences_hz + link.accidentals_hz
    found = link.heralded()
    assert found.rate_hz == pytest.approx(total, rel=3e-4)
    expected = 0.98 * link.true_coincidences_hz / total
    assert found.expectations[3, 3] == pytest.approx(expected, rel=3e-4)
    assert not found.keeps


def test_continuous_is_what_time_tags_show() -> None:
    """Time tags of a bright source, sorted into windows."""
    rng = np.random.default_rng(20)
    windows, pairs_per_window, eta, dark = 400_000, 0.4, (0.5, 0.7), 0.02
    tags = np.zeros((2, 2, windows), dtype=np.int64)
    pairs = rng.poisson(pairs_per_window * windows)
    when, value = rng.uniform(0, windows, pairs).astype(int), rng.integers(0, 2, pairs)
    for side in (0, 1):
        seen = rng.random(pairs) < eta[side]
        for outcome in (0, 1):
            tags[side, outcome] += np.bincount(
                when[seen & (value == outcome)], minlength=windows
            ) + rng.poisson(dark, windows)
    clicked = tags > 0
    both = clicked[0].any(axis=0) & clicked[1].any(axis=0)
    signs = clicked[:, 0].astype(int) - clicked[:, 1]
    product = signs[0] * signs[1]
    link = continuous(
        pair_rate_hz=pairs_per_window * 1e6,
        coincidence_window_s=1e-6,
        collection_efficiency=eta,
        dark_count_rate_hz=dark * 1e6,
    ).heralded()
    p, c = link.success_probability, link.expectations[1, 1]
    assert abs(both.mean() - p) < 5.0 * math.sqrt(p * (1.0 - p) / windows)
    assert abs(product.mean() - c * p) < 5.0 * math.sqrt(p / windows)
    assert 0.1 < p < 0.2 and 0.4 < c < 0.9


def test_continuous_is_the_pulsed_source_with_many_modes() -> None:
    dark = 2e-3
    one = continuous(
        pair_rate_hz=3e8,
        collection_efficiency=(0.2, 0.3),
        dark_count_rate_hz=-math.log1p(-dark) / 1e-9,
    ).heralded()
    other = pulsed(
        mean_pairs=0.3, collection_efficiency=(0.2, 0.3), dark_count_probability=dark, modes=1e9
    ).heralded()
    assert one.success_probability == pytest.approx(other.success_probability, rel=1e-7)
    assert one.fidelity == pytest.approx(other.fidelity, rel=1e-7)
