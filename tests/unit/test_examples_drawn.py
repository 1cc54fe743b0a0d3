"""Examples of property tests do not depend on what else was loaded or tested."""

import importlib.util
import sys

from hypothesis import given, settings
from hypothesis import strategies as st

#: Nothing else in the project stands between 0.7771 and 0.7772.
NUMBER = 0.77712345


def test_numbers_of_loaded_modules_are_not_drawn(tmp_path, monkeypatch):
    path = tmp_path.parent / "numbers" / "loaded.py"
    path.parent.mkdir()
    path.write_text(f"NUMBER = {NUMBER}\n", encoding="utf-8")
    spec = importlib.util.spec_from_file_location("loaded", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setitem(sys.modules, "loaded", module)
    drawn = []

    @settings(max_examples=400, database=None)
    @given(st.floats(0.7771, 0.7772))
    def look(number):
        drawn.append(number)

    look()
    assert len(set(drawn)) > 100
    assert NUMBER not in drawn
