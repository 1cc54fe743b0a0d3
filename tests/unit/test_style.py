"""House rules that no linter knows."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("controller", "backends", "quantum", "firmware_stubs")
CODE = sorted(p for package in PACKAGES for p in (ROOT / package).rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
LONGEST = 350
#: Tests of one room may be told in one file.
LONGEST_TEST = 500

# Modules whose loaders run what they read.
UNSAFE = frozenset({"pickle", "cPickle", "dill", "cloudpickle", "shelve", "marshal", "joblib"})

# Methods of pyzmq and pandas that pickle.
UNSAFE_METHODS = frozenset(
    {"recv_pyobj", "send_pyobj", "recv_serialized", "read_pickle", "to_pickle"}
)


def short(path: Path) -> str:
    return str(path.relative_to(ROOT))


def imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module.partition(".")[0]


def calls(tree: ast.AST) -> Iterator[str]:
    """Name the plain functions and the ``object.method`` calls of a file."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            if isinstance(node.func, ast.Name):
                yield node.func.id
            elif isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Name):
                yield f"{node.func.value.id}.{node.func.attr}"


def methods(tree: ast.AST) -> Iterator[str]:
    """Name the methods that a file calls, whatever they belong to."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            yield node.func.attr


def switched_on(tree: ast.AST) -> Iterator[str]:
    """Name the keyword arguments that a file passes with anything but a plain False."""
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg:
            off = isinstance(node.value, ast.Constant) and node.value.value is False
            if not off:
                yield node.arg


def may_print(path: Path) -> bool:
    return "commands" in path.relative_to(ROOT).with_suffix("").parts


def findings(source: str, *, printing: bool) -> list[str]:
    """Say what breaks the rules of our packages in a file."""
    tree = ast.parse(source)
    found = [f"imports {name}" for name in imports(tree) if name in UNSAFE]
    found += [f"calls {name}" for name in calls(tree) if name in ("eval", "exec", "compile")]
    found += [f"calls {name}" for name in methods(tree) if name in UNSAFE_METHODS]
    found += ["allows pickles" for name in switched_on(tree) if name == "allow_pickle"]
    if not printing:
        found += ["prints" for name in calls(tree) if name == "print"]
    found += ["loads pickles" for name in calls(tree) if name == "torch.load"]
    if len(source.splitlines()) > LONGEST:
        found.append(f"is longer than {LONGEST} lines")
    return found


@pytest.mark.parametrize("path", CODE, ids=short)
def test_packages_keep_the_rules(path: Path) -> None:
    assert findings(path.read_text(), printing=may_print(path)) == []


@pytest.mark.parametrize("path", TESTS, ids=short)
def test_tests_are_short_files_too(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= LONGEST_TEST


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import pickle", "imports pickle"),
        ("def f():\n    from pickle import loads", "imports pickle"),
        ("eval('1')", "calls eval"),
        ("exec('1')", "calls exec"),
        ("if x:\n    print(1)", "prints"),
        ("torch.load('x')", "loads pickles"),
        ("a.b.recv_pyobj()", "calls recv_pyobj"),
        ("np.load('x', allow_pickle=True)", "allows pickles"),
        ("np.load('x', allow_pickle=on)", "allows pickles"),
        ("\n" * 351, "is longer than 350 lines"),
    ],
)
def test_the_rules_can_be_broken(source: str, found: str) -> None:
    assert findings(source, printing=False) == [found]


def test_what_is_allowed_is_not_found() -> None:
    fine = "import re\nre.compile('a')\nfrom . import pickle_free\nmodel.eval()\nconsole.print(1)\n"
    fine += "np.load('x', allow_pickle=False)\n"
    assert findings(fine, printing=False) == []
    assert findings("print(1)", printing=True) == []


def test_there_is_code_to_look_at() -> None:
    assert len(CODE) > 20
    assert {path.relative_to(ROOT).parts[0] for path in CODE} == set(PACKAGES)


def test_test_folders_are_no_packages() -> None:
    # With an __init__.py in tests/quantum, 'import quantum' would find the tests.
    assert list((ROOT / "tests").rglob("__init__.py")) == []


def test_test_files_have_unique_names() -> None:
    names = [path.name for path in TESTS if path.name != "conftest.py"]
    assert len(names) == len(set(names))
