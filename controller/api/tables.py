"""Tables of results: plain columns, with Arrow and pandas where they are installed."""

import html
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from quantum.errors import InputError

__all__ = ["Table"]


#: Rows that a notebook shows of a longer table.
_SHOWN = 12


@dataclass(frozen=True, repr=False)
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

    def __repr__(self) -> str:
        return f"Table({len(self)} rows: {', '.join(self.columns)})"

    def _repr_html_(self) -> str:
        """Return the first rows as HTML, which notebooks show."""
        head = "".join(f"<th>{html.escape(name)}</th>" for name in self.columns)
        rows = [
            "".join(f"<td>{html.escape(_shown(value))}</td>" for value in row.values())
            for row in itertools.islice(self, _SHOWN)
        ]
        body = "".join(f"<tr>{row}</tr>" for row in rows)
        more = len(self) - len(rows)
        rest = f"<p>and {more} more rows</p>" if more > 0 else ""
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{rest}"

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


def _shown(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)
