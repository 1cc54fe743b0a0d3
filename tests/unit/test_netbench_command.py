"""``dpem netbench``: its keys, its agreement with the exact values, one line for bad input."""

import msgspec
import pytest
from click.testing import CliRunner

from backends.commands.netbench import command
from quantum.errors import InputError

LINK = {"fidelity": 0.95}
PATH = {
    "links": [
        LINK,
        {
            "bell_diagonal": {
                "phi_plus": 0.9,
                "phi_minus": 0.06,
                "psi_plus": 0.03,
                "psi_minus": 0.01,
            }
        },
    ],
    "memory": {"t1_s": 100.0, "t2_s": 20.0},
    "wait_s": 0.1,
    "swap": {"success": 0.5, "gate_depolarizing": 0.01, "readout_error": 0.005},
}


def invoke(program, *options):
    text = program if isinstance(program, str) else msgspec.json.encode(program).decode()
    return CliRunner().invoke(command, ["-", *options], input=text)


def result(program, *options):
    done = invoke(program, "--json", "-", *options)
    assert done.exit_code == 0, done.output
    return msgspec.json.decode(done.output)


def test_a_werner_link_is_found_in_its_interval():
    got = result({"links": [LINK]})
    assert set(got) == {
        "backend",
        "source",
        "seed",
        "links",
        "sequences",
        "shots",
        "estimate",
        "exact",
        "survival",
        "one_passage_uncorrected",
    }
    assert got["exact"]["f"] == pytest.approx(2.8 / 3.0, abs=1e-14)
    assert got["exact"]["link_fidelity"] == pytest.approx(0.95, abs=1e-14)
    assert got["exact"]["pair_fidelity"] == [pytest.approx(0.95, abs=1e-14)]
    link = got["estimate"]["link_fidelity"]
    assert link["low"] < 0.95 < link["high"]
    assert link["high"] - link["low"] < 0.01
    assert [row["bounces"] for row in got["survival"]] == [0, 1, 2, 4, 8, 16, 32]
    assert all(abs(row["mean"] - row["exact"]) < 0.025 for row in got["survival"])


def test_a_path_is_the_product_of_its_links():
    got = result(PATH)
    one, two = (result({**PATH, "links": [link]})["exact"]["f"] for link in PATH["links"])
    assert got["links"] == 2
    assert got["exact"]["f"] == pytest.approx(one * two, abs=1e-14)
    assert got["exact"]["bounce_success_probability"] == 0.5**4
    f = got["estimate"]["f"]
    # Five standard errors: the interval has two on each side.
    assert abs(f["best"] - got["exact"]["f"]) < 1.25 * (f["high"] - f["low"])


def test_an_ideal_link_has_f_one():
    got = result({"links": [{"fidelity": 1.0}]})
    assert got["exact"]["f"] == 1.0
    assert got["estimate"]["f"]["best"] == pytest.approx(1.0, abs=1e-9)
    assert all(row["mean"] == 1.0 for row in got["survival"])


def test_aer_agrees_with_the_analytic_way_count_by_count():
    options = (
        "--lengths",
        "0,1,3,6",
        "--sequences",
        "20",
        "--readout-error",
        "0.03",
        "--seed",
        "4",
    )
    mine, aers = result(PATH, *options), result(PATH, "--backend", "aer", *options)
    assert (mine.pop("backend"), aers.pop("backend")) == ("analytic", "aer")
    exact, other = mine.pop("exact"), aers.pop("exact")
    assert exact["f"] == pytest.approx(other["f"], abs=1e-12)
    for row, same in zip(mine.pop("survival"), aers.pop("survival"), strict=True):
        assert row["mean"] == same["mean"]
    assert mine == aers


def test_final_readout_errors_move_the_naive_number_only():
    plain = result({"links": [LINK]}, "--sequences", "300")
    wrong = result({"links": [LINK]}, "--sequences", "300", "--readout-error", "0.05")
    for got in (plain, wrong):
        link = got["estimate"]["link_fidelity"]
        assert link["low"] < 0.95 < link["high"]
    moved = plain["one_passage_uncorrected"] - wrong["one_passage_uncorrected"]
    assert 0.035 < moved < 0.06
    assert wrong["estimate"]["amplitude"] == pytest.approx(0.9, abs=0.01)
    assert wrong["exact"]["amplitude"] == pytest.approx(0.9, abs=1e-15)
    prepared = result({"links": [LINK]}, "--preparation-error", "0.1")
    assert prepared["exact"]["amplitude"] == pytest.approx(0.8, abs=1e-15)


def test_the_same_seed_gives_the_same_bytes():
    first, again, other = (
        invoke({"links": [LINK]}, "--json", "-", "--seed", seed).output for seed in "112"
    )
    assert first == again != other


def test_the_table_shows_estimates_beside_exact_values():
    shown = invoke(PATH, "--lengths", "0,1,2").output
    for words in ("a path of 2 links on analytic", "decay f", "95% interval", "bounces"):
        assert words in shown


@pytest.mark.parametrize(
    ("program", "options", "message"),
    [
        ({"links": [LINK]}, ("--lengths", "1,x"), "lengths must be whole numbers"),
        ({"links": [LINK]}, ("--lengths", "3"), "lengths must be at least two"),
        ({"links": [LINK]}, ("--lengths", "3,3"), "lengths must differ"),
        (
            {"links": [LINK]},
            ("--lengths", "0,10000", "--sequences", "2000"),
            "lengths must come to",
        ),
        ({"links": [LINK]}, ("--sequences", "1"), "sequences must be >= 2"),
        ({"links": [LINK]}, ("--shots", "0"), "shots >= 1"),
        ({"links": [LINK]}, ("--readout-error", "0.5"), "zero_as_one must be"),
        ({"links": [LINK]}, ("--backend", "lab"), "backend must be analytic or aer"),
        ({"links": [{"fidelity": 0.9, "family": "photonic"}]}, (), "UNSUPP.*photonic"),
        ({"links": [LINK, LINK], "join": "ghz"}, (), "register cannot be bounced"),
        (
            {"links": [{**LINK, "success_probability": 0.1, "attempt_s": 1.0}], "clock": {}},
            (),
            "clock",
        ),
        ({"links": [LINK], "swap": {"success": 0.0}}, (), "swap.success must be > 0"),
        ({"programs": [{"links": [LINK]}]}, (), "one program"),
        ("[", (), "not valid JSON"),
    ],
)
def test_bad_input_is_one_line_that_names_the_field(program, options, message):
    done = invoke(program, *options)
    assert isinstance(done.exception, InputError), done.output
    assert "\n" not in str(done.exception)
    with pytest.raises(InputError, match=message):
        raise done.exception


def test_a_missing_file_is_named():
    done = CliRunner().invoke(command, ["no-such-file.json"])
    assert "no-such-file.json" in str(done.exception)
