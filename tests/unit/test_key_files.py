"""Key files: who may read them, what is refused by name of file and field, and the command."""

import json
import os
import threading

import pytest
from click.testing import CliRunner

from controller.commands.keys import command
from controller.security import KeyFolder
from controller.security.keyring import read_folder
from controller.security.keys import load_pair, load_public, new_key, revoke_key
from quantum.errors import InputError
from quantum.private import write_whole


def mode(path):
    return path.stat().st_mode & 0o777


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "keys"


def dpem_keys(*words, folder):
    done = CliRunner().invoke(command, [*words, "--folder", str(folder), "--json", "-"])
    return done, json.loads(done.stdout) if done.exit_code == 0 or done.stdout else None


def test_secrets_stay_apart_from_what_travels(folder):
    old = os.umask(0)
    try:
        known = new_key(folder, "ada", "operate")
    finally:
        os.umask(old)
    assert (mode(folder), mode(folder / "ada.key"), mode(folder / "ada.pub")) == (
        0o700,
        0o600,
        0o644,
    )
    pair = load_pair(folder / "ada.key")
    assert load_public(folder / "ada.pub") == known
    assert pair.public == known.public
    assert pair.secret not in (folder / "ada.pub").read_text()
    assert {path.name for path in folder.iterdir()} == {"ada.key", "ada.pub"}


@pytest.mark.parametrize("name", ["", "..", ".a", "a/b", "a b", "-a", "a\n", "ä", "a" * 65, "a\0"])
def test_names_that_are_none(folder, name):
    with pytest.raises(InputError, match="letters, digits"):
        new_key(folder, name, "observe")
    with pytest.raises(InputError, match="letters, digits"):
        revoke_key(folder, name)
    assert not folder.exists()


@pytest.mark.parametrize("bad", [0o755, 0o750, 0o701, 0o770])
def test_a_folder_that_others_may_enter_is_refused(folder, bad):
    new_key(folder, "ada", "observe")
    folder.chmod(bad)
    for act in (
        lambda: new_key(folder, "bob", "observe"),
        lambda: revoke_key(folder, "ada"),
        lambda: read_folder(folder),
        lambda: KeyFolder(folder),
    ):
        with pytest.raises(InputError, match=f"mode {bad:04o}; it must be 0700.*chmod 700") as seen:
            act()
        assert "\n" not in str(seen.value)


@pytest.mark.parametrize("bad", [0o640, 0o604, 0o620, 0o602, 0o611])
def test_a_secret_that_others_may_read_is_refused(folder, bad):
    new_key(folder, "ada", "observe")
    (folder / "ada.key").chmod(bad)
    with pytest.raises(InputError, match=f"mode {bad:04o}; it must be 0600.*chmod 600"):
        load_pair(folder / "ada.key")


def test_a_public_file_that_others_may_write_does_not_count(folder):
    new_key(folder, "ada", "observe")
    (folder / "ada.pub").chmod(0o664)
    keys, (line,) = read_folder(folder)
    assert keys == [] and "ada.pub has mode 0664" in line


def test_another_users_files_are_refused(folder, monkeypatch):
    new_key(folder, "ada", "observe")
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(InputError, match=r"belongs to user .*: chown"):
        read_folder(folder)
    with pytest.raises(InputError, match=r"belongs to user .*: chown"):
        load_pair(folder / "ada.key")


def test_links_are_refused(folder, tmp_path):
    new_key(folder, "ada", "observe")
    (folder / "bob.key").symlink_to(folder / "ada.key")
    with pytest.raises(InputError, match="is not a plain file"):
        load_pair(folder / "bob.key")
    (tmp_path / "link").symlink_to(folder)
    with pytest.raises(InputError, match="is not a plain folder"):
        read_folder(tmp_path / "link")


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"role": "king"}, "role"),
        ({"public": "short"}, "public"),
        ({"name": "bob"}, "name 'bob' does not fit"),
        ({"extra": 1}, "extra"),
        ({"name": 3}, "name"),
        ({"revoked": "2026-01-01"}, "revoked is for .revoked files"),
    ],
)
def test_a_broken_file_is_named_with_its_field(folder, change, line):
    new_key(folder, "bob", "observe")
    new_key(folder, "ada", "observe")
    path = folder / "ada.pub"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    keys, (trouble,) = read_folder(folder)
    assert [key.name for key in keys] == ["bob"]
    assert str(path) in trouble and line in trouble and "\n" not in trouble


@pytest.mark.parametrize("text", ["", "{", "[]", "\xff", "[" * 2000, "x" * 5000])
def test_what_is_no_key_file_is_said_so(folder, text):
    new_key(folder, "ada", "observe")
    (folder / "ada.pub").write_text(text, encoding="latin-1")
    _, (trouble,) = read_folder(folder)
    assert "ada.pub" in trouble and "\n" not in trouble
    (folder / "ada.key").write_text(text, encoding="latin-1")
    with pytest.raises(InputError, match=r"ada\.key"):
        load_pair(folder / "ada.key")


def test_no_secret_is_ever_told(folder):
    new_key(folder, "ada", "observe")
    path = folder / "ada.key"
    secret = load_pair(path).secret
    other = load_pair(path).public.swapcase()
    for text in (
        f'{{"public": "{secret}", "secret": "{secret}x"}}',
        f'{{"public": "{other}", "secret": "{secret}"}}',
        f'{{"secret": "{secret}"}}',
        secret,
    ):
        path.write_text(text)
        with pytest.raises(InputError) as seen:
            load_pair(path)
        assert secret not in str(seen.value)


def test_a_key_that_two_files_claim_counts_for_neither(folder):
    known = new_key(folder, "ada", "observe")
    twin = {"name": "bob", "role": "arm", "public": known.public}
    (folder / "bob.pub").write_text(json.dumps(twin))
    keys, (line,) = read_folder(folder)
    assert keys == [] and "ada.pub too" in line


def test_a_revoked_key_does_not_come_back(folder):
    known = new_key(folder, "ada", "arm")
    kept = (folder / "ada.pub").read_bytes()
    revoke_key(folder, "ada")
    write_whole(folder / "ada.pub", kept, mode=0o644)
    (gone,), troubles = read_folder(folder)
    assert gone.revoked and troubles == []
    ring = KeyFolder(folder).ring
    assert ring.find(known.public) is None and ring.revoked == {known.public: "ada"}


def test_a_name_may_have_a_new_key_after_its_old_one_was_revoked(folder):
    old = new_key(folder, "ada", "arm")
    with pytest.raises(InputError, match="exists already"):
        new_key(folder, "ada", "observe")
    revoke_key(folder, "ada")
    fresh = new_key(folder, "ada", "observe")
    ring = KeyFolder(folder).ring
    assert ring.find(fresh.public).role == "observe" and old.public in ring.revoked
    assert load_pair(folder / "ada.key").public == fresh.public
    # A secret of a key that nobody revoked is kept: whoever made it was interrupted.
    (folder / "ada.pub").unlink()
    assert new_key(folder, "ada", "observe").public == fresh.public


def test_of_many_who_make_the_same_key_one_does(folder):
    out = []

    def make():
        try:
            out.append(new_key(folder, "ada", "observe").public)
        except InputError as wrong:
            out.append(str(wrong))

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum("exists already" in line for line in out) == 7
    assert load_pair(folder / "ada.key").public == load_public(folder / "ada.pub").public
    assert load_public(folder / "ada.pub").public in out


def test_the_command(folder):
    done, made = dpem_keys("new", "ada", "--role", "operate", folder=folder)
    assert done.exit_code == 0
    assert (made["name"], made["role"], made["secret_here"]) == ("ada", "operate", True)
    assert (folder / "ada.key").read_text() not in done.stdout
    dpem_keys("new", "bob", "--role", "agent", folder=folder)
    dpem_keys("revoke", "ada", folder=folder)
    done, listed = dpem_keys("list", folder=folder)
    assert [(k["name"], bool(k["revoked"])) for k in listed["keys"]] == [
        ("bob", False),
        ("ada", True),
    ]
    (folder / "bob.pub").write_text("{}")
    done, listed = dpem_keys("list", folder=folder)
    assert done.exit_code == 1 and "bob.pub" in listed["troubles"][0]
    plain = CliRunner().invoke(command, ["list", "--folder", str(folder)])
    assert plain.exit_code == 1 and "ada" in plain.stdout
    done = CliRunner().invoke(command, ["new", "eve", "--role", "king"])
    assert done.exit_code == 2 and "king" in done.output
