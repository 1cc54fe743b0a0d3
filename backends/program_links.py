"""The ``links`` of a program file: what each attempt gives, and how often.

A link is a state (``fidelity`` or ``bell_diagonal``), with or without the rate of its attempts, a
``model`` of :mod:`quantum.links`, or a ``preset`` of a published experiment.
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, get_args

import msgspec
import numpy as np

from quantum import bell
from quantum.errors import InputError
from quantum.experiments import experiment
from quantum.experiments import link as published
from quantum.links.heralded import Family, Heralded
from quantum.links.model import read_model
from quantum.program import Generate, Load

__all__ = ["Link", "one_line", "probability", "read_link"]


class BellDiagonal(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Populations of a fresh pair."""

    phi_plus: float
    phi_minus: float
    psi_plus: float
    psi_minus: float


class StateBlock(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A link by its state: the fidelity of a Werner state, or four populations.

    With ``success_probability`` and ``attempt_s`` its attempts can be timed.
    """

    fidelity: float | None = None
    bell_diagonal: BellDiagonal | None = None
    success_probability: float | None = None
    attempt_s: float | None = None
    family: str = "memory"


class PresetBlock(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A link of a published experiment; what is given here wins over what it reports."""

    preset: str
    point: str | None = None
    fidelity: float | None = None
    bell_diagonal: BellDiagonal | None = None
    rate_hz: float | None = None
    success_probability: float | None = None
    attempt_s: float | None = None


@dataclass(frozen=True, eq=False)
class Link:
    """A link of a program: the state of its pairs, their waits, and where known their rate.

    ``expectations`` are the sixteen of :class:`quantum.program.Load`; ``populations`` are there
    where the state is Bell-diagonal and they are all there is to it.
    """

    populations: tuple[float, float, float, float] | None
    expectations: tuple[float, ...]
    photonic: bool = False
    timing: tuple[float, float] | None = None
    """Success probability and seconds of an attempt."""
    waits: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    """Seconds of the left and the right qubit before anything is done to the pair, their age when
    the herald arrives included, and the attempts of their neighbours meanwhile."""

    def step(self, pair: int) -> Generate | Load:
        """Return the step that makes a pair."""
        if self.populations is not None:
            return Generate(pair, self.populations)
        return Load(pair, self.expectations)


def read_link(where: str, block: Any) -> Link:
    """Turn a block into a link; ``where`` names it in errors."""
    if not isinstance(block, Mapping):
        raise InputError(f"{where} must be an object, got {type(block).__name__}")
    rest = dict(block)
    waits_s = _two(f"{where}.waits_s", rest.pop("waits_s", [0.0, 0.0]))
    attempts = _two(f"{where}.wait_attempts", rest.pop("wait_attempts", [0.0, 0.0]))
    if "model" in rest:
        link = _from_heralded(_within(where, lambda: read_model(rest).heralded()))
    elif "preset" in rest:
        link = _from_heralded(_within(where, lambda: _preset(rest)))
    else:
        link = _state(where, rest)
    left_s, right_s = link.waits[:2]
    return replace(link, waits=(left_s + waits_s[0], right_s + waits_s[1], *attempts))


def _preset(block: dict[str, Any]) -> Heralded:
    try:
        asked = msgspec.convert(block, type=PresetBlock)
    except msgspec.ValidationError as wrong:
        raise InputError(one_line("link", str(wrong))) from wrong
    weights = asked.bell_diagonal
    return published(
        experiment(asked.preset),
        asked.point,
        fidelity=asked.fidelity,
        bell_diagonal=None if weights is None else msgspec.structs.astuple(weights),
        rate_hz=asked.rate_hz,
        success_probability=asked.success_probability,
        attempt_s=asked.attempt_s,
    )


def _within(where: str, read: Callable[[], Heralded]) -> Heralded:
    """Read a link, and put its place before what is wrong with it."""
    try:
        return read()
    except InputError as wrong:
        what = str(wrong)
        known = what.startswith(("link.", "link:"))
        raise InputError(where + what[4:] if known else f"{where}: {what}") from wrong


def _from_heralded(link: Heralded) -> Link:
    weights = tuple(link.populations.tolist()) if link.is_bell_diagonal else None
    return Link(
        populations=weights,
        expectations=tuple(link.expectations.ravel().tolist()),
        photonic=not link.keeps,
        timing=(link.success_probability, link.attempt_s),
        waits=(*link.ages_s, 0.0, 0.0) if link.keeps else (0.0, 0.0, 0.0, 0.0),
    )


def _state(where: str, block: dict[str, Any]) -> Link:
    try:
        state = msgspec.convert(block, type=StateBlock)
    except msgspec.ValidationError as wrong:
        raise InputError(one_line(where, str(wrong))) from wrong
    if (state.fidelity is None) == (state.bell_diagonal is None):
        raise InputError(f"{where} must have either fidelity or bell_diagonal, or model or preset")
    if state.family not in get_args(Family):
        raise InputError(
            f"{where}.family must be {' or '.join(get_args(Family))}, got {state.family!r}"
        )
    weights = _populations(where, state)
    xx, yy, zz = bell.correlators(weights).tolist()
    return Link(
        populations=weights,
        expectations=tuple(np.diag([1.0, xx, -yy, zz]).ravel().tolist()),
        photonic=state.family == "photonic",
        timing=_timing(where, state),
    )


def _populations(where: str, state: StateBlock) -> tuple[float, float, float, float]:
    if state.fidelity is not None:
        a, b, c, d = bell.werner(probability(f"{where}.fidelity", state.fidelity)).tolist()
        return a, b, c, d
    assert state.bell_diagonal is not None
    weights = msgspec.structs.astuple(state.bell_diagonal)
    for name, weight in zip(bell.BELL_STATES, weights, strict=True):
        probability(f"{where}.bell_diagonal.{name}", weight)
    bell.check_populations(f"{where}.bell_diagonal", weights)
    a, b, c, d = weights
    return a, b, c, d


def _timing(where: str, state: StateBlock) -> tuple[float, float] | None:
    chance, seconds = state.success_probability, state.attempt_s
    if chance is None and seconds is None:
        return None
    if chance is None or seconds is None:
        missing = "success_probability" if chance is None else "attempt_s"
        raise InputError(f"{where}.{missing} is missing: attempts need a chance and a time")
    if not 1e-15 <= chance <= 1.0:
        raise InputError(f"{where}.success_probability must be >= 1e-15 and <= 1, got {chance}")
    if not 1e-12 <= seconds <= 1e12:
        raise InputError(f"{where}.attempt_s must be between 1e-12 and 1e12 seconds, got {seconds}")
    return chance, seconds


def _two(where: str, value: Any) -> tuple[float, float]:
    numbers = value if isinstance(value, list) else []
    if len(numbers) != 2 or not all(
        isinstance(n, int | float) and not isinstance(n, bool) and 0.0 <= n < math.inf
        for n in numbers
    ):
        raise InputError(f"{where} must be two finite numbers >= 0 (left, right), got {value!r}")
    return float(numbers[0]), float(numbers[1])


def probability(where: str, value: float) -> float:
    """Return a probability, or refuse it."""
    if not 0.0 <= value <= 1.0:
        raise InputError(f"{where} must be between 0 and 1, got {value}")
    return value


def one_line(root: str, message: str) -> str:
    """Turn msgspec's ``Expected ... - at `$.links[0].fidelity``` into ``ROOT.links[0]...``."""
    match = re.fullmatch(r"(?s)(.*?)(?: - at `\$(.*)`)?", message)
    assert match is not None
    what, where = match.group(1), match.group(2) or ""
    return f"{root}{where}: {what[:1].lower()}{what[1:]}"
