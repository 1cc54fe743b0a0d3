"""E91: settings, Bell test and key, against closed forms, by coverage and by properties."""

import math
from typing import Any

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.commands.qkd import command
from controller.qkd import bell_security
from controller.qkd.bell_security import entropy_rate, key_length, part_entropy
from controller.qkd.ekert import EkertKey, distil_rounds, expected_s, tolerated_s
from controller.qkd.finite_key import Security
from controller.qkd.pairs import Bench
from controller.qkd.plan import Plan
from controller.qkd.route import find_route
from controller.qkd.session import agree
from controller.qkd.settings import (
    ALICE_RAD,
    BOB_RAD,
    Rounds,
    choose_settings,
    sift_rounds,
    used,
)
from quantum.errors import InputError
from quantum.estimation.chsh import TSIRELSON, chsh, floor_of
from quantum.topology import load_topology

LOOSE = Security(secrecy=1e-3, correctness=1e-3)


def werner_rounds(visibility: float, pairs: int, seed: int, share: float = 0.3) -> Rounds:
    """Rounds of E91 on pairs with E(a, b) = V cos(a - b), drawn without any backend."""
    rng = np.random.default_rng(seed)
    ours, theirs = choose_settings(pairs, share, 1, rng), choose_settings(pairs, share, 0, rng)
    correlation = visibility * np.cos(np.array(ALICE_RAD)[ours] - np.array(BOB_RAD)[theirs])
    alice = rng.integers(0, 2, pairs, dtype=np.uint8)
    differ = (rng.random(pairs) >= (1.0 + correlation) / 2.0).astype(np.uint8)
    return Rounds(ours, theirs, alice, alice ^ differ)


def key_of(visibility: float, pairs: int, seed: int = 1, **more: Any) -> EkertKey:
    rng = np.random.default_rng(seed)
    expected = TSIRELSON * visibility
    options = {
        "expected": expected,
        "expected_error_rate": (1.0 - visibility) / 2.0,
        "tolerance": tolerated_s(expected, pairs, 0.3),
        "security": LOOSE,
        **more,
    }
    sifted = sift_rounds(werner_rounds(visibility, pairs, seed))
    return distil_rounds(sifted, shuffles=rng, secret=rng, **options)


def test_two_settings_match_and_four_test_with_one_minus_sign() -> None:
    ours, theirs = np.divmod(np.arange(9), 3)
    zero = np.zeros(9, dtype=np.uint8)
    sifted = sift_rounds(Rounds(ours, theirs, zero, zero))
    assert [len(part.alice) for part in sifted.matched] == [1, 1]
    assert np.isclose(ALICE_RAD[1], BOB_RAD[0])
    assert np.isclose(ALICE_RAD[2], BOB_RAD[1])
    assert used(ours, theirs).sum() == 6
    # All equal: three settings won, the one with the minus sign lost.
    assert [t.passed for t in sifted.test.tallies] == [1, 1, 1, 0]
    # The best that local hidden variables can do.
    assert chsh(sifted.test).observed == 2.0


@settings(max_examples=50, deadline=None)
@given(
    cases=st.lists(st.tuples(*[st.integers(0, 2)] * 2, *[st.integers(0, 1)] * 2), max_size=60),
)
def test_every_round_goes_to_one_place_only(cases: list[tuple[int, int, int, int]]) -> None:
    table = np.array(cases, dtype=np.int64).reshape(-1, 4)
    rounds = Rounds(table[:, 0], table[:, 1], *table[:, 2:].T.astype(np.uint8))
    sifted = sift_rounds(rounds)
    kept = sum(len(part.alice) for part in sifted.matched)
    assert kept + sifted.test.rounds == used(rounds.alice_setting, rounds.bob_setting).sum()
    lead = sifted.matched
    assert (lead[0].alice_leads, lead[1].alice_leads) == (False, True)


def test_settings_are_drawn_as_they_are_said() -> None:
    found = choose_settings(100_000, 0.3, 1, np.random.default_rng(4))
    assert np.bincount(found) / 1e5 == pytest.approx([0.15, 0.7, 0.15], abs=0.006)
    even = choose_settings(100_000, 2 / 3, 0, np.random.default_rng(4))
    assert np.bincount(even) / 1e5 == pytest.approx([1 / 3] * 3, abs=0.008)


def test_the_entropy_by_hand() -> None:
    """Acin et al. (2007), written out once more: the eigenvalues of what Eve holds."""
    for s in (2.01, 2.3, 2.6, 2.8):
        big = (1 + math.sqrt(s * s / 4 - 1)) / 2
        chi = -big * math.log2(big) - (1 - big) * math.log2(1 - big)
        assert entropy_rate(s) == pytest.approx(1 - chi, abs=1e-12)
    # Their figure 2: Werner states give a key up to 7.1 % of errors.
    rates = [bell_security.asymptotic_rate(TSIRELSON * (1 - 2 * q), q) for q in (0.071, 0.072)]
    assert rates[0] > 0.0
    assert rates[1] == 0.0


def test_the_finite_entropy_by_hand() -> None:
    """Tomamichel, Colbeck, Renner (2009), theorem 9, for bits; smoothing is an eighth of it."""
    n, s, security = 300_000, 2.6, Security(1e-10, 1e-15)
    smooth = 1e-10 / 8
    by_hand = n * entropy_rate(s)
    by_hand -= math.sqrt(n) * 4 * math.log2(2 + math.sqrt(2)) * math.sqrt(math.log2(2 / smooth**2))
    assert part_entropy(n, s, security) == pytest.approx(by_hand)
    length = by_hand - 70_000 - 50 - 2 * math.log2(1e10)
    assert key_length([n], s, 70_000, security) == math.floor(length)
    assert part_entropy(100, TSIRELSON, security) == 0.0
    assert key_length([n], 2.0, 0, security) == 0


@given(
    n=st.integers(0, 10**7), s=st.floats(1.0, 2.83), told=st.integers(0, 10**6),
    more=st.floats(0.0, 0.5),
)  # fmt: skip
def test_less_violation_or_more_told_never_makes_a_longer_key(
    n: int, s: float, told: int, more: float
) -> None:
    length = key_length([n], s, told, LOOSE)
    assert 0 <= length <= n
    assert key_length([n], s - more, told, LOOSE) <= length
    assert key_length([n], s, told + 7, LOOSE) <= max(0, length - 6)
    assert key_length([n], s, told, Security()) <= length
    assert key_length([n, n // 3], s, told, LOOSE) >= length


def test_a_pair_at_the_floor_passes_as_rarely_as_was_promised() -> None:
    """Coverage: S of exactly the floor reaches the tolerance with the chance of the tail or less.

    Unequal numbers of rounds, correlations of Ekert's angles; a tail large enough to be seen.
    """
    rng = np.random.default_rng(5)
    rounds, tolerance, tail = np.array([150, 90, 150, 90]), 2.5, 0.05
    floor = floor_of(tolerance, int(rounds.min()), tail)
    assert 2.0 < floor < tolerance
    won = rng.binomial(rounds, 0.5 + floor / 8, (40_000, 4)) / rounds
    reached = np.mean(8 * won.mean(axis=1) - 4 >= tolerance)
    assert 0.0001 < reached <= tail
    assert floor_of(tolerance, 0, tail) == -4.0


@settings(max_examples=12, deadline=None)
@given(visibility=st.floats(0.985, 1.0), seed=st.integers(0, 2**32))
def test_both_ends_have_one_key(visibility: float, seed: int) -> None:
    """Whoever leads: both keys are equal, and as long as the floor and what was told allow."""
    key = key_of(visibility, 60_000, seed)
    if key.why:
        assert "less than the tolerance" in key.why
        return
    assert len(key.alice) > 0
    assert (key.alice == key.bob).all()
    assert 2.0 < key.bell.floor < key.bell.tolerance <= key.bell.s
    assert key.told_bits % 2 == 0
    assert key.corrected_bits <= key.sifted_bits
    assert key.error_rate == pytest.approx((1 - visibility) / 2, abs=0.003)
    spread = abs(int(key.alice.sum()) - len(key.alice) / 2)
    assert spread < 6 * math.sqrt(len(key.alice)) / 2


def test_the_interval_of_s_covers_the_closed_form() -> None:
    """A proven bound of 95 %, so it misses in 5 % of the tests at most."""
    visibility, hits = 0.9, 0
    for seed in range(60):
        bell = key_of(visibility, 4_000, seed).bell
        hits += bell.low <= TSIRELSON * visibility <= bell.high
        assert abs(bell.s - TSIRELSON * visibility) < 0.4
    assert hits >= 57


@pytest.mark.parametrize("visibility", [0.0, 0.5, 0.68])
def test_without_a_violation_there_is_no_key(visibility: float) -> None:
    """S = 2 sqrt(2) V does not exceed 2 up to V = .707."""
    key = key_of(visibility, 60_000)
    assert len(key.alice) == len(key.bob) == 0
    assert "violates no Bell inequality" in key.why
    assert key.told_bits == 0


def test_less_than_was_agreed_on_makes_no_key() -> None:
    key = key_of(0.95, 60_000, tolerance=2.8)
    assert "is less than the tolerance of 2.8000" in key.why
    assert key.told_bits == 0


def test_few_pairs_and_many_errors_say_why() -> None:
    assert "too few for that" in key_of(1.0, 2_000).why
    assert "never drawn by both" in key_of(1.0, 1).why
    noisy = key_of(0.9, 400_000)
    assert "tells more than" in noisy.why
    with pytest.raises(InputError, match="chsh_tolerance must be from 2"):
        key_of(1.0, 100, tolerance=3.0)


# The whole way: workers, circuits, keys.


def test_keys_of_rotated_pairs_on_two_backends() -> None:
    """Real workers over ZeroMQ; Aer and the closed form agree result by result."""
    network = load_topology("line-2", seed=0, fidelity=(0.999, 0.999))
    route = find_route(network, *network.nodes)
    plan = Plan(protocol="e91", pairs=24_000, secrecy=0.02, correctness=1e-3, seed=5)
    found = []
    for name in ("analytic", "aer"):
        with Bench(name, workers=1, seed=0) as bench:
            found.append(agree(network, route, plan, bench))
    for agreement in found:
        assert len(agreement.alice) > 300
        assert (agreement.alice == agreement.bob).all()
        (part,) = agreement.stretches
        assert part.bell is not None
        visibility = (4 * 0.999 - 1) / 3
        assert part.bell.expected_s == pytest.approx(TSIRELSON * visibility)
        # Five standard deviations of S: the rarest settings have 500 rounds each.
        assert abs(part.bell.s - part.bell.expected_s) < 5 * math.sqrt(0.5 * 2.35 / 500)
        assert part.secret_bits == len(agreement.alice)
        assert part.qber_test is None
    assert np.array_equal(found[0].alice, found[1].alice)
    assert found[0].stretches == found[1].stretches


def played(*words: str) -> tuple[int, dict[str, Any]]:
    given_ = ["Amsterdam", "Utrecht", "--backend", "analytic", *words, "--json", "-"]
    result = CliRunner().invoke(command, given_, catch_exceptions=False)
    return result.exit_code, msgspec.json.decode(result.stdout)


def test_who_measures_pairs_on_the_way_is_seen_by_both_protocols() -> None:
    code, summary = played("--protocol", "e91", "--pairs", "6000", "--eavesdrop", "1")
    (part,) = summary["stretches"]
    assert code == 1
    assert summary["secret_bits"] == 0
    assert "violates no Bell inequality" in part["why"]
    # What is left of phi_plus measured in Z: <XX> = 0, so S = sqrt(2) <ZZ>.
    zz = part["bell"]["expected_s"] / TSIRELSON
    assert part["bell"]["s"] == pytest.approx(expected_s(zz, 0.0), abs=0.35)
    assert "device-independent, against collective attacks" in summary["claim"]
    code, summary = played("--pairs", "6000", "--eavesdrop", "0.4")
    assert code == 1
    assert summary["stretches"][0]["qber_test"] == pytest.approx(0.2, abs=0.08)
    assert "more than the tolerance" in summary["stretches"][0]["why"]


def test_options_of_the_other_protocol_are_refused() -> None:
    for words, said in (
        (("--chsh-tolerance", "2.5"), "chsh_tolerance is not used by bbm92"),
        (("--protocol", "e91", "--tolerance", "0.03"), "tolerance is not used by e91"),
        (("--protocol", "e91", "--chsh-tolerance", "2"), "chsh_tolerance must be above 2"),
        (("--eavesdrop", "1.5"), "eavesdrop must be from 0 to 1"),
    ):
        with pytest.raises(InputError, match=said):
            played(*words)
