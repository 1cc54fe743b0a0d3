"""All checks in their order, and the judge who turns what a check saw into a verdict."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Literal

from backends.conformance import rules
from backends.conformance.angles import results_at_angles
from backends.conformance.answers import Broken, Refused, answer
from backends.conformance.refusals import BAD_INPUT, refuses
from backends.conformance.registers import REGISTERS
from backends.conformance.systems import PAIRS
from backends.contract import Backend
from quantum.errors import DpemError

__all__ = ["THROWN", "Check", "check_backend", "checks", "names"]

Rule = Callable[[Backend], str]

#: What a foreign backend may throw; anything else is a reason to stop.
THROWN = (
    DpemError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    OSError,
    TypeError,
    ValueError,
    RuntimeError,
)

#: ``refused``: the backend says that it cannot do this, which it may.
Verdict = Literal["ok", "refused", "failed", "not checked"]


@dataclass(frozen=True)
class Check:
    """One rule, whether the backend keeps it, and what was seen."""

    name: str
    verdict: Verdict
    detail: str

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return self.verdict in ("ok", "refused")


def check_backend(backend: Backend) -> list[Check]:
    """Run all checks, each on its own; none depends on an earlier one."""
    return list(checks(backend))


def checks(backend: Backend) -> Iterator[Check]:
    """Run the checks one by one, in the order of :func:`names`."""
    for name, rule in _RULES:
        yield _judge(name, rule, backend)


def names() -> list[str]:
    """Name all checks."""
    return [name for name, _ in _RULES]


def _judge(name: str, rule: Rule, backend: Backend) -> Check:
    try:
        return Check(name, "ok", rule(backend))
    except Refused as refused:
        return Check(name, "refused", f"{refused}: allowed")
    except Broken as broken:
        return Check(name, "failed", str(broken))
    except THROWN as thrown:
        return Check(name, "failed", f"raised {type(thrown).__name__}: {thrown}")


def _rules() -> Iterator[tuple[str, Rule]]:
    yield "has a name", rules.named
    for system in (*PAIRS, *REGISTERS):
        yield f"system {system.name}", partial(answer, system)
    yield "bell states by basis", rules.bell_states
    yield "counts land in their basis", rules.counts_land
    yield "keep counts nothing", rules.keep
    yield "draws decide single shots", rules.draws_decide
    yield "both results at angles", results_at_angles
    yield "one outcome for each shot", rules.one_outcome
    yield "same generator, same counts", rules.reproducible
    yield "random bases are uniform", rules.uniform_bases
    yield "random stabilizers are uniform", rules.uniform_stabilizers
    yield "a batch of none", rules.empty
    yield "order of the batch", rules.order
    yield "parts of a batch", rules.split
    for name, batch, plan in BAD_INPUT:
        yield f"refuses {name}", partial(refuses, batch, plan)
    yield "close twice", rules.close_twice


_RULES = tuple(_rules())
