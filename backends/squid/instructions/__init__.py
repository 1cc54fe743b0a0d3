"""The instruction sets of NetQASM 2.3: core, vanilla and NV.

Each room turns instructions of netqasm's classes into steps once, before a subroutine runs.
"""
