"""Moves between the electron and the carbons of an NV centre.

Native are rotations of single qubits and rotations of a carbon controlled by the electron
(position 0). From them, exactly up to a phase (angles in degrees, first done first):

- electron to carbon: init carbon, Ry(90), CY(-90), Rx(-90), CX(90);
- carbon to electron: init electron, Ry(90), CY(-90), Rx(-90), CX(90), Ry(-90), Rz(-90), all
  rotations on the electron; SquidASM leaves the last one out before a measurement of Z, and so do
  we;
- exchange: SWAP = exp(i pi/4 (XX + YY + ZZ)), a controlled rotation for each term, turned into
  place by rotations of the electron (XX, YY) or of the carbon (ZZ).
"""

import functools

from backends.squid import matrices
from backends.squid.clock import Steps, Until
from backends.squid.matrices import Axis
from backends.squid.memory import Operation, QuantumMemory
from backends.squid.nodecontext import NodeContext
from backends.squid.setting import Nv

__all__ = ["ELECTRON", "Moves"]

ELECTRON = 0
#: 90 degrees as n pi / 2^d.
_PLUS, _MINUS = (1, 1), (-1, 1)


class Moves:
    """The operations of a device, each made once, and what is composed of them."""

    def __init__(self, device: Nv) -> None:
        self._device = device
        self.rotation = functools.lru_cache(maxsize=1024)(self._rotation)
        self.controlled = functools.lru_cache(maxsize=1024)(self._controlled)

    def _rotation(self, axis: Axis, n: int, d: int, electron: bool) -> Operation:
        device, matrix = self._device, matrices.rotation(axis, n, d)
        if electron:
            times = {
                "x": device.electron_x_ns,
                "y": device.electron_y_ns,
                "z": device.electron_z_ns,
            }
            return Operation.gate(matrix, times[axis], device.electron_single_depolar)
        times = {"x": device.carbon_x_ns, "y": device.carbon_y_ns, "z": device.carbon_z_ns}
        return Operation.gate(matrix, times[axis], device.carbon_z_depolar)

    def _controlled(self, axis: Axis, n: int, d: int) -> Operation:
        time_ns = self._device.ec_x_ns if axis == "x" else self._device.ec_y_ns
        matrix = matrices.controlled_rotation(axis, n, d)
        return Operation.gate(matrix, time_ns, self._device.ec_depolar)

    # Between positions

    def rotate(
        self, memory: QuantumMemory, position: int, axis: Axis, angle: tuple[int, int]
    ) -> Steps:
        """Turn the electron or a carbon."""
        yield from memory.operate(self.rotation(axis, *angle, position == ELECTRON), position)

    def _controlled_rotate(
        self, memory: QuantumMemory, carbon: int, axis: Axis, angle: tuple[int, int]
    ) -> Steps:
        yield from memory.operate(self.controlled(axis, *angle), ELECTRON, carbon)

    def _transfer(self, memory: QuantumMemory, carbon: int) -> Steps:
        yield from self.rotate(memory, ELECTRON, "y", _PLUS)
        yield from self._controlled_rotate(memory, carbon, "y", _MINUS)
        yield from self.rotate(memory, ELECTRON, "x", _MINUS)
        yield from self._controlled_rotate(memory, carbon, "x", _PLUS)

    def to_carbon(self, memory: QuantumMemory, carbon: int) -> Steps:
        """Move the electron's state to a taken carbon; what that held is lost."""
        yield from memory.initialise(carbon)
        yield from self._transfer(memory, carbon)

    def to_electron(self, memory: QuantumMemory, carbon: int, *, for_z: bool = False) -> Steps:
        """Move a carbon's state to the taken electron; what that held is lost.

        ``for_z``: up to a turn about Z, as a measurement of Z does not mind.
        """
        yield from memory.initialise(ELECTRON)
        yield from self._transfer(memory, carbon)
        yield from self.rotate(memory, ELECTRON, "y", _MINUS)
        if not for_z:
            yield from self.rotate(memory, ELECTRON, "z", _MINUS)

    def exchange(self, memory: QuantumMemory, carbon: int) -> Steps:
        """Swap the states of the electron and a carbon."""
        turns: tuple[tuple[int, Axis, tuple[int, int], tuple[int, int], Axis], ...] = (
            (ELECTRON, "y", _MINUS, _PLUS, "x"),
            (ELECTRON, "x", _PLUS, _MINUS, "y"),
            (carbon, "y", _PLUS, _MINUS, "x"),
        )
        for turned, axis, before, after, about in turns:
            yield from self.rotate(memory, turned, axis, before)
            yield from self._controlled_rotate(memory, carbon, about, _MINUS)
            yield from self.rotate(memory, turned, axis, after)

    # Between virtual qubits

    def claim(self, node: NodeContext) -> Steps:
        """Take the electron if it is free; return the virtual qubit that is there, else None.

        While it is kept for half of a pair, wait.
        """
        memory = node.memory
        while not memory.take(ELECTRON):
            other = node.app.virtual_at(ELECTRON)
            if other is not None:
                return other
            yield Until(memory.changed, "the electron, which is kept for half of a pair")
        return None

    def bring(self, node: NodeContext, virtual_id: int, *, for_z: bool = False) -> Steps:
        """Bring a virtual qubit to the electron, making room there if need be."""
        app, memory = node.app, node.memory
        carbon = app.positions[virtual_id]
        other = yield from self.claim(node)
        if other is not None:
            refuge = memory.allocate(storage=True)
            filled = memory.is_filled(ELECTRON)
            if refuge is None and filled:
                yield from self.exchange(memory, carbon)
                app.move(other, carbon)
                app.move(virtual_id, ELECTRON)
                return
            if refuge is not None and filled:
                yield from self.to_carbon(memory, refuge)
            yield from self.to_electron(memory, carbon, for_z=for_z)
            app.move(virtual_id, ELECTRON)
            memory.free(carbon)
            if refuge is None:
                memory.take(carbon)
                refuge = carbon
            app.move(other, refuge)
            return
        yield from self.to_electron(memory, carbon, for_z=for_z)
        app.move(virtual_id, ELECTRON)
        memory.free(carbon)

    def exchange_carbons(self, node: NodeContext, first: int, second: int) -> Steps:
        """Swap the states of two carbons through the electron, which ends as it was."""
        memory = node.memory
        guest = yield from self.claim(node)
        empty = not memory.is_filled(ELECTRON)
        if empty:
            yield from memory.initialise(ELECTRON)
        for carbon in (first, second, first):
            yield from self.exchange(memory, carbon)
        self._leave(memory, guest, empty)

    def carbon_to_carbon(self, node: NodeContext, source: int, target: int) -> Steps:
        """Move a carbon's state to another carbon; what the electron holds is kept."""
        memory = node.memory
        guest = yield from self.claim(node)
        empty = not memory.is_filled(ELECTRON)
        if empty:
            yield from self.to_electron(memory, source)
            yield from self.to_carbon(memory, target)
        else:
            yield from self.exchange(memory, source)
            yield from self.to_carbon(memory, target)
            yield from self.to_electron(memory, source)
        self._leave(memory, guest, empty)

    @staticmethod
    def _leave(memory: QuantumMemory, guest: int | None, empty: bool) -> None:
        if empty:
            memory.free(ELECTRON)
            if guest is not None:
                memory.take(ELECTRON)
