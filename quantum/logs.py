"""Structured logs: one line for each thing that happened, as text or JSON, to stderr or a file.

A line has a time (UTC), a level, the process that says it, the name of the event, and fields.
Values are texts and numbers; bytes are refused, so that no session can slip in, and secret halves
of keys are given to nobody who logs. Processes that were started by one that logs are told where by
``DPEM_LOG``. Every line is one write to a file that is only appended to, so lines of several
processes never mix.
"""

import datetime
import json
import logging
import math
import os
import re
from contextlib import suppress
from typing import Any, Literal

import msgspec

from quantum.errors import InputError

__all__ = ["FORMATS", "LEVELS", "LogConfig", "for_child", "logs", "note", "start", "start_in_child"]

FORMATS = ("text", "json")
LEVELS = ("debug", "info", "warning", "error")
#: Keys that every line has.
_OWN = ("time", "level", "part", "pid", "event")
_VARIABLE = "DPEM_LOG"
_PLAIN = re.compile(r"[\w.:/+*-]+", re.ASCII)

Level = Literal["debug", "info", "warning", "error"]

_log = logging.getLogger("dpem")
_log.propagate = False
_log.setLevel(logging.CRITICAL + 1)
#: What this process was told, and copies of descriptors for its children.
_wanted: "list[LogConfig]" = []
_copies: dict[int, int] = {}


class LogConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How and where to log: a ``file``, else the descriptor of the standard error."""

    format: Literal["text", "json"] = "text"
    level: Level = "info"
    file: str | None = None
    descriptor: int = 2


class _Lines(logging.Handler):
    """Writes each record whole; a line that cannot be written is lost, and nothing else is."""

    def __init__(self, descriptor: int, *, own: bool) -> None:
        super().__init__()
        self._descriptor, self._own = descriptor, own

    def emit(self, record: logging.LogRecord) -> None:
        with suppress(OSError):
            os.write(self._descriptor, (self.format(record) + "\n").encode("ascii"))

    def close(self) -> None:
        if self._own:
            with suppress(OSError):
                os.close(self._descriptor)
            self._own = False
        super().close()


class _Formatter(logging.Formatter):
    def __init__(self, form: str, part: str) -> None:
        super().__init__()
        self._json, self._part = form == "json", part

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.datetime.fromtimestamp(record.created, datetime.UTC)
        time = at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"
        level, event, fields = (
            record.levelname.lower(),
            record.getMessage(),
            record.__dict__["said"],
        )
        if self._json:
            head = dict(zip(_OWN, (time, level, self._part, os.getpid(), event), strict=True))
            return json.dumps(head | fields, allow_nan=False)
        told = "".join(f" {name}={_shown(value)}" for name, value in fields.items())
        return f"{time} {level:7} {self._part}[{os.getpid()}] {_named(event)}{told}"


def _shown(value: Any) -> str:
    """Return a value as ASCII that stays on its line and cannot be taken for another field."""
    text = value if isinstance(value, str) else json.dumps(value)
    return text if _PLAIN.fullmatch(text) else json.dumps(text)


def _named(event: str) -> str:
    """Return the name of an event: plain words as they are, anything else as :func:`_shown`."""
    return event if all(map(_PLAIN.fullmatch, event.split(" "))) else _shown(event)


def start(config: LogConfig | None, part: str) -> None:
    """Log from now on as ``part`` of the system; with None nothing is logged.

    Raises :class:`InputError` where the file cannot be opened.
    """
    for handler in list(_log.handlers):
        _log.removeHandler(handler)
        handler.close()
    _log.setLevel(logging.CRITICAL + 1)
    _wanted.clear()
    if config is None:
        return
    descriptor = config.descriptor
    if config.file is not None:
        try:
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
            descriptor = os.open(config.file, flags, 0o600)
        except (OSError, ValueError) as wrong:
            # A name with a null character is a ValueError.
            why = (wrong.strerror if isinstance(wrong, OSError) else None) or str(wrong)
            raise InputError(f"log file {_shown(config.file)}: cannot write it: {why}") from wrong
        config = msgspec.structs.replace(config, file=os.path.abspath(config.file))
    handler = _Lines(descriptor, own=config.file is not None)
    handler.setFormatter(_Formatter(config.format, part))
    _log.addHandler(handler)
    _log.setLevel(config.level.upper())
    _wanted.append(config)


def start_in_child(part: str) -> None:
    """Log as the process that started this one wants it, if it does."""
    with suppress(msgspec.ValidationError, msgspec.DecodeError, InputError):
        told = os.environ.get(_VARIABLE)
        start(msgspec.json.decode(told, type=LogConfig) if told else None, part)


def for_child(*, outlives: bool = False) -> tuple[dict[str, str], tuple[int, ...]]:
    """Return the environment for a process to start, and the descriptors that it has to inherit.

    One that may outlive this process logs to a file only: it must not keep a terminal or a pipe
    open behind us.
    """
    environment = dict(os.environ)
    environment.pop(_VARIABLE, None)
    if not _wanted or (outlives and _wanted[0].file is None):
        return environment, ()
    config = _wanted[0]
    inherited: tuple[int, ...] = ()
    if config.file is None:
        # Standard error of a child is read for its last words: logs go past it.
        if config.descriptor not in _copies:
            _copies[config.descriptor] = os.dup(config.descriptor)
        config = msgspec.structs.replace(config, descriptor=_copies[config.descriptor])
        inherited = (config.descriptor,)
    environment[_VARIABLE] = msgspec.json.encode(config).decode()
    return environment, inherited


def logs(level: Level = "error") -> bool:
    """Tell whether events of a level are written; what is dear to say is asked first."""
    return _log.isEnabledFor(getattr(logging, level.upper()))


def note(event: str, *, level: Level = "info", **fields: Any) -> None:
    """Log an event. Fields are texts, numbers, booleans, None, and lists of these.

    Raises :class:`TypeError` for other values and :class:`ValueError` for fields that every line
    has already, whether or not anybody listens.
    """
    for name, value in fields.items():
        if name in _OWN:
            raise ValueError(f"field {name} is part of every line")
        fields[name] = _plain(name, value)
    number = getattr(logging, level.upper())
    if _log.isEnabledFor(number):
        _log.log(number, "%s", event, extra={"said": fields})


def _plain(name: str, value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if value is None or isinstance(value, (str, int, float)):
        return value
    if isinstance(value, (list, tuple)):
        return [_plain(name, one) for one in value]
    raise TypeError(f"field {name} cannot be logged: it is of type {type(value).__name__}")
