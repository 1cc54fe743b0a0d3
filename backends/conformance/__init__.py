"""A kit for anybody's backend: systems with closed answers, and the rules of the contract.

``check_backend(backend)`` asks for small ensembles whose answer is known by formula. A simulator
that tells its truth is compared with the formula itself; one that does not is judged by its counts,
with an exact binomial interval that a right backend leaves once in a million. On hardware and its
stubs the program's states are only what was asked for, so only the rules are checked. What a
backend cannot do it may refuse.

``check_isolated(opener)`` does the same in a process of its own, where no check can outlive its
deadline or take the caller down.
"""

from backends.conformance.isolated import check_isolated
from backends.conformance.kit import Check, check_backend

__all__ = ["Check", "check_backend", "check_isolated"]
