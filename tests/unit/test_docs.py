"""What the pages say is true: every block runs, loads or parses, and every link leads somewhere."""

import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import click
import msgspec
import pytest

from backends.program_file import read_program
from backends.rack import FOUR_LINKS
from controller.meeting import read_run
from controller.regions.building import territory_of
from controller.regions.config import load_regions
from controller.rivals.allocator import known
from controller.service.config import load_config
from controller.setting import Setting
from firmware_stubs.control import load_scenario
from firmware_stubs.rack_bench import load_rack_scenario
from quantum.changes import read_changes
from quantum.cli import dpem, found
from quantum.commands.estimate import read_counts
from quantum.commands.findings import endpoints_of
from quantum.egp import Create, Err, Message, Ok, Yield
from quantum.rack import load_rack
from quantum.topology import load_topology
from quantum.traffic_files import read_trace

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
#: Commands that are quick, and right everywhere; their output, where a page shows it, is compared.
QUICK = ("dpem execute", "dpem estimate", "dpem doctor", "dpem --help", "dpem --version")
#: Words of commands that wait for an instrument, or for its stub.
SLOW_OPTIONS = ("lab",)
MESSAGES = Message | Create | Ok | Err | Yield


class Block(NamedTuple):
    """A fenced block; ``saved_as`` is the file that the text before it names."""

    page: Path
    line: int
    language: str
    text: str
    saved_as: str | None

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line} {self.language}"


def blocks_of(page: Path) -> list[Block]:
    out, start, before = [], None, ""
    lines = page.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, 1):
        if line.startswith("```"):
            if start is None:
                start, before = number, " ".join(lines[max(0, number - 4) : number - 1])
            else:
                name = re.search(r"[Ss]ave as `([\w.-]+)`:\s*$", before)
                out.append(
                    Block(
                        page,
                        start,
                        lines[start - 1][3:].strip(),
                        "\n".join(lines[start : number - 1]) + "\n",
                        name[1] if name else None,
                    )
                )
                start = None
    assert start is None, f"{page.name}: line {start} opens a block that is not closed"
    return out


BLOCKS = [block for page in PAGES for block in blocks_of(page)]


def of(*languages: str) -> list[Block]:
    return [block for block in BLOCKS if block.language in languages]


def save_files(page: Path, folder: Path) -> None:
    """Write the files that a page tells its reader to save."""
    for block in BLOCKS:
        if block.page == page and block.saved_as is not None:
            (folder / block.saved_as).write_text(block.text, encoding="utf-8")


def commands(block: Block) -> list[tuple[str, str]]:
    """Return the commands of a console block, each with the output below it."""
    assert block.text.startswith("$ "), f"{block}: a console block begins with a command"
    parts = re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]
    return [(part.partition("\n")[0], part.partition("\n")[2]) for part in parts]


CONSOLE = [
    pytest.param(block, command, output, id=f"{block.page.name}:{block.line} {command}")
    for block in of("console")
    for command, output in commands(block)
]


def is_quick(command: str) -> bool:
    return command.startswith(QUICK) and not set(SLOW_OPTIONS) & set(shlex.split(command))


# ---------------------------------------------------------------------------------- every block


def test_every_block_is_claimed_by_a_check() -> None:
    checked = {"python", "json", "toml", "csv", "console"}
    # Pictures drawn with characters; nothing that anybody would copy.
    drawings = [str(block) for block in BLOCKS if block.language == "text"]
    assert {block.language for block in BLOCKS} <= checked | {"text"}
    assert len(drawings) <= 2
    assert all(of(language) for language in checked)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_blocks_run_in_order(page: Path, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    save_files(page, tmp_path)
    names: dict[str, Any] = {"__name__": "page"}
    for block in of("python"):
        if block.page == page:
            source = "\n" * block.line + block.text
            exec(compile(source, str(page.relative_to(ROOT)), "exec"), names)


def load_json(block: Block, folder: Path) -> object:
    raw = msgspec.json.decode(block.text)
    if "type" in raw:
        return msgspec.json.decode(block.text, type=MESSAGES)
    if "nodes" in raw:
        path = folder / "network.json"
        path.write_text(block.text)
        return load_topology(str(path), seed=0)
    if "counts" in raw:
        return read_counts(block.text.encode())
    return read_program(block.text.encode())


def load_toml(block: Block, folder: Path) -> object:
    raw = tomllib.loads(block.text)
    path = folder / "file.toml"
    path.write_text(block.text)
    if "project" in raw:
        # Installed and played in test_arena_page.py.
        return raw["project"]["entry-points"]
    if "regions" in raw:
        return sorted(territory_of(load_regions(str(path))).parts)
    if "terms" in raw or "serve" in raw:
        config = load_config(str(path)).check()
        assert config.network.allocator in known()
        if "run" in raw:
            values, meeting = read_run(str(path))
            assert meeting is not None and endpoints_of(path)
            return msgspec.convert(values, Setting).check()
        return config.setting
    if "node" in raw:
        return load_rack(path)
    if "link" in raw.get("bench", {}) or "fault" in raw:
        return load_rack_scenario(load_rack(FOUR_LINKS), path)
    if "bench" in raw or "event" in raw:
        return load_scenario(path)
    setting = msgspec.convert(raw, Setting).check()
    assert {setting.allocator, *setting.rivals} <= set(known())
    return setting


def load_csv(block: Block, folder: Path) -> object:
    assert block.saved_as is not None
    save_files(block.page, folder)
    topologies = [
        other.saved_as
        for other in of("json")
        if other.page == block.page and other.saved_as and '"nodes"' in other.text
    ]
    if topologies:
        network = load_topology(str(folder / topologies[0]), seed=0)
    else:
        # A page without a topology of its own plays its trace on one that has a name.
        shown = "".join(other.text for other in of("console") if other.page == block.page)
        network = load_topology(
            re.findall(rf"--topology (\S+).*{block.saved_as}", shown)[0], seed=0
        )
    if "state" in block.text.splitlines()[0]:
        changes = read_changes(str(folder / block.saved_as), network)
        assert len(changes.time_s) == len(block.text.splitlines()) - 1
        return changes
    trace = read_trace(str(folder / block.saved_as), network, deadline_s=1.0, duration_s=60.0)
    assert len(trace.time_s) == len(block.text.splitlines()) - 1
    return trace


LOADERS: dict[str, Callable[[Block, Path], object]] = {
    "json": load_json,
    "toml": load_toml,
    "csv": load_csv,
}


@pytest.mark.parametrize("block", of(*LOADERS), ids=str)
def test_files_are_read_by_their_real_loader(block: Block, tmp_path: Path) -> None:
    assert LOADERS[block.language](block, tmp_path) is not None


# ------------------------------------------------------------------------------------- commands


def parse(arguments: list[str]) -> None:
    """Let click read a command line down to the last option, and run nothing of it."""
    group: click.Command = dpem
    context = click.Context(dpem, info_name="dpem")
    while isinstance(group, click.Group):
        name, inner, rest = group.resolve_command(context, arguments)
        assert name is not None and inner is not None
        group, arguments = inner, rest
        if isinstance(group, click.Group):
            context = click.Context(group, parent=context, info_name=name)
    group.make_context(group.name, list(arguments), parent=context)


@pytest.mark.parametrize(("block", "command", "output"), CONSOLE)
def test_commands_exist_with_their_options(block: Block, command: str, output: str) -> None:
    words = shlex.split(command)
    if output:
        assert is_quick(command), f"{block}: output that no test compares"
    match words:
        case ["dpem", "--help" | "--version"]:
            pass
        case ["dpem", *arguments]:
            parse(arguments)
        case ["make", target]:
            assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
        case ["source", ".venv/bin/activate"]:
            assert "VENV := .venv" in (ROOT / "Makefile").read_text()
        case _:
            pytest.fail(f"{block}: no check knows {command!r}")


@pytest.mark.parametrize("wrong", ["run --lod 3", "conformance driver", "bench", "stub id900 --x"])
def test_wrong_commands_would_be_found(wrong: str) -> None:
    with pytest.raises(click.UsageError):
        parse(shlex.split(wrong))


@pytest.mark.parametrize(
    ("block", "command", "output"), [p for p in CONSOLE if is_quick(str(p.values[1]))]
)
def test_quick_commands_say_what_the_page_shows(
    block: Block, command: str, output: str, tmp_path: Path
) -> None:
    save_files(block.page, tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", "from quantum.cli import main; main()", *shlex.split(command)[1:]],
        cwd=tmp_path,
        env=os.environ | {"COLUMNS": "80"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    # The doctor says by 1 that this machine lacks something, which is no fault of the page.
    assert done.returncode in ((0, 1) if "doctor" in command else (0,)), done.stderr
    assert done.stdout.strip()
    if output:
        shown = [line.rstrip() for line in output.rstrip("\n").splitlines()]
        assert [line.rstrip() for line in done.stdout.rstrip("\n").splitlines()] == shown


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_and_allocators_named_in_text_exist(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.S | re.M)
    for name in re.findall(r"`dpem ([a-z]+)\b", text):
        assert name in found(), f"{page.name}: dpem {name}"
    for names in re.findall(r"--allocators? ([a-z,-]+)", text):
        assert set(names.split(",")) <= {*known(), "all"}
    for path in re.findall(r"`((?:quantum|backends|controller|tests)/[\w/.-]+)`", text):
        assert (ROOT / path).exists(), f"{page.name}: {path}"


def test_claims_name_commands_that_parse() -> None:
    rows = re.findall(r"^\| .* \| (.*) \| .* \|$", (ROOT / "docs/claims.md").read_text(), re.M)
    claimed = [command for row in rows for command in re.findall(r"`([^`]+)`", row)]
    assert len(claimed) > 15
    for command in claimed:
        words = shlex.split(command)
        if words[0] == "dpem":
            parse(words[1:])
        for word in words:
            assert not word.startswith("tests/") or (ROOT / word).is_file(), command


# ---------------------------------------------------------------------------------------- links


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.S | re.M)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if not target.startswith("https://"):
            assert (page.parent / target.partition("#")[0]).exists(), f"{page.name}: {target}"


def test_every_page_can_be_found_from_the_readme() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    index = (ROOT / "docs/README.md").read_text(encoding="utf-8")
    assert "(docs/README.md)" in readme
    for page in PAGES[1:]:
        if page.name != "README.md":
            assert f"(docs/{page.name})" in readme or f"]({page.name}" in index, page.name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_hold_no_paths_of_a_machine(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert not re.search(r"(?<![\w.])/(work|tmp|home|root)\b", text)
    assert (
        max(len(line) for line in text.splitlines() if "|" not in line and "](" not in line) < 112
    )
