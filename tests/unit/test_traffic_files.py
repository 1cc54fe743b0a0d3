import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from quantum.demand import Trace
from quantum.errors import InputError
from quantum.topology import load_topology
from quantum.traffic import make_trace


def trace(path: Path | str) -> Trace:
    return make_trace(
        str(path),
        load_topology("line-4", seed=1),
        load_hz=60.0,
        deadline_s=1.0,
        seed=5,
        network_seed=1,
        duration_s=70.0,
    )


@pytest.fixture
def read(tmp_path: Path) -> Callable[[str], Trace]:
    def reader(text: str) -> Trace:
        path = tmp_path / "asked.csv"
        path.write_text(text)
        return trace(path)

    return reader


HEAD = "timestamp_s,source,destination,fidelity"


def test_a_csv_file_is_read_as_it_says(read: Callable[[str], Trace]) -> None:
    made = read(
        f"{HEAD},pairs,deadline_s\n1.0, n0 ,n2,0.7,,\n\n5.5,n2,n0,0.8,3,0.2\n99,n1,n3,0.5,1,1\n"
    )
    assert made.name == "asked"
    assert made.commodities.tolist() == [[0, 2]] and made.weights.tolist() == [1.0]
    assert made.time_s.tolist() == [1.0, 5.5] and made.told_s.tolist() == [1.0, 5.5]
    assert made.pairs.tolist() == [1, 3] and made.deadline_s.tolist() == [1.0, 0.2]
    assert made.minimum_fidelity.tolist() == [0.7, 0.8]
    assert made.load_hz == pytest.approx(4 / 70)
    assert len(read(HEAD + "\n").time_s) == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: there is no column 'timestamp_s'"),
        ("timestamp_s,source,destination\n", "line 1: there is no column 'fidelity'"),
        (f"{HEAD},colour\n", "line 1: column 'colour' is unknown"),
        (f"{HEAD},fidelity\n", "line 1: column 'fidelity' occurs twice"),
        (f"{HEAD}\n1,n0,n1\n", "line 2: must have 4 fields, has 3"),
        (f"{HEAD}\n1,n0,n1,0.8\nx,n0,n1,0.8\n", "line 3, column timestamp_s: .* got 'x'"),
        (f"{HEAD}\n-1,n0,n1,0.8\n", "column timestamp_s"),
        (f"{HEAD}\nnan,n0,n1,0.8\n", "column timestamp_s"),
        (f"{HEAD}\ninf,n0,n1,0.8\n", "column timestamp_s"),
        (f"{HEAD}\n1,n0,n9,0.8\n", "line 2, column destination: there is no node 'n9'"),
        (f"{HEAD}\n1,n0,n0,0.8\n", "column destination: must differ"),
        (f"{HEAD}\n1,n0,n1,1.01\n", "column fidelity: must be between 0 and 1"),
        (f"{HEAD},pairs\n1,n0,n1,0.8,0\n", "column pairs: .* got '0'"),
        (f"{HEAD},pairs\n1,n0,n1,0.8,1.5\n", "column pairs"),
        (f"{HEAD},deadline_s\n1,n0,n1,0.8,0\n", "column deadline_s: must be > 0"),
        (f'{HEAD}\n1,"n0,n1,0.8\n', "asked.csv: line 2"),
        (f"{HEAD}\n5,n0,n1,0.8\n4.5,n0,n1,0.8\n", "line 3, column timestamp_s: .*4.5 after 5"),
        (f"{HEAD}\n80,n0,n1,0.8\n75,n0,n1,0.8\n", "line 3, column timestamp_s: .*backwards"),
        (f"{HEAD},told_s\n5,n0,n1,0.8,6\n", "line 2, column told_s: must be between 0 and time"),
        (f"{HEAD},told_s\n5,n0,n1,0.8,-1\n", "line 2, column told_s"),
        (f"{HEAD},timestamp\n5,n0,n1,0.8,5\n", "column 'timestamp_s' occurs twice"),
        (f"{HEAD}\n100,n0,n1,0.8\n", "all 1 requests come after the 70 s"),
    ],
)
def test_an_unsound_csv_file_is_one_clear_line(
    read: Callable[[str], Trace], text: str, message: str
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        read(text)
    assert "asked.csv" in str(caught.value) and "\n" not in str(caught.value)


def test_files_of_other_kinds_or_none(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"must end in \.csv or \.parquet"):
        trace(tmp_path / "x.txt")
    with pytest.raises(InputError, match=r"cannot read .*none\.csv"):
        trace(tmp_path / "none.csv")
    (tmp_path / "b.csv").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="UTF-8"):
        trace(tmp_path / "b.csv")
    (tmp_path / "b.parquet").write_bytes(b"timestamp_s,source")
    with pytest.raises(InputError, match=r"b\.parquet is no sound Parquet file"):
        trace(tmp_path / "b.parquet")
    with pytest.raises(InputError, match=r"cannot read .*none\.parquet: No such file"):
        trace(tmp_path / "none.parquet")


# Parquet

ROWS: dict[str, list[Any]] = {
    "timestamp_s": [0.5, 1.0, 1.0, 99.0],
    "source": ["n2", "n0", "n1", "n0"],
    "destination": ["n0", "n2", "n3", "n1"],
    "fidelity": [0.8, 0.7, 0.75, 0.5],
}


def written(path: Path, **change: list[Any]) -> Path:
    columns = {name: values for name, values in (ROWS | change).items() if values}
    parquet.write_table(pa.table(columns), path)
    return path


def test_a_parquet_file_says_the_same_as_its_csv(tmp_path: Path) -> None:
    path = tmp_path / "asked.parquet"
    more = {"pairs": [3, None, 1, 2], "told_s": [0.0, 1.0, None, 3.0]}
    made = trace(written(path, deadline_s=[None, 0.2, 0.3, 1.0], **more))
    lines = [f"{HEAD},pairs,deadline_s,told_s"]
    lines += ["0.5,n2,n0,0.8,3,,0", "1,n0,n2,0.7,,.2,1", "1,n1,n3,.75,1,.3,", "99,n0,n1,.5,2,1,3"]
    (tmp_path / "asked.csv").write_text("\n".join(lines))
    same = trace(tmp_path / "asked.csv")
    assert vars(made).keys() == vars(same).keys()
    for name, value in vars(same).items():
        got = getattr(made, name)
        assert got == value if isinstance(value, str | float) else got.tolist() == value.tolist()
    assert made.time_s.tolist() == [0.5, 1.0, 1.0] and made.told_s.tolist() == [0.0, 1.0, 1.0]


def test_short_names_and_other_types_mean_the_same(tmp_path: Path) -> None:
    path = tmp_path / "asked.parquet"
    other = pa.table(
        {
            "fidelity": pa.array(ROWS["fidelity"], pa.float32()),
            "timestamp": pa.array([0, 1, 1, 99], pa.int32()),
            "destination": pa.array(ROWS["destination"]).dictionary_encode(),
            "source": pa.array(ROWS["source"], pa.large_string()),
            "deadline": pa.array([1, 2, 3, 4], pa.int8()),
        }
    )
    parquet.write_table(other, path)
    made = trace(path)
    assert made.time_s.tolist() == [0.0, 1.0, 1.0] and made.deadline_s.tolist() == [1.0, 2.0, 3.0]
    assert made.minimum_fidelity.tolist() == pytest.approx([0.8, 0.7, 0.75], abs=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fidelity": []}, "there is no column 'fidelity'"),
        ({"colour": [1, 2, 3, 4]}, "column 'colour' is unknown"),
        ({"source": ["n2", "n7", "n1", "n0"]}, "row 2, column source: there is no node 'n7'"),
        ({"source": ["n2", None, "n1", "n0"]}, "row 2, column source: there is no node 'None'"),
        ({"timestamp_s": [0.5, 1.0, 0.9, 99.0]}, "row 3, column timestamp_s: .*0.9 after 1"),
        ({"timestamp_s": [0.5, 1.0, math.nan, 99.0]}, "row 3, column timestamp_s: must be >= 0"),
        ({"timestamp_s": [0.5, 1.0, math.inf, math.inf]}, "row 3, column timestamp_s"),
        ({"fidelity": [0.8, 0.7, 0.75, 1.5]}, "row 4, column fidelity: must be between 0 and 1"),
        ({"fidelity": [0.8, math.nan, 0.75, 0.5]}, "row 2, column fidelity"),
        ({"fidelity": [0.8, None, 0.75, 0.5]}, "row 2, column fidelity"),
        ({"fidelity": [True, True, True, True]}, "row 1, column fidelity"),
        ({"pairs": [1, 2, 2.5, 1]}, "row 3, column pairs"),
        ({"pairs": [1, 2, -1, 1]}, "row 3, column pairs"),
        ({"deadline_s": [1.0, 0.0, 1.0, 1.0]}, "row 2, column deadline_s"),
    ],
)
def test_an_unsound_parquet_file_names_row_and_column(
    tmp_path: Path, change: dict[str, list[Any]], message: str
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        trace(written(tmp_path / "asked.parquet", **change))
    assert "asked.parquet" in str(caught.value) and "\n" not in str(caught.value)


def test_without_pyarrow_the_way_out_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path / "asked.parquet")
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(InputError, match=r"need pyarrow: pip install 'dpem\[arena\]'"):
        trace(path)


@settings(max_examples=60, deadline=None)
@given(data=st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
def test_whatever_bytes_are_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.csv"
    path.write_bytes(HEAD.encode() + b"\n" + data)
    try:
        made = trace(path)
    except InputError:
        return
    assert len(made.time_s) == 0 or made.time_s.min() >= 0
