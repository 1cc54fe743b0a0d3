"""Sums over network time in a bounded number of bins; when they are full, bins grow longer."""

__all__ = ["Bins"]


class Bins:
    """Columns of sums by time; ``width`` slots a bin.

    >>> bins = Bins(("asked",), width=10, most=2)
    >>> for slot in (3, 12, 25):
    ...     bins.add(slot, "asked", 1.0)
    >>> bins.width, bins.columns["asked"]
    (20, [2.0, 1.0])
    """

    def __init__(self, names: tuple[str, ...], *, width: int, most: int = 512) -> None:
        self.width, self._most = width, most
        self.columns: dict[str, list[float]] = {name: [] for name in names}

    @property
    def size(self) -> int:
        """Number of bins so far."""
        return len(next(iter(self.columns.values())))

    def reach(self, slot: int) -> None:
        """Make bins up to a slot, so that quiet times are there too."""
        while slot // self.width >= self._most:
            for column in self.columns.values():
                column[:] = [sum(column[k : k + 2]) for k in range(0, len(column), 2)]
            self.width *= 2
        missing = slot // self.width + 1 - self.size
        if missing > 0:
            for column in self.columns.values():
                column.extend([0.0] * missing)

    def add(self, slot: int, name: str, value: float) -> None:
        """Add to the bin of a slot."""
        self.reach(slot)
        self.columns[name][slot // self.width] += value

    def copy(self) -> "Bins":
        """Return bins that do not change with these."""
        other = Bins((), width=self.width, most=self._most)
        other.columns = {name: list(column) for name, column in self.columns.items()}
        return other
