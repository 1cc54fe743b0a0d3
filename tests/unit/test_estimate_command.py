"""``dpem estimate``: keys, agreement with the functions behind it, one line for bad input."""

import math

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from quantum import bell, ghz
from quantum.commands.estimate import command, estimate_all, read_counts
from quantum.counts import Counts, Tally
from quantum.errors import InputError
from quantum.estimate import estimate, estimate_passes
from quantum.estimation.spam import Bit, Readout, correct

COUNTS = {
    "xx": {"pass": 320, "fail": 13},
    "yy": {"pass": 318, "fail": 16},
    "zz": {"pass": 321, "fail": 12},
}
TALLIES = Counts(Tally(320, 13), Tally(318, 16), Tally(321, 12))
CALIBRATED = {"calibration": {"pass": 990, "fail": 10}}


def invoke(file, *options):
    text = file if isinstance(file, str) else msgspec.json.encode(file).decode()
    return CliRunner().invoke(command, ["-", *options], input=text)


def result(file, *options):
    done = invoke(file, "--json", "-", *options)
    assert done.exit_code == 0, done.exception
    return msgspec.json.decode(done.output)


def test_all_keys():
    got = result({"counts": COUNTS})
    assert set(got) == {
        "counts",
        "shots",
        "confidence",
        "bases",
        "fidelity",
        "corrected",
        "correlators",
        "populations",
        "consistent",
        "dominant_error",
        "qber",
        "key_fractions",
        "largest_chsh",
    }
    assert got["counts"] == COUNTS
    assert got["bases"] == "random"
    assert (got["shots"], got["confidence"], got["corrected"]) == (1000, 0.95, None)
    assert set(got["correlators"]) == set(got["qber"]) == set(bell.BASES)
    assert set(got["populations"]) == set(bell.BELL_STATES)
    assert set(got["key_fractions"]) == {"bb84", "six_state", "device_independent"}
    assert set(got["key_fractions"]["bb84"]) == {"low", "best", "high", "raw"}
    assert set(got["dominant_error"]) == {"state", "error", "certain"}
    assert msgspec.convert(got["fidelity"], type(estimate(TALLIES))) == estimate(TALLIES)


def test_numbers_of_a_werner_state_agree_with_closed_forms():
    fidelity, shots = 0.94, 10**9
    passed = round(shots * (1 + 2 * fidelity) / 3)
    got = estimate_all(Counts(*[Tally(passed, shots - passed)] * 3))
    error = 2 * (1 - fidelity) / 3
    c = 1 - 2 * error
    h = -error * math.log2(error) - (1 - error) * math.log2(1 - error)
    rest = (1 - fidelity) / 3
    entropy = -fidelity * math.log2(fidelity) - 3 * rest * math.log2(rest)
    keys = got["key_fractions"]
    assert got["fidelity"].best == pytest.approx(fidelity)
    assert got["qber"]["zz"].best == pytest.approx(error)
    assert keys["bb84"].best == pytest.approx(1 - 2 * h)
    assert keys["six_state"].best == pytest.approx(1 - entropy)
    assert got["largest_chsh"].best == pytest.approx(2 * math.sqrt(2) * c)
    assert [x.best for x in got["populations"].values()] == pytest.approx(
        bell.werner(fidelity).tolist()
    )
    assert all(x.high - x.low < 2e-4 for x in got["populations"].values())


@pytest.mark.parametrize(
    ("readout", "same"),
    [
        ({"left": {"error": 0.01}, "right": CALIBRATED}, Readout(Bit(0.01), Bit(Tally(990, 10)))),
        ({"left": {"error": 0.01}}, Readout(Bit(0.01))),
        (
            {"right": {"zero_to_one": {"error": 0.02}, "one_to_zero": CALIBRATED}},
            Readout(right=Bit(0.02, Tally(990, 10))),
        ),
        (
            {"xx": {"left": {"error": 0.01}}, "yy": {}, "zz": {"right": CALIBRATED}},
            {"xx": Readout(Bit(0.01)), "yy": Readout(), "zz": Readout(right=Bit(Tally(990, 10)))},
        ),
    ],
)
def test_readout_blocks(readout, same):
    got = result({"counts": COUNTS, "readout": readout, "confidence": 0.9})
    expected = correct(TALLIES, same, confidence=0.9).corrected
    assert got["corrected"] == msgspec.to_builtins(expected)
    assert got["fidelity"]["confidence"] == 0.9


def test_confidence_of_the_option_wins():
    got = result({"counts": COUNTS, "confidence": 0.9}, "--confidence", "0.99")
    assert got["confidence"] == got["fidelity"]["confidence"] == 0.99
    assert got["fidelity"]["low"] < result({"counts": COUNTS})["fidelity"]["low"]


def test_the_output_of_execute_is_read(tmp_path):
    executed = {"backend": "analytic", "counts": COUNTS, "seed": 0, "exact": None, "estimate": {}}
    assert result(executed) == result({"counts": COUNTS})
    assert result(result({"counts": COUNTS}) | {"backend": "x"})["counts"] == COUNTS
    file = tmp_path / "counts.json"
    file.write_bytes(msgspec.json.encode(executed))
    done = CliRunner().invoke(command, [str(file), "--json", str(tmp_path / "out.json")])
    assert done.exit_code == 0
    assert msgspec.json.decode((tmp_path / "out.json").read_bytes())["shots"] == 1000


def test_the_table_names_what_it_shows():
    done = invoke({"counts": COUNTS, "readout": {"left": {"error": 0.01}}})
    assert done.exit_code == 0
    for name in ("fidelity", "readout corrected", "population psi_minus", "QBER zz", "CHSH"):
        assert name in done.output
    assert "Most frequent error: phase flip (phi_minus)" in done.output
    never = {basis: {"pass": 0, "fail": 500} for basis in bell.BASES}
    assert "No state fits" in invoke({"counts": never}).output
    always = {basis: {"pass": 50, "fail": 0} for basis in bell.BASES}
    assert "No error was seen" in invoke({"counts": always}).output


def test_without_tests_everything_is_possible():
    got = result({"counts": {}})
    assert got["shots"] == 0
    assert (got["fidelity"]["low"], got["fidelity"]["high"]) == (0.0, 1.0)


def test_nothing_is_said_of_errors_that_nobody_saw():
    done = invoke({"counts": {}})
    assert "No test was made" in done.output
    assert "-0.00000" not in done.output
    assert result({"counts": {}})["dominant_error"] is None
    assert result({"counts": {"xx": {"pass": 8, "fail": 0}}})["dominant_error"] is None


UNEVEN = {
    "xx": {"pass": 9990, "fail": 10},
    "yy": {"pass": 10, "fail": 10},
    "zz": {"pass": 10, "fail": 10},
}


def test_uneven_bases_count_each_by_itself():
    got = result({"counts": UNEVEN})
    assert got["bases"] == "uneven"
    inside = {end: got["fidelity"][end] for end in ("low", "best", "high")}
    assert inside == got["populations"]["phi_plus"]
    assert got["fidelity"]["high"] < 0.77
    done = invoke({"counts": UNEVEN, "readout": {"left": {"error": 0.01}}})
    assert "uneven" in done.output and "not drawn with equal chances" in done.output
    assert "uneven" not in invoke({"counts": COUNTS}).output
    fixed = result({"counts": UNEVEN, "readout": {"left": {"error": 0.01}}})["corrected"]
    assert fixed["low"] < inside["low"] and inside["high"] < fixed["high"] < 0.78
    alone = result({"counts": {"xx": {"pass": 98, "fail": 2}}})["fidelity"]
    assert alone["low"] == 0.0 and 0.99 < alone["high"] < 1.0


def test_counts_of_ghz_states_give_their_fidelity():
    tests = {label: {"pass": 95, "fail": 5} for label in ghz.labels(3)}
    got = result({"counts": tests})
    assert set(got) == {"counts", "qubits", "shots", "confidence", "bases", "fidelity"}
    assert (got["qubits"], got["shots"], got["bases"]) == (3, 700, "random")
    expected = estimate_passes(665, 700, qubits=3)
    assert msgspec.convert(got["fidelity"], type(expected)) == expected
    assert "0.91250" in invoke({"counts": tests}).output
    some = result({"counts": {label: tests[label] for label in ghz.labels(3)[:4]}})
    assert some["bases"] == "uneven" and some["fidelity"]["low"] < 0.8
    nothing = result({"counts": {"zzi": None}})
    assert (nothing["fidelity"]["low"], nothing["fidelity"]["high"]) == (0.0, 1.0)


def one(**changes):
    return {"counts": COUNTS, **changes}


def with_left(block):
    return one(readout={"left": block})


BAD = [
    ({}, "required field `counts`"),
    ({"counts": None}, "counts: "),
    ({"counts": {"xx": {"pass": -1, "fail": 0}}}, r"counts\.xx\.pass: "),
    ({"counts": {"xx": {"pass": 1.5, "fail": 0}}}, r"counts\.xx\.pass: "),
    ({"counts": {"zz": {"pass": 1, "fail": 10**13}}}, r"counts\.zz\.fail: "),
    ({"counts": {"zz": {"pass": 1}}}, r"counts\.zz: .*`fail`"),
    ({"counts": {"xxq": {"pass": 1, "fail": 1}}}, r"counts: .*`xxq`"),
    ({"counts": {"": {"pass": 1, "fail": 1}}}, "counts: .*``"),
    ({"counts": COUNTS | {"zzi": {"pass": 1, "fail": 1}}}, "counts: .*`zzi`"),
    ({"counts": {"zzi": {"pass": 1, "fail": 1}, "zziz": None}}, "counts: .*`zzi`"),
    ({"counts": {"zzi": None}, "readout": {"left": {"error": 0.1}}}, "readout: .*pairs only"),
    ({"counts": {"xx": {"pass": 1, "fail": 1, "lost": 1}}}, r"counts\.xx: .*`lost`"),
    (one(readuot={}), "'readuot' is unknown"),
    (one(confidence=1.0), "confidence must be"),
    (one(confidence="high"), "confidence: "),
    (with_left({}), r"readout\.left must have either"),
    (with_left({"error": 0.1} | CALIBRATED), r"readout\.left must have either"),
    (with_left({"error": -0.1}), r"readout\.left\.error: "),
    (with_left({"error": 0.5}), r"readout\.left: the readout error must be < 0.5"),
    (with_left({"zero_to_one": {"error": 0.1}}), r"readout\.left must have both"),
    (with_left({"error": 0.1, "zero_to_one": {"error": 0.1}}), r"readout\.left must have one"),
    (
        with_left({"zero_to_one": {}, "one_to_zero": {"error": 0.1}}),
        r"readout\.left\.zero_to_one must have",
    ),
    (with_left({"calibration": {"pass": 1}}), r"readout\.left\.calibration: "),
    (one(readout={"xx": {}}), r"readout must have left and right, or all"),
    (one(readout={"middle": {}}), r"readout: .*`middle`"),
    (
        one(readout={"xx": {"left": {"error": 0.6}}, "yy": {}, "zz": {}}),
        r"readout\.xx\.left: the readout error",
    ),
    ("[]", "the file of counts: "),
    ("null", "the file of counts: "),
    ("", "not valid JSON"),
    ('{"counts": {}, "confidence": NaN}', "not valid JSON"),
    ('{"counts": {"xx": {"pass": 1e999, "fail": 1}}}', "counts|out of range"),
]


@pytest.mark.parametrize(("file", "message"), BAD)
def test_bad_input_is_one_line_that_names_the_field(file, message):
    done = invoke(file)
    assert isinstance(done.exception, InputError), done.output
    assert "\n" not in str(done.exception)
    with pytest.raises(InputError, match=message):
        raise done.exception


@given(st.binary(max_size=60))
def test_garbage_never_crashes(data):
    with pytest.raises(InputError):
        read_counts(data)


def test_deep_nesting_and_missing_files_never_crash():
    with pytest.raises(InputError, match="counts"):
        read_counts(b'{"counts": ' + b"[" * 100_000)
    assert "no-such.json" in str(CliRunner().invoke(command, ["no-such.json"]).exception)


@given(st.lists(st.integers(0, 10**12), min_size=6, max_size=6))
def test_the_largest_counts_are_fine(numbers):
    with np.errstate(all="raise"):
        got = estimate_all(Counts.from_array(np.array(numbers).reshape(3, 2)))
    best = got["fidelity"]
    assert 0.0 <= best.low <= best.best <= best.high <= 1.0
    assert all(x.low <= x.best <= x.high for x in got["populations"].values())
