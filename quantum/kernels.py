"""Compiled kernels: numba's ``njit`` with a cache that never serves a stale kernel.

Numba notices a change of the file a kernel stands in, not of the files it calls into: after an
update that touches one of them, a cached caller would go on with the old callee. So the cache
folder is named after a digest of all kernel sources. ``NUMBA_CACHE_DIR`` overrides it.
"""

import hashlib
import os
import shutil
from pathlib import Path
from typing import Any

import numba
import numpy as np

__all__ = ["Table", "cache_folder", "kernel", "small", "table"]

#: A structured array with named columns; kernels write ``ledger.node[u].used``.
Table = Any

_KEPT_GENERATIONS = 3


def cache_folder() -> Path:
    """Return the folder of this version's compiled kernels."""
    root = Path(__file__).resolve().parent.parent
    digest = hashlib.sha256(numba.__version__.encode())
    for folder in ("quantum", "controller", "backends"):
        for source in sorted((root / folder).rglob("*.py")):
            text = source.read_bytes()
            if b"@kernel" in text or b"@small" in text:
                digest.update(text)
    base = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    return base / "dpem" / "kernels" / digest.hexdigest()[:16]


def _use_cache() -> None:
    if os.environ.get("NUMBA_CACHE_DIR"):
        return
    folder = cache_folder()
    try:
        fresh = not folder.exists()
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return  # a read-only home: numba falls back to its own rules
    setattr(numba.config, "CACHE_DIR", str(folder))  # noqa: B010  (untyped module)
    if fresh:
        old = sorted(folder.parent.iterdir(), key=lambda f: f.stat().st_mtime, reverse=True)
        for stale in old[_KEPT_GENERATIONS:]:
            shutil.rmtree(stale, ignore_errors=True)


_use_cache()

#: Decorate a kernel.
kernel = numba.njit(cache=True, error_model="numpy")
#: Decorate a few-line kernel that is called in inner loops.
small = numba.njit(cache=True, inline="always", error_model="numpy")


def table(shape: int | tuple[int, ...], **columns: Any) -> Table:
    """Return a structured array of zeros; a column is a type or (type, length).

    >>> nodes = table(2, used=int, truth=(float, 3))
    >>> nodes[0].used = 4
    >>> nodes.used.tolist(), nodes.truth.shape
    ([4, 0], (2, 3))
    """
    fields = []
    for name, kind in columns.items():
        base, length = kind if isinstance(kind, tuple) else (kind, None)
        code = np.int64 if base is int else np.float64
        fields.append((name, code) if length is None else (name, code, (length,)))
    return np.zeros(shape, dtype=np.dtype(fields)).view(np.recarray)
