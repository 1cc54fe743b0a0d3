"""A run folder that is watched: new bytes become a newer state, and one can go back."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from controller.attended import stage_of
from controller.dashboard import events as e
from controller.dashboard.layout import Layout, read_layout
from controller.dashboard.moments import Moments
from controller.dashboard.story import Story
from controller.dashboard.tail import Chain
from quantum.errors import DpemError, InputError, RecordError
from quantum.record import verify
from quantum.record.canonical import EVENTS, MANIFEST, SUMMARY

__all__ = ["Status", "Watch"]

#: Bytes that are read in one step, so that a long record does not block a page that is open.
_STEP_BYTES = 1 << 20
_MOST_NETWORK = 256 * 1024 * 1024
#: What the page shows of a summary.
_RESULTS = (
    "delivery_rate",
    "pairs_requested",
    "pairs_delivered",
    "bound",
    "fraction_of_bound",
    "contention",
    "fidelity",
    "federated_rounds",
    "epsilon",
    "delta",
)


@dataclass(frozen=True)
class Status:
    """How a run stands: ``state`` is waiting, preparing, running, finished, broken off, killed or
    damaged; ``word`` says in one line what people should know of it.
    """

    state: str
    word: str


class Watch:
    """Follows one run folder; :meth:`step` reads on, :meth:`at` goes back."""

    def __init__(self, folder: Path) -> None:
        if folder.exists() and not folder.is_dir():
            raise InputError(f"{folder} is not a run folder: it is a file")
        self.folder = folder
        self.story: Story | None = None
        self.results: dict[str, Any] = {}
        self.status = Status("waiting", "Waiting for the run to begin")
        self.version = 0
        """Grows with every change of state, status or results."""
        self._chain = Chain()
        self._moments = Moments()
        self._broken = ""
        self._lacks = ""
        self._sealed: bool | None = None
        self._went = False

    def step(self) -> bool:
        """Read on; True where more may be there at once."""
        before = self.version
        more = False
        if not self._broken:
            try:
                more = self._read()
                if not more:
                    self._seal()
            except (RecordError, InputError) as wrong:
                self._broken = _short(wrong)
        if not more:
            self._stand()
        return more or self.version != before

    def _read(self) -> bool:
        path = self.folder / EVENTS
        try:
            with path.open("rb") as file:
                file.seek(self._chain.read_from)
                data = file.read(_STEP_BYTES)
        except FileNotFoundError:
            return False
        except OSError as wrong:
            raise RecordError(f"{EVENTS} cannot be read: {wrong.strerror}") from wrong
        # The network is written after the header; without it there is nothing to draw.
        self._lacks = self._missing(data)
        if self._lacks:
            return False
        for line in self._chain.feed(data):
            self._take(line.event, line.after.line)
            assert self.story is not None
            self._moments.offer(line.after, self.story)
        if data:
            self.version += 1
        return len(data) == _STEP_BYTES

    def _missing(self, data: bytes) -> str:
        """Return what a record that has begun lacks before it can be drawn."""
        if self.story is not None or not data:
            return ""
        if b"\n" not in data:
            return f"{EVENTS} has no whole line in its first {len(data)} bytes"
        return "" if (self.folder / "network.json").is_file() else "network.json is missing"

    def _take(self, raw: dict[str, Any], number: int) -> None:
        event = e.read(number, raw)
        if self.story is not None:
            self.story.take(event)
            return
        if not isinstance(event, e.Header):
            raise RecordError(f"{EVENTS} line 1: no header")
        self.story = Story(self._layout(), event)

    def _layout(self) -> Layout:
        path = self.folder / "network.json"
        try:
            if path.stat().st_size > _MOST_NETWORK:
                raise RecordError("network.json: larger than any network that can be drawn")
            return read_layout(path.read_bytes())
        except OSError as wrong:
            raise RecordError(f"network.json cannot be read: {wrong.strerror}") from wrong

    def _seal(self) -> None:
        """Verify a folder once it is sealed, and read the results."""
        if self._sealed is not None or not (self.folder / MANIFEST).is_file():
            return
        self._sealed = verify(self.folder).complete
        path = self.folder / SUMMARY
        if path.is_file():
            try:
                found = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
            except (msgspec.DecodeError, OSError) as wrong:
                raise RecordError(f"{SUMMARY}: {wrong}") from wrong
            self.results = {name: found[name] for name in _RESULTS if name in found}
            rivals = found.get("rivals")
            if isinstance(rivals, dict):
                self.results["rivals"] = rivals
        self.version += 1

    @property
    def rack(self) -> str | None:
        """The rack of a run that was seen going on; of others nothing is asked."""
        return self.story.header.setting.rack if self.story and self._went else None

    def _stand(self) -> None:
        """Say how the run stands."""
        status = self._status()
        self._went = self._went or status.state in ("preparing", "running")
        if status != self.status:
            self.status = status
            self.version += 1

    def _status(self) -> Status:
        if self._broken:
            return Status("damaged", f"The record is damaged: {self._broken}")
        if self._sealed is not None:
            why = self.story.end if self.story else ""
            if self._sealed:
                return Status("finished", "Finished; the record is sealed and verified")
            return Status("broken off", why or "Broken off; the record so far is sealed")
        stage = stage_of(self.folder)
        if stage is None and self._lacks:
            return Status("damaged", f"The record is damaged: {self._lacks}")
        if stage is None and self.story is None:
            return Status("waiting", f"Waiting for a run in {self.folder}")
        if stage is None:
            word = "The run was killed before it could seal its record; what it wrote is shown"
            return Status("killed", word)
        if stage == "playing":
            return Status("running", "Running")
        return Status("preparing", stage[:1].upper() + stage[1:])

    def at(self, slot: int) -> Story:
        """Return the state before a slot was played, from the record; at most the newest."""
        if self.story is None:
            raise InputError("there is no state yet")
        if slot >= self.story.slot:
            return self.story
        place, story = self._moments.before(slot)
        chain = Chain(place)
        try:
            with (self.folder / EVENTS).open("rb") as file:
                while True:
                    file.seek(chain.read_from)
                    data = file.read(_STEP_BYTES // 8)
                    if not data:
                        return story
                    for line in chain.feed(data):
                        event = e.read(line.after.line, line.event)
                        if isinstance(event, e.Slot) and event.slot >= slot:
                            return story
                        story.take(event)
        except OSError as wrong:
            raise RecordError(f"{EVENTS} cannot be read: {wrong.strerror}") from wrong


def _short(wrong: DpemError) -> str:
    """Return an error in one line."""
    return " ".join(str(wrong).split())[:400]
