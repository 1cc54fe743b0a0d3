"""What may be asked, and how what was got is said: pure functions of the desk."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from controller.service.answers import Waiting
from controller.service.stock import Stock
from controller.service.terms import Terms
from quantum.errors import Code
from quantum.requests import Ask, Measured, Pair

__all__ = ["Refusal", "pairs_of", "refusal"]


class Refusal(NamedTuple):
    """Why a request is not taken in, and after how long it may come again; 0: never."""

    code: Code
    why: str
    retry_s: float = 0.0


def refusal(
    ask: Ask,
    terms: Terms,
    now_s: float,
    network: str,
    nodes: Mapping[str, int],
    has_left: Callable[[str], bool] = lambda _: False,
) -> Refusal | None:
    """Say what is wrong with a request itself, naming the field and what is allowed."""
    left_s = ask.deadline_s - now_s
    a, b = ask.source, ask.destination
    if (
        0.0 < left_s <= terms.most_s
        and 1 <= ask.pairs <= terms.most_pairs
        and 0.0 <= ask.minimum_fidelity <= 1.0
        and a in nodes
        and b in nodes
        and a != b
    ):
        return None
    if not left_s > 0.0:
        return Refusal(Code.NOTIME, "the deadline has passed")
    if left_s > terms.most_s:
        return Refusal(Code.CREATE, f"deadline_s may be {terms.most_s:g} s ahead at most")
    if not 1 <= ask.pairs <= terms.most_pairs:
        return Refusal(Code.CREATE, f"pairs must be 1 to {terms.most_pairs}, got {ask.pairs}")
    if not 0.0 <= ask.minimum_fidelity <= 1.0:
        return Refusal(Code.CREATE, "minimum_fidelity must be between 0 and 1")
    for what, name in (("source", a), ("destination", b)):
        if name not in nodes and has_left(name):
            return Refusal(Code.CREATE, f"{what} {name!r} has left network {network}")
        if name not in nodes:
            return Refusal(Code.CREATE, f"{what} {name!r} is no node of network {network}")
    return Refusal(Code.CREATE, "source and destination must be two nodes")


def pairs_of(waiting: Waiting, stock: Stock) -> tuple[tuple[Pair, ...], tuple[Measured, ...]]:
    """Return the pairs that a request has got, and the measured fidelities of their kinds."""
    a, b = waiting.ask.source, waiting.ask.destination
    if len(waiting.pairs) == 1:
        ((number, hops, fidelity),) = waiting.pairs
        return (Pair(a, b, number, fidelity, 0),), (stock.measured(hops),)
    kinds: dict[int, int] = {}
    # Lists are made faster than what a generator gives.
    pairs = [
        Pair(a, b, number, fidelity, kinds.setdefault(hops, len(kinds)))
        for number, hops, fidelity in waiting.pairs
    ]
    return tuple(pairs), tuple([stock.measured(hops) for hops in kinds])
