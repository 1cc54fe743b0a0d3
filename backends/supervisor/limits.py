"""What a driver's method does, and whether a rack's limits allow it. Pure.

The table is closed: a method that stands nowhere here is taken for an act without limits of its
own, so it needs a lease, an armed rack and closed interlocks like any other.
"""

from collections.abc import Iterable
from typing import Any

from quantum.errors import Code, RequestError
from quantum.rack_safety import Limits

__all__ = ["READS", "REMOTE", "SAFE", "SHADOWED", "check_limits"]

#: Methods that change nothing that matters: allowed without a lease, also in the safe state.
READS = frozenset(
    {
        "bias_ua",
        "connections",
        "identify",
        "interlock_closed",
        "is_open",
        "is_scrambling",
        "latched",
        "output",
        "ping",
        "position_deg",
        "power_dbm",
        "powers_dbm",
        "voltages_mv",
    }
)
#: Reads that a shadowed instrument is asked beside its stub.
SHADOWED = READS - {"identify"}
#: Methods that only make things safer: always allowed.
SAFE = frozenset({"safe_state", "stop"})
#: What a client may call by name; everything else of a driver stays inside.
REMOTE = (
    READS
    | SAFE
    | {
        "coincidences",
        "configure",
        "connect",
        "home",
        "move_deg",
        "rates",
        "recover",
        "set_basis",
        "set_bias_ua",
        "set_open",
        "set_output",
        "set_power_dbm",
        "set_voltages_mv",
    }
)

#: Method -> the limit that its first argument has to keep.
_RANGES = {
    "set_bias_ua": "bias_ua",
    "set_power_dbm": "power_dbm",
    "set_voltages_mv": "voltage_mv",
    "move_deg": "angle_deg",
    "configure": "integration_s",
    "coincidences": "integration_s",
}


def check_limits(instrument: str, method: str, given: tuple[Any, ...], limits: Limits) -> None:
    """Raise :class:`RequestError` REJECTED where an argument is outside the rack's limits."""
    name = _RANGES.get(method)
    if name is not None and given:
        allowed = getattr(limits, name)
        if allowed is not None:
            for value in _numbers(given[0]):
                if not allowed[0] <= value <= allowed[1]:
                    raise _refusal(instrument, name, f"{allowed[0]:g} to {allowed[1]:g}", value)
    if method == "connect" and given and limits.ports is not None:
        for port in [*dict(given[0]).keys(), *dict(given[0]).values()]:
            if port not in limits.ports:
                raise _refusal(instrument, "ports", ", ".join(map(str, limits.ports)), port)


def _numbers(value: Any) -> Iterable[float]:
    return (value,) if isinstance(value, int | float) else tuple(value)


def _refusal(instrument: str, name: str, allowed: str, got: object) -> RequestError:
    return RequestError(
        Code.REJECTED, f"{instrument}: the rack limits {name} to {allowed}, asked was {got}"
    )
