"""Tables of results: plain columns, with Arrow and pandas where they are installed."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from quantum.errors import InputError

__all__ = ["Table"]


@dataclass(frozen=True)
class Table:
    """Columns of equal length by name; None is what is not known.

    >>> table = Table({"node": ["a", "b"], "pairs": [1, 2]})
    >>> len(table), table["pairs"], next(iter(table))
    (2, [1, 2], {'node': 'a', 'pairs': 1})
    """

    columns: Mapping[str, Sequence[Any]]

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))

    def __getitem__(self, name: str) -> Sequence[Any]:
        if name not in self.columns:
            raise InputError(f"there is no column {name!r}; there are {', '.join(self.columns)}")
        return self.columns[name]

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Go through the rows."""
        for row in zip(*self.columns.values(), strict=True):
            yield dict(zip(self.columns, row, strict=True))

    def to_arrow(self) -> Any:
        """Return a ``pyarrow.Table``; needs pyarrow (``pip install 'dpem[arena]'``)."""
        try:
            import pyarrow
        except ImportError:
            raise InputError("Arrow tables need pyarrow: pip install 'dpem[arena]'") from None
        return pyarrow.table({name: list(values) for name, values in self.columns.items()})

    def to_pandas(self) -> Any:
        """Return a ``pandas.DataFrame``; needs pandas, which DPEM does not bring."""
        try:
            import pandas
        except ImportError:
            raise InputError("data frames need pandas: pip install pandas") from None
        return pandas.DataFrame({name: list(values) for name, values in self.columns.items()})
