"""Racks that are shipped: entry points of the group ``dpem.racks``, asked for by name."""

from importlib.metadata import entry_points
from pathlib import Path

__all__ = ["rack_path"]


def rack_path(wanted: str) -> Path:
    """Return the rack file that is meant: a path, or the name of a shipped rack.

    A file of that name comes first.

    >>> rack_path("four-links").name, rack_path("mine.toml").name
    ('four-links.toml', 'mine.toml')
    """
    path = Path(wanted)
    for point in entry_points(group="dpem.racks"):
        if point.name == wanted and not path.exists():
            shipped = point.load()
            assert isinstance(shipped, Path)
            return shipped
    return path
