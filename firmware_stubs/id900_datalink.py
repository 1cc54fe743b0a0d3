"""The DataLink service of the ID900 stub, without its sockets: commands in, JSON and tags out.

The vendor's DataLinkTarget runs on the user's machine and answers text commands on a REP socket,
tcp 6060: ``list``, ``start-stream``, ``start-save``, ``status``, ``stop`` (vendor example scripts
utils/acquisitions.py and the sync-timestamp examples). Answers are JSON, an empty string where
there is nothing to say, ``{"error": {"description": ...}}`` for what is refused. It sends one
message of tags for each sub-acquisition to a PAIR socket: little-endian uint64 picoseconds, with
``--with-ref-index`` each followed by the uint64 index of its reference pulse.

Open (:class:`firmware_stubs.id900_switches.DataLinkSwitches`): what ends a stream, and how an
acquisition is called.
Assumed: the service binds the stream port, and a stopped acquisition ends its stream.
"""

import shlex
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from firmware_stubs.faults import FaultPlan
from firmware_stubs.id900_recorder import Recorder, Segment
from firmware_stubs.id900_switches import DataLinkSwitches

__all__ = ["Acquisition", "DataLink", "Refused"]

_MOST = 16
_FORMATS = ("bin", "ascii")

#: Sub-acquisitions that are handed on in one go, so that other instruments of the loop get their
#: turn, and how many may wait before tags are lost.
_AT_ONCE = 4
_WAITING = 64


class Refused(Exception):
    """A command that is answered with an error."""


@dataclass
class Acquisition:
    """One channel being listened to; ``port`` or ``path`` is where its tags go."""

    id: str
    channel: int
    with_index: bool
    port: int | None
    path: Path | None
    ascii: bool
    acquisitions_count: int = 0
    timestamps_count: int = 0
    active_s: float = 0.0
    errors: list[str] = field(default_factory=list)
    last: bytes = b""

    def status(self, now_s: float) -> dict[str, Any]:
        """Return the fields that the vendor's scripts read."""
        status: dict[str, Any] = {
            "acquisitions_count": self.acquisitions_count,
            "timestamps_count": self.timestamps_count,
            "inactivity": now_s - self.active_s,
            "errors": [{"description": text} for text in self.errors],
        }
        if self.errors:
            status["error"] = {"description": self.errors[-1]}
        return status


@dataclass
class DataLink:
    """The service: a command and a time in, an answer out; tags come from :meth:`due`.

    Files are only written below ``folder``; without one ``start-save`` is refused.
    """

    recorder: Recorder
    setting: Callable[[str], str | float]
    faults: FaultPlan
    switches: DataLinkSwitches = DataLinkSwitches()
    folder: Path | None = None
    acquisitions: dict[str, Acquisition] = field(default_factory=dict)
    opened: list[Acquisition] = field(default_factory=list)
    closed: list[Acquisition] = field(default_factory=list)
    waiting: deque[Segment] = field(default_factory=deque)

    def answer(self, command: str, now_s: float) -> str:
        """Carry out a command; ``opened`` and ``closed`` tell the socket loop about streams."""
        try:
            return self._answer(shlex.split(command), now_s)
        except (Refused, ValueError, OSError) as wrong:
            return self.refuse(str(wrong))

    def refuse(self, why: str) -> str:
        """Return the answer to a command that is refused."""
        return msgspec.json.encode({"error": {"description": why}}).decode()

    def due(self, now_s: float) -> list[tuple[Acquisition, bytes]]:
        """Return the messages of sub-acquisitions that are over, some at a time."""
        messages: list[tuple[Acquisition, bytes]] = []
        if not self.acquisitions:
            self.waiting.clear()
            return messages
        self.waiting += self.recorder.finished(now_s)
        while len(self.waiting) > _WAITING:
            self.waiting.popleft()
            for acquisition in self.acquisitions.values():
                acquisition.errors.append("timestamps were lost: they came too fast")
        for _ in range(min(_AT_ONCE, len(self.waiting))):
            segment = self.waiting.popleft()
            self.recorder.check_rate(segment, now_s)
            for acquisition in self.acquisitions.values():
                if self.setting(f"RAW{acquisition.channel}:SEND") == "ON":
                    messages += self._one(acquisition, segment, now_s)
        return messages

    def _one(
        self, acquisition: Acquisition, segment: Segment, now_s: float
    ) -> list[tuple[Acquisition, bytes]]:
        recorder = self.recorder
        acquisition.active_s = now_s
        if recorder.overflowed_s is not None:
            recorder.lose(acquisition.channel)
            acquisition.errors.append("timestamps were lost")
            return []
        times, indices = recorder.tags(acquisition.channel, segment)
        acquisition.acquisitions_count += 1
        acquisition.timestamps_count += len(times)
        if acquisition.path is not None:
            _save(acquisition, times, indices)
            return []
        body = _body(times, indices) if acquisition.with_index else times.astype("<u8").tobytes()
        message, acquisition.last = body, body
        match self.faults.take_tags():
            case "tags_lost":
                return []
            case "tags_twice":
                return [(acquisition, message), (acquisition, message)]
            case "tags_cut":
                message = message[: max(1, len(message) - 3)]
            case "tags_unsorted":
                message = times[::-1].astype("<u8").tobytes()
            case _:
                pass
        return [(acquisition, message)]

    def _answer(self, words: list[str], now_s: float) -> str:
        if not words:
            raise Refused("a command is missing")
        name, options = words[0], _options(words[1:])
        match name:
            case "list":
                _allow(options)
                return msgspec.json.encode(list(self.acquisitions)).decode()
            case "start-stream":
                _allow(options, "address", "channel", "stream-port", "with-ref-index")
                port = _number(options, "stream-port", 1, 65535)
                return self._start(options, now_s, port=port)
            case "start-save":
                _allow(options, "address", "channel", "filename", "format", "with-ref-index")
                form = options.get("format", "ascii")
                if form not in _FORMATS:
                    raise Refused(f"format must be one of {', '.join(_FORMATS)}")
                return self._start(
                    options, now_s, path=self._path(options), as_text=form == "ascii"
                )
            case "status":
                _allow(options, "id")
                return msgspec.json.encode(self._known(options).status(now_s)).decode()
            case "stop":
                _allow(options, "id")
                acquisition = self._known(options)
                del self.acquisitions[acquisition.id]
                self.closed.append(acquisition)
                return msgspec.json.encode({"status": acquisition.status(now_s)}).decode()
            case _:
                raise Refused(f"unknown command {name!r}")

    def _start(
        self,
        options: dict[str, str],
        now_s: float,
        port: int | None = None,
        path: Path | None = None,
        as_text: bool = False,
    ) -> str:
        channel = _number(options, "channel", 1, 4)
        if "address" not in options:
            raise Refused("option --address is missing")
        name = self.switches.acquisition_id.format(address=options["address"], port=5554 + channel)
        if name in self.acquisitions:
            raise Refused(f"acquisition {name} is already active")
        if len(self.acquisitions) >= _MOST:
            raise Refused("too many acquisitions")
        acquisition = Acquisition(
            name, channel, "with-ref-index" in options, port, path, as_text, active_s=now_s
        )
        if not self.acquisitions:
            # Nothing of before belongs to a new acquisition.
            self.recorder.finished(now_s)
        self.acquisitions[name] = acquisition
        self.opened.append(acquisition)
        return msgspec.json.encode({"id": name}).decode()

    def _known(self, options: dict[str, str]) -> Acquisition:
        name = options.get("id", "")
        if name not in self.acquisitions:
            raise Refused(f"no acquisition {name!r}")
        return self.acquisitions[name]

    def _path(self, options: dict[str, str]) -> Path:
        if self.folder is None:
            raise Refused("this service saves no files: start it with a folder")
        if not options.get("filename"):
            raise Refused("option --filename is missing")
        folder = self.folder.resolve()
        path = (folder / options["filename"]).resolve()
        if not path.is_relative_to(folder) or path == folder:
            raise Refused(f"--filename must lie below {folder}")
        path.write_bytes(b"")
        return path


def _body(times: NDArray[np.uint64], indices: NDArray[np.uint64]) -> bytes:
    return np.stack([times, indices], axis=1).astype("<u8").tobytes()


def _save(acquisition: Acquisition, times: NDArray[np.uint64], indices: NDArray[np.uint64]) -> None:
    assert acquisition.path is not None
    with acquisition.path.open("ab") as file:
        if not acquisition.ascii:
            file.write(_body(times, indices) if acquisition.with_index else times.tobytes())
            return
        rows = zip(times.tolist(), indices.tolist(), strict=True)
        lines = (f"{t};{n}" if acquisition.with_index else str(t) for t, n in rows)
        file.write("".join(line + "\n" for line in lines).encode())


def _options(words: list[str]) -> dict[str, str]:
    options: dict[str, str] = {}
    place = 0
    while place < len(words):
        name = words[place]
        if not name.startswith("--"):
            raise Refused(f"unexpected word {name!r}")
        valued = place + 1 < len(words) and not words[place + 1].startswith("--")
        options[name[2:]] = words[place + 1] if valued else ""
        place += 2 if valued else 1
    return options


def _allow(options: dict[str, str], *names: str) -> None:
    for name in options:
        if name not in names:
            raise Refused(f"unknown option --{name}")


def _number(options: dict[str, str], name: str, low: int, high: int) -> int:
    text = options.get(name, "")
    if not text.isascii() or not text.isdigit() or not low <= int(text) <= high:
        raise Refused(f"option --{name} must be from {low} to {high}")
    return int(text)
