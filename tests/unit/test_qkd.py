"""Quantum keys: every step against a closed form, a naive computation or a property."""

import math
from itertools import pairwise
from typing import Any

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.commands.qkd import command
from controller.qkd.cascade import reconcile
from controller.qkd.distillation import distil
from controller.qkd.finite_key import (
    Security,
    asymptotic_rate,
    binary_entropy,
    deviation,
    key_length,
)
from controller.qkd.hashing import pack, toeplitz, unpack
from controller.qkd.relay import relay
from controller.qkd.route import expected_errors, find_route
from controller.qkd.sifting import choose_bases, sift
from quantum.errors import InputError
from quantum.topology import load_topology


def noisy(size: int, rate: float, seed: int) -> tuple[Any, Any, np.random.Generator]:
    rng = np.random.default_rng(seed)
    alice = rng.integers(0, 2, size, dtype=np.uint8)
    return alice, alice ^ (rng.random(size) < rate).astype(np.uint8), rng


@settings(max_examples=60, deadline=None)
@given(
    size=st.integers(1, 600),
    rate=st.floats(0.0, 0.25),
    guess=st.floats(0.0, 0.5),
    seed=st.integers(0, 2**32),
)
def test_cascade_leaves_no_block_odd(size: int, rate: float, guess: float, seed: int) -> None:
    """Whatever was expected: the number of errors that are left is even in every block."""
    alice, bob, rng = noisy(size, rate, seed)
    before = bob.copy()
    found = reconcile(alice, bob, guess, rng)
    assert (bob == before).all()
    left = np.count_nonzero(found.key != alice)
    assert left % 2 == 0
    assert np.count_nonzero(found.key != bob) <= found.corrected
    assert found.leak_bits >= 1


@pytest.mark.parametrize("rate", [0.005, 0.02, 0.05, 0.1])
def test_cascade_corrects_near_the_published_efficiency(rate: float) -> None:
    """Within 1.05 to 1.3 times the Shannon limit, as published for the original protocol."""
    for seed in range(3):
        alice, bob, rng = noisy(50_000, rate, seed)
        found = reconcile(alice, bob, rate, rng)
        assert (found.key == alice).all()
        true = np.count_nonzero(alice != bob) / len(alice)
        assert 1.05 < found.leak_bits / len(alice) / binary_entropy(true) < 1.3


@settings(max_examples=40, deadline=None)
@given(rows=st.integers(1, 40), columns=st.integers(1, 60), seed=st.integers(0, 2**32))
def test_toeplitz_equals_the_matrix(rows: int, columns: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    diagonals = rng.integers(0, 2, rows + columns - 1, dtype=np.uint8)
    key = rng.integers(0, 2, columns, dtype=np.uint8)
    i, j = np.indices((rows, columns))
    matrix = diagonals[i - j + columns - 1]
    assert toeplitz(key, diagonals).tolist() == (matrix @ key % 2).tolist()


def test_a_long_key_is_hashed_without_rounding() -> None:
    rng = np.random.default_rng(3)
    key = np.ones(200_000, dtype=np.uint8)
    diagonals = np.ones(200_000 + 9, dtype=np.uint8)
    assert toeplitz(key, diagonals).tolist() == [0] * 10
    key[rng.integers(len(key))] = 0
    assert toeplitz(key, diagonals).tolist() == [1] * 10


def test_bits_and_bytes() -> None:
    assert pack(np.array([1, 0, 0, 0, 0, 0, 0, 1, 1], dtype=np.uint8)) == b"\x81"
    assert unpack(b"\x81").tolist() == [1, 0, 0, 0, 0, 0, 0, 1]


def test_the_finite_key_formula_by_hand() -> None:
    """Tomamichel et al. (2012), written out once more with other words."""
    n, k, q, leak, security = 100_000, 20_000, 0.02, 16_000, Security(1e-10, 1e-15)
    mu = math.sqrt((1 / n + 1 / k) * (1 + 1 / k) * math.log(4e10))
    x = q + mu
    h = -(x * math.log(x) + (1 - x) * math.log1p(-x)) / math.log(2)
    by_hand = n - n * h - leak - 1 - 2 * math.log2(1e10) - math.log2(1e15)
    assert key_length(n, k, q, leak, security) == math.floor(by_hand)
    assert deviation(n, k, 1e-10) == pytest.approx(mu)


@given(
    n=st.integers(1, 10**7),
    k=st.integers(1, 10**7),
    q=st.floats(0.0, 0.5),
    leak=st.integers(0, 10**7),
)
def test_more_errors_leaks_or_secrecy_never_make_a_longer_key(
    n: int, k: int, q: float, leak: int
) -> None:
    length = key_length(n, k, q, leak, Security())
    assert 0 <= length <= n
    assert key_length(n, k, min(0.5, q + 0.01), leak, Security()) <= length
    assert key_length(n, k, q, leak + 5, Security()) <= max(0, length - 4)
    assert key_length(n, k, q, leak, Security(secrecy=1e-12)) <= length
    assert key_length(n, k + 1000, q, leak, Security()) >= length


def test_the_finite_rate_tends_to_that_of_endless_pairs() -> None:
    n, q = 10**12, 0.03
    length = key_length(n, n, q, round(n * binary_entropy(q)), Security())
    assert length / n == pytest.approx(asymptotic_rate(q), abs=1e-4)
    assert asymptotic_rate(0.11) < 2e-3
    assert asymptotic_rate(0.111) == 0.0


def test_sifting_keeps_what_both_measured_alike() -> None:
    rng = np.random.default_rng(1)
    ours, theirs = (choose_bases(100_000, 0.3, rng) for _ in range(2))
    bits = rng.integers(0, 2, 100_000, dtype=np.uint8)
    kept = sift(ours, theirs, bits, bits)
    assert len(kept.alice) == pytest.approx(49_000, abs=500)
    assert len(kept.alice_test) == pytest.approx(9_000, abs=300)
    assert kept.test_error_rate == 0.0
    nothing = np.empty(0, dtype=np.uint8)
    none = np.empty(0, dtype=np.bool_)
    assert sift(none, none, nothing, nothing).test_error_rate == 1.0


def keyed(rate: float, test_rate: float, tolerance: float, pairs: int = 60_000) -> Any:
    rng = np.random.default_rng(9)
    ours, theirs = (choose_bases(pairs, 0.3, rng) for _ in range(2))
    alice = rng.integers(0, 2, pairs, dtype=np.uint8)
    errors = rng.random(pairs) < np.where(ours, test_rate, rate)
    sifted = sift(ours, theirs, alice, alice ^ errors.astype(np.uint8))
    return distil(sifted, tolerance, Security(), rng, rng)


def test_both_sides_get_one_key_that_looks_random() -> None:
    key = keyed(0.02, 0.02, 0.025)
    assert key.secret_bits > 10_000
    assert (key.alice == key.bob).all()
    assert abs(int(key.alice.sum()) - key.secret_bits / 2) < 4 * math.sqrt(key.secret_bits) / 2


def test_an_eavesdropper_in_the_key_basis_is_seen_in_the_test() -> None:
    """Who measures every pair in Z leaves ZZ as it is and makes XX a coin."""
    key = keyed(0.02, 0.5, 0.025)
    assert key.secret_bits == 0
    assert "more than the tolerance" in key.why


def test_few_pairs_make_no_key_and_say_why() -> None:
    assert "too few" in keyed(0.02, 0.02, 0.1, pairs=500).why
    assert "no pair was measured by both" in keyed(0.0, 0.0, 0.1, pairs=1).why


@given(st.lists(st.binary(min_size=8, max_size=12), min_size=1, max_size=6))
def test_trusted_nodes_pass_the_first_key_on(links: list[bytes]) -> None:
    keys = [unpack(part) for part in links]
    first, last = relay(keys, [key.copy() for key in keys])
    size = min(map(len, keys))
    assert first.tolist() == last.tolist() == keys[0][:size].tolist()


def test_a_route_is_the_best_and_its_errors_those_of_the_closed_form() -> None:
    network = load_topology("line-3", seed=0, fidelity=(0.95, 0.95))
    a, b = network.nodes[0], network.nodes[2]
    route = find_route(network, a, b)
    assert route.nodes == (0, 1, 2)
    correlator = (4 * 0.95 - 1) / 3
    assert expected_errors(network, route.links, 0.0)[0] == pytest.approx((1 - correlator**2) / 2)
    mesh = load_topology("mesh", seed=0)
    way = find_route(mesh, mesh.nodes[3], mesh.nodes[77])
    for (one, other), link in zip(pairwise(way.nodes), way.links, strict=True):
        assert sorted((one, other)) == mesh.links[link].tolist()


@pytest.mark.parametrize(
    ("source", "destination", "said"),
    [("Nowhere", "Utrecht", "no node"), ("Utrecht", "Utrecht", "two nodes share a key")],
)
def test_ends_that_cannot_be_are_named(source: str, destination: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        find_route(load_topology("surfnet", seed=0), source, destination)


def played(*words: str) -> tuple[int, dict[str, Any]]:
    result = CliRunner().invoke(command, [*words, "--json", "-"], catch_exceptions=False)
    return result.exit_code, msgspec.json.decode(result.stdout)


def test_keys_of_measured_pairs_on_two_backends() -> None:
    """Real workers over ZeroMQ; Aer and the closed form agree outcome by outcome."""
    words = ("Amsterdam", "Utrecht", "--pairs", "12000", "--seed", "3")
    told = [played(*words, "--backend", name) for name in ("analytic", "aer")]
    for code, summary in told:
        assert code == 0
        assert summary["keys_equal"]
        assert summary["secret_bits"] > 500
        (part,) = summary["stretches"]
        deviation_ = math.sqrt(part["expected_qber_key"] / part["sifted_bits"])
        assert abs(part["qber_key"] - part["expected_qber_key"]) < 4 * deviation_
    assert {**told[0][1], "backend": ""} == {**told[1][1], "backend": ""}


def test_trusted_nodes_are_named_and_cost_security() -> None:
    code, summary = played(
        *("Amsterdam", "Eindhoven", "--backend", "analytic", "--pairs", "15000"),
        *("--trust", "trusted-nodes"),
    )
    assert code == 0
    assert summary["trusted_nodes"] == ["Utrecht"]
    assert summary["secrecy"] == pytest.approx(2e-10)
    assert len(summary["stretches"]) == 2


def test_bad_options_are_named() -> None:
    for option, value, said in (
        ("--pairs", "0", "pairs must be at least 1"),
        ("--test-share", "1.5", "test_share must be between"),
        ("--tolerance", "0.7", "tolerance"),
        ("--secrecy", "0", "secrecy must be between"),
        ("--backend", "nope", "backend 'nope' is unknown"),
        ("--wait-s", "-1", "wait_s must be"),
    ):
        with pytest.raises(InputError, match=said):
            CliRunner().invoke(
                command,
                ["Amsterdam", "Utrecht", "--backend", "analytic", "--quiet", option, value],
                catch_exceptions=False,
            )
