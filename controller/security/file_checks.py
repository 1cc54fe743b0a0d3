"""What ``dpem doctor`` asks about a configuration file: could the command that it is for read it?

Addresses and keys are checks of their own (:mod:`controller.security.checks`), which pass over
whatever else a file says.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from controller.configuration import read_configuration, setting_of_values
from controller.meeting import BROKER, read_run
from controller.regions.config import load_regions
from controller.rivals.allocator import find, known
from controller.service.config import load_config
from controller.setting import Setting, scenario_of
from controller.site import RUN, SERVE
from quantum.commands.findings import Check
from quantum.errors import InputError

__all__ = ["check_file"]

_REGIONS = "regions"
#: Tables that only the file of a service has.
_OF_A_SERVICE = frozenset({"network", "terms", "workers"})


def check_file(path: Path) -> Iterator[Check]:
    """Read a file as the commands do that it is for; say nothing of one that is for others."""
    try:
        values = read_configuration(str(path))
    except InputError:
        # The file of a rack, or of another program: who reads it says what is wrong.
        return
    for what, read in _readers(values):
        name = f"file {path.name}"
        try:
            read(str(path))
        except InputError as wrong:
            yield Check(name, "fail", str(wrong).removeprefix(f"{path}: "), f"mend it for {what}")
        else:
            yield Check(name, "ok", f"can be read by {what}")


def _readers(values: dict[str, Any]) -> Iterator[tuple[str, Callable[[str], Any]]]:
    """Yield the commands that a file of such values is for, and what reads it for them."""
    if _REGIONS in values:
        yield "dpem region", lambda path: _look_up(load_regions(path).setting)
        return
    parts = [part for part in (SERVE, RUN) if isinstance(values.get(part), dict)]
    if SERVE in parts or (not parts and values.keys() & _OF_A_SERVICE):
        yield "dpem serve", lambda path: _look_up(load_config(path).check().setting)
    if RUN in parts or (not parts and BROKER in values):
        yield "dpem run", _run


def _run(path: str) -> None:
    options, _ = read_run(path)
    _look_up(setting_of_values(options, path).check())


def _look_up(setting: Setting) -> None:
    """Find what a setting names: preset, topology, demand, files of these, and the allocator."""
    if setting.allocator not in known():
        # It says what there is; to load one that is there takes seconds.
        find(setting.allocator)
    # How much is asked for is no matter of the file where it does not say so.
    scenario_of(setting, lambda *_, **__: 1.0)
