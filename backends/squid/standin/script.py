"""Runs a script as ``python SCRIPT.py`` would, and tells what stopped it."""

import os
import re
import runpy
import sys
from collections.abc import Sequence
from types import TracebackType

from backends.squid.places import place_of
from backends.squid.standin.finder import contents
from backends.squid.standin.names import MODULES

__all__ = ["of_script", "one_line", "run_script"]


def run_script(path: str, arguments: Sequence[str]) -> None:
    """Run a script as ``__main__`` with its own arguments; what it raises goes through.

    The path is absolute, as ``__file__`` of a script is in Python.
    """
    sys.argv = [path, *arguments]
    sys.path.insert(0, os.path.dirname(os.path.realpath(path)))
    runpy.run_path(path, run_name="__main__")


def one_line(error: BaseException) -> str:
    """Return what is wrong in one line: which program, where, and at which line of the script."""
    notes = list(getattr(error, "__notes__", ()))
    place = place_of(error)
    if place and not re.search(r"\.py:\d", " ".join((str(error), *notes))):
        notes.append(place)
    told = f"{error} ({'; '.join(notes)})" if notes else str(error)
    return " ".join(told.split())


def of_script(error: BaseException, path: str) -> BaseException:
    """Return an error whose traceback starts in the script, as if nobody had run it but Python.

    Imports that failed get a note with what there is to import.
    """
    trace = error.__traceback__
    while isinstance(trace, TracebackType) and trace.tb_frame.f_code.co_filename != path:
        trace = trace.tb_next
    name = getattr(error, "name", None)
    if isinstance(error, ImportError) and name in MODULES:
        error.add_note(
            f"{name} stands in for the original here; it has {', '.join(contents(name))}"
        )
    return error.with_traceback(trace)
