"""netqasm's transpiler for NV centres, with S and T turned the right way.

netqasm 2.3.0 writes them as rotations about x, y and x that make their inverses. Here the same
three rotations turn about y the other way, so times and noise stay the same.
"""

from netqasm.lang.instr import NetQASMInstruction, vanilla
from netqasm.lang.instr.nv import RotYInstruction
from netqasm.lang.operand import Immediate
from netqasm.sdk.transpile import NVSubroutineTranspiler

__all__ = ["NvTranspiler"]

_FULL_TURN = 32
"""Sixteenths of pi."""


class NvTranspiler(NVSubroutineTranspiler):  # type: ignore[misc]
    """See :mod:`netqasm.sdk.transpile`."""

    def _map_single_gate(self, instr: NetQASMInstruction) -> list[NetQASMInstruction]:
        mapped: list[NetQASMInstruction] = super()._map_single_gate(instr)
        if isinstance(instr, vanilla.GateSInstruction | vanilla.GateTInstruction):
            for turn in mapped:
                if isinstance(turn, RotYInstruction):
                    turn.imm0 = Immediate(-turn.imm0.value % _FULL_TURN)
        return mapped
