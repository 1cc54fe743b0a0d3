"""A mixed model of all runs: allocator, load, and what networks and traces have in common.

``fraction ~ allocator * load + (1 | topology) + (1 | trace)``, by restricted maximum likelihood
(statsmodels' MixedLM; Lindstrom and Bates, J. Am. Stat. Assoc. 83, 1014, 1988). A trace, the draws
of one cell with one seed, belongs to one topology, so its effect is nested in that of the topology.
"""

import warnings
from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import ArrayLike

from controller.statistics.samples import finite
from quantum.errors import InputError

__all__ = ["Coefficient", "Mixed", "mixed_model"]

#: Rows from which on the fit would take minutes.
MOST_ROWS = 12_000
#: Optimisers end at numbers whose last digits mean nothing.
_DIGITS = 6


class Coefficient(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A fixed effect with its 95 % interval and its p value (normal approximation)."""

    estimate: float
    low: float
    high: float
    p: float


class Mixed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The fitted model, or the ``note`` that says why there is none.

    ``allocators`` are differences to the reference at mean load, ``by_load`` how these change with
    one standard deviation of load. Variances are those of topology, trace and what is left;
    ``topology_variance`` is None where there are fewer than two. ``converged`` False: do not use
    the numbers; ``warnings`` are the fit's own words.
    """

    reference: str
    rows: int
    converged: bool = False
    intercept: Coefficient | None = None
    load: Coefficient | None = None
    allocators: dict[str, Coefficient] = {}
    by_load: dict[str, Coefficient] = {}
    topology_variance: float | None = None
    trace_variance: float | None = None
    residual_variance: float | None = None
    warnings: list[str] = []
    note: str = ""


def mixed_model(
    fraction: ArrayLike,
    allocator: Sequence[str],
    load: ArrayLike,
    topology: Sequence[str],
    trace: Sequence[str],
) -> Mixed:
    """Fit the model; every argument has one value for each run of an allocator.

    The first allocator is the reference. Without statsmodels, and with too much or too little to
    fit, the result has a note instead of numbers. A fit that does not converge is reported so.
    """
    y, x = finite("fraction", fraction), finite("load", load)
    names = list(dict.fromkeys(allocator))
    if not len(y) == len(x) == len(allocator) == len(topology) == len(trace):
        raise InputError("a mixed model needs one value of each kind for every run")
    empty = Mixed(reference=names[0] if names else "", rows=len(y))
    reason = _reason(y, names, trace)
    if reason:
        return msgspec.structs.replace(empty, note=reason)
    return _fit(empty, y, names, allocator, x, topology, trace)


def _reason(y: np.ndarray, names: Sequence[str], trace: Sequence[str]) -> str:
    """Say why there is nothing to fit, or nothing."""
    if len(names) < 2 or len(set(trace)) < 3:
        return "not fitted: it needs two allocators and three traces"
    if len(y) > MOST_ROWS:
        return f"not fitted: {len(y)} runs would take minutes; {MOST_ROWS} is the most"
    if np.ptp(y) == 0.0:
        return "not fitted: all runs are equal"
    try:
        import statsmodels.api  # noqa: F401
    except ModuleNotFoundError:
        return "not fitted: statsmodels is not installed; pip install 'dpem[arena]' adds it"
    return ""


def _fit(
    empty: Mixed,
    y: np.ndarray,
    names: Sequence[str],
    allocator: Sequence[str],
    load: np.ndarray,
    topology: Sequence[str],
    trace: Sequence[str],
) -> Mixed:
    from statsmodels.regression.mixed_linear_model import MixedLM, VCSpec

    spread = float(load.std())
    scaled = (load - load.mean()) / spread if spread > 0 else np.zeros(len(load))
    which = np.array([names.index(name) for name in allocator])
    dummies = [(which == k).astype(float) for k in range(1, len(names))]
    columns = [np.ones(len(y)), *dummies]
    if spread > 0:
        columns += [scaled, *(column * scaled for column in dummies)]
    groups = np.array(topology)
    several = len(set(topology)) > 1
    labels = sorted(set(topology))
    parts, members = [], []
    for label in labels:
        inside = np.array(trace)[groups == label]
        kinds = sorted(set(inside.tolist()))
        parts.append((inside[:, None] == np.array(kinds)[None, :]).astype(float))
        members.append(kinds)
    model = MixedLM(
        y,
        np.column_stack(columns),
        groups,
        exog_re=np.ones((len(y), 1)) if several else None,
        exog_vc=VCSpec(["trace"], [members], [parts]),
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            fit = model.fit(reml=True, method=["lbfgs", "powell"])
        except (ValueError, np.linalg.LinAlgError) as wrong:
            return msgspec.structs.replace(empty, note=f"the fit failed: {wrong}")
    said = sorted({" ".join(str(w.message).split()) for w in caught})
    found = [
        Coefficient(*(_rounded(value) for value in row))
        for row in zip(
            fit.fe_params,
            *np.asarray(fit.conf_int())[: len(columns)].T,
            np.asarray(fit.pvalues)[: len(columns)],
            strict=True,
        )
    ]
    rivals = len(dummies)
    return msgspec.structs.replace(
        empty,
        converged=bool(fit.converged),
        intercept=found[0],
        allocators=dict(zip(names[1:], found[1 : 1 + rivals], strict=True)),
        load=found[1 + rivals] if spread > 0 else None,
        by_load=dict(zip(names[1:], found[2 + rivals :], strict=True)) if spread > 0 else {},
        topology_variance=_rounded(np.asarray(fit.cov_re)[0, 0]) if several else None,
        trace_variance=_rounded(fit.vcomp[0]),
        residual_variance=_rounded(fit.scale),
        warnings=said,
    )


def _rounded(value: float) -> float:
    return float(f"{float(value):.{_DIGITS}g}")
