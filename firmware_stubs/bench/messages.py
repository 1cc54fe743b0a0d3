"""What tests and scenarios may do to the shared bench, and ask of it, that no instrument could.

JSON objects with a ``do`` field; links are named as in the rack file, ``"alice-bob"``. The same
messages, with a time, are events of a rack's scenario file.
"""

import math
from collections.abc import Sequence
from typing import Annotated, Any

import msgspec

from firmware_stubs.bench.modulated import Drift
from firmware_stubs.bench.shared import SharedBench
from firmware_stubs.control import Picoseconds, Share, Stop, Time
from quantum.errors import InputError

__all__ = ["BenchMessage", "apply_to_bench", "read_bench_message"]

Degrees = Annotated[float, msgspec.Meta(ge=-360.0, le=360.0)]
Detector = Annotated[int, msgspec.Meta(ge=0, le=3)]
Port = Annotated[int, msgspec.Meta(ge=-1, le=511)]


class _Message(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="do"):
    pass


class Fade(_Message, frozen=True, tag="drift"):
    """Make the visibility of a link, or of all, change from now on; times are bench time."""

    step: Share = 0.0
    per_s: Share = 0.0
    lasts_s: Time = 1e9
    link: str | None = None


class TurnFibre(_Message, frozen=True, tag="jump"):
    """Turn the polarisation in a fibre at once, about a vector on the Poincare sphere."""

    link: str
    turn_deg: tuple[Degrees, Degrees, Degrees]
    arm: Annotated[int, msgspec.Meta(ge=0, le=1)] = 1


class ShiftClock(_Message, frozen=True, tag="skew"):
    """Shift Alice's clock against Bob's."""

    step_ps: Picoseconds


class Misroute(_Message, frozen=True, tag="misroute"):
    """Lead the light of a switch input elsewhere, whatever the switch says; -1 is nowhere.

    Without ``output`` the input is as it should be again. Ports count from 0.
    """

    input: Port
    output: Port | None = None


class Latch(_Message, frozen=True, tag="latch"):
    """Latch a detector (0-3), as a flash of light would."""

    detector: Detector


class Contact(_Message, frozen=True, tag="interlock"):
    """Open or close the interlock contact; where it opens, the shutter falls shut."""

    closed: bool


class LinkTruth(_Message, frozen=True, tag="truth"):
    """Ask for the hidden truth of a link, or of all of them."""

    link: str | None = None
    gate_ps: Picoseconds = 2000.0


class Settings(_Message, frozen=True, tag="state"):
    """Ask for what instruments have set."""


BenchMessage = (
    Fade | TurnFibre | ShiftClock | Misroute | Latch | Contact | LinkTruth | Settings | Stop
)


def read_bench_message(body: bytes) -> BenchMessage:
    """Read a message, or raise :class:`InputError`."""
    try:
        message: BenchMessage = msgspec.json.decode(body, type=BenchMessage)
    except (msgspec.DecodeError, UnicodeDecodeError) as wrong:
        raise InputError(f"bench message: {wrong}") from wrong
    return message


def apply_to_bench(
    message: BenchMessage, bench: SharedBench, names: Sequence[str], bench_s: float
) -> dict[str, Any]:
    """Carry out a message at a bench time; return the answer's fields."""
    history = bench.history
    match message:
        case Fade(step, per_s, lasts_s, link):
            drift = Drift(bench_s, step, per_s, lasts_s)
            (bench.drifts if link is None else bench.link_drifts[_place(link, names)]).append(drift)
        case TurnFibre(link, (x, y, z), arm):
            turn = (math.radians(x), math.radians(y), math.radians(z))
            bench.jump(_place(link, names), arm, turn, bench_s)
        case ShiftClock(step_ps):
            bench.added_skew_ps += step_ps
        case Misroute(entry, exit_):
            others = tuple(pair for pair in history.now.misroutes if pair[0] != entry)
            more = () if exit_ is None else ((entry, exit_),)
            history.change(bench_s, misroutes=(*others, *more))
        case Latch(detector):
            latched = list(history.now.latched)
            latched[detector] = True
            history.change(bench_s, latched=tuple(latched))
        case Contact(closed):
            is_open = history.now.shutter_open and closed
            history.change(bench_s, interlock_closed=closed, shutter_open=is_open)
        case LinkTruth(link, gate_ps):
            if link is not None:
                return bench.link_truth(_place(link, names), bench_s, gate_ps)
            return {
                "links": {
                    name: bench.link_truth(number, bench_s, gate_ps)
                    for number, name in enumerate(names)
                }
            }
        case Settings():
            return {"settings": msgspec.to_builtins(history.at(bench_s))}
        case Stop():
            return {"stopping": True}
    return {}


def _place(link: str, names: Sequence[str]) -> int:
    if link not in names:
        raise InputError(f"link {link!r} is unknown; known: {', '.join(names)}")
    return list(names).index(link)
