"""A binary heap of nodes by cost, in a table that has room for all of them."""

from quantum.kernels import Table, lean

__all__ = ["pop", "push"]


@lean
def push(heap: Table, size: int, node: int, cost: float) -> int:
    """Put a node into a heap of ``size``; return the new size."""
    place = size
    while place > 0:
        above = (place - 1) // 2
        if heap[above].cost <= cost:
            break
        heap[place].node, heap[place].cost = heap[above].node, heap[above].cost
        place = above
    heap[place].node, heap[place].cost = node, cost
    return size + 1


@lean
def pop(heap: Table, size: int) -> int:
    """Take the cheapest out of a heap of ``size``; return the new size."""
    size -= 1
    node, cost, place = heap[size].node, heap[size].cost, 0
    while True:
        below = 2 * place + 1
        if below >= size:
            break
        if below + 1 < size and heap[below + 1].cost < heap[below].cost:
            below += 1
        if heap[below].cost >= cost:
            break
        heap[place].node, heap[place].cost = heap[below].node, heap[below].cost
        place = below
    heap[place].node, heap[place].cost = node, cost
    return size
