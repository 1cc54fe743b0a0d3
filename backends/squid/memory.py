"""The quantum memory of one node: positions, the time they idle, and one operation at a time.

Decay is lazy: a position remembers since when it idles, and its channel is applied when the qubit
is next touched. A qubit in an operation does not decay (its noise belongs to the operation), the
others do. Operations of one device never overlap; who comes second waits.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from backends.squid.clock import Clock, Delay, Steps, Until
from backends.squid.engine import Complex, Engine
from backends.squid.errors import SquidError
from backends.squid.matrices import (
    PROJECTORS,
    constant,
    decay,
    depolarise,
    faulty_readout,
    of_unitary,
    on_each,
)
from backends.squid.setting import Device, Nv

__all__ = ["Operation", "QuantumMemory"]

_decay = functools.lru_cache(maxsize=4096)(decay)


@dataclass(frozen=True, eq=False, slots=True)
class Operation:
    """A unitary, with the noise that it brings along, on one or two qubits; and its time."""

    matrix: Complex
    noisy: bool
    wait: Delay | None

    @classmethod
    def gate(
        cls, unitary: Complex, duration_ns: float, depolar: float, joint: float = 0.0
    ) -> "Operation":
        """Return a gate after which each of its qubits becomes I/2 with probability ``depolar``.

        Before that, with probability ``joint``, two qubits become I/4 together.
        """
        if depolar == joint == 0.0:
            return cls(unitary, False, _delay(duration_ns))
        noise = depolarise(depolar)
        if len(unitary) == 4:
            noise = on_each(noise, noise) @ depolarise(joint, 2)
        return cls(constant(noise @ of_unitary(unitary)), True, _delay(duration_ns))


def _delay(nanoseconds: float) -> Delay | None:
    return Delay(nanoseconds) if nanoseconds > 0.0 else None


@dataclass(frozen=True, slots=True)
class _Position:
    """What a device does to the qubit of one position."""

    t1_ns: float
    t2_ns: float
    init_wait: Delay | None
    init_noise: Complex | None

    @property
    def decays(self) -> bool:
        return self.t1_ns > 0.0 or self.t2_ns > 0.0


def _position(t1_ns: float, t2_ns: float, init_ns: float, depolar: float = 0.0) -> _Position:
    return _Position(t1_ns, t2_ns, _delay(init_ns), depolarise(depolar) if depolar else None)


def _positions(device: Device) -> list[_Position]:
    if not isinstance(device, Nv):
        return [_position(device.t1_ns, device.t2_ns, device.init_ns)] * device.qubits
    electron = _position(
        device.electron_t1_ns,
        device.electron_t2_ns,
        device.electron_init_ns,
        device.electron_init_depolar,
    )
    carbon = _position(
        device.carbon_t1_ns,
        device.carbon_t2_ns,
        device.carbon_init_ns,
        device.carbon_init_depolar,
    )
    return [electron, *[carbon] * (device.qubits - 1)]


class QuantumMemory:
    """The positions of a device and the qubits in them.

    A position is *taken* by :meth:`allocate`, and then *filled* by :meth:`initialise` or
    :meth:`put`. In an NV device position 0, the electron, alone talks to the network and is
    measured; in a generic device any position does. ``changed`` is given when a position becomes
    free or is filled.
    """

    def __init__(
        self, clock: Clock, engine: Engine, device: Device, rng: np.random.Generator
    ) -> None:
        self.clock, self.engine, self.device = clock, engine, device
        self.changed = clock.signal()
        self._rng = rng
        self._positions = _positions(device)
        self._decays = [position.decays for position in self._positions]
        self._qubits: list[int | None] = [None] * device.qubits
        self._taken = [False] * device.qubits
        self._idle_since = [0.0] * device.qubits
        self._busy, self._idle = False, clock.signal()
        self._measure_wait = _delay(device.measure_ns)
        self._kraus = PROJECTORS
        if isinstance(device, Nv) or device.flip_0 or device.flip_1:
            self._kraus = faulty_readout(device.flip_0, device.flip_1)

    # Positions

    def allocate(self, *, network: bool = False, storage: bool = False) -> int | None:
        """Take the first free position, or return None.

        ``network``: one that talks to the network; ``storage``: one that is not needed for that
        (NV: a carbon).
        """
        first, last = 0, len(self._taken)
        if isinstance(self.device, Nv):
            first, last = int(storage), 1 if network else last
        for position in range(first, last):
            if not self._taken[position]:
                self._taken[position] = True
                return position
        return None

    def allocate_for(self, virtual_id: int) -> int | None:
        """Take a position as qalloc does: in an NV device only virtual qubit 0 is the electron."""
        if not isinstance(self.device, Nv):
            return self.allocate()
        return self.allocate(network=virtual_id == 0, storage=virtual_id > 0)

    def told(self) -> str:
        """Say in words how many positions are taken."""
        kind = ""
        if isinstance(self.device, Nv):
            kind = "; virtual qubit 0 needs position 0, the electron, all others need carbons"
        return f"{sum(self._taken)} of {len(self._taken)} positions are taken{kind}"

    def take(self, position: int) -> bool:
        """Take a certain position; False where it is taken already."""
        free = not self._taken[position]
        self._taken[position] = True
        return free

    def is_taken(self, position: int) -> bool:
        """Say whether a position is taken, filled or not."""
        return self._taken[position]

    def is_filled(self, position: int) -> bool:
        """Say whether there is a qubit in a position."""
        return self._qubits[position] is not None

    def put(self, position: int, qubit: int) -> None:
        """Fill a taken position with a qubit of the engine, such as half of a pair."""
        if not self._taken[position] or self._qubits[position] is not None:
            raise SquidError(f"position {position} is not waiting for a qubit")
        self._qubits[position] = qubit
        self._idle_since[position] = self.clock.now_ns
        self.changed.give()

    def free(self, position: int) -> None:
        """Trace the qubit out, if there is one, and let the position be taken anew."""
        qubit, self._qubits[position] = self._qubits[position], None
        if qubit is not None:
            self.engine.discard(qubit)
        self._taken[position] = False
        self.changed.give()

    def reset(self) -> None:
        """Free all positions, as between two runs of a program."""
        for position, taken in enumerate(self._taken):
            if taken:
                self.free(position)

    # States

    def qubit(self, position: int) -> int:
        """Return the engine's qubit of a position, decayed until now."""
        qubit = self._qubits[position]
        if qubit is None:
            raise SquidError("the qubit was allocated but not initialised")
        now = self.clock.now_ns
        idle = now - self._idle_since[position]
        # In an operation the time until its end counts as spent: idle is negative then.
        if idle > 0.0:
            self._idle_since[position] = now
            if self._decays[position]:
                kind = self._positions[position]
                self.engine.channel(_decay(idle, kind.t1_ns, kind.t2_ns), qubit)
        return qubit

    def state(self, positions: Sequence[int]) -> Complex:
        """Return the density matrix of filled positions as it is now."""
        return self.engine.state([self.qubit(position) for position in positions])

    def filled(self) -> tuple[int, ...]:
        """Return the positions with a qubit."""
        return tuple(p for p, qubit in enumerate(self._qubits) if qubit is not None)

    # Operations

    def operate(self, operation: Operation, *positions: int) -> Steps:
        """Do an operation on filled positions."""
        if self._busy:
            yield from self._turn()
        qubits = [self.qubit(position) for position in positions]
        if operation.wait is not None:
            yield from self._spend(operation.wait, positions)
        if operation.noisy:
            self.engine.channel(operation.matrix, *qubits)
        else:
            self.engine.unitary(operation.matrix, *qubits)

    def initialise(self, position: int) -> Steps:
        """Bring a taken position to |0>, whatever it held."""
        if self._busy:
            yield from self._turn()
        kind = self._positions[position]
        if kind.init_wait is not None:
            yield from self._spend(kind.init_wait, (position,))
        old = self._qubits[position]
        if old is not None:
            self.engine.discard(old)
        qubit = self._qubits[position] = self.engine.new()
        self._idle_since[position] = self.clock.now_ns
        if kind.init_noise is not None:
            self.engine.channel(kind.init_noise, qubit)
        if old is None:
            self.changed.give()

    def empty(self, position: int) -> None:
        """Forget what a filled position holds and leave a perfect |0> there, in no time."""
        self.engine.discard(self.qubit(position))
        self._qubits[position] = self.engine.new()

    def measure(self, position: int) -> Steps:
        """Measure a filled position; return the outcome. The qubit stays, as the outcome says."""
        if self._busy:
            yield from self._turn()
        qubit = self.qubit(position)
        if self._measure_wait is not None:
            yield from self._spend(self._measure_wait, (position,))
        return self.engine.measure(qubit, self._rng.random(), self._kraus)

    def _turn(self) -> Steps:
        while self._busy:
            yield Until(self._idle, "the device to finish another operation")

    def _spend(self, wait: Delay, positions: tuple[int, ...]) -> Steps:
        end = self.clock.now_ns + wait.nanoseconds
        for position in positions:
            self._idle_since[position] = end
        self._busy = True
        yield wait
        self._busy = False
        self._idle.give()
