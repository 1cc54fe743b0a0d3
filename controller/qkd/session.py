"""One key agreement between two nodes of a network, from pairs to two equal keys."""

import math
from collections.abc import Callable
from typing import Literal, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from controller.qkd.distillation import Distilled, distil
from controller.qkd.finite_key import Security, asymptotic_rate, binary_entropy
from controller.qkd.pairs import Bench
from controller.qkd.relay import relay
from controller.qkd.route import Route, expected_errors, program_of
from controller.qkd.sifting import choose_bases, sift
from quantum.errors import InputError
from quantum.network import Network
from quantum.seeding import generator

__all__ = ["Agreement", "Plan", "Stretch", "agree"]

Bits = NDArray[np.uint8]
Trust = Literal["end-to-end", "trusted-nodes"]


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What is agreed before the first pair is made.

    ``pairs`` are made on every stretch. ``tolerance`` is the error rate of the test up to which a
    key is made, None for what is expected plus a margin. ``wait_s`` is how long both ends of a pair
    wait before they are measured.
    """

    pairs: int = 100_000
    test_share: float = 0.3
    tolerance: float | None = None
    secrecy: float = 1e-10
    correctness: float = 1e-15
    wait_s: float = 0.0
    trust: Trust = "end-to-end"
    seed: int = 0

    def check(self) -> "Plan":
        """Refuse what no agreement can be made by, naming the field."""
        if self.pairs < 1:
            raise InputError(f"qkd.pairs must be at least 1, got {self.pairs}")
        if not 0.0 < self.test_share < 1.0:
            raise InputError(f"qkd.test_share must be between 0 and 1, got {self.test_share}")
        if self.tolerance is not None and not 0.0 <= self.tolerance <= 0.5:
            raise InputError(f"qkd.tolerance must be from 0 to 0.5, got {self.tolerance}")
        if not 0.0 <= self.wait_s < math.inf:
            raise InputError(f"qkd.wait_s must be >= 0 and finite, got {self.wait_s}")
        Security(self.secrecy, self.correctness).check()
        return self


class Stretch(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one stretch: the whole route, or a link between trusted nodes.

    Rates are dimensionless (0-1): ``qber_test`` was measured in XX, ``qber_key`` is known after
    correction, None without one; the expected ones are of the closed forms.
    """

    nodes: tuple[str, ...]
    pairs: int
    sifted_bits: int
    test_bits: int
    qber_test: float
    qber_key: float | None
    expected_qber_test: float
    expected_qber_key: float
    tolerance: float
    leak_bits: int
    correction_efficiency: float | None
    secret_bits: int
    secret_bits_per_pair: float
    asymptotic_bits_per_sifted: float
    why: str


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
    progress: Callable[[int], None] = lambda _: None,
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
    found, stretches = [], []
    for number, (nodes, links) in enumerate(parts):
        key, told = _stretch(network, nodes, links, plan, security, bench, number, progress)
        found.append(key)
        stretches.append(told)
    alice, bob = relay([key.alice for key in found], [key.bob for key in found])
    between = route.nodes[1:-1] if plan.trust == "trusted-nodes" else ()
    return Agreement(alice, bob, tuple(stretches), tuple(network.nodes[n] for n in between))


def _stretch(
    network: Network,
    nodes: tuple[int, ...],
    links: tuple[int, ...],
    plan: Plan,
    security: Security,
    bench: Bench,
    number: int,
    progress: Callable[[int], None],
) -> tuple[Distilled, Stretch]:
    def draw(name: str) -> np.random.Generator:
        return generator(plan.seed, "qkd", number, name)

    alice_basis = choose_bases(plan.pairs, plan.test_share, draw("alice basis"))
    bob_basis = choose_bases(plan.pairs, plan.test_share, draw("bob basis"))
    key_errors, test_errors = expected_errors(network, links, plan.wait_s)
    tolerance = plan.tolerance
    if tolerance is None:
        tested = max(1.0, plan.pairs * plan.test_share**2)
        # Three standard deviations of an honest test, so that it is rarely in vain.
        margin = 3.0 * math.sqrt(max(test_errors * (1.0 - test_errors), 1.0 / tested) / tested)
        tolerance = min(0.5, test_errors + margin)
    same = np.flatnonzero(alice_basis == bob_basis)
    uniform = draw("outcomes").random(plan.pairs)
    alice = draw("alice bits").integers(0, 2, plan.pairs, dtype=np.uint8)
    # Pairs of different bases are made like all others, but nobody looks at what they gave.
    bob = draw("bob bits").integers(0, 2, plan.pairs, dtype=np.uint8)
    program = program_of(network, links, plan.wait_s)
    errors = bench.errors(program, alice_basis[same].astype(np.int64), uniform[same], progress)
    bob[same] = alice[same] ^ errors
    sifted = sift(alice_basis, bob_basis, alice, bob)
    key = distil(sifted, tolerance, security, draw("shuffles"), draw("hashes"))
    n = key.sifted_bits
    rate = key.corrected_errors / n if n and key.leak_bits else None
    entropy = binary_entropy(rate) if rate else 0.0
    return key, Stretch(
        nodes=tuple(network.nodes[node] for node in nodes),
        pairs=plan.pairs,
        sifted_bits=n,
        test_bits=key.test_bits,
        qber_test=key.test_error_rate,
        qber_key=rate,
        expected_qber_test=test_errors,
        expected_qber_key=key_errors,
        tolerance=tolerance,
        leak_bits=key.leak_bits,
        correction_efficiency=key.leak_bits / (n * entropy) if entropy else None,
        secret_bits=key.secret_bits,
        secret_bits_per_pair=key.secret_bits / plan.pairs,
        asymptotic_bits_per_sifted=asymptotic_rate(max(key_errors, test_errors)),
        why=key.why,
    )
