"""What is installed is ours, all of it imports, and the layers hold."""

import importlib
import importlib.util
import json
import pkgutil
import re
import subprocess
import sys
import tomllib
from importlib.metadata import EntryPoint, distribution, entry_points
from pathlib import Path
from urllib.parse import unquote, urlparse

import click
import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("controller", "backends", "quantum", "firmware_stubs")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


#: Modules that need an extra which the Makefile does not install.
APART = {"controller.flower.apps": "flwr", "controller.flower.strategy": "flwr"}


def modules() -> list[str]:
    """Name every module on disk, without importing any."""
    names = []
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            if parts[-1] != "__main__":
                names.append(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    return names


def declared() -> list[EntryPoint]:
    points = [
        EntryPoint(name, value, group)
        for group, table in PROJECT["project"]["entry-points"].items()
        for name, value in table.items()
    ]
    assert points
    return points


def installed_root() -> Path:
    """Where the installed distribution takes its packages from."""
    text = distribution("dpem").read_text("direct_url.json")
    if text is not None and json.loads(text).get("dir_info", {}).get("editable"):
        return Path(unquote(urlparse(json.loads(text)["url"]).path))
    return Path(str(distribution("dpem").locate_file("")))


@pytest.mark.parametrize("name", PACKAGES)
def test_each_name_leads_to_our_distribution(name: str) -> None:
    spec = importlib.util.find_spec(name)
    assert spec is not None
    assert spec.origin is not None
    assert Path(spec.origin).resolve() == (installed_root() / name / "__init__.py").resolve()


@pytest.mark.parametrize("name", PACKAGES)
def test_each_package_is_typed(name: str) -> None:
    assert (ROOT / name / "py.typed").is_file()


def test_the_wheel_holds_exactly_the_four_packages() -> None:
    assert set(PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]) == set(PACKAGES)
    assert set(PROJECT["tool"]["mypy"]["packages"]) == set(PACKAGES)


@pytest.mark.parametrize("name", PACKAGES)
def test_every_folder_is_a_package(name: str) -> None:
    # A folder without __init__.py is importable here and missing from the checks of the layers.
    found = {info.name for info in pkgutil.walk_packages([str(ROOT / name)], f"{name}.")}
    wanted = {m for m in modules() if m.startswith(f"{name}.")}
    assert wanted <= found | {f"{name}.__main__"}


@pytest.mark.parametrize("name", modules())
def test_every_module_imports(name: str) -> None:
    if name in APART:
        pytest.importorskip(APART[name], reason="make test-beyond installs it")
    importlib.import_module(name)


@pytest.mark.parametrize("point", declared(), ids=lambda p: f"{p.group}:{p.name}")
def test_every_entry_point_loads(point: EntryPoint) -> None:
    loaded = point.load()
    if point.group == "dpem.commands":
        assert isinstance(loaded, click.Command)
    elif point.group == "dpem.racks":
        assert loaded.is_file()
    else:
        assert callable(loaded)


def test_what_is_installed_is_what_is_declared() -> None:
    groups = {point.group for point in declared()}
    have = {(p.group, p.name, p.value) for g in groups for p in entry_points(group=g)}
    want = {(p.group, p.name, p.value) for p in declared()}
    assert want <= have, "reinstall: make clean, or pip install -e . --no-deps"


def test_the_layers_hold() -> None:
    tool = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run(
        [str(tool), "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(PROJECT['tool']['importlinter']['contracts'])} kept, 0 broken" in done.stdout


def pins() -> dict[str, str]:
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    return dict(line.split("==") for line in lines if not line.startswith("#"))


def test_the_lock_pins_names_and_versions_only() -> None:
    for line in (ROOT / "requirements.lock").read_text().splitlines():
        assert line.startswith("#") or re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.]*", line), (
            line
        )
    assert pins()["torch"] == "2.13.0"


def test_the_lock_holds_what_the_project_asks_for() -> None:
    project = PROJECT["project"]
    extras = re.search(r"^EXTRAS := (.*)$", (ROOT / "Makefile").read_text(), re.M)
    assert extras is not None
    # hatchling asks for editables only while it builds an editable installation.
    needs = [*project["dependencies"], *PROJECT["build-system"]["requires"], "editables"]
    for extra in extras[1].split(","):
        needs += project["optional-dependencies"][extra]
    for need in needs:
        found = re.match(r"[A-Za-z0-9._-]+", need)
        assert found is not None
        assert re.sub(r"[-_.]+", "-", found[0]).lower() in {
            re.sub(r"[-_.]+", "-", name).lower() for name in pins()
        }, need


def test_continuous_integration_runs_the_documented_command() -> None:
    script = ROOT / ".ci" / "run"
    assert script.stat().st_mode & 0o111
    lines = script.read_text().splitlines()
    assert lines[-1] == "exec make test"
    assert "set -euo pipefail" in lines
    assert "make test" in (ROOT / "README.md").read_text()


@pytest.mark.parametrize(
    "target", ["run", "test", "test-long", "test-beyond", "lint", "clean", "lock"]
)
def test_every_target_can_be_planned(target: str) -> None:
    done = subprocess.run(
        ["make", "--dry-run", target], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
