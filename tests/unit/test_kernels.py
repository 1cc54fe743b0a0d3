"""The cache of compiled kernels never serves a kernel of other sources."""

import shutil
from pathlib import Path

import numba
import numpy as np
import pytest

from quantum import kernels
from quantum.kernels import cache_folder, kernel, small, table


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


def test_folder_is_below_the_users_cache(copy: Path) -> None:
    assert cache_folder().parent == copy / "cache" / "dpem" / "kernels"
    assert cache_folder() == cache_folder()


@pytest.mark.parametrize(
    "source", ["quantum/ledger/places.py", "quantum/twin.py", "controller/losses.py"]
)
def test_a_change_of_any_kernel_source_is_another_folder(copy: Path, source: str) -> None:
    before = cache_folder()
    with (copy / source).open("a") as file:
        file.write("\n# changed\n")
    assert cache_folder() != before


def test_other_sources_and_places_do_not_matter(copy: Path) -> None:
    before = cache_folder()
    with (copy / "quantum" / "errors.py").open("a") as file:
        file.write("\n# changed\n")
    assert cache_folder() == before


def test_another_numba_is_another_folder(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = cache_folder()
    monkeypatch.setattr(numba, "__version__", "0.0.1")
    assert cache_folder() != before


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


def test_kernels_are_cached_on_disk() -> None:
    def plain(x: float) -> float:
        return x + 1.0

    assert kernel(plain).targetoptions["nopython"]
    assert type(kernel(plain)._cache).__name__ == "FunctionCache"


def test_columns_are_64_bits() -> None:
    rows = table(2, a=int, b=float, c=(int, 3))
    assert [rows.dtype[name].base for name in ("a", "b", "c")] == [np.int64, np.float64, np.int64]
    assert rows.c.shape == (2, 3)
    assert not rows.a.any()
