"""The out-of-band side of a stub: what tests and scenarios may do that no instrument allows.

Messages are JSON objects with a ``do`` field. The same messages, with a time, are the events of a
scenario file::

    [bench]
    rate_hz = 50000.0
    [switches]
    tb_suffix = false
    [[event]]
    at_s = 3.0
    message = { do = "drift", step = -0.1 }
"""

import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, cast

import msgspec

from firmware_stubs.bench import CountedBench, Drift, Optics
from firmware_stubs.faults import Fault, FaultPlan, Kind
from quantum.errors import InputError

__all__ = [
    "Event",
    "Message",
    "Rig",
    "Scenario",
    "apply",
    "check_events",
    "decode",
    "load_scenario",
]

#: Bounded, so that NaN and infinities are refused.
Share = Annotated[float, msgspec.Meta(ge=-1.0, le=1.0)]
Time = Annotated[float, msgspec.Meta(ge=0.0, le=1e9)]
Picoseconds = Annotated[float, msgspec.Meta(ge=-1e9, le=1e9)]


@dataclass
class Rig:
    """What a control message can reach: the bench, the faults, and how fast bench time runs."""

    bench: CountedBench
    faults: FaultPlan
    speed: float
    power_cycle: Callable[[float], None] | None = None
    """What a cut of the power does to the instrument, where it has a power switch."""


class _Message(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="do"):
    pass


class Inject(_Message, frozen=True, tag="fault"):
    """Put a fault into force; ``size``, ``number`` and ``line`` are for streaming instruments."""

    kind: str
    left: Annotated[int, msgspec.Meta(ge=1)] | None = None
    late_s: Time = 1.0
    match: str = ""
    size: int = 1
    number: int | None = None
    line: int | None = None


class Clear(_Message, frozen=True, tag="clear"):
    """Remove all faults."""


class Move(_Message, frozen=True, tag="drift"):
    """Make the fidelity drift from now on; times are bench time."""

    step: Share = 0.0
    per_s: Share = 0.0
    lasts_s: Time = 1e9


class Skew(_Message, frozen=True, tag="skew"):
    """Shift the clocks of the two sides against each other."""

    step_ps: Picoseconds


class Truth(_Message, frozen=True, tag="truth"):
    """Ask for the hidden truth, as seen through a coincidence gate."""

    gate_ps: Picoseconds = 2000.0


class State(_Message, frozen=True, tag="state"):
    """Ask for the instrument's settings and the faults in force."""


class PowerCycle(_Message, frozen=True, tag="power_cycle"):
    """Cut the power of a streaming instrument for a while: its settings are lost."""

    off_s: Time = 0.0


class Stop(_Message, frozen=True, tag="stop"):
    """End the stub."""


Message = Inject | Clear | Move | Skew | Truth | State | PowerCycle | Stop


class Event(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A control message at a wall time since the start of the stub."""

    at_s: Time
    message: Message


class Scenario(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A scenario file."""

    bench: Optics = Optics()
    switches: dict[str, Any] = {}
    event: tuple[Event, ...] = ()


def decode(body: bytes) -> Message:
    """Read a control message, or raise :class:`InputError`."""
    try:
        message: Message = msgspec.json.decode(body, type=Message)
    except (msgspec.DecodeError, UnicodeDecodeError) as wrong:
        raise InputError(f"control message: {wrong}") from wrong
    return message


def check_events(events: tuple[Event, ...]) -> None:
    """Refuse at the start events that :func:`apply` would refuse later."""
    for event in events:
        match event.message:
            case Inject(kind, left, late_s, text):
                Fault(cast(Kind, kind), left, late_s, text)
            case PowerCycle():
                raise InputError("this stub has no power switch")
            case _:
                pass


def load_scenario(path: Path) -> Scenario:
    """Read a scenario file, or raise :class:`InputError`."""
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
        scenario = msgspec.convert(raw, Scenario)
    except OSError as wrong:
        raise InputError(f"cannot read scenario {path}: {wrong.strerror}") from wrong
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as wrong:
        raise InputError(f"scenario {path}: {wrong}") from wrong
    scenario.bench.check()
    return scenario


def apply(
    message: Message, rig: Rig, now_s: float, state: Callable[[], dict[str, Any]]
) -> dict[str, Any]:
    """Carry out a message at a wall time since the start; return the answer's fields."""
    bench_s = now_s * rig.speed
    match message:
        case Inject(kind, left, late_s, text):
            # An unknown kind is refused by Fault itself.
            rig.faults.inject(Fault(cast(Kind, kind), left, late_s, text))
        case Clear():
            rig.faults.clear()
        case Move(step, per_s, lasts_s):
            rig.bench.drifts.append(Drift(bench_s, step, per_s, lasts_s))
        case Skew(step_ps):
            rig.bench.added_skew_ps += step_ps
        case Truth(gate_ps):
            return dict(rig.bench.truth(bench_s, gate_ps))
        case State():
            return {"settings": state(), "faults": [f.kind for f in rig.faults.active]}
        case PowerCycle():
            if rig.power_cycle is None:
                raise InputError("this stub has no power switch")
            rig.power_cycle(now_s)
        case Stop():
            return {"stopping": True}
    return {}
