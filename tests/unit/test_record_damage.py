"""Whatever is changed in a run folder is found and named."""

import hashlib
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_record import write

from quantum.errors import InputError, RecordError
from quantum.record import FORMAT, read, verify


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sealed") / "run"
    write(folder)
    return folder


@pytest.fixture
def folder(sealed: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sealed, tmp_path / "run"))


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_any_changed_byte_is_found(sealed: Path, data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(sorted(sealed.iterdir())))
    good = path.read_bytes()
    place = data.draw(st.integers(0, len(good) - 1))
    flip = data.draw(st.integers(1, 255))
    bad = bytearray(good)
    bad[place] ^= flip
    try:
        path.write_bytes(bytes(bad))
        with pytest.raises(RecordError, match=re.escape(path.name)):
            verify(sealed)
    finally:
        path.write_bytes(good)
    verify(sealed)


def test_every_byte_of_the_manifest_counts(folder: Path) -> None:
    path = folder / "manifest.json"
    good = path.read_bytes()
    for place in range(len(good)):
        for flip in (0x01, 0x20, 0x80):
            bad = bytearray(good)
            bad[place] ^= flip
            path.write_bytes(bytes(bad))
            with pytest.raises(RecordError, match=r"manifest\.json"):
                verify(folder)


@pytest.mark.parametrize("spelling", [b" ", b"\n", b"\x00", b"{}"])
def test_bytes_after_the_manifest_are_found(folder: Path, spelling: bytes) -> None:
    path = folder / "manifest.json"
    path.write_bytes(path.read_bytes() + spelling)
    with pytest.raises(RecordError, match=r"manifest\.json"):
        verify(folder)


def test_another_spelling_of_the_same_manifest_is_found(folder: Path) -> None:
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text())))
    with pytest.raises(RecordError, match="its own digest"):
        verify(folder)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_cut_file_is_found(sealed: Path, data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(sorted(sealed.iterdir())))
    good = path.read_bytes()
    try:
        path.write_bytes(good[: data.draw(st.integers(0, len(good) - 1))])
        with pytest.raises(RecordError, match=re.escape(path.name)):
            verify(sealed)
    finally:
        path.write_bytes(good)


@pytest.mark.parametrize("name", ["events.jsonl", "run.png", "scenario.json", "summary.json"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(RecordError, match=rf"{re.escape(name)}: missing"):
        verify(folder)


def test_a_missing_manifest_means_a_killed_run(folder: Path) -> None:
    (folder / "manifest.json").unlink()
    with pytest.raises(RecordError, match="killed before it could seal"):
        verify(folder)


def test_an_extra_file_a_link_and_an_empty_folder_are_named(folder: Path) -> None:
    (folder / "extra.txt").write_text("")
    with pytest.raises(RecordError, match=r"extra\.txt: not part of the record"):
        verify(folder)
    (folder / "extra.txt").unlink()
    (folder / "deep").mkdir()
    with pytest.raises(RecordError, match="deep: an empty folder"):
        verify(folder)
    (folder / "deep" / "manifest.json").write_text("{}")
    with pytest.raises(RecordError, match=r"deep/manifest\.json: not part of the record"):
        verify(folder)
    shutil.rmtree(folder / "deep")
    (folder / "summary.json").rename(folder.parent / "elsewhere.json")
    (folder / "summary.json").symlink_to(folder.parent / "elsewhere.json")
    with pytest.raises(RecordError, match=r"summary\.json: a record holds plain files only"):
        verify(folder)


def reseal(folder: Path) -> None:
    """Forge the digests of a changed folder, but not its chain."""
    manifest = json.loads((folder / "manifest.json").read_bytes())
    del manifest["digest"]
    for name in manifest["files"]:
        manifest["files"][name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    body = (json.dumps(manifest, sort_keys=True, indent=2) + "\n").encode()
    manifest["digest"] = hashlib.sha256(body).hexdigest()
    text = json.dumps(manifest, sort_keys=True, indent=2) + "\n"
    (folder / "manifest.json").write_text(text)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda lines: [lines[0], lines[1].replace(b"0.75", b"0.95"), *lines[2:]], 2),
        (lambda lines: [lines[0], *lines[2:]], 2),
        (lambda lines: [lines[0], lines[2], lines[1], lines[3]], 2),
        (lambda lines: [*lines[:3], lines[2], lines[3]], 4),
        (lambda lines: lines[:3], 3),
        (lambda lines: [*lines[:3], lines[3][:-1]], 4),
        (lambda lines: [*lines[:3], lines[3][:20] + b"\n"], 4),
        (lambda lines: [*lines, b"\n"], 5),
    ],
)
def test_the_chain_names_the_line_even_under_forged_digests(
    folder: Path, change: Any, line: int
) -> None:
    path = folder / "events.jsonl"
    path.write_bytes(b"".join(change(path.read_bytes().splitlines(keepends=True))))
    reseal(folder)
    with pytest.raises(RecordError, match=rf"events\.jsonl line {line}:"):
        verify(folder)


def test_a_file_that_changes_after_reading_is_found(folder: Path) -> None:
    record = read(folder)
    (folder / "run.png").write_bytes(b"another picture")
    with pytest.raises(RecordError, match="changed after the record was verified"):
        record.file("run.png")


def test_an_unknown_format_is_refused(folder: Path) -> None:
    path = folder / "manifest.json"
    path.write_text(path.read_text().replace(FORMAT, "dpem-record/9"))
    reseal(folder)
    with pytest.raises(RecordError, match="'dpem-record/9'"):
        verify(folder)


def test_what_is_no_run_folder_is_a_wrong_input(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a run folder"):
        verify(tmp_path)
    with pytest.raises(InputError, match="No such file"):
        verify(tmp_path / "absent")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="Not a directory"):
        verify(tmp_path / "file")
