"""What a rack file says about safety: limits, interlocks, the safe state, timers and keys.

All of it is data that is read strictly; :mod:`backends.supervisor` enforces it below every caller.
"""

from typing import Annotated, Literal

import msgspec

from quantum.errors import InputError

__all__ = ["ROLES", "KeyEntry", "Limits", "Role", "SafeEntry", "SafetyEntry"]

Role = Literal["observe", "operate", "arm"]
#: From the least to the most that a key may do; each may do what those before it may.
ROLES: tuple[Role, ...] = ("observe", "operate", "arm")

Number = Annotated[float, msgspec.Meta(ge=-1e9, le=1e9)]
Positive = Annotated[float, msgspec.Meta(gt=0.0, le=1e9)]
Port = Annotated[int, msgspec.Meta(ge=1, le=100_000)]


class _Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class Limits(_Strict, frozen=True, kw_only=True):
    """What may be asked of one instrument; what is left out is not limited here.

    The driver's own limits hold as well. ``acts_hz`` bounds how often something is changed (a
    second's worth may come at once), ``ports`` are the only ones that a switch may join.
    """

    bias_ua: tuple[Number, Number] | None = None
    power_dbm: tuple[Number, Number] | None = None
    voltage_mv: tuple[Number, Number] | None = None
    angle_deg: tuple[Number, Number] | None = None
    integration_s: tuple[Positive, Positive] | None = None
    ports: tuple[Port, ...] | None = None
    acts_hz: Positive | None = None

    def __post_init__(self) -> None:
        for name in ("bias_ua", "power_dbm", "voltage_mv", "angle_deg", "integration_s"):
            pair = getattr(self, name)
            if pair is not None and pair[0] > pair[1]:
                raise ValueError(f"limits.{name} must be [lowest, highest], got {list(pair)}")


class SafeEntry(_Strict, frozen=True, kw_only=True):
    """The safe state of one instrument.

    ``off`` closes, darkens, unbiases and parks; ``hold`` leaves it as it is (a fibre squeezer that
    must not jump). ``park`` are the connections of a parked switch, none unless given.
    """

    do: Literal["off", "hold"] = "off"
    park: tuple[tuple[Port, Port], ...] = ()


class KeyEntry(_Strict, frozen=True, kw_only=True):
    """A person or process that the supervisor of this rack knows by its public key."""

    name: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_.\-]{1,64}$")]
    public: Annotated[str, msgspec.Meta(min_length=40, max_length=40)]
    role: Role


class SafetyEntry(_Strict, frozen=True, kw_only=True):
    """Timers and rules of a rack's supervisor.

    A lease that is not renewed for ``lease_s``, an agent that hangs for ``agent_s`` (one that is
    killed or stopped is seen within a tenth of a second) and a supervisor that is not heard for
    ``supervisor_s`` bring the rack into its safe state.
    ``interlocks`` names the instruments whose interlock contact must be closed for anything to
    change. ``log_failure`` holds for stubs; with instruments a lost log always stops.
    """

    lease_s: Annotated[float, msgspec.Meta(ge=0.1, le=0.7)] = 0.5
    agent_s: Annotated[float, msgspec.Meta(ge=0.1, le=60.0)] = 5.0
    supervisor_s: Annotated[float, msgspec.Meta(ge=0.1, le=0.6)] = 0.5
    interlock_s: Annotated[float, msgspec.Meta(ge=0.01, le=1.0)] = 0.05
    linger_s: Annotated[float, msgspec.Meta(ge=0.0, le=3600.0)] = 60.0
    interlocks: tuple[str, ...] = ()
    log_failure: Literal["stop", "continue"] = "stop"
    key: tuple[KeyEntry, ...] = ()

    def check(self, instruments: set[str]) -> None:
        """Raise :class:`InputError` where a name is none, or a key stands twice."""
        for name in self.interlocks:
            if name not in instruments:
                raise InputError(f"safety.interlocks names {name!r}, which is no instrument")
        for what in ("name", "public"):
            values = [getattr(key, what) for key in self.key]
            if len(set(values)) < len(values):
                raise InputError(f"safety.key: every {what} must be another")
