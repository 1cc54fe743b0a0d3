"""``dpem doctor``: what is installed, reachable and misconfigured, and what to do about it.

It must work where little else does, so it imports nothing heavy: packages are judged by their
metadata, and what can only be known by importing is asked of a child process.
"""

import functools
import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from importlib.metadata import (
    PackageNotFoundError,
    entry_points,
    packages_distributions,
    requires,
    version,
)
from pathlib import Path
from typing import Any, Literal, get_args

import click
import msgspec

from quantum.commands.findings import Check, Endpoint, endpoints_of
from quantum.errors import InputError
from quantum.output import json_option, write_json
from quantum.roles import Role

__all__ = ["CHECKS", "Check", "command", "examine", "satisfies"]

PACKAGES = ("controller", "backends", "quantum", "firmware_stubs")
_ROOT = Path(__file__).resolve().parents[2]
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
_GIB = 1024**3
_PATH = click.Path(path_type=Path)

# Each prints one line, or fails with a traceback whose last line says why.
_PROBE_CURVE = """
import zmq
assert zmq.has("curve"), "libzmq was built without CURVE"
print("libzmq", zmq.zmq_version(), "with CURVE")
"""
_PROBE_LOOPBACK = """
import socket
with socket.socket() as listener:
    listener.bind(("127.0.0.1", 0))
    print("127.0.0.1 can be bound")
"""
_PROBE_AER = """
from qiskit_aer.backends.controller_wrappers import (
    AerCircuit, AerConfig, aer_controller_execute
)
import qiskit_aer
print("qiskit-aer", qiskit_aer.__version__, "with its direct interface")
"""
# The package itself asks netqasm for what it needs of it.
_PROBE_NETQASM = """
from backends.squid.selftest import self_test
print(self_test())
"""
_NETQASM = ">=2.3,<2.4"
_PATENT = (
    "netqasm and SquidASM carry a patent notice (application NL 2029673): free for academic and "
    "non-commercial use, commercial use needs a licence"
)


def examine(endpoints: list[Endpoint] | None = None, file: Path | None = None) -> list[Check]:
    """Run all checks, in the order in which a person would mend them."""
    own = [finding for check in CHECKS for finding in check()]
    read = [] if file is None else [*more_checks("dpem.files", file)]
    return [*own, *read, *more_checks("dpem.checks", endpoints or [])]


def more_checks(group: str, asked: Any) -> Iterator[Check]:
    """Ask what other packages check; one that cannot even be imported is a finding."""
    for point in entry_points(group=group):
        try:
            yield from point.load()(asked)
        except ImportError as wrong:
            yield Check(f"checks of {point.name}", "fail", str(wrong), "pip install -e .")


def check_python() -> Iterator[Check]:
    """Check the interpreter."""
    found = f"{platform.python_implementation()} {platform.python_version()} ({sys.executable})"
    good = sys.version_info >= (3, 11)
    yield Check("python", "ok" if good else "fail", found, "" if good else "use Python >= 3.11")


def check_packages() -> Iterator[Check]:
    """Check what pyproject.toml asks for, the core and each extra on its own line."""
    try:
        needs = requires("dpem") or []
    except PackageNotFoundError:
        yield Check("packages", "fail", "dpem itself is not installed", "pip install -e .")
        return
    groups: dict[str, list[str]] = {"core": []}
    for need in needs:
        found = re.search(r"extra\s*==\s*['\"]([\w-]+)['\"]", need)
        groups.setdefault(found[1] if found else "core", []).append(need.partition(";")[0].strip())
    for group, wanted in groups.items():
        yield _packages(group, wanted)


def _packages(group: str, wanted: list[str]) -> Check:
    present, wrong = [], []
    for need in wanted:
        name, wish = re.fullmatch(r"([\w.-]+)(?:\[.*\])?\s*(.*)", need, re.S).groups()  # type: ignore[union-attr]
        try:
            has = version(name)
        except PackageNotFoundError:
            wrong.append(f"{name} is missing")
            continue
        present.append(f"{name} {has}")
        if not satisfies(has, wish):
            wrong.append(f"{name} is {has}, wanted {wish}")
    title = "packages" if group == "core" else f"extra {group}"
    if not wrong:
        return Check(title, "ok", ", ".join(present))
    target = "." if group == "core" else f".[{group}]"
    status: Literal["warn", "fail"] = "fail" if group == "core" else "warn"
    return Check(title, status, "; ".join(wrong), f"pip install '{target}' in the source folder")


def satisfies(has: str, wish: str) -> bool:
    """Compare release numbers with a requirement's comma-separated bounds.

    >>> satisfies("2.13.0+cpu", "==2.13.0"), satisfies("2.4.6", ">=2.2,<3"), satisfies("3.0", "<3")
    (True, True, False)
    """
    return all(_bound(has, part.strip()) for part in wish.strip("() ").split(",") if part.strip())


def _bound(has: str, part: str) -> bool:
    found = re.fullmatch(r"(==|>=|<=|!=|<|>)\s*(\S+)", part)
    if found is None:
        return True
    mine, other = _release(has), _release(found[2])
    return {
        "==": mine == other,
        "!=": mine != other,
        ">=": mine >= other,
        "<=": mine <= other,
        "<": mine < other,
        ">": mine > other,
    }[found[1]]


def _release(text: str) -> tuple[int, ...]:
    numbers = [int(n) for n in re.findall(r"\d+", re.split(r"[+a-zA-Z]", text)[0])]
    return (*numbers, 0, 0, 0, 0)[:4]


def check_names() -> Iterator[Check]:
    """Check that our four generic package names lead to us: Webots also has a ``controller``."""
    owners = packages_distributions()
    clashes = []
    for name in PACKAGES:
        found = importlib.util.find_spec(name)
        places = list(found.submodule_search_locations or []) if found is not None else []
        where = (found.origin or "a folder without __init__.py") if found is not None else "nothing"
        if [Path(p).resolve() for p in places] != [_ROOT / name]:
            clashes.append(f"'{name}' leads to {where}")
        strangers = sorted({o for o in owners.get(name, []) if o.lower() != "dpem"})
        if strangers:
            clashes.append(f"'{name}' also belongs to {', '.join(strangers)}")
    if clashes:
        advice = "give DPEM an environment of its own and take the other one off PYTHONPATH"
        yield Check("import names", "fail", "; ".join(clashes), advice)
    else:
        yield Check("import names", "ok", f"all four packages come from {_ROOT}")


def check_cache() -> Iterator[Check]:
    """Check that numba may keep compiled kernels."""
    chosen = os.environ.get("NUMBA_CACHE_DIR")
    inside = Path(__file__).parents[1] / "__pycache__"
    places = [Path(chosen)] if chosen else [inside, Path.home() / ".cache"]
    for place in places:
        if _writable(place):
            yield Check("numba cache", "ok", f"{place} can be written")
            return
    listed = ", ".join(map(str, places))
    advice = "set NUMBA_CACHE_DIR to a folder that can be written"
    yield Check("numba cache", "fail", f"cannot write {listed}", advice)


def _writable(folder: Path) -> bool:
    while not folder.exists():
        folder = folder.parent
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def check_cpu() -> Iterator[Check]:
    """Check cores, what of them we may use, and settings that make libraries fight over them."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    cores = cores or 1
    settings = {name: os.environ[name] for name in _THREADS if name in os.environ}
    detail = f"{cores} of {os.cpu_count()} cores usable"
    if settings:
        detail += ", " + ", ".join(f"{k}={v}" for k, v in settings.items())
    high = [k for k, v in settings.items() if not v.isdigit() or int(v) > cores]
    if high:
        yield Check("cpu", "warn", detail, f"unset {', '.join(high)}: more threads than cores")
    elif cores < 2:
        yield Check("cpu", "warn", detail, "agents and workers will share one core: expect waiting")
    else:
        yield Check("cpu", "ok", detail)


def check_memory() -> Iterator[Check]:
    """Check that a run fits into memory."""
    try:
        text = Path("/proc/meminfo").read_text()
    except OSError:
        yield Check("memory", "ok", "not known on this system")
        return
    found = re.search(r"^MemAvailable:\s+(\d+) kB", text, re.M)
    free = int(found[1]) * 1024 / _GIB if found else 0.0
    # A judgement: a handful of processes, some of them with torch or qiskit loaded.
    good = free >= 2.0
    advice = "" if good else "close other programs; a run wants about 2 GiB"
    yield Check("memory", "ok" if good else "warn", f"{free:.1f} GiB available", advice)


def check_disk() -> Iterator[Check]:
    """Check that run folders can be written where we are."""
    here = Path.cwd()
    free = shutil.disk_usage(here).free / _GIB
    if not _writable(here):
        yield Check("disk", "warn", f"{here} cannot be written", "give --out another folder")
    elif free < 1.0:
        yield Check("disk", "warn", f"{free:.2f} GiB free in {here}", "make room for run folders")
    else:
        yield Check("disk", "ok", f"{free:.0f} GiB free in {here}")


def check_netqasm() -> Iterator[Check]:
    """Check that netqasm is one that we know and that a teleportation works; tell of the patent."""
    name, advice = "netqasm", "pip install '.[squidasm]'; until then dpem squidasm does not work"
    try:
        has = version("netqasm")
    except PackageNotFoundError:
        yield Check(name, "warn", "netqasm is missing", advice)
        return
    if not satisfies(has, _NETQASM):
        yield Check(name, "warn", f"netqasm is {has}, wanted {_NETQASM}", advice)
        return
    (tried,) = probe(name, "warn", _PROBE_NETQASM, advice)
    yield msgspec.structs.replace(tried, detail=f"{tried.detail}; {_PATENT}")


def probe(name: str, status: Literal["warn", "fail"], code: str, advice: str) -> Iterator[Check]:
    """Ask a child process, which may import what this package must not."""
    # -P: a file in the current folder must not pose as a module.
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-c", code], capture_output=True, text=True, timeout=60
        )
    except subprocess.TimeoutExpired:
        yield Check(name, status, "no answer within 60 s", advice)
        return
    if done.returncode == 0:
        yield Check(name, "ok", done.stdout.strip())
    else:
        said = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        yield Check(name, status, said[-1], advice)


CHECKS: tuple[Callable[[], Iterator[Check]], ...] = (
    check_python,
    check_packages,
    check_names,
    check_cache,
    check_cpu,
    check_memory,
    check_disk,
    functools.partial(
        probe, "curve", "fail", _PROBE_CURVE, "pip install --force-reinstall pyzmq (its own libzmq)"
    ),
    functools.partial(
        probe, "loopback", "fail", _PROBE_LOOPBACK, "allow sockets on 127.0.0.1 in this sandbox"
    ),
    functools.partial(
        probe, "aer", "warn", _PROBE_AER, "pip install '.[aer]'; until then Aer is slow or absent"
    ),
    check_netqasm,
)


@click.command()
@click.option(
    "--config", metavar="FILE", type=_PATH, help="TOML or JSON file with addresses and keys."
)
@click.option("--address", metavar="tcp://HOST:PORT", default="", help="A broker to be reached.")
@click.option("--server-key", metavar="KEY|FILE.pub", default="", help="The broker's public key.")
@click.option("--key", metavar="FILE.key", type=_PATH, help="Our key; its name is the file's.")
@click.option("--role", type=click.Choice(get_args(Role)), default="observe", show_default=True)
@click.option("--listen", metavar="tcp://HOST:PORT", default="", help="Is this port free?")
@click.option("--keys", metavar="FOLDER", type=_PATH, help="A key folder to be looked through.")
@json_option
def command(config: Path | None, json_path: str | None, **given: Any) -> None:
    """Say what is installed, reachable and misconfigured.

    With --config also whether the commands that a file is for can read it. With --config or
    --address whether a broker can be reached, is the one that is meant, admits our key, and how far
    its clock is off. The exit code is 1 where something must be mended.
    """
    endpoints = endpoints_of(config) if config else []
    if given["server_key"] and not given["address"]:
        raise InputError("--server-key needs --address")
    if given["address"] or given["listen"] or given["keys"]:
        endpoints.append(Endpoint(**given))
    findings = examine(endpoints, config)
    broken = sum(finding.status == "fail" for finding in findings)
    write_json({"ok": not broken, "checks": findings}, json_path)
    if json_path != "-":
        _show(findings, broken)
    if broken:
        raise click.exceptions.Exit(1)


def _show(findings: list[Check], broken: int) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    colours = {"ok": "green", "warn": "yellow", "fail": "bold red"}
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    for finding in findings:
        text = Text(finding.detail)
        if finding.advice:
            text.append(f"\n-> {finding.advice}", style=colours[finding.status])
        table.add_row(Text(finding.status, style=colours[finding.status]), finding.name, text)
    warned = sum(finding.status == "warn" for finding in findings)
    console = Console()
    console.print(table)
    console.print(f"{len(findings)} checks, {broken} failed, {warned} warned")
