"""The doctor reads a configuration file as the command does that it is for."""

import json

import pytest
from click.testing import CliRunner

from controller.security.file_checks import check_file
from quantum.commands.doctor import command

SERVICE = 'address = "tcp://127.0.0.1:7411"\n[network]\ntopology = "surfnet"\n'
SITE = '[serve]\naddress = "tcp://127.0.0.1:7411"\n[run]\ntopology = "mesh"\nseconds = 3.0\n'
REGIONS = """[network]
topology = "ring-8"
[regions.east]
address = "tcp://127.0.0.1:7421"
nodes = ["n0", "n1", "n2", "n3"]
[regions.west]
address = "tcp://127.0.0.1:7422"
nodes = ["n4", "n5", "n6", "n7"]
"""


def said(tmp_path, text):
    path = tmp_path / "site.toml"
    path.write_text(text)
    return [(found.status, found.detail, found.advice) for found in check_file(path)]


def test_what_can_be_read_is_said_for_every_command(tmp_path):
    for text, commands in (
        (SERVICE, ["dpem serve"]),
        (SITE, ["dpem serve", "dpem run"]),
        ('topology = "mesh"\n[broker]\nagents = "tcp://127.0.0.1:7501"\n', ["dpem run"]),
        (REGIONS, ["dpem region"]),
    ):
        found = said(tmp_path, text)
        assert [line for _, line, _ in found] == [f"can be read by {name}" for name in commands]
        assert {status for status, _, _ in found} == {"ok"}


@pytest.mark.parametrize(
    ("text", "line", "whose"),
    [
        (SERVICE + '[worker]\naddress = "tcp://127.0.0.1:7412"\n', "worker", "dpem serve"),
        (SERVICE + "load_hz = -1.0\n", "load_hz must be > 0", "dpem serve"),
        (SERVICE.replace("surfnet", "mehs"), "topology 'mehs'", "dpem serve"),
        (SERVICE + 'allocator = "nobody"\n', "allocator 'nobody'", "dpem serve"),
        (SERVICE + 'demand = "often"\n', "often", "dpem serve"),
        (SITE.replace('"mesh"', '"gone.json"'), "gone.json", "dpem run"),
        (REGIONS.replace("ring-8", "rnig-8"), "rnig-8", "dpem region"),
        (SITE.replace("[run]", "[serve.worker]\n[run]"), "worker", "dpem serve"),
        (SITE.replace("seconds", "secnds"), "secnds", "dpem run"),
        (SITE + "[more]\n", "more", "dpem serve"),
        (REGIONS.replace("topology", "topolgy"), "topolgy", "dpem region"),
    ],
)
def test_what_is_mistyped_is_named(text, line, whose, tmp_path):
    found = [one for one in said(tmp_path, text) if one[0] == "fail"]
    assert found
    _, detail, advice = found[0]
    assert line in detail and "\n" not in detail and advice == f"mend it for {whose}"


def test_a_file_for_others_is_left_to_them(tmp_path):
    for text in ('keys = "keys"\n', 'address = "tcp://h:1"\nrole = "observe"\n', "no = toml = 1"):
        assert said(tmp_path, text) == []


def test_the_command_says_it(tmp_path, monkeypatch):
    monkeypatch.setattr("quantum.commands.doctor.CHECKS", ())
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    path = tmp_path / "site.toml"
    path.write_text('[serve]\nkeys = "keys"\n[serve.worker]\naddress = "tcp://127.0.0.1:1"\n')
    result = CliRunner().invoke(command, ["--config", str(path), "--json", "-"])
    assert result.exit_code == 1
    (first, *_) = json.loads(result.stdout)["checks"]
    assert first["name"] == "file site.toml" and "worker" in first["detail"]
