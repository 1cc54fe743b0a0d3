"""Calling one compiled kernel again and again with the same tables, without finding its types anew.

numba works out the type of every argument at every call; of a tuple of tables that takes eight
microseconds, five times as long as handing the tables over.
"""

from collections.abc import Callable
from typing import Any

import numba

__all__ = ["direct"]


def direct(kernel: Any, *arguments: Any) -> Callable[..., Any]:
    """Return what calls a kernel with arguments of the very types of ``arguments``.

    The kernel is called with them once, which compiles it where it is not. Other types must never
    be given to what is returned. Where numba compiles nothing it is the kernel itself.
    """
    kernel(*arguments)
    compiled = getattr(kernel, "overloads", {}).get(tuple(map(numba.typeof, arguments)))
    entry = getattr(compiled, "entry_point", None)
    return kernel if entry is None else entry  # type: ignore[no-any-return]
