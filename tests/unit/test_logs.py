"""Lines of the log: what they hold, what they refuse, and that those of processes never mix."""

import datetime
import json
import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantum import logs
from quantum.errors import InputError
from quantum.logs import LogConfig


@pytest.fixture
def told(tmp_path):
    """Log to a file for the length of a test; returns what reads its lines."""
    path = tmp_path / "x.log"

    def lines(form="json", level="info"):
        logs.start(LogConfig(format=form, level=level, file=str(path)), "here")
        return lambda: path.read_text().splitlines()

    yield lines
    logs.start(None, "")


def test_a_line_of_json_has_time_level_part_event_and_fields(told):
    lines = told()
    before = datetime.datetime.now(datetime.UTC)
    logs.note("seated", process="agent-0", pairs=[1, 2], share=float("nan"))
    (line,) = map(json.loads, lines())
    at = datetime.datetime.fromisoformat(line.pop("time"))
    assert at.utcoffset() == datetime.timedelta(0)
    assert abs((at - before).total_seconds()) < 60.0
    assert line == {
        "level": "info",
        "part": "here",
        "pid": os.getpid(),
        "event": "seated",
        "process": "agent-0",
        "pairs": [1, 2],
        "share": "nan",
    }


def test_levels_below_the_wanted_one_are_not_written(told):
    lines = told(level="warning")
    logs.note("a", level="debug")
    logs.note("b")
    logs.note("c", level="warning")
    logs.note("d", level="error")
    assert [json.loads(line)["event"] for line in lines()] == ["c", "d"]
    assert logs.logs("warning") and not logs.logs("info")


@given(st.text(), st.text(max_size=5))
def test_whatever_a_field_holds_it_stays_on_its_line(text, event):
    read, write = os.pipe()
    for form in ("json", "text"):
        logs.start(LogConfig(format=form, descriptor=write), "here")
        logs.note("event", said=text, more=event)
    logs.start(None, "")
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        as_json, as_text, rest = pipe.read().split(b"\n")
    assert json.loads(as_json)["said"] == text
    assert as_text.isascii() and b" said=" in as_text and rest == b""


def test_the_name_of_an_event_is_escaped_like_a_field(told):
    lines = told(form="text")
    logs.note("gave up")
    logs.note("seated\nfake level=error")
    assert lines()[0].endswith("] gave up")
    assert lines()[1].endswith(r'] "seated\nfake level=error"') and len(lines()) == 2


@pytest.mark.parametrize("listens", [False, True])
def test_bytes_and_the_keys_of_every_line_are_refused(told, listens):
    if listens:
        told()
    with pytest.raises(TypeError, match="field session"):
        logs.note("x", session=b"secret")
    with pytest.raises(TypeError, match="field all"):
        logs.note("x", all=["a", b"secret"])
    with pytest.raises(ValueError, match="field time"):
        logs.note("x", time=1.0)


def test_a_file_that_cannot_be_written_is_one_line(tmp_path):
    with pytest.raises(InputError, match=r"log file .*nowhere/x.log: cannot write it: No such"):
        logs.start(LogConfig(file=str(tmp_path / "nowhere" / "x.log")), "here")
    with pytest.raises(InputError, match=r"log file .*cannot write it: embedded null byte"):
        logs.start(LogConfig(file="a\0b"), "here")
    logs.start(None, "")


def test_a_line_that_cannot_be_written_is_lost_and_nothing_else():
    logs.start(LogConfig(file="/dev/full"), "here")
    logs.note("x")
    logs.start(None, "")


CHILD = """
import sys
from quantum import logs
logs.start_in_child(sys.argv[1])
for number in range(300):
    logs.note("step", number=number, filler="x" * 200)
"""


def children(environment, descriptors):
    started = [
        subprocess.Popen([sys.executable, "-c", CHILD, name], env=environment, pass_fds=descriptors)
        for name in "ab"
    ]
    assert [child.wait() for child in started] == [0, 0]


def test_lines_of_several_processes_never_mix(told):
    lines = told()
    children(*logs.for_child())
    found = [json.loads(line) for line in lines()]
    for name in "ab":
        assert [f["number"] for f in found if f["part"] == name] == list(range(300))


def test_children_log_past_their_own_stderr_and_who_outlives_us_does_not(tmp_path):
    path = tmp_path / "lines"
    with path.open("wb") as file:
        logs.start(LogConfig(format="json", descriptor=file.fileno()), "here")
        children(*logs.for_child())
        lasting = logs.for_child(outlives=True)
        assert lasting[1] == () and "DPEM_LOG" not in lasting[0]
    logs.start(None, "")
    assert len(path.read_text().splitlines()) == 600
    assert "DPEM_LOG" not in logs.for_child()[0]
