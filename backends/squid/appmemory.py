"""What one application sees of its node: registers, arrays and virtual qubits.

This is also the shared memory that netqasm's futures read: values are there as soon as the
program has written them. Errors say what is wrong; who ran into it, the interpreter adds.
"""

from collections.abc import Sequence
from typing import Any

from backends.squid.clock import Clock, Steps, Until
from backends.squid.errors import LimitError, SquidError

__all__ = ["REGISTERS", "AppMemory", "register_index"]

#: Registers in a fixed order: 16 of each name, as netqasm numbers them.
REGISTERS = tuple(f"{name}{index}" for name in "RCQM" for index in range(16))
_INDEX = {name: index for index, name in enumerate(REGISTERS)}
_LONGEST_ARRAY = 10_000_000


def register_index(register: Any) -> int:
    """Return the number of a register: netqasm's object or its name.

    >>> register_index("C3")
    19
    """
    try:
        if isinstance(register, str):
            return _INDEX[register]
        return int(register.name.value) * 16 + int(register.index)
    except (KeyError, AttributeError):
        raise SquidError(f"{register!r} is no register: R, C, Q or M with 0 to 15") from None


class AppMemory:
    """Registers, arrays, and where virtual qubits are.

    ``changed`` is given when an array is written or a virtual qubit is mapped or unmapped.
    ``awaited`` says of an array, by its address, who is going to write it: the words of a deadlock.
    """

    def __init__(self, clock: Clock) -> None:
        self.changed = clock.signal()
        self.registers: list[int | None] = [None] * len(REGISTERS)
        self.arrays: dict[int, list[int | None]] = {}
        self.awaited: dict[int, str] = {}
        #: Positions of virtual qubits that are mapped.
        self.positions: dict[int, int] = {}
        #: NV: virtual qubits whose state a swap left with virtual qubit 0 for a while.
        self.lent: set[int] = set()
        self._pending: dict[int, list[str]] = {}
        self._freed: set[int] = set()

    # Virtual qubits

    def map(self, virtual_id: int, position: int) -> None:
        """Say where a virtual qubit is; one that was pending is so no longer."""
        if virtual_id in self.positions:
            raise SquidError(f"virtual qubit {virtual_id} is in use already")
        self.positions[virtual_id] = position
        why = self._pending.get(virtual_id)
        if why is not None:
            why.pop(0)
            if not why:
                del self._pending[virtual_id]
        self.changed.give()

    def unmap(self, virtual_id: int) -> int:
        """Forget a virtual qubit and return the position that it had."""
        position = self.positions.pop(virtual_id)
        self._freed.add(virtual_id)
        self.changed.give()
        return position

    def move(self, virtual_id: int, position: int) -> None:
        """Say that a mapped virtual qubit is at another position now."""
        self.positions[virtual_id] = position

    def mark_pending(self, virtual_id: int, why: str) -> None:
        """Announce half of a pair for a virtual qubit: who uses it waits until it is mapped.

        A virtual qubit may be announced several times (pairs one after the other); each mapping
        answers one. ``why`` completes "waits for ...".
        """
        self._pending.setdefault(virtual_id, []).append(why)

    def is_pending(self, virtual_id: int) -> bool:
        """Say whether half of a pair is due for a virtual qubit."""
        return virtual_id in self._pending

    def virtual_at(self, position: int) -> int | None:
        """Return the virtual qubit at a position."""
        for virtual_id, at in self.positions.items():
            if at == position:
                return virtual_id
        return None

    def located(self, virtual_id: int) -> Steps:
        """Return the position of a virtual qubit, waiting while it is pending."""
        while virtual_id not in self.positions:
            why = self._pending.get(virtual_id)
            if why is None:
                freed = virtual_id in self._freed
                raise SquidError(
                    f"virtual qubit {virtual_id} "
                    + ("was freed (by qfree or its measurement)" if freed else "is not allocated")
                )
            yield Until(self.changed, why[0])
        return self.positions[virtual_id]

    # Arrays

    def new_array(self, address: int, length: int) -> None:
        """Make an array without values; one that was there is forgotten."""
        if length < 0:
            raise SquidError(f"array @{address} cannot have {length} entries")
        if length > _LONGEST_ARRAY:
            raise LimitError(f"array @{address} of {length} entries: at most {_LONGEST_ARRAY}")
        self.arrays[address] = [None] * length

    def array(self, address: int) -> list[int | None]:
        """Return an array itself."""
        try:
            return self.arrays[address]
        except KeyError:
            raise SquidError(f"there is no array @{address}") from None

    def read(self, address: int, index: int) -> int | None:
        """Return an entry, None where it has no value."""
        array = self.array(address)
        if not 0 <= index < len(array):
            raise SquidError(f"@{address}[{index}] is outside the array: {len(array)} entries")
        return array[index]

    def write(self, address: int, index: int, value: int | None) -> None:
        """Write an entry."""
        array = self.array(address)
        if not 0 <= index < len(array):
            raise SquidError(f"@{address}[{index}] is outside the array: {len(array)} entries")
        array[index] = value
        self.changed.give()

    def read_slice(self, address: int, start: int, stop: int) -> list[int | None]:
        """Return the entries from ``start`` up to, not including, ``stop``."""
        array = self.array(address)
        if not 0 <= start <= stop <= len(array):
            raise SquidError(
                f"@{address}[{start}:{stop}] is outside the array: {len(array)} entries"
            )
        return array[start:stop]

    def write_slice(self, address: int, start: int, values: Sequence[int | None]) -> None:
        """Write entries that follow each other, with one signal."""
        stop = start + len(values)
        self.read_slice(address, start, stop)
        self.arrays[address][start:stop] = values
        self.changed.give()

    def reset(self) -> None:
        """Forget everything, as between two runs of a program."""
        self.registers[:] = [None] * len(REGISTERS)
        for kept in (self.arrays, self.awaited, self.positions, self._pending):
            kept.clear()
        self.lent.clear()
        self._freed.clear()

    # As netqasm's futures and host programs read it

    def get_register(self, register: Any) -> int | None:
        """Return the value of a register, None where it has none."""
        return self.registers[register_index(register)]

    get_reg_value = get_register

    def get_array_part(self, address: int, index: int | slice) -> Any:
        """Return an entry or a slice; None where the array was not made yet.

        An index outside the array is an IndexError: Python's way to end ``list(array)``.
        """
        array = self.arrays.get(address)
        return None if array is None else array[index]

    def get_array(self, address: int) -> list[int | None]:
        """Return a copy of an array."""
        return list(self.array(address))
