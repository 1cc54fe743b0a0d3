"""The program file of ``dpem execute``: read strictly, turned into a program.

Every value is checked here, so that bad input is one line which names its field.
"""

import math
import re
from typing import cast, get_args

import msgspec

from quantum import bell
from quantum.errors import InputError
from quantum.noise import memory_of
from quantum.program import (
    Distill,
    Gates,
    Generate,
    Measure,
    Memory,
    Program,
    Protocol,
    Step,
    Swap,
    Wait,
    check,
)

__all__ = ["ProgramFile", "read_program", "to_program"]

_MOST_SHOTS = 1_000_000_000
_MOST_ROUNDS = 5
_MOST_PAIRS = 10_000


class BellDiagonal(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Populations of a fresh pair."""

    phi_plus: float
    phi_minus: float
    psi_plus: float
    psi_minus: float


class LinkBlock(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A link: either the fidelity of a Werner state or four populations."""

    fidelity: float | None = None
    bell_diagonal: BellDiagonal | None = None


class MemoryBlock(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Relaxation times; without T1 no relaxation, without T2 it is 2 T1."""

    t1_s: float | None = None
    t2_s: float | None = None


class DistillBlock(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Distillation of every link from 2^rounds raw pairs."""

    protocol: str = "dejmps"
    rounds: int = 1


class ProgramFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All blocks of a program file; only ``links`` is required, the default is perfect."""

    links: list[LinkBlock]
    memory: MemoryBlock = MemoryBlock()
    wait_s: float = 0.0
    swap: Gates = Gates()
    distill: DistillBlock | None = None
    shots: int = 30_000


def read_program(data: bytes) -> Program:
    """Decode and check a program file.

    >>> read_program(b'{"links": [{"fidelity": 1.2}]}')
    Traceback (most recent call last):
    quantum.errors.InputError: program.links[0].fidelity must be between 0 and 1, got 1.2
    """
    try:
        file = msgspec.json.decode(data, type=ProgramFile)
    except msgspec.ValidationError as wrong:
        raise InputError(_one_line(str(wrong))) from wrong
    except (msgspec.DecodeError, UnicodeDecodeError) as wrong:
        raise InputError(f"program is not valid JSON: {wrong}") from wrong
    except RecursionError as wrong:
        raise InputError("program is not valid JSON: nested too deeply") from wrong
    return to_program(file)


def _one_line(message: str) -> str:
    """Turn msgspec's ``Expected ... - at `$.links[0].fidelity``` into our ``program.links...``."""
    match = re.fullmatch(r"(?s)(.*?)(?: - at `\$(.*)`)?", message)
    assert match is not None
    what, where = match.group(1), match.group(2) or ""
    return f"program{where}: {what[:1].lower()}{what[1:]}"


def to_program(file: ProgramFile) -> Program:
    """Build the program: raw pairs, distillation trees, swaps from left to right, wait, test."""
    rounds = _check(file)
    steps: list[Step] = []
    ends: list[int] = []
    for number, link in enumerate(file.links):
        weights = _populations(f"program.links[{number}]", link)
        raw = list(range(number << rounds, (number + 1) << rounds))
        steps += [Generate(pair, weights) for pair in raw]
        while len(raw) > 1:
            assert file.distill is not None
            protocol = cast(Protocol, file.distill.protocol)
            steps += [Distill(a, b, protocol) for a, b in zip(raw[::2], raw[1::2], strict=True)]
            raw = raw[::2]
        ends.append(raw[0])
    steps += [Swap(ends[0], other) for other in ends[1:]]
    if file.wait_s > 0.0:
        steps.append(Wait(ends[0], file.wait_s, file.wait_s))
    steps.append(Measure(ends[0], "random", file.shots))
    return check(Program(tuple(steps), memory=_memory(file.memory), gates=file.swap))


def _memory(block: MemoryBlock) -> Memory:
    t1_s = _time("program.memory.t1_s", block.t1_s)
    t2_s = _time("program.memory.t2_s", block.t2_s)
    if t1_s is not None and t2_s is not None and t2_s > 2.0 * t1_s:
        raise InputError(f"program.memory.t2_s must be <= 2 t1_s = {2 * t1_s:g}, got {t2_s:g}")
    return memory_of(t1_s, t2_s)


def _check(file: ProgramFile) -> int:
    """Check all plain numbers and return the rounds of distillation."""
    if not file.links:
        raise InputError("program.links must name at least one link")
    if not 0.0 <= file.wait_s < math.inf:
        raise InputError(f"program.wait_s must be finite and >= 0 seconds, got {file.wait_s}")
    for name in ("success", "gate_depolarizing", "readout_error"):
        _probability(f"program.swap.{name}", getattr(file.swap, name))
    if not 1 <= file.shots <= _MOST_SHOTS:
        raise InputError(f"program.shots must be between 1 and {_MOST_SHOTS}, got {file.shots}")
    rounds = 0 if file.distill is None else file.distill.rounds
    if not 0 <= rounds <= _MOST_ROUNDS:
        raise InputError(
            f"program.distill.rounds must be between 0 and {_MOST_ROUNDS}, got {rounds}"
        )
    known = get_args(Protocol)
    if file.distill is not None and file.distill.protocol not in known:
        raise InputError(
            f"program.distill.protocol must be {' or '.join(known)}, got {file.distill.protocol!r}"
        )
    if len(file.links) << rounds > _MOST_PAIRS:
        raise InputError(
            f"program.links must need at most {_MOST_PAIRS} raw pairs, "
            f"these need {len(file.links) << rounds}"
        )
    return rounds


def _populations(where: str, link: LinkBlock) -> tuple[float, float, float, float]:
    if (link.fidelity is None) == (link.bell_diagonal is None):
        raise InputError(f"{where} must have either fidelity or bell_diagonal")
    if link.fidelity is not None:
        a, b, c, d = bell.werner(_probability(f"{where}.fidelity", link.fidelity)).tolist()
        return a, b, c, d
    assert link.bell_diagonal is not None
    weights = msgspec.structs.astuple(link.bell_diagonal)
    for name, weight in zip(bell.BELL_STATES, weights, strict=True):
        _probability(f"{where}.bell_diagonal.{name}", weight)
    bell.check_populations(f"{where}.bell_diagonal", weights)
    a, b, c, d = weights
    return a, b, c, d


def _probability(where: str, value: float) -> float:
    if not 0.0 <= value <= 1.0:
        raise InputError(f"{where} must be between 0 and 1, got {value}")
    return value


def _time(where: str, value: float | None) -> float | None:
    if value is not None and not 0.0 < value < math.inf:
        raise InputError(f"{where} must be finite and > 0 seconds, got {value}")
    return value
