"""``dpem show``: drawing, facts as JSON, OpenQASM, pictures, one line for bad input."""

import importlib.util

import msgspec
import pytest
from click.testing import CliRunner

from backends.commands.show import command
from quantum.errors import InputError

LINK = {"fidelity": 0.95}
CHAIN = {
    "links": [LINK, {"fidelity": 0.97}],
    "memory": {"t1_s": 3600, "t2_s": 60},
    "wait_s": 0.5,
    "swap": {"success": 0.9, "gate_depolarizing": 0.01, "readout_error": 0.002},
}
PERFECT = {"links": [{"fidelity": 1.0}, {"fidelity": 1.0}]}


def invoke(program, *options):
    text = program if isinstance(program, str) else msgspec.json.encode(program).decode()
    return CliRunner().invoke(command, ["-", *options], input=text)


def test_a_chain_is_drawn_with_its_noise_and_what_is_left_out():
    done = invoke(CHAIN, "--basis", "yy")
    assert done.exit_code == 0, done.output
    for words in ("F=0.95", "F=0.97", "depol 0.01", "readout 0.002", "T1=3600 s T2=60 s, 0.5 s"):
        assert words in done.output
    assert "swap0: 2/" in done.output
    assert "yy passes where the bits of 'test' hold an odd number of ones" in done.output
    assert "not drawn: a swap or merge succeeds with chance 0.9" in done.output
    assert max(map(len, done.output.splitlines())) <= 165


def test_the_facts_are_json():
    done = invoke(CHAIN, "--json", "-")
    facts = msgspec.json.decode(done.output)
    assert facts["qubits"] == 4
    assert facts["ops"]["cx"] == 3
    assert facts["ops"]["if_else"] == 2
    assert facts["noise"]["readout 0.002"] == 2
    assert facts["registers"] == {"swap0": 2, "test": 2}
    assert (facts["basis"], facts["sign"]) == ("zz", 1)
    assert facts["depth"] > 8


def test_heralds_are_explained():
    done = invoke({"links": [LINK], "distill": {"protocol": "epl"}})
    assert "herald0 accepts a shot where both bits read 1" in done.output
    done = invoke({"links": [LINK], "distill": {"protocol": "bbpssw"}})
    assert "herald0 accepts a shot where its bits are equal" in done.output


def test_a_register_is_tested_in_its_own_stabilizers():
    ghz = {"links": [LINK, LINK], "join": "ghz"}
    facts = msgspec.json.decode(invoke(ghz, "--json", "-", "--basis", "yyx").output)
    assert (facts["basis"], facts["sign"]) == ("yyx", -1)
    assert facts["registers"] == {"merge0": 1, "test": 3}


def test_perfect_circuits_are_openqasm():
    done = invoke(PERFECT, "--qasm")
    assert done.exit_code == 0, done.output
    assert done.output.startswith("OPENQASM 3")
    assert "if (swap0[1])" in done.output
    done = invoke(CHAIN, "--qasm")
    with pytest.raises(InputError, match=r"qasm has no noise.*F=0\.95"):
        raise done.exception


def test_a_picture_is_written_where_its_packages_are(tmp_path):
    picture = tmp_path / "chain.svg"
    done = invoke(CHAIN, "--mpl", str(picture))
    if importlib.util.find_spec("pylatexenc") and importlib.util.find_spec("matplotlib"):
        assert picture.read_bytes().lstrip().startswith(b"<?xml")
    else:
        with pytest.raises(InputError, match="mpl needs more packages"):
            raise done.exception
        assert not picture.exists()


@pytest.mark.parametrize(
    ("program", "options", "message"),
    [
        ({"links": [LINK]}, ("--basis", "xy"), r"basis must be a stabilizer of 2 qubits"),
        ({"links": [LINK]}, ("--mpl", "chain.txt"), "mpl must name a .png, .svg or .pdf"),
        ({"links": [LINK] * 65}, (), "at most 64 pairs"),
        (
            {"links": [{**LINK, "success_probability": 0.1, "attempt_s": 1.0}], "clock": {}},
            (),
            "clock",
        ),
        ({"programs": [{"links": [LINK]}]}, (), "one program"),
        ({"links": []}, (), "links"),
    ],
)
def test_bad_input_is_one_line_that_names_the_field(program, options, message):
    done = invoke(program, *options)
    assert isinstance(done.exception, InputError), done.output
    assert "\n" not in str(done.exception)
    with pytest.raises(InputError, match=message):
        raise done.exception
