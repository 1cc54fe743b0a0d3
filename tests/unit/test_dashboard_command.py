"""What ``dpem dashboard`` refuses before it starts anything."""

import socket

import pytest

from controller.commands.dashboard import command
from quantum.errors import InputError


@pytest.fixture(autouse=True)
def nothing_is_started(monkeypatch):
    def started(*_, **__):
        pytest.fail("a run was started")

    monkeypatch.setattr("subprocess.Popen", started)


def refused(*words):
    with pytest.raises(InputError) as wrong:
        command(list(words), standalone_mode=False)
    return str(wrong.value)


@pytest.mark.parametrize("host", ["lab.example", "", "127.0.0.1:80", "::zz"])
def test_a_page_is_served_at_an_address_only(tmp_path, host):
    """A name would be refused by the server's own check of the Host header."""
    assert refused(str(tmp_path), "--host", host).startswith("--host must be an address")


def test_options_that_nobody_knows_are_named(tmp_path):
    assert refused("--nonsense") == "no such option: --nonsense"
    assert refused("--prot", "80") == "no such option: --prot"
    assert refused(str(tmp_path), "more") == "one run folder is shown, got 2"
    assert "does not exist" in refused(str(tmp_path / "none"))


def test_a_new_run_does_not_show_an_old_record(tmp_path):
    (tmp_path / "events.jsonl").write_text("old")
    assert "is not empty" in refused("--run", "--out", str(tmp_path))


def test_a_port_in_use_is_seen_before_the_run(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        out = str(tmp_path / "new")
        assert f"port {port}" in refused("--run", "--out", out, "--port", port)
