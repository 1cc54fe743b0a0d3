"""One key agreement between two nodes of a network, from pairs to two equal keys."""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from controller.qkd.distillation import Distilled, distil
from controller.qkd.ekert import EkertKey, distil_rounds, expected_s, tolerated_s
from controller.qkd.finite_key import Security, asymptotic_rate, binary_entropy
from controller.qkd.pairs import Bench
from controller.qkd.plan import Plan, Stretch
from controller.qkd.relay import relay
from controller.qkd.route import Route, expected_errors, program_of
from controller.qkd.settings import (
    ALICE_RAD,
    BOB_RAD,
    Rounds,
    choose_settings,
    sift_rounds,
    used,
)
from controller.qkd.sifting import choose_bases, sift
from quantum.network import Network
from quantum.program import Program
from quantum.seeding import generator

__all__ = ["Agreement", "Plan", "Stretch", "agree"]

Bits = NDArray[np.uint8]
Progress = Callable[[int], None]


class Agreement(NamedTuple):
    """Both keys (l,), the stretches, and the nodes that know the key besides the two ends."""

    alice: Bits
    bob: Bits
    stretches: tuple[Stretch, ...]
    knowing: tuple[str, ...]


def agree(
    network: Network,
    route: Route,
    plan: Plan,
    bench: Bench,
    progress: Progress = lambda _: None,
) -> Agreement:
    """Make keys along a route; both are empty where a stretch gives none.

    Randomness is keyed by ``plan.seed``: the same plan gives the same key on every backend, which
    is for studies. Keys of a simulator are no secrets.
    """
    plan.check()
    security = Security(plan.secrecy, plan.correctness)
    if plan.trust == "end-to-end":
        parts = [(route.nodes, route.links)]
    else:
        parts = [(route.nodes[i : i + 2], (link,)) for i, link in enumerate(route.links)]
    play = _bbm92 if plan.protocol == "bbm92" else _e91
    found: list[Distilled | EkertKey] = []
    stretches = []
    for number, (nodes, links) in enumerate(parts):
        errors = expected_errors(network, links, plan.wait_s)
        # The first link of the route is where somebody listens in.
        tapped = plan.eavesdrop if number == 0 else 0.0
        way = _Way(
            nodes=tuple(network.nodes[node] for node in nodes),
            program=program_of(network, links, plan.wait_s, tapped),
            correlators=(1.0 - 2.0 * errors[0], 1.0 - 2.0 * errors[1]),
            seed=plan.seed,
            number=number,
        )
        key, told = play(way, plan, security, bench, progress)
        found.append(key)
        stretches.append(told)
    alice, bob = relay([key.alice for key in found], [key.bob for key in found])
    between = route.nodes[1:-1] if plan.trust == "trusted-nodes" else ()
    return Agreement(alice, bob, tuple(stretches), tuple(network.nodes[n] for n in between))


class _Way(NamedTuple):
    """One stretch: its nodes' names, its program, and the generators that are keyed for it."""

    nodes: tuple[str, ...]
    program: Program
    correlators: tuple[float, float]
    """Those in ZZ and XX that the closed forms expect."""
    seed: int
    number: int

    def draw(self, name: str) -> np.random.Generator:
        """Return the generator of one purpose."""
        return generator(self.seed, "qkd", self.number, name)


def _bbm92(
    way: _Way, plan: Plan, security: Security, bench: Bench, progress: Progress
) -> tuple[Distilled, Stretch]:
    pairs, draw = plan.pairs_each, way.draw
    alice_basis = choose_bases(pairs, plan.test_share, draw("alice basis"))
    bob_basis = choose_bases(pairs, plan.test_share, draw("bob basis"))
    key_errors, test_errors = ((1.0 - each) / 2.0 for each in way.correlators)
    tolerance = plan.tolerance
    if tolerance is None:
        tested = max(1.0, pairs * plan.test_share**2)
        # Three standard deviations of an honest test, so that it is rarely in vain.
        margin = 3.0 * math.sqrt(max(test_errors * (1.0 - test_errors), 1.0 / tested) / tested)
        tolerance = min(0.5, test_errors + margin)
    same = np.flatnonzero(alice_basis == bob_basis)
    uniform = draw("outcomes").random(pairs)
    alice = draw("alice bits").integers(0, 2, pairs, dtype=np.uint8)
    # Pairs of different bases are made like all others, but nobody looks at what they gave.
    bob = draw("bob bits").integers(0, 2, pairs, dtype=np.uint8)
    errors = bench.errors(way.program, alice_basis[same].astype(np.int64), uniform[same], progress)
    bob[same] = alice[same] ^ errors
    sifted = sift(alice_basis, bob_basis, alice, bob)
    key = distil(sifted, tolerance, security, draw("shuffles"), draw("hashes"))
    n = key.sifted_bits
    rate = key.corrected_errors / n if n and key.leak_bits else None
    return key, Stretch(
        nodes=way.nodes,
        pairs=pairs,
        sifted_bits=n,
        test_bits=key.test_bits,
        qber_test=key.test_error_rate,
        qber_key=rate,
        expected_qber_test=test_errors,
        expected_qber_key=key_errors,
        tolerance=tolerance,
        leak_bits=key.leak_bits,
        correction_efficiency=_efficiency(key.leak_bits, n, rate),
        secret_bits=key.secret_bits,
        secret_bits_per_pair=key.secret_bits / pairs,
        asymptotic_bits_per_sifted=asymptotic_rate(max(key_errors, test_errors)),
        why=key.why,
    )


def _e91(
    way: _Way, plan: Plan, security: Security, bench: Bench, progress: Progress
) -> tuple[EkertKey, Stretch]:
    pairs, draw = plan.pairs_each, way.draw
    # Alice's middle angle and Bob's first are the same, and most of the key is measured there.
    alice_setting = choose_settings(pairs, plan.test_share, 1, draw("alice settings"))
    bob_setting = choose_settings(pairs, plan.test_share, 0, draw("bob settings"))
    zz, xx = way.correlators
    expected = expected_s(zz, xx)
    tolerance = plan.chsh_tolerance
    if tolerance is None:
        tolerance = tolerated_s(expected, pairs, plan.test_share)
    seen = np.flatnonzero(used(alice_setting, bob_setting))
    angles = np.column_stack(
        [np.array(ALICE_RAD)[alice_setting[seen]], np.array(BOB_RAD)[bob_setting[seen]]]
    )
    uniform = draw("outcomes").random(pairs)
    # What nobody looks at is not executed.
    alice, bob = np.zeros(pairs, dtype=np.uint8), np.zeros(pairs, dtype=np.uint8)
    alice[seen], bob[seen] = bench.results(way.program, angles, uniform[seen], progress)
    # At the angle of most key bits the correlation is the mean of those in ZZ and XX.
    errors = (1.0 - (zz + xx) / 2.0) / 2.0
    key = distil_rounds(
        sift_rounds(Rounds(alice_setting, bob_setting, alice, bob)),
        expected=expected,
        expected_error_rate=errors,
        tolerance=tolerance,
        security=security,
        shuffles=draw("shuffles"),
        secret=draw("hashes"),
    )
    secret = len(key.alice)
    return key, Stretch(
        nodes=way.nodes,
        pairs=pairs,
        sifted_bits=key.sifted_bits,
        test_bits=sum(key.bell.rounds),
        qber_test=None,
        qber_key=key.error_rate,
        expected_qber_test=None,
        expected_qber_key=errors,
        tolerance=None,
        leak_bits=key.told_bits,
        correction_efficiency=_efficiency(key.told_bits, key.corrected_bits, key.error_rate),
        secret_bits=secret,
        secret_bits_per_pair=secret / pairs,
        asymptotic_bits_per_sifted=key.asymptotic_rate,
        why=key.why,
        bell=key.bell,
    )


def _efficiency(told_bits: int, key_bits: int, error_rate: float | None) -> float | None:
    """Return the bits that were told over the Shannon limit of correction."""
    limit = key_bits * binary_entropy(error_rate) if error_rate else 0.0
    return told_bits / limit if limit else None
