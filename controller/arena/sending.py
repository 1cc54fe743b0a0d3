"""A folder as bytes, for units that are played on a machine which cannot write it here."""

import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from quantum.output import write_whole

__all__ = ["folder_from", "into_bytes"]

Out = TypeVar("Out")


def into_bytes(write: Callable[[Path], Out]) -> tuple[Out, dict[str, bytes]]:
    """Let ``write`` make a folder, for the moment; return its files by relative path.

    >>> into_bytes(lambda folder: folder.mkdir() or (folder / "a").write_bytes(b"1"))
    (1, {'a': b'1'})
    """
    with tempfile.TemporaryDirectory(prefix="dpem-") as name:
        folder = Path(name) / "unit"
        out = write(folder)
        paths = sorted(path for path in folder.rglob("*") if path.is_file())
        return out, {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def folder_from(files: Mapping[str, bytes], folder: Path) -> None:
    """Write the files below a folder, which is there with all of them or not at all."""
    if not files:
        return
    part = folder.with_name(f".{folder.name}")
    shutil.rmtree(part, ignore_errors=True)
    for name, data in files.items():
        path = part / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, data)
    shutil.rmtree(folder, ignore_errors=True)
    part.rename(folder)
