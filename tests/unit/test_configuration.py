"""The configuration file explains every key, says the defaults, and helps with slips."""

import tomllib
from pathlib import Path

import click
import msgspec
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from controller.commands.init import command as init
from controller.commands.run import command as run
from controller.configuration import (
    configuration_text,
    keys,
    read_configuration,
    setting_of_values,
)
from controller.setting import RANGES, Setting
from quantum.errors import InputError
from quantum.reading import told


def test_every_key_is_explained_and_shown_with_its_default() -> None:
    names = [field.name for field in msgspec.structs.fields(Setting)]
    assert [key.name for key in keys()] == names
    for key in keys():
        assert len(key.meaning) > 10, f"{key.name} has neither an option with a help nor a Meta"
    text = configuration_text()
    assert tomllib.loads(text) == {}, "as it is written it changes nothing"
    assert max(map(len, text.splitlines())) <= 100


def test_every_line_can_be_taken_into_use() -> None:
    lines = [line[2:] for line in configuration_text().splitlines()]
    names = {field.name for field in msgspec.structs.fields(Setting)}
    used = [line for line in lines if line.partition(" = ")[0] in names]
    assert len(used) == len(names)
    for line in used:
        assert isinstance(setting_of_values(tomllib.loads(line)), Setting), line
    defaults = {key.name: key.default for key in keys() if key.default is not None}
    read = msgspec.structs.asdict(setting_of_values(tomllib.loads("\n".join(used))))
    assert all(read[name] == value for name, value in defaults.items())


def test_options_of_a_run_are_keys_of_the_file() -> None:
    """What can be asked on the command line can be asked in the file, and means the same."""
    beside = {"config_path", "out", "quiet", "json_path", "help"}
    # How a run is watched is no part of what it is.
    beside |= {"log", "log_level", "log_file", "pace"}
    asked = {option.name for option in run.params if isinstance(option, click.Option)} - beside
    named = {key.name for key in keys()}
    assert {name for name in asked if name and name.removeprefix("no_") not in named} == set()


def test_ranges_are_told_and_held() -> None:
    for name, (low, high) in RANGES.items():
        assert f"from {low:g} to {high:g}" in next(k.kind for k in keys() if k.name == name)
        for value in (low - 1, high * 2):
            with pytest.raises(InputError, match=rf"{name} must be between {low:g} and"):
                msgspec.structs.replace(Setting(), **{name: value}).check()
        for value in (low, high):
            msgspec.structs.replace(Setting(), **{name: value}).check()


def test_init_writes_a_file_once(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    assert CliRunner().invoke(init, [str(path)]).exit_code == 0
    assert path.read_text() == configuration_text()
    again = CliRunner().invoke(init, [str(path)])
    assert isinstance(again.exception, InputError) and "--force" in str(again.exception)
    path.write_text("mine")
    assert CliRunner().invoke(init, [str(path), "--force"]).exit_code == 0
    assert path.read_text() == configuration_text()
    folder = CliRunner().invoke(init, [str(tmp_path), "--force"])
    assert isinstance(folder.exception, InputError)
    assert CliRunner().invoke(init, ["-"]).output == configuration_text()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "second = 3.0",
            r"unknown field `second`; did you mean seconds, .*allowed are preset, topology",
        ),
        ("topolgy = 'mesh'", "did you mean topology"),
        ("seconds = 'long'", r"Expected `float`, got `str` - at `\$\.seconds`"),
        ("seconds = -1.0", "seconds must be between 0.001 and 1e"),
        ("agents = 0", "agents must be between 1 and 64"),
    ],
)
def test_slips_are_one_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "slip.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        setting_of_values(read_configuration(str(path)), str(path))
    assert "\n" not in str(caught.value)
    done = CliRunner().invoke(run, ["--config", str(path)])
    assert isinstance(done.exception, InputError)


@given(st.binary(max_size=40))
def test_garbage_is_an_input_error_or_a_setting(data: bytes) -> None:
    import tempfile

    with tempfile.NamedTemporaryFile(suffix=".toml") as file:
        file.write(data)
        file.flush()
        said = ""
        try:
            setting_of_values(read_configuration(file.name), file.name)
        except InputError as wrong:
            said = str(wrong)
        assert "\n" not in said


def test_unknown_keys_deep_inside_are_told_with_what_is_allowed() -> None:
    class Inner(msgspec.Struct, forbid_unknown_fields=True, rename={"b": "bee"}):
        a: int = 0
        b: int = 0

    class Outer(msgspec.Struct, forbid_unknown_fields=True):
        many: list[Inner] | None = None
        named: dict[str, Inner] = {}

    cases = {
        '{"many": [{"a": 1}, {"beee": 2}]}': "did you mean bee; allowed are a, bee",
        '{"named": {"x": {"aa": 2}}}': "did you mean a; allowed are a, bee",
        '{"mny": []}': "did you mean many; allowed are many, named",
    }
    for text, message in cases.items():
        with pytest.raises(msgspec.ValidationError) as caught:
            msgspec.json.decode(text, type=Outer)
        assert message in told(caught.value, Outer)
