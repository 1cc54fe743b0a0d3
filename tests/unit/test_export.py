"""A record leaves as tables and as a document that its own schema describes."""

import csv
import json
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
from click.testing import CliRunner, Result

from controller.commands.export import command
from controller.export_tables import tables_of
from controller.exported import document_of, schema
from controller.setting import Setting
from quantum.errors import InputError, RecordError
from quantum.record import RecordWriter, read
from quantum.topology import load_topology, to_json

EVENTS: list[dict[str, Any]] = [
    {"event": "slot", "slot": 0, "asked": [0], "acts": [[1, 0, 1, 0.5]], "yields": [],
     "served": []},
    {"event": "slot", "slot": 3, "asked": [], "acts": [], "yields": [[1, 0, 0.25]],
     "served": [[0, 0, 0, 2, [0, 1], [3, 1]], [1, 1, 0, 1, [1], [2]], [3, 2, 0, 1, [1], [0]]]},
    {"event": "results", "slot": 3, "basis": [-1, 0, 2], "passed": [-1, 1, 0],
     "fidelity": [0.9, 0.95, 0.96], "source": "sim", "reward": 0.8},
    {"event": "failed", "slot": 4, "code": "OTHER", "detail": "no light"},
    {"event": "round", "slot": 5, "round": 1, "missing": 3},
    {"event": "lost", "slot": 6, "detail": "the agent is gone"},
]  # fmt: skip


def write(folder: Path, events: list[dict[str, Any]] = EVENTS, **more: Any) -> Path:
    header = {
        "dpem": "0.1.0", "horizon": 9, "slots": 5, "warmup_slots": 1,
        "setting": msgspec.to_builtins(Setting(topology="line-3")), **more,
    }  # fmt: skip
    with RecordWriter(folder, header) as writer:
        writer.write_file("network.json", to_json(load_topology("line-3", seed=0)))
        for event in events:
            writer.append(event)
        writer.close()
    return folder


def export(*words: object) -> Result:
    return CliRunner().invoke(command, [str(word) for word in words])


def test_tables_say_what_happened(tmp_path: Path) -> None:
    tables = tables_of(read(write(tmp_path / "run")))
    pairs = tables["pairs"]
    assert pairs["kind"] == ["delivered", "tested", "link test"]
    assert pairs["path"] == ["n0>n1>n2", "n1>n2", "n1>n2"]
    assert pairs["request"] == [0, 1, -1] and pairs["time_s"] == [0.06] * 3
    assert pairs["oldest_wait_s"] == [0.06, 0.04, 0.0]
    assert pairs["basis"] == [None, "xx", "zz"] and pairs["passed"] == [None, True, False]
    assert pairs["fidelity_true"] == [0.9, 0.95, 0.96]
    # The second link of the middle node.
    assert tables["decisions"]["link"] == ["n1>n2"] and tables["decisions"]["node"] == ["n1"]
    assert tables["rounds"]["missing"] == [3] and tables["summary"] == {"key": [], "value": []}


@pytest.mark.parametrize("wanted", ["csv", "parquet"])
def test_files_hold_the_tables(tmp_path: Path, wanted: str) -> None:
    folder = write(tmp_path / "run")
    assert export(folder, "--format", wanted).exit_code == 0
    out = tmp_path / "run-export"
    assert {path.name for path in out.iterdir()} == {
        f"{name}.{wanted}" for name in ("pairs", "decisions", "rounds", "summary")
    }
    if wanted == "csv":
        rows = list(csv.DictReader((out / "pairs.csv").read_text().splitlines()))
        assert rows[0]["basis"] == "" and rows[1]["passed"] == "True"
    else:
        from pyarrow import parquet

        table = parquet.read_table(out / "pairs.parquet")
        assert table.column("passed").to_pylist() == [None, True, False]
        assert str(table.schema.field("fidelity_true").type) == "double"
        assert parquet.read_table(out / "rounds.parquet").num_rows == 1
    read(folder)  # Still sealed, with nothing added.


def test_the_document_is_described_by_the_schema(tmp_path: Path) -> None:
    folder = write(tmp_path / "run")
    done = export(folder, "--format", "json", "--out", "-")
    whole = json.loads(done.stdout)
    told = json.loads(export("--schema").stdout)
    assert told == json.loads(json.dumps(schema()))
    jsonschema.Draft202012Validator.check_schema(told)
    jsonschema.validate(whole, told, jsonschema.Draft202012Validator)
    assert [event["event"] for event in whole["events"]] == [e["event"] for e in EVENTS]
    assert whole["seal"]["digest"] == read(folder).seal.digest


def test_output_is_no_path_wherever_one_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(write(tmp_path / "run"))
    done = export(".", "--format", "json", "--out", "-")
    assert done.exit_code == 0 and json.loads(done.stdout)["summary"] is None


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("events.0.slot", -1),
        ("events.0.acts", "none"),
        ("events.1.served", None),
        ("events.2.passed", ["yes"]),
        ("events.3.code", 7),
        ("events.4.round", 1.5),
        ("events.0.event", 1),
        ("header.setting.topolgy", "mesh"),
        ("header.event", "slot"),
        ("seal.digest", "short"),
        ("summary", {}),
    ],
)
def test_the_schema_refuses_what_is_no_record(tmp_path: Path, path: str, value: Any) -> None:
    whole = document_of(read(write(tmp_path / "run")))
    check = jsonschema.Draft202012Validator(schema())
    plain = json.loads(json.dumps(whole))
    assert check.is_valid(plain)
    *way, last = [int(key) if key.isdigit() else key for key in path.split(".")]
    place = plain
    for key in way:
        place = place[key]
    place[last] = value
    assert not check.is_valid(plain)


def test_what_cannot_be_exported_is_one_line(tmp_path: Path) -> None:
    folder = write(tmp_path / "run")
    (tmp_path / "file").write_text("x")
    for words, message in (
        ((), "RUN must be given"),
        ((folder, "--schema"), "leave RUN out"),
        ((tmp_path / "none",), "cannot read the run folder"),
        ((folder, "--out", folder / "inside"), "it is sealed"),
        ((folder, "--format", "csv", "--out", "-"), "--out - is for --format json"),
        ((folder, "--out", tmp_path / "file"), "cannot write"),
        ((folder, "--format", "json", "--out", tmp_path), "it is a folder"),
    ):
        wrong = export(*words).exception
        assert isinstance(wrong, InputError) and message in str(wrong) and "\n" not in str(wrong)
    events = folder / "events.jsonl"
    events.write_text(events.read_text().replace('"round":1', '"round":2'))
    assert isinstance(export(folder).exception, RecordError)


@pytest.mark.parametrize(
    "event",
    [
        {"event": "slot", "slot": 0, "asked": [], "acts": [[9, 0, 0, 1.0]], "yields": [],
         "served": []},
        {"event": "slot", "slot": 0, "asked": [], "acts": [], "yields": [], "served": [[0, 1]]},
        {"event": "slot", "slot": 0, "asked": [], "acts": [], "yields": [],
         "served": [[0, 0, 0, 1, [99], [0]]]},
        {"event": "slot", "slot": 0, "asked": [], "acts": [], "yields": [],
         "served": [[0, 0, 0, 1, [-1], [0]]]},
        {"event": "slot", "slot": 0, "asked": [], "acts": [], "yields": [],
         "served": [[-1, 0, 0, 1, [0], [0]]]},
    ],
)  # fmt: skip
def test_sealed_nonsense_names_its_line(tmp_path: Path, event: dict[str, Any]) -> None:
    record = read(write(tmp_path / "run", [event]))
    with pytest.raises(RecordError, match="line 2 of the events is malformed"):
        tables_of(record)
    bare = read(write(tmp_path / "bare", [], setting=None))
    with pytest.raises(RecordError, match="not a run of dpem run"):
        document_of(bare)


def test_a_link_to_no_node_is_one_line(tmp_path: Path) -> None:
    network = json.loads(to_json(load_topology("line-3", seed=0)))
    network["links"][0]["a"] = "n9"
    header = {"dpem": "0.1.0", "setting": msgspec.to_builtins(Setting(topology="line-3"))}
    with RecordWriter(tmp_path / "run", header) as writer:
        writer.write_file("network.json", json.dumps(network).encode())
        writer.close()
    with pytest.raises(RecordError, match=r"network\.json: a link ends at 'n9', which is no node"):
        tables_of(read(tmp_path / "run"))
