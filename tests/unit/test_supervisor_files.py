"""What a supervisor keeps: the audit log's chain, key files, tokens and latches."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from backends.supervisor.audit import AuditLog, verify
from backends.supervisor.keys import load_key, local_key, new_key, roles
from backends.supervisor.notes import Notes
from backends.supervisor.places import Kept, lock, place_of, read_endpoint, read_kept
from quantum.errors import InputError, RecordError
from quantum.rack_safety import KeyEntry, SafetyEntry


def write_log(path: Path, lines: int = 6) -> list[bytes]:
    log = AuditLog(path)
    for number in range(lines):
        log.append("command", instrument="tagger", number=number)
    log.close()
    return path.read_bytes().splitlines(keepends=True)


def test_a_log_goes_on_where_it_ended(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    write_log(path)
    write_log(path)
    assert verify(path).lines == 12


def test_every_damage_is_found(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    lines = write_log(path)
    flipped = lines[2].replace(b'"number":2', b'"number":3')
    assert flipped != lines[2]
    damages = {
        "changed": [*lines[:2], flipped, *lines[3:]],
        "taken out": lines[:3] + lines[4:],
        "put in": lines[:3] + lines[2:],
        "swapped": [*lines[:2], lines[3], lines[2], *lines[4:]],
        "first gone": lines[1:],
        "torn": [*lines[:-1], lines[-1][:-5]],
        "no JSON": [*lines[:4], b"{}}\n", *lines[5:]],
    }
    for damaged in damages.values():
        path.write_bytes(b"".join(damaged))
        with pytest.raises(RecordError, match="line"):
            verify(path)


def test_every_changed_byte_of_a_line_is_found(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    lines = write_log(path, 3)
    for place in range(len(lines[1]) - 1):
        changed = bytearray(lines[1])
        changed[place] ^= 1
        path.write_bytes(lines[0] + bytes(changed) + lines[2])
        with pytest.raises(RecordError):
            verify(path)


def test_half_a_line_of_a_writer_that_died_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    lines = write_log(path)
    path.write_bytes(b"".join(lines)[:-7])
    write_log(path, 1)
    assert verify(path).lines == 6


FULL = """
import resource, sys
from pathlib import Path
from backends.supervisor.audit import AuditLog
from backends.supervisor.notes import Notes
lost = []
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
notes = Notes(AuditLog(Path(sys.argv[1])), strict=sys.argv[2] == "strict", on_lost=lost.append)
for number in range(30):
    notes.note("command", number=number)
print(len(lost), notes.lost)
"""


@pytest.mark.parametrize(("strict", "told"), [("strict", "1"), ("lax", "0")])
def test_a_full_disk_is_told_once_where_logs_must_hold(
    tmp_path: Path, strict: str, told: str
) -> None:
    path = tmp_path / "audit.jsonl"
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(path), strict], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith(f"{told} the audit log is lost"), done.stdout
    # What is there still holds once the half line at the end is cut off.
    assert path.stat().st_size <= 1000
    AuditLog(path).close()
    assert verify(path).lines >= 2


def test_a_log_that_is_closed_takes_no_more(tmp_path: Path) -> None:
    told: list[str] = []
    notes = Notes(AuditLog(tmp_path / "a"), strict=True, on_lost=told.append)
    notes.close()
    notes.note("command")
    assert verify(tmp_path / "a").lines == 0


def test_key_files(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "anna.key"
    pair = new_key(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert load_key(path) == pair
    with pytest.raises(InputError, match="cannot write key"):
        new_key(path)
    for mode in (0o640, 0o604, 0o660):
        path.chmod(mode)
        with pytest.raises(InputError, match="must be 0600"):
            load_key(path)
    path.chmod(0o600)
    path.write_text(f'{{"public": "{pair.public}", "secret": "{pair.public}"}}')
    with pytest.raises(InputError, match="do not belong together"):
        load_key(path)
    path.write_text("secret")
    with pytest.raises(InputError, match="not a key file"):
        load_key(path)
    with pytest.raises(InputError, match="cannot read key"):
        load_key(tmp_path / "none")


def test_who_may_what(tmp_path: Path) -> None:
    own, anna = local_key(tmp_path), new_key(tmp_path / "anna.key")
    assert local_key(tmp_path) == own
    safety = SafetyEntry(key=(KeyEntry(name="anna", public=anna.public, role="arm"),))
    assert roles(safety, own, "stub") == {own.public: "arm", anna.public: "arm"}
    # What is made of light is not armed by whoever happens to be logged in.
    assert roles(safety, own, "armed") == {own.public: "operate", anna.public: "arm"}
    twice = SafetyEntry(key=(safety.key[0], KeyEntry(name="b", public=anna.public, role="arm")))
    with pytest.raises(InputError, match="every public must be another"):
        twice.check(set())
    with pytest.raises(InputError, match="interlocks names 'door'"):
        SafetyEntry(interlocks=("door",)).check({"tagger"})


def test_what_outlives_a_supervisor(tmp_path: Path) -> None:
    place = place_of(tmp_path / "rack.toml")
    assert place == place_of(tmp_path / "." / "rack.toml") != place_of(tmp_path / "other.toml")
    assert read_kept(place) == Kept()
    Kept(7, "broker lost", active=False, mode="armed").write(place)
    assert read_kept(place) == Kept(7, "broker lost", active=False, mode="armed")
    (place / "state.json").write_text("{")
    assert "cannot be read" in read_kept(place).latched
    assert read_endpoint(place) is None
    held = lock(place)
    with pytest.raises(InputError, match="has a supervisor already"):
        lock(place)
    os.close(held)
    os.close(lock(place))


def test_limits_of_this_test_are_not_those_of_its_process() -> None:
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 1000
