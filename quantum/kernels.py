"""Compiled kernels: numba's ``njit`` with a cache that never serves a stale kernel.

Numba notices a change of the file a kernel stands in, not of the files it calls into: after an
update that touches one of them, a cached caller would go on with the old callee. So every file of
kernels has a cache folder named after a digest of that file and of all kernel files that it
imports, directly or not. A change compiles again what depends on it, and nothing else.
``NUMBA_CACHE_DIR`` overrides all this.
"""

import ast
import functools
import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numba
import numpy as np
from numba.core import cgutils, types
from numba.core.options import DefaultOptions
from numba.extending import intrinsic
from numpy.typing import DTypeLike

__all__ = [
    "Table",
    "cache_folder",
    "fetch",
    "kernel",
    "lean",
    "lined",
    "small",
    "sources_of",
    "table",
    "threaded",
]

#: A structured array with named columns; kernels write ``ledger.node[u].used``.
Table = Any

_PACKAGES = ("quantum", "controller", "backends")
#: Files with one of these hold kernels.
_MARKS = (b"@kernel", b"@small", b"@lean", b"@threaded")
#: Folders that no kernel asked for in this time are removed.
_KEPT_S = 30 * 86400.0
#: How often the time of a folder's last use is noted.
_NOTED_S = 86400.0
#: Bytes that a processor reads from memory together.
_LINE = 64


def cache_folder(source: str | Path) -> Path:
    """Return the folder of the compiled kernels of a source file, as its sources are now."""
    digest = hashlib.sha256(numba.__version__.encode())
    for path in sorted(_closure(Path(source).resolve())):
        text = path.read_bytes()
        if any(mark in text for mark in _MARKS):
            digest.update(text)
    base = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    return base / "dpem" / "kernels" / digest.hexdigest()[:16]


def sources_of(source: str | Path) -> set[Path]:
    """Return a source file and all files of the project that it imports, directly or not."""
    return _closure(Path(source).resolve())


def _closure(source: Path) -> set[Path]:
    """Return a source file and all files of the project that it imports, directly or not."""
    root = Path(__file__).resolve().parent.parent
    found, left = set[Path](), [source]
    while left:
        path = left.pop()
        if path not in found:
            found.add(path)
            left.extend(root / name for name in _imports(path, path.stat().st_mtime_ns, root))
    return found


@functools.cache
def _imports(path: Path, _changed: int, root: Path) -> tuple[str, ...]:
    """Return the project's files that a file imports when it is loaded, relative to the root."""
    names = _imported(ast.parse(path.read_bytes()).body)
    places = [Path(*name.split(".")) for name in names if name.split(".")[0] in _PACKAGES]
    files = [file for p in places for file in (p.with_suffix(".py"), p / "__init__.py")]
    return tuple(str(file) for file in files if (root / file).is_file())


def _imported(body: list[ast.stmt]) -> Iterator[str]:
    for statement in body:
        if isinstance(statement, ast.Import):
            yield from (alias.name for alias in statement.names)
        elif isinstance(statement, ast.ImportFrom) and statement.module and not statement.level:
            yield statement.module
            yield from (f"{statement.module}.{alias.name}" for alias in statement.names)


def _decorated(compiler: Callable[..., Any]) -> Callable[[Callable[..., Any]], Any]:
    def decorate(function: Callable[..., Any]) -> Any:
        if os.environ.get("NUMBA_CACHE_DIR"):
            return compiler(function)
        # Numba reads the folder when it decorates.
        before = getattr(numba.config, "CACHE_DIR")  # noqa: B009  (untyped module)
        try:
            folder = _ready(function.__code__.co_filename)
            setattr(numba.config, "CACHE_DIR", str(folder))  # noqa: B010
        except OSError:
            pass  # no source, or a read-only home: numba falls back to its own rules
        try:
            return compiler(function)
        finally:
            setattr(numba.config, "CACHE_DIR", before)  # noqa: B010

    return decorate


@functools.cache
def _ready(source: str) -> Path:
    """Make the folder of a source, note that it is used, and remove those long unused."""
    folder, now = cache_folder(source), time.time()
    if not folder.exists():
        folder.mkdir(parents=True, exist_ok=True)
        for stale in folder.parent.iterdir():
            if now - stale.stat().st_mtime > _KEPT_S:
                shutil.rmtree(stale, ignore_errors=True)
    elif now - folder.stat().st_mtime > _NOTED_S:
        os.utime(folder)
    return folder


#: No kernel is called from C: without that entry kernels compile an eighth faster.
_ALL: dict[str, Any] = {"no_cfunc_wrapper": True}
#: Decorate a kernel.
kernel: Any = _decorated(numba.njit(cache=True, error_model="numpy", **_ALL))
#: Decorate a kernel that several threads run at once, on arrays of their own.
threaded: Any = _decorated(numba.njit(cache=True, error_model="numpy", nogil=True, **_ALL))
#: Decorate a kernel of the slot's loop, which makes no array and counts no references: a tuple of
#: arrays costs any other kernel two atomic operations for each array, more than most steps take.
#: ``_nrt`` is numba's own option and not documented; without it the same kernels run, only slower.
_LEAN: dict[str, Any] = _ALL | ({"_nrt": False} if hasattr(DefaultOptions, "_nrt") else {})
lean: Any = _decorated(numba.njit(cache=True, error_model="numpy", **_LEAN))
#: Decorate a few-line kernel that is called in inner loops.
small: Any = _decorated(numba.njit(cache=True, inline="always", error_model="numpy"))


def table(shape: int | tuple[int, ...], **columns: Any) -> Table:
    """Return a structured array of zeros; a column is a type or (type, length);
    ``int`` and ``float`` have 64 bits.

    >>> nodes = table(2, used=int, truth=(float, 3))
    >>> nodes[0].used = 4
    >>> nodes.used.tolist(), nodes.truth.shape
    ([4, 0], (2, 3))
    """
    fields = []
    for name, kind in columns.items():
        base, length = kind if isinstance(kind, tuple) else (kind, None)
        code = {int: np.int64, float: np.float64}.get(base, base)
        fields.append((name, code) if length is None else (name, code, (length,)))
    return lined(shape, np.dtype(fields)).view(np.recarray)


def lined(shape: int | tuple[int, ...], kind: DTypeLike) -> Any:
    """Return an array of zeros that begins where a line of the processor's cache does.

    >>> lined((2, 3), np.int64).tolist()
    [[0, 0, 0], [0, 0, 0]]
    """
    dtype = np.dtype(kind)
    size = int(np.prod(shape)) * dtype.itemsize
    room = np.zeros(size + _LINE, dtype=np.uint8)
    start = -room.ctypes.data % _LINE
    return room[start : start + size].view(dtype).reshape(shape)


def _asked(_context: Any, array: Any, _row: Any, _byte: Any) -> Any:
    ir: Any = getattr(cgutils, "ir")  # noqa: B009  (llvmlite's, whose version is numba's matter)

    def lower(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        rows = context.make_array(signature.args[0])(context, builder, given[0])
        step = cgutils.unpack_tuple(builder, rows.strides)[0]
        octets, word = ir.IntType(8).as_pointer(), ir.IntType(32)
        offset = builder.add(builder.mul(step, given[1]), given[2])
        place = builder.gep(builder.bitcast(rows.data, octets), [offset])
        kind = ir.FunctionType(ir.VoidType(), [octets, word, word, word])
        call = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
        # To be read, to be kept in all caches, as data.
        builder.call(call, [place, *(ir.Constant(word, number) for number in (0, 3, 1))])
        return context.get_dummy_value()

    return types.void(array, types.intp, types.intp), lower


def _passed_over(_array: Any, _row: int, _byte: int) -> None:
    """Do what :data:`fetch` does where a kernel runs as plain Python: nothing."""


#: ``fetch(array, row, byte)`` in a kernel asks for the line of the cache with a byte of a row that
#: will be read soon. Nothing waits for it and nothing else happens. Worth it only where what is
#: read next is known early and cannot be foreseen by the processor, in tables that its cache cannot
#: hold: an iteration or more before the read, never right before it.
fetch: Any = intrinsic(_asked)
fetch.py_func = _passed_over
