"""Fewer operations with the same product: every one less is microseconds less for every program."""

import numpy as np

from backends.aer import channels, states
from backends.aer.tape import Operation

__all__ = ["fold"]


def fold(operations: list[Operation]) -> tuple[Operation, ...]:
    """Merge each channel of one qubit with its neighbour on that qubit.

    That is a channel of one qubit or a state put there before it, or a constant channel of two
    qubits after it. What happens on other qubits in between commutes with it.
    """
    out: list[Operation | None] = []
    last: dict[int, int] = {}
    for operation in operations:
        if len(operation.qubits) == 1:
            (qubit,) = operation.qubits
            before = out[last[qubit]] if qubit in last else None
            joined = before and _behind(before, operation)
            if joined:
                out[last[qubit]] = joined
                continue
        elif operation.channel is not None and operation.channel.ndim == 2:
            for place, qubit in enumerate(operation.qubits):
                before = out[last[qubit]] if qubit in last else None
                if before is not None and len(before.qubits) == 1:
                    operation = _after(operation, before, place)
                    out[last[qubit]] = None
        for qubit in operation.qubits:
            last[qubit] = len(out)
        out.append(operation)
    return tuple(operation for operation in out if operation is not None)


def _after(two: Operation, one: Operation, place: int) -> Operation:
    """Return the channel ``two`` of two qubits with that of one of them before it."""
    assert two.channel is not None
    assert one.channel is not None
    return two._replace(channel=channels.after(two.channel, one.channel, place))


def _behind(before: Operation, one: Operation) -> Operation | None:
    """Return the operation ``before`` with the channel of one of its qubits behind it, if easy."""
    assert one.channel is not None
    if before.state is not None:
        place = before.qubits.index(one.qubits[0])
        return before._replace(state=states.act(before.state, one.channel, place))
    if len(before.qubits) == 1 and before.channel is not None:
        return before._replace(channel=np.matmul(one.channel, before.channel))
    return None
