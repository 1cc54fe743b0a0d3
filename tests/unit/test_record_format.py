"""The documented format is the real one, and digests are equal only for equal decisions."""

import hashlib
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_record import EVENTS, write

from quantum.errors import InputError
from quantum.record import Digest, read, verify

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sealed") / "run"
    write(folder)
    return folder


@pytest.fixture
def folder(sealed: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sealed, tmp_path / "run"))


def parser() -> dict[str, Any]:
    """Return the functions of the code blocks in docs/record.md."""
    names: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", (ROOT / "docs/record.md").read_text(), re.S):
        exec(compile(block, "docs/record.md", "exec"), names)
    return names


def test_the_documented_parser_reads_a_record(folder: Path) -> None:
    events, manifest = parser()["verify_record"](folder)
    assert events == [dict(read(folder).header), *EVENTS]
    assert manifest["digest"] == verify(folder).digest
    assert parser()["canonical"](events[1]) == (folder / "events.jsonl").read_bytes().splitlines()[
        1
    ].replace(
        b'"hash":"' + (folder / "events.jsonl").read_bytes().splitlines()[1][9:73] + b'",', b""
    )


@pytest.mark.parametrize("name", ["events.jsonl", "run.png", "summary.json", "manifest.json"])
def test_the_documented_parser_finds_changes(folder: Path, name: str) -> None:
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / name).write_bytes(bytes(data))
    with pytest.raises(ValueError):
        parser()["verify_record"](folder)


def test_the_documented_digest_is_ours() -> None:
    digest = Digest()
    digest.update("swap", -3, "nœud")
    digest.update()
    digest.update_array(np.array([5, -(2**62)], dtype=np.int64))
    doc = parser()
    data = doc["digest_of_tuple"](["swap", -3, "nœud"]) + doc["digest_of_tuple"]([])
    data += doc["digest_of_integers"]([5, -(2**62)])
    assert digest.hexdigest() == hashlib.sha256(data).hexdigest()


items = st.lists(st.lists(st.integers() | st.text(max_size=3), max_size=3), max_size=3)


@given(first=items, second=items)
def test_digests_are_equal_only_for_equal_decisions(
    first: list[list[int | str]], second: list[list[int | str]]
) -> None:
    one, two = Digest(), Digest()
    for row in first:
        one.update(*row)
    for row in second:
        two.update(*row)
    assert (one.hexdigest() == two.hexdigest()) == (first == second)


def array_digest(array: Any) -> str:
    digest = Digest()
    digest.update_array(np.asarray(array))
    return digest.hexdigest()


def test_array_digest_depends_on_values_and_shape_only() -> None:
    grid = np.arange(6).reshape(2, 3)
    assert array_digest(grid) == array_digest(grid.astype(">i4"))
    assert array_digest(grid) == array_digest(np.asfortranarray(grid))
    assert array_digest(grid) != array_digest(grid.reshape(3, 2))
    assert array_digest(grid) != array_digest(grid.astype(float))
    assert array_digest(grid) != array_digest(grid.T)
    assert array_digest([0.0]) == array_digest([-0.0])
    assert array_digest(np.float32([0.5])) == array_digest([0.5])
    assert array_digest([True, False]) == array_digest([1, 0])
    assert array_digest(np.zeros((0, 2))) != array_digest(np.zeros((2, 0)))


def test_what_has_no_canonical_bytes_is_refused() -> None:
    for wrong in ([np.nan], [np.inf], np.array(["a"]), np.array([1], dtype=np.uint64)):
        with pytest.raises(InputError, match="digest"):
            array_digest(wrong)
    with pytest.raises(TypeError):
        Digest().update(0.5)  # type: ignore[arg-type]
