"""The run folder: what is written is read back, also after an interrupt."""

import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_record import EVENTS, HEADER, write

from quantum.errors import InputError, RecordError
from quantum.record import FORMAT, RecordWriter, read, verify


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sealed") / "run"
    write(folder)
    return folder


@pytest.fixture
def folder(sealed: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sealed, tmp_path / "run"))


def test_what_is_written_is_read_back(folder: Path) -> None:
    record = read(folder)
    assert record.header == {**HEADER, "event": "header", "format": FORMAT}
    assert list(record.events) == EVENTS
    assert record.summary == {"delivery_rate": 0.9, "slots": 300}
    assert record.file("run.png") == bytes(range(256))
    assert record.seal.complete
    assert record.seal.events == 1 + len(EVENTS)
    assert set(record.seal.files) == {"events.jsonl", "run.png", "scenario.json", "summary.json"}
    with pytest.raises(InputError, match=r"no file 'absent\.txt'"):
        record.file("absent.txt")


def test_same_run_has_same_bytes(tmp_path: Path) -> None:
    assert write(tmp_path / "a") == write(tmp_path / "b")
    for file in (tmp_path / "a").iterdir():
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes()


def test_a_folder_with_something_in_it_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep me")
    with pytest.raises(InputError, match="is not empty"):
        RecordWriter(tmp_path, HEADER)
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]


def test_an_existing_empty_folder_is_taken(tmp_path: Path) -> None:
    with RecordWriter(tmp_path, HEADER) as writer:
        writer.close({})
    assert read(tmp_path).events == ()


@pytest.mark.parametrize(
    "wrong", [{"load": float("nan")}, {"load": float("inf")}, {"x": np.int64(3)}, {"hash": "0"}]
)
def test_a_wrong_header_leaves_nothing_behind(tmp_path: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        RecordWriter(tmp_path / "a" / "b", wrong)
    assert not (tmp_path / "a").exists()


def test_where_nothing_can_be_created_nothing_is_left_behind(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot create"):
        RecordWriter(tmp_path / "file" / "run", HEADER)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_full_disk_at_the_start_leaves_nothing_behind(tmp_path: Path) -> None:
    # A limit on the size of files stands for the full disk; it needs a process of its own.
    code = textwrap.dedent(
        """
        import resource, signal, sys
        from pathlib import Path
        from quantum.errors import InputError
        from quantum.record import RecordWriter
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (40, resource.RLIM_INFINITY))
        try:
            RecordWriter(Path(sys.argv[1]), {"text": "x" * 100})
        except InputError as wrong:
            print(wrong)
        """
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "a" / "run")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "File too large" in done.stdout
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize(
    "event",
    [
        {"slot": 1},
        {"event": 3},
        {"event": "x", "hash": "0" * 64},
        {"event": "x", "fidelity": float("nan")},
        {"event": "x", "fidelity": float("-inf")},
        {"event": "x", "array": np.zeros(2)},
        {"event": "x", "bytes": b"0"},
    ],
)
def test_a_wrong_event_is_refused_and_does_not_break_the_chain(
    tmp_path: Path, event: dict[str, Any]
) -> None:
    with RecordWriter(tmp_path / "run", HEADER) as writer:
        with pytest.raises(InputError, match="event"):
            writer.append(event)
        writer.append(EVENTS[0])
        writer.close({})
    assert list(read(tmp_path / "run").events) == EVENTS[:1]


@pytest.mark.parametrize(
    "name", ["", "../x", "/etc/x", "a/b", ".hidden", "events.jsonl", "manifest.json", "a b", "ä"]
)
def test_a_wrong_file_name_is_refused(tmp_path: Path, name: str) -> None:
    with RecordWriter(tmp_path / "run", HEADER) as writer, pytest.raises(InputError):
        writer.write_file(name, b"")


def test_files_that_others_put_into_the_folder_are_sealed_too(tmp_path: Path) -> None:
    with RecordWriter(tmp_path / "run", HEADER) as writer:
        (tmp_path / "run" / "logs").mkdir()
        (tmp_path / "run" / "logs" / "worker.log").write_text("hello")
        writer.close({})
    assert "logs/worker.log" in verify(tmp_path / "run").files


def test_nothing_can_be_added_to_a_sealed_record(tmp_path: Path) -> None:
    with RecordWriter(tmp_path / "run", HEADER) as writer:
        digest = writer.close({})
        with pytest.raises(RecordError, match="sealed"):
            writer.append(EVENTS[0])
        with pytest.raises(RecordError, match="sealed"):
            writer.write_file("late.txt", b"")
        assert writer.close({"other": 1}) == digest
    assert verify(tmp_path / "run").digest == digest


def broken_off(folder: Path, error: type[BaseException]) -> None:
    with RecordWriter(folder, HEADER) as writer:
        for event in EVENTS:
            writer.append(event)
        raise error


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_interrupted_run_keeps_a_valid_record(
    tmp_path: Path, error: type[BaseException]
) -> None:
    with pytest.raises(error):
        broken_off(tmp_path / "run", error)
    record = read(tmp_path / "run")
    assert not record.seal.complete
    assert record.summary is None
    assert list(record.events) == EVENTS


def test_an_interrupt_in_the_middle_of_a_write_loses_and_doubles_nothing(tmp_path: Path) -> None:
    class Interrupting:
        """A file that takes five bytes and is then interrupted, once."""

        def __init__(self, file: Any) -> None:
            self.file, self.done = file, False

        def write(self, data: bytes) -> int:
            if not self.done:
                self.done = True
                self.file.write(data[:5])
                raise KeyboardInterrupt
            return int(self.file.write(data[:100]))  # short writes happen as well

        def __getattr__(self, name: str) -> Any:
            return getattr(self.file, name)

    def play() -> None:
        with RecordWriter(tmp_path / "run", HEADER) as writer:
            writer._file = Interrupting(writer._file)  # type: ignore[assignment]
            for event in EVENTS:
                writer.append(event)
            writer.flush()

    with pytest.raises(KeyboardInterrupt):
        play()
    assert list(read(tmp_path / "run").events) == EVENTS


def test_flushed_events_survive_a_killed_process(tmp_path: Path) -> None:
    code = textwrap.dedent(
        """
        import os, signal, sys
        from pathlib import Path
        from quantum.record import RecordWriter
        writer = RecordWriter(Path(sys.argv[1]), {})
        writer.append({"event": "slot", "slot": 1})
        writer.flush()
        writer.append({"event": "slot", "slot": 2})
        os.kill(os.getpid(), signal.SIGKILL)
        """
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "run")], check=False)
    lines = (tmp_path / "run" / "events.jsonl").read_bytes().splitlines()
    assert len(lines) == 2
    assert b'"slot":1' in lines[1]


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=50, deadline=None)
@given(fields=st.lists(st.dictionaries(st.text(), values, max_size=4), max_size=4))
def test_any_plain_event_survives(
    fields: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    events = [{**f, "event": "any"} for f in fields if "hash" not in f]
    folder = tmp_path_factory.mktemp("any") / "run"
    with RecordWriter(folder, {}) as writer:
        for event in events:
            writer.append(event)
        writer.close({})
    assert list(read(folder).events) == events
