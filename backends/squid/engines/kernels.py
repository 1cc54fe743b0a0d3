"""Compiled steps on density matrices of a few qubits, and the tests that matrices must pass.

A qubit of a group is named by its ``bit``, the weight it has in row and column numbers. Operations
work in place. One call costs 0.3 us plus the arithmetic, a few times less than one matrix product
through NumPy. Kernels here call none of other files, so a cached one cannot be stale.
"""

# mypy: disallow-untyped-decorators=False, disallow-untyped-calls=False

from typing import Any

import numpy as np

from quantum.kernels import kernel

__all__ = [
    "apply_channel",
    "apply_one",
    "apply_unitary",
    "chance",
    "each_channel",
    "each_join",
    "each_one",
    "each_trace_out",
    "join",
    "kraus_operators",
    "project",
    "trace_out",
]

#: Pivots of a Choi matrix below this are rounding.
_ROUNDING = 1e-15


@kernel
def apply_one(matrix: Any, channel: Any, bit: int) -> None:
    """Apply a channel ``(4, 4)``, row-stacked, to one qubit."""
    size = matrix.shape[0]
    for top in range(0, size, 2 * bit):
        for row in range(top, top + bit):
            for left in range(0, size, 2 * bit):
                for column in range(left, left + bit):
                    a = matrix[row, column]
                    b = matrix[row, column + bit]
                    c = matrix[row + bit, column]
                    d = matrix[row + bit, column + bit]
                    for k in range(4):
                        value = (
                            channel[k, 0] * a
                            + channel[k, 1] * b
                            + channel[k, 2] * c
                            + channel[k, 3] * d
                        )
                        matrix[row + (k >> 1) * bit, column + (k & 1) * bit] = value


@kernel
def apply_unitary(matrix: Any, unitary: Any, first: int, second: int) -> None:
    """Apply a unitary ``(4, 4)`` to two qubits: rows by it, columns by its conjugate."""
    size = matrix.shape[0]
    for row in range(size):
        if row & first or row & second:
            continue
        for column in range(size):
            a = matrix[row, column]
            b = matrix[row + second, column]
            c = matrix[row + first, column]
            d = matrix[row + first + second, column]
            for k in range(4):
                value = unitary[k, 0] * a + unitary[k, 1] * b + unitary[k, 2] * c
                place = row + (k >> 1) * first + (k & 1) * second
                matrix[place, column] = value + unitary[k, 3] * d
    for row in range(size):
        for column in range(size):
            if column & first or column & second:
                continue
            a = np.conj(matrix[row, column])
            b = np.conj(matrix[row, column + second])
            c = np.conj(matrix[row, column + first])
            d = np.conj(matrix[row, column + first + second])
            for k in range(4):
                value = unitary[k, 0] * a + unitary[k, 1] * b + unitary[k, 2] * c
                place = column + (k >> 1) * first + (k & 1) * second
                matrix[row, place] = np.conj(value + unitary[k, 3] * d)


@kernel
def apply_channel(matrix: Any, channel: Any, first: int, second: int) -> None:
    """Apply a channel ``(16, 16)``, row-stacked, to two qubits."""
    size = matrix.shape[0]
    block = np.empty(16, dtype=np.complex128)
    for row in range(size):
        if row & first or row & second:
            continue
        for column in range(size):
            if column & first or column & second:
                continue
            for k in range(16):
                down = (k >> 3) * first + ((k >> 2) & 1) * second
                right = ((k >> 1) & 1) * first + (k & 1) * second
                block[k] = matrix[row + down, column + right]
            for k in range(16):
                value = 0.0 + 0.0j
                for m in range(16):
                    value += channel[k, m] * block[m]
                down = (k >> 3) * first + ((k >> 2) & 1) * second
                right = ((k >> 1) & 1) * first + (k & 1) * second
                matrix[row + down, column + right] = value


@kernel
def join(left: Any, right: Any, out: Any) -> None:
    """Write the product of two states; the left one's qubits are the more significant."""
    size = right.shape[0]
    for a in range(left.shape[0]):
        for b in range(left.shape[0]):
            value = left[a, b]
            for c in range(size):
                for d in range(size):
                    out[a * size + c, b * size + d] = value * right[c, d]


@kernel
def chance(matrix: Any, effect: Any, bit: int) -> float:
    """Return the chance of an effect ``(2, 2)`` of one qubit; the trace need not be 1."""
    zero, one, coherence = 0.0, 0.0, 0.0 + 0.0j
    for row in range(matrix.shape[0]):
        if row & bit:
            one += matrix[row, row].real
        else:
            zero += matrix[row, row].real
            coherence += matrix[row, row + bit]
    found = effect[0, 0].real * zero + effect[1, 1].real * one
    found += 2.0 * (effect[1, 0] * coherence).real
    result: float = found / (zero + one)
    return result


@kernel
def project(matrix: Any, bra: Any, bit: int, out: Any) -> None:
    """Write the normalised state of the others, given that one qubit was found in ``bra``."""
    size = out.shape[0]
    trace = 0.0
    for i in range(size):
        row = (i // bit) * 2 * bit + i % bit
        for j in range(size):
            column = (j // bit) * 2 * bit + j % bit
            zero = bra[0] * matrix[row, column] + bra[1] * matrix[row + bit, column]
            one = bra[0] * matrix[row, column + bit] + bra[1] * matrix[row + bit, column + bit]
            out[i, j] = zero * np.conj(bra[0]) + one * np.conj(bra[1])
        trace += out[i, i].real
    for i in range(size):
        for j in range(size):
            out[i, j] /= trace


@kernel
def trace_out(matrix: Any, bit: int, out: Any) -> None:
    """Write the state of the others."""
    size = out.shape[0]
    for i in range(size):
        row = (i // bit) * 2 * bit + i % bit
        for j in range(size):
            column = (j // bit) * 2 * bit + j % bit
            out[i, j] = matrix[row, column] + matrix[row + bit, column + bit]


@kernel
def each_one(matrices: Any, channels: Any, bit: int) -> None:
    """Apply to each state of ``(B, d, d)`` its channel of ``(B, 4, 4)``, or the one of all."""
    for lane in range(len(matrices)):
        apply_one(matrices[lane], channels[lane % len(channels)], bit)


@kernel
def each_channel(matrices: Any, channel: Any, first: int, second: int) -> None:
    """Apply a channel ``(16, 16)`` to each state of ``(B, d, d)``."""
    for lane in range(len(matrices)):
        apply_channel(matrices[lane], channel, first, second)


@kernel
def each_join(left: Any, right: Any, out: Any) -> None:
    """Write the products of states ``(B, d, d)`` and ``(B, e, e)``."""
    for lane in range(len(left)):
        join(left[lane], right[lane], out[lane])


@kernel
def each_trace_out(matrices: Any, bit: int, out: Any) -> None:
    """Write the state of the others for each of ``(B, d, d)``."""
    for lane in range(len(matrices)):
        trace_out(matrices[lane], bit, out[lane])


@kernel
def kraus_operators(channel: Any, tolerance: float, out: Any) -> int:
    """Write the Kraus operators of a channel; return how many, or -1 to -4 if it is none.

    ``channel`` is ``(d^2, d^2)``, row-stacked, ``out`` is ``(d^2, d, d)``. They are the columns of
    a Cholesky factor of the Choi matrix, largest pivot first, so it takes no eigenvalues. -1: not
    finite, -2: does not keep states Hermitian, -3: not completely positive, -4: not the trace.
    """
    square = channel.shape[0]
    d = out.shape[1]
    choi = np.empty((square, square), dtype=np.complex128)
    for a in range(d):
        for b in range(d):
            for i in range(d):
                for j in range(d):
                    value = channel[a * d + b, i * d + j]
                    if not (np.isfinite(value.real) and np.isfinite(value.imag)):
                        return -1
                    choi[a * d + i, b * d + j] = value
    for i in range(d):
        for j in range(d):
            kept = 0.0 + 0.0j
            for a in range(d):
                kept += choi[a * d + i, a * d + j]
            if abs(kept - (1.0 if i == j else 0.0)) > tolerance:
                return -4
    for m in range(square):
        for n in range(m + 1):
            if abs(choi[m, n] - np.conj(choi[n, m])) > tolerance:
                return -2
    for count in range(square):
        pivot = 0
        for m in range(square):
            if choi[m, m].real < -tolerance:
                return -3
            if choi[m, m].real > choi[pivot, pivot].real:
                pivot = m
        if choi[pivot, pivot].real <= _ROUNDING:
            break
        root = np.sqrt(choi[pivot, pivot].real)
        for m in range(square):
            out[count, m // d, m % d] = choi[m, pivot] / root
        for m in range(square):
            for n in range(square):
                left, right = out[count, m // d, m % d], out[count, n // d, n % d]
                choi[m, n] -= left * np.conj(right)
    else:
        count = square
    for m in range(square):
        for n in range(square):
            if abs(choi[m, n]) > tolerance:
                return -3
    return count
