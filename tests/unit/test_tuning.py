"""The tuner: the same search for all, on training networks, resumable, written as TOML."""

import tomllib

import pytest
from click.testing import CliRunner

from controller.commands.tune import command
from controller.tuning import Found, Journal, Trial, descend, toml_of, training_units, trial
from quantum.errors import InputError
from quantum.presets import cells


def hill(many):
    """Best at x = 2 and y = -1, and there they trade off."""
    return [
        -((one.get("x", 0.0) - 2.0) ** 2)
        - (one.get("y", 0.0) + 1.0) ** 2
        - 0.5 * (one.get("x", 0.0) - 2.0) * (one.get("y", 0.0) + 1.0)
        for one in many
    ]


LEVERS = {"x": (0.0, 1.0, 2.0, 3.0), "y": (-2.0, -1.0, 0.0)}


def test_descent_finds_the_top():
    found = descend(LEVERS, hill, budget=100)
    assert found.settings == {"x": 2.0, "y": -1.0}
    assert (found.before, found.after) == (-4.0, 0.0)


@pytest.mark.parametrize("budget", [1, 2, 5, 9])
def test_descent_keeps_its_budget(budget):
    asked = []

    def counts(many):
        asked.extend(many)
        return hill(many)

    found = descend(LEVERS, counts, budget=budget)
    assert len(asked) == found.trials <= budget
    assert found.after == max(hill(asked))


def test_luck_moves_no_lever():
    assert descend({"x": (0.0, 1.0)}, lambda many: [1e-4 * len(one) for one in many], budget=9) == (
        Found({}, 0.0, 0.0, 3)
    )


def test_training_never_meets_evaluation():
    units = training_units(36)
    assert {unit.number for unit in units} == {4, 5, 6, 7}
    assert min(unit.seed for unit in units) >= 100
    assert len({unit.seed for unit in units}) == len(units) == 33
    kinds = [unit.cell.preset for unit in units]
    # The paper preset has nine cells only.
    assert [kinds.count(kind) for kind in ("paper", "metro", "fast")] == [9, 12, 12]
    assert all(unit.cell in cells(unit.cell.preset) for unit in units)


def test_journal_remembers_and_forgets_a_torn_line(tmp_path):
    path = tmp_path / "trials"
    unit = training_units(1)[0]
    key = Journal.key("mean-rate", {"b": 1.0, "a": 2.0}, unit, 30.0)
    assert key == Journal.key("mean-rate", {"a": 2.0, "b": 1.0}, unit, 30.0)
    assert key != Journal.key("mean-rate", {"a": 2.0}, unit, 30.0)
    Journal(path).add(key, Trial(0.5, 1.0))
    with path.open("a") as file:
        file.write('["torn')
    again = Journal(path)
    assert again.known == {key: Trial(0.5, 1.0)}
    again.add("other", Trial(0.25, 2.0))
    assert Journal(path).known == {key: Trial(0.5, 1.0), "other": Trial(0.25, 2.0)}


def test_only_what_was_chosen_is_written():
    units = training_units(2)
    found = {"a": Found({"x": 2.0}, 0.5, 0.6, 9), "b": Found({}, 0.5, 0.5, 9)}
    text = toml_of(found, units, command="tune")
    read = tomllib.loads(text)
    assert read["settings"] == {"a": {"x": 2.0}}
    assert read["search"]["b"]["trials"] == 9 and read["search"]["a"]["after"] == 0.6
    # A later search of one replaces it, and leaves the other.
    later = toml_of({"a": Found({}, 0.5, 0.5, 3)}, units, command="tune", old=text)
    read = tomllib.loads(later)
    assert "settings" not in read
    assert set(read["search"]) == {"a", "b"} and read["search"]["a"]["trials"] == 3


def test_bad_input_is_named():
    with pytest.raises(InputError, match="units must be"):
        training_units(0)
    with pytest.raises(InputError, match="budget must be"):
        descend(LEVERS, hill, budget=0)
    with pytest.raises(InputError, match="on-demand has no levers"):
        trial("on-demand", {}, training_units(1)[0], 1.0)


def test_a_search_is_resumed_and_repeats_itself(tmp_path):
    """Two tiny cells, six trials; then the journal answers all of it."""
    arguments = ["--allocators", "mean-rate", "--units", "2", "--budget", "6", "--seconds", "2"]
    arguments += ["--processes", "1", "--journal", str(tmp_path / "trials")]
    runner = CliRunner()
    texts, sizes = [], []
    for number in range(2):
        out = tmp_path / f"{number}.toml"
        done = runner.invoke(command, [*arguments, "--out", str(out)], catch_exceptions=False)
        assert done.exit_code == 0 and "(6 trials)" in done.output
        texts.append(tomllib.loads(out.read_text()))
        sizes.append((tmp_path / "trials").stat().st_size)
    first, second = texts
    assert first.get("settings") == second.get("settings")
    assert first["search"]["mean-rate"]["after"] == second["search"]["mean-rate"]["after"]
    assert sizes[0] == sizes[1] > 0
