"""Units as one table, a row for each allocator in each unit: CSV always, Parquet with pyarrow."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from controller.arena.summary import Comparison
from quantum.output import write_whole

__all__ = ["rows_of", "write_parquet", "write_tables"]


def rows_of(found: Comparison) -> list[dict[str, Any]]:
    """Return the rows: fields of the cell and of the unit, then allocator and its figures."""
    rows = []
    for cell in found.cells:
        shared = {key: _flat(value) for key, value in cell.items() if key != "allocators"}
        for name, figures in cell["allocators"].items():
            rows.append({**shared, "allocator": name, **msgspec.to_builtins(figures)})
    return rows


def write_tables(found: Comparison, folder: Path) -> list[str]:
    """Write ``units.csv`` and, with pyarrow, ``units.parquet``; return their names."""
    rows = rows_of(found)
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_whole(folder / "units.csv", text.getvalue().encode())
    columns = {key: [row[key] for row in rows] for key in (rows[0] if rows else ())}
    return [
        "units.csv",
        *(["units.parquet"] if write_parquet(folder / "units.parquet", columns) else []),
    ]


def write_parquet(path: Path, columns: Mapping[str, Sequence[Any]]) -> bool:
    """Write columns as a Parquet file; False, and nothing written, without pyarrow."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ModuleNotFoundError:
        return False
    buffer = pa.BufferOutputStream()
    # Arrays of numpy keep their types; lists get theirs from what is in them.
    pq.write_table(pa.table({key: pa.array(value) for key, value in columns.items()}), buffer)
    write_whole(path, buffer.getvalue().to_pybytes())
    return True


def _flat(value: Any) -> Any:
    return " ".join(f"{v:g}" for v in value) if isinstance(value, tuple | list) else value
