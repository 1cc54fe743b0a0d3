"""Which way into Aer is taken: the fast one if it proves itself on known programs."""

import warnings
from importlib.metadata import version

import numpy as np

from backends import analytic
from backends.aer.direct import PINNED, DirectPath
from backends.aer.execution import Path, execute
from backends.aer.public import PublicPath
from quantum.batch import Batch, Kind
from quantum.bell import expectations_of
from quantum.errors import InputError
from quantum.program import Gates, Memory

__all__ = ["SlowPathWarning", "open_direct", "open_path"]


class SlowPathWarning(UserWarning):
    """Aer is used by its public interface, which is right but some hundred times slower."""


def open_path(name: str | None = None) -> tuple[Path, str]:
    """Return the way into Aer and why it is not the direct one ("" if it is).

    ``name`` is ``direct`` or ``public``; None takes the direct one where it works, and else the
    public one with a :class:`SlowPathWarning`.
    """
    if name == "public":
        return PublicPath(), "asked for"
    if name not in ("direct", None):
        raise InputError(f"aer path must be direct or public, got {name!r}")
    direct, why_not = open_direct()
    if direct is not None:
        return direct, ""
    if name == "direct":
        raise InputError(f"aer path direct cannot be used: {why_not}")
    warnings.warn(f"aer runs slowly, by its public interface: {why_not}", SlowPathWarning, 3)
    return PublicPath(), why_not


def open_direct() -> tuple[DirectPath | None, str]:
    """Return (path, "") if Aer's private interface works as known, else (None, the reason).

    Works means: the version is the known one, and programs that use every kind of operation end as
    the analytic backend says.
    """
    installed = version("qiskit-aer")
    if installed != PINNED:
        return None, f"qiskit-aer is {installed}, the interface is known for {PINNED}"
    try:
        path = DirectPath()
        for batch in _known():
            got, right = execute(path, batch), analytic.exact(batch)
            error = max(
                np.abs(got.populations - right.populations).max(),
                np.abs(got.success - right.success).max(),
            )
            if not error < 1e-12:
                return None, f"qiskit-aer's private interface is off by {error:.2g}"
    except (ImportError, AttributeError, TypeError, ValueError, RuntimeError, LookupError) as wrong:
        return None, f"qiskit-aer's private interface has changed: {wrong}"
    except InputError as wrong:
        return None, f"qiskit-aer's private interface gives no states: {wrong}"
    return path, ""


def _known() -> list[Batch]:
    """Return small programs: a pair; swaps and distillation; a stored state in EPL; a register."""
    return [
        _batch(("generate", 0, -1), ("wait", 0, -1)),
        _batch(
            *(("generate", pair, -1) for pair in range(4)),
            *(("wait", pair, -1) for pair in range(3)),
            ("dejmps", 0, 1),
            ("swap", 3, 2),
            ("wait", 3, -1),
            ("swap", 3, 0),
            ("wait", 3, -1),
        ),
        _batch(
            *(("load", pair, -1) for pair in range(3)),
            ("wait", 1, -1),
            ("epl", 0, 1),
            ("swap", 2, 0),
        ),
        _batch(
            *(("generate", pair, -1) for pair in range(3)),
            ("wait", 0, -1),
            ("merge_last", 0, 1),
            ("wait", 0, -1),
            ("merge_first", 2, 0),
            ("wait", 2, -1),
        ),
    ]


def _batch(*skeleton: tuple[Kind, int, int]) -> Batch:
    """Return two programs of a skeleton, with numbers of which no two are alike."""
    kinds = [kind for kind, _, _ in skeleton]
    made, loaded, waited = (kinds.count(kind) for kind in ("generate", "load", "wait"))
    weights = np.linspace(1.0, 3.0, 2 * made * 4).reshape(2, made, 4) ** [3, 0, 1, 0]
    # A pure state that nothing leaves as it is, mixed.
    pure = np.array([1.0, 0.3, 0.5j, 0.7 - 0.2j])
    mixed = 0.2 * np.eye(4) / 4.0 + 0.8 * np.outer(pure, pure.conj()) / np.vdot(pure, pure).real
    return Batch(
        skeleton,
        weights / weights.sum(axis=2, keepdims=True),
        np.linspace(0.05, 0.5, 2 * waited * 2).reshape(2, waited, 2),
        Memory(t1_s=1.0, t2_s=0.8, attempts_1e=9.0),
        Gates(0.9, 0.1, 0.05),
        np.broadcast_to(expectations_of(mixed), (2, loaded, 4, 4)),
        np.linspace(4.0, 1.0, 2 * waited * 2).reshape(2, waited, 2),
    )
