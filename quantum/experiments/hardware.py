"""A published experiment as hardware: the link and the memory that the simulators take."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from quantum import bell
from quantum.errors import InputError
from quantum.experiments.library import Experiment, Point
from quantum.links.heralded import Heralded
from quantum.program import Memory

__all__ = ["RARE", "link", "memory"]

#: Success probability of an attempt where only a rate is known, see :func:`link`.
RARE = 0.01


def link(
    experiment: Experiment,
    point: str | None = None,
    *,
    fidelity: float | None = None,
    bell_diagonal: Sequence[float] | None = None,
    rate_hz: float | None = None,
    success_probability: float | None = None,
    attempt_s: float | None = None,
) -> Heralded:
    """Return the link of an experiment at an operating point, the default one where none is named.

    What you supply wins over the file, and what the file says was not reported must be supplied.

    The state is a Werner state of the ``fidelity``, unless you give the four weights of
    ``bell_diagonal`` (order of :data:`quantum.bell.BELL_STATES`). A fidelity that the file says is
    that of a channel is not used for the pair.

    Two of ``rate_hz``, ``success_probability`` and ``attempt_s`` determine the third by
    rate = p / attempt: yours first, then those of the file in this order. A reported rate includes
    dead times, so ``attempt_s`` is then an effective one. Where only a rate is known, p is
    :data:`RARE`: waiting times are then geometric with a standard deviation of 0.995 of their mean,
    close to the exponential of a rare event. (p = 1 would be a pair at every tick of a clock.)

    Raises :class:`InputError` that says what to supply.

    >>> from quantum.experiments.library import experiment
    >>> made = link(experiment("delft_nv_2021"), "link_ab")
    >>> round(made.fidelity, 6), round(made.rate_hz, 6), made.family
    (0.82, 9.0, 'memory')
    """
    here = experiment.point(point)
    if here.state != "pair":
        raise InputError(
            f"experiment {experiment.name}: point {here.name} makes {here.state} states, no pairs"
        )
    mine = {
        "rate_hz": rate_hz,
        "success_probability": success_probability,
        "attempt_s": attempt_s,
    }
    for name, value in mine.items():
        if value is not None and not 0.0 < value < math.inf:
            raise InputError(f"{name} must be finite and > 0, got {value}")
    weights = _weights(experiment, here, fidelity, bell_diagonal)
    chance, seconds = _attempts(experiment, here, mine)
    supplied = [name for name, value in mine.items() if value is not None]
    supplied += ["fidelity"] if fidelity is not None else []
    supplied += ["bell_diagonal"] if bell_diagonal is not None else []
    said = f"experiment {experiment.name}, point {here.name}: {_cited(experiment, here)}"
    return Heralded(
        success_probability=chance,
        attempt_s=seconds,
        expectations=_expectations(weights),
        family=experiment.family,
        source=f"{said}; supplied: {', '.join(supplied)}" if supplied else said,
    )


def memory(
    experiment: Experiment,
    point: str | None = None,
    *,
    t1_s: float | None = None,
    t2_s: float | None = None,
    attempts_1e: float | None = None,
) -> Memory:
    """Return the memory qubits of an experiment; what was not reported must be supplied.

    ``inf`` says that there is no such decay. ``attempts_1e`` is needed only where the file mentions
    it: an experiment that does not has no qubit that waits beside attempts.

    Raises :class:`InputError` that says what to supply, and for photonic links, which have none.
    """
    here = experiment.point(point)
    if experiment.family == "photonic":
        raise InputError(f"experiment {experiment.name} is photonic: it has no memory")
    mine = {"t1_s": t1_s, "t2_s": t2_s, "attempts_1e": attempts_1e}
    known = {
        name: here.value(name) if value is None else value
        for name, value in mine.items()
        if value is not None or name in here.numbers
    }
    for name, found in known.items():
        if found is None:
            raise InputError(f"{_lacks(experiment, here, name)}: supply {name}=... (inf for none)")
    return Memory(**{name: found for name, found in known.items() if found is not None}).check()


def _weights(
    experiment: Experiment,
    here: Point,
    fidelity: float | None,
    bell_diagonal: Sequence[float] | None,
) -> NDArray[np.float64]:
    if bell_diagonal is not None:
        if fidelity is not None:
            raise InputError("supply fidelity or bell_diagonal, not both")
        bell.check_populations("bell_diagonal", bell_diagonal)
        return np.asarray(bell_diagonal, dtype=np.float64)
    if fidelity is None:
        entry = here.numbers["fidelity"]
        if entry.value is None:
            raise InputError(f"{_lacks(experiment, here, 'fidelity')}: supply fidelity=...")
        if entry.of == "channel":
            raise InputError(
                f"{_at(experiment, here)} reports the fidelity {entry.value:g} of a channel, "
                "not of its pairs: supply fidelity=..."
            )
        fidelity = entry.value
    if not 0.0 <= fidelity <= 1.0:
        raise InputError(f"fidelity must be between 0 and 1, got {fidelity}")
    return bell.werner(fidelity)


def _attempts(
    experiment: Experiment, here: Point, mine: dict[str, float | None]
) -> tuple[float, float]:
    """Return (success probability, seconds) of an attempt."""
    known = {name: value for name, value in mine.items() if value is not None}
    if len(known) == len(mine):
        raise InputError("supply at most two of rate_hz, success_probability and attempt_s")
    for name in mine:
        value = here.value(name)
        if len(known) < 2 and name not in known and value is not None:
            known[name] = value
    match sorted(known):
        case ["rate_hz"]:
            return RARE, RARE / known["rate_hz"]
        case ["rate_hz", "success_probability"]:
            chance = known["success_probability"]
            seconds = chance / known["rate_hz"]
        case ["attempt_s", "success_probability"]:
            chance, seconds = known["success_probability"], known["attempt_s"]
        case ["attempt_s", "rate_hz"]:
            chance, seconds = known["rate_hz"] * known["attempt_s"], known["attempt_s"]
        case _:
            raise InputError(
                f"{_lacks(experiment, here, 'how often it succeeds')}: supply rate_hz=..., "
                "or success_probability=... and attempt_s=..."
            )
    if chance > 1.0:
        raise InputError(
            f"{_at(experiment, here)}: success_probability must be <= 1, got {chance:g} "
            f"from {', '.join(f'{name} = {value:g}' for name, value in known.items())}"
        )
    return chance, seconds


def _expectations(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    xx, yy, zz = bell.correlators(weights)
    return np.diag([1.0, xx, -yy, zz])


def _at(experiment: Experiment, here: Point) -> str:
    several = f", point {here.name}" if len(experiment.points) > 1 else ""
    return f"experiment {experiment.name}{several}"


def _lacks(experiment: Experiment, here: Point, what: str) -> str:
    if len(experiment.points) > 1:
        return f"experiment {experiment.name} does not report {what} at point {here.name}"
    return f"experiment {experiment.name} does not report {what}"


def _cited(experiment: Experiment, here: Point) -> str:
    used = (here.numbers.get(name) for name in ("fidelity", "rate_hz", "success_probability"))
    keys = dict.fromkeys(entry.source for entry in used if entry is not None and entry.source)
    return "; ".join(experiment.sources[key].cite for key in keys) or "no source"
