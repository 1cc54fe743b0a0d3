"""Pairs that are measured directly, and states that are prepared from afar."""

import math

import numpy as np
import pytest
from netqasm.qlink_compat import Basis, RandomBasis
from netqasm.sdk.build_epr import EprMeasBasis
from netqasm.sdk.qubit import QubitMeasureAxes
from squid_plays import measuring, play

from backends.squid.bases import Wish, measurement
from backends.squid.engines.branches import branches, probabilities
from backends.squid.errors import SquidError
from backends.squid.run import Simulation


@pytest.mark.parametrize(
    ("basis", "sign"),
    [("X", 1), ("Y", -1), ("Z", 1), ("MX", 1), ("MY", -1), ("MZ", 1)],
)
@pytest.mark.parametrize("axes", list(QubitMeasureAxes))
def test_both_ends_are_measured_in_the_basis_asked_for(basis, sign, axes):
    bases = {
        "basis_local": EprMeasBasis[basis],
        "basis_remote": EprMeasBasis[basis],
        "rotation_axes_local": axes,
        "rotation_axes_remote": axes,
    }
    (alice,), (bob,) = play(
        {
            "Alice": measuring("create", number=25, **bases),
            "Bob": measuring("recv", number=25),
        }
    )
    assert {a ^ b for a, b in zip(alice, bob, strict=True)} == {0 if sign > 0 else 1}
    assert 0 < sum(alice) < 25


@pytest.mark.parametrize(("local", "remote"), [("X", "MX"), ("Z", "MZ"), ("MY", "MY")])
def test_opposite_bases_give_opposite_outcomes(local, remote):
    (alice,), (bob,) = play(
        {
            "Alice": measuring(
                "create", number=20, basis_local=EprMeasBasis[local],
                basis_remote=EprMeasBasis[remote],
            ),
            "Bob": measuring("recv", number=20),
        }
    )  # fmt: skip
    assert all(a != b for a, b in zip(alice, bob, strict=True))


def test_rotations_are_multiples_of_pi_over_16():
    """Phi+ in Z and in Z turned by theta about X: equal with cos^2(theta/2)."""
    number, theta = 2000, 5.0 * math.pi / 16.0
    (alice,), (bob,) = play(
        {
            "Alice": measuring("create", number=number, rotations_local=(5, 0, 0)),
            "Bob": measuring("recv", number=number),
        }
    )
    equal = np.mean(np.array(alice) == np.array(bob))
    chance = math.cos(theta / 2.0) ** 2
    assert abs(equal - chance) < 5.0 * math.sqrt(chance * (1.0 - chance) / number)


@pytest.mark.parametrize(
    ("family", "members"),
    [
        (RandomBasis.XZ, {Basis.X, Basis.Z}),
        (RandomBasis.XYZ, {Basis.X, Basis.Y, Basis.Z}),
        (RandomBasis.CHSH, {Basis.ZPLUSX, Basis.ZMINUSX}),
    ],
)
def test_random_bases_are_reported_and_used(family, members):
    number = 1500

    def body(verb, peer, **options):
        def steps(context):
            results = getattr(context.epr_sockets[peer], f"{verb}_measure")(
                number=number, **options
            )
            yield from context.connection.flush()
            array = context.connection.shared_memory.get_array(
                results[0].raw_measurement_outcome._address
            )
            return np.array(array).reshape(-1, 10)[:, [2, 3]]

        return steps

    (alice,), (bob,) = play(
        {
            "Alice": body("create", "Bob", random_basis_local=family, random_basis_remote=family),
            "Bob": body("recv", "Alice"),
        }
    )
    vectors = {
        Basis.X: (1, 0, 0), Basis.Y: (0, 1, 0), Basis.Z: (0, 0, 1),
        Basis.ZPLUSX: (2**-0.5, 0, 2**-0.5), Basis.ZMINUSX: (-(2**-0.5), 0, 2**-0.5),
    }  # fmt: skip
    assert set(alice[:, 1]) == set(bob[:, 1]) == {basis.value for basis in members}
    for one in members:
        for other in members:
            chosen = (alice[:, 1] == one.value) & (bob[:, 1] == other.value)
            count = int(chosen.sum())
            expected = number / len(members) ** 2
            assert abs(count - expected) < 5.0 * math.sqrt(expected)
            a, b = vectors[one], vectors[other]
            wanted = a[0] * b[0] - a[1] * b[1] + a[2] * b[2]
            seen = 1.0 - 2.0 * np.mean(alice[chosen, 0] ^ bob[chosen, 0])
            assert abs(seen - wanted) < 5.0 * math.sqrt(max(1.0 - wanted**2, 1e-12) / count) + 1e-9


def test_probabilities_of_bases_are_of_255():
    rng = np.random.default_rng(3)
    wish = Wish(random=RandomBasis.XYZ.value, weights=(51, 102))
    seen = np.bincount([measurement(wish, rng).basis for _ in range(4000)], minlength=3) / 4000
    for basis, chance in ((Basis.X, 0.2), (Basis.Y, 0.4), (Basis.Z, 0.4)):
        assert abs(seen[basis.value] - chance) < 5.0 * math.sqrt(chance * (1 - chance) / 4000)
    never = Wish(random=RandomBasis.XZ.value, weights=(0, 0))
    assert {measurement(never, rng).basis for _ in range(50)} == {Basis.Z.value}


@pytest.mark.parametrize(
    "options", [{"axes": 3}, {"random": 4}, {"random": 2, "weights": (200, 100)}]
)
def test_unknown_bases_are_refused(options):
    with pytest.raises(SquidError, match=r"axes 3|random basis 4|probabilities"):
        Wish(**options)


@pytest.mark.parametrize(
    ("rotations", "vector"),
    [((0, 0, 0), (0, 0, 1)), ((0, 24, 0), (1, 0, 0)), ((8, 0, 0), (0, -1, 0)), ((3, 0, 0), None)],
)
def test_the_receiver_gets_the_state_that_was_measured(rotations, vector):
    simulation = Simulation()
    pauli = np.array([[[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]])
    if vector is None:
        angle = 3.0 * math.pi / 16.0
        vector = (0.0, -math.sin(angle), math.cos(angle))

    def alice(context):
        (result,) = context.epr_sockets["Bob"].create_rsp(rotations_local=rotations)
        yield from context.connection.flush()
        return int(result.raw_measurement_outcome)

    def bob(context):
        (qubit,) = context.epr_sockets["Alice"].recv_rsp()
        yield from context.connection.flush()
        return simulation.state([simulation.qubit("Bob", qubit.qubit_id)])

    outcomes, states = play({"Alice": alice, "Bob": bob}, None, 12, simulation=simulation)
    assert set(outcomes) == {0, 1}
    for outcome, state in zip(outcomes, states, strict=True):
        bloch = np.einsum("ij,aji->a", state, pauli).real
        np.testing.assert_allclose(bloch, np.array(vector) * (1 - 2 * outcome), atol=1e-12)


def test_chances_of_chsh_bases_are_exact():
    """Phi+ in (Z+X)/sqrt(2) at one end, by chance, and Z at the other: cos^2(pi/8) equal."""

    def body(verb, peer, **options):
        def steps(context):
            (result,) = getattr(context.epr_sockets[peer], f"{verb}_measure")(**options)
            yield from context.connection.flush()
            address = result.raw_measurement_outcome._address
            return tuple(context.connection.shared_memory.get_array(address)[2:4])

        return steps

    found = branches(
        lambda draws: play(
            {
                "Alice": body("create", "Bob", random_basis_local=RandomBasis.CHSH),
                "Bob": body("recv", "Alice"),
            },
            rng=draws,
        )
    )
    chances = probabilities(found, lambda result: (*result[0][0], *result[1][0]))
    equal, other = math.cos(math.pi / 8) ** 2 / 4, math.sin(math.pi / 8) ** 2 / 4
    # At Bob's end no basis is chosen by chance, which is written as Z.
    assert chances == pytest.approx(
        {
            (a, basis.value, b, 0): equal if a == b else other
            for basis in (Basis.ZPLUSX, Basis.ZMINUSX)
            for a in (0, 1)
            for b in (0, 1)
        },
        abs=1e-9,
    )
