"""``dpem estimate``: everything that counts say about a pair, each number with its interval."""

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import click
import msgspec

from quantum.counts import Counts, Tally
from quantum.errors import InputError
from quantum.output import json_option, write_json

if TYPE_CHECKING:
    from quantum.estimation.spam import Bit, Flip, Readout

__all__ = ["Read", "command", "estimate_all", "estimate_ghz", "read_counts"]

#: More tests than this no experiment makes; floats still tell them apart.
_MOST = 10**12

Count = Annotated[int, msgspec.Meta(ge=0, le=_MOST)]
Chance = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]


_UNEVEN = (
    "Bases were not drawn with equal chances: the fidelity is bounded by what each basis shows, "
    "not by the share of all tests that passed."
)


class _Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pass


class TallyBlock(_Strict, frozen=True, rename={"passed": "pass", "failed": "fail"}):
    """Passes and fails; both are required."""

    passed: Count
    failed: Count


class FlipBlock(_Strict, frozen=True):
    """A flip probability: exact, or reads of a known preparation."""

    error: Chance | None = None
    calibration: TallyBlock | None = None


class BitBlock(FlipBlock, frozen=True):
    """Readout of one bit: one flip probability, or one for each direction."""

    zero_to_one: FlipBlock | None = None
    one_to_zero: FlipBlock | None = None


class PairBlock(_Strict, frozen=True):
    """Readout of both bits; a bit that is left out is read without error."""

    left: BitBlock | None = None
    right: BitBlock | None = None


class ReadoutBlock(PairBlock, frozen=True):
    """Readout of all bases, or of each of them."""

    xx: PairBlock | None = None
    yy: PairBlock | None = None
    zz: PairBlock | None = None


class CountsFile(msgspec.Struct, frozen=True):
    """What is read of a file; other keys are allowed only in those of ``dpem execute --json``.

    Tallies are by basis; one that is left out was not measured.
    """

    counts: dict[str, msgspec.Raw]
    confidence: float | None = None
    readout: ReadoutBlock | None = None


class Read(NamedTuple):
    """What a file says; ``tests`` of GHZ states are by stabilizer (:func:`quantum.ghz.labels`)."""

    tests: "Counts | dict[str, Tally]"
    readout: "Readout | dict[str, Readout] | None"
    confidence: float


@click.command("estimate")
@click.argument("counts", metavar="COUNTS.json|-")
@click.option("--confidence", type=float, help="Confidence of all intervals, 0-1.  [default: 0.95]")
@json_option
def command(counts: str, confidence: float | None, json_path: str | None) -> None:
    """Estimate what counts of parity tests say about a pair or a GHZ state.

    Fidelity, with readout errors corrected where they are given, correlators, populations of the
    Bell states, QBER, key fractions and the largest CHSH value, with exact intervals. The file is
    one of 'dpem execute --json', or {"counts": {"xx": {"pass": 98, "fail": 2}, ...}}, and may hold
    "confidence" and "readout": {"left": {"error": 0.01}, "right": {"calibration": {"pass": 990,
    "fail": 10}}}.

    Bases that were plainly not drawn at random are found out, and each then counts by itself. Of
    GHZ states of 3 to 8 qubits, with counts like {"xxx": ..., "zzi": ...}, the fidelity is given.
    """
    tests, readout, asked = read_counts(_read(counts))
    asked = asked if confidence is None else confidence
    if isinstance(tests, Counts):
        result = estimate_all(tests, readout, asked)
    else:
        result = estimate_ghz(tests, asked)
    write_json(result, json_path)
    if json_path != "-":
        _show(result)


def _read(path: str) -> bytes:
    if path == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(path).read_bytes()
    except OSError as wrong:
        raise InputError(f"cannot read {path}: {wrong.strerror}") from wrong


def read_counts(data: bytes) -> Read:
    """Decode a file of counts.

    >>> read_counts(b'{"counts": {"xx": {"pass": 3}}}')
    Traceback (most recent call last):
    quantum.errors.InputError: counts.xx: object missing required field `fail`
    """
    try:
        file = msgspec.json.decode(data, type=CountsFile)
        keys = set(msgspec.json.decode(data, type=dict[str, msgspec.Raw]))
    except msgspec.ValidationError as wrong:
        raise InputError(_one_line(str(wrong))) from wrong
    except (msgspec.DecodeError, UnicodeDecodeError) as wrong:
        raise InputError(f"the file of counts is not valid JSON: {wrong}") from wrong
    except RecursionError as wrong:
        raise InputError("the file of counts is not valid JSON: nested too deeply") from wrong
    # ``dpem execute --json`` always names its backend.
    unknown = sorted(keys - {"counts", "confidence", "readout"})
    if unknown and "backend" not in keys:
        raise InputError(f"{unknown[0]!r} is unknown; known: counts, confidence, readout")
    readout = None if file.readout is None else _readout(file.readout)
    confidence = 0.95 if file.confidence is None else file.confidence
    return Read(_tests(file.counts, ghz=readout is None), readout, confidence)


def _tests(blocks: dict[str, msgspec.Raw], *, ghz: bool) -> "Counts | dict[str, Tally]":
    """Return counts of pairs, or of GHZ states if all names are those of their stabilizers."""
    from quantum.bell import BASES

    unknown = next((name for name in blocks if name not in BASES), None)
    if unknown is None:
        return Counts(**{name: _measured(name, block) for name, block in blocks.items()})
    if not _is_ghz(set(blocks)):
        raise InputError(
            f"counts: object contains unknown field `{unknown}`; known are xx, yy and zz of a pair "
            "or the stabilizers of one GHZ state of 3 to 8 qubits, as `dpem execute` names them"
        )
    if not ghz:
        raise InputError("readout: errors of the readout are corrected for pairs only, not for GHZ")
    return {name: _measured(name, block) for name, block in blocks.items()}


def _measured(name: str, block: msgspec.Raw) -> Tally:
    try:
        tally = msgspec.json.decode(block, type=TallyBlock | None)
    except msgspec.ValidationError as wrong:
        raise InputError(_one_line(str(wrong), f"counts.{name}")) from wrong
    return Tally() if tally is None else _tally(tally)


def _is_ghz(names: set[str]) -> bool:
    from quantum.ghz import labels
    from quantum.program import MOST_QUBITS

    qubits = len(min(names))
    return 3 <= qubits <= MOST_QUBITS and names <= set(labels(qubits))


def _one_line(message: str, root: str = "") -> str:
    """Turn msgspec's ``Expected ... - at `$.pass``` into our ``counts.xx.pass: expected ...``."""
    match = re.fullmatch(r"(?s)(.*?)(?: - at `\$\.?(.*)`)?", message)
    assert match is not None
    what, path = match.group(1), [part for part in (root, match.group(2)) if part]
    where = ".".join(path) or "the file of counts"
    return f"{where}: {what[:1].lower()}{what[1:]}"


def _tally(block: TallyBlock) -> Tally:
    return Tally(block.passed, block.failed)


def _readout(block: ReadoutBlock) -> "Readout | dict[str, Readout]":
    bases = {basis: getattr(block, basis) for basis in ("xx", "yy", "zz")}
    given = [basis for basis, pair in bases.items() if pair is not None]
    if not given:
        return _pair("readout", block)
    if len(given) < 3 or block.left is not None or block.right is not None:
        raise InputError("readout must have left and right, or all of xx, yy and zz with these")
    return {basis: _pair(f"readout.{basis}", pair) for basis, pair in bases.items()}


def _pair(where: str, block: PairBlock) -> "Readout":
    from quantum.estimation.spam import Bit, Readout

    left = Bit() if block.left is None else _bit(f"{where}.left", block.left)
    right = Bit() if block.right is None else _bit(f"{where}.right", block.right)
    return Readout(left, right)


def _bit(where: str, block: BitBlock) -> "Bit":
    from quantum.estimation.spam import Bit

    if block.zero_to_one is None and block.one_to_zero is None:
        return Bit(_flip(where, block))
    if block.error is not None or block.calibration is not None:
        raise InputError(f"{where} must have one flip probability, or one for each direction")
    if block.zero_to_one is None or block.one_to_zero is None:
        raise InputError(f"{where} must have both zero_to_one and one_to_zero")
    zero = _flip(f"{where}.zero_to_one", block.zero_to_one)
    return Bit(zero, _flip(f"{where}.one_to_zero", block.one_to_zero))


def _flip(where: str, block: FlipBlock) -> "Flip":
    if block.error is not None and block.calibration is None:
        return block.error
    if block.calibration is not None and block.error is None:
        return _tally(block.calibration)
    raise InputError(f"{where} must have either error or calibration")


def estimate_all(
    counts: Counts, readout: "Readout | dict[str, Readout] | None" = None, confidence: float = 0.95
) -> dict[str, Any]:
    """Return all estimates with the keys of ``dpem estimate --json``.

    Only ``corrected`` knows of readout errors; everything else is what the tests showed.
    """
    from quantum.estimation.chsh import estimate_largest_s
    from quantum.estimation.qber import key_fractions, qber
    from quantum.estimation.spam import correct
    from quantum.estimation.tomography import tomography
    from quantum.estimation.uneven import fidelity_of

    fidelity, bases = fidelity_of(counts, confidence=confidence)
    fixed = None
    if readout is not None:
        fixed = correct(counts, readout, confidence=confidence, bases=bases).corrected
    state = tomography(counts, confidence=confidence)
    keys = key_fractions(counts, confidence=confidence)
    return {
        "counts": counts,
        "shots": counts.shots,
        "confidence": confidence,
        "bases": bases,
        "fidelity": fidelity,
        "corrected": fixed,
        "correlators": state.correlators,
        "populations": state.populations,
        "consistent": state.consistent,
        "dominant_error": state.dominant_error,
        "qber": qber(counts, confidence=confidence),
        "key_fractions": {
            "bb84": keys.bb84,
            "six_state": keys.six_state,
            "device_independent": keys.device_independent,
        },
        "largest_chsh": estimate_largest_s(counts, confidence=confidence),
    }


def estimate_ghz(tallies: dict[str, Tally], confidence: float = 0.95) -> dict[str, Any]:
    """Return the fidelity of a GHZ state with the keys of ``dpem estimate --json``."""
    from quantum.estimation.uneven import ghz_fidelity_of

    fidelity, bases = ghz_fidelity_of(tallies, confidence=confidence)
    return {
        "counts": tallies,
        "qubits": len(next(iter(tallies))),
        "shots": fidelity.shots,
        "confidence": confidence,
        "bases": bases,
        "fidelity": fidelity,
    }


def _show(result: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("", "low", "best", "high", title=f"{result['shots']} tests")
    for column in table.columns[1:]:
        column.justify = "right"
    rows = [("fidelity", result["fidelity"])]
    if "qubits" not in result:
        rows += _rows_of_a_pair(result)
    for name, value in rows:
        table.add_row(name, *(f"{x:z.5f}" for x in (value.low, value.best, value.high)))
    table.add_row("bases", "", result["bases"], "")
    console = Console()
    console.print(table)
    console.print(f"Intervals have {result['confidence']:.10g} confidence.")
    if result["bases"] == "uneven":
        console.print(_UNEVEN)
    if "qubits" not in result:
        console.print(_verdict(result))


def _rows_of_a_pair(result: dict[str, Any]) -> list[tuple[str, Any]]:
    rows = []
    if result["corrected"] is not None:
        rows.append(("fidelity, readout corrected", result["corrected"]))
    rows += [(f"correlator {name}", value) for name, value in result["correlators"].items()]
    rows += [(f"population {name}", value) for name, value in result["populations"].items()]
    rows += [(f"QBER {name}", value) for name, value in result["qber"].items()]
    rows += [(f"key fraction {name}", value) for name, value in result["key_fractions"].items()]
    return [*rows, ("largest CHSH S", result["largest_chsh"])]


def _verdict(result: dict[str, Any]) -> str:
    worst = result["dominant_error"]
    if result["shots"] == 0:
        return "No test was made."
    if not result["consistent"]:
        return "No state fits these correlators: tests of different pairs, or bases mixed up?"
    if worst is None:
        return "No error was seen."
    sure = "for certain" if worst.certain else "not decided by these tests"
    return f"Most frequent error: {worst.error} ({worst.state}), {sure}."
