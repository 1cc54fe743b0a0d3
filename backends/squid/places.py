"""Where in a user's file something happens: the line of a program, not of this package."""

from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

import netqasm

__all__ = ["line_of", "module_of", "place_of"]

_OURS = (str(Path(__file__).parent), str(Path(netqasm.__file__).parent))


def place_of(error: BaseException) -> str:
    """Return the innermost place of a user's code that an error went through, or nothing."""
    place, trace = "", error.__traceback__
    while isinstance(trace, TracebackType):
        if _is_users(trace.tb_frame):
            place = _told(trace.tb_frame.f_code.co_filename, trace.tb_lineno)
        trace = trace.tb_next
    return place


def line_of(running: Any) -> str:
    """Return the place at which a suspended program waits, or nothing."""
    place = ""
    while running is not None:
        frame = getattr(running, "gi_frame", None)
        if frame is None:
            break
        if _is_users(frame):
            place = _told(frame.f_code.co_filename, frame.f_lineno)
        running = running.gi_yieldfrom
    return place


def _is_users(frame: FrameType) -> bool:
    return not frame.f_code.co_filename.startswith(_OURS)


def _told(file: str, line: int | None) -> str:
    return f"{Path(file).name}:{line}"


def module_of(error: BaseException) -> str:
    """Return the name of the module that raised an error, empty where nobody knows."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return "" if trace is None else str(trace.tb_frame.f_globals.get("__name__", ""))
