"""Single and double click against optics done in Fock space, with every mode and every loss.

Emitters and photons are one pure state with an axis for each spin and each mode: light of the left
emitter, light of the right one in the same and in an orthogonal wave packet, and an environment
mode for everything that can be lost. Beam splitters are exponentials of their generators, detectors
are POVMs.
"""

import functools
import itertools

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from quantum.bell import expectations_of
from quantum.links.double_click import DoubleClick
from quantum.links.heralded import Heralded
from quantum.links.limits import sides
from quantum.links.single_click import SingleClick

Array = NDArray[np.complex128]

X = np.array([[0, 1], [1, 0]])
Z = np.diag([1, -1])
#: Axes of one time window after the spins: the left arm in two wave packets, the right arm in two,
#: and what is lost of the three that can hold a photon. The first packet can hold two photons.
DIMS = (3, 2, 3, 2, 2, 2, 2)
LEFT, LEFT_OTHER, RIGHT, RIGHT_OTHER, LOST_LEFT, LOST_RIGHT, LOST_OTHER = range(7)


@functools.cache
def generator(first: int, second: int) -> tuple[Array, Array]:
    """Eigenvalues and eigenvectors of i (a^+ b - a b^+) on two truncated modes."""
    a = np.kron(np.diag(np.sqrt(np.arange(1, first)), 1), np.eye(second))
    b = np.kron(np.eye(first), np.diag(np.sqrt(np.arange(1, second)), 1))
    values, vectors = np.linalg.eigh(1j * (a.T @ b - a @ b.T))
    return values, vectors


def splitter(angle: float, first: int, second: int) -> Array:
    """exp(angle (a^+ b - a b^+)); exact for as many photons as fit."""
    values, vectors = generator(first, second)
    return (vectors * np.exp(-1j * angle * values)) @ vectors.conj().T


def mix(state: Array, angle: float, i: int, j: int) -> Array:
    """Let two modes (axes) meet on a beam splitter."""
    di, dj = state.shape[i], state.shape[j]
    u = splitter(angle, di, dj).reshape(di, dj, di, dj)
    return np.moveaxis(np.tensordot(u, state, axes=((2, 3), (i, j))), (0, 1), (i, j))


def optics(state: Array, first: int, transmissions: tuple[float, float]) -> Array:
    """Lose photons on the way, then let the arms meet, in the window whose axes begin at first."""
    left, right = (np.arccos(np.sqrt(t)) for t in transmissions)
    state = mix(state, left, first + LEFT, first + LOST_LEFT)
    state = mix(state, right, first + RIGHT, first + LOST_RIGHT)
    state = mix(state, right, first + RIGHT_OTHER, first + LOST_OTHER)
    state = mix(state, np.pi / 4, first + LEFT, first + RIGHT)
    return mix(state, np.pi / 4, first + LEFT_OTHER, first + RIGHT_OTHER)


def effects(dark: float, resolving: bool) -> tuple[NDArray[np.float64], ...]:
    """Chance of (a herald, nothing) at one detector, by its photon number."""
    nothing = np.array([1.0 - dark, 0.0, 0.0, 0.0])
    if resolving:
        return np.array([dark, 1.0 - dark, 0.0, 0.0]), nothing
    return 1.0 - nothing, nothing


def povm(which: int, dark: float, resolving: bool) -> NDArray[np.float64]:
    """Weights of Fock states of one window for a herald of one detector alone, shape DIMS."""
    on, off = effects(dark, resolving)
    n = np.indices(DIMS)
    counts = [n[LEFT] + n[LEFT_OTHER], n[RIGHT] + n[RIGHT_OTHER]]
    return on[counts[which]] * off[counts[1 - which]]


def photon(state: Array, spins: tuple[int, int], modes: dict[int, int], amplitude: complex) -> None:
    index = [0] * (state.ndim - 2)
    for axis, number in modes.items():
        index[axis] += number
    state[(*spins, *index)] += amplitude


def reduced(state: Array, weights: NDArray[np.float64]) -> Array:
    """Return the spins' unnormalised state after a measurement with these Fock-diagonal weights."""
    flat = state.reshape(4, -1)
    return (flat * weights.ravel()) @ flat.conj().T


def dephased(rho: Array, link: SingleClick | DoubleClick, phases: NDArray[np.int64]) -> Array:
    """Average over a Gaussian phase (by quadrature) and a phase flip of the right emitter.

    ``phases`` says how often each spin state picks up the phase.
    """
    x, w = np.polynomial.hermite.hermgauss(40)
    turns = np.exp(1j * np.sqrt(2.0) * link.phase_noise_rad * np.outer(x, phases))
    rho = rho * np.einsum("k,ki,kj->ij", w / w.sum(), turns, turns.conj())
    flip, p = np.kron(np.eye(2), Z), link.dephasing_probability
    return (1.0 - p) * rho + p * flip @ rho @ flip


def corrected(rho: Array, minus: bool) -> Array:
    turn = np.kron(np.eye(2), X @ Z if minus else X)
    return turn @ rho @ turn.conj().T


def single_click(link: SingleClick) -> list[Array]:
    """Unnormalised corrected states for a click of the one and of the other detector."""
    (a, b), v = sides(link.bright_state), link.visibility
    state = np.zeros((2, 2, *DIMS), dtype=complex)
    for s, t in itertools.product((0, 1), repeat=2):
        amplitude = np.sqrt((a if s else 1 - a) * (b if t else 1 - b))
        for mode, share in ((RIGHT, v), (RIGHT_OTHER, 1.0 - v)) if t else ((None, 1.0),):
            modes = {LEFT: s} | ({} if mode is None else {mode: 1})
            photon(state, (s, t), modes, amplitude * np.sqrt(share))
    state = optics(state, 2, link.transmissions)
    out = []
    for which in (0, 1):
        rho = reduced(state, povm(which, link.dark_count_probability, link.number_resolving))
        out.append(corrected(dephased(rho, link, np.array([0, 1, 0, 1])), bool(which)))
    return out


def double_click(link: DoubleClick, turns: tuple[str, str] = ("I", "I")) -> list[Array]:
    """The same for the four patterns of an early and a late click.

    ``turns`` are Pauli errors of each photon: a bright spin's photon comes late (X), or with a
    minus sign (Z).
    """
    v, late = link.visibility, len(DIMS)
    state = np.zeros((2, 2, *DIMS, *DIMS), dtype=complex)
    for s, t in itertools.product((0, 1), repeat=2):
        sign = (-1) ** (s * (turns[0] in "YZ") + t * (turns[1] in "YZ"))
        left = LEFT + (0 if s ^ (turns[0] in "XY") else late)
        bin_right = 0 if t ^ (turns[1] in "XY") else late
        for mode, share in ((RIGHT, v), (RIGHT_OTHER, 1.0 - v)):
            photon(state, (s, t), {left: 1, mode + bin_right: 1}, sign * np.sqrt(share) / 2.0)
    for first in (2, 2 + late):
        state = optics(state, first, link.transmissions)
    windows = [povm(k, link.dark_count_probability, link.number_resolving) for k in (0, 1)]
    out = []
    for early, lately in itertools.product((0, 1), repeat=2):
        rho = reduced(state, np.multiply.outer(windows[early], windows[lately]))
        out.append(corrected(dephased(rho, link, np.array([1, 0, 1, 0])), early != lately))
    return out


def agree(found: Heralded, patterns: list[Array]) -> None:
    """All click patterns give the same corrected state, and it is the closed form's."""
    total = sum(np.trace(rho).real for rho in patterns)
    assert found.success_probability == pytest.approx(total, rel=1e-9)
    for rho in patterns:
        trace = np.trace(rho).real
        assert trace == pytest.approx(total / len(patterns), rel=1e-9)
        np.testing.assert_allclose(expectations_of(rho / trace), found.expectations, atol=1e-9)


def odds(*special: float) -> st.SearchStrategy[float]:
    return st.sampled_from(special) | st.floats(1e-3, 1.0)


@settings(max_examples=60)
@given(
    bright=st.tuples(odds(0.0, 1e-4, 0.9999, 1.0), odds(0.5, 1e-4, 0.9999)),
    transmission=st.tuples(odds(0.0, 1.0), odds(1e-6, 1.0)),
    dark=odds(0.0, 1e-7),
    visibility=odds(0.0, 1.0),
    resolving=st.booleans(),
    phase=st.floats(0.0, 2.0),
    flip=odds(0.0),
)
def test_single_click_is_the_optics(
    bright: tuple[float, float],
    transmission: tuple[float, float],
    dark: float,
    visibility: float,
    resolving: bool,
    phase: float,
    flip: float,
) -> None:
    link = SingleClick(
        length_km=1.0,
        bright_state=bright,
        transmission=transmission,
        dark_count_probability=dark,
        visibility=visibility,
        number_resolving=resolving,
        phase_noise_rad=phase,
        dephasing_probability=flip,
    )
    patterns = single_click(link)
    assume(np.trace(patterns[0]).real > 1e-9)
    agree(link.heralded(), patterns)


@pytest.mark.parametrize(
    ("transmission", "dark", "visibility", "resolving", "phase", "flip"),
    [
        ((1.0, 1.0), 0.0, 1.0, False, 0.0, 0.0),
        ((1.0, 1.0), 0.0, 0.9, True, 0.3, 0.0),
        ((0.3, 0.8), 0.05, 0.7, False, 0.0, 0.02),
        ((0.3, 0.8), 0.05, 0.7, True, 0.5, 0.0),
        ((1e-3, 2e-2), 1e-4, 0.93, False, 0.2, 0.01),
        ((0.0, 0.5), 0.3, 0.0, False, 0.0, 0.0),
        ((0.4, 0.4), 0.9, 1.0, True, 2.0, 0.5),
    ],
)
def test_double_click_is_the_optics(
    transmission: tuple[float, float],
    dark: float,
    visibility: float,
    resolving: bool,
    phase: float,
    flip: float,
) -> None:
    link = DoubleClick(
        length_km=1.0,
        transmission=transmission,
        dark_count_probability=dark,
        visibility=visibility,
        number_resolving=resolving,
        phase_noise_rad=phase,
        dephasing_probability=flip,
    )
    agree(link.heralded(), double_click(link))


def test_imperfect_emission_is_a_pauli_error_of_each_photon() -> None:
    link = DoubleClick(
        length_km=1.0,
        transmission=(0.3, 0.6),
        dark_count_probability=0.02,
        visibility=0.9,
        emission_fidelity=(0.94, 0.85),
    )
    left, right = ({"I": f} | dict.fromkeys("XYZ", (1.0 - f) / 3.0) for f in (0.94, 0.85))
    patterns = [np.zeros((4, 4), dtype=complex) for _ in range(4)]
    for one, other in itertools.product("IXYZ", repeat=2):
        for total, rho in zip(patterns, double_click(link, (one, other)), strict=True):
            total += left[one] * right[other] * rho
    agree(link.heralded(), patterns)


def test_two_photons_bunch_as_visibility_says() -> None:
    """The reference itself: a Hong-Ou-Mandel dip of depth V."""
    for v in (0.0, 0.6, 1.0):
        state = np.zeros((1, 1, *DIMS), dtype=complex)
        photon(state, (0, 0), {LEFT: 1, RIGHT: 1}, np.sqrt(v))
        photon(state, (0, 0), {LEFT: 1, RIGHT_OTHER: 1}, np.sqrt(1.0 - v))
        n = np.indices(DIMS)
        split = (n[LEFT] + n[LEFT_OTHER] == 1) & (n[RIGHT] + n[RIGHT_OTHER] == 1)
        seen = optics(state, 2, (1.0, 1.0))[0, 0]
        assert np.sum(np.abs(seen[split]) ** 2) == pytest.approx((1.0 - v) / 2.0, abs=1e-12)
