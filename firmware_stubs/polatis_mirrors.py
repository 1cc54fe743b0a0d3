"""The mirrors of a Polatis switch: what was asked for, what carries light, and what is broken."""

from firmware_stubs.lone_ports import DARK_DBM
from firmware_stubs.ports import SwitchPort
from firmware_stubs.stream_faults import StreamFaults

__all__ = ["FAULTS", "Mirrors"]

#: Faults of the instrument; ``number`` is a port.
FAULTS = {
    "not_made": "a set command is accepted, and nothing happens",
    "wrong_port": "the last pair of a set command leads to the next free output",
    "dark": "connections read back as made, and carry no light",
    "port_failed": "port `number` has failed",
    "power_drop": "the power at port `number` is 3 dB lower",
}


class Mirrors:
    """Ports are numbered as on the front panel: inputs from 1, then outputs."""

    def __init__(
        self,
        port: SwitchPort,
        size: tuple[int, int],
        *,
        settle_s: float,
        faults: StreamFaults,
        speed: float,
    ) -> None:
        self.inputs, self.outputs = size
        self.made: dict[int, int] = {}
        self.carrying: dict[int, int] = {}
        self.disabled: set[int] = set()
        self._port = port
        self._settle_s = settle_s
        self._faults = faults
        self._speed = speed
        self._settled_s = 0.0
        self._tell(0.0)

    def settle(self, now_s: float) -> float | None:
        """Let light pass where mirrors have settled; return when the next ones will have."""
        if now_s < self._settled_s:
            return self._settled_s
        meant = {k: v for k, v in self.made.items() if self.healthy(k) and self.healthy(v)}
        if self._faults.find("dark"):
            meant = {}
        if meant != self.carrying:
            self.carrying = meant
            self._tell(now_s)
        return None

    def settled(self, now_s: float) -> bool:
        """Say whether nothing moves."""
        return now_s >= self._settled_s

    def change(self, wanted: dict[int, int], now_s: float) -> None:
        """Move: connections that were there before go on carrying light, others settle first."""
        if self._faults.spend("not_made"):
            return
        if wanted and self._faults.spend("wrong_port"):
            last = max(wanted)
            outputs = range(self.inputs + 1, self.inputs + self.outputs + 1)
            free = [port for port in outputs if port not in wanted.values()]
            wanted = wanted | {last: free[0] if free else wanted[last]}
        self.carrying = {k: v for k, v in wanted.items() if self.carrying.get(k) == v}
        self.made = wanted
        self._settled_s = now_s + self._settle_s
        self._tell(now_s)

    def disable(self, ports: list[int], now_s: float) -> None:
        """Disable ports and undo their connections."""
        self.disabled.update(ports)
        kept = {k: v for k, v in self.made.items() if not {k, v} & self.disabled}
        if kept != self.made:
            self.change(kept, now_s)

    def power_dbm(self, port: int, now_s: float) -> float:
        """Return the power at a port."""
        is_output = port > self.inputs
        place = port - 1 - (self.inputs if is_output else 0)
        power = self._port.power_dbm(place, is_output, now_s * self._speed)
        return max(DARK_DBM, power - (3.0 if self._faults.find("power_drop", port) else 0.0))

    def healthy(self, port: int) -> bool:
        """Say whether a port has not failed."""
        return self._faults.find("port_failed", port) is None

    def letter(self, port: int) -> str:
        """Return F, D or E: failed, disabled, enabled."""
        if not self.healthy(port):
            return "F"
        return "D" if port in self.disabled else "E"

    def _tell(self, now_s: float) -> None:
        outputs = {k - 1: v - 1 - self.inputs for k, v in self.carrying.items()}
        self._port.set_connections(outputs, now_s * self._speed)
