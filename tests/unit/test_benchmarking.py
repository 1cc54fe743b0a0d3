"""Network benchmarking: Cliffords, sequences, the fit, and what its interval promises."""

import math

import numpy as np
import pytest

from backends.bouncing import Hop, Spam, passage_f, round_trips, survival
from quantum.errors import InputError
from quantum.estimation.benchmarking import (
    average_fidelity,
    check_lengths,
    draw_sequences,
    entanglement_fidelity,
    fit,
)
from quantum.estimation.cliffords import BLOCH, INVERSE, PRODUCT, UNITARY, after_all
from quantum.program import Gates, Memory
from quantum.seeding import generator

LENGTHS = (0, 1, 2, 4, 8, 16, 32)
PAULI = np.array([[[1, 0], [0, 1]], [[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]])


# -- Cliffords and sequences ---------------------------------------------------------------------


def test_the_cliffords_are_the_turns_of_a_cube():
    assert len({matrix.tobytes() for matrix in BLOCH}) == 24
    assert np.array_equal(np.abs(BLOCH[:, 1:, 1:]).sum(axis=1), np.ones((24, 3)))
    assert np.allclose(np.linalg.det(BLOCH), 1.0)
    for unitary, turn in zip(UNITARY, BLOCH, strict=True):
        assert np.abs(unitary @ unitary.conj().T - np.eye(2)).max() < 1e-14
        for axis in range(4):
            image = np.einsum("i,iab->ab", turn[:, axis], PAULI)
            assert np.abs(unitary @ PAULI[axis] @ unitary.conj().T - image).max() < 1e-14


def test_products_and_inverses_are_those_of_matrices():
    rng = generator(1, "test")
    for a, b in rng.integers(24, size=(40, 2)):
        assert np.array_equal(BLOCH[PRODUCT[a, b]], BLOCH[a] @ BLOCH[b])
    assert np.array_equal(BLOCH[INVERSE], BLOCH.transpose(0, 2, 1))


def test_the_last_clifford_undoes_a_sequence():
    drawn = draw_sequences(2, 5, 10, 50)
    for row, last in zip(drawn.cliffords, drawn.last, strict=True):
        total = np.eye(4)
        for number in row:
            total = BLOCH[number] @ total
        assert np.array_equal(BLOCH[last] @ total, np.eye(4))
    assert np.array_equal(PRODUCT[drawn.last, after_all(drawn.cliffords)], np.zeros(50))


def test_sequences_are_uniform_and_keyed():
    drawn = draw_sequences(3, 1, 20, 2400)
    counts = np.bincount(drawn.cliffords.ravel(), minlength=24)
    assert np.abs(counts - 2000).max() < 5.0 * math.sqrt(2000)
    assert abs(int(drawn.flipped.sum()) - 1200) < 5.0 * math.sqrt(600)
    again, other = draw_sequences(3, 1, 20, 2400), draw_sequences(3, 2, 20, 2400)
    assert np.array_equal(drawn.cliffords, again.cliffords)
    assert not np.array_equal(drawn.cliffords, other.cliffords)


# -- the fit -------------------------------------------------------------------------------------


def counts(lengths, f, amplitude, sequences, shots, rng):
    chance = 0.5 + 0.5 * amplitude * f ** (2.0 * np.array(lengths))
    return rng.binomial(shots, np.repeat(chance[:, None], sequences, axis=1))


def test_counts_without_scatter_give_back_the_decay():
    f, amplitude, shots = 0.93, 0.9, 10**7
    chance = 0.5 + 0.5 * amplitude * f ** (2.0 * np.array(LENGTHS))
    table = np.repeat(np.rint(chance * shots).astype(np.int64)[:, None], 10, axis=1)
    found = fit(LENGTHS, table, shots)
    assert found.f.best == pytest.approx(f, abs=1e-6)
    assert found.amplitude == pytest.approx(amplitude, abs=1e-6)
    assert found.f.low < f < found.f.high
    assert found.f.high - found.f.low < 2e-3


def test_the_best_is_the_maximum_of_the_likelihood():
    rng = generator(4, "test")
    table = counts(LENGTHS, 0.9, 0.95, 20, 40, rng)
    found = fit(LENGTHS, table, 40)
    passed, total = table.sum(axis=1), 800

    def likelihood(f, amplitude):
        p = 0.5 + 0.5 * amplitude * f ** (2.0 * np.array(LENGTHS))
        return float((passed * np.log(p) + (total - passed) * np.log1p(-p)).sum())

    best = likelihood(found.f.best, found.amplitude)
    grid = [
        likelihood(found.f.best + df, min(1.0, found.amplitude + da))
        for df in np.linspace(-0.02, 0.02, 41)
        for da in np.linspace(-0.02, 0.02, 41)
    ]
    assert best >= max(grid) - 1e-9
    assert best < max(grid) + 1e-3


def test_an_ideal_link_gives_one_and_a_bound_below():
    table = np.full((len(LENGTHS), 50), 100)
    found = fit(LENGTHS, table, 100)
    assert found.f.best == pytest.approx(1.0, abs=1e-9)
    assert found.f.high == 1.0
    assert found.amplitude == pytest.approx(1.0, abs=1e-9)
    assert 0.9999 < found.f.low < 1.0
    assert found.link_fidelity.best == entanglement_fidelity(found.f.best)


def test_a_link_that_mixes_fully_gives_nothing():
    rng = generator(5, "test")
    found = fit(LENGTHS, counts(LENGTHS, 0.0, 0.9, 50, 100, rng), 100)
    assert found.f.low == 0.0
    assert found.f.high < 0.3
    assert found.link_fidelity.low == 0.25


def test_ends_that_lose_everything_leave_the_link_unknown():
    rng = generator(6, "test")
    found = fit(LENGTHS, counts(LENGTHS, 0.95, 0.0, 50, 100, rng), 100)
    assert (found.f.low, found.f.high) == (0.0, 1.0)


def test_fidelities_follow_from_f():
    rng = generator(7, "test")
    found = fit(LENGTHS, counts(LENGTHS, 0.9, 0.9, 20, 20, rng), 20)
    for name, convert in (
        ("average_fidelity", average_fidelity),
        ("link_fidelity", entanglement_fidelity),
    ):
        given = getattr(found, name)
        for end in ("low", "best", "high"):
            assert getattr(given, end) == convert(getattr(found.f, end))
    assert found.f.low <= found.f.best <= found.f.high
    wider = fit(
        LENGTHS, counts(LENGTHS, 0.9, 0.9, 20, 20, generator(7, "test")), 20, confidence=0.99
    )
    assert wider.f.low < found.f.low and wider.f.high > found.f.high


def promised(runs):
    """What 95 % shows at least, five standard deviations down."""
    return 0.95 * runs - 5.0 * math.sqrt(runs * 0.95 * 0.05)


COINS = [
    (0.0, 0.9, 20, 20),
    (0.4, 1.0, 20, 20),
    (0.9333, 0.9, 10, 20),
    (0.9333, 1.0, 50, 100),
    (0.9867, 0.8, 300, 1),
    (0.9987, 1.0, 20, 20),
    (0.9999, 0.95, 50, 100),
    (1.0, 1.0, 20, 20),
]


def test_the_interval_holds_the_truth_as_often_as_promised():
    runs, inside = 400, []
    for f, amplitude, sequences, shots in COINS:
        rng = generator(8, "test", int(1e4 * f), sequences)
        held = 0
        for _ in range(runs):
            found = fit(LENGTHS, counts(LENGTHS, f, amplitude, sequences, shots, rng), shots)
            held += found.f.low - 1e-12 <= f <= found.f.high + 1e-12
        inside.append(held)
    assert min(inside) >= promised(runs)
    assert sum(inside) >= promised(runs * len(COINS))


HOPS = {
    "Werner": Hop(np.diag([1.0, 0.93, -0.93, 0.93])),
    "dephased": Hop(np.diag([1.0, 0.7, -0.7, 1.0])),
    "relaxing": Hop(
        np.diag([1.0, 0.96, -0.96, 0.98]), Gates(1.0, 0.01, 0.01), Memory(1.0, 0.5), 0.05
    ),
}


def test_it_holds_also_where_sequences_differ():
    """Dephasing hits some sequences harder: their counts scatter more than coins."""
    spam, runs, inside = Spam(0.02, 0.01, 0.05), 250, []
    for name, hop in HOPS.items():
        for sequences, shots in ((20, 50), (100, 100)):
            rng = generator(9, "test", name, sequences)
            chances = []
            for m in LENGTHS:
                drawn = draw_sequences(9, m, 2 * m, runs * sequences)
                chance = survival(round_trips([hop], m), drawn, spam)
                chances.append(chance.reshape(runs, sequences))
            f, held = passage_f([hop]), 0
            for own in np.stack(chances, axis=1):
                found = fit(LENGTHS, rng.binomial(shots, own), shots)
                held += found.f.low <= f <= found.f.high
            inside.append(held)
    assert min(inside) >= promised(runs)
    assert sum(inside) >= promised(runs * len(inside))


def test_readout_errors_do_not_move_the_estimate_but_the_naive_one():
    hop = Hop(np.diag([1.0, 0.96, -0.96, 0.96]))
    found, naive = [], []
    for error in (0.0, 0.05):
        spam = Spam(0.0, error, error)
        table = []
        for m in LENGTHS:
            chance = survival(round_trips([hop], m), draw_sequences(10, m, 2 * m, 200), spam)
            table.append(generator(10, "shots", m).binomial(200, chance))
        found.append(fit(LENGTHS, np.array(table), 200).link_fidelity)
        naive.append(survival([hop], draw_sequences(10, "one way", 1, 200), spam).mean())
    width = found[0].high - found[0].low
    assert width < 0.004
    assert abs(found[0].best - found[1].best) < width
    assert all(one.low <= 0.97 <= one.high for one in found)
    assert naive[0] == pytest.approx(0.98, abs=1e-12)
    assert naive[1] == pytest.approx(0.5 + 0.48 * 0.9, abs=1e-12)
    assert naive[0] - naive[1] > 10.0 * width


# -- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lengths", "message"),
    [
        ((4,), "at least two"),
        ((), "at least two"),
        ((1, 1, 2), "differ"),
        ((-1, 2), "between 0 and"),
        ((1, 10**9), "between 0 and"),
    ],
)
def test_lengths_that_tell_nothing_are_refused(lengths, message):
    with pytest.raises(InputError, match=message):
        check_lengths(lengths)
    assert check_lengths((8, 0, 3)) == (0, 3, 8)


@pytest.mark.parametrize(
    ("lengths", "table", "shots", "message"),
    [
        ((0, 1), np.zeros((3, 5)), 10, "shape"),
        ((0, 1), np.zeros((2, 1)), 10, "shape"),
        ((0, 1), np.full((2, 5), 11), 10, "between 0 and shots"),
        ((0, 1), np.full((2, 5), -1), 10, "between 0 and shots"),
        ((0, 1), np.zeros((2, 5)), 0, "between 0 and shots"),
        ((1, 0), np.zeros((2, 5)), 10, "ascend"),
    ],
)
def test_counts_that_cannot_be_are_refused(lengths, table, shots, message):
    with pytest.raises(InputError, match=message):
        fit(lengths, table.astype(np.int64), shots)


@pytest.mark.parametrize("confidence", [0.0, 1.0, math.nan])
def test_confidence_is_a_probability(confidence):
    with pytest.raises(InputError, match="confidence"):
        fit((0, 1), np.ones((2, 5), dtype=np.int64), 2, confidence=confidence)
