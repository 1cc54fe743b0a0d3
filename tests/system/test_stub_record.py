"""Transcripts of a stub in the place of an instrument: recorded through the proxy, and compared."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner

from backends.drivers.apt import Apt
from backends.drivers.epc import Epc
from backends.drivers.id900 import ID900
from backends.drivers.websq import WebSQ
from backends.rack import StubProcess
from firmware_stubs.commands import command
from firmware_stubs.transcript import decode_bytes, encode_bytes, read_transcript, same
from quantum.errors import InputError


@contextmanager
def recording(kind: str, address: str, out: Path, *more: str) -> Iterator[str]:
    """Run the proxy in a process of its own; give the address that clients take."""
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "firmware_stubs",
            "record",
            kind,
            "--address",
            address,
            "--out",
            str(out),
            *more,
        ],
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        words = process.stderr.readline().split()
        assert words[:2] == ["record", kind], words
        yield words[2]
    finally:
        os.kill(process.pid, signal.SIGTERM)
        assert process.stderr is not None
        rest = process.stderr.read()
        assert process.wait(10.0) == 0, rest
        process.stderr.close()


def use_id900(address: str) -> None:
    driver = ID900(address, settle_s=0.0)
    driver.identify()
    driver.configure(0.005)
    driver.safe_state()
    driver.close()


def use_epc(address: str) -> None:
    driver = Epc(address)
    driver.identify()
    driver.set_voltages_mv((100.0, 200.0, -300.0, 400.0))
    driver.safe_state()
    driver.close()


def use_apt(address: str) -> None:
    driver = Apt(address)
    driver.identify()
    driver.ping()
    driver.stop()
    driver.close()


def use_websq(address: str) -> None:
    driver = WebSQ(address)
    driver.identify()
    driver.bias_ua()
    driver.rates()
    driver.close()


@pytest.mark.parametrize(
    ("kind", "use", "options", "least"),
    [
        ("id900", use_id900, [], 100),
        ("epc", use_epc, [], 6),
        # These two take the longest to start.
        pytest.param("apt", use_apt, [], 3, marks=pytest.mark.long),
        pytest.param("websq", use_websq, [], 2, marks=pytest.mark.long),
    ],
)
def test_a_recorded_stub_is_like_the_stub(
    tmp_path: Path, kind: str, use: object, options: list[str], least: int
) -> None:
    out = tmp_path / f"{kind}.txt"
    assert callable(use)
    with StubProcess(kind, options) as stub:
        extra = ["--identity"] if kind == "id900" else []
        with recording(kind, stub.address, out, *extra) as address:
            use(address)
    text = out.read_text()
    assert text.startswith("# recorded: 20")
    assert f"kind {kind}" in text
    assert re.search(r"^# t=\d+\.\d{6} connection=0 line=0$", text, re.M)
    if kind == "id900":
        assert "# identity: IDQ,ID900,STUB-1,1.0" in text
    turns = read_transcript(kind, text)
    assert len([turn for turn in turns if turn.said]) >= least
    assert all(turn.source.startswith("recorded from") for turn in turns)
    # What WebSQ sends by itself has another moment each time.
    more = ["--numbers-free"] if kind == "websq" else []
    done = CliRunner().invoke(command, ["compare", str(out), kind, *options, *more])
    assert done.exit_code == 0, done.output
    assert "0 answered differently" in done.output
    if kind == "websq":
        assert {turn.line for turn in turns} == {0, 1}


def test_a_difference_is_shown(tmp_path: Path) -> None:
    out = tmp_path / "other.txt"
    out.write_text("== recorded\n> *IDN?\n< IDQ,ID900,12345,2.7\n> INPU1:ENAB?\n< OFF\n")
    with StubProcess("id900", []) as stub:
        asked = ["compare", str(out), "id900", "--address", stub.address]
        done = CliRunner().invoke(command, asked)
        assert done.exit_code == 1
        assert "row 2: *IDN?" in done.output
        assert "IDQ,ID900,STUB-1,1.0" in done.output
        assert "2 turns, 1 answered differently" in done.output
        # Numbers that are said to be free may differ; words may not.
        out.write_text("> INPU1:COUN?\n<# 123\n")
        assert CliRunner().invoke(command, asked).exit_code == 0
        out.write_text("> INPU1:COUN?\n<# many\n")
        assert CliRunner().invoke(command, asked).exit_code == 1


@pytest.mark.parametrize("kind", ["id900", "epc", "apt", "polatis"])
def test_bytes_come_back(kind: str) -> None:
    data = b"V?\r\n\\x" if kind != "id900" else b"*IDN?"
    assert decode_bytes(kind, encode_bytes(kind, data)) == data
    every = bytes(range(256))
    if kind != "id900":
        assert decode_bytes(kind, encode_bytes(kind, every)) == every


def test_rows_that_are_none_are_named() -> None:
    with pytest.raises(InputError, match="row 2"):
        read_transcript("id900", "> *IDN?\nwhat?\n")
    with pytest.raises(InputError, match="not hex"):
        read_transcript("apt", "> zz\n")
    assert same(b"1.5;-3", b"2;7e9", numbers_free=True)


def test_what_cannot_be_recorded_is_refused(tmp_path: Path) -> None:
    there = tmp_path / "there.txt"
    there.write_text("precious")
    for args, said in (
        (["record", "id900", "--address", "udp://x:1"], "--address"),
        (["record", "id900", "--address", "tcp://h:1", "--out", str(there)], "exists"),
        (["compare", str(there), "id900"], "row 1"),
    ):
        done = CliRunner().invoke(command, args)
        assert isinstance(done.exception, InputError), done.output
        assert said in str(done.exception)
    assert there.read_text() == "precious"
