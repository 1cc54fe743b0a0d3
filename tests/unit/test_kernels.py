"""The cache of compiled kernels never serves a kernel of other sources."""

import os
import shutil
from pathlib import Path

import numba
import numpy as np
import pytest

from quantum import kernels
from quantum.compiled import is_compiled
from quantum.kernels import cache_folder, fetch, kernel, small, table


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a copy of the sources of this installation, and let the cache look there."""
    root = Path(kernels.__file__).parent.parent
    for folder in ("quantum", "controller"):
        shutil.copytree(
            root / folder, tmp_path / folder, ignore=shutil.ignore_patterns("data", "__pycache__")
        )
    monkeypatch.setattr(kernels, "__file__", str(tmp_path / "quantum" / "kernels.py"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


def folder(copy: Path, source: str = "quantum/twin.py") -> Path:
    return cache_folder(copy / source)


def change(path: Path) -> None:
    with path.open("a") as file:
        file.write("\n# changed\n")


def test_folder_is_below_the_users_cache(copy: Path) -> None:
    assert folder(copy).parent == copy / "cache" / "dpem" / "kernels"
    assert folder(copy) == folder(copy)


@pytest.mark.parametrize(
    "source", ["quantum/twin.py", "quantum/ledger/places.py", "quantum/draws.py"]
)
def test_a_change_of_what_a_kernel_calls_is_another_folder(copy: Path, source: str) -> None:
    before = folder(copy)
    change(copy / source)
    assert folder(copy) != before


@pytest.mark.parametrize("source", ["quantum/errors.py", "controller/decide.py"])
def test_sources_that_are_no_kernels_or_call_it_do_not_matter(copy: Path, source: str) -> None:
    before = folder(copy)
    change(copy / source)
    assert folder(copy) == before


def test_another_numba_is_another_folder(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = folder(copy)
    monkeypatch.setattr(numba, "__version__", "0.0.1")
    assert folder(copy) != before


def test_folders_that_nobody_uses_are_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    old, young = (tmp_path / "dpem" / "kernels" / name for name in ("old", "young"))
    for path in (old, young):
        path.mkdir(parents=True)
    os.utime(old, (0, 0))
    kernels._ready.cache_clear()
    made = kernels._ready(__file__)
    kernels._ready.cache_clear()
    assert made.is_dir() and young.is_dir() and not old.exists()


def test_kernels_write_into_tables() -> None:
    rows = table(3, count=int, place=(float, 2))

    @small
    def double(row: kernels.Table) -> None:
        row.count *= 2

    @numba.njit
    def work(rows: kernels.Table) -> None:
        for number in range(len(rows)):
            rows[number].count = number
            double(rows[number])
            rows[number].place[1] = 0.5

    work(rows)
    assert rows.count.tolist() == [0, 2, 4]
    assert rows.place.tolist() == [[0.0, 0.5]] * 3


def test_fetching_changes_nothing() -> None:
    """In a kernel it is an instruction of the processor, for all kinds of rows; else nothing."""
    rows = table((3, 8), node=np.int32, link=np.int32)
    rows.node[:, 1] = 1, 2, 3
    before = rows.copy()

    @numba.njit(no_cfunc_wrapper=True)
    def work(rows: kernels.Table, more: kernels.Table) -> int:
        found = 0
        for number in range(len(rows)):
            fetch(rows, number, 32)
            fetch(more, number, 0)
            found += rows[number, 1].node
        return found

    assert work(rows, np.arange(3, dtype=np.int8)) == 6
    code = work.inspect_asm(work.signatures[0])
    assert "prefetch" in code or "prfm" in code
    assert np.array_equal(rows, before)
    fetch.py_func(rows, 0, 32)
    assert np.array_equal(rows, before)


def test_kernels_are_cached_on_disk() -> None:
    def plain(x: float) -> float:
        return x + 1.0

    assert kernel(plain).targetoptions["nopython"]
    assert type(kernel(plain)._cache).__name__ == "FunctionCache"


def test_whether_anything_was_compiled_is_told(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = copy / "quantum/twin.py"
    assert not is_compiled(source)
    place = cache_folder(source) / "twin_0123"
    place.mkdir(parents=True)
    (place / "twin.advance-1.py311.nbi").touch()
    assert is_compiled(source)
    change(source)
    assert not is_compiled(source)
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(copy))
    assert is_compiled(source)


def test_columns_are_64_bits_unless_told() -> None:
    rows = table(2, a=int, b=float, c=(int, 3), d=np.int32)
    kinds = [rows.dtype[name].base for name in ("a", "b", "c", "d")]
    assert kinds == [np.int64, np.float64, np.int64, np.int32]
    assert rows.c.shape == (2, 3)
    assert not rows.a.any()
