"""``--json`` of commands whose result is something else than a table: files, addresses, scripts."""

import json
import stat
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from backends.commands.lab import command as lab
from backends.commands.squidasm import command as squidasm
from backends.supervisor.keys import load_key
from controller.commands.dashboard import command as dashboard
from controller.commands.export import command as export
from controller.commands.init import command as init
from controller.setting import Setting
from quantum.errors import InputError
from quantum.output import write_json
from quantum.record import RecordWriter
from quantum.topology import load_topology, to_json


def run(command: Any, *words: object) -> Result:
    return CliRunner().invoke(command, [str(word) for word in words], catch_exceptions=False)


def test_init_says_what_it_wrote_and_every_default(tmp_path: Path) -> None:
    target = tmp_path / "own.toml"
    said = json.loads(run(init, target, "--json", "-").stdout)
    assert said["file"] == str(target)
    assert target.is_file()
    assert said["defaults"]["backend"] == Setting().backend
    with pytest.raises(InputError, match="not for both"):
        run(init, "-", "--json", "-")


def test_export_says_which_files_it_wrote(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    header = {"dpem": "0", "horizon": 9, "slots": 5, "warmup_slots": 1,
              "setting": {"topology": "line-3"}}  # fmt: skip
    with RecordWriter(folder, header) as writer:
        writer.write_file("network.json", to_json(load_topology("line-3", seed=0)))
        writer.close()
    out = tmp_path / "tables"
    result = run(export, folder, "--format", "csv", "--out", out, "--json", "-")
    said = json.loads(result.stdout)
    assert said["out"] == str(out)
    assert said["files"] == {path.name: path.stat().st_size for path in out.iterdir()}
    assert "pairs.csv" in said["files"]
    schema = tmp_path / "schema.json"
    said = json.loads(run(export, "--schema", "--out", schema, "--json", "-").stdout)
    assert said["files"] == {"schema.json": schema.stat().st_size}
    with pytest.raises(InputError, match="give --out"):
        run(export, folder, "--format", "json", "--out", "-", "--json", "-")


def test_lab_key_says_the_public_half_only(tmp_path: Path) -> None:
    file = tmp_path / "own.key"
    result = run(lab, "key", file, "--name", "ada", "--role", "operate", "--json", "-")
    said = json.loads(result.stdout)
    pair = load_key(file)
    assert said == {"file": str(file), "name": "ada", "role": "operate", "public": pair.public}
    assert pair.secret not in result.stdout


@pytest.mark.parametrize(
    ("script", "code", "error"),
    [
        ("print('from the script')", 0, ""),
        ("import sys; sys.exit(3)", 3, ""),
        ("raise SystemExit", 0, ""),
        ("1 / 0", 1, "ZeroDivisionError: division by zero"),
    ],
)
def test_squidasm_says_how_a_script_ended(
    tmp_path: Path, script: str, code: int, error: str
) -> None:
    file, out = tmp_path / "script.py", tmp_path / "out.json"
    file.write_text(script + "\n")
    result = run(
        squidasm, "--engine", "numpy", "--seed", "3", "--json", out, file, "--its-own", "x"
    )
    assert result.exit_code == code
    assert ("from the script" in result.stdout) == ("print" in script)
    said = json.loads(out.read_text())
    assert (said["exit_code"], said["error"]) == (code, error)
    assert (said["arguments"], said["seed"]) == (["--its-own", "x"], 3)
    with pytest.raises(InputError, match="standard output is the script's"):
        run(squidasm, "--json", "-", file)


def test_a_secret_is_for_its_owner_only(tmp_path: Path) -> None:
    for secret, mode in ((True, 0o600), (False, 0o644)):
        write_json({"a": 1}, str(tmp_path / "out.json"), secret=secret)
        assert stat.S_IMODE((tmp_path / "out.json").stat().st_mode) == mode


def test_a_page_that_nobody_could_find_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--quiet hides where the page is: add --json FILE"):
        run(dashboard, tmp_path, "--quiet")
