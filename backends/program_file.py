"""The program file of ``dpem execute``: read strictly, turned into programs.

Every value is checked here, so that bad input is one line which names its field.
"""

import json
import math
from dataclasses import dataclass
from typing import Any, cast, get_args

import msgspec

from backends.program_links import Link, one_line, probability, read_link
from quantum.chain.setting import Order
from quantum.errors import InputError, RequestError
from quantum.experiments import experiment
from quantum.experiments import memory as published_memory
from quantum.noise import memory_of
from quantum.program import (
    MOST_QUBITS,
    Distill,
    Gates,
    Measure,
    Memory,
    Merge,
    Program,
    Protocol,
    Step,
    Swap,
    Wait,
    check,
)

__all__ = ["Asked", "ClockBlock", "read_program", "read_programs"]

_MOST_SHOTS = 1_000_000_000
_MOST_DELIVERIES = 10_000_000
_MOST_ROUNDS = 5
_MOST_PAIRS = 10_000
_MOST_PROGRAMS = 100_000
_JOINS = ("swap", "ghz")
_ENDS = ("keep", "measure")


class MemoryBlock(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Relaxation times; without T1 no relaxation, without T2 it is 2 T1. Or those of a preset."""

    t1_s: float | None = None
    t2_s: float | None = None
    attempts_1e: float | None = None
    preset: str | None = None


class SwapBlock(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Quality of swaps and merges, and the order of swaps."""

    success: float = 1.0
    gate_depolarizing: float = 0.0
    readout_error: float = 0.0
    order: str = "asap"


class DistillBlock(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Distillation of every link from 2^rounds raw pairs."""

    protocol: str = "dejmps"
    rounds: int = 1


class ClockBlock(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Attempts, waits and cutoffs are played; every shot is a delivery of its own."""

    cutoff_s: float | None = None
    ends: str = "keep"
    one_at_a_time: bool = False
    signal_s: float = 0.0


class ProgramFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All blocks of a program file; only ``links`` is required, the default is perfect."""

    links: list[Any]
    memory: MemoryBlock = MemoryBlock()
    wait_s: float = 0.0
    swap: SwapBlock = SwapBlock()
    distill: DistillBlock | None = None
    join: str = "swap"
    clock: ClockBlock | None = None
    shots: int = 30_000


@dataclass(frozen=True, eq=False)
class Asked:
    """A program file, understood: the program of one pair or register, and how it is played.

    ``clock`` is None where the waits are those of the program; else its links are played in time
    and the waits come out.
    """

    program: Program
    links: tuple[Link, ...]
    order: Order = "asap"
    clock: ClockBlock | None = None
    wait_s: float = 0.0
    """How long all ends of the finished pair wait."""


def read_program(data: bytes) -> Program:
    """Decode and check a program file of one program, and return its program.

    >>> read_program(b'{"links": [{"fidelity": 1.2}]}')
    Traceback (most recent call last):
    quantum.errors.InputError: program.links[0].fidelity must be between 0 and 1, got 1.2
    """
    asked = read_programs(data)
    if not isinstance(asked, Asked):
        raise InputError("program: a file of one program is needed, this one has 'programs'")
    return asked.program


def read_programs(data: bytes) -> Asked | list[Asked | InputError]:
    """Decode a program file: one program, or under ``programs`` a list of them.

    In a list a bad program is an error in its place, so that the others can be executed.
    """
    try:
        raw = msgspec.json.decode(data)
        json.loads(data, object_pairs_hook=_no_key_twice)
    except (msgspec.DecodeError, UnicodeDecodeError) as wrong:
        raise InputError(f"program is not valid JSON: {wrong}") from wrong
    except RecursionError as wrong:
        raise InputError("program is not valid JSON: nested too deeply") from wrong
    if not (isinstance(raw, dict) and "programs" in raw):
        return _one("program", raw)
    programs = raw["programs"]
    if set(raw) != {"programs"} or not isinstance(programs, list) or not programs:
        raise InputError("program.programs must be a list of programs, and the only key")
    if len(programs) > _MOST_PROGRAMS:
        raise InputError(f"program.programs must be at most {_MOST_PROGRAMS}, got {len(programs)}")
    out: list[Asked | InputError] = []
    for number, one in enumerate(programs):
        try:
            out.append(_one(f"programs[{number}]", one))
        except InputError as wrong:
            out.append(wrong)
    return out


def _no_key_twice(pairs: list[tuple[str, Any]]) -> None:
    keys = [key for key, _ in pairs]
    if len(set(keys)) < len(keys):
        twice = next(key for key in keys if keys.count(key) > 1)
        raise InputError(f"program: the key {twice!r} is there twice in one object")


def _one(root: str, raw: Any) -> Asked:
    try:
        file = msgspec.convert(raw, type=ProgramFile)
    except msgspec.ValidationError as wrong:
        raise InputError(one_line(root, str(wrong))) from wrong
    _check(root, file)
    links = tuple(read_link(f"{root}.links[{i}]", block) for i, block in enumerate(file.links))
    _check_photonic(root, file, links)
    if file.clock is not None:
        _check_clock(root, file, links)
    try:
        program = check(_program(root, file, links))
    except RequestError as wrong:
        raise InputError(f"{root}: {wrong}") from wrong
    return Asked(program, links, cast(Order, file.swap.order), file.clock, file.wait_s)


def _program(root: str, file: ProgramFile, links: tuple[Link, ...]) -> Program:
    """Build the program: raw pairs, their waits, distillation trees, joins, wait, test."""
    rounds = 0 if file.distill is None else file.distill.rounds
    steps: list[Step] = []
    ends: list[int] = []
    for number, link in enumerate(links):
        raw = list(range(number << rounds, (number + 1) << rounds))
        steps += [link.step(pair) for pair in raw]
        if any(link.waits):
            steps += [Wait(pair, *link.waits) for pair in raw]
        while len(raw) > 1:
            assert file.distill is not None
            protocol = cast(Protocol, file.distill.protocol)
            steps += [Distill(a, b, protocol) for a, b in zip(raw[::2], raw[1::2], strict=True)]
            raw = raw[::2]
        ends.append(raw[0])
    if file.join == "ghz":
        steps += [Merge(ends[0], other) for other in ends[1:]]
    else:
        steps += _swaps(ends, file.swap.order)
    if file.wait_s > 0.0:
        steps.append(Wait(ends[0], file.wait_s, file.wait_s))
    steps.append(Measure(ends[0], "random", file.shots))
    return Program(
        tuple(steps),
        memory=_memory(f"{root}.memory", file.memory),
        gates=Gates(file.swap.success, file.swap.gate_depolarizing, file.swap.readout_error),
        photonic=any(link.photonic for link in links),
    )


def _swaps(ends: list[int], order: str) -> list[Step]:
    """Return the swaps of a chain; without waits between them ``asap`` is left to right."""
    if order != "balanced":
        return [Swap(ends[0], other) for other in ends[1:]]
    steps: list[Step] = []
    while len(ends) > 1:
        steps += [Swap(a, b) for a, b in zip(ends[::2], ends[1::2], strict=False)]
        ends = ends[::2]
    return steps


def _memory(where: str, block: MemoryBlock) -> Memory:
    t1_s = _positive(f"{where}.t1_s", block.t1_s, "seconds")
    t2_s = _positive(f"{where}.t2_s", block.t2_s, "seconds")
    attempts = _positive(f"{where}.attempts_1e", block.attempts_1e, "attempts")
    if t1_s is not None and t2_s is not None and t2_s > 2.0 * t1_s:
        raise InputError(f"{where}.t2_s must be <= 2 t1_s = {2 * t1_s:g}, got {t2_s:g}")
    if block.preset is not None:
        try:
            return published_memory(
                experiment(block.preset), t1_s=t1_s, t2_s=t2_s, attempts_1e=attempts
            )
        except InputError as wrong:
            raise InputError(f"{where}: {wrong}") from wrong
    return memory_of(t1_s, t2_s, attempts)


def _check(root: str, file: ProgramFile) -> None:
    """Check all plain numbers."""
    if not file.links:
        raise InputError(f"{root}.links must name at least one link")
    if not 0.0 <= file.wait_s < math.inf:
        raise InputError(f"{root}.wait_s must be finite and >= 0 seconds, got {file.wait_s}")
    for name in ("success", "gate_depolarizing", "readout_error"):
        probability(f"{root}.swap.{name}", getattr(file.swap, name))
    _one_of(f"{root}.swap.order", file.swap.order, get_args(Order))
    _one_of(f"{root}.join", file.join, _JOINS)
    if not 1 <= file.shots <= _MOST_SHOTS:
        raise InputError(f"{root}.shots must be between 1 and {_MOST_SHOTS}, got {file.shots}")
    rounds = 0
    if file.distill is not None:
        rounds = file.distill.rounds
        if not 0 <= rounds <= _MOST_ROUNDS:
            raise InputError(
                f"{root}.distill.rounds must be between 0 and {_MOST_ROUNDS}, got {rounds}"
            )
        _one_of(f"{root}.distill.protocol", file.distill.protocol, get_args(Protocol))
    if len(file.links) << rounds > _MOST_PAIRS:
        raise InputError(
            f"{root}.links must need at most {_MOST_PAIRS} raw pairs, "
            f"these need {len(file.links) << rounds}"
        )
    if file.join == "ghz" and len(file.links) > MOST_QUBITS - 1:
        raise InputError(
            f"{root}.links must be at most {MOST_QUBITS - 1} for a GHZ state of "
            f"{MOST_QUBITS} nodes, got {len(file.links)}"
        )


def _check_photonic(root: str, file: ProgramFile, links: tuple[Link, ...]) -> None:
    """Say which link would have to keep a pair and cannot."""
    rounds = 0 if file.distill is None else file.distill.rounds
    stores = len(links) > 1 or rounds > 0 or file.wait_s > 0.0
    for number, link in enumerate(links):
        if link.photonic and (stores or any(link.waits)):
            raise InputError(
                f"UNSUPP: {root}.links[{number}] is photonic: its pairs can only be measured, they "
                "cannot wait, be swapped, merged or distilled"
            )


def _check_clock(root: str, file: ProgramFile, links: tuple[Link, ...]) -> None:
    clock = file.clock
    assert clock is not None
    _one_of(f"{root}.clock.ends", clock.ends, _ENDS)
    if clock.cutoff_s is not None and not 0.0 < clock.cutoff_s < math.inf:
        raise InputError(f"{root}.clock.cutoff_s must be finite and > 0, got {clock.cutoff_s}")
    if not 0.0 <= clock.signal_s < math.inf:
        raise InputError(f"{root}.clock.signal_s must be finite and >= 0, got {clock.signal_s}")
    if (file.distill is not None and file.distill.rounds > 0) or file.join == "ghz":
        raise InputError(f"{root}.clock plays chains of swaps: leave out distill and join 'ghz'")
    if file.shots > _MOST_DELIVERIES:
        raise InputError(
            f"{root}.shots must be at most {_MOST_DELIVERIES} with a clock, got {file.shots}"
        )
    if file.swap.success == 0.0 and len(links) > 1:
        raise InputError(f"{root}.swap.success must be > 0 with a clock: nothing ever arrives")
    for number, link in enumerate(links):
        if link.timing is None:
            raise InputError(
                f"{root}.links[{number}] needs success_probability and attempt_s for a clock"
            )


def _one_of(where: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise InputError(f"{where} must be {', '.join(known[:-1])} or {known[-1]}, got {value!r}")


def _positive(where: str, value: float | None, unit: str) -> float | None:
    if value is not None and not 0.0 < value < math.inf:
        raise InputError(f"{where} must be finite and > 0 {unit}, got {value}")
    return value
