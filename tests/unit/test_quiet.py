"""Every command knows --quiet: errors are said, results are written, and nothing else is."""

import json
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from quantum.cli import dpem, found
from quantum.quiet import with_quiet


def leaves(command, path=()):
    if isinstance(command, click.Group):
        for name in command.list_commands(click.Context(command)):
            yield from leaves(command.get_command(click.Context(command), name), (*path, name))
    else:
        yield path, command


@pytest.mark.parametrize("option", ["--quiet", "--json"])
def test_every_command_has_it_once(option):
    names = {}
    for path, command in leaves(dpem):
        names[path] = [p for p in command.params if option in p.opts]
    assert {path[0] for path in names} == set(found())
    for path, options in names.items():
        assert len(options) == 1, path


def test_it_hides_words_and_keeps_results_and_errors(tmp_path):
    @click.command()
    @click.option("--json", "json_path")
    @click.option("--fail", is_flag=True)
    def speak(json_path, fail):
        click.echo('{"a": 1}' if json_path == "-" else "many words")
        click.echo("a warning", err=True)
        assert not sys.stderr.isatty()
        if fail:
            raise click.UsageError("wrong")

    command = with_quiet(speak)
    assert with_quiet(command) is command
    run = CliRunner().invoke
    assert run(command, []).stdout == "many words\n"
    said = run(command, ["--quiet"])
    assert (said.stdout, said.stderr) == ("", "a warning\n")
    assert json.loads(run(command, ["--quiet", "--json", "-"]).stdout) == {"a": 1}
    failed = run(command, ["--quiet", "--fail"])
    assert failed.exit_code == 2
    assert "wrong" in failed.stderr


@pytest.mark.parametrize(
    ("words", "code", "out", "err"),
    [
        (["presets", "--quiet"], 0, "", ""),
        (["execute", "--quiet", "/nowhere.json"], 2, "", "dpem: cannot read"),
    ],
)
def test_it_holds_for_the_program(words, code, out, err):
    done = subprocess.run(
        [sys.executable, "-c", "from quantum.cli import main; main()", *words],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (code, out)
    assert done.stderr.startswith(err) and done.stderr.count("\n") == bool(err)
