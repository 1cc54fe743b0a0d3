"""Whether kernels were compiled before: people who wait for minutes want to know why.

Not in :mod:`quantum.kernels`: a change of that file compiles every kernel again.
"""

import os
from pathlib import Path

from quantum.kernels import cache_folder

__all__ = ["is_compiled"]


def is_compiled(source: str | Path) -> bool:
    """Tell whether kernels of a source file were compiled before, as its sources are now.

    True where that cannot be told because ``NUMBA_CACHE_DIR`` is set.
    """
    if os.environ.get("NUMBA_CACHE_DIR"):
        return True
    return next(cache_folder(source).rglob("*.nbi"), None) is not None
